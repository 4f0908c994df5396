"""Tests for L{xmpproxy.polling}: a reactor of its own, turned by hand."""

from __future__ import annotations

import contextlib
import socket
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy import polling
from xmpproxy.polling import LeanPolling


class Noting(FileDescriptor):
    """
    One end of a pair of sockets.

    @ivar reads: what it reads; on C{b"fail"} it raises an error.
    @ivar lost: why its connection is gone.
    """

    def __init__(self, reactor: EPollReactor) -> None:
        super().__init__(reactor)
        self.own, self.peer = socket.socketpair()
        self.own.setblocking(False)
        self.reads: list[bytes] = []
        self.written = 0
        self.lost: list[Failure] = []
        self.connected = 1
        self.startReading()

    def fileno(self) -> int:
        return self.own.fileno()

    def doRead(self) -> Exception | None:
        data = self.own.recv(100)
        self.reads.append(data)
        if data == b"fail":
            raise ValueError("cannot be read")
        error: Exception = CONNECTION_DONE
        return None if data else error

    def doWrite(self) -> None:
        self.written += 1
        self.stopWriting()

    def close(self) -> None:
        if self.connected:
            self.connectionLost(Failure(CONNECTION_DONE))
        self.peer.close()

    def connectionLost(self, reason: Failure) -> None:
        self.stopReading()
        self.stopWriting()
        self.lost.append(reason)
        super().connectionLost(reason)
        self.own.close()


class PollingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = EPollReactor()
        self.addCleanup(self.reactor.removeAll)
        self.service = LeanPolling(self.reactor)
        self.service.startService()
        self.addCleanup(self.service.stopService)

    def noting(self) -> Noting:
        return self.kept(Noting(self.reactor))

    def kept(self, noting: Noting) -> Noting:
        """The same, closed at the end."""
        self.addCleanup(noting.close)
        return noting

    def turn(self) -> None:
        self.reactor.doIteration(0)

    def test_reads(self) -> None:
        one, other, silent = self.noting(), self.noting(), self.noting()
        one.peer.send(b"1")
        other.peer.send(b"2")
        self.turn()
        self.assertEqual((one.reads, other.reads, silent.reads), ([b"1"], [b"2"], []))

    def test_nothing(self) -> None:
        """A turn without events is no error, with and without a time to wait."""
        self.noting()
        for timeout in (0, 0.001, False):
            self.reactor.doIteration(timeout)

    def test_end(self) -> None:
        noting = self.noting()
        noting.peer.shutdown(socket.SHUT_WR)
        self.turn()
        self.assertEqual([each.type for each in noting.lost], [ConnectionDone])

    def test_error(self) -> None:
        """What fails to read is logged and dropped; others of the same turn are not concerned."""
        bad, good = self.noting(), self.noting()
        bad.peer.send(b"fail")
        good.peer.send(b"on")
        self.turn()
        self.assertEqual([each.type for each in bad.lost], [ValueError])
        self.assertEqual((good.reads, good.lost), ([b"on"], []))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_closedByAnother(self) -> None:
        """What an event before it has closed is not read."""
        one, other = self.noting(), self.noting()

        class Closing(Noting):
            def doRead(self) -> Exception | None:
                for each in (one, other):
                    each.close()
                return super().doRead()

        closing = self.kept(Closing(self.reactor))
        for each in (closing, one, other):
            each.peer.send(b"x")
        self.turn()
        for each in (one, other):
            self.assertEqual((len(each.lost), each.reads), (1, []))

    def test_hangUp(self) -> None:
        """The rest is Twisted's: an event that is no reading, and writing."""
        noting, writing = self.noting(), self.noting()
        noting.stopReading()
        noting.startWriting()
        noting.stopWriting()
        writing.startWriting()
        self.turn()
        self.assertEqual(writing.written, 1)
        noting.startReading()
        noting.peer.send(b"last")
        noting.peer.close()
        self.turn()
        self.assertEqual(noting.reads, [b"last"])
        self.turn()
        self.assertIn(noting.lost[0].type, (ConnectionDone, ConnectionLost))

    def test_many(self) -> None:
        """More than a turn takes are read in the next."""
        self.patch(polling, "MOST", 3)
        many = [self.noting() for _ in range(5)]
        for each in many:
            each.peer.send(b"x")
        self.turn()
        self.assertEqual(sum(len(each.reads) for each in many), 3)
        self.turn()
        self.assertEqual(sum(len(each.reads) for each in many), 5)

    def test_stop(self) -> None:
        """Afterwards the reactor is as before; another kind of reactor is never changed."""
        self.assertIn("doIteration", self.reactor.__dict__)
        self.service.stopService()
        self.assertNotIn("doIteration", self.reactor.__dict__)

        class Another(EPollReactor):
            pass

        another = Another()
        self.addCleanup(another.removeAll)
        service = LeanPolling(another)
        service.startService()
        self.assertNotIn("doIteration", another.__dict__)
        service.stopService()

    def test_otherTwisted(self) -> None:
        """Where Twisted's reactor has other names inside, its own turn stays."""
        reactor = EPollReactor()
        self.addCleanup(reactor.removeAll)
        selectables = reactor._selectables
        del reactor._selectables
        service = LeanPolling(reactor)
        service.startService()
        reactor._selectables = selectables
        noting = self.kept(Noting(reactor))
        noting.peer.send(b"x")
        reactor.doIteration(0)
        self.assertEqual(noting.reads, [b"x"])
        service.stopService()


class ShortTurnTests(SynchronousTestCase):
    """What takes long, by a clock that goes on only while something is done."""

    def setUp(self) -> None:
        self.now = 0.0
        self.patch(polling, "perf_counter", lambda: self.now)
        self.reactor = EPollReactor()
        self.addCleanup(self.reactor.removeAll)
        service = LeanPolling(self.reactor)
        service.startService()
        self.addCleanup(service.stopService)
        self.order: list[int] = []

    def busy(self, count: int, seconds: float) -> list[Noting]:
        """Some that always have something to read, which takes so long."""
        case = self

        class Busy(Noting):
            def doRead(self) -> Exception | None:
                case.now += seconds
                case.order.append(crowd.index(self))
                return super().doRead()

        crowd: list[Noting] = [Busy(self.reactor) for _ in range(count)]
        for each in crowd:
            self.addCleanup(each.close)
            each.peer.send(20_000 * b"x")
        return crowd

    def turn(self) -> int:
        """Returns how many events were handled in this turn."""
        before = len(self.order)
        self.reactor.doIteration(0)
        return len(self.order) - before

    def test_ends(self) -> None:
        """Nothing more is begun once a turn is long; who was passed over comes first."""
        self.busy(3, 0.75 * polling.LONG)
        self.assertEqual(self.turn(), 2)
        first = list(self.order)
        self.assertEqual(self.turn(), 2)
        self.assertNotIn(self.order[2], first)
        self.assertEqual(self.order[3], first[0])

    def test_short(self) -> None:
        """As long as a turn is short it has all."""
        self.busy(7, polling.LONG / 8)
        self.assertEqual((self.turn(), self.turn()), (7, 7))

    def test_inTurn(self) -> None:
        """Everybody is served once before anybody is served again."""
        self.busy(11, 0.45 * polling.LONG)
        while len(self.order) < 55:
            self.turn()
        for first in range(0, 55, 11):
            self.assertEqual(len(set(self.order[first : first + 11])), 11, self.order)

    def test_tooMany(self) -> None:
        """Nearly so where one poll does not find all of them."""
        self.patch(polling, "MOST", 4)
        self.busy(11, 0.45 * polling.LONG)
        while len(self.order) < 110:
            self.turn()
        for each in range(11):
            self.assertIn(self.order.count(each), (8, 9, 10, 11, 12), self.order)

    def test_newOnes(self) -> None:
        """Who has something to say now waits behind those who were passed over, not longer."""
        self.busy(5, 1.1 * polling.LONG)
        self.turn()
        late = Noting(self.reactor)
        self.addCleanup(late.close)
        late.peer.send(b"late")
        for _ in range(4):
            self.assertEqual((self.turn(), late.reads), (1, []))
        self.turn()
        self.turn()
        self.assertEqual(late.reads, [b"late"])

    def test_closed(self) -> None:
        """Who was passed over and is gone is nobody's business."""
        all = self.busy(3, 1.1 * polling.LONG)
        self.turn()
        passed = [each for at, each in enumerate(all) if at not in self.order]
        passed[0].close()
        self.turn()
        self.assertEqual(passed[1].reads, [100 * b"x"])
        self.assertEqual(passed[0].reads, [])

    def test_portions(self) -> None:
        """Who sends what takes long is read in smaller portions, until it does not any more."""
        case, sizes = self, []

        class Taking(Protocol):
            seconds = polling.LONG

            def dataReceived(self, data: bytes) -> None:
                case.now += self.seconds
                sizes.append(len(data))

        near, far = socket.socketpair()
        for each in (near, far):
            each.setblocking(False)
        self.addCleanup(far.close)
        protocol = Taking()
        connection = tcp.Connection(near, protocol, cast(Any, self.reactor))
        connection.connected = 1
        self.addCleanup(connection.connectionLost, Failure(CONNECTION_DONE))
        protocol.makeConnection(cast(Any, connection))
        connection.startReading()
        for seconds, wanted in (
            (polling.LONG, [65536, 16384, 4096, 4096]),
            (0.0, [4096, 8192, 16384, 32768, 65536, 65536]),
        ):
            protocol.seconds = seconds
            for _ in wanted:
                with contextlib.suppress(BlockingIOError):  # there is enough
                    far.send(70_000 * b"x")
                self.reactor.doIteration(0)
            self.assertEqual(sizes, wanted)
            sizes.clear()
        self.assertNotIn("bufferSize", vars(connection))

    def test_accepting(self) -> None:
        """So are connections accepted: fewer at a time."""
        case = self

        class Welcoming(Factory[Protocol]):
            noisy = False

            def buildProtocol(self, addr: object) -> Protocol:
                case.now += 0.001
                return Protocol()

        port = tcp.Port(0, Welcoming(), interface="127.0.0.1", reactor=cast(Any, self.reactor))
        port.startListening()
        port.numberAccepts = 20
        self.addCleanup(port.connectionLost, Failure(CONNECTION_DONE))
        clients = [socket.create_connection(port.socket.getsockname()) for _ in range(30)]
        for each in clients:
            self.addCleanup(each.close)
        self.reactor.doIteration(0)
        self.assertEqual((port.sessionno, port.numberAccepts), (20, 10))
        self.reactor.doIteration(0)
        self.assertEqual(port.sessionno, 30)
