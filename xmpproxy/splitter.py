"""
From bytes to stanzas.

The rules, in one place:

- Input is XML as RFC 6120, section 11.1 restricts it: UTF-8; no document type, comment,
  processing instruction or entity beyond the predefined ones.
- A stanza is cut out of the input by the offsets expat reports; its bytes are not touched.
- Namespaces are resolved here, with expat's namespace mode off: a stanza with an unbound prefix
  is a fault of *that stanza* (a server may relay what a stranger wrote), never of the stream.
  So is a namespace name with a character that no URI has: expat, and with it most XMPP software,
  refuses one that contains the separator its caller chose.
- A prefix declared only in the stream header means nothing on another stream, so where a stanza
  uses one, its declaration is added to the stanza's start tag: the only bytes ever added.
- Caps hold while parsing: at no time is more than a stanza's limit and one read kept, and a tag
  that comes in crumbs is not scanned again and again without end (CVE-2023-52425).
- What came before an error is delivered; nothing after it is.
"""

from __future__ import annotations

import re
from codecs import utf_8_decode
from collections.abc import Mapping
from functools import lru_cache
from pyexpat import ExpatError, ParserCreate, errors
from xml.sax.saxutils import quoteattr

from twisted.words.protocols.jabber.error import StreamError

from xmpproxy import ns
from xmpproxy.expat import promptly
from xmpproxy.stanza import START_TAG, Stanza

_INVALID_TOKEN = errors.codes[errors.XML_ERROR_INVALID_TOKEN]
_UNDEFINED_ENTITY = errors.codes[errors.XML_ERROR_UNDEFINED_ENTITY]
_WHITE_SPACE = b" \t\r\n"
#: The longest stream header, in bytes. What it declares may be added to every stanza.
_HEADER_BYTES = 4096
#: How many times the bytes of its limit may be scanned in search of the end of one tag: enough
#: for a tag as long as a stanza may be by default that comes in reads of 1 KiB.
_SCANS = 128
#: What no declaration may bind but that of its own prefix (Namespaces in XML 1.0, section 3).
_RESERVED = frozenset((ns.XML, ns.XMLNS))
#: ASCII that is in no URI (RFC 3986), and what would have to be escaped: not everybody does.
_NOT_IN_URI = re.compile(r"[\x00-\x20\x7f\"&'<>\\^`{|}]")

#: Attributes that need no second look: nearly all there are.
_COMMON = frozenset({"xmlns", "from", "to", "type", "id", "xml:lang"})
#: The longest namespace name, in characters, that is worth remembering.
_WORTH_REMEMBERING = 100


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

    def __init__(
        self, stanzaBytes: int = 262144, depth: int = 200, *, lenient: bool = False
    ) -> None:
        """
        @param stanzaBytes: the largest first-level element, in bytes.
        @param depth: the deepest nesting, the stream's own element counted.
        @param lenient: whether deeper nesting is a fault of the stanza only: the peer passes on
            what a stranger wrote.
        """
        self.header: StreamHeader | None = None
        self.ended = False
        self.error: StreamError | None = None
        self._stanzaBytes = stanzaBytes
        self._maxDepth = depth
        self._lenient = lenient
        self._depth = 0
        self._kept = b""  # what was fed and may still be needed ...
        self._keptFrom = 0  # ... and the offset in the stream of its first byte
        self._last = 0  # offset of the end of the last complete first-level element
        self._token = 0  # offset of what expat has not found the end of yet ...
        self._scanned = 0  # ... and how many bytes it has looked at in search of it
        self._done: list[Stanza] = []

        # Namespaces in scope
        self._default = ""  # the default one, down to the first-level element
        self._prefixes: dict[str, str | None] = {"xml": ns.XML}
        self._outer: list[tuple[int, dict[str, str | None]]] = []  # what was hidden at which depth

        # of the stream's own element
        self._rootTag = ""
        self._rootDefault = ""
        self._rootPrefixes: dict[str, str] = {}

        # of the first-level element that is being read
        self._begin = 0  # offset of its start tag
        self._name = self._namespace = ""
        self._attributes: dict[str, str] = {}
        self._children: list[tuple[str, str]] = []
        self._borrowed: set[str] = set()  # prefixes that only the header declares
        self._fault: str | None = None

        parser = self._parser = ParserCreate("UTF-8")
        # What expat's own deferral would protect from, _scan does.
        self._parse = promptly(parser)
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
        self._kept += data
        done = self._done
        try:
            self._parse(data)
            self._forget()
        except ExpatError as e:
            if not self.ended:
                self.error = self._translated(e)
        except StreamError as e:
            if not self.ended:
                self.error = e
        self._done = []
        return done

    def close(self) -> None:
        """Give the parser back. It holds this object and the other way round."""
        self.ended = True
        self._kept = b""
        parser = self._parser
        parser.StartElementHandler = parser.EndElementHandler = parser.XmlDeclHandler = None
        parser.StartDoctypeDeclHandler = parser.CommentHandler = None
        parser.ProcessingInstructionHandler = None

    def _translated(self, error: ExpatError) -> StreamError:
        """What RFC 6120, section 4.9.3 calls an error of expat's."""
        condition = "not-well-formed"
        if error.code == _UNDEFINED_ENTITY:
            condition = "restricted-xml"
        elif error.code == _INVALID_TOKEN:
            at = self._parser.ErrorByteIndex - self._keptFrom
            try:
                utf_8_decode(self._kept[at : at + 4])
            except UnicodeDecodeError as e:
                if e.start == 0:
                    return _notUTF8()
        return StreamError(condition, text=errors.messages.get(error.code))

    def _forget(self) -> None:
        """Drop the bytes that no element needs any more; refuse an element that is too long."""
        kept = self._kept
        fed = self._keptFrom + len(kept)
        if self._depth > 1:
            needed = self._begin
        else:
            if self._depth == 1 and self._last != fed:
                tail = kept[self._last - self._keptFrom :].lstrip(_WHITE_SPACE)
                if tail and not tail.startswith(b"<"):
                    raise _badFormat("text between stanzas")
                self._last = fed - len(tail)
            needed = self._last
        if needed == fed:
            self._kept = b""
        else:
            limit = self._stanzaBytes if self._depth else _HEADER_BYTES
            self._limit(fed - needed, limit)
            self._scan(fed, limit)
            self._kept = kept[needed - self._keptFrom :]
        self._keptFrom = needed

    def _limit(self, length: int, limit: int) -> None:
        if length > limit:
            raise _violation(f"only {limit} bytes are allowed here")

    def _scan(self, fed: int, limit: int) -> None:
        """Count what expat looks at in vain: it does so again with each read."""
        token = self._parser.CurrentByteIndex
        if token != self._token:
            self._token = token
            self._scanned = 0
        self._scanned += fed - token
        if self._scanned > _SCANS * limit:
            raise _violation("a tag comes in too many pieces")

    # Handlers of expat. What they raise comes out of Parse.

    def _startElement(self, tag: str, attributes: dict[str, str]) -> None:
        depth = self._depth
        if depth >= self._maxDepth:
            self._tooDeep()
        self._depth = depth + 1
        namespace = self._default
        name = tag
        if attributes:
            if "xmlns" in attributes:
                namespace = attributes["xmlns"]
                self._checkDeclaration("xmlns", namespace)
                if depth < 2:
                    # Deeper ones concern no name that we look at but the element's own.
                    self._default = namespace
            if not _COMMON.issuperset(attributes) and ":" in "".join(attributes):
                self._declare(depth, attributes)
        if ":" in tag:
            namespace, name = self._resolve(tag)
        if depth == 2:
            self._children.append((namespace, name))
        elif depth == 1:
            begin = self._begin = self._parser.CurrentByteIndex
            if begin != self._last:
                self._checkGap(begin)
            if tag == self._rootTag:
                raise _badFormat("a stream inside of a stream")
            self._name = name
            self._namespace = namespace
            self._attributes = attributes
            self._children = []
        elif depth == 0:
            self._beginStream(tag, StreamHeader(name, namespace, self._default, attributes))

    def _endElement(self, tag: str) -> None:
        depth = self._depth = self._depth - 1
        if self._outer and self._outer[-1][0] == depth:
            self._prefixes.update(self._outer.pop()[1])
        if depth == 1:
            self._endStanza(tag)
        elif depth == 0:
            self._checkGap(self._parser.CurrentByteIndex)
            self.ended = True

    def _tooDeep(self) -> None:
        reason = f"elements may be nested {self._maxDepth} deep at most"
        if not self._lenient:
            raise _violation(reason)
        self._blame(reason)

    def _beginStream(self, tag: str, header: StreamHeader) -> None:
        start = START_TAG.match(self._kept, self._parser.CurrentByteIndex)
        if start is None or start[1] != tag.encode():
            # Expat takes UTF-16 for what it is, whatever it was told.
            raise _notUTF8()
        self._last = start.end()
        self._limit(self._last, _HEADER_BYTES)
        if self._fault is not None:
            raise StreamError("not-well-formed", text=self._fault)
        self.header = header
        self._rootTag = tag
        self._rootDefault = self._default
        self._rootPrefixes = {
            prefix: uri
            for prefix, uri in self._prefixes.items()
            if uri is not None and prefix != "xml" and (prefix, uri) != ("stream", ns.STREAMS)
        }

    def _checkGap(self, end: int) -> None:
        """There may be white space only between first-level elements."""
        if self._kept[self._last - self._keptFrom : end - self._keptFrom].strip(_WHITE_SPACE):
            raise _badFormat("text between stanzas")

    def _endStanza(self, tag: str) -> None:
        kept = self._kept
        begin = self._begin - self._keptFrom
        # Expat reports the start of an end tag, but for <tag/> the place behind it.
        end = self._parser.CurrentByteIndex - self._keptFrom
        if self._children or not _isEmptyElement(kept, begin, end):
            end = kept.index(b">", end) + 1
        self._last = self._keptFrom + end
        self._limit(end - begin, self._stanzaBytes)
        data = kept[begin:end]
        if self._rootDefault != ns.CLIENT:
            self._borrowed.add("")
        if self._borrowed:
            data = self._lend(data, tag)
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
        self._default = self._rootDefault
        self._fault = None

    def _lend(self, data: bytes, tag: str) -> bytes:
        """Add the header's declarations of what the first-level element uses to its start tag."""
        declarations = ""
        for prefix in sorted(self._borrowed):
            name = f"xmlns:{prefix}" if prefix else "xmlns"
            if name not in self._attributes:
                uri = self._rootPrefixes[prefix] if prefix else self._rootDefault
                declarations += f" {name}={quoteattr(uri)}"
                self._attributes[name] = uri
        self._borrowed.clear()
        position = 1 + len(tag.encode())
        return data[:position] + declarations.encode() + data[position:]

    # Namespaces in XML 1.0

    def _blame(self, reason: str) -> None:
        if self._fault is None:
            self._fault = reason

    def _declare(self, depth: int, attributes: dict[str, str]) -> None:
        """Enter the prefixes that an element declares, then check its prefixed attributes."""
        prefixes = self._prefixes
        hidden: dict[str, str | None] = {}
        prefixed: list[str] = []
        for name, value in attributes.items():
            if name.startswith("xmlns:"):
                self._checkDeclaration(name, value)
                prefix = name[6:]
                hidden[prefix] = prefixes.get(prefix)
                prefixes[prefix] = value
            elif ":" in name:
                prefixed.append(name)
        if hidden:
            self._outer.append((depth, hidden))
        if prefixed and len({self._resolve(name) for name in prefixed}) < len(prefixed):
            self._blame("an attribute is there twice")

    def _checkDeclaration(self, name: str, uri: str) -> None:
        short = len(uri) <= _WORTH_REMEMBERING
        objection = _objection(name, uri) if short else _objection.__wrapped__(name, uri)
        if objection is not None:
            self._blame(objection)

    def _resolve(self, qname: str) -> tuple[str, str]:
        """Namespace and local name of what has a prefix."""
        prefix, _, name = qname.partition(":")
        if not prefix or not _isNCName(name):
            self._blame(f"{qname!r} is no qualified name")
            return "", qname
        uri = self._prefixes.get(prefix)
        if uri is None:
            self._blame(f"the prefix {prefix!r} is not bound")
            return "", qname
        if self._rootPrefixes.get(prefix) == uri:
            self._borrowed.add(prefix)
        return uri, name

    # Restricted XML: RFC 6120, section 11.1 and 11.6

    def _xmlDeclaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "utf8"):
            raise _notUTF8()

    def _restricted(self, *details: object) -> None:
        raise StreamError(
            "restricted-xml", text="comments, processing instructions and DTDs are not allowed"
        )


@lru_cache  # the same few come all the time
def _objection(name: str, uri: str) -> str | None:
    """What is wrong with a declaration, if anything."""
    prefix = name[6:]
    reserved = uri != ns.XML if prefix == "xml" else uri in _RESERVED
    if reserved or prefix == "xmlns" or _NOT_IN_URI.search(uri):
        return f"{name} may not be {uri!r}"
    if name != "xmlns" and (not uri or not _isNCName(prefix)):
        return f"{name} declares nothing"
    return None


def _badFormat(text: str) -> StreamError:
    return StreamError("bad-format", text=text)


def _notUTF8() -> StreamError:
    return StreamError("unsupported-encoding", text="the encoding must be UTF-8")


def _violation(text: str) -> StreamError:
    return StreamError("policy-violation", text=text)


def _isEmptyElement(data: bytes, begin: int, end: int) -> bool:
    """Whether all from one place to the other is one C{<tag/>}."""
    tag = START_TAG.match(data, begin)
    return tag is not None and tag.end() == end and data.endswith(b"/>", begin, end)


def _isNCName(name: str) -> bool:
    """Whether what expat takes for a part of a name is a name without colon itself."""
    if not name or ":" in name:
        return False
    if name[0].isascii():
        return name[0] == "_" or name[0].isalpha()
    try:
        ParserCreate().Parse(f"<{name[0]}/>", True)
    except ExpatError:
        return False
    return True
