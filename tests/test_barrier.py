"""Tests of L{xmpproxy.barrier}: what has passed, and what happens without answers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.barrier import GIVE_UP, IMPATIENCE, PATIENCE, Barrier


class Stage:
    """
    A barrier, and a server that answers pings when it is told to.

    @ivar pings: those that are not answered.
    @ivar passed: the moments that were reported.
    @ivar overdue: how often something was reported as overdue.
    @ivar readSince: what the barrier is told of the reading of the stream.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.pings: deque[Callable[[], None]] = deque()
        self.passed: list[int] = []
        self.overdue = 0
        self.readSince = 0.0
        self.pingsSeen = 0
        self.barrier = Barrier(
            self.pings.append,
            self.clock,
            self.passed.append,
            self.isOverdue,
            lambda: self.readSince,
            self.woken,
        )

    def isOverdue(self) -> None:
        self.overdue += 1

    def woken(self) -> None:
        self.pingsSeen = len(self.pings)

    def wait(self, *moments: int) -> None:
        for moment in moments:
            self.barrier.wait(moment)

    def answer(self) -> None:
        """The server answers the oldest ping."""
        self.pings.popleft()()

    def spend(self, seconds: float, step: float = 0.125) -> None:
        """Let time pass bit by bit."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)


class Answered(SynchronousTestCase):
    """The server answers in time."""

    def setUp(self) -> None:
        self.stage = Stage()

    def test_nothingWaits(self) -> None:
        """Without need nobody is asked."""
        self.assertEqual(list(self.stage.pings), [])
        self.assertEqual(self.stage.clock.getDelayedCalls(), [])

    def test_one(self) -> None:
        """An item passes with the answer to the ping that was sent for it."""
        self.stage.wait(1)
        self.assertEqual(len(self.stage.pings), 1)
        self.assertEqual(self.stage.passed, [])
        self.stage.answer()
        self.assertEqual(self.stage.passed, [1])

    def test_oneInFlight(self) -> None:
        """What comes while a ping is in flight shares the next; that one is sent at the answer."""
        self.stage.wait(1, 2, 3)
        self.assertEqual(len(self.stage.pings), 1)
        self.stage.answer()
        self.assertEqual(self.stage.passed, [1])
        self.assertEqual(len(self.stage.pings), 1)
        self.stage.wait(4)
        self.stage.answer()
        self.assertEqual(self.stage.passed, [1, 3])
        self.stage.answer()
        self.assertEqual(self.stage.passed, [1, 3, 4])
        self.assertEqual(list(self.stage.pings), [])

    def test_pingFirst(self) -> None:
        """The next ping is on its way before anybody acts upon the answer to the last one."""
        pings: list[int] = []
        self.stage.barrier = Barrier(
            self.stage.pings.append,
            self.stage.clock,
            lambda moment: pings.append(len(self.stage.pings)),
            self.stage.isOverdue,
        )
        self.stage.wait(1, 2)
        self.stage.answer()
        self.assertEqual(pings, [1])

    def test_neverOverdue(self) -> None:
        """Whose answers come in time is never overdue, however long that goes on."""
        for n in range(100):
            self.stage.wait(n)
            self.stage.clock.advance(PATIENCE - 0.1)
            self.stage.answer()
        self.assertEqual(self.stage.overdue, 0)
        self.assertEqual(len(self.stage.passed), 100)

    def test_oneTimer(self) -> None:
        """Many pings make one timer, and in the end there is none."""
        for n in range(100):
            self.stage.wait(n)
            self.stage.answer()
            self.assertEqual(len(self.stage.clock.getDelayedCalls()), 1)
        self.stage.clock.advance(PATIENCE)
        self.assertEqual(self.stage.clock.getDelayedCalls(), [])
        self.assertEqual(self.stage.overdue, 0)


class Overdue(SynchronousTestCase):
    """The server takes long."""

    def setUp(self) -> None:
        self.stage = Stage()

    def test_reported(self) -> None:
        """After a while everything that waits is reported, once, and passes all the same."""
        self.stage.wait(1, 2)
        self.stage.clock.advance(PATIENCE - 0.1)
        self.assertEqual(self.stage.overdue, 0)
        self.stage.clock.advance(0.1)
        self.assertEqual(self.stage.overdue, 1)
        self.stage.spend(PATIENCE)
        self.assertEqual(self.stage.overdue, 1)
        self.stage.answer()
        self.stage.answer()
        self.assertEqual(self.stage.passed, [1, 2])

    def test_impatience(self) -> None:
        """What comes after that is reported soon."""
        self.stage.wait(1)
        self.stage.clock.advance(PATIENCE)
        self.stage.wait(2)
        self.assertEqual(self.stage.overdue, 1)
        self.stage.clock.advance(IMPATIENCE)
        self.assertEqual(self.stage.overdue, 2)
        self.stage.spend(PATIENCE)
        self.stage.wait(3)
        self.stage.clock.advance(IMPATIENCE)
        self.assertEqual(self.stage.overdue, 3)

    def test_steadyTraffic(self) -> None:
        """More items do not put the report of the others off."""
        self.stage.wait(1)
        self.stage.clock.advance(PATIENCE)
        for n in range(20):
            self.stage.wait(n)
            self.stage.clock.advance(IMPATIENCE / 2)
        self.assertGreater(self.stage.overdue, 5)

    def test_patientAgain(self) -> None:
        """Once the server has answered, it has as much time for the next ping as for the first."""
        self.stage.wait(1)
        self.stage.clock.advance(PATIENCE)
        self.stage.answer()
        self.stage.wait(2)
        self.stage.clock.advance(PATIENCE - 0.1)
        self.assertEqual(self.stage.overdue, 1)
        self.stage.clock.advance(0.1)
        self.assertEqual(self.stage.overdue, 2)

    def test_hurry(self) -> None:
        """Whoever cannot wait has everything reported at once, and the next items soon."""
        self.stage.wait(1, 2)
        self.stage.barrier.hurry()
        self.assertEqual(self.stage.overdue, 1)
        self.stage.wait(3)
        self.stage.clock.advance(IMPATIENCE)
        self.assertEqual(self.stage.overdue, 2)
        self.stage.answer()
        self.assertEqual(self.stage.passed, [1])


class NeverAnswered(SynchronousTestCase):
    """The server does not answer at all."""

    def setUp(self) -> None:
        self.stage = Stage()

    def test_woken(self) -> None:
        """Who flushes is told when time has done something, the next ping included."""
        self.stage.wait(1, 2)
        self.assertEqual(self.stage.pingsSeen, 0)
        self.stage.spend(GIVE_UP)
        self.assertEqual(self.stage.pingsSeen, len(self.stage.pings))

    def test_givesUp(self) -> None:
        """An answer is not expected for ever: what waits for it passes."""
        self.stage.wait(1, 2)
        self.stage.spend(GIVE_UP - 1)
        self.assertEqual(self.stage.passed, [])
        self.stage.spend(1)
        self.assertEqual(self.stage.passed, [1])
        self.stage.spend(GIVE_UP)
        self.assertEqual(self.stage.passed, [1, 2])
        self.assertEqual(self.stage.clock.getDelayedCalls(), [])

    def test_givesUpInTraffic(self) -> None:
        """Items that come all the time do not put that off."""
        for n in range(round(GIVE_UP / 0.1)):
            self.stage.wait(n)
            self.stage.clock.advance(0.1)
        self.assertEqual(self.stage.passed, [0])

    def test_answerAfterAll(self) -> None:
        """An answer that nobody expects any more says nothing of later items."""
        self.stage.wait(1, 2)
        self.stage.spend(GIVE_UP)
        self.stage.answer()
        self.assertEqual(self.stage.passed, [1])
        self.stage.answer()
        self.assertEqual(self.stage.passed, [1, 2])

    def test_notRead(self) -> None:
        """As long as nobody reads the stream, the answer may well be there."""
        self.stage.wait(1)
        self.stage.readSince = math.inf
        self.stage.spend(3 * GIVE_UP)
        self.assertEqual(self.stage.passed, [])
        self.stage.readSince = self.stage.clock.seconds()
        self.stage.spend(GIVE_UP - 1)
        self.assertEqual(self.stage.passed, [])
        self.stage.answer()
        self.assertEqual(self.stage.passed, [1])

    def test_readAgain(self) -> None:
        """Once the stream has been read for long enough, it is not."""
        self.stage.wait(1)
        self.stage.readSince = math.inf
        self.stage.spend(1.5 * GIVE_UP)
        self.stage.readSince = self.stage.clock.seconds()
        self.stage.spend(2 * GIVE_UP)
        self.assertEqual(self.stage.passed, [1])

    def test_finish(self) -> None:
        """When the stream has ended nothing can come: all that waits passes, and that is all."""
        self.stage.wait(1, 2)
        self.stage.clock.advance(PATIENCE)
        self.stage.barrier.finish()
        self.assertEqual(self.stage.passed, [2])
        self.assertEqual(self.stage.clock.getDelayedCalls(), [])
        self.stage.answer()
        self.assertEqual(self.stage.passed, [2])
        self.assertEqual(list(self.stage.pings), [])


class AnyOrder(SynchronousTestCase):
    """Whatever happens when."""

    @given(st.lists(st.sampled_from(("wait", "answer", "hurry", 0.2, 4.0)), max_size=60))
    def test_once(self, happens: list[str | float]) -> None:
        """Each item passes once, in order, by the answer to a ping that was sent after it came."""
        stage = Stage()
        pinged: deque[int] = deque()  # how many items had come before each ping in flight
        count = 0
        for what in happens:
            if what == "wait":
                count += 1
                stage.wait(count)
            elif what == "hurry":
                stage.barrier.hurry()
            elif isinstance(what, float):
                stage.clock.advance(what)
            elif pinged:
                before = pinged.popleft()
                stage.answer()
                self.assertLessEqual(stage.passed[-1], before)
            self.assertLessEqual(len(stage.pings) - len(pinged), 1)
            pinged.extend([count] * (len(stage.pings) - len(pinged)))
        while stage.pings:
            stage.answer()
        self.assertEqual(stage.passed, sorted(set(stage.passed)))
        self.assertEqual(stage.passed[-1:], [count][:count])
