"""
Parsers of expat's for streams, shared by all of them.

A parser costs more memory than all else that an idle stream needs. Between two stanzas it knows
nothing but the name of the element it is in; so there a stream gives its parser back, and whoever
reads next takes it. A parser that others will use is started by a tag of ours, never by a peer's.
"""

from __future__ import annotations

from pyexpat import ParserCreate

from twisted.words.protocols.jabber.error import StreamError

from xmpproxy.expat import promptly

#: How many bytes a parser reads before it is thrown away: it remembers each name that it has seen.
WORN = 65536
#: How many parsers are kept for one name of streams' elements, and for how many such names.
_KEPT = 4
_NAMES = 16


class Parser:
    """
    One parser, which refuses what XMPP does not have (RFC 6120, section 11.1).

    Who takes it sets C{StartElementHandler} and C{EndElementHandler} of L{expat}, or none.

    @ivar expat: the parser itself.
    @ivar fed: how many bytes it was fed. Expat's offsets count from the first of them.
    """

    __slots__ = ("_at", "_parse", "expat", "fed", "name")

    def __init__(self, name: str | None = None) -> None:
        """
        @param name: of the element that it is to be in; L{None} to read that from the stream.
        """
        self.name = name
        self.fed = 0
        self._at = 0
        expat = self.expat = ParserCreate("UTF-8")
        expat.StartDoctypeDeclHandler = _restricted
        expat.CommentHandler = _restricted
        expat.ProcessingInstructionHandler = _restricted
        # What expat's own deferral would protect from, Splitter._scan does.
        self._parse = promptly(expat)
        if name is not None:
            self.feed(f"<{name}>".encode())

    def feed(self, data: bytes) -> None:
        """
        Read on.

        @raise ExpatError: the bytes are not well-formed. The parser is of no use any more.
        @raise StreamError: they are more than XMPP allows. Likewise.
        """
        self.fed += len(data)
        self._parse(data)

    @property
    def at(self) -> int:
        """Up to where expat has looked. It does not know while it defers, with a new buffer."""
        at = self.expat.CurrentByteIndex
        if at >= 0:
            self._at = at
        return self._at

    @property
    def whole(self) -> bool:
        """Whether nothing that it was fed is only a part of a tag, or of anything else."""
        return self.expat.CurrentByteIndex == self.fed

    def release(self) -> None:
        """Forget the handlers. They hold their owner, who holds this."""
        self.expat.StartElementHandler = self.expat.EndElementHandler = None


class Parsers:
    """Those that nobody uses just now. All of them are between stanzas."""

    def __init__(self) -> None:
        self._free: dict[str, list[Parser]] = {}

    def take(self, name: str) -> Parser:
        """
        A parser inside of a stream, between stanzas.

        @param name: of the stream's own element, as it is written.
        """
        free = self._free.get(name)
        return free.pop() if free else Parser(name)

    def give(self, parser: Parser) -> None:
        """
        Take one back. It is inside of a stream, between stanzas and C{whole}; never give one that
        has met an error.
        """
        parser.release()
        if parser.name is None or parser.fed > WORN:
            return
        free = self._free.get(parser.name)
        if free is None:
            if len(self._free) >= _NAMES:
                self._free.clear()
            free = self._free[parser.name] = []
        if len(free) < _KEPT:
            free.append(parser)

    def __len__(self) -> int:
        return sum(map(len, self._free.values()))


#: The ones that the whole process shares.
PARSERS = Parsers()


def _restricted(*details: object) -> None:
    raise StreamError(
        "restricted-xml", text="comments, processing instructions and DTDs are not allowed"
    )
