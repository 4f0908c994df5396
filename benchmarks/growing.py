"""
The part C{growing}: whether it costs more where more is online, and how long the garbage collector
takes.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle, islice
from typing import NamedTuple

from twisted.internet.defer import gatherResults

from benchmarks import regimes, subjects
from benchmarks.client import Session
from benchmarks.pauses import Pauses
from benchmarks.regimes import Regime, Way
from benchmarks.report import limit, table
from benchmarks.scenes import Scene
from benchmarks.stage import Costs, Effort, Stage, lowest, openFor

#: How many sessions are online, and in how many accounts: at most one for each.
_ONLINE = (10, 1000, 5000)
_ACCOUNTS = (2, 100, 5000)
#: The same where it is to be soon.
_FEWER = (10, 500)
#: How many sessions at a time send, or get, a stanza each.
_SPREAD = 10
#: How many sessions leave, and how many come, while pauses are watched.
_TURNOVER = 250

#: What a stanza may cost at most with many online, as a multiple of its cost with few.
_RATIO_GOAL = 1.1
#: How long a pause may be, in milliseconds.
_PAUSE_GOAL = 10


def _presence(way: Way, session: Session, number: int) -> bytes:
    """A stanza that concerns one session of an account, whatever others there are."""
    room = "orchard@rooms.example.org/romeo"
    address = f"to='{room}'" if way == "up" else f"to='{session.jid}' from='{room}'"
    start = f"<presence {address} id='{number:08x}'><x xmlns='urn:x'><body>"
    end = "</body></x></presence>"
    return f"{start}{'x' * (regimes.SIZE - len(start) - len(end))}{end}".encode()


def _inTurn(way: Way, *, same: bool) -> Callable[[Scene, int], Awaitable[None]]:
    async def run(scene: Scene, messages: int) -> None:
        sessions = cycle(scene.others[:_SPREAD] if same else scene.others)
        for number in range(messages // _SPREAD):
            some = list(islice(sessions, _SPREAD))
            done = [each.leaving(1) if way == "up" else each.arriving(1) for each in some]
            for each in some:
                send = each.up if way == "up" else each.down
                send(_presence(way, each, number))
            await gatherResults(done)

    return run


#: What may not cost more where more is online.
_LEVEL = (
    *regimes.RELAYED.values(),
    Regime(f"presence to server, {_SPREAD} sessions in turn", _inTurn("up", same=True), 2),
    Regime(f"presence to client, {_SPREAD} sessions in turn", _inTurn("down", same=True), 2),
    *regimes.PLAIN_COPIES,
)
#: What does, whatever is measured: no cache holds that many sessions.
_COLD = (
    Regime("presence to server, all in turn", _inTurn("up", same=False), 2),
    Regime("presence to client, all in turn", _inTurn("down", same=False), 2),
)
_PLAN = (*_LEVEL, *_COLD)


class _Longest(NamedTuple):
    """
    The longest pauses, in milliseconds.

    @ivar logins: while the crowd came.
    @ivar traffic: while all was measured.
    @ivar turnover: while some left and others came.
    """

    logins: float
    traffic: float
    turnover: float


async def measure(stage: Stage, effort: Effort) -> list[str]:
    """Measure, and say what was found, by line."""
    lines: list[str] = []
    online = _FEWER if effort.quick else _ONLINE
    longest: dict[str, _Longest] = {}
    for accounts in _ACCOUNTS[-1:] if effort.quick else _ACCOUNTS:
        name = f"{accounts} accounts" if accounts < online[-1] else "an account each"
        costs, longest[name] = await _grow(stage, effort, online, accounts)
        rows = []
        for regime in _PLAN:
            few, *_, many = cells = [costs[regime, f"{sessions}"] for sessions in online]
            goal = limit(_RATIO_GOAL if regime in _LEVEL else None)
            rows.append(
                (regime.name, [*(f"{each:.2f}" for each in cells), f"{many / few:.2f}", goal])
            )
        columns = (*(f"{sessions}" for sessions in online), "ratio", "goal")
        lines += table(f"Sessions online, {name}: µs a message", columns, rows)
    rows = [
        (name, [*(f"{pause:.1f}" for pause in pauses), limit(_PAUSE_GOAL)])
        for name, pauses in longest.items()
    ]
    heading = f"Longest pause with {online[-1]} sessions: ms of CPU"
    return [*lines, *table(heading, ("logging in", "traffic", "turnover", "goal"), rows)]


async def _grow(
    stage: Stage, effort: Effort, online: Sequence[int], accounts: int
) -> tuple[Costs, _Longest]:
    """Measure with few and with many online, in that many accounts, in turns."""
    file = stage.directory / f"{accounts}.pauses"
    pauses = Pauses(file)
    started = {
        f"{sessions}": subjects.proxy(
            stage.directory, stage.upstream, pauses=file if sessions == online[-1] else None
        )
        for sessions in online
    }
    scenes = stage.scenes(started)
    for sessions, scene in zip(online, scenes.values(), strict=True):
        print(f"{sessions} sessions log in, {accounts} accounts ...", file=sys.stderr, flush=True)
        await scene.openOthers(sessions, accounts)
        await openFor(_PLAN, scene)
    found = [pauses.longest]
    pauses.forget()
    costs = await lowest(dict.fromkeys(scenes, _PLAN), scenes, effort)
    found.append(pauses.longest)
    pauses.forget()
    await scenes[f"{online[-1]}"].turnOver(_TURNOVER)
    found.append(pauses.longest)
    for subject in started.values():
        subject.stop()
    return costs, _Longest(*(1000 * max(generations) for generations in found))
