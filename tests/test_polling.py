"""Tests for L{xmpproxy.polling}: a reactor of its own, turned by hand."""

from __future__ import annotations

import socket

from twisted.internet.abstract import FileDescriptor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE
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
