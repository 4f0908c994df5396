"""Tests of L{xmpproxy.expat}."""

from __future__ import annotations

from itertools import pairwise
from pyexpat import ExpatError, ParserCreate, XMLParserType

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.expat import WholeTags, promptly

_DOCUMENT = (
    b"<?xml version='1.0'?><stream a='1>2' b=\"it's\"> <m>x &gt; y &amp; ]] z</m>"
    b"<m><![CDATA[ <not a='tag> ]] > ]]>\xc3\xa9\xe2\x82\xac</m><n/><o c='\xf0\x9f\x98\x80'/>\n"
    b"</stream>"
)


def _recording() -> tuple[XMLParserType, list[str]]:
    parser = ParserCreate("UTF-8")
    events: list[str] = []
    parser.StartElementHandler = lambda name, attributes: events.append(f"<{name} {attributes}>")
    parser.EndElementHandler = lambda name: events.append(f"</{name}>")
    parser.CharacterDataHandler = events.append
    return parser, events


def _text(events: list[str]) -> str:
    """The events, however text was cut up."""
    return "".join(events)


class PromptTests(SynchronousTestCase):
    """Every tag is reported with the read that brings its end."""

    def assertPrompt(self, wholeTags: bool) -> None:
        head, tag = b"<stream>", b"<message to='somebody@example.com' type='chat'>"
        for cut in range(len(head) + 1, len(head + tag)):
            parser, events = _recording()
            feed = WholeTags(parser).feed if wholeTags else promptly(parser)
            feed((head + tag)[:cut])
            self.assertEqual(len(events), 1)
            feed((head + tag)[cut:])
            self.assertEqual(len(events), 2, f"cut at {cut}")

    def test_hereAndNow(self) -> None:
        """With this Python and this expat."""
        self.assertPrompt(False)

    def test_wholeTags(self) -> None:
        """The way that needs no switch."""
        self.assertPrompt(True)


class WholeTagsTests(SynchronousTestCase):
    """Feeding tag by tag changes nothing but when."""

    @given(st.lists(st.integers(0, len(_DOCUMENT)), max_size=8))
    def test_anySplit(self, cuts: list[int]) -> None:
        expected_, expected = _recording()
        expected_.Parse(_DOCUMENT)
        parser, events = _recording()
        feed = WholeTags(parser).feed
        edges = [0, *sorted(cuts), len(_DOCUMENT)]
        for begin, end in pairwise(edges):
            feed(_DOCUMENT[begin:end])
        self.assertEqual(_text(events), _text(expected))

    def test_section(self) -> None:
        """The text of a CDATA section is not held back, but for what may be its end."""
        parser, events = _recording()
        feed = WholeTags(parser).feed
        for data, soFar in ((b"<a><![CDATA[one", "one"), (b"]", "one"), (b"<b>]]", "one]<b>")):
            feed(data)
            self.assertTrue(_text(events).endswith(soFar), events)
        feed(b"></a>")
        expected_, expected = _recording()
        expected_.Parse(b"<a><![CDATA[one]<b>]]></a>")
        self.assertEqual(_text(events), _text(expected))

    def test_noXML(self) -> None:
        """What is no XML at all is refused at once, though it has no tag."""
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02", b"hello there\n"):
            parser, _ = _recording()
            with self.assertRaises(ExpatError):
                WholeTags(parser).feed(garbage)
