"""What every part of the benchmark needs: the server behind, certificates, processes, turns."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from twisted.internet import reactor
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate

from benchmarks.client import Door, Tls
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
QUICK = Effort(messages=4000, repeats=2, accounts=100, quick=True)


class Stage:
    """
    Where one part of the benchmark is measured.

    @ivar directory: for files; it has C{ca.pem}, C{cert.pem} and C{key.pem}.
    @ivar pictures: what is to be kept beside the report, by file name.
    @ivar upstream: the port, on 127.0.0.1, of the server behind.
    @ivar tlsUpstream: the port where the same server has TLS at once.
    """

    def __init__(
        self, directory: Path, sink: Sink, upstream: int, tlsUpstream: int, stack: ExitStack
    ) -> None:
        self.directory = directory
        self.pictures: dict[str, str] = {}
        self.upstream = upstream
        self.tlsUpstream = tlsUpstream
        self._authority = Certificate.loadPEM((directory / "ca.pem").read_bytes())
        self._sink = sink
        self._stack = stack

    def scenes(
        self, subjects: Mapping[str, Subject], managed: Container[str] = ()
    ) -> dict[str, Scene]:
        """
        Nobody is logged in yet.

        @param subjects: processes that have just been started; they end with the stage.
        @param managed: in which scenes there is stream management.
        @raise RuntimeError: one of them does not start.
        """
        for subject in subjects.values():
            self._stack.callback(subject.stop)
        scenes = {}
        for name, subject in subjects.items():
            subject.waitUntilListening()
            door = self.door(subject.port, subject.tls)
            scenes[name] = Scene(subject, door, name in managed)
        return scenes

    def callback(self, function: Callable[[], None]) -> None:
        """Have something called at the end."""
        self._stack.callback(function)

    def door(self, port: int, tls: Tls) -> Door:
        """Where clients log in: a port, and how they get TLS there."""
        return Door(port, tls, self._authority, self._sink)


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """A stage with a server of its own."""
    sink = Sink()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        certificates.make(directory, DOMAIN)
        shown = PrivateCertificate.loadPEM((directory / "full.pem").read_bytes())
        options = CertificateOptions(
            privateKey=shown.privateKey.original,
            certificate=shown.original,
            # Without any, Twisted refuses those who name one.
            acceptableProtocols=[b"xmpp-client"],
        )
        endpoints = (
            TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
            SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1"),
        )
        ports = [await endpoint.listen(sink) for endpoint in endpoints]
        upstream, tlsUpstream = (port.getHost().port for port in ports)
        yield Stage(directory, sink, upstream, tlsUpstream, stack)
        for port in ports:
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
