"""Parsers that many streams share: none learns anything of another."""

from __future__ import annotations

import random
from pyexpat import ExpatError

from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.error import StreamError

from tests import xmlstrategies as xml
from tests.test_splitter import HEADER, Outcome, read
from xmpproxy import ns
from xmpproxy.parsers import WORN, Parser, Parsers
from xmpproxy.splitter import Splitter

NAME = "stream:stream"


class Pool(SynchronousTestCase):
    """Taking and giving."""

    def setUp(self) -> None:
        self.parsers = Parsers()

    def splitter(self) -> Splitter:
        """One that uses the parsers of this test."""
        splitter = Splitter(parsers=self.parsers)
        splitter.feed(HEADER)
        return splitter

    def test_again(self) -> None:
        """What was given is what is taken, if the stream's element has the same name."""
        parser = self.parsers.take(NAME)
        self.parsers.give(parser)
        self.assertIsNot(self.parsers.take("s:stream"), parser)
        self.assertIs(self.parsers.take(NAME), parser)
        self.assertEqual(len(self.parsers), 0)

    def test_header(self) -> None:
        """A parser that has read a peer's stream header is not used again."""
        self.splitter()
        self.assertEqual(len(self.parsers), 0)

    def test_betweenStanzas(self) -> None:
        """A stream has a parser while a stanza is not complete, and at no other time."""
        splitter = self.splitter()
        data = b"<message to='a' ><body>b&amp;</body><c/></message>"
        splitter.feed(data)
        self.assertEqual(len(self.parsers), 1)
        for cut in range(1, len(data)):
            splitter.feed(data[:cut])
            self.assertEqual(len(self.parsers), 0)
            splitter.feed(data[cut:])
            self.assertEqual(len(self.parsers), 1)

    def test_space(self) -> None:
        """White space between stanzas needs none. Of a line break half may still be missing."""
        splitter = self.splitter()
        splitter.feed(b" \n\t")
        self.assertEqual(len(self.parsers), 1)
        splitter.feed(b"\r")
        self.assertEqual(len(self.parsers), 0)
        splitter.feed(b"\n")
        self.assertEqual(len(self.parsers), 1)

    def test_error(self) -> None:
        """One that has met an error is not used again, nor one whose stream is closed."""
        for bad in ("<a></b>", "</stream:stream>", "<!-- -->", "<a>&b;</a>", "text", "<?a?>", "\0"):
            splitter = self.splitter()
            splitter.feed(b"<message/>")
            self.assertEqual(len(self.parsers), 1)
            splitter.feed(bad.encode())
            self.assertEqual(len(self.parsers), 0)
            splitter.feed(b"<message/>")
            self.assertEqual(len(self.parsers), 0)

    def test_skippedError(self) -> None:
        """The same on the fast path."""
        splitter = self.splitter()
        for bad in ("<a></b>", "<!-- -->", "<a>&b;</a>", "<a", "<a/>\0", "<a/>\r"):
            self.parsers.give(self.parsers.take(NAME))
            self.assertFalse(splitter.skip(bad.encode()))
            self.assertEqual(len(self.parsers), 0)

    def test_closed(self) -> None:
        """A stream that is closed in the midst of a stanza takes its parser with it."""
        splitter = self.splitter()
        splitter.feed(b"<message>")
        splitter.close()
        self.assertEqual(len(self.parsers), 0)

    def test_few(self) -> None:
        """A crowd of parsers is not kept, and names that peers think up do not pile up."""
        for name in (NAME, *(f"s{number}:stream" for number in range(100))):
            for parser in [self.parsers.take(name) for _ in range(10)]:
                self.parsers.give(parser)
            self.assertLessEqual(len(self.parsers), 64)

    def test_worn(self) -> None:
        """None is used for ever: it remembers every name that it has seen."""
        splitter = self.splitter()
        splitter.feed(b"<message/>")
        first = self.parsers.take(NAME)
        self.parsers.give(first)
        for _ in range(WORN // 100 + 1):
            splitter.feed(b"<message>%b</message>" % (b"a" * 100))
        self.assertIsNot(self.parsers.take(NAME), first)

    def test_wornInTags(self) -> None:
        """Nor in a stream whose reads always end inside of a tag."""
        splitter = self.splitter()
        first = self.parsers.take(NAME)
        self.parsers.give(first)
        data = b"<message to='juliet@example.com' id='%b'/>" % (b"a" * 200)
        splitter.feed(data[:-1])
        self.assertEqual(len(self.parsers), 0)
        outcome = read(splitter, [data[-1:] + data[:-1]] * (3 * WORN // len(data)))
        self.assertEqual([each.data for each in outcome.stanzas], [data] * len(outcome.stanzas))
        self.assertEqual(len(outcome.stanzas), 3 * WORN // len(data))
        self.assertLess(first.fed, 2 * WORN)

    def test_wornInOneTag(self) -> None:
        """Changing parsers does not make a tag in crumbs cheaper (CVE-2023-52425)."""
        splitter = Splitter(4 * WORN, parsers=self.parsers)
        splitter.feed(HEADER + b"<message a='" + b"b" * (2 * WORN))
        outcome = read(splitter, [b"b"] * 1000)
        self.assertEqual(outcome.condition, "policy-violation")

    def test_refuses(self) -> None:
        """Whoever takes one is safe from what XMPP does not have."""
        for data in (b"<!-- -->", b"<?a?>", b"<a><!----></a>"):
            self.assertRaises(StreamError, Parser(NAME).feed, data)
        for data in (b"<a></b>", b"&b;", b"<!DOCTYPE a>", b"\xff"):
            self.assertRaises(ExpatError, Parser(NAME).feed, data)


class Strangers(SynchronousTestCase):
    """Streams that take turns with the same parsers."""

    HEADERS = (
        xml.PLAIN.data,
        f"<?xml version='1.0'?><stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}' "
        "xmlns:p='urn:p' xmlns:q='urn:q' xml:lang='de' to='secret@example.com'>".encode(),
        f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}' "
        "xmlns:p='urn:other' xml:lang='en' p:to='x'>".encode(),
        f"<stream:stream xmlns='jabber:server' xmlns:stream='{ns.STREAMS}'>".encode(),
        f"<s:stream xmlns='{ns.CLIENT}' xmlns:s='{ns.STREAMS}' xmlns:stream='urn:s'>".encode(),
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><stream:stream xmlns='jabber:client' "
        b"xmlns:stream='http://etherx.jabber.org/streams'>",
        b"<!DOCTYPE a [<!ATTLIST message to CDATA 'mallory@example.com'>]><stream:stream>",
    )
    STANZAS = (
        b"<message/>",
        b"<message>&b;</message>",
        b"<message><p:x/></message>",
        b"<q:message/>",
        b"<message xmlns:p='urn:mine'><p:x/></message>",
        b"<message xmlns='urn:default' xml:lang='fr'><x/></message>",
        b"<message><x xmlns:q='urn:mine'/><q:y/></message>",
        b"<iq type='get' id='1'><stream:x/></iq>",
        b"<a><b><c><d/></c></b></a>",
        b"<message><![CDATA[</message>]]></message>",
        b"</stream:stream>",
        b"</s:stream>",
        b"<!-- -->",
        b"<message>]]></message>",
        b"<message></iq>",
        b"\r",
        b" \n",
        b"&#32;",
    )

    def test_tenThousand(self) -> None:
        """
        However many streams there are, and whatever comes first, each stream is read as if it were
        alone.
        """
        chance = random.Random(280)
        parsers = Parsers()
        shared = 0
        for _ in range(2500):
            streams = []
            for _ in range(4):
                body = b"".join(chance.choices(self.STANZAS, k=3))
                streams.append(chance.choice(self.HEADERS) + body)
            shared += self.interleaved(streams, parsers, chance)
        self.assertGreater(shared, 5000)

    def interleaved(self, streams: list[bytes], parsers: Parsers, chance: random.Random) -> int:
        """Read some streams in turn. @return: how often there was a parser to be shared."""
        splitters = [Splitter(parsers=parsers) for _ in streams]
        outcomes = [Outcome([], None, False) for _ in streams]
        rest = list(streams)
        shared = 0
        while any(rest):
            number = chance.choice([at for at, data in enumerate(rest) if data])
            size = chance.choice((1, 5, 20, 100, 1000))
            data, rest[number] = rest[number][:size], rest[number][size:]
            shared += len(parsers) > 0
            outcomes[number].stanzas.extend(read(splitters[number], [data]).stanzas)
        for number, stream in enumerate(streams):
            splitter = splitters[number]
            condition = None if splitter.error is None else splitter.error.condition
            outcome = Outcome(outcomes[number].stanzas, condition, splitter.ended)
            alone = read(Splitter(parsers=Parsers()), [stream])
            self.assertEqual(outcome.comparable, alone.comparable, stream)
            splitter.close()
        return shared
