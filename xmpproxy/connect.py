"""
The way to a domain's server: a configured endpoint, or what DNS says (RFC 6120, section 3.2).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from random import Random
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.error import ConnectError, DNSLookupError, TimeoutError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.names import client, dns
from twisted.names.error import (
    AuthoritativeDomainError,
    DNSNameError,
    DNSQueryTimeoutError,
    DomainError,
    ResolverError,
)
from zope.interface import implementer

from xmpproxy import config

log = Logger()

#: For each host.
CONNECT_SECONDS = 15

#: How long DNS has for an answer, in seconds before each further try and the end.
_DNS_SECONDS = (1, 3, 5)

#: What to do about a connection that our system would not make, by error number.
_MENDS: dict[int | None, str] = {
    errno.EMFILE: "raise the hard limit of file descriptors (systemd's LimitNOFILE, ulimit -Hn)",
    errno.ENFILE: "raise the system's limit of open files (sysctl fs.file-max)",
    errno.EADDRNOTAVAIL: "the ports are used up: widen net.ipv4.ip_local_port_range, or have the "
    "server listen on several addresses",
}


class UnreachableError(Exception):
    """
    No connection to a domain's server.

    @ivar text: which hosts and ports were tried, and what became of each.
    @ivar mend: what the operator can do about it.
    """

    def __init__(self, text: str, mend: str) -> None:
        super().__init__(f"{text}; {mend}")
        self.text = text
        self.mend = mend


def clientEndpoint(
    reactor: Any, domain: config.Domain, resolver: Any = None
) -> IStreamClientEndpoint:
    """
    The endpoint of a domain's server; its C{connect} fails with L{UnreachableError}.

    @param reactor: provides C{IReactorTCP}, C{IReactorTime} and C{IReactorPluggableNameResolver},
        and what else a configured endpoint needs.
    @param resolver: asked for SRV records, a C{twisted.internet.interfaces.IResolver}; L{None}:
        the system's name servers.
    """
    if domain.upstream is not None:
        return _Configured(reactor, domain.upstream)
    return _Discovered(reactor, domain.name, domain.upstream_tls == "direct", resolver)


@implementer(IStreamClientEndpoint)
class _Configured:
    """An endpoint string."""

    def __init__(self, reactor: Any, text: str) -> None:
        self._text = text
        if text.startswith("tcp:") and ":timeout=" not in text:
            text += f":timeout={CONNECT_SECONDS}"
        self._endpoint = clientFromString(reactor, text)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IStreamClientEndpoint}."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        try:
            return cast(IProtocol, await self._endpoint.connect(factory))
        except (ConnectError, DNSLookupError) as error:
            raise UnreachableError(
                f"no connection to {self._text}: {_why(error)}",
                _MENDS.get(getattr(error, "osError", None))
                or "start the server there, or correct upstream",
            ) from error.with_traceback(None)  # see Upstreams


@implementer(IStreamClientEndpoint)
class _Discovered:
    """What the domain's SRV records name; without any, the domain itself."""

    def __init__(self, reactor: Any, domain: str, direct: bool, resolver: Any) -> None:
        self._reactor = reactor
        self._host = domain.encode("idna").decode("ascii")
        # XEP-0368 has a record of its own for TLS from the first byte, and no port
        service, self._port = ("_xmpps-client", 5223) if direct else ("_xmpp-client", 5222)
        self._name = f"{service}._tcp.{self._host}"
        self._resolver = resolver

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IStreamClientEndpoint}."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        tried = []
        for host, port in await self._targets():
            endpoint = HostnameEndpoint(self._reactor, host, port, timeout=CONNECT_SECONDS)
            try:
                return await endpoint.connect(factory)
            except (ConnectError, DNSLookupError) as error:
                tried.append(f"{host}:{port}: {_why(error)}")
        raise UnreachableError(
            f"no connection to the server of {self._host}: {', '.join(tried)}",
            f"start the server, correct the SRV records {self._name}, or set upstream",
        )

    async def _targets(self) -> list[tuple[str, int]]:
        """Hosts and ports, in the order to try them."""
        resolver = self._resolver or client.getResolver()
        try:
            answers, _, _ = await resolver.lookupService(self._name, timeout=_DNS_SECONDS)
        except DNSNameError:
            answers = []
        except (
            DomainError,
            AuthoritativeDomainError,
            DNSQueryTimeoutError,
            ResolverError,
        ) as error:
            log.warn(
                "DNS gives no answer for {name} ({error}): trying {host}:{port}",
                name=self._name,
                error=type(error).__name__,
                host=self._host,
                port=self._port,
            )
            answers = []
        records = [answer.payload for answer in answers if answer.type == dns.SRV]
        targets = [(_text(record.target), record.port) for record in inOrder(records, Random())]
        if not targets:
            return [(self._host, self._port)]
        reachable = [target for target in targets if target[0]]
        if not reachable:  # the target "." (RFC 2782)
            raise UnreachableError(
                f"the SRV record {self._name} says that there is no such service",
                "correct it, or set upstream",
            )
        return reachable


def inOrder(records: Iterable[dns.Record_SRV], random: Random) -> list[dns.Record_SRV]:
    """
    SRV records in the order to try them (RFC 2782): lowest priority first; among equals by lot, in
    which a record's weight is its number of tickets.

    @param random: the lot.
    """
    ordered = []
    left = sorted(records, key=lambda record: (record.priority, record.weight))
    while left:
        equals = [record for record in left if record.priority == left[0].priority]
        ticket = random.randint(0, sum(record.weight for record in equals))
        for drawn in equals:
            ticket -= drawn.weight
            if ticket <= 0:
                break
        left.remove(drawn)
        ordered.append(drawn)
    return ordered


def _text(name: dns.Name) -> str:
    """A host name as connections take it, empty for the root."""
    return name.name.decode("ascii", "replace").rstrip(".")


def _why(error: Exception) -> str:
    """What became of a connection, in few words."""
    if isinstance(error, TimeoutError):
        return "no answer"
    return str(error).rstrip(".")
