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
  that comes in crumbs is not scanned again and again without end (CVE-2023-52425). What exceeds one
  is refused; where the peer relays what strangers wrote it is the stanza's fault, too, unless it is
  one tag that is too long: no parser gets behind that.
- Between stanzas a splitter has no parser; it takes one when something comes, see
  L{xmpproxy.parsers}. What it must know of the stream header it keeps itself, in common with all
  streams whose headers declare the same; of the last stanza it keeps nothing.
- What came before an error is delivered; nothing after it is.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, utf_8_decode
from collections.abc import Mapping
from functools import lru_cache
from pyexpat import ExpatError, ParserCreate, errors
from xml.sax.saxutils import quoteattr

from twisted.words.protocols.jabber.error import StreamError

from xmpproxy import ns
from xmpproxy.parsers import PARSERS, WORN, Parser, Parsers
from xmpproxy.stanza import START_TAG, Stanza, shortened

_INVALID_TOKEN = errors.codes[errors.XML_ERROR_INVALID_TOKEN]
_UNDEFINED_ENTITY = errors.codes[errors.XML_ERROR_UNDEFINED_ENTITY]
_WHITE_SPACE = b" \t\r\n"
#: The longest stream header, in bytes. What it declares may be added to every stanza.
_HEADER_BYTES = 4096
#: How many times the bytes of its limit may be scanned in search of the end of one tag: enough
#: for a tag as long as a stanza may be by default that comes in reads of 1 KiB.
_SCANS = 128
#: How deep stanzas that are passed over whole may be, the stream's own element counted.
SKIPPED_DEPTH = 6
#: And how many attributes each of their elements may have.
SKIPPED_ATTRIBUTES = 16
#: An element that declares a namespace has more bytes than this.
DECLARING_BYTES = 12
#: What no declaration may bind but that of its own prefix (Namespaces in XML 1.0, section 3).
_RESERVED = frozenset((ns.XML, ns.XMLNS))
#: ASCII that is in no URI (RFC 3986), and what would have to be escaped: not everybody does.
_NOT_IN_URI = re.compile(r"[\x00-\x20\x7f\"&'<>\\^`{|}]")

_NONE: frozenset[str] = frozenset()
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


class _Root:
    """
    What a splitter knows of a stream's own element as long as the stream lasts. Streams that
    declare the same share one: it is never changed.

    @ivar header: its start tag, without the attributes.
    @ivar tag: its name as it is written, C{""} before it is there.
    @ivar default: the default namespace in it.
    @ivar scope: all prefixes in it, with their namespaces.
    @ivar declared: those that mean nothing on another stream.
    @ivar skips: whether what has no prefix is what it looks like, for the stream is one of
        C{jabber:client}.
    """

    __slots__ = ("declared", "default", "header", "scope", "skips", "tag")

    def __init__(self, header: StreamHeader, tag: str, scope: dict[str, str | None]) -> None:
        self.header = header
        self.tag = tag
        self.default = header.defaultNamespace
        self.scope = scope
        self.declared = {
            prefix: uri
            for prefix, uri in scope.items()
            if uri is not None and prefix != "xml" and (prefix, uri) != ("stream", ns.STREAMS)
        }
        self.skips = self.default == ns.CLIENT and ":" in tag


_NO_ROOT = _Root(StreamHeader("", "", "", {}), "", {"xml": ns.XML})

#: What a splitter holds of what it has nothing of: an empty list of its own for each takes more
#: than all that it knows. Nothing may be put into these.
_NO_STANZAS: list[Stanza] = []
_NO_CHILDREN: list[tuple[str, str]] = []
_NO_ATTRIBUTES: dict[str, str] = {}
_NONE_HIDDEN: list[tuple[int, dict[str, str | None]]] = []


class Splitter:
    """
    Cuts one XML stream into its first-level children.

    @ivar header: the stream's start tag, once it is there.
    @ivar ended: whether the stream was closed by its peer.
    @ivar error: why the stream cannot go on, or L{None}. After an error or the end, everything
        that is fed is ignored.
    @ivar stanzaBytes: the largest first-level element, in bytes.
    @ivar attributes: the most attributes of one element, declarations of namespaces among them. The
        six that are in nearly all stanzas may always be there.
    @ivar namespaces: the most namespaces that a first-level element and all in it declare.
    """

    __slots__ = (
        "__weakref__",
        "_attributes",
        "_begin",
        "_borrowed",
        "_children",
        "_default",
        "_depth",
        "_done",
        "_expat",
        "_fault",
        "_kept",
        "_keptFrom",
        "_key",
        "_last",
        "_lenient",
        "_long",
        "_maxDepth",
        "_name",
        "_namespace",
        "_outer",
        "_parser",
        "_parsers",
        "_prefixes",
        "_root",
        "_scanned",
        "_short",
        "_token",
        "attributes",
        "ended",
        "error",
        "header",
        "namespaces",
        "stanzaBytes",
    )

    def __init__(
        self,
        stanzaBytes: int = 262144,
        depth: int = 200,
        attributes: int = 256,
        namespaces: int = 8192,
        *,
        key: str = "stanza-bytes",
        lenient: bool = False,
        parsers: Parsers = PARSERS,
    ) -> None:
        """
        @param stanzaBytes: the largest first-level element, in bytes.
        @param depth: the deepest nesting, the stream's own element counted.
        @param attributes: the most attributes of one element.
        @param namespaces: the most namespaces that a first-level element declares.
        @param key: what to call C{stanzaBytes} when it is exceeded.
        @param lenient: whether what exceeds them is a fault of the stanza only: the peer passes on
            what a stranger wrote.
        @param parsers: where to get a parser from.
        """
        self.header: StreamHeader | None = None
        self.ended = False
        self.error: StreamError | None = None
        self.attributes = attributes
        self.namespaces = namespaces
        self.allow(stanzaBytes)
        self._key = key
        self._maxDepth = depth
        self._lenient = lenient
        self._depth = 0
        # Offsets are those of the parser: what it read for others counts.
        self._kept = b""  # what was fed and may still be needed ...
        self._keptFrom = 0  # ... and the offset of its first byte
        self._last = 0  # offset of the end of the last complete first-level element
        self._token = 0  # offset of what expat has not found the end of yet ...
        self._scanned = 0  # ... and how many bytes it has looked at in search of it
        self._done = _NO_STANZAS

        # Namespaces in scope
        self._root = _NO_ROOT
        self._default = ""  # the default one, down to the first-level element
        self._prefixes = _NO_ROOT.scope  # a copy where something is declared
        self._outer = _NONE_HIDDEN  # what was hidden at which depth

        # of the first-level element that is being read
        self._begin = 0  # offset of its start tag
        self._name = self._namespace = ""
        self._attributes = _NO_ATTRIBUTES
        self._children = _NO_CHILDREN
        self._borrowed = _NONE  # prefixes that only the header declares
        self._long = False  # whether its begin is dropped: it is too long
        self._fault: str | None = None

        self._parsers = parsers
        self._parser: Parser | None = Parser()  # L{None} between stanzas
        self._parser.expat.XmlDeclHandler = _xmlDeclaration
        self._listen(self._parser)

    def _listen(self, parser: Parser) -> None:
        expat = self._expat = parser.expat
        expat.StartElementHandler = self._startElement
        expat.EndElementHandler = self._endElement

    @property
    def pristine(self) -> bool:
        """Whether nothing has been fed yet."""
        return self.header is None and not self._kept

    @property
    def skips(self) -> bool:
        """
        Whether L{skip} may be called: this is between stanzas, and what has no prefix is what it
        looks like.
        """
        return (
            self._parser is None
            and self.error is None
            and not self.ended
            and self._root.skips
            and self._maxDepth >= SKIPPED_DEPTH
            and self.attributes >= SKIPPED_ATTRIBUTES
        )

    def skip(self, data: bytes) -> bool:
        """
        Pass over whole stanzas, one directly behind the other, that nobody wants to see.

        @param data: stanzas that are without fault if they are well-formed: of C{jabber:client},
            not too long, nested L{SKIPPED_DEPTH} deep at most, with no more than
            L{SKIPPED_ATTRIBUTES} for each element and C{namespaces} in each stanza, without any
            prefix but C{xml:lang}.
        @return: whether they are well-formed. If not, nothing has happened; feed them.
        """
        parser = self._parsers.take(self._root.tag)
        try:
            parser.feed(data)
        except (ExpatError, StreamError):
            return False
        if not parser.whole:
            return False
        self._parsers.give(parser)
        return True

    def feed(self, data: bytes) -> list[Stanza]:
        """
        Take bytes from the peer.

        @return: the first-level elements that they complete. Look at C{header}, C{error} and
            C{ended} afterwards: they concern what comes behind these elements.
        """
        if self.ended or self.error is not None:
            return []
        parser = self._parser or self._takeParser()
        self._kept += data
        done = self._done = []
        try:
            parser.feed(data)
            self._forget(parser)
        except ExpatError as e:
            if not self.ended:
                self.error = self._translated(e, parser)
        except StreamError as e:
            if not self.ended:
                self.error = e
        self._done = _NO_STANZAS
        if self.ended or self.error is not None:
            self._dropParser()
        elif self._depth == 1:
            if not self._kept and parser.whole:
                self._parser = None
                del self._expat
                self._name = self._namespace = ""
                self._attributes = _NO_ATTRIBUTES
                self._children = _NO_CHILDREN
                self._begin = self._keptFrom = self._last = self._token = 0
                self._parsers.give(parser)
            elif parser.fed - len(self._kept) > WORN:
                self._renew()
        return done

    def allow(self, stanzaBytes: int) -> None:
        """
        Take larger stanzas from now on: the peer has logged in.

        @param stanzaBytes: the largest first-level element, in bytes.
        """
        self.stanzaBytes = stanzaBytes
        self._short = min(stanzaBytes, DECLARING_BYTES * self.namespaces)  # no room for too many
        self._key = "stanza-bytes"

    def forgetHeader(self) -> None:
        """Keep no attributes in C{header}, now that somebody has seen them."""
        self.header = self._root.header

    def close(self) -> None:
        """Read nothing more."""
        self.ended = True
        self._kept = b""
        self._dropParser()

    def _takeParser(self) -> Parser:
        parser = self._parser = self._parsers.take(self._root.tag)
        self._keptFrom = self._last = self._token = parser.fed
        self._scanned = 0
        self._listen(parser)
        return parser

    def _renew(self) -> None:
        """
        Go on with another parser, in the midst of the tag that follows the last stanza: reads that
        end so may be all that ever come.
        """
        scanned = self._scanned + len(self._kept)
        self._dropParser()
        self._takeParser().feed(self._kept)
        self._scanned = scanned

    def _dropParser(self) -> None:
        """Part with a parser that nobody can use any more."""
        if self._parser is not None:
            self._parser.release()
            self._parser = None
            del self._expat

    def _translated(self, error: ExpatError, parser: Parser) -> StreamError:
        """What RFC 6120, section 4.9.3 calls an error of expat's."""
        condition = "not-well-formed"
        if error.code == _UNDEFINED_ENTITY:
            condition = "restricted-xml"
        elif error.code == _INVALID_TOKEN:
            at = parser.expat.ErrorByteIndex - self._keptFrom
            try:
                utf_8_decode(self._kept[at : at + 4])
            except UnicodeDecodeError as e:
                if e.start == 0:
                    return _notUTF8()
        return StreamError(condition, text=errors.messages.get(error.code))

    def _forget(self, parser: Parser) -> None:
        """Drop the bytes that no element needs any more; refuse an element that is too long."""
        kept = self._kept
        fed = self._keptFrom + len(kept)
        if self._depth > 1:
            needed = self._begin
            if self._lenient and fed - needed > self.stanzaBytes:
                # Nobody will want it. What expat has not looked at yet may be its end.
                self._blame(self._tooLong())
                self._long = True
                needed = self._begin = max(parser.at, self._keptFrom)
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
            limit = _HEADER_BYTES
            if self._depth:
                limit = self.stanzaBytes
                if fed - needed > limit:
                    raise _violation(self._tooLong())
            else:
                _limitHeader(fed)
                if kept.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or (
                    b"\0" in kept and len(kept) > 1
                ):
                    # Expat waits for the rest of what it takes for UTF-16.
                    raise _notUTF8()
            self._scan(parser, fed, limit)
            self._kept = kept[needed - self._keptFrom :]
        self._keptFrom = needed

    def _tooLong(self) -> str:
        return f"a stanza has {self.stanzaBytes} bytes at most ({self._key})"

    def _scan(self, parser: Parser, fed: int, limit: int) -> None:
        """Count what expat looks at in vain: it does so again with each read."""
        token = parser.at
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
            self._exceeded(f"elements are nested {self._maxDepth} deep at most (depth)")
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
            if not _COMMON.issuperset(attributes):
                if len(attributes) > self.attributes and depth:
                    self._exceeded(
                        f"an element has {self.attributes} attributes at most (attributes)"
                    )
                if ":" in "".join(attributes):
                    self._declare(depth, attributes)
        if ":" in tag:
            namespace, name = self._resolve(tag)
        if depth == 2:
            self._children.append((namespace, name))
        elif depth == 1:
            begin = self._begin = self._expat.CurrentByteIndex
            if begin != self._last:
                self._checkGap(begin)
            if tag == self._root.tag:
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
            self._checkGap(self._expat.CurrentByteIndex)
            self.ended = True

    def _exceeded(self, reason: str) -> None:
        if not self._lenient:
            raise _violation(reason)
        self._blame(reason)

    def _beginStream(self, tag: str, header: StreamHeader) -> None:
        start = START_TAG.match(self._kept, self._expat.CurrentByteIndex)
        if start is None or start[1] != tag.encode():
            # Expat takes UTF-16 for what it is, whatever it was told.
            raise _notUTF8()
        self._last = start.end()
        _limitHeader(self._last)
        if self._fault is not None:
            raise StreamError("not-well-formed", text=self._fault)
        self.header = header
        prefixes = tuple(self._prefixes.items())
        self._root = _root(header.name, header.namespace, self._default, tag, prefixes)
        self._forgetDeclarations()

    def _checkGap(self, end: int) -> None:
        """There may be white space only between first-level elements."""
        if self._kept[self._last - self._keptFrom : end - self._keptFrom].strip(_WHITE_SPACE):
            raise _badFormat("text between stanzas")

    def _endStanza(self, tag: str) -> None:
        kept = self._kept
        begin = self._begin - self._keptFrom
        # Expat reports the start of an end tag, but for <tag/> the place behind it.
        end = self._expat.CurrentByteIndex - self._keptFrom
        if self._children or self._long or not _isEmptyElement(kept, begin, end):
            end = kept.index(b">", end) + 1
        self._last = self._keptFrom + end
        data = kept[begin:end]
        if end - begin > self._short:
            self._checkLong(data)
        fault = self._fault
        if fault is not None:
            data = b""
            self._fault = None
            self._long = False
            self._borrowed = _NONE
        elif self._root.default != ns.CLIENT:
            self._borrowed |= {""}
        if self._borrowed:
            data = self._lend(data, tag)
        self._done.append(
            Stanza(
                data,
                self._name,
                self._namespace,
                self._attributes,
                tuple(self._children),
                fault,
            )
        )
        self._default = self._root.default
        if self._prefixes is not self._root.scope:
            self._forgetDeclarations()

    def _checkLong(self, data: bytes) -> None:
        """Whether there is too much in a stanza that has room for that."""
        if len(data) > self.stanzaBytes:
            self._exceeded(self._tooLong())
        elif (
            self._fault is None
            and data.count(b"xmlns") > self.namespaces
            and _declarations(data) > self.namespaces
        ):
            self._exceeded(f"a stanza declares {self.namespaces} namespaces at most (namespaces)")

    def _lend(self, data: bytes, tag: str) -> bytes:
        """Add the header's declarations of what the first-level element uses to its start tag."""
        declarations = ""
        for prefix in sorted(self._borrowed):
            name = f"xmlns:{prefix}" if prefix else "xmlns"
            if name not in self._attributes:
                uri = self._root.declared[prefix] if prefix else self._root.default
                declarations += f" {name}={quoteattr(uri)}"
                self._attributes[name] = uri
        self._borrowed = _NONE
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
                if prefixes is self._root.scope:
                    prefixes = self._prefixes = {**prefixes}
                    self._outer = []
                hidden[prefix] = prefixes.get(prefix)
                prefixes[prefix] = value
            elif ":" in name:
                prefixed.append(name)
        if hidden:
            self._outer.append((depth, hidden))
        if prefixed and len({self._resolve(name) for name in prefixed}) < len(prefixed):
            self._blame("an attribute is there twice")

    def _forgetDeclarations(self) -> None:
        """No prefix is in scope but what the header declares."""
        self._prefixes = self._root.scope
        self._outer = _NONE_HIDDEN

    def _checkDeclaration(self, name: str, uri: str) -> None:
        short = len(uri) <= _WORTH_REMEMBERING
        objection = _objection(name, uri) if short else _objection.__wrapped__(name, uri)
        if objection is not None:
            self._blame(objection)

    def _resolve(self, qname: str) -> tuple[str, str]:
        """Namespace and local name of what has a prefix."""
        prefix, _, name = qname.partition(":")
        if not prefix or not _isNCName(name):
            self._blame(f"{shortened(qname)!r} is no qualified name")
            return "", qname
        uri = self._prefixes.get(prefix)
        if uri is None:
            self._blame(f"the prefix {shortened(prefix)!r} is not bound")
            return "", qname
        if self._root.declared.get(prefix) == uri:
            self._borrowed |= {prefix}
        return uri, name


def _xmlDeclaration(version: str, encoding: str | None, standalone: int) -> None:
    if encoding is not None and encoding.lower() not in ("utf-8", "utf8"):
        raise _notUTF8()


@lru_cache(maxsize=64)  # most clients of a kind send the same, and all of a server's streams do
def _root(
    name: str, namespace: str, default: str, tag: str, prefixes: tuple[tuple[str, str | None], ...]
) -> _Root:
    return _Root(StreamHeader(name, namespace, default, {}), tag, dict(prefixes))


@lru_cache  # the same few come all the time
def _objection(name: str, uri: str) -> str | None:
    """What is wrong with a declaration, if anything."""
    prefix = name[6:]
    reserved = uri != ns.XML if prefix == "xml" else uri in _RESERVED
    if reserved or prefix == "xmlns" or _NOT_IN_URI.search(uri):
        return f"{shortened(name)} may not be {shortened(uri)!r}"
    if name != "xmlns" and (not uri or not _isNCName(prefix)):
        return f"{shortened(name)} declares nothing"
    return None


def _limitHeader(length: int) -> None:
    if length > _HEADER_BYTES:
        raise _violation(f"a stream header has {_HEADER_BYTES} bytes at most")


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


def _declarations(data: bytes) -> int:
    """How many namespaces a stanza declares."""
    count = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += sum(name == "xmlns" or name.startswith("xmlns:") for name in attributes)

    parser = ParserCreate("UTF-8")
    parser.StartElementHandler = start
    parser.Parse(data, True)
    return count


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
