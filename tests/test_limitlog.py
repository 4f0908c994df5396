"""Tests of L{xmpproxy.limitlog}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, eventAsText, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from xmpproxy.config import Limits
from xmpproxy.limitlog import MOST, LimitLog


class LimitLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.limitLog = LimitLog(Limits(connections_per_address=256), self.clock)
        self.limitLog.startService()
        self.addCleanup(self.limitLog.stopService)
        self.lines: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            self.lines.append(eventAsText(event, includeTimestamp=False, includeSystem=False))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def refuse(self, times: int, who: str = "from 192.0.2.1") -> None:
        for _ in range(times):
            self.limitLog.refused("connections-per-address", "connection", who)

    def logs(self, *lines: str) -> None:
        """This was logged since it was asked last."""
        self.assertEqual(self.lines, list(lines))
        self.lines.clear()

    def test_minute(self) -> None:
        """The first at once, the others in one line a minute, until there are none."""
        limit = "limits connections-per-address = 256"
        self.refuse(1)
        self.logs(f"refused 1 connection from 192.0.2.1: {limit}")
        self.refuse(312)
        self.clock.advance(59)
        self.logs()
        self.clock.advance(1)
        self.logs(f"refused 312 connections from 192.0.2.1: {limit}")
        self.refuse(1)
        self.clock.advance(60)
        self.logs(f"refused 1 connection from 192.0.2.1: {limit}")
        self.clock.advance(60)
        self.logs()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.refuse(2)
        self.logs(f"refused 1 connection from 192.0.2.1: {limit}")

    def test_several(self) -> None:
        """The one with most is named, and there is a bound to who is told apart."""
        self.refuse(1)
        self.refuse(5)
        self.refuse(2, "from 192.0.2.2")
        self.clock.advance(60)
        self.refuse(2 * MOST)
        for each in range(2 * MOST):
            self.refuse(1, f"from 2001:db8:{each:x}::/64")
        self.clock.advance(60)
        limit = "limits connections-per-address = 256"
        self.logs(
            f"refused 1 connection from 192.0.2.1: {limit}",
            f"refused 7 connections from 192.0.2.1 (5) and 1 more: {limit}",
            f"refused 400 connections from 192.0.2.1 (200) and 99+ more: {limit}",
        )

    def test_inSession(self) -> None:
        """Each session has a line a minute, whatever it is called, and whatever the reasons."""
        drop = self.limitLog.inSession
        for each in range(3):
            drop("juliet@example.com/{}{0}", "dropped", "stanza", f"<{{x}}/>: {min(each, 1)}")
        drop("juliet@example.com/{}{0}", "dropped", "carbon", "from romeo@example.net")
        drop("nurse@example.com", "dropped", "stanza", "<x/>")
        self.logs(
            "juliet@example.com/{}{0}: dropped 1 stanza <{x}/>: 0",
            "juliet@example.com/{}{0}: dropped 1 carbon from romeo@example.net",
            "nurse@example.com: dropped 1 stanza <x/>",
        )
        drop("juliet@example.com/{}{0}", "dropped", "stanza", "<{x}/>: 1")
        self.clock.advance(60)
        self.logs("juliet@example.com/{}{0}: dropped 3 stanzas <{x}/>: 1")

    def test_manySessions(self) -> None:
        """There are not more lines than that: beyond it sessions share one."""
        for _ in range(2):
            for each in range(MOST + 3):
                self.limitLog.inSession(f"user{each}", "dropped", "stanza", "<x/>")
        lines = [f"user{each}: dropped 1 stanza <x/>" for each in range(MOST)]
        self.logs(*lines, f"dropped 1 stanza of user{MOST}")
        self.clock.advance(60)
        self.logs(*lines, f"dropped 5 stanzas of user{MOST + 1} (2) and 2 more")

    def test_apart(self) -> None:
        """Each limit has its own line, and each failure."""
        self.refuse(1)
        self.limitLog.refused("tls-seconds", "TLS handshake", "from 192.0.2.1")
        self.limitLog.paused("limits logins = 1000")
        for why in ("no TLS", "bad record type"):
            self.limitLog.failed("TLS connection", why, "from 192.0.2.1")
        self.logs(
            "refused 1 connection from 192.0.2.1: limits connections-per-address = 256",
            "refused 1 TLS handshake from 192.0.2.1: limits tls-seconds = 20",
            "accepting paused 1 time: limits logins = 1000; those who are connected go on",
            "failed 1 TLS connection from 192.0.2.1: no TLS",
            "failed 1 TLS connection from 192.0.2.1: bad record type",
        )

    def test_strangers(self) -> None:
        """Who leaves or is refused before login: a line for each reason, whatever its words."""
        self.limitLog.left("closed", "192.0.2.1")
        for index in range(3):
            self.limitLog.objected("not-well-formed", f"syntax {index}", "192.0.2.1")
        for _ in range(2):
            self.limitLog.left("closed", "192.0.2.1")
        self.clock.advance(60)
        self.logs(
            "1 client left before login, from 192.0.2.1: closed",
            "refused 1 client: not-well-formed, syntax 0, from 192.0.2.1",
            "2 clients left before login, from 192.0.2.1: closed",
            "refused 2 clients: not-well-formed, syntax 1, from 192.0.2.1 (1) and 1 more",
        )

    def test_end(self) -> None:
        """What is yet to be said is said at the end, and what comes later at once."""
        self.refuse(3)
        self.limitLog.stopService()
        self.refuse(1)
        limit = "limits connections-per-address = 256"
        self.logs(
            f"refused 1 connection from 192.0.2.1: {limit}",
            f"refused 2 connections from 192.0.2.1: {limit}",
            f"refused 1 connection from 192.0.2.1: {limit}",
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])
