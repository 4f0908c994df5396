"""
A network in memory, under a clock that stands still until it is told to go on.

The connections are Twisted's own, with all they do about buffers, producers, TLS and closing; only
their sockets are made up. So what a test sees is what happens on a real network, without waiting.
"""

from __future__ import annotations

import errno
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet._newtls import ClientMixin, ServerMixin
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()

#: Bytes that lie between two peers before the network takes no more.
CAPACITY = 65536
#: The most that a peer gets at a time, in bytes.
PORTION = 65536


class _Socket:
    """One end of a connection, with what L{tcp.Connection} needs of a socket."""

    def __init__(self) -> None:
        self.peer: _Socket = self
        self.inbox = bytearray()
        self.closed = False  # by this end ...
        self.ended = False  # ... or by the other, in order
        self.reset = False  # or not in order
        self._linger = True

    @property
    def readable(self) -> bool:
        return bool(self.inbox) or self.ended or self.reset

    @property
    def writable(self) -> bool:
        return self.peer.closed or len(self.peer.inbox) < CAPACITY

    def fileno(self) -> int:
        return -1 if self.closed else 3

    def setblocking(self, blocking: bool) -> None:
        assert not blocking

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """Twisted sets SO_LINGER, before it closes a connection that it aborts."""
        self._linger = False

    def recv(self, size: int) -> bytes:
        if not self.inbox:
            if self.reset:
                raise ConnectionResetError(errno.ECONNRESET, "reset by peer")
            if not self.ended:
                raise BlockingIOError(errno.EWOULDBLOCK, "nothing there")
        size = min(size, PORTION)
        data = bytes(self.inbox[:size])
        del self.inbox[:size]
        return data

    def send(self, data: memoryview) -> int:
        if self.peer.closed:
            raise BrokenPipeError(errno.EPIPE, "closed by peer")
        taken = bytes(data[: CAPACITY - len(self.peer.inbox)])
        if not taken and len(data):
            raise BlockingIOError(errno.EWOULDBLOCK, "full")
        self.peer.inbox += taken
        return len(taken)

    def shutdown(self, how: int) -> None:
        self.peer.ended = True

    def close(self) -> None:
        self.closed = True
        if not self._linger or self.inbox:  # TCP resets, too, where something was not read
            self.peer.reset = True
        self.peer.ended = True


class _Connection(tcp.Connection):
    def __init__(self, socket: _Socket, protocol: IProtocol, network: Network, peer: str) -> None:
        super().__init__(cast(Any, socket), protocol, cast(Any, network))
        self._peer = IPv4Address("TCP", peer, 50000)
        self.connected = 1
        self.startReading()

    def getPeer(self) -> IPv4Address:
        return self._peer

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 5222)


class _Initiating(ClientMixin, _Connection):
    _base = tcp.Connection


class _Receiving(ServerMixin, _Connection):
    _base = tcp.Connection


class Network(Clock):
    """All connections there are. For these it is the reactor."""

    def __init__(self) -> None:
        super().__init__()
        self._readers: dict[Any, None] = {}
        self._writers: dict[Any, None] = {}

    def connect(self, initiating: IProtocol, receiving: IProtocol, address: str) -> None:
        """
        Join two protocols.

        @param address: the IP address of the one that connects, as the other sees it.
        """
        near, far = _Socket(), _Socket()
        near.peer, far.peer = far, near
        server = _Receiving(far, receiving, self, address)
        client = _Initiating(near, initiating, self, "127.0.0.1")
        receiving.makeConnection(cast(Any, server))
        initiating.makeConnection(cast(Any, client))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.settle()
        self.advance(seconds)
        self.settle()

    def settle(self) -> None:
        """Deliver all there is, and what is said to that, until everybody is silent."""
        for _ in range(10_000):
            if not self._turn():
                return
        raise AssertionError("they talk without end")

    def _turn(self) -> bool:
        busy = any(call.getTime() <= self.seconds() for call in self.getDelayedCalls())
        self.advance(0)
        for each in list(self._writers):
            if each in self._writers and each.socket.writable:
                busy = True
                self._do(each, each.doWrite)
        for each in list(self._readers):
            if each in self._readers and each.socket.readable:
                busy = True
                self._do(each, each.doRead)
        return busy

    def _do(self, connection: _Connection, method: Any) -> None:
        """As Twisted's reactors do it."""
        try:
            why = method()
        except Exception as e:
            log.failure("in a protocol")
            why = e
        if why is not None:
            connection.connectionLost(Failure(why))

    # IReactorFDSet

    def addReader(self, reader: object) -> None:
        self._readers[reader] = None

    def removeReader(self, reader: object) -> None:
        self._readers.pop(reader, None)

    def addWriter(self, writer: object) -> None:
        self._writers[writer] = None

    def removeWriter(self, writer: object) -> None:
        self._writers.pop(writer, None)
