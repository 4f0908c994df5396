"""Tests of L{xmpproxy.deadlines}."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy import deadlines
from xmpproxy.deadlines import PORTION, Deadlines

_IDS = "abcde"


class DeadlinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.make()

    def make(self) -> None:
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock, self.over)
        self.met: list[str] = []

    def over(self, id: str) -> None:
        if id == "fails":
            raise ValueError(id)
        self.met.append(id)

    def passes(self, seconds: float) -> str:
        """Returns whose time was over."""
        self.clock.advance(seconds)
        met, self.met = self.met, []
        return " ".join(met)

    def test_inTurns(self) -> None:
        """Those that are due at once are met portion by portion."""
        turns: list[Callable[[], None]] = []
        self.patch(deadlines, "later", lambda clock, work: turns.append(work))
        for number in range(3 * PORTION + 1):
            self.deadlines.set(f"{number:2}", 300)
        self.clock.advance(300)
        met = []
        for turn in turns:  # which grow meanwhile
            met.append(len(self.met))
            self.deadlines.set("another", 0)
            self.deadlines.cancel("another")
            turn()
        self.assertEqual(met, [0, PORTION, 2 * PORTION, 3 * PORTION])
        self.assertEqual(self.met, [f"{number:2}" for number in range(3 * PORTION + 1)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelledInTime(self) -> None:
        """Who is due and was not met yet may still be cancelled."""
        for id in "abc":
            self.deadlines.set(id, 1)

        def over(id: str) -> None:
            self.over(id)
            self.deadlines.cancel("b")

        self.deadlines._over = over
        self.assertEqual(self.passes(1), "a c")

    def test_failure(self) -> None:
        """One that fails does not keep the others."""
        self.deadlines.set("fails", 1)
        self.deadlines.set("a", 1)
        self.deadlines.set("b", 2)
        self.assertEqual(self.passes(1), "a")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.passes(1), "b")

    def test_oneCall(self) -> None:
        """However many there are, and however often they change, little is kept for them."""
        self.deadlines.set("first", 300)
        for number in range(1000):
            self.deadlines.set(str(number), 300)
            self.deadlines.set("again", 300)
            self.deadlines.cancel(str(number))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertLess(len(self.deadlines._heap), 4 * PORTION)

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.sampled_from(_IDS), st.sampled_from([None, 1, 2, 60, 300])),
                st.tuples(st.just(""), st.integers(0, 200)),
            )
        )
    )
    def test_any(self, happens: list[tuple[str, int | None]]) -> None:
        """Each is met when its time is over, once, and nothing else waits."""
        self.make()
        due: dict[str, float] = {}
        for id, seconds in happens:
            if id == "":
                now = self.clock.seconds() + (seconds or 0)
                met = sorted(each for each in due if due[each] <= now)
                self.assertEqual(sorted(self.passes(seconds or 0).split()), met)
                due = {each: when for each, when in due.items() if when > now}
            elif seconds is None:
                self.deadlines.cancel(id)
                due.pop(id, None)
            else:
                self.deadlines.set(id, seconds)
                due[id] = self.clock.seconds() + seconds
            self.assertEqual(bool(self.clock.getDelayedCalls()), bool(due))
