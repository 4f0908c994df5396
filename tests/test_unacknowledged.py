"""Tests of L{xmpproxy.unacknowledged}: what must be sent again, and what it costs to know."""

from __future__ import annotations

import sys
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.messages import stanza
from xmpproxy import ns
from xmpproxy.stanza import Stanza, spans
from xmpproxy.unacknowledged import Unacknowledged

#: Stanzas whose ends are not easily seen.
TRICKY = (
    b"<message/>",
    b"<presence type='unavailable' />",
    b"<iq id='/>'><query xmlns='jabber:iq:roster'/></iq>",
    b"<message to='a&gt;b'\n\tid=\"/message>\"><body>one &lt;/message> two</body></message >",
    b"<message><body><![CDATA[</body></message><message>]]></body></message>",
    b"<message><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
    b"<message xmlns='jabber:client'><body>in</body></message></forwarded></received></message>",
    b"<c:message xmlns:c='jabber:client'><c:body>\xc3\xa9</c:body></c:message>",
    b"<message><body>" + b"long " * 600 + b"</body></message>",
)


def numbered(number: int, length: int = 250) -> bytes:
    """A message of so many bytes."""
    head = f"<message id='{number}'><body>".encode()
    tail = b"</body></message>"
    return head + b"x" * (length - len(head) - len(tail)) + tail


def sizeOf(queue: Unacknowledged) -> int:
    """All bytes of memory that are held by a queue."""
    size = sys.getsizeof(queue)
    if queue._pieces is not None:
        size += sys.getsizeof(queue._pieces)
        size += sum(sys.getsizeof(piece) + sys.getsizeof(piece[0]) for piece in queue._pieces)
    return size


class Queue(SynchronousTestCase):
    """Stanza by stanza, and piece by piece."""

    def setUp(self) -> None:
        self.queue = Unacknowledged()

    def test_empty(self) -> None:
        """Nothing was sent."""
        self.assertEqual((self.queue.rest(), self.queue.count, self.queue.size), ([], 0, 0))
        self.queue.acknowledge(0)
        self.queue.trim()
        self.assertEqual(self.queue.rest(), [])

    def test_order(self) -> None:
        """What is left is what came last, in order."""
        for number in range(100):
            self.queue.add(numbered(number))
        self.queue.acknowledge(3)
        self.queue.acknowledge(38)
        self.assertEqual(self.queue.count, 59)
        self.assertEqual(b"".join(self.queue.rest()), b"".join(map(numbered, range(41, 100))))

    def test_all(self) -> None:
        """Once all is acknowledged nothing is left, and it can begin again."""
        self.queue.add(numbered(1) + numbered(2), 2)
        self.queue.add(numbered(3))
        self.queue.acknowledge(3)
        self.assertEqual((self.queue.rest(), self.queue.count, self.queue.size), ([], 0, 0))
        self.queue.add(numbered(4))
        self.assertEqual(self.queue.rest(), [numbered(4)])

    def test_tooMany(self) -> None:
        """More than was sent cannot be acknowledged, and nothing has happened then."""
        self.queue.add(numbered(1) + numbered(2), 2)
        self.assertRaises(ValueError, self.queue.acknowledge, 3)
        self.assertEqual(self.queue.rest(), [numbered(1) + numbered(2)])

    def test_cut(self) -> None:
        """A piece of which only a part is acknowledged is cut behind that, whatever is in it."""
        for count in range(len(TRICKY)):
            queue = Unacknowledged()
            queue.add(b"".join(TRICKY), len(TRICKY))
            queue.acknowledge(count)
            self.assertEqual(queue.rest(), [b"".join(TRICKY[count:])])
            self.assertEqual(queue.count, len(TRICKY) - count)

    def test_unchanged(self) -> None:
        """A large piece is kept as the very object that was written: it is not copied."""
        run = b"".join(map(numbered, range(260)))
        self.queue.add(numbered(0))
        self.queue.add(run, 260)
        self.assertIs(self.queue.rest()[1], run)

    def test_trim(self) -> None:
        """What is acknowledged of a piece is kept until someone minds."""
        run = b"".join(map(numbered, range(260)))
        self.queue.add(run, 260)
        self.queue.acknowledge(200)
        self.assertEqual(self.queue.size, 260 * 250)
        self.queue.trim()
        self.assertEqual(self.queue.size, 60 * 250)
        self.queue.acknowledge(59)
        self.assertEqual(self.queue.rest(), [numbered(259)])

    @given(
        st.lists(
            st.lists(st.integers(0, len(TRICKY) - 1), min_size=1, max_size=9)
            | st.integers(0, 12)
            | st.just("trim"),
            max_size=60,
        )
    )
    def test_list(self, happens: list[list[int] | int | str]) -> None:
        """It is what a list of stanzas is."""
        queue = Unacknowledged()
        stanzas: list[bytes] = []
        for what in happens:
            if isinstance(what, list):
                piece = [TRICKY[number] for number in what]
                stanzas += piece
                queue.add(b"".join(piece), len(piece))
            elif isinstance(what, int):
                count = min(what, len(stanzas))
                del stanzas[:count]
                queue.acknowledge(count)
            else:
                queue.trim()
                self.assertEqual(queue.size, sum(map(len, stanzas)))
            self.assertEqual(queue.count, len(stanzas))
            self.assertGreaterEqual(queue.size, sum(map(len, stanzas)))
            if not stanzas:
                self.assertEqual(queue.size, 0)
        self.assertEqual(b"".join(queue.rest()), b"".join(stanzas))
        self.assertEqual(queue.size, sum(map(len, stanzas)))


class Delayed(SynchronousTestCase):
    """Stanzas that are sent again to a client."""

    def delayed(self, data: bytes, when: float = 1.0) -> str:
        queue = Unacknowledged()
        queue.add(data, 1, when)
        [piece] = queue.delayed("example.com")
        return piece.decode()

    def test_stamped(self) -> None:
        """A message or presence says when it was sent, behind all that it says already."""
        stamp = "<delay xmlns='urn:xmpp:delay' from=\"example.com\" stamp='2026-11-22T07:09:45Z'/>"
        for data, expected in (
            (b"<message/>", f"<message>{stamp}</message>"),
            (b"<presence id='1' />", f"<presence id='1' >{stamp}</presence>"),
            (
                b"<message><body>&lt;/</body></message >",
                f"<message><body>&lt;/</body>{stamp}</message >",
            ),
            (
                b"<c:message xmlns:c='jabber:client'><c:body/></c:message>",
                f"<c:message xmlns:c='jabber:client'><c:body/>{stamp}</c:message>",
            ),
        ):
            self.assertEqual(self.delayed(data, 1795331385.9), expected)

    def test_unchanged(self) -> None:
        """Nor does an iq, nor what has a time already; what is inside of it does not count."""
        delay = "<delay stamp='2026-11-22T07:09:45Z' xmlns='urn:xmpp:delay'/>"
        for text in (
            "<iq id='1' type='set'/>",
            f"<message>{delay}<body/></message>",
            f"<message><body/>{delay.replace('delay', 'd:delay', 1).replace('xmlns', 'xmlns:d')}"
            "</message>",
        ):
            self.assertEqual(self.delayed(text.encode()), text)
        forwarded = f"<message><forwarded>{delay}</forwarded></message>"
        self.assertEqual(self.delayed(forwarded.encode()).count("<delay "), 2)

    def test_tricky(self) -> None:
        """What a parser makes of it is the same but for that."""
        plain = Unacknowledged()
        plain.add(b"".join(TRICKY), len(TRICKY))
        for before, after in zip(TRICKY, self._cut(plain.delayed("a&b")), strict=True):
            delay = after.has(ns.DELAY, "delay")
            self.assertEqual(delay, after.name != "iq")
            less = after.without(frozenset({(ns.DELAY, "delay")})).element.toXml()
            self.assertEqual(less, stanza(before).element.toXml())

    def _cut(self, pieces: list[bytes]) -> list[Stanza]:
        return [stanza(piece[begin:end]) for piece in pieces for begin, end in spans(piece, 0)]

    def test_times(self) -> None:
        """Everything has its time, within a few seconds; what is kept stays as it is."""
        queue = Unacknowledged()
        for number in range(100):
            queue.add(numbered(number, 60), 1, float(number))
        plain = queue.rest()
        for number, each in enumerate(self._cut(queue.delayed("example.com"))):
            stamp = next(each.element.elements(ns.DELAY, "delay"))["stamp"]
            when = datetime.fromisoformat(stamp).timestamp()
            self.assertLessEqual(abs(when - number), 5)
        self.assertEqual(queue.rest(), plain)


class Memory(SynchronousTestCase):
    """At most 1.2 times the bytes that may have to be sent again."""

    def test_oneByOne(self) -> None:
        """Stanzas that are sent one by one."""
        queue = Unacknowledged()
        for number in range(2_000):
            queue.add(numbered(number), 1, number / 3)
        self.assertLess(sizeOf(queue), 1.1 * 2_000 * 250)

    def test_runs(self) -> None:
        """Runs."""
        queue = Unacknowledged()
        for begin in range(0, 2_000, 20):
            queue.add(b"".join(numbered(number) for number in range(begin, begin + 20)), 20)
        self.assertLess(sizeOf(queue), 1.1 * 2_000 * 250)

    def test_steady(self) -> None:
        """A queue that is acknowledged at one end as it grows at the other."""
        queue = Unacknowledged()
        for number in range(20_000):
            queue.add(numbered(number))
            if number >= 200:
                queue.acknowledge(1)
        self.assertLess(sizeOf(queue), 1.2 * 200 * 250)

    def test_small(self) -> None:
        """Presence and the like."""
        queue = Unacknowledged()
        for number in range(2_000):
            queue.add(numbered(number, 60))
        self.assertLess(sizeOf(queue), 1.2 * 2_000 * 60)

    def test_idle(self) -> None:
        """Nothing but numbers while all is acknowledged."""
        queue = Unacknowledged()
        self.assertLess(sizeOf(queue), 100)
        queue.add(numbered(1))
        queue.acknowledge(1)
        self.assertLess(sizeOf(queue), 100)
