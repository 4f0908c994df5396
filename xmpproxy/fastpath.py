"""
The fast path: stanzas that nobody wants to see are relayed by the run, as the bytes they are.

Most of what passes a proxy concerns neither it nor its chain. A I{run} is what one read brings of
stanzas of which that can be said by a look at their tags. A pattern finds where it ends, expat
checks that it is well-formed, and it goes on as one piece: no Python is run and nothing kept for
each of its stanzas. What stream management puts between stanzas, C{<r/>} and C{<a/>}, comes as
itself, and the next run behind it. All else takes the slow path, L{Splitter.feed}: stanzas of which
a read brings only a part, and what the pattern does not know, with all that is behind it in the
same read.

The pattern need not be able to read all of XML; it must never misread it. So it knows little:

- C{<message/>}, C{<presence/>} and C{<iq/>} of C{jabber:client}, and no C{error} among them;
- names in ASCII, no prefix, so that nothing can be wrong about namespaces; C{xml:lang} alone;
- C{xmlns} with what every parser takes for a namespace name, and none that somebody wants to see;
- nothing but tags and text: it stops at any C{<!} and C{<?};
- three levels of elements inside of a child of a stanza, and 16 attributes for each.

Whether text, attributes and end tags are as XML wants them it leaves to expat. In what expat takes,
a quoted value is over with the next such quote, and a C{<} begins a tag; so both agree about where
each tag begins and ends.

The grammar has one way to read anything, therefore looking for another one costs little. Possessive
groups would spare even that, but before Python 3.11.5 they match too much (gh-106052); single
characters are safe.
"""

from __future__ import annotations

import re
from functools import lru_cache

from xmpproxy import ns
from xmpproxy.splitter import DECLARING_BYTES, SKIPPED_ATTRIBUTES, SKIPPED_DEPTH, Splitter
from xmpproxy.stanza import Stanza

#: Names of stanzas that nobody wants to see; each with the exceptions: namespaces of children.
Unwanted = tuple[tuple[str, frozenset[str]], ...]

_SPACE = r"[ \t\r\n]"
_QUOTED = r"""(?:'[^'<]*+'|"[^"<]*+")"""
#: Like names that XML takes, without a prefix, and without what begins with C{xml}.
_ATTRIBUTE = rf"[A-Za-wyz_][\w.-]*+={_QUOTED}"
_LANGUAGE = rf"xml:lang={_QUOTED}"
#: ASCII that may be in a URI, see C{_NOT_IN_URI} of the splitter. And nothing that is escaped.
_URI = r"[!#-%(-;=?-\[\]_a-z~]*+"
_NAME = r"[A-Za-z_][\w.-]*+"

#: The end of a stanza that has another one behind it, most likely.
_FOLLOWED = re.compile(rb"</(?:message|presence|iq)>(?=<(?:message|presence|iq|r|a)[ >/])")

_VERSION = "|".join(ns.STREAM_MANAGEMENT)
_XMLNS = rf""" xmlns=(?:'(?:{_VERSION})'|"(?:{_VERSION})")"""
_H = r""" h=(?:'[0-9]{1,10}'|"[0-9]{1,10}")"""
#: Requests and answers of XEP-0198, as everybody writes them.
_COUNTING = re.compile(f"<(?:r{_XMLNS}|a(?:{_XMLNS}{_H}|{_H}{_XMLNS})) ?/>".encode())
_GIVEN = re.compile(rb""" ([a-z]+)=["']([^"']*)""")


class Run(Stanza):
    """
    Several stanzas, one directly behind the other, that pass as one.

    @ivar count: how many.
    """

    __slots__ = ("count",)

    def __init__(self, data: bytes, count: int) -> None:
        super().__init__(data, "", ns.CLIENT, {}, ())
        self.count = count


def read(splitter: Splitter, data: bytes, unwanted: Unwanted) -> list[Stanza]:
    """
    The same as C{splitter.feed(data)}, but what nobody wants to see comes as L{Run}s.
    """
    stanzas: list[Stanza] = []
    begin = 0
    if not splitter.skips:
        # Inside of a stanza, most often. Behind it there may be a run.
        followed = _FOLLOWED.search(data)
        begin = len(data) if followed is None else followed.end()
        stanzas = splitter.feed(data[:begin])
    if unwanted and splitter.skips:
        most = begin + splitter.stanzaBytes
        passed, end = _pass(data, begin, most, splitter.namespaces, unwanted)
        if passed and splitter.skip(data[begin:end]):
            stanzas += passed
            begin = end
    if begin < len(data):
        stanzas += splitter.feed(data[begin:] if begin else data)
    return stanzas


def _pass(
    data: bytes, begin: int, most: int, namespaces: int, unwanted: Unwanted
) -> tuple[list[Stanza], int]:
    """
    The runs that begin here, and what of stream management is between them.

    @param most: where they end at the latest, so that no stanza is longer than it may be.
    @param namespaces: how many each stanza may declare.
    @return: all of them, and where they end.
    """
    passed: list[Stanza] = []
    stanza = pattern(unwanted)
    while True:
        scanner = stanza.scanner(data, begin, most)  # type: ignore[attr-defined]
        found = list(iter(scanner.match, None))  # each where the one before ends
        if found:
            end = found[-1].end()
            if (
                end - begin > DECLARING_BYTES * namespaces
                and data.count(b"xmlns=", begin, end) > namespaces
                and any(data.count(b"xmlns=", *each.span()) > namespaces for each in found)
            ):
                return passed, begin
            passed.append(Run(data[begin:end], len(found)))
            begin = end
        counting = _COUNTING.match(data, begin, most)
        if counting is None:
            return passed, begin
        begin = counting.end()
        passed.append(_counting(counting[0]))


@lru_cache(maxsize=16)
def _counting(data: bytes) -> Stanza:
    """An element of stream management. All streams share it: requests look all the same."""
    attributes = {name.decode(): value.decode() for name, value in _GIVEN.findall(data)}
    return Stanza(data, chr(data[1]), attributes["xmlns"], attributes, ())


@lru_cache(maxsize=64)
def pattern(unwanted: Unwanted) -> re.Pattern[bytes]:
    """
    One stanza of a run.

    @param unwanted: at least one name.
    """
    stanzas = "|".join(_stanza(name, wanted) for name, wanted in unwanted)
    return re.compile(f"<(?:{stanzas})".encode())


def _stanza(name: str, wanted: frozenset[str]) -> str:
    """One stanza, without its first character."""
    attribute = (
        rf"{_SPACE}++(?:[A-Za-su-wyz_][\w.-]*+={_QUOTED}|to={_QUOTED}|{_LANGUAGE}"
        r"""|type=(?:'(?!error')[a-z]++'|"(?!error")[a-z]++")"""
        rf"""|xmlns=(?:'{ns.CLIENT}'|"{ns.CLIENT}"))"""
    )
    return _element(name, attribute, _child(SKIPPED_DEPTH - 3, wanted))


def _child(levels: int, wanted: frozenset[str] = frozenset()) -> str:
    """
    An element inside of a stanza.

    @param levels: how many there may be inside of it.
    @param wanted: namespaces that it may not be of.
    """
    refused = "|".join(re.escape(each) for each in sorted({ns.XML, ns.XMLNS, *wanted}))
    namespace = rf"""(?:'(?!(?:{refused})'){_URI}'|"(?!(?:{refused})"){_URI}")"""
    attribute = rf"{_SPACE}++(?:{_ATTRIBUTE}|xml(?:ns={namespace}|:lang={_QUOTED}))"
    inner = _child(levels - 1) if levels else None
    return "<" + _element(_NAME, attribute, inner)


def _element(name: str, attribute: str, child: str | None) -> str:
    content = "[^<]*+" if child is None else rf"[^<]*+(?:{child}[^<]*+)*"
    tag = rf"{name}(?:{attribute}){{0,{SKIPPED_ATTRIBUTES}}}{_SPACE}*+"
    return rf"{tag}(?:/>|>{content}</[\w.-]++{_SPACE}*+>)"
