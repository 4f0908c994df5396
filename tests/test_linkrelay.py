"""Tests of L{tests.linkrelay}: what comes through, and how it breaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.linkrelay import LinkRelay
from tests.mailbox import Mailbox

#: More than the sockets of a link hold.
MUCH = 16_000_000


class Talker(Protocol):
    """One side of a connection.

    @ivar data: all that came.
    @ivar lost: fires with the kind of the connection's end.
    """

    def __init__(self, made: Callable[[Talker], None] = lambda talker: None) -> None:
        self.data = bytearray()
        self.lost: Deferred[type[BaseException] | None] = Deferred()
        self._made = made
        self._wanted: tuple[int, Deferred[None]] | None = None

    @property
    def tcp(self) -> ITCPTransport:
        assert ITCPTransport.providedBy(self.transport)
        return self.transport

    async def expect(self, length: int) -> None:
        """Wait until so many bytes have come."""
        if len(self.data) < length:
            self._wanted = (length, Deferred())
            await self._wanted[1].addTimeout(10, reactor)

    def connectionMade(self) -> None:
        self._made(self)

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if self._wanted is not None and len(self.data) >= self._wanted[0]:
            self._wanted[1].callback(None)
            self._wanted = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(reason.type)


class Listener:
    """
    Hears one link.

    @ivar near: what came from who has connected.
    @ivar far: what came from the other side.
    @ivar taken: how much of that was taken by the near one, as far as known.
    @ivar over: whether the link is.
    """

    def __init__(self) -> None:
        self.near, self.far = bytearray(), bytearray()
        self.taken = 0
        self.over = False

    def nearSaid(self, data: bytes) -> None:
        """See L{tests.linkrelay.Tap}."""
        self.near += data

    def farSaid(self, data: bytes) -> None:
        """The same."""
        self.far += data

    def passed(self) -> None:
        """The same."""
        self.taken = len(self.far)

    def ended(self) -> None:
        """The same."""
        self.over = True


class Answering(Factory):
    """Remembers its connections."""

    def __init__(self) -> None:
        self.made: Mailbox[Talker] = Mailbox(lambda: "the server")

    def buildProtocol(self, address: object) -> Protocol:
        return Talker(self.made.put)


class Here:
    """Where the server listens."""

    host = "127.0.0.1"
    trust = Path()

    def __init__(self, port: int) -> None:
        self.port = port


class Links(TestCase):
    """Two sides, and a relay between them."""

    async def start(self, tapped: bool = False) -> None:
        self.factory = Answering()
        endpoint = TCP4ServerEndpoint(reactor, 0, interface=Here.host)
        self.listening = await endpoint.listen(self.factory)
        self.addCleanup(self.listening.stopListening)
        self.taps: list[Listener] = []
        here = Here(self.listening.getHost().port)
        self.relay = LinkRelay(here, self.tap if tapped else None)
        await self.relay.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.relay.stop()))

    def tap(self) -> Listener:
        self.taps.append(Listener())
        return self.taps[-1]

    async def connect(self) -> tuple[Talker, Talker]:
        endpoint = HostnameEndpoint(reactor, self.relay.host, self.relay.port)
        client = await connectProtocol(endpoint, Talker())
        server = await self.factory.made.take(lambda talker: True, 10)
        return client, server

    async def test_bothWays(self) -> None:
        """Everything comes through, in order; an end that is closed closes the other."""
        await self.start()
        client, server = await self.connect()
        data = bytes(range(256)) * (MUCH // 256)
        client.tcp.write(data)
        server.tcp.write(data[::-1])
        await server.expect(len(data))
        await client.expect(len(data))
        self.assertEqual(server.data, data)
        self.assertEqual(client.data, data[::-1])
        client.tcp.write(b"last")
        client.tcp.loseConnection()
        for each in (client, server):
            self.assertIs(await each.lost, ConnectionDone)
        self.assertEqual(server.data[-4:], b"last")
        await self.relay.gone()

    async def test_reset(self) -> None:
        """An end that is reset resets the other."""
        await self.start()
        client, server = await self.connect()
        server.tcp.abortConnection()
        self.assertIs(await client.lost, ConnectionLost)

    async def test_cut(self) -> None:
        """Both ends are reset, frozen or not; who comes back is served."""
        await self.start()
        for frozen in (False, True):
            client, server = await self.connect()
            if frozen:
                self.relay.freeze()
            self.relay.cut()
            self.assertIs(await client.lost, ConnectionLost)
            self.assertIs(await server.lost, ConnectionLost)
            await self.relay.gone()
        client, server = await self.connect()
        client.tcp.write(b"back")
        await server.expect(4)

    async def test_freeze(self) -> None:
        """Nothing comes through until it thaws, then all does; other links do not mind."""
        await self.start()
        client, server = await self.connect()
        self.relay.freeze()
        client.tcp.write(b"x" * MUCH)
        other, its = await self.connect()
        other.tcp.write(b"other")
        await its.expect(5)
        self.assertEqual(server.data, b"")
        self.relay.thaw()
        await server.expect(MUCH)

    async def test_vanished(self) -> None:
        """On a frozen link nobody learns that the other end is gone, until it thaws."""
        await self.start()
        client, server = await self.connect()
        self.relay.freeze()
        client.tcp.abortConnection()
        await client.lost
        other, its = await self.connect()
        other.tcp.write(b"other")
        await its.expect(5)
        self.assertFalse(server.lost.called)
        self.relay.thaw()
        await server.lost

    async def test_tapped(self) -> None:
        """What passes is heard, and whether it has come through."""
        await self.start(tapped=True)
        for closes in ("client", "server", "nobody"):
            client, server = await self.connect()
            client.tcp.write(b"near")
            server.tcp.write(b"far")
            await server.expect(4)
            await client.expect(3)
            (tap,) = self.taps
            self.assertEqual((tap.near, tap.far, tap.taken, tap.over), (b"near", b"far", 0, False))
            if closes == "nobody":
                self.relay.cut()
            else:
                (client if closes == "client" else server).tcp.loseConnection()
            await self.relay.gone()
            self.assertEqual((tap.taken, tap.over), (0 if closes == "client" else 3, True))
            self.taps.clear()

    async def test_rest(self) -> None:
        """What the far end had said when a frozen link is cut is heard, too; it has said that."""
        await self.start(tapped=True)
        client, server = await self.connect()
        server.tcp.write(b"first")
        await client.expect(5)
        self.relay.freeze()
        client.tcp.write(b"near")
        server.tcp.write(b"far")
        other, its = await self.connect()
        other.tcp.write(b"other")
        await its.expect(5)
        self.relay.cut()
        tap = self.taps[0]
        self.assertEqual((tap.near, tap.far, tap.taken), (b"", b"firstfar", 5))
        await self.relay.gone()
        self.assertTrue(tap.over)

    async def test_notTaken(self) -> None:
        """More than the near end's system takes is known not to have come through."""
        await self.start(tapped=True)
        client, server = await self.connect()
        assert IPushProducer.providedBy(client.tcp)
        client.tcp.pauseProducing()
        server.tcp.write(b"x" * MUCH)
        other, its = await self.connect()
        other.tcp.write(b"other")
        await its.expect(5)
        self.relay.cut()
        self.assertEqual(self.taps[0].taken, 0)
        self.assertGreater(len(self.taps[0].far), 0)

    async def test_nobodyThere(self) -> None:
        """Where nobody listens behind it, the connection is reset."""
        await self.start()
        await self.listening.stopListening()
        endpoint = HostnameEndpoint(reactor, self.relay.host, self.relay.port)
        client = await connectProtocol(endpoint, Talker())
        self.assertIs(await client.lost, ConnectionLost)
        await self.relay.gone()
