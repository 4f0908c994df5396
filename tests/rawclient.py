"""A plain XMPP client for scripted tests: it sends what it is told and keeps all that it gets."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Literal
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from scramp import ScramClient
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IStreamClientEndpoint,
    ITCPTransport,
    ITLSTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.jid import JID, InvalidFormat
from twisted.words.xish.domish import Element

from tests.mailbox import Mailbox
from tests.rawstream import StreamReader

SECONDS = 10.0

Predicate = Callable[[Element], bool]
Tls = Literal["starttls", "direct", "none"]

_ids = count(1)


class AuthenticationFailed(Exception):
    """The server refused the login.

    @ivar condition: the SASL error condition (RFC 6120 6.5).
    @ivar element: the C{<failure/>} itself.
    """

    def __init__(self, element: Element) -> None:
        self.element = element
        self.condition = next(element.elements()).name
        super().__init__(element.toXml())


def message(body: str | None = None, **attributes: str) -> Predicate:
    """A predicate for messages, by body and attributes (C{from_} for C{from})."""
    wanted = {name.rstrip("_"): value for name, value in attributes.items()}

    def matches(element: Element) -> bool:
        return (
            element.name == "message"
            and (body is None or bodyOf(element) == body)
            and all(element.getAttribute(name) == value for name, value in wanted.items())
        )

    return matches


def bodyOf(element: Element) -> str | None:
    """The text of a message's C{<body/>}, if it has one."""
    return next((str(child) for child in element.elements() if child.name == "body"), None)


class RawClient:
    """One session, straight to whatever listens on a port.

    @param host: where to connect to.
    @param port: where to connect to.
    @param jid: the account's bare JID.
    @param password: its password.
    @param resource: the resource to ask for; L{None} leaves it to the server.
    @param trust: PEM file of the authority that must have signed the certificate for the JID's
        domain; L{None} for the system's own authorities.

    @ivar jid: the bare JID; once bound, the full JID that the server gave, if it can be prepared.
    @ivar address: the same as the server has written it.
    @ivar user: the name that it logs in with.
    @ivar features: the stream features offered last.
    @ivar header: the stream header that the server sent last.
    @ivar preface: bytes to send before anything else.
    """

    def __init__(
        self,
        host: str,
        port: int,
        jid: str,
        password: str,
        resource: str | None = None,
        trust: Path | None = None,
    ) -> None:
        self.jid = JID(jid)
        self.address = jid
        self.user = str(self.jid.user)
        self.features: Element | None = None
        self.header: Element | None = None
        self.preface = b""
        self._host = host
        self._port = port
        self._password = password
        self._resource = resource
        self._trust = trust
        self._mailbox: Mailbox[Element] = Mailbox(lambda: self.jid.full())
        self._raw: dict[int, bytes] = {}
        self._protocol = _Connection(self._gotHeader, self._gotElement, self._mailbox.close)

    @property
    def received(self) -> list[Element]:
        """The stanzas (and other elements) that came since the resource was bound."""
        return self._mailbox.received

    @property
    def bodies(self) -> list[str]:
        """The bodies of the messages among them."""
        texts = (bodyOf(item) for item in self.received if item.name == "message")
        return [text for text in texts if text is not None]

    @property
    def open(self) -> bool:
        """Whether it is connected, as far as it knows."""
        return self._protocol.open

    def forget(self) -> None:
        """Drop what came in so far."""
        self._mailbox.forget()
        self._raw.clear()

    async def login(
        self, tls: Tls = "starttls", mechanism: str = "PLAIN", priority: int | None = 0
    ) -> None:
        """Connect, authenticate, bind, and become available.

        @param tls: how to encrypt.
        @param mechanism: the SASL mechanism: PLAIN or one of SCRAM's without channel binding.
        @param priority: of the initial presence; L{None} sends none.
        """
        await self.connect(tls)
        await self.authenticate(mechanism)
        await self.bind()
        if priority is not None:
            self.send(f"<presence><priority>{priority}</priority></presence>")
        await self.sync()

    async def connect(self, tls: Tls = "starttls") -> None:
        """Connect and open a stream, up to the features that offer SASL mechanisms."""
        endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, self._host, self._port)
        if tls == "direct":
            endpoint = wrapClientTLS(self._verification(), endpoint)
        await connectProtocol(endpoint, self._protocol)
        self.send(self.preface)
        await self.openStream()
        if tls == "starttls":
            self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            await self.expect(_named("proceed"))
            self._protocol.startTls(self._verification())
            await self.openStream()

    async def openStream(self) -> None:
        """Send a stream header (no XML declaration: pyjabber refuses one) and get the features."""
        self._protocol.newStream()
        self.send(
            f"<stream:stream to={quoteattr(self.jid.host)} version='1.0' xmlns='jabber:client'"
            " xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        self.features = await self.expect(_named("features", "error"))
        if self.features.name == "error":
            raise AssertionError(self.features.toXml())

    async def authenticate(
        self, mechanism: str = "PLAIN", password: str | None = None, gs2: Literal["n", "y"] = "n"
    ) -> None:
        """Authenticate and open the stream anew.

        @param mechanism: the SASL mechanism: PLAIN or one of SCRAM's without channel binding.
        @param password: another password than the client's own.
        @param gs2: what to say about channel binding (RFC 5802 6): not supported, or supported and
            believed to be unsupported by the server.
        @raise AuthenticationFailed: refused; the stream can be used for another try.
        """
        user = self.user
        secret = self._password if password is None else password
        if mechanism == "PLAIN":
            self._auth(mechanism, f"\0{user}\0{secret}")
            await self._saslReply("success")
        else:
            unused = ("tls-unique", b"") if gs2 == "y" else None
            scram = ScramClient([mechanism], user, secret, channel_binding=unused)
            self._auth(mechanism, scram.get_client_first())
            scram.set_server_first(await self._saslReply("challenge"))
            self.send(
                f"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
                f"{_encoded(scram.get_client_final())}</response>"
            )
            scram.set_server_final(await self._saslReply("success"))
        await self.openStream()

    async def bind(self) -> None:
        """Bind the resource, and open the session that RFC 3921 asked for where it is required."""
        resource = f"<resource>{escape(self._resource)}</resource>" if self._resource else ""
        result = await self.iq(
            "set", f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{resource}</bind>"
        )
        if result["type"] != "result":
            raise AssertionError(result.toXml())
        self.address = str(next(next(result.elements()).elements()))
        try:
            self.jid = JID(self.address)
        except InvalidFormat:  # some servers allow what Twisted does not
            self.jid = JID(self.address.partition("/")[0])
        sessions = [child for child in _children(self.features) if child.name == "session"]
        if sessions and not list(sessions[0].elements()):
            await self.iq("set", "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>")
        self._mailbox.forget()

    def send(self, data: str | bytes) -> None:
        """Send some bytes as they are."""
        self._protocol.write(data.encode() if isinstance(data, str) else data)

    def say(self, to: str, body: str, type: str = "chat", id: str | None = None) -> str:
        """Send a message; returns its id."""
        chosen = id or f"m{next(_ids)}"
        self.send(
            f"<message to={quoteattr(to)} type={quoteattr(type)} id={quoteattr(chosen)}>"
            f"<body>{escape(body)}</body></message>"
        )
        return chosen

    async def expect(self, wanted: Predicate, timeout: float = SECONDS) -> Element:
        """Wait for an element; none is handed out twice.

        @param timeout: in seconds, until it is an assertion error that says what came instead.
        """
        return await self._mailbox.take(wanted, timeout)

    async def expectBodies(self, *bodies: str) -> None:
        """Wait for messages with these bodies, in whatever order."""
        for body in bodies:
            await self.expect(message(body))

    async def iq(self, type: Literal["get", "set"], payload: str, to: str = "") -> Element:
        """Send an iq and wait for its answer, result or error."""
        id = f"q{next(_ids)}"
        address = f" to={quoteattr(to)}" if to else ""
        self.send(f"<iq type='{type}' id='{id}'{address}>{payload}</iq>")
        return await self.expect(
            lambda element: (
                element.name == "iq"
                and element.getAttribute("id") == id
                and element.getAttribute("type") in ("result", "error")
            )
        )

    async def enableCarbons(self) -> Element:
        """Ask for Message Carbons (XEP-0280); returns the answer."""
        return await self.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")

    async def sync(self) -> None:
        """Wait until the server has handled everything sent so far, by a ping (XEP-0199)."""
        await self.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=self.jid.host)

    async def close(self) -> None:
        """End the stream and wait for the connection's end."""
        await self._protocol.close()

    async def abort(self) -> None:
        """Break the connection off."""
        await self._protocol.abort()

    async def expectEnd(self) -> None:
        """Wait until the other side has ended the connection."""
        await self._protocol.lost()

    def rawOf(self, element: Element) -> bytes:
        """The very bytes in which a received element came."""
        return self._raw[id(element)]

    def _gotHeader(self, header: Element) -> None:
        self.header = header

    def _gotElement(self, element: Element, raw: bytes) -> None:
        self._raw[id(element)] = raw
        self._mailbox.put(element)

    def _auth(self, mechanism: str, initial: str) -> None:
        self.send(
            f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>"
            f"{_encoded(initial)}</auth>"
        )

    async def _saslReply(self, expected: str) -> str:
        reply = await self.expect(_named("success", "challenge", "failure", "error"))
        if reply.name == "failure":
            raise AuthenticationFailed(reply)
        if reply.name != expected:
            raise AssertionError(reply.toXml())
        return base64.b64decode(str(reply)).decode()

    def _verification(self) -> IOpenSSLClientConnectionCreator:
        if self._trust is None:
            return ssl.optionsForClientTLS(self.jid.host)
        authority = ssl.Certificate.loadPEM(self._trust.read_bytes())
        return ssl.optionsForClientTLS(self.jid.host, ssl.trustRootFromCertificates([authority]))


class _Connection(Protocol):
    """The TCP connection of a client."""

    def __init__(
        self,
        onHeader: Callable[[Element], None],
        onElement: Callable[[Element, bytes], None],
        onLost: Callable[[Failure], None],
    ) -> None:
        self._onHeader = onHeader
        self._onElement = onElement
        self._onLost = onLost
        self._reader: StreamReader | None = None
        self._ended = False
        self._waiting: list[Deferred[None]] = []

    @property
    def open(self) -> bool:
        return self.transport is not None and not self._ended

    def newStream(self) -> None:
        self._reader = StreamReader(self._onHeader, self._onElement, self._streamEnded)

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def startTls(self, options: IOpenSSLClientConnectionCreator) -> None:
        transport = self.transport
        assert ITLSTransport.providedBy(transport)
        transport.startTLS(options)

    def dataReceived(self, data: bytes) -> None:
        if self._reader is None:
            raise AssertionError(f"unasked bytes: {data!r}")
        try:
            self._reader.feed(data)
        except expat.ExpatError:
            self._onLost(Failure())
            raise

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended = True
        self._onLost(reason)
        waiting, self._waiting = self._waiting, []
        for result in waiting:
            result.callback(None)

    async def lost(self) -> None:
        if not self._ended:
            result: Deferred[None] = Deferred()
            self._waiting.append(result)
            await result.addTimeout(SECONDS, reactor)

    async def close(self) -> None:
        if self.transport is not None and not self._ended:
            self.write(b"</stream:stream>")
            await self.lost()

    async def abort(self) -> None:
        transport = self.transport
        if transport is not None and not self._ended:
            assert ITCPTransport.providedBy(transport)
            transport.abortConnection()
            await self.lost()

    def _streamEnded(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


def _named(*names: str) -> Predicate:
    return lambda element: element.name in names


def _children(element: Element | None) -> Iterable[Element]:
    return () if element is None else element.elements()


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
