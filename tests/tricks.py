"""
Tricks that make two parsers disagree on where a stanza ends, or on what is in it: stanza smuggling
(Zoom's CVE-2022-22784 to 22787, expat's CVE-2022-25235, 25236 and their family).
"""

from __future__ import annotations

from typing import NamedTuple

from xmpproxy import ns


class Trick(NamedTuple):
    """
    What a hostile client sends.

    @ivar name: what it tries.
    @ivar data: the bytes; C{TO} stands for the address of a message.
    @ivar condition: the stream error it gets. L{None}: there is nothing wrong with it.
    @ivar before: what of it comes before the error, and is right.
    """

    name: str
    data: bytes
    condition: str | None
    before: bytes = b""

    def to(self, address: str) -> bytes:
        """The bytes with an address."""
        return addressed(self.data, address)


def addressed(data: bytes, address: str) -> bytes:
    """Bytes as in L{Trick.data}, with an address."""
    return data.replace(b" TO", f" to='{address}'".encode())


def _inside(inner: str | bytes, attributes: str | bytes = b"") -> bytes:
    """Something inside of a message."""
    inner = inner.encode() if isinstance(inner, str) else inner
    attributes = attributes.encode() if isinstance(attributes, str) else attributes
    return b"<message TO " + attributes + b"><body>trick</body>" + inner + b"</message>"


_WRONG = "not-well-formed"
_ENCODING = "unsupported-encoding"
_RESTRICTED = "restricted-xml"
_FORMAT = "bad-format"
_POLICY = "policy-violation"
_UNKNOWN = "unsupported-stanza-type"
_WHOLE = b"<message TO ><body>trick</body></message>"
_SMUGGLED = b"<message TO type='chat'><body>smuggled</body></message>"

# Wrong UTF-8, where a lax parser finds a `<`, a `>`, a quote, or the end of a character later than
# a strict one. CVE-2022-25235: expat took 2 and 3 bytes in names for characters unseen.
_SEQUENCES = {
    "overlong <": b"\xc0\xbc",
    "overlong >": b"\xc0\xbe",
    "overlong < in three": b"\xe0\x80\xbc",
    "overlong < in four": b"\xf0\x80\x80\xbc",
    "overlong NUL": b"\xc0\x80",
    "surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "half of surrogates": b"\xed\xa0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "lone continuation": b"\x80",
    "never": b"\xff",
    "Latin-1": b"\xe9a",
}
_PLACES = {
    "in text": b"<x>%b</x>",
    "in a name": b"<x%b/>",
    "as a name": b"<%b/>",
    "in an end tag": b"<x></x%b>",
    "in a value": b"<x a='%b'/>",
    "in an attribute": b"<x a%b='1'/>",
    "in a namespace": b"<x xmlns='urn:%b'/>",
    "in a prefix": b"<p%b:x xmlns:p='urn:p'/>",
    "in CDATA": b"<x><![CDATA[%b]]></x>",
    "in an entity": b"<x>&a%b;</x>",
}
_UTF8 = [
    Trick(f"{wrong} {place}", _inside(template % sequence), _ENCODING)
    for wrong, sequence in _SEQUENCES.items()
    for place, template in _PLACES.items()
]
# Cut off before what ends text, a name or a value: a parser that skips as many bytes as the first
# one says misses the `<` (CVE-2022-22784).
_CUT_OFF = [
    Trick(f"{len(begin)} bytes of {total} {place}", _inside(template % begin), _ENCODING)
    for total, whole in ((2, b"\xc3"), (3, b"\xe2\x82"), (4, b"\xf0\x9f\x98"))
    for begin in {whole[:1], whole}
    for place, template in _PLACES.items()
]

_S = ns.STREAMS
_NAMESPACES = [
    Trick("stream inside", _inside("<stream:stream/><stream:error/>"), None),
    Trick("end of stream inside", _inside("</stream:stream>"), _WRONG),
    Trick("end of stream in text", _inside("<x>&lt;/stream:stream></x>"), None),
    Trick("stream of another prefix", f"<x:stream xmlns:x='{_S}'/>".encode(), _UNKNOWN),
    Trick("features by another prefix", f"<x:features xmlns:x='{_S}'/>".encode(), _UNKNOWN),
    Trick("stream by default", f"<stream xmlns='{_S}'/>".encode(), _UNKNOWN),
    Trick("stanza of streams", f"<message xmlns='{_S}' TO/>".encode(), _UNKNOWN),
    Trick("stanza with the prefix stream", b"<stream:message TO/>", _UNKNOWN),
    Trick(
        "stanza with a rebound prefix stream",
        f"<stream:message xmlns:stream='{ns.CLIENT}' TO><stream:body>trick</stream:body>"
        "</stream:message>".encode(),
        None,
    ),
    Trick("prefix stream rebound inside", _inside("<stream:x xmlns:stream='urn:x'/>"), None),
    Trick("streams by another prefix inside", _inside(f"<x:error xmlns:x='{_S}'/>"), None),
    Trick("restart", f"<stream:stream xmlns:stream='{_S}'>".encode(), _FORMAT),
    Trick("no namespace", b"<message xmlns='' TO><body>trick</body></message>", _UNKNOWN),
    Trick("servers'", b"<message xmlns='jabber:server' TO/>", _UNKNOWN),
    Trick("servers' by a prefix", b"<s:message xmlns:s='jabber:server' TO/>", _UNKNOWN),
    Trick("no namespace inside", _inside("<x xmlns=''><y xmlns='urn:y'/></x>"), None),
    Trick("servers' inside", _inside("<message xmlns='jabber:server'/>"), None),
    Trick("unbound", _inside("<p:x/>"), _WRONG),
    Trick("unbound attribute", _inside("<x p:a=''/>"), _WRONG),
    Trick("bound too late", _inside("<p:x/><y xmlns:p='urn:p'/>"), _WRONG),
    Trick("unbound again", _inside("<x xmlns:p=''><p:y/></x>"), _WRONG),
    Trick("two colons", _inside("<p:x:y xmlns:p='urn:p'/>"), _WRONG),
    Trick("colon first", _inside("<:x/>"), _WRONG),
    Trick("colon last", _inside("<x:/>"), _WRONG),
    Trick("xml rebound", _inside("<x xmlns:xml='urn:x'/>"), _WRONG),
    Trick("xml bound again", _inside(f"<x xmlns:xml='{ns.XML}' xml:lang='en'/>"), None),
    Trick("xml by another prefix", _inside(f"<x xmlns:p='{ns.XML}'/>"), _WRONG),
    Trick("xml by default", _inside(f"<x xmlns='{ns.XML}'/>"), _WRONG),
    Trick("xmlns bound", _inside("<x xmlns:xmlns='urn:x'/>"), _WRONG),
    Trick("xmlns bound right", _inside(f"<x xmlns:xmlns='{ns.XMLNS}'/>"), _WRONG),
    Trick("xmlns by another prefix", _inside(f"<x xmlns:p='{ns.XMLNS}'/>"), _WRONG),
    Trick("xmlns by default", _inside(f"<x xmlns='{ns.XMLNS}'/>"), _WRONG),
    Trick("element xmlns:x", _inside("<xmlns:x/>"), _WRONG),
    # What servers tell their parsers to put between a namespace and a name (CVE-2022-25236).
    *(
        Trick(f"separator &#{ord(mark)};", _inside(f"<x xmlns='urn:&#{ord(mark)};x'/>"), _WRONG)
        for mark in " |{}^\n\t\r'\"<>&\\`\x7f"
    ),
    Trick("separator U+0001", _inside("<x xmlns='urn:\x01x'/>"), _WRONG),
    Trick("separator U+0001 by number", _inside("<x xmlns='urn:&#1;x'/>"), _WRONG),
    Trick("separator U+FFFF", _inside("<x xmlns='urn:\uffffx'/>"), _WRONG),
    Trick("separator in a prefix's", _inside("<p:x xmlns:p='urn: x'/>"), _WRONG),
]
_ATTRIBUTES = [
    Trick("to twice", b"<message TO to='b@c'/>", _WRONG),
    Trick("from twice", _inside("", "from='a@b/c' from='b@c'"), _WRONG),
    Trick("xml:lang twice", _inside("<x xml:lang='en' xml:lang='de'/>"), _WRONG),
    Trick("xmlns twice", _inside("<x xmlns='urn:a' xmlns='urn:b'/>"), _WRONG),
    Trick("xmlns:p twice", _inside("<x xmlns:p='urn:a' xmlns:p='urn:b'/>"), _WRONG),
    Trick("twice by two prefixes", _inside("<x xmlns:a='u:' xmlns:b='u:' a:c='' b:c=''/>"), _WRONG),
    Trick(
        "to by two prefixes",
        _inside("", "xmlns:a='u:' xmlns:b='u:' a:to='a@b' b:to='b@c'"),
        _WRONG,
    ),
    Trick("the same in two namespaces", _inside("<x xmlns:a='u:' a:c='1' c='2'/>"), None),
    Trick("no space between", _inside("<x a='1'b='2'/>"), _WRONG),
    Trick("no quotes", _inside("<x a=1/>"), _WRONG),
    Trick("no value", _inside("<x a/>"), _WRONG),
    Trick("< in a value", _inside("<x a='<'/>"), _WRONG),
    Trick("& in a value", _inside("<x a='&'/>"), _WRONG),
    Trick("> in a value", _inside("<x a='/>'/>"), None),
    Trick("quotes in a value", _inside("""<x a="'" b='"' c='&apos;&quot;'/>"""), None),
    Trick("space in a value", _inside("<x a='1\n2\r\n3\t4&#10;&#13;&#9;'/>"), None),
    Trick("NUL in a value", _inside("<x a='\0'/>"), _WRONG),
    Trick("attributes of an end tag", _inside("<x></x a='1'>"), _WRONG),
    Trick("many", _inside("<x" + "".join(f" a{n}=''" for n in range(10_000)) + "/>"), _POLICY),
    Trick("many, quickly", _inside("<x" + " a=''" * 1000 + "/>"), _WRONG),
]
_CHARACTERS = [
    Trick("byte order mark between", b"\xef\xbb\xbf" + _SMUGGLED, _FORMAT),
    Trick("byte order mark inside", _inside("\ufeff<x>\ufeff</x>"), None),
    Trick("byte order mark in a name", _inside("<x\ufeff/>"), _WRONG),
    Trick("UTF-16", _SMUGGLED.decode().encode("utf-16"), _ENCODING),
    Trick("UTF-16BE", _SMUGGLED.decode().encode("utf-16be"), _WRONG),
    Trick("UTF-16 declared", b"<?xml version='1.0' encoding='utf-16'?>" + _SMUGGLED, _WRONG),
    Trick("UTF-7", _inside("+ADw-x+AD4-"), None),
    Trick("XML declared again", b"<?xml version='1.0'?>" + _SMUGGLED, _WRONG),
    Trick("XML declared inside", _inside("<?xml version='1.0'?>"), _WRONG),
    *(
        Trick(f"U+{ord(wrong):04X} {place}", _inside(template % wrong), _WRONG)
        for wrong in "\0\x01\x08\x0b\x0c\x1b\x1f\ufffe\uffff"
        for place, template in (
            ("in text", "<x>%s</x>"),
            ("in a name", "<x%s/>"),
            ("as a name", "<%s/>"),
            ("in a value", "<x a='%s'/>"),
            ("in CDATA", "<![CDATA[%s]]>"),
        )
    ),
    *(
        Trick(f"U+{ord(wrong):04X} between", _WHOLE + wrong.encode() + _SMUGGLED, _WRONG, _WHOLE)
        for wrong in "\0\x01\x08\x0b\x0c\x1b\x1f"
    ),
    *(
        Trick(f"{number} by number", _inside(f"<x>&#{number};</x>"), _WRONG)
        for number in ("0", "x0", "1", "xB", "xD800", "xDFFF", "xFFFE", "x110000", "4294967356")
    ),
    Trick("at the edges", _inside("<x>\t\x7f\x80\x9f\ud7ff\ue000\ufdd0\ufffd\U0001fffe</x>"), None),
    Trick("line ends", _inside("<x>1\r\n2\r3&#13;4\u20285\x856</x>"), None),
    Trick("space without a break as space", _inside("<x\u00a0a='1'/>"), _WRONG),
    Trick("form feed as space", _inside("<x\x0ca='1'/>"), _WRONG),
    Trick("next line as space", _inside("<x\x85a='1'/>"), _WRONG),
]
_STRUCTURE = [
    Trick("text between", b"text" + _SMUGGLED, _FORMAT),
    Trick("CDATA between", b"<![CDATA[text]]>" + _SMUGGLED, _FORMAT),
    Trick("space by number between", b"&#32;" + _SMUGGLED, _FORMAT),
    Trick("entity between", b"&amp;" + _SMUGGLED, _FORMAT),
    Trick("space between", b" \r\n\t" + _inside("") + b"\n", None),
    Trick("comment", _inside("<!-- </message> -->"), _RESTRICTED),
    Trick("comment between", b"<!-- " + _SMUGGLED + b" -->", _RESTRICTED),
    Trick("bad comment", _inside("<!-- -- -->"), _WRONG),
    Trick("instruction", _inside("<?x </message>?>"), _RESTRICTED),
    Trick("instruction between", b"<?x " + _SMUGGLED + b"?>", _RESTRICTED),
    Trick("document type", b"<!DOCTYPE x [<!ENTITY y 'z'>]>" + _SMUGGLED, _WRONG),
    Trick("document type inside", _inside("<!DOCTYPE x>"), _WRONG),
    Trick("entity declared inside", _inside("<!ENTITY y 'z'>"), _WRONG),
    Trick("entity unknown", _inside("<x>&y;</x>"), _RESTRICTED),
    Trick("entity of HTML", _inside("<x>&nbsp;</x>"), _RESTRICTED),
    Trick("entity in a value", _inside("<x a='&y;'/>"), _RESTRICTED),
    Trick("entity without end", _inside("<x>&amp</x>"), _WRONG),
    Trick("entity in capitals", _inside("<x>&LT;</x>"), _RESTRICTED),
    Trick("parameter entity", _inside("<x>%y;</x>"), None),
    Trick("the five entities", _inside("<x>&lt;/message&gt;&amp;&apos;&quot;</x>"), None),
    Trick("CDATA", _inside("<x><![CDATA[</message><message>]]></x>"), None),
    Trick("CDATA with its end", _inside("<x><![CDATA[]]]]><![CDATA[>]]></x>"), None),
    Trick("CDATA in CDATA", _inside("<x><![CDATA[<![CDATA[]]>]]></x>"), _WRONG),
    Trick("CDATA in lower case", _inside("<![cdata[]]>"), _WRONG),
    Trick("conditional section", _inside("<![INCLUDE[<x/>]]>"), _WRONG),
    Trick("]]> in text", _inside("<x>]]></x>"), _WRONG),
    Trick("]]&gt; in text", _inside("<x>]]&gt;]]</x>"), None),
    Trick("end tag of another", _inside("<x></y>"), _WRONG),
    Trick("end tag in other case", _inside("<x></X>"), _WRONG),
    Trick("end tag too many", _WHOLE + b"</message>" + _SMUGGLED, _WRONG, _WHOLE),
    Trick("empty tag with space", _inside("<x / >"), _WRONG),
    Trick("space first", _inside("< x/>"), _WRONG),
    Trick("space in an end tag", _inside("<x></ x>"), _WRONG),
    Trick("space behind", _inside("<x ></x\r\n>"), None),
    Trick("no name", _inside("<>"), _WRONG),
    Trick("digit first", _inside("<1/>"), _WRONG),
    Trick("tag in a tag", _inside("<x <y/>/>"), _WRONG),
    Trick("huge name", _inside(f"<{'x' * 20_000}/>"), None),
    Trick("stanzas inside", _inside("<message/><iq type='set'><query xmlns='urn:x'/></iq>"), None),
    Trick("names of others' editions", _inside("<x\u0387\u0e01/>"), None),
    Trick("names of later editions", _inside("<\u0370\U00010000/>"), _WRONG),
]

TRICKS = (*_UTF8, *_CUT_OFF, *_NAMESPACES, *_ATTRIBUTES, *_CHARACTERS, *_STRUCTURE)
