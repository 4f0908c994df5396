"""
From bytes to stanzas.

The rules, in one place:

- Input is XML as RFC 6120, section 11.1 restricts it: UTF-8; no document type, comment,
  processing instruction or entity beyond the predefined ones.
- A stanza is cut out of the input by the offsets expat reports; its bytes are not touched.
- Namespaces are resolved here, with expat's namespace mode off: a stanza with an unbound prefix
  is a fault of *that stanza* (a server may relay what a stranger wrote), never of the stream.
- A prefix declared only in the stream header means nothing on another stream, so where a stanza
  uses one, its declaration is added to the stanza's start tag: the only bytes ever added.
- Caps hold while parsing: at no time is more than a stanza's limit and one read kept.
- What came before an error is delivered; nothing after it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pyexpat import ExpatError, ParserCreate, errors
from xml.sax.saxutils import quoteattr

from twisted.words.protocols.jabber.error import StreamError

from xmpproxy import ns
from xmpproxy.stanza import Stanza

#: Errors of expat that stand for a breach of RFC 6120, section 11.1, not of XML itself.
_RESTRICTED = {errors.codes[errors.XML_ERROR_UNDEFINED_ENTITY]}
_WHITE_SPACE = b" \t\r\n"
#: What no declaration may bind but that of its own prefix (Namespaces in XML 1.0, section 3).
_RESERVED = frozenset((ns.XML, ns.XMLNS))


class StreamHeader:
    """
    The start tag of a stream (RFC 6120, section 4.7).

    @ivar name: local name of the element.
    @ivar namespace: its namespace.
    @ivar defaultNamespace: the default namespace it declares, the content namespace.
    @ivar attributes: its attributes by qualified name.
    """

    __slots__ = ("attributes", "defaultNamespace", "name", "namespace")

    def __init__(
        self, name: str, namespace: str, defaultNamespace: str, attributes: Mapping[str, str]
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.defaultNamespace = defaultNamespace
        self.attributes = attributes


class Splitter:
    """
    Cuts one XML stream into its first-level children.

    @ivar header: the stream's start tag, once it is there.
    @ivar ended: whether the stream was closed by its peer.
    @ivar error: why the stream cannot go on, or L{None}. After an error or the end, everything
        that is fed is ignored.
    """

    def __init__(self, stanzaBytes: int = 262144, depth: int = 200) -> None:
        """
        @param stanzaBytes: the largest first-level element, in bytes.
        @param depth: the deepest nesting, the stream's own element counted.
        """
        self.header: StreamHeader | None = None
        self.ended = False
        self.error: StreamError | None = None
        self._stanzaBytes = stanzaBytes
        self._maxDepth = depth
        self._depth = 0
        self._kept = bytearray()  # what was fed and may still be needed ...
        self._keptFrom = 0  # ... and the offset in the stream of its first byte
        self._last = 0  # offset of the end of the last complete first-level element
        self._begin = 0  # offset of the current one's start tag
        self._done: list[Stanza] = []
        self._scope: dict[str, str] = {"xml": ns.XML, "": ""}
        self._outer: list[tuple[int, dict[str, str]]] = []  # scopes left behind, by depth

        # of the stream's own element
        self._rootName = ""
        self._rootPrefixes: dict[str, str] = {}
        self._defaultNamespace = ""

        # of the first-level element that is being read
        self._name = self._namespace = ""
        self._attributes: dict[str, str] = {}
        self._children: list[tuple[str, str]] = []
        self._borrowed: set[str] = set()  # prefixes that only the header declares
        self._fault: str | None = None

        parser = self._parser = ParserCreate("UTF-8")
        if hasattr(parser, "SetReparseDeferralEnabled"):
            # Deferral would hold back a stanza whose start tag straddles two reads until more
            # bytes come, which may be never. Quadratic work is bounded by stanzaBytes.
            parser.SetReparseDeferralEnabled(False)
        parser.StartElementHandler = self._startElement
        parser.EndElementHandler = self._endElement
        parser.XmlDeclHandler = self._xmlDeclaration
        parser.StartDoctypeDeclHandler = self._restricted
        parser.CommentHandler = self._restricted
        parser.ProcessingInstructionHandler = self._restricted

    @property
    def pristine(self) -> bool:
        """Whether nothing has been fed yet."""
        return self._keptFrom == 0 and not self._kept

    def feed(self, data: bytes) -> list[Stanza]:
        """
        Take bytes from the peer.

        @return: the first-level elements that they complete. Look at C{header}, C{error} and
            C{ended} afterwards: they concern what comes behind these elements.
        """
        if self.ended or self.error is not None:
            return []
        if self._depth == 1 and not self._kept and not data.strip(_WHITE_SPACE):
            data = b" "  # a keep-alive, however long
        self._kept += data
        done = self._done
        try:
            self._parser.Parse(data)
            self._forget()
        except ExpatError as e:
            if not self.ended:
                restricted = e.code in _RESTRICTED
                condition = "restricted-xml" if restricted else "not-well-formed"
                self.error = StreamError(condition, text=errors.messages.get(e.code))
        except StreamError as e:
            self.error = e
        self._done = []
        return done

    def close(self) -> None:
        """Give the parser back. It holds this object and the other way round."""
        self.ended = True
        self._kept = bytearray()
        parser = self._parser
        parser.StartElementHandler = parser.EndElementHandler = parser.XmlDeclHandler = None
        parser.StartDoctypeDeclHandler = parser.CommentHandler = None
        parser.ProcessingInstructionHandler = None

    def _forget(self) -> None:
        """Drop the bytes that no element needs any more; refuse an element that is too long."""
        needed = self._begin if self._depth > 1 else self._last
        kept = self._kept
        fed = self._keptFrom + len(kept)
        if self._depth == 1:
            tail = kept[needed - self._keptFrom :].lstrip(_WHITE_SPACE)
            if tail and not tail.startswith(b"<"):
                raise StreamError("bad-format", text="text between stanzas")
            needed = fed - len(tail)
            self._last = needed
        if fed - needed > self._stanzaBytes:
            self._tooBig()
        if needed == fed:
            self._kept = bytearray()
        else:
            del kept[: needed - self._keptFrom]
        self._keptFrom = needed

    def _tooBig(self) -> None:
        raise StreamError(
            "policy-violation", text=f"a stanza may have {self._stanzaBytes} bytes at most"
        )

    # Handlers of expat. What they raise comes out of Parse.

    def _startElement(self, tag: str, attributes: dict[str, str]) -> None:
        depth = self._depth
        self._depth = depth + 1
        if depth > 1 and ":" not in tag and (not attributes or ":" not in "".join(attributes)):
            # Nearly all elements: no prefix in sight. A default namespace that is declared this
            # deep concerns nobody's name but the element's own and those we do not look at.
            namespace = attributes.get("xmlns")
            if depth == 2:
                self._children.append((self._scope[""] if namespace is None else namespace, tag))
            elif depth >= self._maxDepth:
                self._tooDeep()
            if namespace in _RESERVED:
                self._blame(f"xmlns may not be {namespace!r}")
            return
        if depth >= self._maxDepth:
            self._tooDeep()
        if depth == 1:
            self._beginStanza(tag, attributes)
        if attributes:
            names = "".join(attributes)
            if ":" in names or "xmlns" in names:
                self._declare(depth, attributes)
        if ":" in tag:
            namespace, name = self._resolve(tag)
        else:
            namespace, name = self._scope[""], tag
        if depth == 1:
            self._namespace, self._name = namespace, name
        elif depth == 2:
            self._children.append((namespace, name))
        elif depth == 0:
            self._beginStream(tag, StreamHeader(name, namespace, self._scope[""], attributes))

    def _tooDeep(self) -> None:
        raise StreamError(
            "policy-violation", text=f"elements may be nested {self._maxDepth} deep at most"
        )

    def _beginStream(self, tag: str, header: StreamHeader) -> None:
        if self._fault is not None:
            raise StreamError("not-well-formed", text=self._fault)
        self.header = header
        self._rootName = tag
        self._defaultNamespace = header.defaultNamespace
        self._rootPrefixes = {
            prefix: uri
            for prefix, uri in self._scope.items()
            if prefix and prefix != "xml" and (prefix, uri) != ("stream", ns.STREAMS)
        }
        self._last = self._keptFrom + self._tagEnd(self._parser.CurrentByteIndex)

    def _tagEnd(self, index: int) -> int:
        """Where in C{_kept} the start tag ends that begins at an offset of the stream."""
        kept = self._kept
        position = index - self._keptFrom
        quote = 0
        while True:
            byte = kept[position]
            position += 1
            if quote:
                if byte == quote:
                    quote = 0
            elif byte in b"\"'":
                quote = byte
            elif byte == 0x3E:  # >
                return position

    def _beginStanza(self, tag: str, attributes: dict[str, str]) -> None:
        begin = self._parser.CurrentByteIndex
        kept = self._kept
        if begin != self._last:
            gap = kept[self._last - self._keptFrom : begin - self._keptFrom]
            if gap.strip(_WHITE_SPACE):
                raise StreamError("bad-format", text="text between stanzas")
        if tag == self._rootName:
            raise StreamError("bad-format", text="a stream inside of a stream")
        self._begin = begin
        self._attributes = attributes
        self._children = []
        self._fault = None
        self._borrowed = set()
        if self._defaultNamespace != ns.CLIENT and "xmlns" not in attributes:
            self._borrowed.add("")

    def _endElement(self, tag: str) -> None:
        depth = self._depth = self._depth - 1
        if self._outer and self._outer[-1][0] == depth:
            self._scope = self._outer.pop()[1]
        if depth == 1:
            self._endStanza(tag)
        elif depth == 0:
            self.ended = True

    def _endStanza(self, tag: str) -> None:
        kept = self._kept
        base = self._keptFrom
        # expat reports the start of an end tag, but for <tag/> the place behind it. A first-level
        # element is never named like the stream's own, so the end tag seen is this element's.
        end = self._parser.CurrentByteIndex - base
        encoded = tag.encode()
        if kept.startswith(b"</" + encoded, end):
            end = kept.index(b">", end) + 1
        begin = self._begin - base
        if end - begin > self._stanzaBytes:
            self._tooBig()
        self._last = base + end
        data = bytes(kept[begin:end])
        borrowed = self._borrowed
        if borrowed:
            data = self._lend(data, len(encoded) + 1, borrowed)
        self._done.append(
            Stanza(
                data,
                self._name,
                self._namespace,
                self._attributes,
                tuple(self._children),
                self._fault,
            )
        )

    def _lend(self, data: bytes, position: int, prefixes: set[str]) -> bytes:
        """Add the header's declarations of these prefixes to the start tag."""
        declarations = ""
        for prefix in sorted(prefixes):
            name = f"xmlns:{prefix}" if prefix else "xmlns"
            if name not in self._attributes:
                uri = self._rootPrefixes[prefix] if prefix else self._defaultNamespace
                declarations += f" {name}={quoteattr(uri)}"
                self._attributes[name] = uri
        return data[:position] + declarations.encode() + data[position:]

    # Namespaces in XML 1.0

    def _blame(self, reason: str) -> None:
        if self._fault is None:
            self._fault = reason

    def _declare(self, depth: int, attributes: dict[str, str]) -> None:
        """Enter an element's declarations into the scope, then check its prefixed attributes."""
        scope: dict[str, str] | None = None
        prefixed: list[str] = []
        for name, value in attributes.items():
            if name == "xmlns":
                prefix = ""
            elif name.startswith("xmlns:"):
                prefix = name[6:]
                if not value or not prefix or ":" in prefix:
                    self._blame(f"{name} declares nothing")
            else:
                if ":" in name:
                    prefixed.append(name)
                continue
            if prefix == "xmlns" or (value in _RESERVED) != (prefix == "xml"):
                self._blame(f"{name} may not be {value!r}")
                continue
            if scope is None:
                scope = dict(self._scope)
            scope[prefix] = value
        if scope is not None:
            self._outer.append((depth, self._scope))
            self._scope = scope
        if prefixed:
            resolved = {self._resolve(name) for name in prefixed}
            if len(resolved) < len(prefixed):
                self._blame("an attribute is there twice")

    def _resolve(self, qname: str) -> tuple[str, str]:
        """Namespace and local name of what has a prefix."""
        prefix, _, name = qname.rpartition(":")
        if not prefix or not name or ":" in prefix:
            self._blame(f"{qname!r} is no qualified name")
            return "", qname
        uri = self._scope.get(prefix)
        if uri is None:
            self._blame(f"the prefix {prefix!r} is not bound")
            return "", name
        if self._depth > 1 and prefix in self._rootPrefixes:
            self._borrowed.add(prefix)
        return uri, name

    # Restricted XML: RFC 6120, section 11.1 and 11.6

    def _xmlDeclaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "utf8"):
            raise StreamError("unsupported-encoding", text="the encoding must be UTF-8")

    def _restricted(self, *details: object) -> None:
        raise StreamError(
            "restricted-xml", text="comments, processing instructions and DTDs are not allowed"
        )
