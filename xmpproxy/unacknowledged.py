"""What was sent on a stream and is not acknowledged yet, to be sent again (XEP-0198, section 5)."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from itertools import islice

from xmpproxy import ns
from xmpproxy.stanza import START_TAG, quoted, spans

#: Small pieces are joined up to this many bytes: one by one, each would cost as much again;
_JOINED = 2048
#: and if they are sent within so many seconds: people read the time of the first for that of all.
_TOGETHER = 5.0


class Unacknowledged:
    """
    Stanzas as they were sent, oldest first. They are kept in pieces as they were written; where one
    stanza ends and the next begins inside of a piece is looked up when it matters.

    @ivar count: how many stanzas.
    @ivar size: how many bytes are kept. Up to L{trim} that is the whole of a piece of which only a
        part is acknowledged.
    """

    __slots__ = ("_gone", "_pieces", "count", "size")

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self._gone = 0  # how many stanzas of the first piece are acknowledged: never all
        # Each with the number of its stanzas and its time. L{None} for none: a deque is not small.
        self._pieces: deque[tuple[bytes, int, float]] | None = None

    def add(self, data: bytes, count: int = 1, when: float = 0.0) -> None:
        """
        Stanzas are sent.

        @param data: whole ones, well-formed, that need no more than a stream header to be read.
        @param count: how many, at least one.
        @param when: the time, in seconds since 1970; only L{delayed} minds.
        """
        self.count += count
        self.size += len(data)
        pieces = self._pieces
        if pieces is None:
            self._pieces = deque(((data, count, when),))
            return
        last, before, since = pieces[-1]
        if len(last) + len(data) <= _JOINED and when - since < _TOGETHER:
            pieces[-1] = (last + data, before + count, since)
        else:
            pieces.append((data, count, when))

    def acknowledge(self, count: int) -> None:
        """
        The oldest are acknowledged.

        @param count: how many, at most C{self.count}.
        """
        if count > self.count:
            raise ValueError(f"{count} acknowledged, {self.count} sent")
        self.count -= count
        gone = self._gone + count
        pieces = self._pieces
        while pieces and gone >= pieces[0][1]:
            data, stanzas, _ = pieces.popleft()
            self.size -= len(data)
            gone -= stanzas
        self._gone = gone
        if not pieces:
            self._pieces = None

    def trim(self) -> None:
        """Keep nothing that is acknowledged, for this may be kept for long."""
        if not self._gone or self._pieces is None:
            return
        data, count, when = self._pieces[0]
        _, end = next(islice(spans(data, 0), self._gone - 1, None))
        self._pieces[0] = (data[end:], count - self._gone, when)
        self.size -= end
        self._gone = 0

    def rest(self) -> list[bytes]:
        """All of them, oldest first, in pieces of whole stanzas."""
        self.trim()
        return [data for data, _, _ in self._pieces or ()]

    def delayed(self, sender: str) -> list[bytes]:
        """
        The same, for a client that gets them late: messages and presence say when they were sent
        first (XEP-0203), if they do not say already for how long somebody else has kept them.

        @param sender: the domain that has kept them.
        """
        self.trim()
        return [_delayed(data, when, sender) for data, _, when in self._pieces or ()]


def _delayed(data: bytes, when: float, sender: str) -> bytes:
    time = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    delay = f"<delay xmlns='{ns.DELAY}' from={quoted(sender)} stamp='{time}'/>".encode()
    stanzas = (data[begin:end] for begin, end in spans(data, 0))
    return b"".join(_with(stanza, delay) for stanza in stanzas)


def _with(stanza: bytes, delay: bytes) -> bytes:
    tag = START_TAG.match(stanza)
    assert tag is not None
    if tag[1].rpartition(b":")[2] not in (b"message", b"presence"):
        return stanza
    if tag[0].endswith(b"/>"):
        return stanza[:-2] + b">" + delay + b"</" + tag[1] + b">"
    for begin, _ in spans(stanza):
        child = START_TAG.match(stanza, begin)
        if child is not None and ns.DELAY.encode() in child[0]:
            return stanza
    end = stanza.rindex(b"</")
    return stanza[:end] + delay + stanza[end:]
