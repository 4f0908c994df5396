"""Tests of L{xmpproxy.barrier}."""

from __future__ import annotations

import math
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.barrier import GIVE_UP, IMPATIENCE, PATIENCE, Barrier


class BarrierTests(SynchronousTestCase):
    """What waits, and when its wait is over."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.pings: list[Callable[[], None]] = []
        self.passed: list[str] = []
        self.overdue: list[str] = []
        self.readSince = 0.0
        self.barrier: Barrier[str] = Barrier(
            self.pings.append,
            self.clock,
            self.passed.extend,
            self.overdue.extend,
            lambda: self.readSince,
        )

    def test_oneInFlight(self) -> None:
        """All that comes while a ping is in flight waits for the next: that one was too early."""
        self.barrier.wait("a")
        self.barrier.wait("b")
        self.barrier.wait("c")
        self.assertEqual(len(self.pings), 1)
        self.pings[0]()
        self.assertEqual(self.passed, ["a"])
        self.assertEqual(len(self.pings), 2)
        self.pings[1]()
        self.assertEqual(self.passed, ["a", "b", "c"])
        self.assertEqual(len(self.pings), 2)

    def test_answerTwice(self) -> None:
        """Only the first answer to a ping counts."""
        self.barrier.wait("a")
        self.barrier.wait("b")
        self.pings[0]()
        self.pings[0]()
        self.assertEqual(self.passed, ["a"])

    def test_overdue(self) -> None:
        """A late answer is reported once for each item, and still counts."""
        self.barrier.wait("a")
        self.clock.advance(PATIENCE - 0.1)
        self.assertEqual(self.overdue, [])
        self.clock.advance(0.2)
        self.assertEqual(self.overdue, ["a"])
        self.pings[0]()
        self.assertEqual(self.passed, ["a"])

    def test_overdueAlready(self) -> None:
        """While an answer is late, nothing new waits long for it."""
        self.barrier.wait("a")
        self.clock.advance(PATIENCE)
        self.barrier.wait("b")
        self.clock.advance(IMPATIENCE)
        self.assertEqual(set(self.overdue), {"a", "b"})
        self.assertEqual(self.passed, [])

    def test_inTime(self) -> None:
        """Answers in time leave nothing to report, however many there are."""
        for second in range(3 * int(PATIENCE)):
            self.barrier.wait(str(second))
            self.pings.pop()()
            self.clock.advance(1)
        self.assertEqual(self.overdue, [])
        self.assertEqual(len(self.passed), 3 * int(PATIENCE))

    def test_noAnswer(self) -> None:
        """A server that answers no pings does not have things wait for ever."""
        self.barrier.wait("a")
        for _ in range(int(GIVE_UP) + 1):
            self.clock.advance(1)
        self.assertEqual(self.passed, ["a"])
        self.barrier.wait("b")
        self.assertEqual(len(self.pings), 2)

    def test_notRead(self) -> None:
        """An answer that we do not read is not missing."""
        self.barrier.wait("a")
        self.readSince = math.inf
        for _ in range(2 * int(GIVE_UP)):
            self.clock.advance(1)
        self.assertEqual(self.passed, [])
        self.readSince = self.clock.seconds()
        for _ in range(2 * int(GIVE_UP)):
            self.clock.advance(1)
        self.assertEqual(self.passed, ["a"])

    def test_hurry(self) -> None:
        """On demand, everything that waits is overdue."""
        self.barrier.wait("a")
        self.barrier.wait("b")
        self.barrier.hurry()
        self.assertEqual(self.overdue, ["a", "b"])

    def test_stop(self) -> None:
        """Nothing is called any more, and no timer stays."""
        self.barrier.wait("a")
        self.barrier.stop()
        self.pings[0]()
        self.assertEqual((self.passed, self.overdue), ([], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])
