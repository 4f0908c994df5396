"""Tests of L{xmpproxy.ledger}: what is handled when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy import ledger
from xmpproxy.ledger import MOST_MARKS, Ledger

#: Of each turn: how many stanzas came, how many were sent; or how many are acknowledged more.
TURNS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 3), st.integers(0, 3)), st.integers(0, 4).map(lambda n: (n,))
    ),
    max_size=60,
)


class LedgerTests(SynchronousTestCase):
    def test_passedOn(self) -> None:
        book = Ledger()
        book.mark(1, 1)
        self.assertEqual(book.handled, 0)
        book.acknowledge(1)
        self.assertEqual(book.handled, 1)

    def test_turn(self) -> None:
        """What came in one turn is handled with the last of what was sent in it."""
        book = Ledger()
        book.mark(3, 2)
        book.acknowledge(2)
        self.assertEqual(book.handled, 0)
        book.acknowledge(3)
        self.assertEqual(book.handled, 2)

    def test_answeredHere(self) -> None:
        """What nothing was sent for is handled with what came before it; at once if that is."""
        book = Ledger()
        book.mark(0, 1)
        self.assertEqual(book.handled, 1)
        book.mark(1, 2)
        book.mark(1, 3)
        self.assertEqual(book.handled, 1)
        book.acknowledge(1)
        self.assertEqual(book.handled, 3)
        book.mark(1, 4)
        self.assertEqual(book.handled, 4)

    def test_nothingCame(self) -> None:
        """What is sent besides, for nothing that came, is not waited for."""
        book = Ledger()
        book.mark(1, 1)
        for sent in range(2, 9):
            book.mark(sent, 1)
        assert book._marks is not None
        self.assertEqual(len(book._marks), 1)
        book.acknowledge(1)
        self.assertEqual(book.handled, 1)

    def test_repeated(self) -> None:
        """An acknowledgement of what is acknowledged changes nothing."""
        book = Ledger()
        book.mark(5, 5)
        book.acknowledge(5)
        book.acknowledge(3)
        book.mark(5, 6)
        self.assertEqual((book.acknowledged, book.handled), (5, 6))

    def test_bounded(self) -> None:
        """A peer that acknowledges nothing costs no more and more memory."""
        book = Ledger()
        for number in range(1, 3 * MOST_MARKS):
            book.mark(number, number)
        assert book._marks is not None
        self.assertEqual(len(book._marks), MOST_MARKS)
        book.acknowledge(3 * MOST_MARKS - 2)
        self.assertEqual(book.handled, MOST_MARKS - 1)
        book.acknowledge(3 * MOST_MARKS - 1)
        self.assertEqual(book.handled, 3 * MOST_MARKS - 1)

    @given(TURNS, st.sampled_from((1, 3, 500)))
    def test_turns(self, turns: list[tuple[int, ...]], most: int) -> None:
        """
        Never more is handled than was acknowledged of what it became; in the end, all of it; and
        nothing less than turn by turn as long as no marks are left out.
        """
        self.patch(ledger, "MOST_MARKS", most)
        book = Ledger()
        came = sent = acknowledged = before = 0
        marks = [(0, 0)]
        for turn in turns:
            if len(turn) == 2:
                came, sent = came + turn[0], sent + turn[1]
                marks.append((sent, came))
                book.mark(sent, came)
            else:
                acknowledged = min(sent, acknowledged + turn[0])
                book.acknowledge(acknowledged)
            exact = max(into for out, into in marks if out <= acknowledged)
            self.assertLessEqual(book.handled, exact)
            if most == 500:
                self.assertEqual(book.handled, exact)
            self.assertGreaterEqual(book.handled, before)
            before = book.handled
        book.acknowledge(sent)
        self.assertEqual(book.handled, came)
