"""Tests of L{xmpproxy.streammanagement}: elements, counters, and when to ask."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.error import StreamError

from tests.messages import stanza
from xmpproxy import ns
from xmpproxy.streammanagement import (
    MODULUS,
    Answer,
    AskPolicy,
    Counter,
    Element,
    Enable,
    Enabled,
    Failed,
    Refused,
    Request,
    Resume,
    Resumed,
    parse,
)

SM = "xmlns='urn:xmpp:sm:3'"
STANZAS = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'"

#: What peers may send, and what it means.
UNDERSTOOD: Sequence[tuple[str, Element]] = (
    (f"<r {SM}/>", Request()),
    (f"<r {SM}>text</r>", Request()),
    (f"<x:r xmlns:x='{ns.STREAM_MANAGEMENT[0]}'/>", Request()),
    (f"<a {SM} h='0'/>", Answer(0)),
    (f"<a {SM} h='4294967295'/>", Answer(MODULUS - 1)),
    (f"<a {SM} h=' 0007&#10;'/>", Answer(7)),
    (f"<enable {SM}/>", Enable()),
    (f"<enable {SM} resume='true'/>", Enable(True)),
    (f"<enable {SM} resume=' 1 ' max='+60'/>", Enable(True, 60)),
    (f"<enable {SM} resume='0' max='007'/>", Enable(False, 7)),
    (f"<enable {SM} resume='false'/>", Enable(False)),
    (f"<enable {SM} max='{'9' * 5_000}'/>", Enable(False, MODULUS)),
    (f"<resume {SM} previd='a&amp;=' h='3'/>", Resume("a&=", 3)),
    (f"<resume {SM} previd='' h='3'/>", Resume("", 3)),
    (f"<enabled {SM}/>", Enabled()),
    (f"<enabled {SM} id='x='/>", Enabled()),
    (f"<enabled {SM} resume='true'/>", Enabled()),  # by what?
    (f"<enabled {SM} id='x=' resume='1' max='600'/>", Enabled("x=", 600)),
    (f"<enabled {SM} id='x' resume='true' max='soon' location='[::1]:9'/>", Enabled("x")),
    (f"<resumed {SM} previd='x' h='3'/>", Resumed("x", 3)),
    (f"<resumed {SM} h='3'/>", Resumed("", 3)),
    (f"<failed {SM}/>", Failed("undefined-condition")),
    (f"<failed {SM}><item-not-found {STANZAS}/></failed>", Failed("item-not-found")),
    (f"<failed {SM} h='9'><item-not-found {STANZAS}/></failed>", Failed("item-not-found", 9)),
    (f"<failed {SM} h='-9'><text/><bad-request {STANZAS}/></failed>", Failed("bad-request")),
)

#: What is no C{xs:unsignedInt}.
NO_COUNTS = (
    "",
    " ",
    "abc",
    "1 2",
    "-1",
    "-0",
    "+1",
    "1.0",
    "1e3",
    "0x10",
    "1_000",
    "\u0661",  # a digit, elsewhere
    "\u00b2",
    str(MODULUS),
    str(MODULUS + 1),
    "9" * 5_000,  # more than Python makes a number of
)


class Parsing(SynchronousTestCase):
    """Elements that come."""

    def test_understood(self) -> None:
        """What they say, in both versions."""
        for text, element in UNDERSTOOD:
            for namespace in ns.STREAM_MANAGEMENT:
                written = text.replace(ns.STREAM_MANAGEMENT[0], namespace)
                self.assertEqual(parse(stanza(written)), element, written)

    def test_noCount(self) -> None:
        """An C{h} that is no number from 0 to 2^32-1 gets the answer that its element gets."""
        for h in ("", *(f"h='{each}'" for each in NO_COUNTS)):
            for text in (f"<a {SM} {h}/>", f"<resumed {SM} previd='x' {h}/>"):
                error = self.assertRaises(StreamError, parse, stanza(text))
                self.assertEqual(error.condition, "invalid-xml", h)
            text = f"<resume {SM} previd='x' {h}/>"
            refused = self.assertRaises(Refused, parse, stanza(text))
            self.assertEqual(refused.failed, Failed("bad-request"), h)

    def test_badRequests(self) -> None:
        """Other values that the schema does not allow."""
        for text in (
            f"<resume {SM} h='1'/>",
            f"<enable {SM} resume=''/>",
            f"<enable {SM} resume='yes'/>",
            f"<enable {SM} resume='TRUE'/>",
            f"<enable {SM} resume='true' max='0'/>",
            f"<enable {SM} max=''/>",
            f"<enable {SM} max='-5'/>",
            f"<enable {SM} max='\u0665'/>",
            f"<enable {SM} max='++5'/>",
        ):
            refused = self.assertRaises(Refused, parse, stanza(text))
            self.assertEqual(refused.failed, Failed("bad-request"), text)

    def test_unknown(self) -> None:
        """What is no element of stream management."""
        for name in ("R", "sm", "message", "t"):
            error = self.assertRaises(StreamError, parse, stanza(f"<{name} {SM}/>"))
            self.assertEqual(error.condition, "unsupported-stanza-type")


counts = st.integers(0, MODULUS - 1)
ids = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=20)
seconds = st.none() | st.integers(1, MODULUS)
#: As RFC 6120, section 8.3.3 has them.
conditions = st.sampled_from(
    ("bad-request", "feature-not-implemented", "item-not-found", "unexpected-request")
)
elements = st.one_of(
    st.builds(Enable, st.booleans(), seconds),
    st.builds(Enabled, st.none() | ids, seconds),
    st.builds(Resume, ids, counts),
    st.builds(Resumed, ids, counts),
    st.builds(Failed, conditions, st.none() | counts),
    st.just(Request()),
    st.builds(Answer, counts),
)


class Writing(SynchronousTestCase):
    """Elements that are sent."""

    @given(elements, st.sampled_from(ns.STREAM_MANAGEMENT))
    def test_thereAndBack(self, element: Element, namespace: str) -> None:
        """What is written says what it should, in the version it should."""
        written = stanza(element.written(namespace))
        self.assertEqual(written.namespace, namespace)
        self.assertEqual(parse(written), element)

    def test_written(self) -> None:
        """As the examples of the specification have it."""
        for element, text in (
            (Request(), f"<r {SM}/>"),
            (Answer(1), f'<a {SM} h="1"/>'),
            (Enabled(), f"<enabled {SM}/>"),
            (Enabled("i", 300), f'<enabled {SM} id="i" resume="true" max="300"/>'),
            (
                Failed("item-not-found", 5),
                f'<failed {SM} h="5"><item-not-found {STANZAS}/></failed>',
            ),
        ):
            self.assertEqual(element.written().decode(), text)


def counterAt(acknowledged: int, outstanding: int) -> Counter:
    """A counter that has got so far."""
    counter = Counter()
    counter.acknowledged = acknowledged
    counter.sent = acknowledged + outstanding
    return counter


class Counting(SynchronousTestCase):
    """What an C{h} of the peer's says."""

    def test_counts(self) -> None:
        """More, the same again, and all."""
        for acknowledged in (0, 5, MODULUS - 3, MODULUS - 1, MODULUS, 3 * MODULUS - 1):
            counter = counterAt(acknowledged, 10)
            for more in (0, 4, 0, 6, 0):
                before = counter.acknowledged
                self.assertEqual(counter.acknowledge((before + more) % MODULUS), more)
                self.assertEqual(counter.acknowledged, before + more)
            self.assertEqual(counter.outstanding, 0)

    def refused(self, counter: Counter, h: int) -> str:
        before = (counter.sent, counter.acknowledged)
        error = self.assertRaises(StreamError, counter.acknowledge, h)
        self.assertEqual((counter.sent, counter.acknowledged), before)
        self.assertEqual(error.condition, "undefined-condition")
        return str(error.getElement().toXml())

    def test_tooHigh(self) -> None:
        """As in the example of section 6, and everything between that and the end of numbers."""
        error = self.refused(counterAt(0, 8), 10)
        count = '<handled-count-too-high xmlns="urn:xmpp:sm:3" h="10" send-count="8"/>'
        for each in (count, "You acknowledged 10 stanzas, but I only sent you 8 so far."):
            self.assertIn(each, error.replace("'", '"'))
        for counter, h in (
            (counterAt(0, 0), 1),
            (counterAt(0, 0), MODULUS - 1),
            (counterAt(8, 0), 9),
            (counterAt(8, 0), MODULUS - 1),
            (counterAt(8, 0), 2**31 + 9),
            (counterAt(MODULUS - 1, 1), 1),
            (counterAt(MODULUS + 8, 0), 9),
        ):
            self.assertIn("handled-count-too-high", self.refused(counter, h))

    def test_goingBack(self) -> None:
        """Less than before, which is not too high."""
        for counter, h in (
            (counterAt(1, 5), 0),
            (counterAt(8, 0), 7),
            (counterAt(2**31 + 9, 0), 0),
            (counterAt(MODULUS, 5), MODULUS - 1),
            (counterAt(MODULUS + 8, 0), 7),
        ):
            error = self.refused(counter, h)
            self.assertNotIn("handled-count-too-high", error)
            self.assertIn("before, and now", error)

    @given(
        st.integers(0, 3 * MODULUS) | st.integers(MODULUS - 20, MODULUS + 20),
        st.integers(0, 40),
        counts,
        st.integers(-60, 60),
    )
    def test_any(self, acknowledged: int, outstanding: int, h: int, near: int) -> None:
        """Right is what one of the stanzas that are outstanding has as its number, and no other."""
        for value in (h, (acknowledged + near) % MODULUS):
            counter = counterAt(acknowledged, outstanding)
            right = [
                more for more in range(outstanding + 1) if (acknowledged + more) % MODULUS == value
            ]
            try:
                self.assertEqual([counter.acknowledge(value)], right)
            except StreamError:
                self.assertEqual(right, [])


class Asking(SynchronousTestCase):
    """When to ask."""

    def setUp(self) -> None:
        self.policy = AskPolicy(10, 1_000)

    def test_nothing(self) -> None:
        """Nothing to ask about."""
        self.assertFalse(self.policy.due)
        self.assertFalse(self.policy.dueWhenIdle)

    def test_stanzas(self) -> None:
        """After so many stanzas."""
        self.policy.sent(9, 9)
        self.assertFalse(self.policy.due)
        self.policy.sent(1, 1)
        self.assertTrue(self.policy.due)

    def test_bytes(self) -> None:
        """After so many bytes."""
        self.policy.sent(1, 999)
        self.assertFalse(self.policy.due)
        self.policy.sent(1, 1)
        self.assertTrue(self.policy.due)
        self.policy.asked()
        self.policy.answered()
        self.policy.sent(1, 999)
        self.assertFalse(self.policy.due)

    def test_idle(self) -> None:
        """After less than that, when nothing more comes."""
        self.policy.sent(1, 1)
        self.assertTrue(self.policy.dueWhenIdle)
        self.policy.asked()
        self.policy.answered()
        self.assertFalse(self.policy.dueWhenIdle)

    def test_oneInFlight(self) -> None:
        """Not while an answer is missing; at once when it is there, if enough was sent."""
        self.policy.sent(10, 10)
        self.policy.asked()
        self.policy.sent(100, 100_000)
        self.assertTrue(self.policy.asking)
        self.assertFalse(self.policy.due)
        self.assertFalse(self.policy.dueWhenIdle)
        self.policy.answered()
        self.assertTrue(self.policy.due)

    def test_unasked(self) -> None:
        """An answer that was not asked for does not make what was sent since forgotten."""
        self.policy.sent(9, 9)
        self.policy.answered()
        self.policy.sent(1, 1)
        self.assertTrue(self.policy.due)

    @given(st.lists(st.integers(1, 30) | st.just(0), max_size=60))
    def test_few(self, happens: list[int]) -> None:
        """Requests and answers take turns, and where no answer is missing few are not asked for."""
        policy = AskPolicy(10, 1_000)
        asked = answered = unasked = 0
        for count in happens:
            if count:
                unasked += count
                policy.sent(count, count)
            elif asked > answered:
                answered += 1
                policy.answered()
            if policy.due:
                self.assertGreaterEqual(unasked, 10)
                asked += 1
                unasked = 0
                policy.asked()
            self.assertIn(asked - answered, (0, 1))
            if asked == answered:
                self.assertLess(unasked, 10)
            self.assertEqual(policy.dueWhenIdle, unasked > 0 and asked == answered)
