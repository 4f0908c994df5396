"""What a session sends to its client: gathered during a turn of the reactor, written at its end."""

from __future__ import annotations

from typing import Protocol


class Writer(Protocol):
    """What an output needs of its session."""

    def outputGathers(self) -> None:
        """Something was gathered: have C{flush} called at the end of the turn."""

    def writeClient(self, data: bytes, count: int) -> None:
        """
        Write stanzas to the client.

        @param count: how many.
        """

    def tooMuch(self, text: str) -> None:
        """
        More waits for the client than is kept.

        @param text: what the client is told.
        """


class Output:
    """
    What is on its way to one client.

    @ivar most: how many bytes may wait for it.
    @ivar slow: whether it does not read as fast as it is written to.
    @ivar count: how many stanzas were sent, or are gathered to be.
    """

    __slots__ = (
        "_closed",
        "_gathered",
        "_queued",
        "_said",
        "_writer",
        "_written",
        "count",
        "most",
        "slow",
    )

    def __init__(self, writer: Writer, most: int) -> None:
        self.most = most
        self.slow = False
        self.count = 0
        self._writer = writer
        self._gathered: list[bytes] = []
        self._queued = 0  # bytes in _gathered
        self._written = 0  # of count, what was written
        self._said = 0  # bytes that were written to a slow client all the same
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many bytes are gathered and not written."""
        return self._queued

    @property
    def empty(self) -> bool:
        """Whether all that was sent is written."""
        return self._written == self.count

    def gather(self, data: bytes) -> None:
        """Send a stanza."""
        if not self._closed:
            if self.slow or not self._gathered:
                self._writer.outputGathers()
            self.count += 1
            self._gathered.append(data)
            self._queued += len(data)

    def flush(self) -> None:
        """Write what was gathered, unless the client is too slow."""
        if self.slow:
            self._limit(self._queued)
        elif self._gathered:
            self._write()

    def push(self) -> None:
        """Write what was gathered."""
        if self.slow:
            self._said += self._queued
        if self._gathered:
            self._write()

    def said(self, size: int) -> None:
        """So many bytes that are no stanza were written."""
        if self.slow:
            self._said += size
            self._limit(self._said)

    def _write(self) -> None:
        data = b"".join(self._gathered)
        count = self.count - self._written
        self._gathered.clear()
        self._queued = 0
        self._written = self.count
        self._writer.writeClient(data, count)

    def _limit(self, waiting: int) -> None:
        if waiting > self.most:
            self._writer.tooMuch(f"more than {self.most} bytes were not read")

    def readAgain(self) -> None:
        """The client is as fast as it is written to, or gone."""
        self.slow = False
        self._said = 0

    def drop(self) -> None:
        """Forget what was gathered."""
        self._gathered.clear()
        self._queued = 0

    def close(self) -> None:
        """Send nothing more."""
        self.drop()
        self._closed = True
