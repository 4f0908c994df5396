"""
Expat without reparse deferral: it reports a tag as soon as the tag is there.

Since version 2.6 expat does not look again at a tag of which it got a part, before it has twice as
much (CVE-2023-52425). In a stream that may be never: a stanza whose tag straddles two reads would
wait for the next one. Python can switch that off, but Debian 12's expat defers (2.5.0 with the
change of 2.6) and its Python 3.11.2 has no switch. There, only whole tags are fed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pyexpat import ParserCreate, XMLParserType

#: Text, CDATA sections, and tags with their end. What is left is a part of a tag.
_WHOLE = re.compile(
    rb"(?:[^<]+"
    rb"|<!\[CDATA\[.*?\]\]>"
    rb"|<(?!!\[CDATA\[)[^>\"']*(?:(?:\"[^\"]*\"|'[^']*')[^>\"']*)*>)*",
    re.DOTALL,
)

_SECTION, _SECTION_END = b"<![CDATA[", b"]]>"


def promptly(parser: XMLParserType) -> Callable[[bytes], object]:
    """What to call with the bytes for a parser, so that it holds no whole tag back."""
    if hasattr(parser, "SetReparseDeferralEnabled"):
        parser.SetReparseDeferralEnabled(False)
        return parser.Parse
    return WholeTags(parser).feed if DEFERS else parser.Parse


class WholeTags:
    """Feeds a parser tag by tag. Text is not held back, in CDATA sections neither."""

    def __init__(self, parser: XMLParserType) -> None:
        self._parse = parser.Parse
        self._rest = b""
        self._inSection = False

    def feed(self, data: bytes) -> None:
        """
        Take more bytes.

        @raise ExpatError: they are not well-formed.
        """
        data = self._rest + data
        end = 0
        if self._inSection:
            end = data.find(_SECTION_END) + len(_SECTION_END)
            self._inSection = end < len(_SECTION_END)
        if not self._inSection:
            whole = _WHOLE.match(data, end)
            assert whole is not None, "it matches nothing, too"
            end = whole.end()
            self._inSection = data.startswith(_SECTION, end)
        if self._inSection:
            # What may be the begin of its end is as long as a tag's: it comes with the rest.
            end = max(len(data) - 2, len(data.rstrip(b"]")))
        self._rest = data[end:]
        self._parse(data[:end])


def _defers() -> bool:
    """Whether a parser that cannot be told otherwise holds a straddling tag back."""
    names: list[str] = []
    parser = ParserCreate("UTF-8")
    parser.StartElementHandler = lambda name, attributes: names.append(name)
    parser.Parse(b"<stream>")
    parser.Parse(b"<message to='somebody@example.com'")
    parser.Parse(b">")
    return len(names) < 2


#: Whether this Python's expat defers, and cannot be told not to.
DEFERS = _defers()
