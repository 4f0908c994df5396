"""Tests of L{xmpproxy.accepting} and L{xmpproxy.descriptors}."""

from __future__ import annotations

import errno
import os
import resource
import socket
from typing import Any

from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, eventAsText, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer, provider

from xmpproxy import descriptors
from xmpproxy.accepting import RETRY_SECONDS, Accepting
from xmpproxy.admission import Admission, Origin
from xmpproxy.config import Limits
from xmpproxy.limitlog import LimitLog


class Listening(socket.socket):
    """
    A listening socket.

    @ivar error: what goes wrong when it accepts.
    """

    error: int | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        return super().accept()


@implementer(IListeningPort)
class Port:
    """What is needed of Twisted's: a listener on loopback."""

    def __init__(self, test: SynchronousTestCase) -> None:
        self.test = test
        self.own = self.socket = Listening()
        self.own.setblocking(False)
        self.own.bind(("127.0.0.1", 0))
        self.own.listen()
        self.reading = self.connected = True
        self.disconnecting = False
        test.addCleanup(self.own.close)

    def startReading(self) -> None:
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False

    def startListening(self) -> None:
        raise NotImplementedError

    def stopListening(self) -> None:
        raise NotImplementedError

    def getHost(self) -> IAddress:
        raise NotImplementedError

    def isCalled(self) -> None:
        """A client connects."""
        self.test.addCleanup(socket.create_connection(self.own.getsockname()).close)

    def accepts(self) -> bool:
        """Accept a connection, if that is possible."""
        try:
            accepted, _ = self.socket.accept()
        except BlockingIOError:  # as it would be if there were none
            return False
        accepted.close()
        return True


class AcceptingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        limits = Limits(connections=2, logins=10)
        self.upstreams = 0
        self.admission = Admission(limits, self.clock.seconds)
        limitLog = LimitLog(limits, self.clock)
        self.accepting = Accepting(self.admission, limitLog, lambda: self.upstreams, self.clock)
        self.ports = [Port(self), Port(self)]
        for port in self.ports:
            self.accepting.add(port)
            port.isCalled()
        self.lines: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            self.lines.append(eventAsText(event, includeTimestamp=False, includeSystem=False))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def enters(self, count: int) -> list[Origin]:
        return [self.admission.enter("192.0.2.1") for _ in range(count)]

    def leaves(self, here: Origin) -> None:
        self.admission.loggedIn(here)
        self.admission.leave(here)

    def assertPaused(self, paused: bool) -> None:
        self.assertEqual([port.reading for port in self.ports], 2 * [not paused])
        self.assertEqual(self.accepting.paused, paused)

    def test_room(self) -> None:
        """Just below the limit everything is as ever."""
        self.enters(1)
        self.assertTrue(self.ports[0].accepts())
        self.assertFalse(self.ports[0].accepts(), "there is no other")
        self.assertPaused(False)

    def test_full(self) -> None:
        """At the limit all listeners pause, and who has connected waits until somebody leaves."""
        one, _ = self.enters(2)
        self.assertFalse(self.ports[0].accepts())
        self.assertPaused(True)
        self.assertEqual(
            self.lines,
            ["accepting paused 1 time: limits connections = 2; those who are connected go on"],
        )
        self.assertFalse(self.ports[1].accepts(), "in the same turn of the reactor")
        self.clock.pump([RETRY_SECONDS] * 5)
        self.assertPaused(True)
        self.leaves(one)
        self.assertPaused(False)
        self.assertTrue(self.ports[0].accepts())
        self.assertTrue(self.ports[1].accepts())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_descriptors(self) -> None:
        """The same where there are none left; that an upstream is gone is seen soon."""
        self.accepting.descriptors = 10
        self.admission.loggedIn(*self.enters(1))
        self.upstreams = 8
        self.assertFalse(self.ports[0].accepts())
        self.assertPaused(True)
        self.upstreams = 7
        self.clock.advance(RETRY_SECONDS)
        self.assertPaused(False)
        self.assertTrue(self.ports[0].accepts())

    def test_systemIsFull(self) -> None:
        """What the system refuses is tried again after a while, whoever leaves meanwhile."""
        for error in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            self.lines.clear()
            self.ports[0].own.error = error
            self.assertFalse(self.ports[0].accepts())
            self.assertPaused(True)
            self.assertIn(os.strerror(error), self.lines[0])
            self.leaves(*self.enters(1))
            self.assertPaused(True)
            self.clock.advance(RETRY_SECONDS)
            self.assertPaused(False)
        self.ports[0].own.error = None
        self.assertTrue(self.ports[0].accepts())

    def test_otherErrors(self) -> None:
        """Others are Twisted's."""
        for error in (errno.ECONNABORTED, errno.EPERM):
            self.ports[0].own.error = error
            with self.assertRaises(OSError) as caught:
                self.ports[0].accepts()
            self.assertEqual(caught.exception.errno, error)
        self.assertPaused(False)

    def test_closed(self) -> None:
        """A listener that is closed meanwhile stays so."""
        one, _ = self.enters(2)
        self.ports[0].accepts()
        self.ports[0].connected = False
        self.ports[1].disconnecting = True
        self.leaves(one)
        self.assertEqual([port.reading for port in self.ports], [False, False])

    def test_stop(self) -> None:
        """Nothing is accepted any more, nor tried."""
        self.accepting.startService()
        one, _ = self.enters(2)
        self.ports[0].accepts()
        self.accepting.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.leaves(one)
        self.assertPaused(True)

    def test_otherPorts(self) -> None:
        """What is no socket's is left alone."""
        port = Port(self)
        port.socket = object()  # type: ignore[assignment]
        before = port.socket
        self.accepting.add(port)
        self.assertIs(port.socket, before)

    def test_start(self) -> None:
        """The soft limit is raised, and what that is enough for is logged."""
        limits = [(1024, 4096)]
        self.patch(resource, "getrlimit", lambda _: limits[-1])
        self.patch(resource, "setrlimit", lambda _, pair: limits.append(pair))
        self.accepting.privilegedStartService()
        self.assertEqual(limits[-1], (4096, 4096))
        self.assertEqual(self.accepting.descriptors, 4032)
        self.assertEqual(
            self.lines, ["file descriptors: 4096 (raised from 1024); sessions at most: 2016"]
        )

    def test_tooFew(self) -> None:
        """They are not enough for what is configured."""
        self.patch(resource, "getrlimit", lambda _: (66, 66))
        self.patch(resource, "setrlimit", lambda _, pair: None)
        self.accepting.privilegedStartService()
        self.assertEqual(self.lines[0], "file descriptors: 66; sessions at most: 1")
        self.assertIn("limits connections = 2, but there are descriptors for 1", self.lines[1])


class Descriptors(SynchronousTestCase):
    def test_refused(self) -> None:
        """A system that does not let us is no hindrance."""

        def refuse(*_: object) -> None:
            raise ValueError("not allowed")

        self.patch(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
        self.patch(resource, "setrlimit", refuse)
        self.assertEqual(descriptors.raiseLimit(), (256, 256))

    def test_unlimited(self) -> None:
        """There may be no limit."""
        self.patch(resource, "getrlimit", lambda _: 2 * (resource.RLIM_INFINITY,))
        self.patch(resource, "setrlimit", lambda *_: None)
        self.assertGreater(descriptors.raiseLimit()[1], 10**6)

    def test_fewest(self) -> None:
        """One session there is in any case."""
        self.assertEqual([descriptors.forStreams(each) for each in (10, 66, 70)], [2, 2, 6])
