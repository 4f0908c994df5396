"""
The part C{scale}: as many sessions as the descriptors of one process allow. It is apart: nothing
else of the benchmark needs as much memory, or time.
"""

from __future__ import annotations

import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import count, cycle, islice

from benchmarks import regimes, subjects
from benchmarks.crowd import Crowd, Member
from benchmarks.report import limit, table
from benchmarks.stage import Effort, Stage
from benchmarks.turns import COLUMNS, Turns

#: What one process needs besides two descriptors for each session.
_BESIDES = 1000
#: How many sessions there are for comparison.
_FEWER = 1000
#: The same where it is to be soon.
_QUICK = 60
#: How many log in, or send, at the same time.
_AT_ONCE = 10
#: How many files a proxy has open at most that has no sessions.
_FEW = 50
#: On how many clients each arrives: accounts have two sessions.
_SHOWN = 3
#: Seconds in which everybody has come back.
_SECONDS = 300.0

_RATIO_GOAL = 1.1
_TURN_GOAL = 20


def _say(text: str) -> None:
    print(f"{text} ...", file=sys.stderr, flush=True)


def _message(sender: Member, receiver: Member, number: int) -> bytes:
    start = f"<message to='{receiver.jid}' from='{sender.jid}' type='chat' id='{number:08x}'><body>"
    end = "</body></message>"
    return f"{start}{'x' * (regimes.SIZE - len(start) - len(end))}{end}".encode()


class _Town:
    """
    A proxy and its clients, two in each account.

    @ivar turns: of the proxy's reactor.
    @ivar rows: what was found of these.
    """

    def __init__(self, stage: Stage, upstream: int, sessions: int) -> None:
        file = stage.directory / f"{sessions}.turns"
        self.turns = Turns(file)
        self.proxy = subjects.proxy(stage.directory, upstream, turns=file, limited=["logins"])
        stage.callback(self.proxy.stop)
        self.proxy.waitUntilListening()
        self.sessions = sessions
        self.rows: list[tuple[str, list[str]]] = []
        self.crowd = Crowd(self.proxy.port, stage.directory / "ca.pem")
        self.crowd.add(sessions, sessions // 2, f"of{sessions}-")
        self._numbers = count()

    def open(self) -> tuple[float, float]:
        """
        Log in everybody.

        @return: memory (KiB) and CPU time (milliseconds) that a session took.
        """
        self.crowd.logIn(_AT_ONCE, _SECONDS, _AT_ONCE)
        self.turns.forget()
        memory, cpu = self.proxy.memory, self.proxy.cpu
        self.crowd.logIn(_AT_ONCE, _SECONDS)
        self.note(f"log in, {_AT_ONCE} at a time")
        opened = self.sessions - _AT_ONCE
        return (
            (self.proxy.memory - memory) / opened,
            (self.proxy.cpu - cpu) / opened * 1000,
        )

    def cost(self, messages: int, some: int) -> float:
        """
        Have messages sent, by one half of the accounts to the other.

        @param some: among how many sessions.
        @return: the CPU time (microseconds) of each.
        """
        members = self.crowd.members[:some]
        pairs = cycle(zip(members[0::2], members[1::2], strict=True))
        cpu = self.proxy.cpu
        for _ in range(messages // _AT_ONCE):
            self.crowd.exchange(
                [
                    (sender, _message(sender, receiver, next(self._numbers)))
                    for sender, receiver in islice(pairs, _AT_ONCE)
                ],
                _SHOWN,
            )
        return (self.proxy.cpu - cpu) / (messages // _AT_ONCE * _AT_ONCE) * 1e6

    def stop(self) -> float:
        """
        Have the proxy end in order.

        @return: the seconds that took.
        """
        began = time.monotonic()
        self.proxy.signal(signal.SIGTERM)
        self.crowd.run(lambda: self.proxy.ended, _SECONDS)
        took = time.monotonic() - began
        self.note("end, everybody is told")
        self.crowd.vanish()
        return took

    def vanish(self) -> float:
        """
        All connections of clients break.

        @return: the seconds until the proxy has let go of all.
        """
        began = time.monotonic()
        self.crowd.vanish()
        while self.proxy.descriptors > _FEW and time.monotonic() < began + _SECONDS:
            time.sleep(0.1)
        self.note("all connections break")
        return time.monotonic() - began

    def comeBack(self, name: str) -> list[str]:
        """Everybody logs in, all at once: the cells of a row."""
        crowd = self.crowd
        crowd.failures = crowd.resumed = 0
        cpu, began = self.proxy.cpu, time.monotonic()
        crowd.logIn(self.sessions, _SECONDS)
        took = time.monotonic() - began
        self.note(name)
        return [
            f"{took:.1f}",
            f"{(self.proxy.cpu - cpu) / self.sessions * 1000:.2f}",
            f"{crowd.failures}",
            f"{crowd.resumed / self.sessions:.0%}",
        ]

    def note(self, name: str) -> None:
        """Keep what turns took since this was asked last."""
        self.rows.append((name, self.turns.cells()))


async def measure(stage: Stage, effort: Effort) -> list[str]:
    """Measure, and say what was found, by line. Nothing else happens in this process meanwhile."""
    server = subjects.router(stage.directory)
    stage.callback(server.stop)
    server.waitUntilListening()
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = _QUICK if effort.quick else (most - _BESIDES) // 2
    few = _QUICK // 2 if effort.quick else _FEWER
    towns = [_Town(stage, server.port, sessions) for sessions in (few, many)]
    opened = []
    for town in towns:
        _say(f"{town.sessions} sessions log in")
        opened.append(town.open())
    busy = 2 * _AT_ONCE
    messages = max(effort.messages // 6, many // 2)
    costs: dict[tuple[int, bool], float] = defaultdict(lambda: float("inf"))
    for run in range(effort.repeats):
        _say(f"messages, run {run + 1} of {effort.repeats}")
        for town in towns:
            for all in (False, True):
                cost = town.cost(messages, town.sessions if all else busy)
                costs[town.sessions, all] = min(cost, costs[town.sessions, all])
    town = towns[1]
    town.note("messages")
    rows = [
        _compared("memory, KiB", [each[0] for each in opened], _RATIO_GOAL),
        _compared("login, ms", [each[1] for each in opened], _RATIO_GOAL),
        _compared(
            f"message among {busy} sessions, µs",
            [costs[each, False] for each in (few, many)],
            _RATIO_GOAL,
        ),
        _compared("message among all, in turn, µs", [costs[each, True] for each in (few, many)]),
    ]
    lines = table(
        "Sessions online, two in each account", (f"{few}", f"{many}", "ratio", "goal"), rows
    )

    towns[0].proxy.stop()
    _say("the proxy starts again")
    times = [("the proxy ends", [f"{town.stop():.1f}"])]
    town.proxy.start()
    town.proxy.waitUntilListening()
    town.turns.forget()
    returns = [("after a restart", town.comeBack("all come back after a restart"))]
    _say("all connections break")
    times.append(("all connections break", [f"{town.vanish():.1f}"]))
    town.crowd.tickets = True
    returns.append(("to a running proxy", town.comeBack("all come back")))
    _say("all connections break")
    town.vanish()
    returns.append(("the same with tickets of TLS", town.comeBack("all come back with tickets")))
    _say("the server dies")
    began = time.monotonic()
    server.stop()
    town.crowd.run(lambda: not town.crowd.online, _SECONDS)
    times.append(("the server dies", [f"{time.monotonic() - began:.1f}"]))
    town.note("the server dies")
    lines += table(
        f"{many} clients come back at once", ("s", "ms of CPU", "tried again", "resumed"), returns
    )
    lines += table(f"{many} clients go: until they are gone", ("s",), times)
    rows = [(name, [*cells, limit(_TURN_GOAL)]) for name, cells in town.rows]
    return lines + table(
        f"Turns of the reactor with {many} sessions, ms",
        (*COLUMNS, "goal"),
        rows,
    )


def _compared(
    name: str, values: Sequence[float], goal: float | None = None
) -> tuple[str, list[str]]:
    few, many = values
    return name, [f"{few:.1f}", f"{many:.1f}", f"{many / few:.2f}", limit(goal)]
