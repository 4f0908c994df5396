"""Conversations over TLS: STARTTLS on both sides, certificates, and what is said in the clear."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from twisted.internet import ssl
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory

from tests import memorynetwork
from tests.certificates import Authority, Identity, selfSigned
from tests.conversation import (
    BIND,
    BINDING,
    DOMAIN,
    JULIET,
    OTHER_DOMAIN,
    PLAIN,
    PROCEED,
    ROMEO,
    STARTTLS,
    STARTTLS_REQUIRED,
    SUCCESS,
    Client,
    Conversation,
    Server,
    failure,
    features,
    mechanisms,
    plain,
)
from tests.handshakes import goodHello, hello
from xmpproxy import config, ns
from xmpproxy.downstreamtls import ServerTLS
from xmpproxy.upstreamtls import UpstreamTLS

AUTHORITY = Authority()
GOOD = AUTHORITY.issue(DOMAIN)


class Secure(Conversation):
    """
    The stage with TLS on both sides.

    @ivar shown: the certificate that the server shows.
    """

    listen: ClassVar = config.Listen(endpoint="tcp:5222")
    domain: ClassVar = config.Domain(name=DOMAIN, upstream="tcp:127.0.0.1:15222")
    shown: Identity = GOOD

    def upstreamTLS(self) -> UpstreamTLS:
        trust = AUTHORITY.write(Path(self.mktemp()))
        return UpstreamTLS(DOMAIN, trust, direct=self.domain.upstream_tls == "direct")

    def downstreamTLS(self) -> ServerTLS:
        return ServerTLS(GOOD.chain, GOOD.key)

    def clientTLS(self) -> IOpenSSLClientConnectionCreator:
        trust = ssl.Certificate.loadPEM(AUTHORITY.write(Path(self.mktemp())).read_bytes())
        options: IOpenSSLClientConnectionCreator = ssl.optionsForClientTLS(
            DOMAIN, ssl.trustRootFromCertificates([trust])
        )
        return options

    def serverTLS(self) -> IOpenSSLServerConnectionCreator:
        options: IOpenSSLServerConnectionCreator = self.shown.options()
        return options

    def waits(self) -> tuple[Client, Server]:
        """A client with TLS, and the server it waits for."""
        client = self.proceeds()
        client.startsTLS(self.clientTLS())
        client.getsHeader(from_=DOMAIN)
        return client, self.server()

    def asksForTLS(self) -> tuple[Client, Server]:
        """The same, and the proxy asks the server for TLS."""
        client, server = self.waits()
        server.opens(features(STARTTLS, PLAIN))
        server.gets(STARTTLS)
        return client, server


class Sessions(Secure):
    """What works without TLS works with it."""

    def test_conversation(self) -> None:
        """Messages in and out, shown to a sibling."""
        balcony, chamber = self.logsIn("balcony"), self.logsIn("chamber")
        balcony.client.sends(f"<message to='{ROMEO}' type='chat'><body>Good night</body></message>")
        balcony.server.gets(f"<message to='{ROMEO}' type='chat'><body>Good night</body></message>")
        chamber.client.gets(
            f"<message from='{ROMEO}' to='{JULIET}/chamber' type='chat' id='*'>"
            "<body>me@balcony: Good night</body></message>"
        )
        chamber.server.sends(
            f"<message from='{ROMEO}' to='{chamber.jid}'><body>Sleep</body></message>"
        )
        chamber.client.gets(
            f"<message from='{ROMEO}' to='{chamber.jid}'><body>Sleep</body></message>"
        )
        balcony.server.answersPing()
        balcony.client.gets(
            f"<message from='{ROMEO}' to='{balcony.jid}'><body>Sleep</body></message>"
        )

    def test_byteByByte(self) -> None:
        """The same when the network delivers it in the smallest of pieces."""
        self.patch(memorynetwork, "PORTION", 1)
        self.test_conversation()

    def test_bigStanzas(self) -> None:
        """More than fits into the network's buffers, both ways, byte for byte."""
        balcony = self.logsIn("balcony")
        stanza = f"<message to='{ROMEO}'><body>{250_000 * 'z'}</body></message>"
        for _ in range(3):
            balcony.client.sends(stanza)
            balcony.server.getsBytes(stanza)
            balcony.server.sends(stanza)
            balcony.client.getsBytes(stanza)

    def test_clientCloses(self) -> None:
        """TLS is closed, too."""
        balcony = self.logsIn("balcony")
        balcony.client.sends("</stream:stream>")
        balcony.client.isLeft()
        self.assertIsInstance(balcony.client.reason, ConnectionDone)
        balcony.server.getsEnd()
        balcony.server.closes()
        balcony.server.losesConnection()

    def test_vanishing(self) -> None:
        """Connections break."""
        balcony, chamber = self.logsIn("balcony"), self.logsIn("chamber")
        balcony.client.vanishes()
        balcony.server.getsEnd()
        chamber.server.vanishes()
        chamber.client.getsError("reset")
        self.assertNotLogged("handshake")

    def test_badInput(self) -> None:
        """The error comes through TLS; others do not notice."""
        balcony, chamber = self.logsIn("balcony"), self.logsIn("chamber")
        balcony.client.sends(f"<message><body>{1_000_000 * 'z'}</body></message>")
        balcony.client.getsError("policy-violation")
        balcony.server.getsEnd()
        chamber.client.getsNothing()
        self.assertEqual(len([line for line in self.log if "refused" in line]), 1)

    def test_slowClient(self) -> None:
        """The server is not read faster than the client reads."""
        balcony = self.logsIn("balcony")
        balcony.client.stopsReading()
        stanza = f"<message from='{ROMEO}'><body>{10_000 * 'z'}</body></message>"
        balcony.server.sends(100 * stanza)
        self.assertGreater(balcony.server.unsent, 500_000)
        balcony.client.readsOn()
        for _ in range(100):
            balcony.client.getsBytes(stanza)

    def test_shutdown(self) -> None:
        """Everybody is told, through TLS."""
        balcony = self.logsIn("balcony")
        stopped = self.factory.shutdown()
        self.network.settle()
        balcony.client.getsError("system-shutdown")
        balcony.server.getsEnd()
        self.successResultOf(stopped)

    def test_shutdownMeanwhile(self) -> None:
        """Who does not go on with TLS cannot be told, and is not waited for long."""
        client = self.proceeds()
        stopped = self.factory.shutdown()
        self.network.wait(2)
        self.assertNoResult(stopped)
        self.network.wait(1)
        client.losesConnection()
        self.successResultOf(stopped)


class TwiceTLS(Secure):
    """TLS does not begin within TLS."""

    def test_headerRefused(self) -> None:
        """Not even behind a header that is refused."""
        client = self.proceeds()
        client._connection.startTLS(self.clientTLS())
        client.restarts()
        client.sends(client.header(to="example.net") + STARTTLS)
        client.getsHeader()
        client.getsError("host-unknown")


class InTheClear(Secure):
    """What a client may and may not do before TLS."""

    def setUp(self) -> None:
        super().setUp()
        self.juliet = self.client()
        self.juliet.opens()
        self.juliet.getsHeader(from_=DOMAIN)
        self.juliet.gets(features(STARTTLS_REQUIRED))

    def test_authentication(self) -> None:
        """It is refused, and the stream ends: what was sent is to be sent no more in the clear."""
        self.juliet.sends(plain())
        self.juliet.gets(failure("encryption-required"))
        self.juliet.isLeft()

    def test_streamError(self) -> None:
        """A client that closes with an error of its own is not told that this is one."""
        error = "<undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        self.juliet.sends(f"<stream:error>{error}</stream:error>")
        self.juliet.isLeft()

    def test_stanza(self) -> None:
        """It ends the stream."""
        self.juliet.sends(f"<message to='{ROMEO}'><body>Who is there?</body></message>")
        self.juliet.getsError("not-authorized")

    def test_somethingElse(self) -> None:
        """The same for what is unknown."""
        self.juliet.sends("<foo xmlns='urn:example:bar'/>")
        self.juliet.getsError("unsupported-stanza-type")

    def test_stanzaBeforeStartTLS(self) -> None:
        """The first element decides."""
        self.juliet.sends("<presence/>" + STARTTLS)
        self.juliet.getsError("not-authorized")

    def test_headerRefused(self) -> None:
        """TLS does not begin with a client that asks for a domain that is not served."""
        self.juliet.closes()
        self.juliet.isLeft()
        client = self.client()
        client.sends(client.header(to="example.net") + STARTTLS)
        client.getsHeader()
        client.getsError("host-unknown")

    def test_silence(self) -> None:
        """TLS does not begin."""
        self.network.wait(60)
        self.juliet.getsError("connection-timeout")

    def test_silenceInTheHandshake(self) -> None:
        """TLS begins, and does not go on."""
        self.juliet.sends(STARTTLS)
        self.juliet.gets(PROCEED)
        self.network.wait(60)
        self.network.wait(5)
        self.juliet.losesConnection()

    def test_noTLS(self) -> None:
        """What should be a handshake is something else."""
        self.juliet.sends(STARTTLS)
        self.juliet.gets(PROCEED)
        self.juliet.restarts()
        self.juliet.ignores = True
        self.juliet.sends(self.juliet.header())
        self.juliet.losesConnection()

    def test_injection(self) -> None:
        """
        A stranger on the network puts a login of his own behind the client's request for TLS. It
        is never looked at (RFC 6120, section 5.4.3.3, and CVE-2011-0411).
        """
        self.juliet.sends(STARTTLS + Client.header() + plain(user="tybalt"))
        self.juliet.gets(PROCEED)
        self.juliet.startsTLS(self.clientTLS())
        self.juliet.getsHeader(from_=DOMAIN)
        server = self.server()
        server.opens(features(STARTTLS))
        server.gets(STARTTLS)
        server.startsTLS(self.serverTLS())
        server.opens(features(PLAIN))
        self.juliet.gets(features(PLAIN))
        server.getsNothing()
        self.juliet.sends(plain())
        server.gets(plain())

    def test_injectionOfHalfAnElement(self) -> None:
        """The same with the beginning of something that the client would complete."""
        self.juliet.sends(STARTTLS + "<message to='tybalt@example.com'><body>")
        self.juliet.gets(PROCEED)
        self.juliet.startsTLS(self.clientTLS())
        self.juliet.getsHeader(from_=DOMAIN)
        self.server().getsHeader()

    def test_claimsInTheClear(self) -> None:
        """The domain may not change between the stream in the clear and the one over TLS."""
        self.juliet.sends(STARTTLS)
        self.juliet.gets(PROCEED)
        self.juliet.startsTLS(self.clientTLS(), to=OTHER_DOMAIN)
        self.juliet.getsHeader(from_=DOMAIN)
        self.juliet.getsError("host-unknown")


class Renewed(Secure):
    """Certificates, trust and the keys of tickets change; sessions go on."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.trust = AUTHORITY.write(self.directory / "ca.pem")
        self.tls = ServerTLS(GOOD.chain, GOOD.key, [DOMAIN], GOOD.write(self.directory))
        self.upstream = UpstreamTLS(DOMAIN, self.trust)
        super().setUp()

    def upstreamTLS(self) -> UpstreamTLS:
        return self.upstream

    def downstreamTLS(self) -> ServerTLS:
        return self.tls

    def test_conversation(self) -> None:
        balcony = self.logsIn("balcony")
        other = Authority("another CA")
        other.write(self.trust)
        AUTHORITY.issue(DOMAIN).write(self.directory)
        for reader in (self.tls, self.upstream):
            reader.read()()
        self.tls.renewTickets()
        self.shown = other.issue(DOMAIN)
        chamber = self.logsIn("chamber")
        for window in (balcony, chamber):
            window.client.sends(f"<message to='{ROMEO}'/>")
            window.server.gets(f"<message to='{ROMEO}'/>")
            window.server.sends(f"<message from='{ROMEO}' to='{window.jid}'/>")
            window.client.gets(f"<message from='{ROMEO}' to='{window.jid}'/>")


class Strangers(Secure):
    """Clients whose TLS is no good: a line in the log for each kind, and nobody else notices."""

    def setUp(self) -> None:
        super().setUp()
        self.balcony = self.logsIn("balcony")
        self.told = 0

    def stranger(self) -> Client:
        """A client that has asked for TLS."""
        client = self.proceeds()
        client.restarts()
        client.ignores = True
        return client

    def tells(self) -> None:
        """The bystander sends and receives."""
        self.told += 1
        self.balcony.client.sends(f"<message to='{ROMEO}' id='{self.told}'/>")
        self.balcony.server.gets(f"<message to='{ROMEO}' id='{self.told}'/>")
        message = f"<message from='{ROMEO}' to='{self.balcony.jid}' id='{self.told}'/>"
        self.balcony.server.sends(message)
        self.balcony.client.gets(message)

    def says(self, *said: bytes, why: str) -> None:
        """Many strangers say this where TLS was to begin; what is logged."""
        before = len(self.log)
        for _ in range(5):
            stranger = self.stranger()
            self.tells()
            for each in said:
                if not stranger.gone:
                    stranger.sends(each)
            self.tells()
            if stranger.gone:
                stranger.losesConnection()
            stranger.vanishes()
            self.tells()
        self.assertFailed(before, why)

    def assertFailed(self, before: int, why: str) -> None:
        """That is all that was logged since, the rest of it a minute later."""
        line = f"[xmpproxy.limitlog#warn] failed {{}} from 192.0.2.1: {why}"
        lines = [line.format("1 TLS connection"), line.format("4 TLS connections")]
        self.assertEqual(self.log[before:], lines[:1])
        self.network.wait(60)
        self.assertEqual([each for each in self.log[before:] if "limitlog" in each], lines)

    def test_garbage(self) -> None:
        """What has nothing to do with TLS."""
        garbage = b"GET / HTTP/1.0\r\n\r\n"
        self.says(garbage, why="no TLS")

    def test_garbageInPieces(self) -> None:
        garbage = bytes(range(255, 0, -1))
        pieces = [garbage[at : at + 1] for at in range(len(garbage))]
        self.says(*pieces, why="no TLS")

    def test_oldVersion(self) -> None:
        """TLS 1.1."""
        self.says(hello(0x0302), why="no TLS newer than 1.1")

    def test_weakCiphers(self) -> None:
        """TLS 1.2, with suites that nobody wants."""
        suites = b"\0\4\0\5\0\x0a"  # RC4, triple DES
        self.says(hello(0x0303, suites), why="no cipher suite in common with us")

    def test_large(self) -> None:
        """A message longer than any."""
        message = b"\x16\3\1\x40\0\1\xff\xff\xff" + bytes(0x4000 - 4)
        self.says(message, why="excessive message size")

    def test_cutOff(self) -> None:
        """The client goes in the middle of the handshake."""
        self.says(goodHello()[:-4], why="left during the handshake")

    def test_alerts(self) -> None:
        """Many that say nothing."""
        self.says(goodHello() + 100 * b"\x15\3\3\0\2\1\x5a", why="too many warn alerts")

    def test_untrusted(self) -> None:
        """The client does not accept our certificate."""
        before = len(self.log)
        for _ in range(5):
            stranger = self.stranger()
            stranger.startsTLS(ssl.optionsForClientTLS(DOMAIN, ssl.trustRootFromCertificates([])))
            stranger.losesConnection()
            self.tells()
        self.assertFailed(before, "our certificate is not accepted")

    def test_noGoodbye(self) -> None:
        """A client that goes without one is gone; that is no failure of TLS."""
        chamber = self.logsIn("chamber")
        chamber.client.vanishes()
        chamber.server.getsEnd()
        self.tells()
        self.assertNotLogged("TLS connection")


class ServersTLS(Secure):
    """TLS with the server cannot be had, or not be trusted: no byte goes to it then."""

    def fails(self, client: Client, *logged: str) -> None:
        """The client is told that, the operator why."""
        client.getsError("remote-connection-failed")
        self.assertLogged(f"no stream to the server of {DOMAIN}", *logged)

    def shows(self, identity: Identity) -> Client:
        """The server begins TLS with this certificate, and hears nothing more."""
        self.shown = identity
        client, server = self.asksForTLS()
        server.startsTLS(self.serverTLS())
        server.losesConnection()
        return client

    def test_good(self) -> None:
        """The others fail for a reason."""
        client, server = self.asksForTLS()
        server.startsTLS(self.serverTLS())
        server.opens(features(PLAIN))
        client.gets(features(PLAIN))

    def test_serviceName(self) -> None:
        """A certificate may name the service (RFC 6120, section 13.7.1.2)."""
        self.shown = AUTHORITY.issue(srvNames=[f"_xmpp-client.{DOMAIN}"])
        self.meets()

    def test_anotherName(self) -> None:
        """The certificate is for somebody else."""
        self.fails(self.shows(AUTHORITY.issue("mail.example.com")), "mail.example.com", DOMAIN)

    def test_expired(self) -> None:
        """It was good once."""
        self.fails(self.shows(AUTHORITY.issue(DOMAIN, fromDay=-9, untilDay=-2)), "expired", "renew")

    def test_tooEarly(self) -> None:
        """It will be good."""
        self.fails(self.shows(AUTHORITY.issue(DOMAIN, fromDay=2)), "not valid before", "clocks")

    def test_unknownAuthority(self) -> None:
        """Anybody can write a certificate."""
        self.fails(
            self.shows(Authority("Tybalt & Sons").issue(DOMAIN)), "Tybalt & Sons", "upstream-trust"
        )

    def test_selfSigned(self) -> None:
        """Anybody can write a certificate."""
        self.fails(self.shows(selfSigned(DOMAIN)), "self-signed", "upstream-trust")

    def test_notOffered(self) -> None:
        """A server without TLS, or a stranger who took the offer away, gets no password."""
        client, server = self.waits()
        server.opens(features(PLAIN))
        server.isLeft()
        self.fails(client, "offers no STARTTLS", "upstream-tls")

    def test_refused(self) -> None:
        """The server offers TLS and cannot."""
        client, server = self.asksForTLS()
        server.sends(f"<failure xmlns='{ns.TLS}'/></stream:stream>")
        server.isLeft()
        self.fails(client, "failure")

    def test_unasked(self) -> None:
        """The server goes ahead before it is asked."""
        client, server = self.waits()
        server.getsHeader()
        server.sends(server.header() + PROCEED)
        server.isLeft()
        self.fails(client, "proceed")

    def test_noTLS(self) -> None:
        """What should be a handshake is something else."""
        client, server = self.asksForTLS()
        server.ignores = True
        server.sends(PROCEED)
        server.sends("HTTP/1.1 400 Bad Request\r\n\r\n")
        server.losesConnection()
        self.fails(client, "does not speak TLS")

    def test_brokenOff(self) -> None:
        """The server goes in the middle of the handshake."""
        client, server = self.asksForTLS()
        server.ignores = True
        server.sends(PROCEED)
        server.vanishes()
        self.fails(client, "handshake")

    def test_injection(self) -> None:
        """
        A stranger on the network puts features of his own behind the server's answer. They are
        never looked at.
        """
        client, server = self.asksForTLS()
        injected = Server.header() + features(mechanisms("DIGEST-MD5"))
        server.startsTLS(self.serverTLS(), PROCEED + injected)
        client.getsNothing()
        server.opens(features(mechanisms("SCRAM-SHA-1", "PLAIN")))
        client.gets(features(mechanisms("SCRAM-SHA-1", "PLAIN")))

    def test_injectionOfAnError(self) -> None:
        """The same with the end of the stream."""
        client, server = self.asksForTLS()
        server.startsTLS(self.serverTLS(), PROCEED + "</stream:stream>")
        server.opens(features(PLAIN))
        client.gets(features(PLAIN))

    def test_offeredAgain(self) -> None:
        """Some servers list it even over TLS. Nobody takes it."""
        client, server = self.asksForTLS()
        server.startsTLS(self.serverTLS())
        server.opens(features(STARTTLS, PLAIN))
        client.gets(features(PLAIN))


class Direct(Secure):
    """TLS from the first byte, on both sides (XEP-0368)."""

    listen: ClassVar = config.Listen(endpoint="tcp:5223", tls="direct")
    domain: ClassVar = config.Domain(
        name=DOMAIN, upstream="tcp:127.0.0.1:15223", upstream_tls="direct"
    )
    starttls = False  # whether that is what the server has instead

    def directTLS(self) -> IOpenSSLServerConnectionCreator | None:
        return None if self.starttls else self.serverTLS()

    def test_login(self) -> None:
        """There is no STARTTLS to ask for."""
        client = self.client()
        client.startsTLS(self.clientTLS())
        client.getsHeader(from_=DOMAIN)
        server = self.server()
        server.opens(features(PLAIN))
        client.gets(features(PLAIN))
        client.sends(plain())
        server.gets(plain())
        server.succeeds()
        client.gets(SUCCESS)
        client.opens()
        client.getsHeader(from_=DOMAIN)
        server.opens(features(BIND))
        client.gets(BINDING)

    def test_loadBalancer(self) -> None:
        """The PROXY protocol comes before the first byte."""
        client = self._played(Client)
        address = IPv4Address("TCP", "192.0.2.1", 50000)
        downstream = HAProxyWrappingFactory(self.factory).buildProtocol(address)
        self.network.connect(client, downstream, address.host)
        client.sends("PROXY TCP4 198.51.100.7 192.0.2.1 40000 5223\r\n")
        client.startsTLS(self.clientTLS())
        client.getsHeader(from_=DOMAIN)
        self.server().opens(features(PLAIN))
        client.gets(features(PLAIN))
        self.assertEqual([stream.address for stream in self.factory.streams], ["198.51.100.7"])

    def test_wrongCertificate(self) -> None:
        """It is looked at before the first word."""
        self.shown = selfSigned(DOMAIN)
        client = self.client()
        client.startsTLS(self.clientTLS())
        client.getsHeader(from_=DOMAIN)
        server = self.server()
        client.getsError("remote-connection-failed")
        server.losesConnection()
        self.assertLogged(DOMAIN, "self-signed")

    def test_noTLS(self) -> None:
        """The server expects STARTTLS at that port."""
        self.starttls = True
        self.patch(Server, "ignores", True)
        client = self.client()
        client.startsTLS(self.clientTLS())
        client.getsHeader(from_=DOMAIN)
        server = self.server()
        server.sends(Server.header() + features(STARTTLS))
        server.losesConnection()
        client.getsError("remote-connection-failed")
        self.assertLogged(DOMAIN, "does not speak TLS", "upstream-tls")
