"""The tables that people read."""

from __future__ import annotations

import os
import platform
import pyexpat
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from OpenSSL import SSL

import xmpproxy
from benchmarks import regimes
from benchmarks.regimes import Regime
from benchmarks.scenes import Scene

#: The lowest CPU time (microseconds) of each regime in each scene.
Costs = Mapping[tuple[Regime, str], float]

_BASE_LINES = ("splice", "TLS splice", "domish")
#: The CPU time (microseconds) that a message may take beyond its relaying where nobody is shown it.
_ALONE_GOAL = 2
#: The memory (KiB) that an idle session of the proxy may take.
_IDLE_GOAL = 90


def report(parts: Iterable[str], costs: Costs, scenes: Mapping[str, Scene], repeats: int) -> str:
    """
    All that was measured.

    @param parts: which parts were.
    @param repeats: of how many runs the costs are the lowest.
    """
    return "\n".join(
        [*_about(repeats), *(line for part in parts for line in PARTS[part](costs, scenes))]
    )


def _about(repeats: int) -> list[str]:
    cpuinfo = Path("/proc/cpuinfo").read_text()
    named = re.search(r"^model name\s+: (.*)$", cpuinfo, re.MULTILINE)
    model = named[1] if named else platform.machine()
    packages = ", ".join(f"{name} {version(name)}" for name in ("twisted", "pyopenssl", "wokkel"))
    openssl = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()
    return [
        f"xmpproxy {xmpproxy.__version__}, {datetime.now(UTC):%Y-%m-%d}",
        f"Python {platform.python_version()}, {packages}, {openssl}, {pyexpat.EXPAT_VERSION}",
        f"Linux {platform.release()}, {os.cpu_count()} x {model}",
        f"Stanzas of {regimes.SIZE} bytes. CPU times of the process in user and kernel mode, "
        f"the lowest of {repeats} interleaved runs",
    ]


def _relaying(costs: Costs, scenes: Mapping[str, Scene]) -> list[str]:
    rows = []
    for regime in (*regimes.BACK_TO_BACK, *regimes.SPREAD_OUT):
        ours = costs[regime, "alone" if regime in regimes.BACK_TO_BACK else "crowd"]
        splice, tlsSplice, domish = (costs[regime, name] for name in _BASE_LINES)
        rows.append(
            (
                regime.name,
                [
                    f"{ours:.2f}",
                    _goal(regime.goal),
                    *(f"{cost:.2f}" for cost in (splice, tlsSplice, domish)),
                    f"{ours / tlsSplice:.1f}",
                    f"{ours / domish:.2f}",
                ],
            )
        )
    columns = ("xmpproxy", "goal", *_BASE_LINES, "x TLS splice", "x domish")
    others = len(scenes["crowd"].others)
    return [
        *_table("Relaying: µs a stanza", columns, rows),
        *_crowd(costs, others),
        *_sessions(scenes, others),
    ]


def _copies(costs: Costs, scenes: Mapping[str, Scene]) -> list[str]:
    numbers = [f"{siblings}" for siblings in regimes.SIBLINGS]
    copies, lines = [], []
    for kind in regimes.KINDS:
        group = [regimes.COPIES[kind, siblings] for siblings in regimes.SIBLINGS]
        name, goal = group[0].name, _goal(group[0].goal)
        copies.append((name, [*(f"{_copy(costs, each):.1f}" for each in group), goal]))
        lines.append((name, [f"{_line(costs, each):.1f}" for each in group]))
    return [
        *_table("Shown to siblings: µs a copy", (*numbers, "goal"), copies),
        *_table("The same in all: µs for each time it is shown", numbers, lines),
        *_otherCopies(costs),
        *_served(costs),
        *_bookkeeping(costs),
    ]


def _otherCopies(costs: Costs) -> list[str]:
    rows = [
        (regime.name, [f"{_line(costs, regime):.1f}", f"{costs[regime, 'alone']:.1f}"])
        for regime in (*regimes.WITH_EXTRAS, *regimes.ONE_AT_A_TIME)
    ]
    columns = ("each time", "a message")
    return _table(f"Other messages shown to {regimes.SOME} siblings: µs", columns, rows)


def _served(costs: Costs) -> list[str]:
    rows = []
    for regime in regimes.SERVED:
        ours, relayed = (
            costs[regime, name] / _siblings(regime) for name in ("alone", "unmirrored")
        )
        rows.append((regime.name, [*_more(ours, relayed), _goal(regime.goal)]))
    columns = ("xmpproxy", "relayed", "more", "goal")
    return _table("The server's carbons: µs a carbon", columns, rows)


def _bookkeeping(costs: Costs) -> list[str]:
    rows = [
        (
            regime.name,
            [*_more(costs[regime, "alone"], costs[regime, "unmirrored"]), _goal(_ALONE_GOAL)],
        )
        for regime in regimes.BACK_TO_BACK
    ]
    columns = ("xmpproxy", "relayed", "more", "goal")
    return _table("Shown to nobody, one session: µs a message", columns, rows)


def _more(ours: float, relayed: float) -> list[str]:
    return [f"{ours:.2f}", f"{relayed:.2f}", f"{ours - relayed:.2f}"]


def _siblings(regime: Regime) -> int:
    assert regime.account is not None, "there are several sessions"
    return regime.account.siblings


def _copy(costs: Costs, regime: Regime) -> float:
    """What a copy costs: all that the message costs beyond being relayed, divided."""
    relayed = costs[regimes.RELAYED[regime.way], "unmirrored"]
    return (costs[regime, "alone"] - relayed) / _siblings(regime)


def _line(costs: Costs, regime: Regime) -> float:
    """What it costs to show a message once, be it the message itself or a copy."""
    return costs[regime, "alone"] / (1 + _siblings(regime))


def _crowd(costs: Costs, others: int) -> list[str]:
    rows = []
    for regime in (*regimes.BACK_TO_BACK, *regimes.PLAIN_COPIES):
        alone, crowd = costs[regime, "alone"], costs[regime, "crowd"]
        rows.append((regime.name, [f"{alone:.2f}", f"{crowd:.2f}", f"{crowd / alone:.2f}"]))
    return _table("With other accounts online: µs a message", ("none", f"{others}", "ratio"), rows)


def _sessions(scenes: Mapping[str, Scene], others: int) -> list[str]:
    measured = [scenes[name] for name in ("crowd", *_BASE_LINES)]
    memory = [f"{scene.idleKilobytes:.0f}" for scene in measured]
    login = [f"{scene.loginMicroseconds / 1000:.2f}" for scene in measured]
    rows = [
        ("idle, KiB", [memory[0], _goal(_IDLE_GOAL), *memory[1:]]),
        ("login, ms of CPU", [login[0], "", *login[1:]]),
    ]
    columns = ("xmpproxy", "goal", *_BASE_LINES)
    return _table(f"A session, mean of {others}", columns, rows)


def _goal(goal: float | None) -> str:
    return "" if goal is None else f"<= {goal:g}"


def _table(
    heading: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]
) -> list[str]:
    return [
        "",
        _row(heading, columns),
        *(_row(f"  {name}", cells) for name, cells in rows),
    ]


def _row(name: str, cells: Iterable[str]) -> str:
    return (f"{name:46}" + "".join(f"{cell:>13}" for cell in cells)).rstrip()


#: What is measured, by part.
PARTS = {"relaying": _relaying, "copies": _copies}
