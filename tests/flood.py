"""
Floods: more is offered than anybody takes, and the proxy's memory is watched.

C{python -m tests.flood} offers 10 MB a second for long; the test command offers some MB as fast as
they are taken. The server behind is the benchmarks': it does no more than it must.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.interfaces import IPushProducer
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import LoopingCall, deferLater, react
from zope.interface import implementer

from benchmarks.client import Client, Tls
from benchmarks.sink import DOMAIN, Sink, SinkStream
from tests.rawclient import RawClient
from tests.servers import Proxy, Table
from xmpproxy.lab import certificates

MEGABYTE = 1_000_000
#: What is offered in a second if it is offered for long.
RATE = 10 * MEGABYTE
#: By how much the proxy's memory may grow, whatever is offered. Twice what it was seen to.
MOST_GROWTH = 12 * MEGABYTE

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LOOK_SECONDS = 0.02
#: Written at once, as often as the connection takes it.
_PORTION = 65536
#: How often others have to have said something while nothing was taken of what is offered, until
#: that is taken for the end of it.
_EXCHANGES = 20
#: The same, if all of it is to come: as long as a busy machine may take over the next piece.
_PATIENCE = 1000

_MESSAGE = b"<message to='romeo@example.net' type='chat' id='f'><body>%b</body></message>"
_SAID = _MESSAGE % (900 * b"-")
_HEARD = _SAID.replace(b" to=", b" from=")
_REGISTER = b"<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>"
_FORM = b"<query xmlns='jabber:iq:register'><instructions>%b</instructions></query>" % (2000 * b"-")
_REGISTRATION = b"<register xmlns='http://jabber.org/features/iq-register'/>"
_HEADER = (
    f"<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'>"
).encode()
_STARTTLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
#: So many of them flood at the same time.
_STRANGERS = 4
_NUMBER = re.compile(rb"<body>(\d+)</body>")


class Stream(SinkStream):
    """
    The server's stream of one session. It is not read while what it gets to say is not.

    @ivar came: how many bytes have come.
    @ivar heard: what has come, of a bystander.
    """

    transport: Any
    came = 0
    heard = b""

    def connectionMade(self) -> None:
        super().connectionMade()
        cast(Server, self.factory).all.append(self)
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self.came += len(data)
        if b"bystander" in self._user:
            self.heard += data
        super().dataReceived(data)

    def _features(self) -> bytes:
        return super()._features() + (b"" if self._user else _REGISTRATION)

    def _result(self, payload: bytes) -> bytes:
        return _FORM if b"jabber:iq:register" in payload else super()._result(payload)


class Server(Sink):
    """
    The server.

    @ivar all: its streams, also those on which no resource was bound.
    """

    protocol = Stream

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Stream] = []


class Listener(Client):
    """
    A client.

    @ivar came: how many bytes have come.
    """

    transport: Any
    came = 0

    def dataReceived(self, data: bytes) -> None:
        self.came += len(data)
        super().dataReceived(data)

    async def begin(self, tls: bool, trust: Certificate) -> None:
        """Open a stream, up to what is before SASL."""
        await self._ask(_HEADER, b"</stream:features>")
        if tls:
            await self._ask(_STARTTLS, b"<proceed")
            self.transport.startTLS(optionsForClientTLS(DOMAIN, trust))
            await self._ask(_HEADER, b"</stream:features>")


@implementer(IPushProducer)
class Pump:
    """
    Offers as much as it may, as fast as the connection takes it.

    @ivar offered: how many bytes it might have sent by now.
    @ivar sent: how many it has sent.
    """

    def __init__(self, transport: Any, piece: bytes) -> None:
        """
        @param piece: what it sends, again and again.
        """
        self.offered = 0
        self.sent = 0
        self._piece = piece * (_PORTION // len(piece))
        self._transport = transport
        self._paused = False
        transport.unregisterProducer()
        transport.registerProducer(self, True)

    def offer(self, count: int) -> None:
        """Have that many more."""
        self.offered += count
        self._send()

    def resumeProducing(self) -> None:
        """The connection takes more."""
        self._paused = False
        self._send()

    def _send(self) -> None:
        while not self._paused and self.sent < self.offered:
            self.sent += len(self._piece)
            self._transport.write(self._piece)

    def pauseProducing(self) -> None:
        """It takes no more."""
        self._paused = True

    def stopProducing(self) -> None:
        """It is gone."""
        self.offered = 0


class Amount(NamedTuple):
    """
    How much is offered.

    @ivar bytes: at once ...
    @ivar seconds: ... or L{RATE} for so long.
    """

    bytes: int = 0
    seconds: float = 0.0


class World:
    """
    A server, the proxy in a process of its own, and a bystander.

    @ivar server: the server.
    @ivar growth: by how much the proxy's resident memory has grown at most, in bytes.
    @ivar offered: how much was offered.
    @ivar siblings: how many siblings do not read.
    @ivar limit: what the log says of them.
    """

    def __init__(self, amount: Amount, scene: Scene) -> None:
        self.server = Server()
        self.growth = 0
        self.offered = 0
        self.siblings = scene.siblings
        self.limit = scene.limit
        self._secure = scene.tls
        self._amount = amount
        self._directory = Path(tempfile.mkdtemp(prefix="xmpproxy-flood-"))
        certificates.make(self._directory, DOMAIN)
        self._limits = scene.limits
        self._clients: list[Listener] = []
        self._exchanged = 0
        self._base = 0
        self._watch = LoopingCall(self._look)

    async def start(self) -> None:
        """Start everything."""
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        self._listening = await endpoint.listen(self.server)
        place = SimpleNamespace(
            domain=DOMAIN,
            host="127.0.0.1",
            port=self._listening.getHost().port,
            trust=self._directory / "ca.pem",
            certificate=self._directory / "cert.pem",
            key=self._directory / "key.pem",
        )
        tables: dict[str, Table] = {
            "domain": {"upstream-tls": "none", "registration": True},
            "mirror": {},
            "limits": self._limits,
            "stream-management": {},
        }
        listen = {"tls": self._tls}
        self.proxy = Proxy(cast(Any, place), [listen], tables)
        await self.proxy.start()
        trust = place.trust
        self._trust = Certificate.loadPEM(trust.read_bytes())
        port = self.proxy.port
        jid = f"bystander@{DOMAIN}"
        self._bystander = RawClient("127.0.0.1", port, jid, "secret", "here", trust)
        await self._bystander.login(self._tls)
        # What every session's first stanzas take is taken before.
        for _ in range(5):
            await self.exchange()

    @property
    def _tls(self) -> Tls:
        return "starttls" if self._secure else "none"

    async def stop(self) -> None:
        """Stop everything."""
        if self._watch.running:
            self._watch.stop()
        for client in self._clients:
            client.transport.abortConnection()
        for stream in self.server.all:
            stream.transport.abortConnection()
        await self._bystander.abort()
        await self.proxy.stop()
        await self._listening.stopListening()
        shutil.rmtree(self._directory, ignore_errors=True)

    # Sessions

    async def connect(self) -> Listener:
        """A client connects. What it sends does not pile up with its own system."""
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.proxy.port)
        client: Listener = await connectProtocol(endpoint, Listener())
        self._clients.append(client)
        client.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PORTION)
        return client

    async def begins(self) -> Listener:
        """A client connects, up to SASL."""
        client = await self.connect()
        await client.begin(self._secure, self._trust)
        return client

    async def login(self, user: str, resource: str = "home") -> tuple[Listener, Stream]:
        """A client logs in."""
        client = await self.connect()
        options = optionsForClientTLS(DOMAIN, self._trust)
        await client.login(user, resource, self._tls, options)
        return client, cast(Stream, self.server.streams[f"{user}@{DOMAIN}/{resource}"])

    async def exchange(self) -> None:
        """The bystander sends and gets a message."""
        number = str(self._exchanged)
        self._exchanged += 1
        stream = self.server.streams[str(self._bystander.jid.full())]
        message = f"<message from='nurse@{DOMAIN}' type='chat' id='{number}'>"
        stream.transport.write(f"{message}<body>{number}</body></message>".encode())
        await self._bystander.expectBodies(number)
        self._bystander.say(f"nurse@{DOMAIN}", number)
        await self._bystander.sync()

    def check(self) -> list[str]:
        """
        What is wrong in the end: the bystander's messages have come and gone in order, and memory
        has not grown by much.
        """
        problems = []
        said = [str(number) for number in range(self._exchanged)]
        stream = cast(Stream, self.server.streams[str(self._bystander.jid.full())])
        if [each.decode() for each in _NUMBER.findall(stream.heard)] != said:
            problems.append("the server has not got the bystander's messages in order")
        if self._bystander.bodies != said:
            problems.append("the bystander has not got its messages in order")
        if self.growth > MOST_GROWTH:
            problems.append(f"memory has grown by {self.growth} bytes")
        return problems

    # Memory

    def memory(self) -> int:
        """How many bytes of the proxy are resident."""
        assert self.proxy.transport is not None
        statm = Path(f"/proc/{self.proxy.transport.pid}/statm")
        return int(statm.read_text().split()[1]) * _PAGE

    def _look(self) -> None:
        self.growth = max(self.growth, self.memory() - self._base)

    # Floods

    async def flood(self, *pumps: Pump) -> bool:
        """
        Offer it, as long as any is taken, while others exchange messages.

        @return: whether all was taken from any of them.
        """
        self._base = self.memory()
        self._watch.start(_LOOK_SECONDS)
        began = reactor.seconds()
        elapsed = 0.0
        while elapsed < self._amount.seconds:
            await self.exchange()
            await deferLater(reactor, _LOOK_SECONDS)
            elapsed = reactor.seconds() - began
            for pump in pumps:
                pump.offer(int(RATE * elapsed) // len(pumps) - pump.offered)
        for pump in pumps:
            pump.offer(self._amount.bytes // len(pumps))
        await self.settle(lambda: sum(pump.sent for pump in pumps))
        self.offered = sum(pump.offered for pump in pumps)
        return any(pump.sent >= pump.offered for pump in pumps)

    async def arrived(self, pump: Pump, came: Callable[[], int]) -> list[str]:
        """
        What is offered is no more than what was taken, if that was for long.

        @return: what is wrong if not all arrives.
        """
        if self._amount.seconds:
            pump.offered = pump.sent
        await self.settle(came, most=_PATIENCE)
        return [] if came() >= pump.offered else [f"{came()} bytes came of {pump.offered}"]

    async def settle(self, taken: Callable[[], int], most: int = _EXCHANGES) -> None:
        """
        Others exchange messages until nothing more is taken.

        @param most: so many messages long.
        """
        before, count = -1, 0
        while count < most:
            await self.exchange()
            now = taken()
            count = count + 1 if now == before else 0
            before = now
        self._look()


# Each returns what is wrong.


async def clientFloods(world: World) -> list[str]:
    """A client floods, the server does not read; then it does."""
    client, stream = await world.login("flooder")
    return await _floods(world, Pump(client.transport, _SAID), stream)


async def serverFloods(world: World) -> list[str]:
    """The same the other way."""
    client, stream = await world.login("flooded")
    return await _floods(world, Pump(stream.transport, _HEARD), client)


async def _floods(world: World, pump: Pump, deaf: Listener | Stream) -> list[str]:
    deaf.transport.pauseProducing()
    came = deaf.came
    problems = ["all was taken"] if await world.flood(pump) else []
    deaf.transport.resumeProducing()
    return problems + await world.arrived(pump, lambda: deaf.came - came)


async def bothRead(world: World) -> list[str]:
    """A client floods, and so does its server; both read."""
    client, stream = await world.login("both")
    up, down = stream.came, client.came
    pumps = Pump(client.transport, _SAID), Pump(stream.transport, _HEARD)
    await world.flood(*pumps)
    problems = await world.arrived(pumps[0], lambda: stream.came - up)
    return problems + await world.arrived(pumps[1], lambda: client.came - down)


async def siblings(world: World) -> list[str]:
    """Siblings do not read what a client that floods is shown to have said."""
    client, stream = await world.login("shown")
    for number in range(world.siblings):
        deaf, _ = await world.login("shown", f"deaf{number}")
        deaf.transport.pauseProducing()
    came = stream.came
    pump = Pump(client.transport, _SAID)
    await world.flood(pump)
    problems = await world.arrived(pump, lambda: stream.came - came)
    if world.limit not in world.proxy.log:
        problems.append(f"nobody was too slow: {world.limit}")
    return problems


async def beforeLogin(world: World) -> list[str]:
    """Clients have the server say much before they log in, and read nothing of it."""
    clients = [await world.begins() for _ in range(_STRANGERS)]
    for client in clients:
        client.transport.pauseProducing()
    pumps = [Pump(client.transport, _REGISTER) for client in clients]
    return ["all was taken"] if await world.flood(*pumps) else []


async def strangers(world: World) -> list[str]:
    """Clients that never log in send spaces, which are allowed."""
    clients = [await world.begins() for _ in range(_STRANGERS)]
    pumps = [Pump(client.transport, b" ") for client in clients]
    return ["all was taken"] if await world.flood(*pumps) else []


_UNLIMITED: Table = {"bytes-per-second": 0}
_ALL_QUEUES: Table = {
    "bytes-per-second": 0,
    "queue-bytes": 100 * MEGABYTE,
    "all-queues-bytes": 4 * MEGABYTE,
}


class Scene(NamedTuple):
    """
    @ivar play: what happens.
    @ivar tls: whether clients have TLS.
    @ivar limits: the configuration's.
    @ivar siblings: how many do not read, where there are any.
    @ivar limit: what the log says of them.
    """

    play: Callable[[World], Awaitable[list[str]]]
    tls: bool = False
    limits: Table = _UNLIMITED
    siblings: int = 4
    limit: str = "bytes were not read"


SCENES = {
    "client floods, server does not read": Scene(clientFloods),
    "the same through TLS": Scene(clientFloods, tls=True),
    "server floods, client does not read": Scene(serverFloods),
    "the same through TLS, too": Scene(serverFloods, tls=True),
    "both flood, both read": Scene(bothRead),
    "siblings do not read": Scene(siblings),
    "many siblings do not read": Scene(siblings, False, _ALL_QUEUES, 20, "all-queues-bytes"),
    "clients do not read before login": Scene(beforeLogin),
    "strangers flood": Scene(strangers, limits={}),
    "strangers flood through TLS": Scene(strangers, tls=True, limits={}),
}


async def play(scene: Scene, amount: Amount) -> tuple[World, list[str]]:
    """
    Play a scene.

    @return: what was, and what is wrong.
    """
    world = World(amount, scene)
    await world.start()
    try:
        problems = await scene.play(world)
        problems += world.check()
    finally:
        await world.stop()
    return world, problems


def main(arguments: Sequence[str]) -> None:
    """The command; the exit status is 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.flood", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each scene")
    options = parser.parse_args(arguments)

    async def run() -> None:
        wrong = False
        print(f"{'':38}{'MB offered':>12}{'MB more memory':>16}")
        for name, scene in SCENES.items():
            world, problems = await play(scene, Amount(seconds=options.seconds))
            figures = f"{world.offered / MEGABYTE:12.0f}{world.growth / MEGABYTE:16.1f}"
            print(f"{name:38}{figures}", *problems, sep="\n  ", flush=True)
            wrong = wrong or bool(problems)
        if wrong:
            raise SystemExit(1)

    react(lambda _: Deferred.fromCoroutine(run()))


if __name__ == "__main__":
    main(sys.argv[1:])
