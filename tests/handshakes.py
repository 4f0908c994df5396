"""Real handshakes over transports in memory, the other end by Twisted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import IOPump, connect, makeFakeClient, makeFakeServer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.certificates import Authority, Identity
from xmpproxy.downstreamtls import ServerTLS
from xmpproxy.records import SecureTransport
from xmpproxy.transport import Transport

AUTHORITY = Authority()
GOOD = AUTHORITY.issue("example.com")


@implementer(IHandshakeListener)
class Peer(Protocol):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.received = b""
        self.completed = False
        self.lost: Failure | None = None
        self._handle: SSL.Connection | None = None
        self.clock = Clock()

    def handshakeCompleted(self) -> None:
        self.completed = True

    def write(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason
        self._handle = self.connection  # Twisted forgets it next

    @property
    def connection(self) -> SSL.Connection:
        handle = self._handle or self.transport.getHandle()  # type: ignore[union-attr]
        return cast(SSL.Connection, handle)


class Served(Peer):
    """Our side of TLS with clients."""

    def __init__(self, tls: ServerTLS) -> None:
        super().__init__()
        self.coder = tls.coder()

    def connectionMade(self) -> None:
        self._tls = SecureTransport(
            Transport(self.transport), self.coder, super().dataReceived, self.handshakeCompleted
        )
        self._tls.start()

    def write(self, data: bytes) -> None:
        self._tls.write(data)

    def dataReceived(self, data: bytes) -> None:
        self._tls.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = self._tls.connectionLost(reason)


def secured(
    peer: Peer,
    creator: IOpenSSLClientConnectionCreator | IOpenSSLServerConnectionCreator,
    *,
    isClient: bool,
) -> Protocol:
    """The protocol that gives TLS to a peer."""
    factory = TLSMemoryBIOFactory(creator, isClient, Factory.forProtocol(lambda: peer), peer.clock)
    return factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5222))


def joined(client: Protocol, server: Protocol) -> IOPump:
    """Connected by transports in memory."""
    pump = connect(server, makeFakeServer(server), client, makeFakeClient(client))
    return cast(IOPump, pump)


class Trip:
    """A client's and a server's TLS, joined, the handshake run as far as it goes."""

    def __init__(
        self, client: IOpenSSLClientConnectionCreator, server: ServerTLS | Plainly
    ) -> None:
        self.client = Peer()
        self.server: Peer
        protocol: Protocol
        if isinstance(server, ServerTLS):
            protocol = self.server = Served(server)
        else:
            self.server = Peer()
            protocol = secured(self.server, server, isClient=False)
        self.pump = joined(secured(self.client, client, isClient=True), protocol)
        self.pump.flush()

    def send(self, sender: Peer, data: bytes) -> None:
        sender.write(data)
        sender.clock.advance(0)
        self.pump.flush()


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class Plainly:
    """TLS of any kind."""

    def __init__(
        self, configure: Callable[[SSL.Context], object], identity: Identity | None = None
    ) -> None:
        self.context = SSL.Context(SSL.TLS_METHOD)
        self.context.set_cipher_list(b"ALL:@SECLEVEL=0")
        if identity:
            self.context.use_certificate(identity.certificate)
            for certificate in identity.between:
                self.context.add_extra_chain_cert(certificate)
            self.context.use_privatekey(identity.key)
        configure(self.context)
        self.session: SSL.Session | None = None

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        connection = SSL.Connection(self.context)
        if self.session:
            connection.set_session(self.session)
        return connection

    serverConnectionForTLS = clientConnectionForTLS


def nothing(context: SSL.Context) -> None:
    """Leave a context as it is."""


def only(version: int) -> Callable[[SSL.Context], None]:
    def configure(context: SSL.Context) -> None:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)

    return configure


def hello(version: int, suites: bytes = b"\0\4\xc0\x2b\0\x2f") -> bytes:
    """A client's first record, in one of the versions before TLS 1.3."""
    body = version.to_bytes(2) + bytes(32) + b"\0" + suites + b"\1\0"
    message = b"\1" + len(body).to_bytes(3) + body
    return b"\x16\3\1" + len(message).to_bytes(2) + message


def goodHello() -> bytes:
    """What a client of TLS 1.2 says first."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    connection = SSL.Connection(context)
    connection.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(2**14)


class TemporaryCase(SynchronousTestCase):
    """With a directory of its own."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.trust = AUTHORITY.write(self.directory / "ca.pem")

    def events(self, level: str) -> list[LogEvent]:
        """Collect what is logged from now on."""
        events: list[LogEvent] = []

        @implementer(ILogObserver)
        def note(event: LogEvent) -> None:
            if event["log_namespace"].endswith("tls") and event["log_level"].name == level:
                events.append(event)

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        return events
