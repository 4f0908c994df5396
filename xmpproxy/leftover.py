"""What a session that is over leaves to the next one of the same client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from twisted.words.protocols.jabber.error import StreamError

from xmpproxy.leg import Leg
from xmpproxy.stanza import START_TAG, spans
from xmpproxy.unacknowledged import Unacknowledged


class Leftover:
    """
    What a client has not acknowledged, and what nobody else has: its server, which is gone, had no
    stream management.

    @ivar bareJid: whose it is.
    @ivar size: how many bytes.
    """

    __slots__ = ("_keeps", "_leg", "bareJid", "size")

    def __init__(self, bareJid: str, leg: Leg, keeps: Unacknowledged) -> None:
        """
        @param leg: the client's stream, which is over.
        @param keeps: what was sent on it.
        """
        self.bareJid = bareJid
        self.size = keeps.size
        self._leg = leg
        self._keeps = keeps

    def messages(self, h: int) -> Iterator[bytes]:
        """
        The messages, one by one, with the time when they were sent first. The presence of others
        the client gets from the server again, and requests are not for its new session.

        @param h: how many stanzas of that stream the client says it has handled.
        """
        with suppress(StreamError):  # what cannot be says nothing
            before = self._leg.settled
            after = self._leg.acknowledged(h, before + self._keeps.count)
            self._keeps.acknowledge(after - before)
        for piece in self._keeps.delayed(self.bareJid.partition("@")[2]):
            for begin, end in spans(piece, 0):
                tag = START_TAG.match(piece, begin)
                if tag is not None and tag[1].rpartition(b":")[2] == b"message":
                    yield piece[begin:end]
