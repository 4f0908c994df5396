"""One of a session's two streams, since stream management (XEP-0198) was enabled on it."""

from __future__ import annotations

from xmpproxy.streammanagement import MODULUS, Answer, Counter, Request


class Leg:
    """
    Reckons between the numbers of a session, which begin with it, and those of XEP-0198, which
    begin where it was enabled.

    @ivar namespace: the version that is spoken.
    @ivar asking: whether the peer owes an answer to a request of ours.
    @ivar told: what the peer was told last that it may forget.
    """

    __slots__ = ("_came", "_counter", "_sent", "asking", "namespace", "told")

    def __init__(self, namespace: str, came: int, sent: int) -> None:
        """
        @param came: how many stanzas had come on this stream.
        @param sent: how many had been sent on it.
        """
        self.namespace = namespace
        self.asking = False
        self.told = 0
        self._came = came
        self._sent = sent
        self._counter = Counter()

    def h(self, handled: int) -> int:
        """
        What the peer may forget.

        @param handled: how many stanzas of the peer's are handled.
        """
        return max(0, handled - self._came) % MODULUS

    @property
    def settled(self) -> int:
        """How many stanzas had been sent on this stream, or have been acknowledged since."""
        return self._sent + self._counter.acknowledged

    def answer(self, handled: int) -> bytes:
        """The same as an C{<a/>}."""
        self.told = self.h(handled)
        return Answer(self.told).written(self.namespace)

    def unheard(self, handled: int, came: int) -> int:
        """
        How many stanzas the peer still has, if it is told L{h} of C{handled}.

        @param came: how many have come on this stream.
        """
        return came - max(handled, self._came)

    def request(self) -> bytes:
        """An C{<r/>}."""
        self.asking = True
        return Request().written(self.namespace)

    def acknowledged(self, h: int, sent: int) -> int:
        """
        The peer has sent an C{h}.

        @param sent: how many stanzas have been sent on this stream by now.
        @return: how many of those the peer has handled.
        @raise StreamError: more than there are, or less than before. Nothing is changed then.
        """
        self._counter.sent = sent - self._sent
        self._counter.acknowledge(h)
        return self._sent + self._counter.acknowledged
