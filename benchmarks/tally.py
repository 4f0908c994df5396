"""Counting messages in bytes, so fast that it is not what is measured."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed

#: Each message that the benchmark sends, and each copy of one, has this once.
_END = b"</body>"
#: Seconds after which a message counts as lost.
_SECONDS = 60


class Tally:
    """Counts the messages in one direction of one stream."""

    def __init__(self) -> None:
        self._tail = b""
        self._missing = 0
        self._complete: Deferred[None] = succeed(None)

    def expect(self, messages: int) -> Deferred[None]:
        """
        Begin to count.

        @return: fires when that many are there, with C{TimeoutError} when some are lost.
        @raise ValueError: there were more than had been expected.
        """
        if self._missing:
            raise ValueError(f"{-self._missing} messages more than were expected")
        self._missing = messages
        self._complete = Deferred()
        return self._complete.addTimeout(_SECONDS, reactor)

    def feed(self, data: bytes) -> None:
        """Take bytes, however cut."""
        data = self._tail + data
        self._missing -= data.count(_END)
        self._tail = data[1 - len(_END) :]
        if self._missing <= 0 and not self._complete.called:
            self._complete.callback(None)
