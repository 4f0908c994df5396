"""Tests for L{xmpproxy.endpoints}: how many connections may wait."""

from __future__ import annotations

from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.endpoints import BACKLOG, withBacklog


class BacklogTests(SynchronousTestCase):
    """What Twisted makes of an endpoint string."""

    def test_room(self) -> None:
        """Thousands, or as many as are written."""
        for text, backlog in (
            ("tcp:5222", BACKLOG),
            ("tcp:5222:interface=127.0.0.1", BACKLOG),
            ("haproxy:tcp:5222", BACKLOG),
            ("tcp:5222:backlog=7", 7),
            ("tcp:5222:backlog=7:interface=127.0.0.1", 7),
        ):
            reactor = MemoryReactor()
            serverFromString(reactor, withBacklog(text)).listen(Factory())
            ((_, _, found, _),) = reactor.tcpServers
            self.assertEqual(found, backlog, text)

    def test_unix(self) -> None:
        reactor = MemoryReactor()
        serverFromString(reactor, withBacklog(r"unix:/run/x\:y.sock")).listen(Factory())
        ((path, _, found, _, _),) = reactor.unixServers
        self.assertEqual((path, found), ("/run/x:y.sock", BACKLOG))

    def test_leftAlone(self) -> None:
        """A socket that systemd made has the room that it was made with."""
        self.assertEqual(withBacklog("systemd:domain=INET:index=0"), "systemd:domain=INET:index=0")
