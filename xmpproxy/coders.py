"""
OpenSSL without a connection: text into the records of TLS, and back.

There are two ways to OpenSSL. Python's own C{ssl} takes about half the memory and half the time of
pyOpenSSL; so it is what clients, of whom there are many, have. pyOpenSSL can tell why a certificate
was refused and what the login at a server is bound to; so it is what servers have.
"""

from __future__ import annotations

import ssl
from typing import Protocol

from OpenSSL import SSL

#: What XMPP is called where TLS is told what comes in it (XEP-0368).
ALPN = "xmpp-client"

#: Bytes of text in a record at most.
TEXT = 2**14

#: Bytes that OpenSSL is given, and of a text's records asked for, at a time: its buffers stay as
#: large as they ever were, so one long stanza would cost an idle session 20 KiB for each way.
_PIECE = 2**12

#: What the ways of a L{Coder} raise where TLS fails.
FAILURES = (ssl.SSLError, SSL.Error)


class Goodbye(Exception):
    """The peer has closed its side of TLS (RFC 8446, section 6.1)."""


class TooManyAnswers(Exception):
    """The peer has had TLS itself answer too often."""

    def __init__(self) -> None:
        super().__init__("asked for other keys or renegotiation too often")


class Coder(Protocol):
    """One end of TLS. What is said of errors: one of C{FAILURES}, after which it is of no use."""

    def receive(self, record: bytes) -> None:
        """
        Take a record, records of a handshake that is not completed, or the beginning of the stream
        of what are no records.
        """

    def shakeHands(self) -> bool:
        """
        Go on with the handshake, as far as that goes.

        @return: whether it is completed.
        """

    def decode(self) -> bytes:
        """
        The text of the record that was taken, C{b""} if it was about TLS itself.

        @raise Goodbye: there is no more.
        """

    def encode(self, text: bytes | memoryview) -> bytes:
        """
        Records with a text.

        @param text: C{TEXT} bytes at most.
        """

    def pending(self) -> bytes:
        """The records that TLS itself has for the peer; C{b""} for none."""

    def close(self) -> bool:
        """
        Close our side: the goodbye is in C{pending}.

        @return: whether the peer has closed its own.
        """


class StandardCoder:
    """By Python's own C{ssl}."""

    __slots__ = ("_in", "_object", "_out", "_rest")

    def __init__(self, context: ssl.SSLContext) -> None:
        """
        @param context: of a server.
        """
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._rest = b""  # of a record, to be taken
        self._object = context.wrap_bio(self._in, self._out, server_side=True)

    def receive(self, record: bytes) -> None:
        """See L{Coder}."""
        if len(record) > _PIECE:
            record, self._rest = record[:_PIECE], record[_PIECE:]
        self._in.write(record)

    def _takeMore(self) -> bool:
        if not self._rest:
            return False
        rest, self._rest = self._rest, b""
        self.receive(rest)
        return True

    def shakeHands(self) -> bool:
        """See L{Coder}."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return self._takeMore() and self.shakeHands()
        return True

    def decode(self) -> bytes:
        """See L{Coder}."""
        try:
            text = self._object.read(TEXT)
        except ssl.SSLWantReadError:
            return self.decode() if self._takeMore() else b""
        except ssl.SSLZeroReturnError:  # once we have closed, too
            raise Goodbye from None
        if not text:
            raise Goodbye
        return text

    def encode(self, text: bytes | memoryview) -> bytes:
        """See L{Coder}."""
        if len(text) <= _PIECE:
            self._object.write(text)
            return self._out.read()
        view = memoryview(text)
        return b"".join(self.encode(view[at : at + _PIECE]) for at in range(0, len(view), _PIECE))

    def pending(self) -> bytes:
        """See L{Coder}."""
        return self._out.read()

    def close(self) -> bool:
        """See L{Coder}."""
        try:
            self._object.unwrap()
        except ssl.SSLWantReadError:
            return False
        return True


class OpenSSLCoder:
    """
    By pyOpenSSL.

    @ivar connection: what there is to know of this TLS.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: SSL.Connection) -> None:
        """
        @param connection: a new one, without a socket, that knows whether it is client or server.
        """
        self.connection = connection

    def receive(self, record: bytes) -> None:
        """See L{Coder}."""
        self.connection.bio_write(record)

    def shakeHands(self) -> bool:
        """See L{Coder}."""
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def decode(self) -> bytes:
        """See L{Coder}."""
        try:
            return self.connection.recv(TEXT)
        except SSL.WantReadError:
            return b""
        except SSL.ZeroReturnError:
            raise Goodbye from None

    def encode(self, text: bytes | memoryview) -> bytes:
        """See L{Coder}."""
        self.connection.send(text)
        return self.connection.bio_read(2 * TEXT)

    def pending(self) -> bytes:
        """See L{Coder}."""
        parts = []
        try:
            while True:
                parts.append(self.connection.bio_read(2 * TEXT))
        except SSL.WantReadError:
            return b"".join(parts)

    def close(self) -> bool:
        """See L{Coder}."""
        return bool(self.connection.shutdown())
