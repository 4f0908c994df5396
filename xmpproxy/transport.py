"""
What a stream writes to: a connection that is written to at once.

Twisted's connections take bytes into a buffer, ask the reactor whether the socket can take any, and
write in a later turn. Nearly always it can. So here a connection that has nothing in its buffer is
written to straight away; what the socket does not take goes through the buffer as ever, which is
also what tells a producer that the peer does not read.
"""

from __future__ import annotations

import math
import socket
from array import array
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.protocols.policies import ProtocolWrapper

#: The option of a socket, where there is one.
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
#: What can be set at most, in milliseconds.
_LONGEST = 2**31 - 1
#: What a connection gets in the course of its life. Python keeps the attributes of objects in a
#: compact form as long as the first objects of their class have all of them; else each takes 1 KiB
#: more.
_LATER = ("producer", "streamingProducer", "producerPaused", "dataBuffer", "offset")


class Transport:
    """A connection, for bytes as they are. L{xmpproxy.records} has another, for bytes in TLS."""

    __slots__ = ("__weakref__", "_connection", "_dropped", "_socket")

    def __init__(self, connection: Any) -> None:
        """
        @param connection: Twisted's; of any kind, though only TCP and UNIX sockets, also behind
            the PROXY protocol, are written to at once.
        """
        self._connection = connection
        self._dropped = False
        self._socket = _socketOf(connection)
        if self._socket is not None:
            # What is written goes out now, not when the peer has acknowledged what went before.
            self._socket.setTcpNoDelay(True)
            for name in _LATER:
                setattr(self._socket, name, getattr(self._socket, name))

    def write(self, data: bytes) -> None:
        """
        Send bytes, now or as soon as the peer takes them. If the connection turns out to be broken,
        its protocol hears of that from the reactor, never in here.
        """
        socket = self._socket
        if socket is not None and _isIdle(socket):
            sent = socket.writeSomeData(data)
            if sent == len(data):
                return
            if isinstance(sent, int):
                data = data[sent:]
            # Else the socket is broken, which the reactor will find when it tries to write this.
        self._connection.write(data)

    def loseConnection(self) -> None:
        """Close the connection once all is written and no producer is registered."""
        self._connection.loseConnection()

    def abortConnection(self) -> None:
        """Drop the connection, and what is not written."""
        self._socket = None  # it is open until the reactor's next turn
        self._dropped = True
        self._connection.abortConnection()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Pause a producer while more is waiting than a buffer's worth."""
        self._connection.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Part with the producer."""
        self._connection.unregisterProducer()

    def pauseProducing(self) -> None:
        """Read no more."""
        self._connection.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self._connection.resumeProducing()

    def timeOut(self, seconds: float) -> None:
        """
        Have the system break the connection once the peer has not acknowledged anything of what
        was sent for so long, or has not read on (TCP_USER_TIMEOUT, RFC 5482). Linux alone can do
        that, and only TCP; else nothing happens.
        """
        handle = self._handle()
        if (
            _USER_TIMEOUT is not None
            and handle is not None
            and handle.family in (socket.AF_INET, socket.AF_INET6)
        ):
            with suppress(OSError):  # the connection is gone, which the reactor will find
                milliseconds = min(math.ceil(seconds * 1000), _LONGEST)
                handle.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, milliseconds)

    @property
    def idle(self) -> bool:
        """
        Whether our system has taken all that was written, as far as that can be known. A connection
        that is lost still knows.
        """
        socket = self._socket
        return not self._dropped and (socket is None or not _waits(socket))

    @property
    def waiting(self) -> int:
        """How many bytes our system has not taken yet."""
        connection = self._socket
        if connection is None:
            return 0
        buffered: int = len(connection.dataBuffer) - connection.offset + connection._tempDataLen
        return buffered

    def unsent(self) -> int:
        """How many bytes the peer's system has not taken yet, of those that ours has."""
        handle = self._handle()
        count = array("i", [0])
        if handle is not None:
            with suppress(OSError):
                ioctl(handle, TIOCOUTQ, count)
        return count[0]

    def _handle(self) -> socket.socket | None:
        handle = None if self._socket is None else self._socket.getHandle()
        return handle if isinstance(handle, socket.socket) else None

    def getPeer(self) -> IAddress:
        """Who is at the other end."""
        peer: IAddress = self._connection.getPeer()
        return peer


def _socketOf(connection: object) -> tcp.Connection | None:
    """The connection whose C{writeSomeData} writes to the socket, if it is of a kind we know."""
    while (
        isinstance(connection, ProtocolWrapper) and type(connection).write is ProtocolWrapper.write
    ):  # such as the one for the PROXY protocol, which changes nothing of what is written
        connection = connection.transport
    return connection if isinstance(connection, tcp.Connection) else None


def _isIdle(socket: tcp.Connection) -> bool:
    """Whether it is open and nothing waits to be written, which would have to go first."""
    return bool(socket.connected) and not _waits(socket)


def _waits(socket: tcp.Connection) -> bool:
    """Whether anything waits to be written."""
    return bool(socket.dataBuffer or socket._tempDataBuffer)
