"""What every part of the benchmark needs: the server behind, certificates, processes, turns."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.ssl import Certificate

from benchmarks.client import Door
from benchmarks.regimes import Regime
from benchmarks.scenes import Scene
from benchmarks.sink import DOMAIN, Sink
from benchmarks.subjects import Subject
from xmpproxy.lab import certificates

#: The lowest CPU time (microseconds) of each regime in each scene.
Costs = Mapping[tuple[Regime, str], float]


class Effort(NamedTuple):
    """
    How much is measured.

    @ivar messages: in one run of back to back relaying; less where a message costs more.
    @ivar repeats: how many runs the lowest cost is taken of.
    @ivar accounts: how many others are online where there are any.
    @ivar quick: whether it is to be soon rather than exact.
    """

    messages: int
    repeats: int
    accounts: int
    quick: bool = False


FULL = Effort(messages=12000, repeats=7, accounts=500)
QUICK = Effort(messages=4000, repeats=3, accounts=100, quick=True)


class Stage:
    """
    Where one part of the benchmark is measured.

    @ivar directory: for files; it has C{ca.pem}, C{cert.pem} and C{key.pem}.
    @ivar upstream: the port, on 127.0.0.1, of the server behind.
    """

    def __init__(self, directory: Path, sink: Sink, upstream: int, stack: ExitStack) -> None:
        self.directory = directory
        self.upstream = upstream
        self._authority = Certificate.loadPEM((directory / "ca.pem").read_bytes())
        self._sink = sink
        self._stack = stack

    def scenes(self, subjects: Mapping[str, Subject]) -> dict[str, Scene]:
        """
        Nobody is logged in yet.

        @param subjects: processes that have just been started; they end with the stage.
        @raise RuntimeError: one of them does not start.
        """
        for subject in subjects.values():
            self._stack.callback(subject.stop)
        scenes = {}
        for name, subject in subjects.items():
            subject.waitUntilListening()
            door = Door(subject.port, subject.tls, self._authority, self._sink)
            scenes[name] = Scene(subject, door)
        return scenes


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """A stage with a server of its own."""
    sink = Sink()
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(sink)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        certificates.make(directory, DOMAIN)
        yield Stage(directory, sink, port.getHost().port, stack)
    await port.stopListening()


async def lowest(
    plans: Mapping[str, Sequence[Regime]], scenes: Mapping[str, Scene], effort: Effort
) -> Costs:
    """
    Run regimes, the scenes in turns, again and again.

    @param plans: the regimes by the scene's name.
    """
    costs: dict[tuple[Regime, str], float] = defaultdict(lambda: float("inf"))
    for _ in range(effort.repeats):
        for regime in dict.fromkeys(regime for plan in plans.values() for regime in plan):
            for name, plan in plans.items():
                if regime in plan:
                    cost = await regime.cost(scenes[name], effort.messages)
                    costs[regime, name] = min(costs[regime, name], cost)
    return costs


async def openFor(plan: Iterable[Regime], scene: Scene) -> None:
    """Log in the sessions that regimes need, but for the others."""
    await scene.openSingle()
    for regime in plan:
        if regime.account is not None:
            await scene.openAccount(regime.account)
