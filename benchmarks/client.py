"""The clients before the proxy: they log in, then send prebuilt bytes and count what they get."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Literal

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, ITLSTransport
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS

from benchmarks.sink import DOMAIN, MANAGED, Sink, SinkStream
from benchmarks.tally import REQUEST, Acknowledging, Tally
from benchmarks.words import AUTH, FEATURES, HEADER, STARTTLS
from xmpproxy.streammanagement import Enable

Tls = Literal["starttls", "direct", "none"]

_BIND = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%s</resource></bind>"
_CARBONS = "<enable xmlns='urn:xmpp:carbons:2'/>"


class Client(Protocol):
    """
    One client.

    @ivar tally: of the messages that it gets.
    @ivar management: the part that it has in stream management, if that is enabled.
    """

    transport: ITLSTransport

    def __init__(self) -> None:
        self.tally = Tally()
        self.management: Acknowledging | None = None
        self._read = b""
        self._sought = b""
        self._found: Deferred[None] = succeed(None)

    def dataReceived(self, data: bytes) -> None:
        if not self._sought:
            self.tally.feed(data)
            if self.management is not None:
                self.transport.write(self.management.feed(data))
            return
        self._read += data
        if self._sought in self._read:
            self._sought = self._read = b""
            self._found.callback(None)

    def connectionMade(self) -> None:
        # What is measured should not wait for acknowledgements.
        self.transport.setTcpNoDelay(True)

    async def login(
        self, user: str, resource: str, tls: Tls, options: IOpenSSLClientConnectionCreator
    ) -> None:
        """
        Negotiate TLS, log in, bind a resource and become available.

        @param options: verify the certificate that is to be shown.
        """
        if tls == "starttls":
            await self._ask(HEADER, FEATURES)
            await self._ask(STARTTLS, b"<proceed")
        if tls != "none":
            self.transport.startTLS(options)
        await self._ask(HEADER, FEATURES)
        initial = base64.b64encode(f"\0{user}\0secret".encode())
        await self._ask(AUTH % initial, b"<success")
        await self._ask(HEADER, FEATURES)
        await self._iq(_BIND % resource)
        self.transport.write(b"<presence/>")
        # Once this is answered, the presence is handled.
        await self._iq("<ping xmlns='urn:xmpp:ping'/>", kind="get")
        if user.startswith(MANAGED):
            await self._ask(Enable(resume=True).written(), b"<enabled")
            self.management = Acknowledging()

    async def enableCarbons(self) -> None:
        """Want carbons (XEP-0280, section 4)."""
        await self._iq(_CARBONS)

    async def _iq(self, payload: str, kind: str = "set") -> None:
        await self._ask(f"<iq type='{kind}' id='asked'>{payload}</iq>".encode(), b"asked")

    async def _ask(self, data: bytes, answer: bytes) -> None:
        """Send something, and wait for something."""
        self._sought = answer
        self._found = Deferred()
        self.transport.write(data)
        await self._found


class Session:
    """
    A client, and the sink's stream that it is joined to through what is measured; where that is a
    server, another client.

    @ivar jid: the full JID.
    """

    def __init__(self, jid: str, client: Client, stream: SinkStream | Client) -> None:
        self.jid = jid
        self._client = client
        self._stream = stream

    def arriving(self, messages: int) -> Deferred[None]:
        """Fires when that many messages more have come to the client."""
        return self._client.tally.expect(messages)

    def leaving(self, messages: int) -> Deferred[None]:
        """Fires when that many messages more have come to the server."""
        return self._stream.tally.expect(messages)

    def up(self, data: bytes) -> None:
        """The client sends."""
        if self._client.management is not None:
            data = self._client.management.asking(data)
        self._client.transport.write(data)

    def down(self, data: bytes) -> None:
        """The server sends."""
        if self._stream.management is not None:
            data = self._stream.management.asking(data)
        self._stream.transport.write(data)

    async def handled(self) -> None:
        """The server asks what of its stanzas is handled; done when the proxy has answered."""
        assert self._stream.management is not None
        self._stream.management.answered = Deferred()
        self._stream.transport.write(REQUEST)
        await self._stream.management.answered

    async def enableCarbons(self) -> None:
        """The client wants carbons."""
        await self._client.enableCarbons()

    def leave(self) -> None:
        """The client closes its connection."""
        self._client.transport.loseConnection()


class Door:
    """Where clients log in."""

    def __init__(self, port: int, tls: Tls, authority: Certificate, sink: Sink) -> None:
        """
        @param port: on 127.0.0.1.
        @param authority: who signed the certificate that is shown there.
        @param sink: the server behind.
        """
        self._port = port
        self._tls = tls
        self._options = optionsForClientTLS(DOMAIN, authority)
        self._sink = sink

    async def login(self, user: str, resources: Sequence[str]) -> list[Session]:
        """Log in one account, once for each resource, all at the same time."""
        logins = (self.logIn(user, resource) for resource in resources)
        return await gatherResults([Deferred.fromCoroutine(each) for each in logins])

    async def logIn(self, user: str, resource: str) -> Session:
        """Log in one session."""
        client = await self.connect(user, resource)
        jid = f"{user}@{DOMAIN}/{resource}"
        return Session(jid, client, self._sink.streams[jid])

    async def connect(self, user: str, resource: str) -> Client:
        """Log in one client, to whatever server."""
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self._port)
        client: Client = await connectProtocol(endpoint, Client())
        await client.login(user, resource, self._tls, self._options)
        return client
