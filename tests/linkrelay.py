"""A relay of TCP connections that breaks them when it is told to, as networks do."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from termios import TIOCOUTQ
from typing import Protocol as Structure

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IListeningPort, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

#: More than a socket holds.
_MOST_REST = 16_000_000


class Place(Structure):
    """Where something listens: a server of the lab, the proxy, a relay."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def trust(self) -> Path: ...


class Tap(Structure):
    """Hears all that passes through one link."""

    def nearSaid(self, data: bytes) -> None:
        """From who has connected to the relay."""

    def farSaid(self, data: bytes) -> None:
        """From the place."""

    def passed(self) -> None:
        """All that came from there has been taken by the system of who has connected."""

    def ended(self) -> None:
        """Both ends are gone."""


class LinkRelay:
    """A relay before a place; it stands in for it.

    What it is told to do it does to the links that exist then. Those that come later work: people
    whose network has died come back on another one.

    @ivar host: the address it listens on.
    @ivar port: the port it listens on, once started.
    @ivar trust: as of the place.
    """

    host = "127.0.0.1"

    def __init__(self, place: Place, tap: Callable[[], Tap] | None = None) -> None:
        """
        @param tap: makes what hears a link, for each.
        """
        self.port = 0
        self.trust = place.trust
        self._place = place
        self._tap = tap
        self._listening: IListeningPort | None = None
        self._links: list[_Link] = []
        self._waiting: list[Deferred[None]] = []

    @property
    def links(self) -> int:
        """How many links have at least one end that is open."""
        return len(self._links)

    async def start(self) -> None:
        """Listen."""
        endpoint = TCP4ServerEndpoint(reactor, 0, interface=self.host)
        self._listening = await endpoint.listen(_Links(self._accept))
        address = self._listening.getHost()
        assert isinstance(address, IPv4Address)
        self.port = address.port

    async def stop(self) -> None:
        """Break all links and listen no more."""
        if self._listening is not None:
            await _ended(self._listening.stopListening())
        self.cut()
        await self.gone()

    def cut(self) -> None:
        """Reset both ends of every link; what is under way on it is lost."""
        for link in self._links:
            link.cut()

    def freeze(self) -> None:
        """Pass nothing more on, and let neither end know what happens at the other."""
        for link in self._links:
            link.freeze()

    def thaw(self) -> None:
        """Go on where it froze: nothing was lost."""
        for link in list(self._links):
            link.thaw()

    async def gone(self) -> None:
        """Wait until there is no link."""
        if self._links:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting

    def _accept(self) -> Protocol:
        link = _Link(self._place, self._closed, None if self._tap is None else self._tap())
        self._links.append(link)
        return link.near

    def _closed(self, link: _Link) -> None:
        self._links.remove(link)
        if not self._links:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)


async def _ended(result: object) -> None:
    if isinstance(result, Deferred):
        await result


class _Links(Factory):
    """What listens."""

    def __init__(self, accept: Callable[[], Protocol]) -> None:
        self._accept = accept

    def buildProtocol(self, address: object) -> Protocol:
        return self._accept()


class _Link:
    """Two connections that are passed off as one."""

    def __init__(self, place: Place, closed: Callable[[_Link], None], tap: Tap | None) -> None:
        self._place = place
        self._closed = closed
        self._tap = tap
        self._uncut = False
        self.frozen = False
        self.near = _End(self)
        self.far = _End(self)
        self.near.other, self.far.other = self.far, self.near

    def opened(self, end: _End) -> None:
        self.near.update()
        self.far.update()
        if end is self.near:
            Deferred.fromCoroutine(self._reach())
        elif self.near.lost is not None:
            self.ended(self.near)
        else:
            self.near.tcp.registerProducer(self.far, True)
            self.far.tcp.registerProducer(self.near, True)

    async def _reach(self) -> None:
        endpoint = HostnameEndpoint(reactor, self._place.host, self._place.port)
        try:
            await connectProtocol(endpoint, self.far)
        except ConnectError:
            self.far.lost = Failure()
            self.ended(self.far)

    def said(self, end: _End, data: bytes) -> None:
        """One has sent something."""
        if self._tap is not None:
            (self._tap.nearSaid if end is self.near else self._tap.farSaid)(data)

    def cut(self) -> None:
        if self._tap is not None and self.near.open and self.far.open:
            if self.near.taken:
                self._tap.passed()
            if self.frozen:
                self._tap.farSaid(self.far.rest())
        self.frozen = False
        for end in (self.near, self.far):
            if end.open:
                end.abort()

    def freeze(self) -> None:
        self.frozen = True
        self.near.update()
        self.far.update()

    def thaw(self) -> None:
        self.frozen = False
        for end in (self.near, self.far):
            end.update()
            if end.lost is not None:
                self.ended(end)

    def ended(self, end: _End) -> None:
        """One is gone: the other goes in the same way."""
        other = end.other
        if other.lost is not None:
            if self._tap is not None:
                if self._uncut and self.near.closed:
                    self._tap.passed()
                self._tap.ended()
            self._closed(self)
        elif other.open and not self.frozen:
            if end.closed:
                self._uncut = end is self.far
                other.tcp.unregisterProducer()  # else it would wait for more
                other.tcp.loseConnection()
            else:
                other.abort()


@implementer(IPushProducer)
class _End(Protocol):
    """One end of a link. It is read as fast as the other end takes it."""

    other: _End

    def __init__(self, link: _Link) -> None:
        self.lost: Failure | None = None
        self._link = link
        self._choked = False

    @property
    def tcp(self) -> Connection:
        assert isinstance(self.transport, Connection)
        return self.transport

    @property
    def open(self) -> bool:
        return self.transport is not None and self.lost is None

    @property
    def closed(self) -> bool:
        """Whether it was closed in order."""
        return self.lost is not None and self.lost.check(ConnectionDone) is not None

    def update(self) -> None:
        """Read, or do not."""
        if not self.open:
            return
        if self.other.open and not self._link.frozen and not self._choked:
            self.tcp.resumeProducing()
        else:
            self.tcp.pauseProducing()

    def abort(self) -> None:
        self.tcp.abortConnection()

    @property
    def taken(self) -> bool:
        """Whether the system of the peer has taken all that was sent."""
        tcp = self.tcp
        if tcp.dataBuffer or tcp._tempDataBuffer:
            return False
        left = ioctl(tcp.fileno(), TIOCOUTQ, struct.pack("i", 0))
        return struct.unpack("i", left) == (0,)

    def rest(self) -> bytes:
        """What has come and was not read."""
        try:
            return self.tcp.getHandle().recv(_MOST_REST)
        except OSError:
            return b""

    def connectionMade(self) -> None:
        self._link.opened(self)

    def dataReceived(self, data: bytes) -> None:
        self._link.said(self, data)
        self.other.tcp.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason
        self._link.ended(self)

    def pauseProducing(self) -> None:
        self._choked = True
        self.update()

    def resumeProducing(self) -> None:
        self._choked = False
        self.update()

    def stopProducing(self) -> None:
        pass
