"""
The stage for scripted conversations: the whole proxy, between peers that a test plays.

A test reads from top to bottom: who sends what, who gets what. XML is compared as XML: attributes
in whatever order, `*` for any value. At the end of each test nobody may have got anything that the
test did not ask for, nothing may be left of the proxy's sessions once everybody is gone, and
neither passwords nor what people said may be in the log.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import ILogObserver, LogEvent, eventAsJSON, eventAsText, globalLogPublisher
from twisted.protocols import tls as twistedTLS
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element
from zope.interface import implementer, provider

from tests.memorynetwork import Network
from tests.rawstream import StreamReader
from xmpproxy import config, ns, xmlstream
from xmpproxy.account import Accounts
from xmpproxy.admission import Admission
from xmpproxy.computing import Compute
from xmpproxy.connect import UnreachableError
from xmpproxy.downstream import Downstream, DownstreamFactory
from xmpproxy.downstreamtls import ServerTLS
from xmpproxy.handlers import CHAIN
from xmpproxy.ids import copyIds
from xmpproxy.keepalive import KeepAlive
from xmpproxy.limitlog import LimitLog
from xmpproxy.login import Login
from xmpproxy.queues import Queues
from xmpproxy.resumption import Resumables
from xmpproxy.session import Chain, Session
from xmpproxy.upstream import Upstreams
from xmpproxy.upstreamtls import UpstreamTLS

DOMAIN = "example.com"
OTHER_DOMAIN = "example.org"  # is served, too; nobody on stage has an account there
JULIET = f"juliet@{DOMAIN}"
ROMEO = "romeo@example.net"
PASSWORD = "R0m30myR0m30"

PLAIN = f"<mechanisms xmlns='{ns.SASL}'><mechanism>PLAIN</mechanism></mechanisms>"
STARTTLS = f"<starttls xmlns='{ns.TLS}'/>"
STARTTLS_REQUIRED = f"<starttls xmlns='{ns.TLS}'><required/></starttls>"
PROCEED = f"<proceed xmlns='{ns.TLS}'/>"
SUCCESS = f"<success xmlns='{ns.SASL}'/>"
BIND = f"<bind xmlns='{ns.BIND}'/>"
PING = f"<iq type='get' id='*' to='{DOMAIN}'><ping xmlns='{ns.PING}'/></iq>"
#: What the proxy asks a server about itself and the account, and how it enables carbons there.
DISCO = f"<iq type='get' id='*' to='{DOMAIN}'><query xmlns='{ns.DISCO_INFO}'/></iq>"
DISCO_ACCOUNT = f"<iq type='get' id='*' to='*'><query xmlns='{ns.DISCO_INFO}'/></iq>"
ENABLE = f"<iq type='set' id='*'><enable xmlns='{ns.CARBONS}'/></iq>"
OFFERED_MANAGEMENT = "".join(f"<sm xmlns='{each}'/>" for each in ns.STREAM_MANAGEMENT)
#: The features that a client is offered once it has authenticated with a server that has none.
BINDING = (
    f"<stream:features><bind xmlns='{ns.BIND}'><required/></bind>"
    f"<session xmlns='{ns.SESSION}'><optional/></session>"
    f"<csi xmlns='{ns.CSI}'/>{OFFERED_MANAGEMENT}</stream:features>"
)


def plain(password: str = PASSWORD, user: str = "juliet") -> str:
    """An C{<auth/>} of SASL PLAIN."""
    response = b64encode(f"\0{user}\0{password}".encode()).decode()
    return f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'>{response}</auth>"


def features(*offered: str) -> str:
    """Stream features."""
    return f"<stream:features>{''.join(offered)}</stream:features>"


def mechanisms(*names: str) -> str:
    """The stream feature that offers SASL mechanisms."""
    listed = "".join(f"<mechanism>{name}</mechanism>" for name in names)
    return f"<mechanisms xmlns='{ns.SASL}'>{listed}</mechanisms>"


def failure(condition: str, text: str | None = None) -> str:
    """A failure of SASL."""
    inner = "" if text is None else f"<text xml:lang='en'>{text}</text>"
    return f"<failure xmlns='{ns.SASL}'><{condition}/>{inner}</failure>"


def bound(jid: str, id: str = "bind") -> str:
    """A server's answer to a bind request."""
    inner = f"<bind xmlns='{ns.BIND}'><jid>{jid}</jid></bind>"
    return f"<iq type='result' id='{id}'>{inner}</iq>"


_ERROR_TEXT = (ns.STREAM_ERRORS, "text")


class Peer(Protocol):
    """
    A client or server, whose author is the test.

    @ivar raw: the bytes of the element that was got last.
    @ivar handled: how many stanzas have come since stream management was enabled.
    @ivar ignores: whether what comes is not worth reading.
    @ivar gone: whether its connection is lost, and C{reason}: why.
    """

    name = "?"
    ignores = False
    gone = False
    reason: BaseException | None = None

    def __init__(self, network: Network, secrets: set[bytes]) -> None:
        self.raw = b""
        self.handled = 0
        self._network = network
        self._secrets = secrets
        self._reader: StreamReader | None = None
        self._came: deque[tuple[str, Element | None, bytes]] = deque()

    # What it says

    def sends(self, xml: str | bytes) -> None:
        """Send something, and let everybody react."""
        data = xml.encode() if isinstance(xml, str) else xml
        self._secrets.update(_SECRET.findall(data))
        assert self.transport is not None
        self.transport.write(data)
        self._network.settle()

    def restarts(self) -> None:
        """Take what comes next as the beginning of a stream."""
        self._reader = None

    def acknowledges(self, namespace: str = ns.STREAM_MANAGEMENT[0]) -> None:
        """Say how many stanzas have come since stream management was enabled (XEP-0198)."""
        self.sends(f"<a xmlns='{namespace}' h='{self.handled % 2**32}'/>")

    def closes(self) -> None:
        """Close the stream, and the connection."""
        self.sends("</stream:stream>")
        self.hangsUp()

    def hangsUp(self) -> None:
        """Close the connection."""
        assert self.transport is not None
        self.transport.loseConnection()
        self._network.settle()

    def vanishes(self) -> None:
        """Have the connection break, which is no news to this peer then."""
        if not self.gone:
            self._connection.abortConnection()
            self._network.settle()
            self._came = deque(each for each in self._came if each[0] != "connection lost")

    def stopsReading(self) -> None:
        """Take nothing more from the network."""
        self._connection.pauseProducing()

    def readsOn(self) -> None:
        """Take what has piled up."""
        self._connection.resumeProducing()
        self._network.settle()

    @property
    def unsent(self) -> int:
        """How many bytes the other side has not taken yet."""
        connection = self._connection
        unsent: int = len(connection.dataBuffer) - connection.offset + connection._tempDataLen
        return unsent

    @property
    def _connection(self) -> Any:
        return self.transport

    # What it gets

    def gets(self, expected: str) -> Element:
        """The next that it got is this element."""
        wanted = _parsed(expected)
        kind, element, self.raw = self._next(expected)
        if kind != "element" or element is None or not _alike(wanted, element):
            raise AssertionError(f"{self.name} got {_shown(kind, element)}\nand not {expected}")
        return element

    def getsBytes(self, expected: str) -> None:
        """The next that it got are the very bytes of this element."""
        self.gets(expected)
        if self.raw != expected.encode():
            raise AssertionError(f"{self.name} got {self.raw!r}\nand not {expected.encode()!r}")

    def getsHeader(self, **attributes: str) -> Element:
        """The next that it got is a stream header, with these attributes (`from_` for `from`)."""
        kind, element, _ = self._next("a stream header")
        if kind != "header" or element is None:
            raise AssertionError(f"{self.name} got {_shown(kind, element)}\nand no stream header")
        for name, value in attributes.items():
            if element.getAttribute(name.rstrip("_")) != value:
                raise AssertionError(f"{self.name} got {element.toXml()}\nand not {name}={value}")
        return element

    def getsEnd(self) -> None:
        """The next is that the other side has closed its stream."""
        self._getsKind("end of stream")

    def losesConnection(self) -> None:
        """The next is that the connection is gone, without another byte."""
        self._getsKind("connection lost")

    def isLeft(self) -> None:
        """The next is the end of the stream, and of the connection."""
        self.getsEnd()
        self.losesConnection()

    def getsError(self, condition: str, *more: tuple[str, str]) -> None:
        """
        The next is a stream error, whatever its text, and the end of stream and connection.

        @param more: what else it says.
        """
        kind, element, _ = self._next(condition)
        said = [] if element is None else [(each.uri, each.name) for each in element.elements()]
        wanted = [(ns.STREAM_ERRORS, condition)]
        if (
            element is None
            or (element.uri, element.name) != (ns.STREAMS, "error")
            or said not in ([*wanted, *more], [*wanted, _ERROR_TEXT, *more])
        ):
            raise AssertionError(f"{self.name} got {_shown(kind, element)}\nand not {condition}")
        self.isLeft()

    @property
    def next(self) -> str:
        """The name of the next element that it got, empty if there is none."""
        element = self._came[0][1] if self._came else None
        return "" if element is None else str(element.name)

    def getsNothing(self) -> None:
        """There is nothing that it got and was not asked for."""
        self._network.settle()
        if self._came:
            came = "\n".join(_shown(kind, element) for kind, element, _ in self._came)
            raise AssertionError(f"{self.name} got\n{came}")

    def _getsKind(self, expected: str) -> None:
        kind, element, _ = self._next(expected)
        if kind != expected:
            raise AssertionError(f"{self.name} got {_shown(kind, element)}\nand not {expected}")

    def _next(self, expected: str) -> tuple[str, Element | None, bytes]:
        if not self._came:
            raise AssertionError(f"{self.name} got nothing\nand not {expected}")
        return self._came.popleft()

    # Protocol

    def dataReceived(self, data: bytes) -> None:
        if self.ignores:
            return
        if self._reader is None:
            self._reader = StreamReader(
                lambda header: self._came.append(("header", header, b"")),
                self._gotElement,
                lambda: self._came.append(("end of stream", None, b"")),
            )
        self._reader.feed(data)

    def _gotElement(self, element: Element, raw: bytes) -> None:
        self._came.append(("element", element, raw))
        if element.uri == ns.CLIENT:
            self.handled += 1
        elif element.uri in ns.STREAM_MANAGEMENT and element.name in ("enable", "enabled"):
            self.handled = 0

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True
        self.reason = reason.value
        self._came.append(("connection lost", None, b""))


P = TypeVar("P", bound=Peer)


class Client(Peer):
    """Plays a client."""

    name = "the client"

    def opens(self, **attributes: str) -> None:
        """Send a stream header."""
        self.restarts()
        self.sends(self.header(**attributes))

    @staticmethod
    def header(**attributes: str) -> str:
        """A client's stream header."""
        return _header({"to": DOMAIN, "version": "1.0"} | attributes)

    def startsTLS(self, options: IOpenSSLClientConnectionCreator, to: str = DOMAIN) -> None:
        """Have TLS from now on, and open a stream."""
        self._connection.startTLS(options)
        self.opens(to=to)


class Server(Peer):
    """
    Plays the account's server.

    @ivar direct: for TLS from the first byte.
    """

    name = "the server"
    direct: IOpenSSLServerConnectionCreator | None = None

    def opens(self, offered: str, **attributes: str) -> None:
        """Answer a stream header with another one and stream features."""
        self.getsHeader(to=DOMAIN, version="1.0")
        self.sends(self.header(**attributes) + offered)

    @staticmethod
    def header(**attributes: str) -> str:
        """A server's stream header."""
        return _header({"from": DOMAIN, "id": "s1", "version": "1.0"} | attributes)

    def connectionMade(self) -> None:
        if self.direct is not None:
            self._connection.startTLS(self.direct)

    def startsTLS(self, options: IOpenSSLServerConnectionCreator, saying: str = PROCEED) -> None:
        """Answer a request for TLS, and have TLS from now on."""
        self._connection.write(saying.encode())
        self._connection.startTLS(options)
        self.restarts()
        self._network.settle()

    @property
    def finished(self) -> bytes:
        """What a login is bound to by C{tls-unique}: the first Finished message."""
        data: bytes = self._connection.getHandle().get_peer_finished()
        return data

    def succeeds(self) -> None:
        """Tell the client that its login is good."""
        self.restarts()
        self.sends(SUCCESS)

    def answers(self, request: Element, payload: str = "") -> None:
        """Answer an iq with a result."""
        self.sends(f"<iq type='result' id='{request['id']}' from='{DOMAIN}'>{payload}</iq>")

    def answersDisco(self, *offered: str) -> None:
        """The proxy asks what the server can do; the server tells."""
        listed = "".join(f"<feature var='{feature}'/>" for feature in offered)
        self.answers(self.getsDisco(), f"<query xmlns='{ns.DISCO_INFO}'>{listed}</query>")

    def getsDisco(self) -> Element:
        """The proxy asks what server and account can do; the latter can do nothing."""
        request = self.gets(DISCO)
        self.answers(self.gets(DISCO_ACCOUNT))
        return request

    def answersPing(self) -> None:
        """The proxy asks whether the server has handled everything; it has."""
        self.answers(self.gets(PING))


class Window(NamedTuple):
    """
    One session: a client, and the stream that the proxy has to the server for it.

    @ivar jid: the full JID.
    """

    client: Client
    server: Server
    jid: str


@implementer(IStreamClientEndpoint)
class _Host:
    """
    The account's server, seen from the proxy.

    @ivar refuses: whether it refuses connections.
    @ivar hangs: whether connections to it are never made.
    @ivar cancelled: whether an attempt to connect was given up.
    """

    def __init__(self, network: Network, accept: Callable[[], Server]) -> None:
        self.refuses = False
        self.hangs = False
        self.cancelled = False
        self._connecting: list[Deferred[IProtocol]] = []
        self._network = network
        self._accept = accept

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        if self.refuses:
            return fail(ConnectionRefusedError())
        if self.hangs:
            self._connecting.append(Deferred(self._cancel))
            return self._connecting[-1]
        protocol = protocolFactory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 15222))
        assert protocol is not None
        self._network.connect(protocol, self._accept(), "127.0.0.1")
        return succeed(protocol)

    def _cancel(self, connecting: Deferred[IProtocol]) -> None:
        self._connecting.remove(connecting)
        self.cancelled = True

    def fails(self) -> None:
        """Connections that are being made fail."""
        connecting, self._connecting = self._connecting, []
        for each in connecting:
            each.errback(UnreachableError("no answer", "start the server"))
        self._network.settle()


class Conversation(SynchronousTestCase):
    """
    A test case with a proxy on stage.

    @cvar listen: the listener that clients connect to. No TLS, unless a subclass says otherwise.
    @cvar domain: the domain that is proxied, likewise.
    @cvar enable: how the proxy enables stream management with the server,
    @cvar enabled: and what the server answers.
    @ivar network: the network, and the clock.
    @ivar host: the account's server: who takes the proxy's connections.
    @ivar factory: the listener that clients connect to now.
    @ivar compute: what computes SCRAM's iterations.
    """

    listen: ClassVar = config.Listen(endpoint="tcp:5222:interface=127.0.0.1", tls="none")
    domain: ClassVar = config.Domain(
        name=DOMAIN, upstream="tcp:127.0.0.1:15222", upstream_tls="none"
    )
    mirror: ClassVar = config.Mirror()
    limits: ClassVar = config.Limits()
    streamManagement: ClassVar = config.StreamManagement()
    enable: ClassVar = f"<enable xmlns='{ns.STREAM_MANAGEMENT[0]}'/>"
    enabled: ClassVar = f"<enabled xmlns='{ns.STREAM_MANAGEMENT[0]}'/>"
    chain: ClassVar[Chain] = CHAIN

    def setUp(self) -> None:
        self.network = Network()
        self.patch(twistedTLS, "_get_default_clock", lambda: self.network)
        self.patch(xmlstream, "perf_counter", self.network.seconds)
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self._observe)
        self.addCleanup(globalLogPublisher.removeObserver, self._observe)
        self.accounts = Accounts(copyIds())
        self.resumables = Resumables(self.streamManagement, self.network)
        self.queues = Queues(self.limits.all_queues_bytes, self.accounts.sessions, self.network)
        self.keepAlive = KeepAlive(self.streamManagement.idle_seconds, self.accounts, self.network)
        self.keepAlive.startService()
        self.admission = Admission(self.limits, self.network.seconds)
        self.limitLog = LimitLog(self.limits, self.network)
        self.limitLog.startService()
        self.host = _Host(self.network, self._accept)
        self.upstreams = Upstreams(
            self.domain, self.host, self.upstreamTLS(), self.limits, self.network
        )
        self.compute: Compute = maybeDeferred  # at once
        self.factory = self.listener(self.listen)
        self._peers: list[Peer] = []
        self._accepted: deque[Server] = deque()
        self._secrets = {PASSWORD.encode()}

    # What a test with TLS replaces

    def upstreamTLS(self) -> UpstreamTLS:
        """The proxy's side of TLS with the server."""
        return UpstreamTLS(DOMAIN)

    def downstreamTLS(self) -> ServerTLS | None:
        """The proxy's side of TLS with clients."""
        return None

    def clientTLS(self) -> IOpenSSLClientConnectionCreator:
        """A client's side of TLS."""
        raise NotImplementedError

    def serverTLS(self) -> IOpenSSLServerConnectionCreator:
        """The server's side of TLS."""
        raise NotImplementedError

    def directTLS(self) -> IOpenSSLServerConnectionCreator | None:
        """The same from the first byte, if the server does so."""
        return None

    # Who is on stage

    def listener(self, listen: config.Listen) -> DownstreamFactory:
        """Make another listener."""
        session = partial(
            Session,
            chain=self.chain,
            accounts=self.accounts,
            resumables=self.resumables,
            queues=self.queues,
            mirror=self.mirror,
            streamManagement=self.streamManagement,
        )

        def login(downstream: Downstream, domain: str) -> Login:
            return Login(
                downstream,
                self.upstreams,
                session,
                self.accounts,
                self.resumables,
                self.compute,
            )

        return DownstreamFactory(
            listen,
            self.limits,
            {self.domain.name, OTHER_DOMAIN},
            self.downstreamTLS(),
            login,
            self.admission,
            self.limitLog,
            self.network,
        )

    def client(self, host: str = "192.0.2.1") -> Client:
        """
        A client connects.

        @param host: the IP address that it connects from.
        """
        client = self._played(Client)
        downstream: Any = self.factory.buildProtocol(IPv4Address("TCP", host, 50000))
        if downstream is None:  # as Twisted's ports have it
            self.network.connect(client, downstream := Protocol(), host)
            downstream.transport.loseConnection()
        else:
            self.network.connect(client, downstream, host)
        self.network.settle()
        return client

    def server(self) -> Server:
        """The server, at the end of the next stream that the proxy has begun to it."""
        self.network.settle()
        if not self._accepted:
            raise AssertionError("the proxy has begun no stream to the server")
        return self._accepted.popleft()

    def _accept(self) -> Server:
        server = self._played(Server)
        server.direct = self.directTLS()
        self._accepted.append(server)
        return server

    def _played(self, kind: type[P]) -> P:
        peer = kind(self.network, self._secrets)
        self._peers.append(peer)
        return peer

    # Scenes that many plays begin with

    def knocks(self) -> tuple[Client, Server]:
        """A client begins a stream, and the proxy one to a server that has said nothing yet."""
        client = self.client()
        client.opens()
        client.getsHeader()
        server = self.server()
        server.getsHeader()
        return client, server

    def proceeds(self) -> Client:
        """A client connects, up to where it is to begin with TLS."""
        client = self.client()
        client.opens()
        client.getsHeader(from_=DOMAIN)
        client.gets(features(STARTTLS_REQUIRED))
        client.sends(STARTTLS)
        client.gets(PROCEED)
        return client

    def meets(self, offered: str = PLAIN, shown: str | None = None) -> tuple[Client, Server]:
        """
        A client connects, up to the features that offer SASL.

        @param offered: the features that the server offers.
        @param shown: the ones that the client gets, if not these.
        """
        client = self.client()
        client.opens()
        client.getsHeader(from_=DOMAIN, version="1.0")
        if self.listen.tls == "starttls":
            client.gets(features(STARTTLS_REQUIRED))
            client.sends(STARTTLS)
            client.gets(PROCEED)
            client.startsTLS(self.clientTLS())
            client.getsHeader(from_=DOMAIN)
        server = self.server()
        if self.domain.upstream_tls == "starttls":
            server.opens(features(STARTTLS))
            server.gets(STARTTLS)
            server.startsTLS(self.serverTLS())
        server.opens(features(offered))
        client.gets(features(shown or offered))
        return client, server

    def authenticates(self, user: str = "juliet", offered: str = "") -> tuple[Client, Server]:
        """
        A client connects and authenticates.

        @param offered: features that the server offers then, besides binding.
        """
        client, server = self.meets()
        client.sends(plain(user=user))
        server.gets(plain(user=user))
        server.succeeds()
        client.gets(SUCCESS)
        client.opens()
        client.getsHeader(from_=DOMAIN)
        server.opens(features(BIND, offered))
        return client, server

    def logsIn(
        self,
        resource: str,
        user: str = "juliet",
        *,
        carbons: bool = False,
        managed: bool = False,
        priority: int | None = 0,
    ) -> Window:
        """
        A client logs in, and becomes available.

        @param carbons: whether the server has carbons.
        @param managed: whether it has stream management.
        @param priority: of its presence; L{None} for no presence.
        """
        client, server = self.authenticates(user, OFFERED_MANAGEMENT if managed else "")
        client.gets(BINDING)
        jid = f"{user}@{DOMAIN}/{resource}"
        request = f"<bind xmlns='{ns.BIND}'><resource>{resource}</resource></bind>"
        client.sends(f"<iq type='set' id='bind'>{request}</iq>")
        server.gets(f"<iq type='set' id='bind'>{request}</iq>")
        server.sends(bound(jid))
        if managed:
            server.gets(self.enable)
            server.sends(self.enabled)
        if self.mirror.server_carbons == "auto":
            server.answersDisco(*[ns.CARBONS] * carbons)
            if carbons:
                server.answers(server.gets(ENABLE))
        else:
            server.answers(server.gets(DISCO_ACCOUNT))
        client.gets(bound(jid))
        window = Window(client, server, jid)
        if priority is not None:
            presence = f"<presence><priority>{priority}</priority></presence>"
            client.sends(presence)
            server.gets(presence)
        return window

    # The log

    @provider(ILogObserver)
    def _observe(self, event: LogEvent) -> None:
        self.events.append(event)

    @property
    def log(self) -> list[str]:
        """What was logged: a line each."""
        return [eventAsText(event, includeTimestamp=False) for event in self.events]

    def assertLogged(self, *parts: str) -> None:
        """One line of the log has all these parts."""
        if not any(all(part in line for part in parts) for line in self.log):
            raise AssertionError(f"{parts} is not in the log:\n" + "\n".join(self.log))

    def logAnew(self) -> None:
        """Nothing was logged, not even in this minute."""
        self.limitLog.stopService()
        self.limitLog.startService()
        del self.events[:]

    def assertNotLogged(self, part: str) -> None:
        """No line of the log has this part."""
        self.assertEqual([line for line in self.log if part in line], [])

    def assertNoSecretsLogged(self) -> None:
        """Neither passwords nor what people said are anywhere in what was logged, at any level."""
        logged = "\n".join(_everythingIn(event) for event in self.events)
        told = [each for each in self._secrets if each.decode(errors="replace") in logged]
        self.assertEqual(told, [])

    def assertOneLineEach(self) -> None:
        """Whatever peers are called, each event is one line, of ASCII that can be seen."""
        lines = [
            eventAsText(event, includeTimestamp=False)
            for event in self.events
            if "log_failure" not in event
        ]
        self.assertEqual(
            [each for each in lines if not (each.isascii() and each.isprintable())], []
        )

    # The end

    def tearDown(self) -> None:
        for peer in self._peers:
            peer.getsNothing()
        self.assertFalse(self._accepted, "the proxy has begun a stream that nobody asked for")
        for peer in self._peers:
            peer.vanishes()
        self.network.settle()
        self.keepAlive.stopService()
        self.limitLog.stopService()
        self.resumables.stopService()
        self.assertEqual(self.network.getDelayedCalls(), [], "left behind")
        self.assertEqual(len(self.factory.streams), 0, "left behind")
        self.assertEqual(len(self.upstreams.streams), 0, "left behind")
        self.assertEqual(list(self.accounts), [], "left behind")
        self.assertEqual(self.queues.total, 0, "left behind")
        self.assertEqual(self.admission.connections, 0, "left behind")
        self.assertEqual(self.admission.logins, 0, "left behind")
        self.assertNoSecretsLogged()
        self.assertOneLineEach()


#: What must not be found in a log: passwords in their base64, and what people say.
_SECRET = re.compile(rb"<(?:body|auth|response|challenge)\b[^>]*>([^<]{6,})</")


def _everythingIn(event: LogEvent) -> str:
    """All that any observer could make of an event."""
    values = " ".join(f"{key}={value!r}" for key, value in event.items())
    return f"{eventAsText(event)} {values} {eventAsJSON(event)}"


def _header(attributes: dict[str, str]) -> str:
    """A stream header; attributes with an empty value are left out."""
    written = "".join(
        f" {name.rstrip('_')}='{value}'" for name, value in attributes.items() if value
    )
    return (
        f"<?xml version='1.0'?><stream:stream{written} xmlns='{ns.CLIENT}' "
        f"xmlns:stream='{ns.STREAMS}'>"
    )


def _parsed(xml: str) -> Element:
    found: list[Element] = []
    reader = StreamReader(lambda header: None, lambda element, raw: found.append(element), _ignore)
    head = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}'>"
    reader.feed(f"{head}{xml}</stream:stream>".encode())
    (element,) = found
    return element


def _ignore() -> None:
    pass


def _alike(wanted: Element, element: Element) -> bool:
    """Whether an element is as wanted, `*` standing for anything."""
    if (wanted.uri, wanted.name) != (element.uri, element.name):
        return False
    if wanted.attributes.keys() != element.attributes.keys():
        return False
    if any(value not in ("*", element.attributes[key]) for key, value in wanted.attributes.items()):
        return False
    if wanted.children == ["*"]:
        return True
    wantedChildren, children = _joined(wanted), _joined(element)
    return len(wantedChildren) == len(children) and all(
        _alike(one, other)
        if isinstance(one, Element) and isinstance(other, Element)
        else one == other
        for one, other in zip(wantedChildren, children, strict=True)
    )


def _joined(element: Element) -> list[Element | str]:
    """The children, pieces of text that follow each other as one."""
    children: list[Element | str] = []
    for child in element.children:
        if children and isinstance(child, str) and isinstance(children[-1], str):
            children[-1] += child
        else:
            children.append(child)
    return children


def _shown(kind: str, element: Element | None) -> str:
    return kind if element is None else f"{kind} {element.toXml()}"
