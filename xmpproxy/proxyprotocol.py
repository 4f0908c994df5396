"""The PROXY protocol, by which a load balancer says who connects, as HAProxy speaks it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.haproxy import proxyEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

#: What HAProxy sends for clients that have no address, such as those of a UNIX socket,
_UNKNOWN = b"PROXY UNKNOWN\r\n"
#: and how Twisted's parser has to have it.
_SPACED = b"PROXY UNKNOWN \r\n"


def serverEndpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """
    Make a server endpoint.

    @param text: an endpoint string, see L{xmpproxy.endpoints.parsedServer}.
    """
    kind, _, rest = text.partition(":")
    if kind == "haproxy":
        endpoint: IStreamServerEndpoint = proxyEndpoint(_Spacing(serverEndpoint(reactor, rest)))
    else:
        endpoint = serverFromString(reactor, text)
    return endpoint


@implementer(IStreamServerEndpoint)
class _Spacing:
    """An endpoint for Twisted's parser of the PROXY protocol."""

    def __init__(self, endpoint: IStreamServerEndpoint) -> None:
        self._endpoint = endpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen, before that parser."""
        return self._endpoint.listen(_SpacingFactory(protocolFactory))


@implementer(IProtocolFactory)
class _SpacingFactory:
    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory
        self.doStart = factory.doStart
        self.doStop = factory.doStop

    def buildProtocol(self, addr: IAddress) -> _Spacer | None:
        parser = self._factory.buildProtocol(addr)
        return None if parser is None else _Spacer(parser)


class _Spacer(Protocol):
    """Leaves the transport to the parser, and changes only what comes first."""

    def __init__(self, parser: IProtocol) -> None:
        self._parser = parser
        self._begin: bytes | None = b""  # as long as it may become that

    def connectionMade(self) -> None:
        assert self.transport is not None
        self._parser.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        if self._begin is not None:
            data = self._begin + data
            if len(data) < len(_UNKNOWN) and _UNKNOWN.startswith(data):
                self._begin = data
                return
            self._begin = None
            if data.startswith(_UNKNOWN):
                data = _SPACED + data[len(_UNKNOWN) :]
        self._parser.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._parser.connectionLost(reason)
