"""What a session asks of the link that knows which stanzas are handled (XEP-0198)."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from xmpproxy.streammanagement import Refused, Resume


class Management:
    """Here without such a link."""

    def clientTurn(self) -> None:
        """All that a read from the client has brought is on its way."""

    def serverTurn(self) -> None:
        """The same of the server."""

    def sending(self, data: bytes, count: int) -> bytes:
        """
        Stanzas are written to the client.

        @param count: how many.
        @return: what is to be written behind them.
        """
        return b""

    def wrote(self) -> None:
        """That is done."""

    def leave(self) -> bool:
        """
        The client's stream is lost.

        @return: whether the session goes on without it, for it may come back.
        """
        return False

    @property
    def unhandled(self) -> int:
        """How many of the server's stanzas the client has not handled."""
        return 0

    @property
    def kept(self) -> int:
        """How many bytes are kept that the client has not handled."""
        return 0

    def expire(self, why: str) -> None:
        """The client is away: wait for it no longer."""

    @property
    def serverCounts(self) -> bool:
        """Whether the server keeps what the client has not handled."""
        return False

    @property
    def serverWaits(self) -> float:
        """For how many seconds the server waits for us if its connection is lost; 0: not at all."""
        return 0.0

    def sendingServer(self, data: bytes) -> bytes:
        """
        Stanzas are written to a server that may be resumed.

        @return: what is to be written behind them.
        """
        return b""

    def resumption(self) -> bytes:
        """The C{<resume/>} for the server."""
        raise NotImplementedError

    def serverResumed(self, h: int) -> int:
        """
        The server is back: send it again what it has not handled.

        @param h: how many stanzas it has handled.
        @return: how many stanzas that have come before it will send again.
        @raise StreamError: C{h} cannot be.
        """
        raise NotImplementedError

    def serverHandled(self, h: int) -> None:
        """The server is not resumed, but so many stanzas were handled."""

    def askClient(self) -> None:
        """Nothing more was sent to the client for a while: ask what it has handled."""

    def probeClient(self) -> bool:
        """
        Have the client say something.

        @return: whether it will.
        """
        return False

    def probeServer(self) -> bool:
        """The same of the server."""
        return False

    def farewell(self) -> None:
        """The session ends: tell the server the last that is known."""

    def farewellClient(self) -> None:
        """The same for the client."""

    def ended(self) -> None:
        """The session is over: nobody can come back to it."""

    def whenHandled(self) -> Deferred[None]:
        """Fires when the server has handled all that the client has sent, or is gone."""
        return succeed(None)

    def resumed(self, resume: Resume, namespace: str) -> list[bytes]:
        """
        The client comes back.

        @param namespace: the version of XEP-0198 that it speaks.
        @return: what it is told, and sent again.
        @raise Refused: its C{h} cannot be.
        """
        raise Refused("item-not-found")
