"""
The part C{management}: what it costs to acknowledge everything on both streams (XEP-0198), and what
a session takes whose client is away.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults

from benchmarks import regimes, subjects
from benchmarks.report import limit, table
from benchmarks.scenes import Scene
from benchmarks.stage import Costs, Effort, Stage, lowest

_PLAN = (*regimes.BACK_TO_BACK, *regimes.SPREAD_OUT, *regimes.ONE_IN_FLIGHT)
#: How much a stanza may cost with stream management, as a multiple of what it costs without.
_RATIO_GOAL = 1.3
#: The memory (KiB) that a session may take whose client is away.
_AWAY_GOAL = 40
#: The memory that what is kept for such a client may take, as a multiple of its bytes.
_KEPT_GOAL = 1.2
#: To how many sessions stanzas are sent while their clients are away, and how many to each.
_RECIPIENTS = 100
_KEPT = 1500


async def measure(stage: Stage, effort: Effort) -> list[str]:
    """Measure, and say what was found, by line."""
    names = ("without", "with", "away")
    scenes = stage.scenes(
        {name: subjects.proxy(stage.directory, stage.upstream) for name in names},
        managed=("with", "away"),
    )
    for name in ("without", "with"):
        await scenes[name].openSingle()
        await scenes[name].openOthers(regimes.SPREAD)
    costs = await lowest({"without": _PLAN, "with": _PLAN}, scenes, effort)
    away = scenes["away"]
    await away.openOthers(effort.accounts, vanishing=True)
    kept = await _keep(away, _KEPT // (3 if effort.quick else 1))
    return [*_ratios(costs), *_memory(away.idleKilobytes, kept, effort.accounts)]


def _ratios(costs: Costs) -> list[str]:
    rows = []
    for regime in _PLAN:
        ours, without = costs[regime, "with"], costs[regime, "without"]
        cells = [f"{ours:.2f}", f"{without:.2f}", f"{ours / without:.2f}", limit(_RATIO_GOAL)]
        rows.append((regime.name, cells))
    columns = ("xmpproxy", "without", "ratio", "goal")
    return table("With stream management: µs a stanza", columns, rows)


async def _keep(scene: Scene, messages: int) -> float:
    """
    Send to clients that are away.

    @return: the memory that it takes, as a multiple of the bytes that were sent.
    """
    sessions = scene.others[:_RECIPIENTS]
    before = scene.subject.memory
    sent = 0
    for number in range(messages):
        for session in sessions:
            data = regimes.chats("down", session, 1, number)
            session.down(data)
            sent += len(data)
        if number % 10 == 9:
            await gatherResults([Deferred.fromCoroutine(each.handled()) for each in sessions])
    return (scene.subject.memory - before) * 1024 / sent


def _memory(away: float, kept: float, accounts: int) -> list[str]:
    rows = [
        (f"with nothing to send it, KiB, mean of {accounts}", [f"{away:.0f}", limit(_AWAY_GOAL)]),
        ("what it is to be sent, for each byte", [f"{kept:.2f}", limit(_KEPT_GOAL)]),
    ]
    return table("A session whose client is away", ("xmpproxy", "goal"), rows)
