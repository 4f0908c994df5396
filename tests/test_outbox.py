"""Tests of L{xmpproxy.outbox}: what of a stream waits. The rest is in C{test_mirror}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.outbox import Outbox, Slot

#: A stanza comes, as a line or not; a place is kept; one of those is filled, with or without data.
HAPPENS = st.lists(
    st.one_of(
        st.sampled_from(("line", "other", "reserve")),
        st.tuples(st.integers(0, 5), st.sampled_from((b"fork", b""))),
    ),
    max_size=30,
)


class Passed(SynchronousTestCase):
    """What has come and does not wait."""

    def setUp(self) -> None:
        self.written: list[bytes] = []
        self.outbox = Outbox(self.written.append)

    def comes(self, number: int, line: bool = True) -> None:
        (self.outbox.append if line else self.outbox.put)(b"%d" % number)
        self.outbox.came = number

    def test_nothingWaits(self) -> None:
        """All of it."""
        self.assertEqual(self.outbox.passed, 0)
        self.comes(1)
        self.assertEqual(self.outbox.passed, 1)

    def test_waits(self) -> None:
        """What came before the first place that is kept; then before the second."""
        first, second = Slot(), Slot()
        self.comes(1)
        self.outbox.reserve(first)
        self.comes(2)
        self.outbox.reserve(second)
        self.comes(3)
        self.assertEqual(self.outbox.passed, 1)
        self.outbox.fill(second, b"")
        self.assertEqual(self.outbox.passed, 1)
        self.outbox.fill(first, b"")
        self.assertEqual(self.outbox.passed, 3)

    @given(HAPPENS)
    def test_any(self, happens: list[str | tuple[int, bytes]]) -> None:
        """Nothing that has passed waits, ever; and in the end nothing does."""
        self.setUp()
        slots: list[Slot] = []
        came = before = 0
        for each in happens:
            if each == "reserve":
                slots.append(Slot())
                self.outbox.reserve(slots[-1])
            elif isinstance(each, str):
                came += 1
                self.comes(came, each == "line")
            elif slots:
                self.outbox.fill(slots.pop(each[0] % len(slots)), each[1])
            passed = self.outbox.passed
            self.assertGreaterEqual(passed, before)
            self.assertTrue({b"%d" % number for number in range(1, passed + 1)} <= {*self.written})
            before = passed
        for slot in slots:
            self.outbox.fill(slot, b"")
        self.assertEqual(self.outbox.passed, came)
