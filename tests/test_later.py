"""Tests for L{xmpproxy.later}: what is done in which turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from xmpproxy import later
from xmpproxy.later import SHARE


class Reactor:
    """Calls what is due once a turn, but not what is added meanwhile."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., None], Any]] = []

    def callLater(self, seconds: float, function: Callable[..., None], *arguments: Any) -> None:
        self.calls.append((function, arguments))

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for function, arguments in calls:
            function(*arguments)


class LaterTests(SynchronousTestCase):
    """By a clock that goes on only while something is done."""

    def setUp(self) -> None:
        self.now = 0.0
        self.patch(later, "perf_counter", lambda: self.now)
        self.reactor = Reactor()
        self.done: list[str] = []

    def add(
        self, name: str, seconds: float, again: int = 0, reactor: Reactor | None = None
    ) -> None:
        """Have something done, as often as it wants to be done again."""

        def work() -> None:
            self.now += seconds
            self.done.append(name)
            if name == "fails":
                raise ValueError(name)
            if again:
                self.add(name, seconds, again - 1, reactor)

        later.later(cast(Any, reactor or self.reactor), work)

    def turn(self) -> str:
        """Returns what was done in one turn."""
        self.done.clear()
        self.reactor.turn()
        return " ".join(self.done)

    def test_notAtOnce(self) -> None:
        self.add("a", 0)
        self.assertEqual(self.done, [])
        self.assertEqual((self.turn(), self.turn()), ("a", ""))
        self.assertEqual(self.reactor.calls, [])

    def test_share(self) -> None:
        """A turn has its share of it, and not less than one."""
        for name in "abcd":
            self.add(name, 0.6 * SHARE)
        self.add("long", 9 * SHARE)
        self.add("e", 0)
        turns = [self.turn() for _ in range(5)]
        self.assertEqual(turns, ["a b", "c d", "long", "e", ""])

    def test_again(self) -> None:
        """What goes on after its first turn comes behind all who wait."""
        self.add("a", 1.1 * SHARE, again=2)
        self.add("b", 1.1 * SHARE, again=1)
        turns = [self.turn() for _ in range(6)]
        self.assertEqual(turns, ["a", "b", "a", "b", "a", ""])

    def test_withinATurn(self) -> None:
        """It is never twice in one turn."""
        self.add("a", 0, again=2)
        self.assertEqual([self.turn() for _ in range(4)], ["a", "a", "a", ""])

    def test_failure(self) -> None:
        """One that fails does not keep the others."""
        self.add("fails", 0)
        self.add("a", 0)
        self.assertRaises(ValueError, self.turn)
        self.assertEqual((self.turn(), self.turn()), ("a", ""))

    def test_clocks(self) -> None:
        """Each reactor has its own."""
        other = Reactor()
        self.add("a", 0)
        self.add("b", 0, reactor=other)
        self.assertEqual(self.turn(), "a")
        other.turn()
        self.assertEqual(self.done, ["a", "b"])
