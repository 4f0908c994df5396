"""Counting messages in bytes, so fast that it is not what is measured."""

from __future__ import annotations

import re

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed

from xmpproxy.streammanagement import Answer, Request

#: Each message that the benchmark sends, and each copy of one, has this once.
_END = b"</body>"
_MESSAGE = b"</message>"
#: Seconds after which a message counts as lost.
_SECONDS = 60
#: How many stanzas are sent until the peer is asked what it has handled: slixmpp's number.
_EVERY = 5
#: The beginnings of what a peer with stream management has to look for.
_COUNTED = re.compile(rb"<(message|presence|iq|r|a) ")
REQUEST = Request().written()
_LONGEST = len("<presence ")


class Acknowledging:
    """
    One peer's part in stream management (XEP-0198).

    @ivar answered: fires with the next answer to a request of ours.
    """

    def __init__(self) -> None:
        self.answered: Deferred[None] = succeed(None)
        self._handled = 0
        self._sent = 0
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """
        Take bytes, however cut.

        @return: what answers the requests among them.
        """
        data = self._tail + data
        end = asked = 0
        for match in _COUNTED.finditer(data):
            end = match.end()
            if match[1] == b"r":
                asked += 1
            elif match[1] != b"a":
                self._handled += 1
            elif not self.answered.called:
                self.answered.callback(None)
        self._tail = data[max(end, len(data) - _LONGEST + 1) :]
        return Answer(self._handled).written() if asked else b""

    def asking(self, data: bytes) -> bytes:
        """The same messages, with a request behind every so many."""
        *messages, _ = data.split(_MESSAGE)
        pieces: list[bytes] = []
        for message in messages:
            pieces += (message, _MESSAGE)
            self._sent += 1
            if self._sent % _EVERY == 0:
                pieces.append(REQUEST)
        return b"".join(pieces)


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
