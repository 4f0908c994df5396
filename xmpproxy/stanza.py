"""
A stanza is its bytes.

What arrives is kept exactly as it came; a stanza that nobody changes leaves as those very bytes.
Whoever needs more asks: `Stanza.element` parses once, on demand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pyexpat import ExpatError, ParserCreate
from xml.sax.saxutils import escape

from twisted.words.xish import domish

from xmpproxy import ns
from xmpproxy.shown import shown

#: A start tag of well-formed XML: its qualified name, and all up to `>` with quoted `>` skipped.
START_TAG = re.compile(rb"<([^\s/>]+)[^>\"']*(?:(?:\"[^\"]*\"|'[^']*')[^>\"']*)*>")

#: A tag or a CDATA section. Nothing else in a stanza begins with `<`.
_MARKUP = re.compile(
    rb"<!\[CDATA\[.*?\]\]>|<[^>\"']*(?:(?:\"[^\"]*\"|'[^']*')[^>\"']*)*>", re.DOTALL
)

#: The declaration of a default namespace.
_NAMESPACE = re.compile(rb"\sxmlns=(?:\"[^\"]*\"|'[^']*')")

#: How many children the log shows.
_MOST_SHOWN = 10
#: How many characters of a name an error has.
_LONGEST = 60


def shortened(name: str) -> str:
    """A name, or what stands for one, as it is put into errors: peers write them."""
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."


class Stanza:
    """
    A first-level child of a stream: a stanza (RFC 6120, section 8) or another element such as
    `<auth/>`.

    @ivar data: the bytes, self-contained: any prefix they use beyond `stream` and `xml` is
        declared in them, and where no default namespace is declared it is C{jabber:client}. None
        if it has a fault.
    @ivar name: the local name, such as C{"message"}.
    @ivar namespace: the namespace of the element, C{""} for none.
    @ivar attributes: the attributes of the start tag by qualified name, namespace declarations
        among them.
    @ivar children: namespace and local name of each direct child element, in order.
    @ivar fault: why the stanza is not namespace-well-formed, or which limit it exceeds, or
        L{None}. Such a stanza has no meaning that two parsers agree on; it is never passed on.
    """

    __slots__ = ("_element", "attributes", "children", "data", "fault", "name", "namespace")

    def __init__(
        self,
        data: bytes,
        name: str,
        namespace: str,
        attributes: Mapping[str, str],
        children: tuple[tuple[str, str], ...],
        fault: str | None = None,
    ) -> None:
        self.data = data
        self.name = name
        self.namespace = namespace
        self.attributes = attributes
        self.children = children
        self.fault = fault
        self._element: domish.Element | None = None

    def __repr__(self) -> str:
        """Kind and children only: what people say to each other stays out of logs."""
        names = [shown(name) for _, name in self.children[:_MOST_SHOWN]]
        if len(self.children) > _MOST_SHOWN:
            names.append("...")
        kind = "None" if self.type is None else f"'{shown(self.type)}'"
        return f"<{shown(self.name)} type={kind} [{', '.join(names)}]>"

    @property
    def type(self) -> str | None:
        """The C{type} attribute."""
        return self.attributes.get("type")

    @property
    def id(self) -> str | None:
        """The C{id} attribute."""
        return self.attributes.get("id")

    def has(self, namespace: str, name: str) -> bool:
        """Whether there is a direct child element of that name."""
        return (namespace, name) in self.children

    @property
    def startTagLength(self) -> int:
        """How many bytes the start tag has."""
        return _startTag(self.data).end()

    @property
    def element(self) -> domish.Element:
        """The stanza as a tree, parsed at the first call. Treat it as read-only."""
        if self._element is None:
            self._element = parse(self.data)
        return self._element

    @classmethod
    def fromElement(cls, element: domish.Element) -> Stanza:
        """A stanza with the content of a tree."""
        data = serialize(element)
        return cls(
            data,
            element.name,
            element.uri or "",
            _attributes(data),
            tuple((child.uri or "", child.name) for child in element.elements()),
        )

    @classmethod
    def fromDocument(cls, data: bytes) -> Stanza | None:
        """
        A stanza that was cut out of another, less the declaration of its namespace.

        @param data: well-formed. All prefixes but `stream` and `xml` are declared in it.
        @return: L{None} if it is not exactly one element that declares the namespace of stanzas as
            the default one, or if its name or that of one of its children has a prefix. What it
            is takes a closer look then.
        """
        if not (data.startswith(b"<") and data.endswith(b">")):
            return None  # expat ignores white space around a document, and a byte order mark
        stanza = cls.fromBytes(data)
        if stanza is None or stanza.attributes.get("xmlns") != ns.CLIENT:
            return None
        attributes = {**stanza.attributes}
        del attributes["xmlns"]
        stanza.attributes = attributes
        stanza.data = _withoutNamespace(data, attributes)
        return stanza

    @classmethod
    def fromBytes(cls, data: bytes) -> Stanza | None:
        """
        A stanza of which nothing is left but its bytes.

        @param data: as in L{Stanza.data}, or several such stanzas.
        @return: L{None} if it is not exactly one element, or if its name or that of one of its
            children has a prefix. What it is takes a closer look then.
        """
        try:
            (name, attributes), *inside = _startTags(data)
        except ExpatError:
            return None
        namespace = attributes.get("xmlns", ns.CLIENT)
        children = []
        for child, given in inside:
            if ":" in child:
                return None
            children.append((given.get("xmlns", namespace), child))
        if ":" in name:
            return None
        return cls(data, name, namespace, attributes, tuple(children))

    def withAttributes(self, changes: Mapping[str, str | None]) -> bytes:
        """
        The bytes of this stanza with some attributes of its start tag set, or removed where the
        value is L{None}. Everything behind the start tag stays as it is.
        """
        tag = _startTag(self.data)
        attributes = {**self.attributes, **changes}
        written = "".join(
            f" {name}={quoted(value)}" for name, value in attributes.items() if value is not None
        )
        end = b"/>" if tag[0].endswith(b"/>") else b">"
        return b"<" + tag[1] + written.encode() + end + self.data[tag.end() :]

    def standalone(self, changes: Mapping[str, str | None]) -> bytes:
        """The same, for use inside of another element: declares its own default namespace."""
        return self.withAttributes({"xmlns": self.attributes.get("xmlns", ns.CLIENT), **changes})

    def without(self, unwanted: frozenset[tuple[str, str]]) -> Stanza:
        """
        This stanza less some of its direct child elements; itself if it has none of them.

        @param unwanted: namespaces and local names.
        """
        if unwanted.isdisjoint(self.children):
            return self
        data = b""
        end = 0
        for child, (begin, behind) in zip(self.children, spans(self.data), strict=True):
            if child in unwanted:
                data += self.data[end:begin]
                end = behind
        children = tuple(child for child in self.children if child not in unwanted)
        data += self.data[end:]
        return Stanza(data, self.name, self.namespace, self.attributes, children, self.fault)

    def withEmpty(self, namespace: str, name: str) -> Stanza:
        """This stanza, which has children already, with an empty element behind them."""
        end = self.data.rindex(b"</")
        data = self.data[:end] + f"<{name} xmlns='{namespace}'/>".encode() + self.data[end:]
        children = (*self.children, (namespace, name))
        return Stanza(data, self.name, self.namespace, self.attributes, children, self.fault)

    def text(self, namespace: str, name: str) -> bytes | None:
        """
        The text of the first direct child element of that name, as XML has it: escaped. L{None}
        if there is no such element.
        """
        data = self.data
        for child, (begin, end) in zip(self.children, spans(data), strict=True):
            if child == (namespace, name):
                behind = _startTag(data, begin).end()
                text = data[behind : data.rindex(b"</", behind, end)] if behind < end else b""
                if b"<" in text:  # a CDATA section, or elements where none belong
                    found = str(next(self.element.elements(namespace, name)))
                    text = escape(found, {"\r": "&#13;"}).encode()
                return text
        return None


#: The quote, and white space that attribute-value normalisation (XML 1.0, 3.3.3) would lose.
_ATTRIBUTE_ENTITIES = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;", '"': "&quot;"}
_SPECIAL = re.compile('[&<>"\n\r\t]')


def quoted(value: str) -> str:
    """An attribute's value as XML has it, in double quotes."""
    if _SPECIAL.search(value) is None:
        return f'"{value}"'
    return f'"{escape(value, _ATTRIBUTE_ENTITIES)}"'


def _startTag(data: bytes, begin: int = 0) -> re.Match[bytes]:
    tag = START_TAG.match(data, begin)
    assert tag is not None, "an element begins with a start tag"
    return tag


def _attributes(data: bytes) -> dict[str, str]:
    """The attributes of the start tag by qualified name, namespace declarations among them."""
    found: list[dict[str, str]] = []
    parser = ParserCreate("UTF-8")
    parser.StartElementHandler = lambda _, attributes: found.append(attributes)
    parser.Parse(_startTag(data)[0])
    return found[0]


def _startTags(data: bytes) -> list[tuple[str, dict[str, str]]]:
    """
    Name and attributes of an element and of each of its children, all as they are written.

    @raise ExpatError: it is not exactly one element.
    """
    found: list[tuple[str, dict[str, str]]] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        if depth < 2:
            found.append((name, attributes))
        depth += 1

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = ParserCreate("UTF-8")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.Parse(data, True)
    return found


def _withoutNamespace(data: bytes, attributes: Mapping[str, str]) -> bytes:
    """
    An element less the declaration of its default namespace.

    @param attributes: all others that it has.
    """
    tag = _startTag(data)
    declaration = _NAMESPACE.search(tag[0])
    if declaration is not None and tag[0].count(b"xmlns") == 1:  # so it is no part of a value
        return data[: declaration.start()] + data[declaration.end() :]
    return Stanza(data, "", "", attributes, ()).withAttributes({})


def spans(data: bytes, level: int = 1) -> Iterator[tuple[int, int]]:
    """
    Where elements begin and end.

    @param data: well-formed.
    @param level: 1 for the child elements of a stanza, 0 for stanzas, one behind the other.
    """
    depth = begin = 0
    for markup in _MARKUP.finditer(data):
        tag = markup[0]
        if tag.startswith(b"<!"):
            continue
        if tag.startswith(b"</"):
            depth -= 1
        else:
            if depth == level:
                begin = markup.start()
            if not tag.endswith(b"/>"):
                depth += 1
                continue
        if depth == level:
            yield begin, markup.end()


def parse(data: bytes) -> domish.Element:
    """
    The tree of one stanza.

    @param data: a whole, well-formed stanza, as in L{Stanza.data}.
    """
    found: list[domish.Element] = []
    stream = domish.elementStream()
    stream.DocumentStartEvent = lambda root: None
    stream.DocumentEndEvent = lambda: None
    stream.ElementEvent = found.append
    head = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}'>"
    stream.parse(head.encode() + data + b"</stream:stream>")
    return found[0]


def serialize(element: domish.Element) -> bytes:
    """
    The bytes of a tree that is to be a first-level child of a stream.

    Not by domish's own serialiser: that one takes a prefix for another's namespace where the same
    prefix is declared twice, and does not escape what comes from outside everywhere.
    """
    parts: list[str] = []
    _write(element, ns.CLIENT, parts)
    return "".join(parts).encode()


def _write(node: domish.Element | str, default: str, parts: list[str]) -> None:
    """
    Add a node as XML. Elements get no prefix, but for what belongs to the stream itself.

    @param default: the default namespace in scope.
    """
    if isinstance(node, domish.SerializedXML):
        parts.append(node)
    elif isinstance(node, str):
        parts.append(escape(node, {"\r": "&#13;"}))
    else:
        uri = default if node.uri is None else node.uri
        name = f"stream:{node.name}" if uri == ns.STREAMS else node.name
        parts.append(f"<{name}")
        if uri not in (default, ns.STREAMS):
            default = uri
            parts.append(f" xmlns={quoted(uri)}")
        for number, (key, value) in enumerate(node.attributes.items()):
            if isinstance(key, str):
                parts.append(f" {key}={quoted(value)}")
            elif key[0] == ns.XML:
                parts.append(f" xml:{key[1]}={quoted(value)}")
            else:
                parts.append(
                    f" xmlns:a{number}={quoted(key[0])} a{number}:{key[1]}={quoted(value)}"
                )
        if node.children:
            parts.append(">")
            for child in node.children:
                _write(child, default, parts)
            parts.append(f"</{name}>")
        else:
            parts.append("/>")
