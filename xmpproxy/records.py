"""
TLS on a L{Transport}: text in, records out, and back.

In place of Twisted's TLS, which waits for the next turn of the reactor before it writes, and asks
OpenSSL after each read for more until that raises an exception. Here OpenSSL gets one whole record
at a time, so there is one text to ask for; and its buffers never grow beyond a record.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure

from xmpproxy.coders import FAILURES, TEXT, Coder, Goodbye, TooManyAnswers
from xmpproxy.transport import Transport

#: Bytes before a record's content: its type, twice a version, twice the content's length.
_HEADER = 5
#: The first byte of the version, from SSL 3.0 to TLS 1.3.
_VERSION = 3
#: The type of a record with a part of the handshake, as anybody can see it.
_HANDSHAKE = 22
#: How often TLS itself answers at most, once the handshake is completed. Whoever asks and asks, and
#: does not read, has us keep the answers, which are as long as the questions.
ANSWERS = 100
#: Bytes of content at most (RFC 5246, section 6.2.3).
_CONTENT = TEXT + 2048


class SecureTransport:
    """A transport through TLS."""

    __slots__ = (
        "__weakref__",
        "_answers",
        "_begun",
        "_below",
        "_closing",
        "_coder",
        "_completed",
        "_ended",
        "_handshakeCompleted",
        "_reason",
        "_textReceived",
        "_waiting",
    )

    def __init__(
        self,
        below: Transport,
        coder: Coder,
        textReceived: Callable[[bytes], None],
        handshakeCompleted: Callable[[], None],
    ) -> None:
        """
        @param below: takes the records. What was written to it before goes out before.
        @param coder: a new one.
        @param textReceived: called with what the peer sends, one record at a time.
        @param handshakeCompleted: called once, before that.
        """
        self._coder = coder
        self._below = below
        self._textReceived = textReceived
        self._handshakeCompleted = handshakeCompleted
        self._begun = b""  # a record that is not all here yet
        self._waiting: tuple[bytes, ...] = ()  # text, until the handshake is completed
        self._completed = False
        self._answers = 0
        self._closing = False  # our side: no more text is taken
        self._ended = False  # both sides, or by force: no more text comes, either
        self._reason: Failure | None = None  # why it ended, if that was not in order

    def start(self) -> None:
        """Begin the handshake."""
        self._shakeHands()

    # Reading

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self._ended:
            return
        if self._begun:
            data = self._begun + data
            self._begun = b""
        at, size = 0, len(data)
        while size - at >= _HEADER:
            content = data[at + 3] << 8 | data[at + 4]
            end = at + _HEADER + content
            if end > size:
                if content <= _CONTENT and data[at + 1] == _VERSION:
                    break
                end = size  # this is no TLS, as OpenSSL will say
            elif not self._completed and data[at] == _HANDSHAKE:
                end = _endOfHandshake(data, end)
            self._recordReceived(data[at:end])
            if self._ended:
                return
            at = end
        if at < size:
            self._begun = data[at:]

    def _recordReceived(self, record: bytes) -> None:
        self._coder.receive(record)
        if not self._completed:
            self._shakeHands()
            return
        try:
            text = self._coder.decode()
        except Goodbye:
            self._end()
        except FAILURES:
            self._end(Failure())
        else:
            if text:
                self._textReceived(text)
            else:
                self._answer()

    def _answer(self) -> None:
        """What came was about TLS itself, and may want an answer: other keys, or no other keys."""
        records = self._coder.pending()
        if records:
            self._below.write(records)
            self._answers += 1
            if self._answers > ANSWERS:
                self._end(Failure(TooManyAnswers()))

    def _shakeHands(self) -> None:
        try:
            self._completed = self._coder.shakeHands()
        except FAILURES:
            self._end(Failure())
            return
        self._flush()
        if not self._completed:
            return
        self._handshakeCompleted()
        waiting, self._waiting = self._waiting, ()
        for text in waiting:
            if not self._ended:
                self._encode(text)
        if waiting and self._closing and not self._ended:
            self._sayGoodbye()

    def _end(self, reason: Failure | None = None) -> None:
        """
        There will be no more records.

        @param reason: what OpenSSL found wrong; L{None}: the peer has said goodbye.
        """
        self._closing = self._ended = True
        self._reason = reason
        if reason is None:
            self._sayGoodbye()
        else:
            self._flush()  # what is wrong, for the peer
            self._below.loseConnection()

    @property
    def completed(self) -> bool:
        """Whether the handshake is, or was."""
        return self._completed

    # Writing

    def write(self, text: bytes) -> None:
        """Send text, unless our side is closed."""
        if self._closing or not text:
            return
        if not self._completed or self._waiting:
            self._waiting += (text,)
        else:
            self._encode(text)

    def _encode(self, text: bytes) -> None:
        encode = self._coder.encode
        try:
            if len(text) <= TEXT:
                records = encode(text)
            else:
                view = memoryview(text)
                parts = [encode(view[at : at + TEXT]) for at in range(0, len(view), TEXT)]
                records = b"".join(parts)
        except FAILURES:
            self._end(Failure())
        else:
            self._below.write(records)

    def _flush(self) -> None:
        """Write what TLS has to say on its own."""
        records = self._coder.pending()
        if records:
            self._below.write(records)

    # Closing

    def loseConnection(self) -> None:
        """
        Close our side. The connection is closed once the peer has closed its own as well; at once
        if there is no TLS yet that could be closed.
        """
        if self._closing:
            return
        self._closing = True
        if self._waiting:
            return  # until the handshake is completed, and that is sent
        if self._completed:
            self._sayGoodbye()
        else:
            self.abortConnection()

    def _sayGoodbye(self) -> None:
        """Say that nothing more comes from us, or that we have heard it."""
        try:
            both = self._coder.close()
        except FAILURES:
            both = True
        self._flush()
        if both or self._ended:
            self._below.loseConnection()

    def abortConnection(self) -> None:
        """Drop the connection, and what is not written."""
        self._closing = self._ended = True
        self._below.abortConnection()

    def connectionLost(self, reason: Failure) -> Failure:
        """
        The connection is gone.

        @param reason: why, as far as the connection knows.
        @return: why. What was wrong with TLS counts more; and where the peer has not said goodbye,
            its closing the connection was not in order.
        """
        if self._reason is not None:
            reason, self._reason = self._reason, None
        elif not self._ended and reason.check(ConnectionDone):
            reason = Failure(CONNECTION_LOST)
        self._closing = self._ended = True
        del self._textReceived, self._handshakeCompleted  # they know us, and we would keep them
        del self._coder  # which is large, and a session whose client is away keeps us
        return reason

    # What the connection does

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """See L{Transport}."""
        self._below.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """See L{Transport}."""
        self._below.unregisterProducer()

    def pauseProducing(self) -> None:
        """See L{Transport}."""
        self._below.pauseProducing()

    def resumeProducing(self) -> None:
        """See L{Transport}."""
        self._below.resumeProducing()

    def timeOut(self, seconds: float) -> None:
        """See L{Transport}."""
        self._below.timeOut(seconds)

    @property
    def idle(self) -> bool:
        """See L{Transport}."""
        return self._below.idle

    @property
    def waiting(self) -> int:
        """See L{Transport}. What is begun in here is less than a record."""
        return self._below.waiting

    def unsent(self) -> int:
        """See L{Transport}."""
        return self._below.unsent()

    def getPeer(self) -> IAddress:
        """See L{Transport}."""
        return self._below.getPeer()


def _endOfHandshake(data: bytes, at: int) -> int:
    """
    Where the records of a handshake end that are next, and all here. Their messages may be cut into
    records as small as the peer likes; taken one by one, those were a dozen times the work.
    """
    size = len(data)
    while at + _HEADER <= size and data[at] == _HANDSHAKE and data[at + 1] == _VERSION:
        end = at + _HEADER + (data[at + 3] << 8 | data[at + 4])
        if end > size:
            break
        at = end
    return at
