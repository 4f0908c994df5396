"""The part C{relaying}: what it costs to pass a stanza on, beside base lines made of Twisted."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import regimes, subjects
from benchmarks.regimes import Regime
from benchmarks.report import limit, table
from benchmarks.scenes import Scene
from benchmarks.stage import Costs, Effort, Stage, lowest, openFor
from benchmarks.subjects import Subject

_RELAYING = (*regimes.BACK_TO_BACK, *regimes.SPREAD_OUT)
_ALONE = (*regimes.BACK_TO_BACK, *regimes.PLAIN_COPIES)
_BASE_LINES = ("splice", "TLS splice", "domish")
_PLANS: dict[str, tuple[Regime, ...]] = {
    "alone": _ALONE,
    "crowd": (*_RELAYING, *regimes.PLAIN_COPIES),
    **dict.fromkeys(_BASE_LINES, _RELAYING),
}
#: The memory (KiB) that an idle session of the proxy may take.
_IDLE_GOAL = 90


async def measure(stage: Stage, effort: Effort) -> list[str]:
    """Measure, and say what was found, by line."""
    scenes = stage.scenes({name: _start(name, stage) for name in _PLANS})
    for name, plan in _PLANS.items():
        if name != "alone":
            await scenes[name].openOthers(effort.accounts)
        await openFor(plan, scenes[name])
    costs = await lowest(_PLANS, scenes, effort)
    return [
        *_relaying(costs),
        *_crowd(costs, effort.accounts),
        *_sessions(scenes, effort.accounts),
    ]


def _start(name: str, stage: Stage) -> Subject:
    match name:
        case "splice":
            return subjects.relay("splice", stage.directory, stage.upstream, tls=False)
        case "TLS splice":
            return subjects.relay("splice", stage.directory, stage.upstream)
        case "domish":
            return subjects.relay("domish", stage.directory, stage.upstream)
        case _:
            return subjects.proxy(stage.directory, stage.upstream)


def _relaying(costs: Costs) -> list[str]:
    rows = []
    for regime in _RELAYING:
        ours = costs[regime, "alone" if regime in regimes.BACK_TO_BACK else "crowd"]
        splice, tlsSplice, domish = (costs[regime, name] for name in _BASE_LINES)
        rows.append(
            (
                regime.name,
                [
                    f"{ours:.2f}",
                    limit(regime.goal),
                    *(f"{cost:.2f}" for cost in (splice, tlsSplice, domish)),
                    f"{ours / tlsSplice:.1f}",
                    f"{ours / domish:.2f}",
                ],
            )
        )
    columns = ("xmpproxy", "goal", *_BASE_LINES, "x TLS splice", "x domish")
    return table("Relaying: µs a stanza", columns, rows)


def _crowd(costs: Costs, others: int) -> list[str]:
    rows = []
    for regime in _ALONE:
        alone, crowd = costs[regime, "alone"], costs[regime, "crowd"]
        rows.append((regime.name, [f"{alone:.2f}", f"{crowd:.2f}", f"{crowd / alone:.2f}"]))
    return table("With other accounts online: µs a message", ("none", f"{others}", "ratio"), rows)


def _sessions(scenes: Mapping[str, Scene], others: int) -> list[str]:
    measured = [scenes[name] for name in ("crowd", *_BASE_LINES)]
    memory = [f"{scene.idleKilobytes:.0f}" for scene in measured]
    login = [f"{scene.loginMicroseconds / 1000:.2f}" for scene in measured]
    rows = [
        ("idle, KiB", [memory[0], limit(_IDLE_GOAL), *memory[1:]]),
        ("login, ms of CPU", [login[0], "", *login[1:]]),
    ]
    return table(f"A session, mean of {others}", ("xmpproxy", "goal", *_BASE_LINES), rows)
