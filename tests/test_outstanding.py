"""Tests of L{xmpproxy.outstanding}: what is sent to a server again, and when that is asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.outstanding import ASK_BYTES, ASK_STANZAS, Outstanding

#: So many stanzas are sent at once, or so many more are acknowledged.
EVENTS = st.lists(
    st.one_of(
        st.integers(1, 5).map(lambda count: ("sent", count)),
        st.integers(0, 7).map(lambda count: ("acknowledged", count)),
    ),
    max_size=60,
)


def stanza(number: int) -> bytes:
    return f"<message id='{number}'><body>&lt;{number}</body></message>".encode()


class OutstandingTests(SynchronousTestCase):
    """Numbers are those of the session, which has sent some before."""

    @given(EVENTS, st.integers(0, 1000))
    def test_rest(self, events: list[tuple[str, int]], before: int) -> None:
        """What is kept is what was sent and is not acknowledged, in order."""
        outstanding = Outstanding(before, 10**6)
        sent = acknowledged = before
        for what, count in events:
            if what == "sent":
                data = b"".join(stanza(sent + each) for each in range(count))
                sent += count
                outstanding.add(data, sent)
            else:
                acknowledged = min(sent, acknowledged + count)
                outstanding.acknowledge(acknowledged)
            expected = b"".join(stanza(each) for each in range(acknowledged, sent))
            self.assertEqual(outstanding.rest(), expected)
            self.assertEqual(outstanding.size, len(expected))

    def test_lessThanBefore(self) -> None:
        """What was acknowledged before is nothing new."""
        outstanding = Outstanding(5, 10**6)
        outstanding.add(stanza(5) + stanza(6), 7)
        for number in (0, 5, 6, 5, 6):
            outstanding.acknowledge(number)
        self.assertEqual(outstanding.rest(), stanza(6))

    def test_full(self) -> None:
        """Just below, just above, and back."""
        one = stanza(1)
        outstanding = Outstanding(0, 2 * len(one))
        outstanding.add(one, 1)
        outstanding.add(one, 2)
        self.assertFalse(outstanding.full)
        outstanding.add(one, 3)
        self.assertTrue(outstanding.full)
        self.assertTrue(outstanding.due)
        outstanding.asked()
        self.assertTrue(outstanding.due)  # the answer may be about less than all
        outstanding.acknowledge(3)
        self.assertFalse(outstanding.full)
        self.assertFalse(outstanding.due)

    def test_due(self) -> None:
        """After so many stanzas, or bytes."""
        outstanding = Outstanding(0, 10**6)
        for _ in range(2):
            first = outstanding.sent + 1
            for number in range(first, first + ASK_STANZAS):
                self.assertFalse(outstanding.due)
                outstanding.add(b"<iq/>", number)
            self.assertTrue(outstanding.due)
            outstanding.asked()
        body = b"<body>" + (ASK_BYTES - 40) * b"-" + b"</body>"
        outstanding.add(b"<message>" + body + b"</message>", outstanding.sent + 1)
        self.assertFalse(outstanding.due)
        outstanding.add(b"<message>12</message>", outstanding.sent + 1)
        self.assertTrue(outstanding.due)
