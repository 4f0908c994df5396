"""Tests for L{xmpproxy.transport}: over sockets that take what a test says, and over real ones."""

from __future__ import annotations

import errno
import socket
import tempfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from shutil import rmtree
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any, cast
from unittest import SkipTest

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor, tcp
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.test.proto_helpers import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.certificates import Authority
from xmpproxy.coders import Coder, OpenSSLCoder
from xmpproxy.downstreamtls import ServerTLS
from xmpproxy.records import SecureTransport
from xmpproxy.transport import Transport
from xmpproxy.upstreamtls import UpstreamTLS

USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
FULL = BlockingIOError(errno.EAGAIN, "full")
NO_BUFFERS = OSError(errno.ENOBUFS, "no buffers")
BROKEN = BrokenPipeError(errno.EPIPE, "closed by peer")
RESET = ConnectionResetError(errno.ECONNRESET, "reset by peer")


class Socket:
    """
    Takes as many bytes of each C{send} as it was told, all if it was told nothing; or raises.

    @ivar taken: all that it took.
    @ivar options: that were set.
    """

    def __init__(self, takes: Iterable[int | OSError]) -> None:
        self.taken = b""
        self.closed = False
        self.options: list[tuple[int, int, int]] = []
        self._takes = deque(takes)

    def send(self, data: memoryview) -> int:
        most = self._takes.popleft() if self._takes else len(data)
        if isinstance(most, OSError):
            raise most
        self.taken += data[:most]
        return min(most, len(data))

    def fileno(self) -> int:
        return 3

    def setblocking(self, blocking: bool) -> None:
        pass

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self.options.append((level, name, value))

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class Reactor(Clock):
    """Lets connections write when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: set[Any] = set()
        self.removeWriter = self.writers.discard
        self.addWriter = self.writers.add

    def addReader(self, reader: object) -> None:
        pass

    removeReader = addReader

    def turn(self) -> None:
        """As Twisted's reactors do it."""
        self.advance(0)
        for each in list(self.writers):
            why = each.doWrite()
            if why is not None:
                each.connectionLost(Failure(why))


class Losing(Protocol):
    """Notes why it lost its connection."""

    def __init__(self) -> None:
        self.reasons: list[BaseException | None] = []

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reasons.append(reason.value)


@implementer(IPushProducer)
class Producer:
    """Notes whether it may produce."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def pauseProducing(self) -> None:
        self.did.append("pause")

    def resumeProducing(self) -> None:
        self.did.append("resume")

    def stopProducing(self) -> None:
        self.did.append("stop")


class Stage:
    """A transport on a connection of Twisted's."""

    def __init__(self, *takes: int | OSError) -> None:
        self.socket = Socket(takes)
        self.reactor = Reactor()
        self.protocol = Losing()
        self.connection = tcp.Connection(
            cast(Any, self.socket), self.protocol, cast(Any, self.reactor)
        )
        self.connection.connected = 1
        self.transport = Transport(self.connection)

    def settle(self) -> None:
        while self.reactor.writers:
            self.reactor.turn()


class WritingTests(SynchronousTestCase):
    """What goes to the socket, and when."""

    def test_atOnce(self) -> None:
        stage = Stage()
        stage.transport.write(b"one")
        self.assertEqual(stage.socket.taken, b"one")
        stage.transport.write(b"two")
        self.assertEqual(stage.socket.taken, b"onetwo")
        self.assertEqual(stage.reactor.writers, set())

    def test_promptly(self) -> None:
        """The kernel holds nothing back until the peer has acknowledged what it got before."""
        self.assertIn((IPPROTO_TCP, TCP_NODELAY, 1), Stage().socket.options)

    def test_nothing(self) -> None:
        stage = Stage(FULL)
        stage.transport.write(b"")
        self.assertEqual(stage.reactor.writers, set())

    def test_rest(self) -> None:
        """What the socket did not take comes first in later turns."""
        for takes in ([2], [FULL], [NO_BUFFERS], [0], [2, 1, FULL, 0, 1]):
            stage = Stage(*takes)
            stage.transport.write(b"one")
            taken = stage.socket.taken
            stage.transport.write(b"two")
            stage.transport.write(b"three")
            self.assertEqual(stage.socket.taken, taken, "overtaken")
            stage.settle()
            self.assertEqual(stage.socket.taken, b"onetwothree")
            stage.transport.write(b"four")
            self.assertEqual(stage.socket.taken, b"onetwothreefour")

    def test_more(self) -> None:
        """More than Twisted sends at a time."""
        data = bytes(range(256)) * 4096
        stage = Stage()
        stage.transport.write(data)
        self.assertNotEqual(stage.socket.taken, data)
        stage.settle()
        self.assertEqual(stage.socket.taken, data)

    def test_idle(self) -> None:
        """Whether all was taken is known afterwards, too; of what was dropped, it was not."""
        for lost in (False, True):
            stage = Stage(3, 2, FULL)
            self.assertTrue(stage.transport.idle)
            stage.transport.write(b"one")
            if lost:
                stage.connection.connectionLost(Failure(ConnectionLost()))
            self.assertTrue(stage.transport.idle)
        stage = Stage(2, FULL)
        stage.transport.write(b"one")
        self.assertFalse(stage.transport.idle)
        stage.connection.connectionLost(Failure(ConnectionLost()))
        self.assertFalse(stage.transport.idle)
        stage = Stage()
        stage.transport.abortConnection()
        self.assertFalse(stage.transport.idle)

    def test_broken(self) -> None:
        """The protocol hears of it, once, from the reactor."""
        for first, second in ((BROKEN, BROKEN), (RESET, BROKEN)):
            stage = Stage(2, FULL, first, second) if first is RESET else Stage(first, second)
            stage.transport.write(b"one")
            stage.transport.write(b"two")
            self.assertEqual(stage.protocol.reasons, [])
            stage.settle()
            self.assertEqual([type(each) for each in stage.protocol.reasons], [ConnectionLost])
            stage.transport.write(b"three")
            stage.settle()
            self.assertNotIn(b"three", stage.socket.taken)
            self.assertTrue(stage.socket.closed)

    def test_brokenAtOnce(self) -> None:
        """An error that the socket reports only once still ends the connection."""
        stage = Stage(RESET, BROKEN)
        stage.transport.write(b"one")
        self.assertEqual(stage.protocol.reasons, [])
        stage.settle()
        self.assertEqual([type(each) for each in stage.protocol.reasons], [ConnectionLost])

    @given(
        st.lists(st.binary(max_size=2000), max_size=20),
        st.lists(st.integers(0, 3000) | st.just(FULL) | st.just(NO_BUFFERS), max_size=40),
        st.lists(st.booleans(), min_size=20),
    )
    def test_order(self, texts: list[bytes], takes: list[int | OSError], turns: list[bool]) -> None:
        """Whatever the socket takes, and whenever: all of it arrives, in order."""
        stage = Stage(*takes)
        for text, turn in zip(texts, turns, strict=False):
            stage.transport.write(text)
            if turn:
                stage.reactor.turn()
            self.assertTrue(b"".join(texts).startswith(stage.socket.taken))
        stage.settle()
        self.assertEqual(stage.socket.taken, b"".join(texts))

    def test_upgrade(self) -> None:
        """What was written before TLS goes out before it, however slowly."""
        stage = Stage(2, FULL, 1, 3)
        stage.transport.write(b"<starttls/>")
        coder = OpenSSLCoder(UpstreamTLS("example.com").connection())
        SecureTransport(stage.transport, coder, lambda _: None, lambda: None).start()
        self.assertEqual(stage.socket.taken, b"<s")
        stage.settle()
        self.assertEqual(stage.socket.taken[:13], b"<starttls/>\x16\x03")

    def test_otherTransports(self) -> None:
        """Those whose socket we do not know write themselves."""
        string = StringTransport()
        Transport(string).write(b"one")
        self.assertEqual(string.value(), b"one")

    def test_wrapped(self) -> None:
        """A wrapper that leaves what is written as it is does not slow it down."""
        stage = Stage()
        wrapper = ProtocolWrapper(WrappingFactory(Factory.forProtocol(Losing)), Losing())
        wrapper.makeConnection(stage.connection)
        Transport(wrapper).write(b"one")
        self.assertEqual(stage.socket.taken, b"one")


class ClosingTests(SynchronousTestCase):
    """Ends in order, and others."""

    def test_afterAll(self) -> None:
        """A connection is closed when all is written."""
        stage = Stage(1, FULL, 1)
        stage.transport.write(b"one")
        stage.transport.loseConnection()
        stage.reactor.turn()
        self.assertEqual(stage.protocol.reasons, [])
        stage.settle()
        self.assertEqual(stage.socket.taken, b"one")
        self.assertEqual([type(each) for each in stage.protocol.reasons], [ConnectionDone])

    def test_withNothing(self) -> None:
        stage = Stage()
        stage.transport.write(b"one")
        stage.transport.loseConnection()
        self.assertEqual(stage.protocol.reasons, [])
        stage.settle()
        self.assertEqual([type(each) for each in stage.protocol.reasons], [ConnectionDone])

    def test_abort(self) -> None:
        """Neither what waits is sent nor what is written afterwards."""
        for takes in ([], [1]):
            stage = Stage(*takes)
            stage.transport.write(b"one")
            taken = stage.socket.taken
            stage.transport.abortConnection()
            stage.transport.write(b"two")
            self.assertEqual(stage.protocol.reasons, [])
            stage.settle()
            self.assertEqual(stage.socket.taken, taken)
            self.assertEqual([type(each) for each in stage.protocol.reasons], [ConnectionAborted])


class ProducerTests(SynchronousTestCase):
    """When a producer has to wait."""

    def test_willing(self) -> None:
        """Never, while the socket takes everything."""
        stage, producer = Stage(), Producer()
        stage.transport.registerProducer(producer, True)
        stage.transport.write(100_000 * b"z")
        self.assertEqual(producer.did, [])

    def test_slow(self) -> None:
        """Once more waits than fits into the buffer, and until it is empty."""
        stage, producer = Stage(1000, 30_000, FULL), Producer()
        stage.transport.registerProducer(producer, True)
        stage.transport.write(60_000 * b"z")
        self.assertEqual(producer.did, [])
        stage.transport.write(60_000 * b"z")
        self.assertEqual(producer.did, ["pause"])
        stage.reactor.turn()
        stage.reactor.turn()
        self.assertEqual(producer.did, ["pause"])
        stage.settle()
        self.assertEqual(producer.did, ["pause", "resume"])
        stage.transport.unregisterProducer()
        stage.transport.loseConnection()
        stage.settle()
        self.assertEqual(producer.did, ["pause", "resume"])

    def test_gone(self) -> None:
        stage, producer = Stage(BROKEN, BROKEN), Producer()
        stage.transport.registerProducer(producer, True)
        stage.transport.write(b"one")
        stage.settle()
        self.assertEqual(producer.did, ["stop"])

    def test_reading(self) -> None:
        """It can itself be paused."""
        string = StringTransport()
        transport = Transport(string)
        transport.pauseProducing()
        self.assertEqual(string.producerState, "paused")
        transport.resumeProducing()
        self.assertEqual(string.producerState, "producing")


AUTHORITY = Authority()
GOOD = AUTHORITY.issue("example.com")
#: More than the kernel keeps for a peer that does not read.
MUCH = 16 * 2**20
PIECE = 40_000
#: The kernel says of a UNIX socket that it hung up as soon as the other end has closed it, which
#: Twisted takes for a loss where it is about to close its own.
IN_ORDER = {"tcp": ConnectionDone, "unix": (ConnectionDone, ConnectionLost)}


class End(Protocol):
    """
    One end of a connection, as our streams are: everything through a transport of ours.

    @ivar socket: of the connection.
    """

    def __init__(self) -> None:
        self.received = 0
        self.expected = 0
        self.came: Deferred[None] = Deferred()
        self.lost: Deferred[BaseException | None] = Deferred()
        self.ready: Deferred[End] = Deferred()
        self.over: Transport | SecureTransport
        self._tls: SecureTransport | None = None

    def connectionMade(self) -> None:
        self.over = Transport(self.transport)
        self.socket = self.over._handle()
        self.ready.callback(self)

    def secure(self, coder: Coder) -> Deferred[None]:
        assert isinstance(self.over, Transport)
        done: Deferred[None] = Deferred()
        self._tls = SecureTransport(
            self.over, coder, self.textReceived, lambda: done.callback(None)
        )
        self.over = self._tls
        self._tls.start()
        return done

    def dataReceived(self, data: bytes) -> None:
        if self._tls is None:
            self.textReceived(data)
        else:
            self._tls.dataReceived(data)

    def textReceived(self, text: bytes) -> None:
        # Of a counting modulo 251, so that what is lost or out of place shows.
        for at in (0, len(text) - 1):
            assert text[at] == (self.received + at) % 251
        self.received += len(text)
        if self.received == self.expected:
            self.came.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._tls is not None:
            reason = self._tls.connectionLost(reason)
        self.lost.callback(reason.value)


@implementer(IPushProducer)
class Counting:
    """Sends pieces of a counting as long as it may."""

    _PATTERN = bytes(range(251)) * (PIECE // 251 + 2)

    def __init__(self, over: Transport | SecureTransport, total: int) -> None:
        self.paused: Deferred[None] = Deferred()
        self.sent = 0
        self._over = over
        self._total = total
        self._may = True

    def resumeProducing(self) -> None:
        self._may = True
        self.produce()

    def produce(self) -> None:
        while self._may and self.sent < self._total:
            start, size = self.sent % 251, min(PIECE, self._total - self.sent)
            self.sent += size
            self._over.write(self._PATTERN[start : start + size])

    def pauseProducing(self) -> None:
        self._may = False
        if not self.paused.called:
            self.paused.callback(None)

    def stopProducing(self) -> None:
        self._may = False


def waiting(end: End) -> int:
    """How many bytes a connection holds that the kernel has not taken."""
    connection = cast(tcp.Connection, end.transport)
    return len(connection.dataBuffer) - connection.offset + connection._tempDataLen


class LoopbackTests(TestCase):
    """Through the kernel."""

    async def join(self, kind: str, tls: bool) -> tuple[End, End]:
        """A client and a server."""
        client, server = End(), End()
        where = "0:interface=127.0.0.1"
        if kind.endswith("unix"):
            directory = tempfile.mkdtemp()  # the path of a socket must be short
            self.addCleanup(rmtree, directory)
            where = f"{directory}/socket"
        factory = Factory.forProtocol(lambda: server)
        factory.noisy = False
        port = await serverFromString(reactor, f"{kind}:{where}").listen(factory)
        self.addCleanup(port.stopListening)
        where = where if kind.endswith("unix") else f"127.0.0.1:{port.getHost().port}"
        client_ = kind.removeprefix("haproxy:")
        await connectProtocol(clientFromString(reactor, f"{client_}:{where}"), client)
        if kind != client_:
            client.over.write(b"PROXY TCP4 192.0.2.1 127.0.0.1 50000 5222\r\n")
        await server.ready
        if tls:
            trust = AUTHORITY.write(Path(self.mktemp()))
            secured = server.secure(ServerTLS(GOOD.chain, GOOD.key).coder())
            await client.secure(OpenSSLCoder(UpstreamTLS("example.com", trust).connection()))
            await secured
        return client, server

    async def test_peerDoesNotRead(self) -> None:
        """The producer stops, little waits, and all of it arrives once the peer reads."""
        for kind in ("tcp", "unix"):
            for tls in (False, True):
                client, server = await self.join(kind, tls)
                for sender, receiver in ((client, server), (server, client)):
                    receiver.over.pauseProducing()
                    producer = Counting(sender.over, MUCH)
                    sender.over.registerProducer(producer, True)
                    producer.resumeProducing()
                    await producer.paused
                    self.assertLess(producer.sent, MUCH)
                    self.assertLess(waiting(sender), 2 * 65536 + PIECE)
                    receiver.expected = MUCH
                    receiver.over.resumeProducing()
                    await receiver.came
                    self.assertEqual(waiting(sender), 0)
                    sender.over.unregisterProducer()
                client.over.loseConnection()
                for end in (client, server):
                    self.assertIsInstance(await end.lost, IN_ORDER[kind])

    async def test_peerIsGone(self) -> None:
        """While bytes wait for it."""
        for kind in ("tcp", "unix"):
            for tls in (False, True):
                client, server = await self.join(kind, tls)
                server.over.pauseProducing()
                producer = Counting(client.over, MUCH)
                client.over.registerProducer(producer, True)
                producer.resumeProducing()
                await producer.paused
                server.over.abortConnection()
                self.assertIsInstance(await client.lost, ConnectionLost)
                await server.lost

    async def test_closesAfterAll(self) -> None:
        """What was written before the end arrives."""
        for kind in ("tcp", "unix"):
            for tls in (False, True):
                client, server = await self.join(kind, tls)
                server.expected = MUCH
                Counting(client.over, MUCH).resumeProducing()
                client.over.loseConnection()
                await server.came
                for end in (client, server):
                    self.assertIsInstance(await end.lost, IN_ORDER[kind])

    async def test_timeOut(self) -> None:
        """The system is told, where it can be; behind a load balancer as well."""
        for kind in ("tcp", "haproxy:tcp", "unix", "haproxy:unix"):
            for tls in (False, True):
                ends = await self.join(kind, tls)
                for end in ends:
                    assert end.socket is not None
                    for seconds, milliseconds in ((1.5, 1500), (0.0001, 1), (1e300, 2**31 - 1)):
                        end.over.timeOut(seconds)
                        if USER_TIMEOUT is not None and kind.endswith("tcp"):
                            timeout = end.socket.getsockopt(socket.IPPROTO_TCP, USER_TIMEOUT)
                            self.assertEqual(timeout, milliseconds)
                for end in ends:
                    end.over.abortConnection()
                    end.over.timeOut(1)
                    await end.lost
                    end.over.timeOut(1)

    async def test_timesOut(self) -> None:
        """A peer that does not read, for whom something waits, is given up by the system."""
        if USER_TIMEOUT is None:
            raise SkipTest("this system has no TCP_USER_TIMEOUT")
        for tls in (False, True):
            client, server = await self.join("tcp", tls)
            server.over.pauseProducing()
            client.over.timeOut(0.2)
            producer = Counting(client.over, MUCH)
            client.over.registerProducer(producer, True)
            producer.resumeProducing()
            self.assertIsInstance(await client.lost, ConnectionLost)
            server.over.abortConnection()
            await server.lost

    async def test_unsent(self) -> None:
        """What the peer's system does not take is known."""
        for kind in ("tcp", "haproxy:tcp", "unix"):
            for tls in (False, True):
                client, server = await self.join(kind, tls)
                client.over.pauseProducing()
                producer = Counting(server.over, MUCH)
                server.over.registerProducer(producer, True)
                producer.resumeProducing()
                await producer.paused
                self.assertGreater(server.over.unsent(), 1000)
                for end in (client, server):
                    end.over.abortConnection()
                    self.assertEqual(end.over.unsent(), 0)
                    await end.lost
