"""What was sent to a server that may be resumed, and that it may not have (XEP-0198; pure)."""

from __future__ import annotations

from xmpproxy.streammanagement import AskPolicy
from xmpproxy.unacknowledged import Unacknowledged

#: The server is asked after so many stanzas or bytes.
ASK_STANZAS = 20
ASK_BYTES = 8192


class Outstanding:
    """
    Kept until the server has acknowledged it. All numbers count from the beginning of the session.

    @ivar sent: how many stanzas were sent.
    """

    __slots__ = ("_keeps", "_most", "_policy", "sent")

    def __init__(self, sent: int, most: int) -> None:
        """
        @param sent: how many were sent before, of which none is kept.
        @param most: how many bytes are kept before it is C{full}.
        """
        self.sent = sent
        self._most = most
        self._keeps = Unacknowledged()
        self._policy = AskPolicy(ASK_STANZAS, ASK_BYTES)

    def add(self, data: bytes, sent: int) -> None:
        """
        Stanzas are sent.

        @param data: whole ones.
        @param sent: how many those make in all.
        """
        count = sent - self.sent
        self.sent = sent
        self._keeps.add(data, count)
        self._policy.sent(count, len(data))

    def acknowledge(self, number: int) -> None:
        """The first C{number} of all that were sent are handled."""
        before = self.sent - self._keeps.count
        if number > before:
            self._keeps.acknowledge(number - before)

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return self._keeps.size

    @property
    def full(self) -> bool:
        """Whether nothing more should be sent before some of it is acknowledged."""
        return self._keeps.size > self._most

    @property
    def due(self) -> bool:
        """Whether to ask the server what it has handled, unless it owes an answer."""
        return self._policy.due or self.full

    def asked(self) -> None:
        """It was asked."""
        self._policy.asked()
        self._policy.answered()  # who knows the stream knows whether it owes an answer

    def rest(self) -> bytes:
        """All that is kept, oldest first."""
        return b"".join(self._keeps.rest())
