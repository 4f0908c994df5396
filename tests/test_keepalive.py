"""Tests for L{xmpproxy.keepalive}."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.account import Accounts
from xmpproxy.ids import Ids
from xmpproxy.keepalive import KeepAlive
from xmpproxy.silence import Patience

#: Seconds.
TURN = 2**-10


class Session:
    """Counts how often it was looked at, and fails each time if it is to."""

    counted = waiting = 0

    def __init__(self, error: Exception | None = None) -> None:
        self.looks = 0
        self._error = error

    def flushUpstream(self) -> None:
        raise NotImplementedError

    flushDownstream = flushUpstream

    def makeRoom(self, text: str) -> None:
        raise NotImplementedError

    def look(self, patience: Patience) -> None:
        assert patience.seconds
        self.looks += 1
        if self._error is not None:
            raise self._error


class Reactor(Clock):
    """One whose turns take some time."""

    def callLater(self, delay: float, *args: Any, **kwargs: Any) -> Any:
        return super().callLater(delay or TURN, *args, **kwargs)


class KeepAliveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Reactor()
        self.accounts = Accounts(Ids())

    def join(self, count: int, account: str = "juliet@example.com") -> list[Session]:
        sessions = [Session() for _ in range(count)]
        for session in sessions:
            self.accounts.join(account, session)
        return sessions

    def run_(self, seconds: float) -> KeepAlive:
        keepAlive = KeepAlive(seconds, self.accounts, self.clock)
        keepAlive.startService()
        return keepAlive

    def passes(self, seconds: int) -> None:
        """Let time go by."""
        for _ in range(seconds):
            self.clock.advance(1)

    def test_all(self) -> None:
        """Each session of each account is looked at, again and again, until it leaves."""
        juliets, romeos = self.join(2), self.join(1, "romeo@example.com")
        self.run_(50)
        self.passes(9)
        self.assertEqual([each.looks for each in juliets + romeos], [0, 0, 0])
        self.passes(1)
        self.assertEqual([each.looks for each in juliets + romeos], [1, 1, 1])
        (romeo,) = romeos
        (account,) = (each for each in self.accounts if each.jid == "romeo@example.com")
        self.accounts.leave(account, romeo)
        self.passes(100)
        self.assertEqual([each.looks for each in juliets + romeos], [11, 11, 1])

    def test_many(self) -> None:
        """Others have their turn in between. None is left out."""
        sessions = self.join(1050)
        self.run_(50)
        self.clock.advance(10)
        self.assertEqual(sum(each.looks for each in sessions), 100)
        self.clock.pump(9 * [TURN])
        self.assertEqual(sum(each.looks for each in sessions), 1000)
        self.clock.advance(TURN)
        self.assertEqual({each.looks for each in sessions}, {1})
        self.passes(10)
        self.clock.pump(11 * [TURN])
        self.assertEqual({each.looks for each in sessions}, {2})

    def test_oneFails(self) -> None:
        """That is a fault of ours, and of no concern to the others."""
        sick = Session(ZeroDivisionError())
        self.accounts.join("juliet@example.com", sick)
        sessions = self.join(3)
        self.run_(50)
        self.passes(20)
        self.assertEqual([each.looks for each in sessions], [2, 2, 2])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_stops(self) -> None:
        """Before it has begun to look, in the midst of it, and in between."""
        sessions = self.join(250)
        for seconds in (5, 10, 13):
            keepAlive = self.run_(50)
            self.clock.advance(seconds)
            keepAlive.stopService()
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(sum(each.looks for each in sessions), 200)

    def test_never(self) -> None:
        """There is nothing to do, and nothing to stop."""
        keepAlive = self.run_(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        keepAlive.stopService()
