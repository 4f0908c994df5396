"""What was sent on a stream and is not acknowledged yet, to be sent again (XEP-0198, section 5)."""

from __future__ import annotations

from collections import deque
from itertools import islice

from xmpproxy.stanza import spans

#: Small pieces are joined up to this many bytes: one by one, each would cost as much again.
_JOINED = 2048


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
        # Each with the number of its stanzas. L{None} for none: a deque is not small.
        self._pieces: deque[tuple[bytes, int]] | None = None

    def __len__(self) -> int:
        return self.count

    def add(self, data: bytes, count: int = 1) -> None:
        """
        Stanzas are sent.

        @param data: whole ones, well-formed, that need no more than a stream header to be read.
        @param count: how many, at least one.
        """
        self.count += count
        self.size += len(data)
        pieces = self._pieces
        if pieces is None:
            self._pieces = deque(((data, count),))
            return
        last, before = pieces[-1]
        if len(last) + len(data) <= _JOINED:
            pieces[-1] = (last + data, before + count)
        else:
            pieces.append((data, count))

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
            data, stanzas = pieces.popleft()
            self.size -= len(data)
            gone -= stanzas
        self._gone = gone
        if not pieces:
            self._pieces = None

    def trim(self) -> None:
        """Keep nothing that is acknowledged, for this may be kept for long."""
        if not self._gone or self._pieces is None:
            return
        data, count = self._pieces[0]
        _, end = next(islice(spans(data, 0), self._gone - 1, None))
        self._pieces[0] = (data[end:], count - self._gone)
        self.size -= end
        self._gone = 0

    def rest(self) -> list[bytes]:
        """All of them, oldest first, in pieces of whole stanzas."""
        self.trim()
        return [data for data, _ in self._pieces or ()]
