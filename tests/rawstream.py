"""The test clients' own reader of XML streams, independent of the proxy's.

It resolves namespaces by itself and lets unbound prefixes pass, so that a test sees what a strict
client would choke on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.parsers import expat

from twisted.words.xish import domish

_XML = "http://www.w3.org/XML/1998/namespace"

# One tag, with the text before it. An expat that got half a tag may not look at it again before it
# has twice as much ("reparse deferral"); Debian 12's does so, and its Python cannot switch it off.
_TAG = re.compile(
    rb"""[^<]* (?: <!\[CDATA\[ .*? \]\]> | <(?!!\[CDATA\[) (?: [^>'"] | '[^']*' | "[^"]*" )* > )""",
    re.DOTALL | re.VERBOSE,
)


class StreamReader:
    """Turns the bytes of one stream into a header and elements.

    @param onHeader: called with the stream's root element.
    @param onElement: called with each of its children and the child's very bytes.
    @param onEnd: called at its end tag.
    """

    def __init__(
        self,
        onHeader: Callable[[domish.Element], None],
        onElement: Callable[[domish.Element, bytes], None],
        onEnd: Callable[[], None],
    ) -> None:
        self._onHeader = onHeader
        self._onElement = onElement
        self._onEnd = onEnd
        self._stream = bytearray()
        self._parsed = 0
        self._start = 0
        self._open: list[domish.Element] = []
        self._scopes: list[dict[str, str]] = [{"": "", "xml": _XML}]
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._startElement
        parser.EndElementHandler = self._endElement
        parser.CharacterDataHandler = self._text
        self._parser = parser

    def feed(self, data: bytes) -> None:
        """Read more bytes.

        @raise expat.ExpatError: they are not well-formed.
        """
        self._stream += data
        while tag := _TAG.match(self._stream, self._parsed):
            self._parsed = tag.end()
            self._parser.Parse(tag.group(), False)

    def _startElement(self, qualified: str, attributes: dict[str, str]) -> None:
        declared = {
            name.removeprefix("xmlns").removeprefix(":"): uri
            for name, uri in attributes.items()
            if name == "xmlns" or name.startswith("xmlns:")
        }
        self._scopes.append({**self._scopes[-1], **declared})
        element = domish.Element(self._resolve(qualified, ""))
        for name, value in attributes.items():
            if name == "xmlns" or name.startswith("xmlns:"):
                continue
            uri, local = self._resolve(name, None)
            element.attributes[(uri, local) if uri else local] = value
        if not self._open:
            self._onHeader(element)
        elif len(self._open) == 1:
            self._start = self._parser.CurrentByteIndex
        else:
            self._open[-1].addChild(element)
        self._open.append(element)

    def _endElement(self, qualified: str) -> None:
        self._scopes.pop()
        element = self._open.pop()
        if not self._open:
            self._onEnd()
        elif len(self._open) == 1:
            self._onElement(element, self._bytesOf(qualified.encode()))

    def _text(self, text: str) -> None:
        if len(self._open) > 1:
            self._open[-1].addContent(text)

    def _resolve(self, qualified: str, default: str | None) -> tuple[str, str]:
        """The namespace and local name; of an unbound prefix, none and the whole name."""
        prefix, colon, local = qualified.rpartition(":")
        if not colon and default is None:
            return "", local
        uri = self._scopes[-1].get(prefix)
        return ("", qualified) if uri is None else (uri, local)

    def _bytesOf(self, qualified: bytes) -> bytes:
        """The bytes of the stanza that ends here."""
        end = self._parser.CurrentByteIndex
        # Expat points to the start of an end tag, but behind a tag that is its own end.
        if self._stream.startswith(b"</" + qualified, end):
            end = self._stream.index(b">", end) + 1
        return bytes(self._stream[self._start : end])
