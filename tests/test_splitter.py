"""The splitter: bytes in, stanzas out, whatever the bytes."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests import xmlstrategies as xml
from xmpproxy import ns
from xmpproxy.expat import DEFERS
from xmpproxy.parsers import Parsers
from xmpproxy.splitter import Splitter
from xmpproxy.stanza import Stanza, parse

HEADER = xml.PLAIN.data
END = xml.PLAIN.end

#: Enough to find what is wrong, few enough to wait for.
modest = settings(max_examples=120, deadline=None)


class Outcome(NamedTuple):
    """
    What became of a stream.

    @ivar stanzas: the stanzas that were cut out of it.
    @ivar condition: of the stream error, if there was one.
    @ivar ended: whether it was closed.
    """

    stanzas: list[Stanza]
    condition: str | None
    ended: bool

    @property
    def comparable(self) -> tuple[object, ...]:
        """All that another way to read the same bytes must give as well."""
        stanzas = [
            (each.data, each.name, each.namespace, each.attributes, each.children, each.fault)
            for each in self.stanzas
        ]
        return stanzas, self.condition is None, self.ended


def read(splitter: Splitter, reads: Iterable[bytes]) -> Outcome:
    """Feed a splitter."""
    stanzas = [stanza for data in reads for stanza in splitter.feed(data)]
    condition = None if splitter.error is None else splitter.error.condition
    return Outcome(stanzas, condition, splitter.ended)


def crumbs(data: bytes) -> Iterator[bytes]:
    """Every byte in a read of its own."""
    return (data[at : at + 1] for at in range(len(data)))


class SplitterTestCase(SynchronousTestCase):
    def split(
        self,
        data: bytes | str,
        header: bytes = HEADER,
        stanzaBytes: int = 262144,
        depth: int = 200,
        attributes: int = 256,
        namespaces: int = 8192,
    ) -> Outcome:
        """
        Read what follows a header. Whether it comes at once, in two reads or byte by byte must
        not matter.
        """
        data = data.encode() if isinstance(data, str) else data
        limits = (stanzaBytes, depth, attributes, namespaces)
        whole = read(Splitter(*limits), [header + data])
        for reads in ([header, data], crumbs(header + data)):
            other = read(Splitter(*limits), reads)
            if DEFERS and other.condition is None and whole.condition is not None:
                # Such an expat looks again when it has twice as much, and this was all.
                self.assertEqual(other.comparable[0], whole.comparable[0])
                continue
            self.assertEqual(other.comparable, whole.comparable)
            self.assertEqual(other.condition, whole.condition)
        return whole

    def stanza(self, data: bytes | str, header: bytes = HEADER, depth: int = 200) -> Stanza:
        """The only stanza of a stream, which stays open."""
        outcome = self.split(data, header, depth=depth)
        self.assertEqual((len(outcome.stanzas), outcome.condition, outcome.ended), (1, None, False))
        return outcome.stanzas[0]

    def refused(self, data: bytes | str, condition: str, header: bytes = HEADER) -> None:
        """There is a stream error, before any stanza."""
        self.assertEqual(self.split(data, header), Outcome([], condition, False))


class Streams(SplitterTestCase):
    """Beginning and end of a stream, and what is between stanzas."""

    def test_header(self) -> None:
        """The start tag is there as soon as it is complete, before any stanza."""
        splitter = Splitter()
        self.assertTrue(splitter.pristine)
        self.assertEqual(splitter.feed(HEADER[:-1]), [])
        self.assertFalse(splitter.pristine)
        self.assertIsNone(splitter.header)
        splitter.feed(HEADER[-1:])
        assert splitter.header is not None
        self.assertEqual(splitter.header.name, "stream")
        self.assertEqual(splitter.header.namespace, ns.STREAMS)
        self.assertEqual(splitter.header.defaultNamespace, ns.CLIENT)
        self.assertFalse(splitter.pristine)

    def test_headerAttributes(self) -> None:
        """They come by their qualified names, `>` and quotes in them included."""
        splitter = Splitter()
        splitter.feed(
            b"<?xml version='1.0'?>\n<s:stream xmlns:s='http://etherx.jabber.org/streams' "
            b"to='a>b' from='\"' xml:lang='en' version='1.0' >"
        )
        assert splitter.header is not None
        self.assertEqual(
            splitter.header.attributes,
            {"xmlns:s": ns.STREAMS, "to": "a>b", "from": '"', "xml:lang": "en", "version": "1.0"},
        )
        self.assertEqual(splitter.header.defaultNamespace, "")

    def test_headerOfSomethingElse(self) -> None:
        """Whether it is a stream's at all is for others to judge."""
        splitter = Splitter()
        splitter.feed(b"<html xmlns='http://www.w3.org/1999/xhtml'>")
        assert splitter.header is not None
        self.assertEqual(splitter.header.name, "html")
        self.assertEqual(splitter.header.namespace, "http://www.w3.org/1999/xhtml")
        self.assertIsNone(splitter.error)

    def test_xmlDeclarations(self) -> None:
        """Any that says UTF-8 or nothing, and none."""
        for declaration in (
            "",
            "\n",
            "<?xml version='1.0'?>",
            "<?xml version='1.0' encoding='UTF-8'?>",
            '<?xml version="1.0" encoding="utf-8"?>\r\n',
            "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>",
            "\ufeff<?xml version='1.0'?>",  # servers take a byte order mark, so we do
        ):
            stanza = self.stanza("<presence/>", declaration.encode() + HEADER)
            self.assertEqual(stanza.data, b"<presence/>")

    def test_end(self) -> None:
        """A closed stream is no error, and what came before the end counts."""
        outcome = self.split(b"<message/>\n</stream:stream>")
        self.assertEqual([stanza.data for stanza in outcome.stanzas], [b"<message/>"])
        self.assertEqual((outcome.condition, outcome.ended), (None, True))

    def test_emptyStream(self) -> None:
        """A stream may be opened and closed by one tag."""
        header = HEADER[:-1] + b"/>"
        splitter = Splitter()
        self.assertEqual(read(splitter, [header]), Outcome([], None, True))
        self.assertIsNotNone(splitter.header)

    def test_behindTheEnd(self) -> None:
        """Nothing that comes later matters."""
        for more in (b"\n", b"<message/>", b"text", b"<!-- -->", b"</stream:stream>", b"\xff\0"):
            self.assertEqual(self.split(END + more), Outcome([], None, True))

    def test_behindAnError(self) -> None:
        """The first error stays, and nothing that comes later counts."""
        splitter = Splitter()
        stanzas = splitter.feed(HEADER + b"<message/><!-- --><message/></stream:stream>")
        error = splitter.error
        self.assertEqual(len(stanzas), 1)
        self.assertEqual(splitter.feed(b"<message/>"), [])
        self.assertIs(splitter.error, error)
        self.assertFalse(splitter.ended)

    def test_keepAlives(self) -> None:
        """White space between stanzas, however much, is not kept."""
        splitter = Splitter(stanzaBytes=100)
        splitter.feed(HEADER)
        for _ in range(1000):
            self.assertEqual(splitter.feed(b" \r\n\t" * 100), [])
        stanzas = splitter.feed(b" <message/>\n") + splitter.feed(b"\n") + splitter.feed(b"<iq/>")
        self.assertEqual([stanza.data for stanza in stanzas], [b"<message/>", b"<iq/>"])
        self.assertIsNone(splitter.error)

    def test_textBetweenStanzas(self) -> None:
        """There is only white space between stanzas."""
        for text in ("a", "&#32;", "&amp;", "]", "\ufeff", "\u00a0"):
            self.refused(text + "<message/>", "bad-format")
            self.refused(text + "</stream:stream>", "bad-format")
            outcome = self.split(f"<message/>{text}<message/>")
            self.assertEqual((len(outcome.stanzas), outcome.condition), (1, "bad-format"))
        self.refused("<![CDATA[a]]><message/>", "bad-format")
        self.refused("<![CDATA[a]]></stream:stream>", "bad-format")

    def test_textAloneIsNoticedAtOnce(self) -> None:
        """Who talks another protocol is not left waiting."""
        self.refused("GET / HTTP/1.1\r\n\r\n", "bad-format")

    def test_streamInsideOfAStream(self) -> None:
        """A second header is an error."""
        self.refused(HEADER, "bad-format")
        self.refused("<stream:stream/>", "bad-format")

    def test_streamInsideOfAStanza(self) -> None:
        """Deeper it is an element like any other."""
        data = b"<message><stream:stream><stream:stream/></stream:stream></message>"
        stanza = self.stanza(data)
        self.assertEqual(stanza.data, data)
        self.assertEqual(stanza.children, ((ns.STREAMS, "stream"),))

    def test_close(self) -> None:
        """A closed splitter reads nothing more, and is gone without the garbage collector."""
        splitter = Splitter()
        splitter.feed(HEADER + b"<message>")
        splitter.close()
        self.assertEqual(splitter.feed(b"</message>"), [])
        gone = weakref.ref(splitter)
        gc.disable()
        self.addCleanup(gc.enable)
        del splitter
        self.assertIsNone(gone())


class Stanzas(SplitterTestCase):
    """What a stanza tells about itself."""

    def test_message(self) -> None:
        """Name, attributes and children."""
        data = (
            b"<message to='romeo@example.net' type=\"chat\" id='&lt;1>'>"
            b"<body>Art thou not Romeo?</body><x xmlns='urn:x'><y/></x></message>"
        )
        stanza = self.stanza(data)
        self.assertEqual(stanza.data, data)
        self.assertEqual((stanza.name, stanza.namespace), ("message", ns.CLIENT))
        self.assertEqual(
            stanza.attributes, {"to": "romeo@example.net", "type": "chat", "id": "<1>"}
        )
        self.assertEqual(stanza.children, ((ns.CLIENT, "body"), ("urn:x", "x")))
        self.assertIsNone(stanza.fault)

    def test_untouched(self) -> None:
        """Whatever is inside of it, a stanza is the bytes that came."""
        for data in (
            "<message/>",
            "<message />",
            "<message></message>",
            "<message\n>\n</message\t>",
            "<message a='/>'/>",
            "<message a='/>'></message>",
            '<message a="\'>/>"/>',
            "<message>/></message>",
            "<message>a='\"</message>",
            "<message><message/></message>",
            "<message><message></message></message>",
            "<message><m/></message>",
            "<message><![CDATA[<message></message>]]></message>",
            "<message><![CDATA[<!-- <?a?> &b; ]]]]><![CDATA[> ]]></message>",
            "<message>&lt;&gt;&amp;&apos;&quot;&#65;&#x41;</message>",
            "<message>\r\n\r\ufeff</message>",
            "<é ü='€'>😀</é>",
            "<message xmlns='urn:x'/>",
            "<p:message xmlns:p='urn:x'/>",
            "<stream:features/>",
            "<stream:s/>",
            "<stream:error><p:x xmlns:p='urn:x'/></stream:error>",
            "<message xml:lang='en'/>",
            "<a/>",
            "<r xmlns='urn:xmpp:sm:3'/>",
        ):
            for header in (HEADER, HEADER[:-1] + b" xmlns:p='urn:p'>"):
                stanza = self.stanza(data, header)
                self.assertEqual(stanza.data.decode(), data)
                self.assertIsNone(stanza.fault)
                outcome = self.split(data + " " + data + "</stream:stream>", header)
                self.assertEqual([each.data.decode() for each in outcome.stanzas], [data, data])
                self.assertEqual((outcome.condition, outcome.ended), (None, True))

    def test_endTagTooMany(self) -> None:
        """It does not become a part of the stanza before it."""
        for data in ("<message/>", "<message></message>", "<message><a/></message>"):
            outcome = self.split(data + "</message>")
            self.assertEqual([each.data.decode() for each in outcome.stanzas], [data])
            self.assertEqual(outcome.condition, "not-well-formed")

    def test_likeTheStream(self) -> None:
        """The end of the stream is no part of a stanza whose name is the begin of its name."""
        outcome = self.split("<stream:str/></stream:stream>")
        self.assertEqual([each.data for each in outcome.stanzas], [b"<stream:str/>"])
        self.assertTrue(outcome.ended)

    def test_assoonAsComplete(self) -> None:
        """A stanza does not wait for the next one, wherever reads begin and end."""
        data = b"<message to='a'><body>b</body></message>"
        for cut in range(len(data)):
            splitter = Splitter()
            splitter.feed(HEADER)
            self.assertEqual(splitter.feed(data[:cut]), [])
            (stanza,) = splitter.feed(data[cut:])
            self.assertEqual(stanza.data, data)

    def test_goodBeforeBad(self) -> None:
        """What came before an error is delivered, what is broken is not."""
        outcome = self.split("<iq/><message/><presence><a></presence>")
        self.assertEqual([each.name for each in outcome.stanzas], ["iq", "message"])
        self.assertEqual(outcome.condition, "not-well-formed")


class Conditions(SplitterTestCase):
    """Each stream error by its condition in RFC 6120, section 4.9.3."""

    def test_notWellFormed(self) -> None:
        """What no XML parser takes (section 4.9.3.13)."""
        for data in (
            "<message><body></message>",
            "</message>",
            "</stream>",
            "<message a=1/>",
            "<message a/>",
            "<message a='1'b='2'/>",
            "<message a='<'/>",
            "<message a='1' a='2'/>",
            "<message p:a='1' xmlns:p='urn:p' p:a='2'/>",
            "<message xmlns='a' xmlns='a'/>",
            "< message/>",
            "<1/>",
            "<-/>",
            "<message>&</message>",
            "<message>&lt</message>",
            "<message>&lt ;</message>",
            "<message>&#;</message>",
            "<message>&#xg;</message>",
            "<message>]]></message>",
            "<message/ >",
            "<!a>",
            "<message><![cdata[]]></message>",
            "<![CDATA[a]]>]]>",
            "<?xml version='1.0'?>",  # only allowed as the very first
        ):
            self.refused(data, "not-well-formed")

    def test_notWellFormedHeader(self) -> None:
        """The same before and in the header."""
        for data in (
            "GET / HTTP/1.1",
            " <?xml version='1.0'?>",
            "<?xml?>",
            "<?xml encoding='UTF-8'?>",
            "\x16\x03\x01",  # TLS
            "\0\0",
            "<stream:stream to=a>",
            "<stream:stream xmlns='jabber:client'>",
            "<stream:stream xmlns:stream=''>",
            "<stream xmlns:xmlns='urn:x'>",
            "<stream p:to='example.com'>",
            "<a:stream:b xmlns:a='urn:x'>",
            "<stream xmlns='a b'>",
        ):
            self.refused(data, "not-well-formed", header=b"")

    def test_forbiddenCharacters(self) -> None:
        """Characters that XML does not have, written out or by number, are not well-formed."""
        for character in ("\0", "\x01", "\x08", "\x0b", "\x0c", "\x1f", "\ufffe", "\uffff"):
            for data in (character, f"&#{ord(character)};"):
                self.refused(f"<message>{data}</message>", "not-well-formed")
                self.refused(f"<message a='{data}'/>", "not-well-formed")
        self.refused(b"<message>\0\xff", "not-well-formed")
        for number in ("&#xD800;", "&#xDFFF;", "&#x110000;", "&#99999999999;"):
            self.refused(f"<message>{number}</message>", "not-well-formed")

    def test_wrongUTF8(self) -> None:
        """Bytes that are no UTF-8 are "improperly encoded" (section 4.9.3.22)."""
        for wrong in (
            b"\xff",
            b"\x80",
            b"\xc0\xaf",  # overlong
            b"\xc1\xbf",
            b"\xe0\x80\xaf",
            b"\xe0\x9f\xbf",
            b"\xf0\x80\x80\xaf",
            b"\xf0\x8f\xbf\xbf",
            b"\xed\xa0\x80",  # surrogates
            b"\xed\xbf\xbf",
            b"\xf4\x90\x80\x80",  # too high
            b"\xf5\x80\x80\x80",
            b"\xc3(",  # not continued
            b"\xe2\x82(",
            b"\xf0\x9f\x98(",
        ):
            for before, after in (
                (b"<message>", b"</message>"),
                (b"<message>a", b"</message>"),
                (b"<message><![CDATA[", b"]]></message>"),
                (b"<message a='", b"'/>"),
                (b"<message a", b"='b'/>"),
                (b"<message ", b"='b'/>"),
                (b"<", b"/>"),
                (b"<message></message", b">"),
                (b"<message>&a", b";</message>"),
            ):
                self.refused(before + wrong + after, "unsupported-encoding")

    def test_rightUTF8(self) -> None:
        """The ends of what the wrong ones miss."""
        for character in ("\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd"):
            self.assertEqual(self.stanza(f"<a>{character}</a>").element.children, [character])
        for character in ("\U00010000", "\U0010ffff", "\ufeff"):
            self.assertEqual(self.stanza(f"<a>{character}</a>").element.children, [character])

    def test_otherEncodings(self) -> None:
        """What says that it is not UTF-8, and what silently is not (sections 4.9.3.22, 11.6)."""
        for encoding in ("UTF-16", "utf-16le", "ISO-8859-1", "US-ASCII", "Windows-1252", "x"):
            declaration = f"<?xml version='1.0' encoding='{encoding}'?>".encode()
            self.refused("<message/>", "unsupported-encoding", declaration + HEADER)
        stream = (HEADER + b"<message/>").decode()
        for encoding in ("utf-16", "utf-16le", "utf-16be"):
            self.refused(stream.encode(encoding), "unsupported-encoding", header=b"")
            declared = "<?xml version='1.0' encoding='UTF-8'?>" + stream
            self.refused(declared.encode(encoding), "unsupported-encoding", header=b"")

    def test_otherEncodingsAtOnce(self) -> None:
        """Nobody is left waiting who has something else to say than a header, in UTF-16."""
        for data in (b"e\0ns0", b"e\0", b"\0e", b"\xff\xfeab", b"\xfe\xffab", "é".encode("utf-16")):
            splitter = Splitter()
            splitter.feed(data)
            self.assertIsNotNone(splitter.error, data)

    def test_restrictedXML(self) -> None:
        """What XML has and XMPP has not (sections 4.9.3.18 and 11.1)."""
        for data in ("<!-- comment -->", "<!---->", "<?instruction?>", "<?xml-stylesheet a='b'?>"):
            for before in (data, f"<message>{data}</message>", f"<message><body>{data}"):
                self.refused(before, "restricted-xml")
                if before is data:
                    self.refused(before, "restricted-xml", header=b"")
        for data in ("&nothing;", "&nbsp;", "&stream:a;", "&LT;"):
            self.refused(f"<message>{data}</message>", "restricted-xml")
            self.refused(f"<message a='{data}'/>", "restricted-xml")

    def test_documentType(self) -> None:
        """No document type, so no entity either, however it is meant."""
        for declaration in (
            "<!DOCTYPE stream>",
            "<!DOCTYPE stream:stream SYSTEM 'http://example.com/a.dtd'>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]>",
            "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>",
            "<!DOCTYPE a [<!ENTITY b 'cccccccccc'><!ENTITY d '&b;&b;&b;&b;'>]>",
            "<!DOCTYPE a [<!ATTLIST message to CDATA 'mallory@example.com'>]>",
        ):
            header = b"<?xml version='1.0'?>" + declaration.encode() + HEADER
            self.refused("<message>&d;</message>", "restricted-xml", header)
        # It has no place behind the header, so there it is no XML at all.
        self.refused("<!DOCTYPE a>", "not-well-formed")

    def test_policyViolation(self) -> None:
        """What exceeds a limit (section 4.9.3.14)."""
        deep = b"<a>" * 9
        for depth, condition in ((10, None), (9, "policy-violation")):
            self.assertEqual(self.split(deep, depth=depth).condition, condition)
        for size, condition in ((27, None), (26, "policy-violation")):
            self.assertEqual(self.split(deep, stanzaBytes=size).condition, condition)


class Limits(SplitterTestCase):
    """How long and how deep a stanza may be, and how much there may be in it."""

    def test_exactly(self) -> None:
        """A stanza as long as the limit passes, one byte more does not."""
        for data in (b"<a></a>", b"<a>" + b"b" * 50 + b"</a>", b"<a b='%s'/>" % (b"c" * 50)):
            for more in (b"", b" ", b"<a/>"):
                for size in (len(data), len(data) + 1):
                    outcome = self.split(data + more, stanzaBytes=size)
                    self.assertEqual(outcome.stanzas[0].data, data)
                    self.assertIsNone(outcome.condition)
                outcome = self.split(data + more, stanzaBytes=len(data) - 1)
                self.assertEqual(outcome, Outcome([], "policy-violation", False))

    def test_spaceBetween(self) -> None:
        """White space before a stanza does not count."""
        outcome = self.split(b" " * 100 + b"<a>" + b"b" * 13 + b"</a>", stanzaBytes=20)
        self.assertEqual(len(outcome.stanzas), 1)

    def test_refusedBeforeItIsComplete(self) -> None:
        """Nobody has to wait for the end of a stanza that is too long."""
        for data in (b"<a>" + b"b" * 100, b"<a b='" + b"c" * 100, b"<a><b/>" + b"\n" * 100):
            splitter = Splitter(stanzaBytes=100)
            splitter.feed(HEADER)
            fed = 0
            for byte in crumbs(data):
                splitter.feed(byte)
                fed += 1
                if splitter.error is not None:
                    break
            self.assertEqual(fed, 101)

    def test_eachStanzaForItself(self) -> None:
        """Together they may be as long as they like."""
        data = b"<a>" + b"b" * 13 + b"</a>"
        outcome = self.split(data * 50, stanzaBytes=20)
        self.assertEqual([each.data for each in outcome.stanzas], [data] * 50)

    def test_header(self) -> None:
        """A stream header has a limit of its own: what it declares may be added to each stanza."""
        for length, condition in ((4096, None), (4097, "policy-violation")):
            head = HEADER[:-1] + b" a='"
            header = head + b"b" * (length - len(head) - 2) + b"'>"
            for reads in ([header], [header + b"<a/>"], [header[:1000], header[1000:]]):
                self.assertEqual(read(Splitter(4), reads).condition, condition)
        self.assertEqual(read(Splitter(), [b" " * 4096]).condition, None)
        self.assertEqual(read(Splitter(), [b" " * 4097]).condition, "policy-violation")

    def test_depth(self) -> None:
        """The stream's own element counts."""
        for depth in (2, 3, 10, 1000):
            fits = depth - 1
            data = b"<a>" * fits + b"</a>" * fits
            self.assertEqual(self.stanza(data, depth=depth).data, data)
            outcome = self.split(b"<a>" * depth, depth=depth)
            self.assertEqual(outcome.condition, "policy-violation")
            for last in (b"<p:a/>", b"<a/>", b"<a xmlns='urn:a'/>"):
                outcome = self.split(b"<a>" * fits + last, depth=depth)
                self.assertEqual(outcome.condition, "policy-violation")

    def test_tenThousandDeep(self) -> None:
        """No stack is used up."""
        self.assertEqual(self.split(b"<a>" * 10_000).condition, "policy-violation")

    def test_attributes(self) -> None:
        """Those of one element count, declarations of namespaces among them."""
        for most in (1, 16, 17, 100):
            fits = "".join(f" a{n}=''" for n in range(most - 1))
            for tag in ("<iq{}/>", "<iq><a{}><b/></a></iq>", "<iq><a><b{0}/><b{0}/></a></iq>"):
                for last in (" xmlns='urn:a'", " xmlns:a='urn:a'", " xml:lang='en'", " b=''"):
                    outcome = self.split(tag.format(fits + last), attributes=most)
                    self.assertEqual((len(outcome.stanzas), outcome.condition), (1, None))
                    outcome = self.split(tag.format(" z=''" + fits + last), attributes=most)
                    self.assertEqual(outcome, Outcome([], "policy-violation", False))

    def test_namespaces(self) -> None:
        """Those that are declared anywhere in a stanza count, and each stanza for itself."""
        for declaration in ("<a xmlns='urn:a'/>", "<p:a xmlns:p='urn:p' />", "<a\nxmlns=''/>"):
            fits = "<iq>" + declaration * 20 + "</iq>"
            outcome = self.split(fits * 3, namespaces=20)
            self.assertEqual((len(outcome.stanzas), outcome.condition), (3, None))
            outcome = self.split(fits * 2 + fits.replace("<iq>", "<iq xmlns=''>"), namespaces=20)
            self.assertEqual((len(outcome.stanzas), outcome.condition), (2, "policy-violation"))
        many = " xmlns='urn:a'" + "".join(f" xmlns:p{n}='urn:p'" for n in range(19))
        short = "".join(f" xmlns:{letter}='u'" for letter in "abcdefghijklmnopqrst")
        for names, condition in ((20, None), (19, "policy-violation")):
            for declarations in (many, short):
                outcome = self.split(f"<a{declarations}/>", namespaces=names)
                self.assertEqual(outcome.condition, condition)

    def test_namespacesOfTheHeader(self) -> None:
        """What the header declares is not for each stanza to answer for."""
        header = HEADER[:-1] + b" xmlns:p='urn:p' xmlns:q='urn:q'>"
        outcome = self.split("<iq/><p:a xmlns:r='urn:r' r:a=''/>", header, namespaces=1)
        self.assertEqual((len(outcome.stanzas), outcome.condition), (2, None))

    def test_names(self) -> None:
        """Whoever is refused is told which limit it was."""
        wide = b"<a b='' c='' xmlns:d='urn:d' e='' />"
        for limit, splitter in (
            ("(stanza-bytes)", Splitter(stanzaBytes=15)),
            ("(login-stanza-bytes)", Splitter(stanzaBytes=15, key="login-stanza-bytes")),
            ("(depth)", Splitter(depth=1)),
            ("(attributes)", Splitter(attributes=3)),
            ("(namespaces)", Splitter(namespaces=0)),
        ):
            splitter.feed(HEADER + wide)
            assert splitter.error is not None
            self.assertEqual(splitter.error.condition, "policy-violation")
            self.assertIn(limit, str(splitter.error.text))

    def test_allow(self) -> None:
        """Who has logged in may send more."""
        splitter = Splitter(20, key="login-stanza-bytes")
        data = b"<a>" + b"b" * 20 + b"</a>"
        splitter.feed(HEADER)
        splitter.allow(len(data))
        self.assertEqual([each.data for each in splitter.feed(data)], [data])
        splitter.feed(b" " + data + b"<a>" + data)
        self.assertIn("(stanza-bytes)", str(splitter.error and splitter.error.text))


class Strangers(SplitterTestCase):
    """Where a peer relays what strangers wrote, what exceeds a limit is that stanza's fault."""

    def dropped(self, poison: bytes, limit: str, **limits: int) -> None:
        """Between two other stanzas, in any reads: they are as if they were alone."""
        alone = b"<message><body/></message>"
        stream = HEADER + alone + poison + alone
        for reads in ([stream], crumbs(stream), [stream[at : at + 7] for at in range(0, 10**5, 7)]):
            splitter = Splitter(**limits, lenient=True)  # type: ignore[arg-type]  # all are int
            outcome = read(splitter, reads)
            self.assertIsNone(outcome.condition)
            before, faulty, behind = outcome.stanzas
            self.assertEqual((before.data, before.fault), (alone, None))
            self.assertEqual((behind.data, behind.fault), (alone, None))
            self.assertEqual((behind.children, behind.attributes), (before.children, {}))
            self.assertEqual(faulty.data, b"")
            self.assertEqual((faulty.name, faulty.attributes.get("id")), ("message", "1"))
            self.assertIn(f"({limit})", str(faulty.fault))

    def test_depth(self) -> None:
        """However deep."""
        for levels in (4, 1000):
            data = b"<message id='1'>" + b"<a>" * levels + b"</a>" * levels + b"</message>"
            self.dropped(data, "depth", depth=5)

    def test_attributes(self) -> None:
        """However many."""
        for more in (6, 1000):
            attributes = b"".join(b" a%d=''" % n for n in range(more))
            self.dropped(
                b"<message id='1'><a%b/></message>" % attributes, "attributes", attributes=5
            )

    def test_namespaces(self) -> None:
        """However many."""
        for more in (6, 1000):
            data = b"<message id='1'>" + b"<a xmlns='urn:a'/>" * more + b"</message>"
            self.dropped(data, "namespaces", namespaces=5)

    def test_long(self) -> None:
        """Text, elements and both, many times as long as may be."""
        for content in (
            b"a" * 5000,
            b"<a/>" * 1000,
            b"<a>b</a>" * 800,
            b"<a b='/>'/>" * 500,
            b"<![CDATA[" + b"</message><a/>" * 500 + b"]]>",
            b"&gt;" * 1000,
            "😀".encode() * 1000,
            b"<a xmlns='urn:a' b='c'>" * 50 + b"</a>" * 50,
        ):
            for end in (b"", b"<a/>", b"a", b"<![CDATA[<a/>]]>"):
                data = b"<message id='1'>" + content + end + b"</message\n>"
                self.dropped(data, "stanza-bytes", stanzaBytes=60)

    def test_longTag(self) -> None:
        """There is no way to get behind a tag that does not end."""
        splitter = Splitter(stanzaBytes=100, lenient=True)
        outcome = read(splitter, [HEADER + b"<message/>", b"<message a='", *[b"b"] * 100])
        self.assertEqual((len(outcome.stanzas), outcome.condition), (1, "policy-violation"))

    def test_memory(self) -> None:
        """Nothing is kept of what will be dropped."""
        splitter = Splitter(stanzaBytes=10_000, lenient=True)
        splitter.feed(HEADER + b"<message>")
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(1000):
            splitter.feed(b"<a>" + b"b" * 1000 + b"</a>")
        _, most = tracemalloc.get_traced_memory()
        self.assertLess(most, 200_000)
        (stanza,) = splitter.feed(b"</message>")
        self.assertIn("10000 bytes", str(stanza.fault))


class Cost(SplitterTestCase):
    """What many small reads cost."""

    def calls(self, work: Callable[[], object]) -> int:
        """How many functions are called, Python's own included."""
        count = 0

        def called(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        previous = sys.getprofile()
        gc.disable()  # others may have hooks there
        sys.setprofile(called)
        try:
            work()
        finally:
            sys.setprofile(previous)
            gc.enable()
        return count

    def test_crumbs(self) -> None:
        """Each read costs the same, however much of a stanza there is already."""

        def work(size: int) -> int:
            splitter = Splitter()
            splitter.feed(HEADER + b"<a>")
            return self.calls(lambda: read(splitter, [b"b"] * size))

        work(1)
        once = work(1000) - work(0)
        self.assertEqual(work(4000) - work(0), 4 * once)

    def test_manyStanzas(self) -> None:
        """Stanzas in one read cost no more than each in its own."""

        def work(count: int) -> int:
            splitter = Splitter(parsers=Parsers())  # a shared one may be worn out at any time
            splitter.feed(HEADER)
            return self.calls(lambda: splitter.feed(b"<a b='c'><d/></a>" * count))

        work(1)
        self.assertEqual(work(300) - work(200), work(200) - work(100))

    def test_tagInCrumbs(self) -> None:
        """Expat scans an unfinished tag again at each read: not without end (CVE-2023-52425)."""
        for crumb in (b"a", b">"):
            splitter = Splitter()
            splitter.feed(HEADER + b"<message a='")
            outcome = read(splitter, [crumb] * 10_000)
            self.assertEqual(outcome.condition, "policy-violation")

    def test_tagInCrumbsBehindMuch(self) -> None:
        """Nor behind what was read in large pieces."""
        splitter = Splitter()
        splitter.feed(HEADER + b"<message><body>" + b"a" * 100_000 + b"</body><a b='")
        self.assertEqual(read(splitter, [b">"] * 10_000).condition, "policy-violation")

    def test_longTag(self) -> None:
        """One as long as a stanza may be passes in reads of a kilobyte."""
        data = b"<message a='%s'/>" % (b"b" * (262144 - 15))
        self.assertEqual(len(data), 262144)
        splitter = Splitter()
        splitter.feed(HEADER)
        reads = (data[at : at + 1024] for at in range(0, len(data), 1024))
        outcome = read(splitter, reads)
        self.assertEqual(outcome.condition, None)
        self.assertEqual([stanza.data for stanza in outcome.stanzas], [data])

    def test_longStanzaInCrumbs(self) -> None:
        """A long stanza of ordinary tags passes in the smallest reads."""
        data = b"<iq>" + b"<item jid='juliet@example.com'/>" * 1500 + b"</iq>"
        splitter = Splitter()
        splitter.feed(HEADER)
        outcome = read(splitter, crumbs(data))
        self.assertEqual([stanza.data for stanza in outcome.stanzas], [data])

    def test_unalignedReads(self) -> None:
        """A stream whose reads always end inside of a tag goes on for ever."""
        data = b"<message to='juliet@example.com' id='%s'/>" % (b"a" * 460)
        self.assertEqual(len(data), 500)
        splitter = Splitter(stanzaBytes=500)
        splitter.feed(HEADER + data[:-1])
        outcome = read(splitter, [data[-1:] + data[:-1]] * 1000)
        self.assertEqual((len(outcome.stanzas), outcome.condition), (1000, None))


class Namespaces(SplitterTestCase):
    """Namespaces in XML 1.0, resolved by the splitter itself."""

    def fault(self, data: str, header: bytes = HEADER) -> str:
        """What is wrong with a stanza. The stream goes on behind it."""
        outcome = self.split(data + "<presence/>", header)
        self.assertIsNone(outcome.condition)
        faulty, good = outcome.stanzas
        self.assertIsNone(good.fault)
        self.assertEqual(good.children, ())
        assert faulty.fault is not None, data
        return faulty.fault

    def test_unbound(self) -> None:
        """A prefix that nobody declared is the fault of its stanza alone."""
        for data in (
            "<p:message/>",
            "<message><p:x/></message>",
            "<message><x><y><p:z/></y></x></message>",
            "<message p:a='1'/>",
            "<message><x p:a='1'/></message>",
            "<message><x xmlns:p='urn:p'/><p:y/></message>",
            "<message><x><y xmlns:p='urn:p'/></x><p:y/></message>",
            "<message><p:x/><x xmlns:p='urn:p'/></message>",
        ):
            self.assertIn("'p' is not bound", self.fault(data))

    def test_unboundAgain(self) -> None:
        """What one stanza declares is over with it."""
        outcome = self.split("<p:a xmlns:p='urn:p'/><p:a/><a xmlns:p='u' p:a=''/><p:a/>")
        faults = [stanza.fault is not None for stanza in outcome.stanzas]
        self.assertEqual(faults, [False, True, False, True])

    def test_names(self) -> None:
        """A qualified name is two names and one colon."""
        for name in (":a", "a:", ":", "p:a:b", "p::a", "p:1", "p:-a", "p:.a", "p:·", "p:\u0301"):
            for data in (f"<message><{name} xmlns:p='u'/></message>", f"<message {name}='1'/>"):
                self.assertIn("no qualified name", self.fault(data))
        for name in ("p:a", "p:é", "p:_1", "é:é", "p:a-1.2·"):
            stanza = self.stanza(f"<{name} xmlns:p='urn:p' xmlns:é='urn:é' {name}='1'/>")
            self.assertIsNone(stanza.fault)

    def test_declarations(self) -> None:
        """What may not be declared."""
        for declaration in (
            "xmlns:p=''",
            "xmlns:='urn:p'",
            "xmlns:1='urn:p'",
            "xmlns:-='urn:p'",
            "xmlns:p:q='urn:p'",
            "xmlns:xmlns='urn:p'",
            f"xmlns:xmlns='{ns.XMLNS}'",
            "xmlns:xml='urn:p'",
            "xmlns:xml=''",
            f"xmlns:xml='{ns.XMLNS}'",
            f"xmlns:p='{ns.XML}'",
            f"xmlns:p='{ns.XMLNS}'",
            f"xmlns='{ns.XML}'",
            f"xmlns='{ns.XMLNS}'",
        ):
            for data in (
                f"<message {declaration}/>",
                f"<message><x {declaration}/></message>",
                f"<message><x><y {declaration}/></x></message>",
            ):
                self.fault(data)
        for declaration in ("xmlns=''", f"xmlns:xml='{ns.XML}'", "xmlns:p='urn:p'", "xmlns='ü'"):
            self.assertIsNone(self.stanza(f"<message><x {declaration}/></message>").fault)

    def test_namespaceNames(self) -> None:
        """Those that some parser refuses, or that some serialiser does not escape."""
        for character in " {}|\\^`\"&<>'\n\t\r\x7f":
            uri = f"urn:&#{ord(character)};a"
            self.fault(f"<message><x xmlns='{uri}'/></message>")
            self.fault(f"<message><x><p:x xmlns:p='{uri}'/></x></message>")

    def test_prefixesOfXML(self) -> None:
        """`xml` is always bound, `xmlns` never."""
        stanza = self.stanza("<message xml:lang='en'><xml:x/></message>")
        self.assertIsNone(stanza.fault)
        self.assertEqual(stanza.children, ((ns.XML, "x"),))
        self.fault("<xmlns:message/>")
        self.fault("<message><xmlns:x/></message>")

    def test_doubleAttributes(self) -> None:
        """An attribute may not be there twice under two prefixes of one namespace."""
        for data in (
            "<message xmlns:a='u' xmlns:b='u' a:x='1' b:x='1'/>",
            "<message xmlns:a='u'><x xmlns:b='u' b:x='1' a:x='1'/></message>",
            f"<message xmlns:s='{ns.STREAMS}' s:x='1' stream:x='1'/>",
        ):
            self.assertIn("twice", self.fault(data))
        for data in (
            "<message xmlns:a='u' xmlns:b='v' a:x='1' b:x='1' x='1'/>",
            "<message xmlns:a='u' xmlns='u' a:x='1' x='1'/>",
        ):
            self.assertIsNone(self.stanza(data).fault)

    def test_firstFault(self) -> None:
        """Of several the first is told."""
        self.assertIn("'p'", self.fault("<message p:a='1'><q:x/></message>"))

    def test_shortFaults(self) -> None:
        """What is wrong with a stanza is said in short, however long it is."""
        long = "a" * 999
        for data in (
            f"<{long}:a/>",
            f"<a {long}:a=''/>",
            f"<a:{long}: xmlns:a='urn:a'/>",
            f"<a xmlns='urn: {long}'/>",
            f"<a xmlns:a.{long}=''/>",
            f"<a xmlns:{long}='urn: {long}'/>",
        ):
            self.assertLess(len(self.fault(data)), 200)

    def test_rebound(self) -> None:
        """A prefix means what the nearest declaration says, until that element ends."""
        stanza = self.stanza(
            "<message xmlns:p='urn:1'><p:a/><p:b xmlns:p='urn:2'><p:c xmlns:p='urn:3'/></p:b>"
            "<p:d/><e xmlns:p='urn:4' xmlns='urn:5'/><f/><p:g xmlns='urn:6'/></message>"
        )
        self.assertEqual(
            stanza.children,
            (
                ("urn:1", "a"),
                ("urn:2", "b"),
                ("urn:1", "d"),
                ("urn:5", "e"),
                (ns.CLIENT, "f"),
                ("urn:1", "g"),
            ),
        )

    def test_defaultNamespace(self) -> None:
        """It ends with the element that declares it, stanzas among them."""
        outcome = self.split(
            "<a xmlns='urn:a'><b/><c xmlns=''/></a><d><e/></d>"
            "<stream:f xmlns='urn:f'><g/></stream:f>"
        )
        self.assertEqual(
            [(each.namespace, each.name, each.children) for each in outcome.stanzas],
            [
                ("urn:a", "a", (("urn:a", "b"), ("", "c"))),
                (ns.CLIENT, "d", ((ns.CLIENT, "e"),)),
                (ns.STREAMS, "f", (("urn:f", "g"),)),
            ],
        )

    def test_manyDeclarations(self) -> None:
        """Many prefixes in scope do not make each declaration dearer."""
        many = "".join(f" xmlns:p{n}='urn:{n}'" for n in range(5000))
        data = f"<a{many}>" + "<b xmlns:p1='u'/>" * 2000 + "<p1:c/></a>"
        splitter = Splitter(attributes=5000, namespaces=7000)
        (stanza,) = read(splitter, [HEADER, data.encode()]).stanzas
        self.assertEqual(stanza.children[-1], ("urn:1", "c"))


class SelfContained(SplitterTestCase):
    """What only the header declares is declared in the stanzas that need it."""

    def header(self, declarations: str, default: str | None = ns.CLIENT) -> bytes:
        content = "" if default is None else f" xmlns='{default}'"
        return f"<stream:stream xmlns:stream='{ns.STREAMS}'{content} {declarations}>".encode()

    def test_prefix(self) -> None:
        """On the start tag of the stanza, wherever it is used."""
        header = self.header("xmlns:ack='http://www.xmpp.org/extensions/xep-0198.html#ns'")
        declared = 'xmlns:ack="http://www.xmpp.org/extensions/xep-0198.html#ns"'
        for before, after in (
            ("<ack:ping/>", f"<ack:ping {declared}/>"),
            ("<message a='b'><ack:x/></message>", f"<message {declared} a='b'><ack:x/></message>"),
            ("<message ack:a=''/>", f"<message {declared} ack:a=''/>"),
            (
                "<message><x><y ack:a=''/></x></message>",
                f"<message {declared}><x><y ack:a=''/></x></message>",
            ),
            ("<message\n></message>", "<message\n></message>"),
            ("<message><stream:x/></message>", "<message><stream:x/></message>"),
            ("<ack:x xmlns:ack='urn:a'/>", "<ack:x xmlns:ack='urn:a'/>"),
        ):
            stanza = self.stanza(before, header)
            self.assertEqual(stanza.data.decode(), after)
            self.assertIsNone(stanza.fault)

    def test_attributes(self) -> None:
        """The stanza's attributes are those of its bytes."""
        stanza = self.stanza("<p:a b='c'><q:d/></p:a>", self.header("xmlns:p='urn:p' xmlns:q='u'"))
        self.assertEqual(
            stanza.data.decode(), '<p:a xmlns:p="urn:p" xmlns:q="u" b=\'c\'><q:d/></p:a>'
        )
        self.assertEqual(stanza.attributes, {"xmlns:p": "urn:p", "xmlns:q": "u", "b": "c"})
        self.assertEqual(stanza.children, (("u", "d"),))

    def test_onlyTheOne(self) -> None:
        """Each stanza gets its own, no more."""
        outcome = self.split("<p:a/><b/><q:c/>", self.header("xmlns:p='urn:p' xmlns:q='urn:q'"))
        self.assertEqual(
            [stanza.data for stanza in outcome.stanzas],
            [b'<p:a xmlns:p="urn:p"/>', b"<b/>", b'<q:c xmlns:q="urn:q"/>'],
        )

    def test_onlyHere(self) -> None:
        """Another stream with the same header knows nothing of what a stanza declares."""
        header = self.header("xmlns:p='urn:p'")
        one, other = Splitter(), Splitter()
        one.feed(header + b"<message xmlns:p='urn:b' xmlns:q='urn:q'><p:x/><q:x/>")
        stanzas = other.feed(header + b"<p:a/><q:c/>")
        self.assertEqual(stanzas[0].namespace, "urn:p")
        self.assertEqual(stanzas[1].fault, "the prefix 'q' is not bound")
        stanzas = one.feed(b"<p:y/></message><p:a/><q:c/>")
        self.assertEqual(stanzas[0].children, (("urn:b", "x"), ("urn:q", "x"), ("urn:b", "y")))
        self.assertEqual(stanzas[1].namespace, "urn:p")
        self.assertEqual(stanzas[2].fault, "the prefix 'q' is not bound")

    def test_content(self) -> None:
        """A content namespace other than that of clients goes with every stanza."""
        for default, declared in (
            ("jabber:server", "jabber:server"),
            (None, ""),
            ("urn:a", "urn:a"),
        ):
            header = self.header("", default)
            for data in ("<message{}><x/></message>", "<stream:features{}/>"):
                stanza = self.stanza(data.format(""), header)
                self.assertEqual(stanza.data.decode(), data.format(f' xmlns="{declared}"'))
            stanza = self.stanza("<message xmlns='urn:b'/>", header)
            self.assertEqual(stanza.data, b"<message xmlns='urn:b'/>")

    def test_anotherStream(self) -> None:
        """The prefix `stream` may mean something else, or nothing."""
        header = f"<s xmlns='{ns.STREAMS}' xmlns:stream='urn:a'>".encode()
        stanza = self.stanza("<stream:x/>", header)
        self.assertEqual(stanza.namespace, "urn:a")
        self.assertIn(b'xmlns:stream="urn:a"', stanza.data)
        stanza = self.stanza("<stream:x/>", f"<s xmlns='{ns.STREAMS}'>".encode())
        self.assertIn("'stream' is not bound", str(stanza.fault))


class Properties(SynchronousTestCase):
    """Whatever comes."""

    @modest
    @given(st.data(), xml.headers(), st.one_of(xml.soups(), xml.wounded()))
    def test_anySplit(self, data: st.DataObject, header: xml.Header, body: bytes) -> None:
        """However a stream is cut into reads, its stanzas are the same."""
        stream = header.data + body + header.end
        limit = data.draw(st.sampled_from((262144, 100, 40)))
        whole = read(Splitter(limit, 5), [stream])
        parts = read(Splitter(limit, 5), data.draw(xml.splits(stream)))
        self.assertEqual(parts.comparable, whole.comparable)

    @modest
    @given(xml.headers(), xml.stanzas())
    def test_oneStanza(self, header: xml.Header, data: bytes) -> None:
        """
        A stanza is fine if and only if a strict parser takes it, and is the same on a stream
        with another header.
        """
        outcome = read(Splitter(), [header.data + data + header.end])
        self.assertEqual((len(outcome.stanzas), outcome.condition), (1, None))
        (stanza,) = outcome.stanzas
        nodes, fine = xml.strict(header.data + data + header.end)
        self.assertEqual(stanza.fault is None, fine)
        if fine:
            self.assertEqual([xml.strictStanza(stanza.data)], nodes)
            self.agrees(stanza)

    @modest
    @given(xml.headers(), st.one_of(xml.soups(), xml.wounded()))
    def test_nothingBadCrosses(self, header: xml.Header, body: bytes) -> None:
        """What a strict parser refuses is never a stanza without fault."""
        stream = header.data + body
        outcome = read(Splitter(), [stream])
        nodes, _ = xml.strict(stream, final=False)
        for stanza, node in zip_longest(outcome.stanzas, nodes[: len(outcome.stanzas)]):
            if stanza.fault is None:
                alone = xml.strictStanza(stanza.data)
                assert alone is not None
                self.agrees(stanza)
                # Behind another's fault the strict parser has given up.
                self.assertIn(node, (alone, None))

    def agrees(self, stanza: Stanza) -> None:
        """What a stanza tells about itself is what a strict parser sees, and domish as well."""
        node = xml.strictStanza(stanza.data)
        assert node is not None
        self.assertEqual(f"{stanza.namespace} {stanza.name}".strip(), node.name)
        self.assertEqual(
            [f"{namespace} {name}".strip() for namespace, name in stanza.children],
            [child.name for child in node.content if isinstance(child, xml.Node)],
        )
        element = parse(stanza.data)
        self.assertEqual((element.uri, element.name), (stanza.namespace, stanza.name))
        self.assertEqual(
            [(child.uri, child.name) for child in element.elements()], list(stanza.children)
        )
        plain = {name: value for name, value in stanza.attributes.items() if ":" not in name}
        plain.pop("xmlns", None)
        self.assertEqual(plain, {name: value for name, value in node.attributes if " " not in name})
