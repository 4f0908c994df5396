"""Who may connect now, and who waits."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.turns import Turns


class Taking(SynchronousTestCase):
    """So many at a time."""

    def setUp(self) -> None:
        self.turns = Turns(2)
        self.came: list[str] = []

    def take(self, address: str, name: str | None = None) -> Deferred[None]:
        """Ask for a turn, and note when it comes."""
        turn = self.turns.take(address)
        turn.addCallback(lambda _: self.came.append(name or address))
        return turn

    def test_atOnce(self) -> None:
        """As many as may."""
        for address in "abc":
            self.take(address)
        self.assertEqual(self.came, ["a", "b"])
        self.turns.give()
        self.assertEqual(self.came, ["a", "b", "c"])

    def test_inTurn(self) -> None:
        """Who comes with many waits for itself alone."""
        self.take("x")
        self.take("x")
        for number in range(3):
            self.take("many", f"many {number}")
        self.take("one")
        for _ in range(4):
            self.turns.give()
        self.assertEqual(self.came[2:], ["many 0", "one", "many 1", "many 2"])

    def test_cancelled(self) -> None:
        """Who waits no longer takes nobody's turn."""
        self.take("a")
        self.take("b")
        gone = self.take("c")
        self.take("d")
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.turns.give()
        self.assertEqual(self.came, ["a", "b", "d"])

    def test_inVain(self) -> None:
        """Those who wait are told; those whose turn it is are not concerned."""
        self.take("a")
        self.take("b")
        waiting = [self.take("c"), self.take("d")]
        self.turns.fail(Failure(ZeroDivisionError()))
        for each in waiting:
            self.failureResultOf(each, ZeroDivisionError)
        self.assertEqual(self.turns.taken, 2)
        self.turns.give()
        self.take("e")
        self.assertEqual(self.came, ["a", "b", "e"])

    @given(
        st.integers(1, 3),
        st.lists(st.one_of(st.sampled_from("abc"), st.integers(0, 20), st.none()), max_size=40),
    )
    def test_always(self, most: int, steps: list[str | int | None]) -> None:
        """Never more than that many; nobody is forgotten, and nobody is served twice."""
        turns = Turns(most)
        running = 0
        served: Counter[int] = Counter()
        asked: list[Deferred[None]] = []

        def come(_: None, number: int) -> None:
            nonlocal running
            running += 1
            served[number] += 1

        cancelled = 0
        for step in steps:
            if isinstance(step, str):
                turn = turns.take(step)
                turn.addCallback(come, len(asked))
                asked.append(turn)
            elif step is None:
                if running:
                    running -= 1
                    turns.give()
            elif step < len(asked) and not asked[step].called:
                asked[step].cancel()
                self.failureResultOf(asked[step], CancelledError)
                cancelled += 1
            self.assertLessEqual(running, most)
            self.assertEqual(turns.taken, running)
        while running:
            running -= 1
            turns.give()
        self.assertEqual(len(served) + cancelled, len(asked))
        self.assertLessEqual(set(served.values()), {1})
        self.assertEqual(turns.taken, 0)
