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
from benchmarks.scenes import SIBLINGS, Scene

#: The lowest CPU time (microseconds) of each regime in each scene.
Costs = Mapping[tuple[Regime, str], float]

_BASE_LINES = ("splice", "TLS splice", "domish")
#: The memory (KiB) that an idle session of the proxy may take.
_IDLE_GOAL = 90


def report(costs: Costs, scenes: Mapping[str, Scene], repeats: int) -> str:
    """
    All that was measured.

    @param repeats: of how many runs the costs are the lowest.
    """
    others = len(scenes["crowd"].others)
    return "\n".join(
        [
            *_about(repeats),
            *_relaying(costs),
            *_copies(costs),
            *_crowd(costs, others),
            *_sessions(scenes, others),
        ]
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


def _relaying(costs: Costs) -> list[str]:
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
    return _table("Relaying: µs a stanza", columns, rows)


def _copies(costs: Costs) -> list[str]:
    bursts = (*regimes.PLAIN_COPIES, *regimes.OTHER_COPIES)
    lines = []
    for heading, group in (
        (f"Shown to {SIBLINGS} siblings, {regimes.BURST} messages at a time: µs", bursts),
        (f"Shown to {SIBLINGS} siblings, one message at a time: µs", regimes.ONE_AT_A_TIME),
    ):
        rows = [
            (
                regime.name,
                [f"{cost:.1f}", _goal(regime.goal), f"{cost * regime.copies:.1f}"],
            )
            for regime in group
            for cost in [costs[regime, "alone"]]
        ]
        lines += _table(heading, ("a copy", "goal", "a message"), rows)
    return lines


def _crowd(costs: Costs, others: int) -> list[str]:
    rows = []
    for regime in (*regimes.BACK_TO_BACK, *regimes.PLAIN_COPIES):
        alone, crowd = costs[regime, "alone"], costs[regime, "crowd"]
        rows.append((regime.name, [f"{alone:.2f}", f"{crowd:.2f}", f"{crowd / alone:.2f}"]))
    return _table("With other accounts online: µs", ("none", f"{others}", "ratio"), rows)


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
