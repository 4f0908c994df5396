"""Streams of XML, good and hostile, for property tests; and a parser to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from pyexpat import ExpatError, ParserCreate
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from hypothesis import assume
from hypothesis import strategies as st

from xmpproxy import ns

# What to compare with: expat in its namespace mode


class Node(NamedTuple):
    """
    An element as a namespace-aware parser sees it.

    @ivar name: namespace, space and local name, or a local name alone.
    @ivar attributes: names in the same form, with their values, sorted.
    @ivar content: child elements and text, no two texts side by side.
    """

    name: str
    attributes: tuple[tuple[str, str], ...]
    content: tuple[Node | str, ...]


class _Builder:
    """Builds the first-level elements of a stream while a strict parser reads it."""

    def __init__(self, separator: str) -> None:
        self.parser = ParserCreate("UTF-8", separator)
        if hasattr(self.parser, "SetReparseDeferralEnabled"):
            self.parser.SetReparseDeferralEnabled(False)
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.done: list[Node] = []
        self.refused = False
        self._separator = separator
        self._open: list[tuple[str, dict[str, str], list[Node | str]]] = []

    def read(self, data: bytes, final: bool) -> None:
        try:
            self.parser.Parse(data, final)
        except ExpatError:
            self.refused = True

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._open.append((name, attributes, []))

    def _end(self, name: str) -> None:
        _, attributes, content = self._open.pop()
        uniform = {key.replace(self._separator, " "): attributes[key] for key in attributes}
        node = Node(
            name.replace(self._separator, " "), tuple(sorted(uniform.items())), tuple(content)
        )
        if len(self._open) == 1:
            self.done.append(node)
        elif self._open:
            self._open[-1][2].append(node)

    def _text(self, text: str) -> None:
        if len(self._open) > 1:
            content = self._open[-1][2]
            if content and isinstance(content[-1], str):
                text = content.pop() + text  # type: ignore[operator]  # it is a str
            content.append(text)


def strict(data: bytes, final: bool = True) -> tuple[list[Node], bool]:
    """
    What a strict parser makes of a stream.

    Expat refuses a namespace name with the separator it was told, so what it is told matters.

    @param final: whether the stream must be whole.
    @return: its first-level elements up to the first error, and whether there was none.
    """
    builders = [_Builder(" "), _Builder("}")]
    for builder in builders:
        builder.read(data, final)
    refusing = [builder for builder in builders if builder.refused]
    shortest = min(builders, key=lambda builder: len(builder.done))
    return shortest.done, not refusing


_PLAIN = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}'>".encode()


def strictStanza(data: bytes) -> Node | None:
    """One stanza, as the stream of another connection has it; L{None} if it is none."""
    done, fine = strict(_PLAIN + data + b"</stream:stream>")
    return done[0] if fine and len(done) == 1 else None


# Stream headers


class Header(NamedTuple):
    """
    The start of a stream.

    @ivar data: XML declaration and start tag.
    @ivar end: the end tag.
    @ivar prefixes: the prefixes it declares.
    """

    data: bytes
    end: bytes
    prefixes: tuple[str, ...]


_DECLARATIONS = (
    "",
    "<?xml version='1.0'?>",
    '<?xml version="1.0" encoding="UTF-8"?>\n',
    "<?xml version='1.0' encoding='utf-8' standalone='yes' ?>",
    "\ufeff<?xml version='1.0'?>",
)
#: Prefixes a header declares, and those a stanza uses without regard to that.
_PREFIXES = ("p", "q", "stream", "é")
_NAMESPACES = (ns.CLIENT, ns.STREAMS, "urn:a", "urn:b", "http://example.org/?a=b;c#d", "ü")


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Starts of streams that a strict parser takes, for all kinds of content namespaces."""
    default = draw(st.sampled_from((ns.CLIENT, "jabber:server", "urn:a", None)))
    root = draw(st.sampled_from(("stream", "s", None)))
    declared: dict[str, str] = {}
    if root is None:
        tag, declared["xmlns"] = "stream", ns.STREAMS
    else:
        tag, declared[f"xmlns:{root}"] = f"{root}:stream", ns.STREAMS
        if default is not None:
            declared["xmlns"] = default
    for prefix in draw(st.sets(st.sampled_from(_PREFIXES), max_size=3)):
        declared.setdefault(f"xmlns:{prefix}", draw(st.sampled_from(("urn:a", "urn:b"))))
    names = draw(st.permutations(sorted(declared)))
    written = "".join(f" {name}={quoteattr(declared[name])}" for name in names)
    declaration = draw(st.sampled_from(_DECLARATIONS))
    return Header(
        f"{declaration}<{tag}{written} to='example.com' version='1.0'>".encode(),
        f"</{tag}>".encode(),
        tuple(name[6:] for name in names if name != "xmlns"),
    )


#: The header nearly every stream has.
PLAIN = Header(_PLAIN, b"</stream:stream>", ("stream",))


# Stanzas: well-formed, if not always by the rules of namespaces

_STANZAS = ("message", "presence", "iq", "x")
_CHILDREN = ("message", "body", "x", "é", "a-1.2", "_")
_ATTRIBUTES = ("to", "id", "type", "xml:lang", "é", "a-1.2")
_BAD_NAMES = ("p:1", "p:-a", "p:·", "p:a:b", ":a", "a:", "xmlns:a", "xmlns", "xml:x", "nobody:x")
_BAD_DECLARATIONS = (
    ("xmlns:p", ""),
    ("xmlns:1", "urn:a"),
    ("xmlns:p:q", "urn:a"),
    ("xmlns:", "urn:a"),
    ("xmlns:xml", "urn:a"),
    ("xmlns:xml", ns.XMLNS),
    ("xmlns:xmlns", "urn:a"),
    ("xmlns:xmlns", ns.XMLNS),
    ("xmlns:p", ns.XML),
    ("xmlns:p", ns.XMLNS),
    ("xmlns", ns.XML),
    ("xmlns", ns.XMLNS),
    ("xmlns", "urn: a"),
    ("xmlns:p", "urn:\ta b"),
    ("xmlns:p", "{urn:a}"),
)
_GOOD_DECLARATIONS = (("xmlns:xml", ns.XML), ("xmlns", ""))
#: Text, each as XML writes it.
_TEXTS = (
    "a",
    "\n\t ",
    ">",
    "/>",
    "'\"",
    "]]a",
    "&lt;&gt;&amp;&quot;&apos;",
    "&#60;&#x3e;&#13;",
    "\r\n",
    "é€😀",
    "\ufeff",
    "&#xFFFD;",
    "<![CDATA[]]>",
    "<![CDATA[</message>]]>",
    "<![CDATA[<a b='>'/>&nothing;]]]]><![CDATA[>]]>",
)
_VALUES = (
    "",
    "a",
    "juliet@example.com/balcony",
    "/>",
    "> a=&apos;b/>",
    "\n\t ",
    "&#10;&#9;&#13;&lt;",
    "&quot;&apos;&amp;",
    "é😀",
    "xmlns:p=",
)
#: White space before an attribute, around its equals sign, and at the end of a tag.
_SPACES = ((" ", "=", ""), (" ", "=", " "), ("\n  ", "=", "\r\n"), ("\t", " = ", ""))


@st.composite
def _elements(draw: st.DrawFn, scope: Sequence[str], wild: bool, depth: int = 0) -> str:
    """
    An element.

    @param scope: prefixes to use.
    @param wild: whether names and declarations may breach the rules.
    """
    attributes: dict[str, str] = {}
    if draw(st.integers(0, 3)) == 0:
        prefix = draw(st.sampled_from(("", "p", "q", "stream", "é")))
        uri = draw(st.sampled_from(_NAMESPACES))
        attributes[f"xmlns:{prefix}" if prefix else "xmlns"] = quoteattr(uri)
        scope = [*scope, prefix] if prefix else scope
    if draw(st.integers(0, 15)) == 0:
        allowed = _GOOD_DECLARATIONS + _BAD_DECLARATIONS if wild else _GOOD_DECLARATIONS
        name, uri = draw(st.sampled_from(allowed))
        attributes.setdefault(name, quoteattr(uri))
    for name in draw(st.sets(_names(_ATTRIBUTES, scope, wild), max_size=2)):
        quote = draw(st.sampled_from("\"'"))
        if not name.startswith("xmlns"):
            attributes[name] = quote + draw(st.sampled_from(_VALUES)) + quote
    tag = draw(_names(_STANZAS if depth == 0 else _CHILDREN, scope, wild))
    space, equals, last = draw(st.sampled_from(_SPACES))
    written = "".join(f"{space}{name}{equals}{value}" for name, value in attributes.items())
    content = ""
    for _ in range(draw(st.integers(0, 3 - depth))):
        child = _elements(scope, wild, depth + 1)
        content += draw(st.one_of(st.sampled_from(_TEXTS), child))
    if not content and draw(st.booleans()):
        return f"<{tag}{written}{last}/>"
    return f"<{tag}{written}{last}>{content}</{tag}{last}>"


@st.composite
def _names(draw: st.DrawFn, local: Sequence[str], prefixes: Sequence[str], wild: bool) -> str:
    kind = draw(st.integers(0, 30))
    if kind == 0 and wild:
        return draw(st.sampled_from(_BAD_NAMES))
    name = draw(st.sampled_from(local))
    if kind < 8 and prefixes and ":" not in name:
        return f"{draw(st.sampled_from(prefixes))}:{name}"
    return name


def stanzas() -> st.SearchStrategy[bytes]:
    """One stanza: well-formed, but names, prefixes and declarations may breach all rules."""
    return _elements(_PREFIXES, wild=True).map(str.encode)


@st.composite
def tameStanzas(draw: st.DrawFn, header: Header = PLAIN) -> bytes:
    """One stanza that a strict parser takes behind a header."""
    data = draw(_elements(header.prefixes, wild=False)).encode()
    _, fine = strict(header.data + data, final=False)
    assume(fine)
    return data


# Streams that no honest peer sends

#: Pieces that make trouble in the right order. Hypothesis finds it.
_PIECES = (
    b"<message>",
    b"</message>",
    b"<message/>",
    b"<message to='>' />",
    b"<body>",
    b"</body>",
    b"<body/>",
    b"<p:x xmlns:p='urn:a'>",
    b"</p:x>",
    b"<p:x/>",
    b"<stream:stream>",
    b"</stream:stream>",
    b"<stream:s/>",
    b"<stream:features>",
    b"</stream:features>",
    b" ",
    b"\r\n",
    b"text",
    b"/>",
    b">",
    b"<",
    b"&amp;",
    b"&#32;",
    b"&#0;",
    b"&#xD800;",
    b"&nothing;",
    b"&",
    b"<![CDATA[",
    b"]]>",
    b"]]",
    b"<!--",
    b"-->",
    b"<?pi ?>",
    b"<?xml version='1.0'?>",
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
    b"<a b='1' b='2'/>",
    b"<a xmlns:p='u:' xmlns:q='u:' p:b='' q:b=''/>",
    b"<a xmlns:p=''/>",
    b"\x00",
    b"\x0b",
    b"\x7f",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xef\xbf\xbe",  # U+FFFE
    b"\xc3\xa9",  # é
    b"\xc3",
    b"\xa9",
    b"\xc0\xaf",  # overlong
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",  # a surrogate
    b"\xf4\x90\x80\x80",  # behind the last character
)


def soups() -> st.SearchStrategy[bytes]:
    """What comes behind a header: any pieces in any order, stanzas among them."""
    pieces = st.sampled_from(_PIECES)
    return st.lists(st.one_of(pieces, pieces, stanzas()), max_size=8).map(b"".join)


@st.composite
def wounded(draw: st.DrawFn) -> bytes:
    """Stanzas with one piece of trouble anywhere."""
    data = draw(st.lists(stanzas(), min_size=1, max_size=3).map(b"".join))
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.sampled_from(_PIECES)) + data[draw(st.integers(at, at + 2)) :]


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes in several reads."""
    if draw(st.booleans()):
        size = draw(st.integers(1, 3))
        return [data[at : at + size] for at in range(0, len(data), size)]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
