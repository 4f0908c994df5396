"""Tests of L{xmpproxy.ledger}: what is handled when, and what the ledger keeps for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.ledger import Ledger


def play(ledger: Ledger, story: str) -> int:
    """
    One letter for each: P passed, S sent, D settled (dropped), A acknowledged.

    @return: how many the last acknowledgement handled.
    """
    handled = 0
    for letter in story:
        match letter:
            case "P":
                ledger.passed()
            case "S":
                ledger.sent()
            case "D":
                ledger.settled()
            case "A":
                handled = ledger.acknowledged(1)
    return handled


#: What happened; then how many are handled, not handled, and outstanding.
STORIES: Sequence[tuple[str, int, int, int]] = (
    ("", 0, 0, 0),
    ("P", 0, 1, 1),
    ("PA", 1, 0, 0),
    ("PPA", 1, 1, 1),
    ("S", 0, 0, 1),
    ("SA", 0, 0, 0),
    # What we drop is handled at once where nothing is before it ...
    ("D", 1, 0, 0),
    ("PAD", 2, 0, 0),
    # ... that came: what we sent of our own does not count.
    ("SD", 1, 0, 1),
    # Else with what came before it,
    ("PD", 0, 2, 1),
    ("PDA", 2, 0, 0),
    ("PDDDA", 4, 0, 0),
    ("PPDA", 1, 2, 1),
    ("PDPA", 2, 1, 1),
    # without waiting for what we sent between.
    ("PSDA", 2, 0, 1),
    ("PSDSDA", 3, 0, 2),
    ("PDSDA", 3, 0, 1),
    # What stands for none is acknowledged in its turn.
    ("SPA", 0, 1, 1),
    ("SPAA", 1, 0, 0),
    ("PSPAA", 1, 1, 1),
    ("PSPAAA", 2, 0, 0),
)


class Stories(SynchronousTestCase):
    """Stanza by stanza."""

    def test_stories(self) -> None:
        """What is handled, and what is not."""
        for story, handled, unhandled, outstanding in STORIES:
            ledger = Ledger()
            play(ledger, story)
            found = (ledger.handled, ledger.unhandled, ledger.outstanding)
            self.assertEqual(found, (handled, unhandled, outstanding), story)

    def test_returned(self) -> None:
        """An acknowledgement tells how many it handles, those that were settled here included."""
        self.assertEqual(play(Ledger(), "PDDPA"), 3)
        self.assertEqual(play(Ledger(), "SPA"), 0)

    def test_runs(self) -> None:
        """Many at once are the same as one by one."""
        ledger = Ledger()
        ledger.passed(100)
        ledger.sent(3)
        ledger.settled(10)
        ledger.passed(100)
        self.assertEqual(ledger.acknowledged(99), 99)
        self.assertEqual(ledger.acknowledged(1), 11)
        self.assertEqual(ledger.acknowledged(3), 0)
        self.assertEqual(ledger.acknowledged(50), 50)
        self.assertEqual((ledger.handled, ledger.unhandled, ledger.outstanding), (160, 50, 50))

    def test_none(self) -> None:
        """Nothing at all changes nothing."""
        ledger = Ledger()
        ledger.passed(0)
        ledger.sent(0)
        ledger.settled(0)
        self.assertEqual(ledger.acknowledged(0), 0)
        self.assertEqual((ledger.handled, ledger.unhandled, ledger.outstanding), (0, 0, 0))

    def test_tooMany(self) -> None:
        """More than was sent cannot be acknowledged, and nothing has happened then."""
        ledger = Ledger()
        ledger.passed(2)
        self.assertRaises(ValueError, ledger.acknowledged, 3)
        self.assertEqual((ledger.handled, ledger.unhandled, ledger.outstanding), (0, 2, 2))


class Naive:
    """A ledger that keeps a list of all that ever happened, and reads it anew each time."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.acknowledgements = 0

    @property
    def outstanding(self) -> int:
        return sum(each in "PS" for each in self.story) - self.acknowledgements

    @property
    def handled(self) -> int:
        sent = handled = 0
        for each in self.story:
            if each in "PS":
                sent += 1
            if each == "P" and sent > self.acknowledgements:
                break
            if each in "PD":
                handled += 1
        return handled

    @property
    def unhandled(self) -> int:
        return sum(each in "PD" for each in self.story) - self.handled


class AnyOrder(SynchronousTestCase):
    """Whatever happens when."""

    @given(st.lists(st.tuples(st.sampled_from("PPSDA"), st.integers(0, 5)), max_size=60))
    def test_naive(self, happens: list[tuple[str, int]]) -> None:
        """The ledger says what a list of everything says; runs do not outnumber what is out."""
        ledger, naive = Ledger(), Naive()
        for letter, count in happens:
            if letter == "A":
                before = naive.handled
                count = min(count, naive.outstanding)
                naive.acknowledgements += count
                self.assertEqual(ledger.acknowledged(count), naive.handled - before)
            else:
                naive.story += letter * count
                {"P": ledger.passed, "S": ledger.sent, "D": ledger.settled}[letter](count)
            self.assertEqual(ledger.handled, naive.handled)
            self.assertEqual(ledger.unhandled, naive.unhandled)
            self.assertEqual(ledger.outstanding, naive.outstanding)
            self.assertLessEqual(len(ledger._runs or ()), 2 * ledger.outstanding)


class Memory(SynchronousTestCase):
    """What a ledger keeps."""

    def test_idle(self) -> None:
        """Nothing but numbers, before anything happens and once all is acknowledged."""
        ledger = Ledger()
        self.assertIsNone(ledger._runs)
        play(ledger, "PSDPPDSAAAAA")
        self.assertIsNone(ledger._runs)

    def test_settled(self) -> None:
        """However many are settled here, the ledger does not grow."""
        ledger = Ledger()
        ledger.passed()
        for _ in range(100_000):
            ledger.settled()
        self.assertEqual(len(ledger._runs or ()), 2)

    def test_alternating(self) -> None:
        """No two alike, one behind the other, cost a few bytes a stanza."""
        ledger = Ledger()
        for _ in range(2_000):
            play(ledger, "PDS" * 3 + "AAA")
        runs = ledger._runs
        assert runs is not None
        size = sys.getsizeof(runs) + sum({id(run): sys.getsizeof(run) for run in runs}.values())
        self.assertLess(size, 16 * ledger.outstanding)
