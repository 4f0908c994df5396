"""The part C{copies}: what it costs to show a message to the other sessions of an account."""

from __future__ import annotations

from benchmarks import regimes, subjects
from benchmarks.regimes import Regime
from benchmarks.report import limit, table
from benchmarks.stage import Costs, Effort, Stage, lowest, openFor

_PLANS: dict[str, tuple[Regime, ...]] = {
    "alone": (
        *regimes.BACK_TO_BACK,
        *regimes.COPIES.values(),
        *regimes.WITH_EXTRAS,
        *regimes.ONE_AT_A_TIME,
        *regimes.SERVED,
    ),
    "unmirrored": (*regimes.BACK_TO_BACK, *regimes.SERVED),
}
#: The CPU time (microseconds) that a message may take beyond its relaying where nobody is shown it.
_ALONE_GOAL = 2


async def measure(stage: Stage, effort: Effort) -> list[str]:
    """Measure, and say what was found, by line."""
    scenes = stage.scenes(
        {
            name: subjects.proxy(stage.directory, stage.upstream, mirror=name == "alone")
            for name in _PLANS
        }
    )
    for name, plan in _PLANS.items():
        await openFor(plan, scenes[name])
    costs = await lowest(_PLANS, scenes, effort)
    return [*_copies(costs), *_otherCopies(costs), *_served(costs), *_bookkeeping(costs)]


def _copies(costs: Costs) -> list[str]:
    numbers = [f"{siblings}" for siblings in regimes.SIBLINGS]
    copies, lines = [], []
    for kind in regimes.KINDS:
        group = [regimes.COPIES[kind, siblings] for siblings in regimes.SIBLINGS]
        name, goal = group[0].name, limit(regimes.COPIES[kind, regimes.SOME].goal)
        copies.append((name, [*(f"{_copy(costs, each):.1f}" for each in group), goal]))
        lines.append((name, [f"{_line(costs, each):.1f}" for each in group]))
    return [
        *table("Shown to siblings: µs a copy", (*numbers, f"goal, {regimes.SOME}"), copies),
        *table("The same in all: µs for each time it is shown", numbers, lines),
    ]


def _otherCopies(costs: Costs) -> list[str]:
    rows = [
        (regime.name, [f"{_line(costs, regime):.1f}", f"{costs[regime, 'alone']:.1f}"])
        for regime in (*regimes.WITH_EXTRAS, *regimes.ONE_AT_A_TIME)
    ]
    columns = ("each time", "a message")
    return table(f"Other messages shown to {regimes.SOME} siblings: µs", columns, rows)


def _served(costs: Costs) -> list[str]:
    rows = []
    for regime in regimes.SERVED:
        ours, relayed = (
            costs[regime, name] / _siblings(regime) for name in ("alone", "unmirrored")
        )
        rows.append((regime.name, [*_more(ours, relayed), limit(regime.goal)]))
    columns = ("xmpproxy", "relayed", "more", "goal")
    return table("The server's carbons: µs a carbon", columns, rows)


def _bookkeeping(costs: Costs) -> list[str]:
    rows = [
        (
            regime.name,
            [*_more(costs[regime, "alone"], costs[regime, "unmirrored"]), limit(_ALONE_GOAL)],
        )
        for regime in regimes.BACK_TO_BACK
    ]
    columns = ("xmpproxy", "relayed", "more", "goal")
    return table("Shown to nobody, one session: µs a message", columns, rows)


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
