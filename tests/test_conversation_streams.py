"""Conversations about streams: negotiation, keep-alives, and how they end (RFC 6120, section 4)."""

from __future__ import annotations

from twisted.words.xish.xmlstream import STREAM_END_EVENT

from tests.conversation import (
    BIND,
    BINDING,
    DOMAIN,
    ENABLE,
    JULIET,
    PLAIN,
    ROMEO,
    SUCCESS,
    Conversation,
    bound,
    features,
    plain,
)
from xmpproxy import ns
from xmpproxy.downstream import Downstream


class Negotiation(Conversation):
    """A client begins."""

    def test_fromTheFirstHeaderToAResource(self) -> None:
        """Everything in the order of RFC 6120, and nothing before its time."""
        client = self.client()
        client.opens(from_=JULIET)
        client.getsHeader(from_=DOMAIN, to=JULIET, version="1.0")

        server = self.server()
        server.getsHeader(to=DOMAIN, version="1.0")
        client.getsNothing()
        server.sends(server.header() + features(PLAIN))
        client.gets(features(PLAIN))

        client.sends(plain())
        server.gets(plain())
        server.succeeds()
        client.gets(SUCCESS)
        client.opens(from_=JULIET)
        client.getsHeader(from_=DOMAIN, version="1.0")
        client.getsNothing()

        server.opens(features(BIND))
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='b'>{BIND}</iq>")
        server.gets(f"<iq type='set' id='b'>{BIND}</iq>")
        server.sends(bound(f"{JULIET}/balcony", "b"))
        client.getsNothing()
        server.answersDisco()
        client.getsBytes(bound(f"{JULIET}/balcony", "b"))

        client.sends("<presence/>")
        server.gets("<presence/>")
        server.sends(f"<message from='{ROMEO}'><body>By a name I know not</body></message>")
        client.gets(f"<message from='{ROMEO}'><body>By a name I know not</body></message>")

    def test_prefix(self) -> None:
        """Features have the prefix that every client knows, whether it reads namespaces or not."""
        client = self.client()
        client.opens()
        client.getsHeader()
        self.server().opens(features(PLAIN))
        client.gets(features(PLAIN))
        self.assertTrue(client.raw.startswith(b"<stream:features"), client.raw)

    def test_observers(self) -> None:
        """Who observes a stream as Twisted has it is told, also who begins with it when told."""
        stream = self.factory.buildProtocol(None)
        assert isinstance(stream, Downstream)
        told: list[object] = []

        def first(reason: object) -> None:
            told.append(reason)
            stream.addObserver("//event/another", told.append)

        stream.addOnetimeObserver(STREAM_END_EVENT, first)
        stream.dispatch("end", STREAM_END_EVENT)
        stream.dispatch("end", STREAM_END_EVENT)
        stream.dispatch("more", "//event/another")
        self.assertEqual(told, ["end", "more"])

    def test_streamIdsCannotBeGuessed(self) -> None:
        """No two streams have the same id, and it is long."""
        ids = set()
        for _ in range(10):
            client = self.client()
            client.opens()
            ids.add(client.getsHeader()["id"])
            self.server().getsHeader()
        self.assertEqual(len(ids), 10)
        self.assertTrue(all(len(id) >= 22 for id in ids))  # 128 bits, at 6 bits a character

    def test_anotherDefaultPrefix(self) -> None:
        """A client may name the prefixes of its stream header as it likes."""
        client = self.client()
        client.sends(
            f"<s:stream xmlns:s='{ns.STREAMS}' xmlns='{ns.CLIENT}' to='{DOMAIN}' version='1.0'>"
        )
        client.getsHeader(from_=DOMAIN)
        self.server().opens(features(PLAIN))
        client.gets(features(PLAIN))

    def test_laterVersions(self) -> None:
        """A client of a version to come is told that this is 1.0 (section 4.7.5)."""
        client = self.client()
        client.opens(version="1.7")
        client.getsHeader(version="1.0")
        self.server().getsHeader(version="1.0")

    def test_domainIsPrepared(self) -> None:
        """Domains are compared as RFC 6122 has it."""
        client = self.client()
        client.opens(to="EXAMPLE.com")
        client.getsHeader(from_=DOMAIN)
        self.server().getsHeader(to=DOMAIN)

    def test_authBehindTheHeader(self) -> None:
        """What a client sends before it got the features waits for them."""
        client = self.client()
        client.sends(client.header() + plain())
        client.getsHeader()
        server = self.server()
        server.opens(features(PLAIN))
        client.gets(features(PLAIN))
        server.gets(plain())

    def test_keepAlives(self) -> None:
        """White space between stanzas does no harm, whoever sends it, and whenever."""
        client, server = self.meets()
        client.sends(" \n")
        server.sends(" \n")
        client.sends(plain() + " ")
        server.gets(plain())
        balcony = self.logsIn("balcony")
        for _ in range(3):
            self.network.wait(600)
            balcony.client.sends(" ")
            balcony.server.sends("\n")
        balcony.client.sends(" <presence/> \n")
        balcony.server.gets("<presence/>")
        balcony.server.sends("\n <presence/> ")
        balcony.client.gets("<presence/>")
        # The first client was never answered.
        client.getsError("remote-connection-failed")
        server.getsEnd()
        self.network.wait(5)
        server.losesConnection()


class Prefixes(Conversation):
    """Peers may write namespaces in many ways (RFC 6120, section 4.8)."""

    def test_prefixOfTheClientsHeader(self) -> None:
        """What only the client's header declares is declared in the stanza, for the server."""
        client, server = self.meets()
        client.sends(plain())
        server.gets(plain())
        server.succeeds()
        client.gets(SUCCESS)
        client.opens(**{"xmlns:x": "urn:example"})
        client.getsHeader()
        server.opens(features(BIND))
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='b'>{BIND}</iq>")
        server.gets(f"<iq type='set' id='b'>{BIND}</iq>")
        server.sends(bound(f"{JULIET}/balcony", "b"))
        server.answersDisco()
        client.gets(bound(f"{JULIET}/balcony", "b"))
        client.sends("<message><x:y x:z='1'/></message><presence/>")
        server.gets("<message xmlns:x='urn:example'><x:y x:z='1'/></message>")
        server.getsBytes("<presence/>")

    def test_serverThatPrefixesEverything(self) -> None:
        """Its default namespace is that of streams; what it sends means the same to the client."""
        header = f"<stream xmlns='{ns.STREAMS}' from='{DOMAIN}' id='s1' version='1.0'>"
        client, server = self.knocks()
        server.sends(
            f"{header}<features><s:mechanisms xmlns:s='{ns.SASL}'>"
            "<s:mechanism>PLAIN</s:mechanism></s:mechanisms></features>"
        )
        client.gets(features(PLAIN))
        client.sends(plain())
        server.gets(plain())
        server.restarts()
        server.sends(f"<s:success xmlns:s='{ns.SASL}'/>")
        client.gets(SUCCESS)
        client.opens()
        client.getsHeader()
        server.getsHeader()
        server.sends(f"{header}<features><b:bind xmlns:b='{ns.BIND}'/></features>")
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='b'>{BIND}</iq>")
        server.gets(f"<iq type='set' id='b'>{BIND}</iq>")
        result = bound(f"{JULIET}/balcony", "b").replace("<iq", f"<iq xmlns='{ns.CLIENT}'")
        server.sends(result)
        server.getsDisco()
        self.network.wait(3)
        client.getsBytes(result)
        message = (
            f"<ns0:message xmlns:ns0='{ns.CLIENT}' from='{ROMEO}' type='chat'>"
            "<ns0:body>O, speak again</ns0:body></ns0:message>"
        )
        server.sends(f"{message}<message/>{message}")  # the one between is of another namespace
        client.gets(message)
        client.gets(message)


class Silence(Conversation):
    """A client does not log in."""

    def test_noHeader(self) -> None:
        """It connects and says nothing."""
        client = self.client()
        self.network.wait(59)
        client.getsNothing()
        self.network.wait(1)
        client.getsHeader()
        client.getsError("connection-timeout")

    def test_noAuthentication(self) -> None:
        """It does not go on after the features; its upstream is closed, too."""
        client, server = self.meets()
        self.network.wait(60)
        client.getsError("connection-timeout")
        server.getsEnd()

    def test_noResource(self) -> None:
        """It authenticates only."""
        client, server = self.authenticates()
        client.gets(BINDING)
        self.network.wait(60)
        client.getsError("connection-timeout")
        server.getsEnd()

    def test_keepAlivesDoNotCount(self) -> None:
        """White space is no progress."""
        client, server = self.meets()
        for _ in range(59):
            self.network.wait(1)
            client.sends(" ")
        self.network.wait(1)
        client.getsError("connection-timeout")
        server.getsEnd()

    def test_onceLoggedInItMayBeSilent(self) -> None:
        """A resource has no time limit."""
        balcony = self.logsIn("balcony")
        self.network.wait(100_000)
        balcony.client.getsNothing()
        balcony.server.getsNothing()

    def test_silentServer(self) -> None:
        """The server is the one that says nothing."""
        client, server = self.knocks()
        self.network.wait(29)
        client.getsNothing()
        self.network.wait(1)
        client.getsError("remote-connection-failed")
        server.losesConnection()
        self.assertLogged(DOMAIN, "was not ready for a login in 30 s", "see its log")

    def test_connectingTakesForEver(self) -> None:
        """The connection to the server is never there; the attempt ends with the client."""
        self.host.hangs = True
        client = self.client()
        client.opens()
        client.getsHeader()
        self.network.wait(60)
        client.getsError("remote-connection-failed")
        self.assertTrue(self.host.cancelled)


class ClientLeaves(Conversation):
    """A client goes, one way or the other."""

    def test_closes(self) -> None:
        """In order: both streams are closed."""
        balcony = self.logsIn("balcony")
        balcony.client.sends("</stream:stream>")
        balcony.client.isLeft()
        balcony.server.getsEnd()
        self.assertLogged(f"{JULIET}/balcony: ended: closed")
        balcony.server.closes()
        balcony.server.losesConnection()

    def test_vanishes(self) -> None:
        """Its connection breaks: the server's stream is closed all the same."""
        balcony = self.logsIn("balcony")
        balcony.client.vanishes()
        balcony.server.getsEnd()
        self.assertLogged(f"{JULIET}/balcony: ended: connection lost")

    def test_hangsUp(self) -> None:
        """It closes the connection and not the stream."""
        balcony = self.logsIn("balcony")
        balcony.client.hangsUp()
        balcony.client.losesConnection()
        balcony.server.getsEnd()

    def test_lastWords(self) -> None:
        """What a client sent before it closed goes to the server before the end."""
        balcony = self.logsIn("balcony")
        balcony.client.sends("<presence type='unavailable'/></stream:stream>")
        balcony.server.gets("<presence type='unavailable'/>")
        balcony.server.getsEnd()
        balcony.client.isLeft()

    def test_serverDoesNotCloseItsSide(self) -> None:
        """It is given 5 s."""
        balcony = self.logsIn("balcony")
        balcony.client.closes()
        balcony.client.isLeft()
        balcony.server.getsEnd()
        self.network.wait(4)
        balcony.server.getsNothing()
        self.network.wait(1)
        balcony.server.losesConnection()

    def test_beforeTheHeader(self) -> None:
        """It never said a word."""
        client = self.client()
        client.hangsUp()
        client.losesConnection()

    def test_whileConnecting(self) -> None:
        """The attempt to reach the server ends; that the client is gone nobody knows before."""
        self.host.hangs = True
        client = self.client()
        client.opens()
        client.getsHeader()
        client.vanishes()
        self.network.wait(60)  # it is not listened to before the server can be
        self.assertTrue(self.host.cancelled)
        self.assertLogged("no stream to the server", "hangs")

    def test_whileTheServerIsSilent(self) -> None:
        """There is a connection to the server, and no stream yet."""
        client, server = self.knocks()
        client.vanishes()
        self.network.wait(30)
        server.losesConnection()
        self.assertLogged("no stream to the server", "hangs")

    def test_beforeAuthentication(self) -> None:
        """The server's stream is closed."""
        client, server = self.meets()
        client.closes()
        client.isLeft()
        server.getsEnd()

    def test_whileBinding(self) -> None:
        """The answer to its request finds nobody."""
        client, server = self.authenticates()
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='b'>{BIND}</iq>")
        server.gets(f"<iq type='set' id='b'>{BIND}</iq>")
        client.vanishes()
        server.sends(bound(f"{JULIET}/balcony", "b"))
        server.answersDisco()
        server.getsEnd()

    def test_whileTheProxyAsks(self) -> None:
        """It goes after the server bound its resource, before it could be told."""
        client, server = self.authenticates()
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='b'>{BIND}</iq>")
        server.gets(f"<iq type='set' id='b'>{BIND}</iq>")
        server.sends(bound(f"{JULIET}/balcony", "b"))
        client.vanishes()
        server.answersDisco(ns.CARBONS)
        server.answers(server.gets(ENABLE))
        server.getsEnd()


class ServerLeaves(Conversation):
    """The server goes, or cannot be had."""

    def test_unreachable(self) -> None:
        """The client is told; the log says which server, and why."""
        self.host.refuses = True
        client = self.client()
        client.opens()
        client.getsHeader()
        client.getsError("remote-connection-failed")
        self.assertLogged(DOMAIN, "tcp:127.0.0.1:15222", "refused", "start the server")

    def test_noServerOfXMPP(self) -> None:
        """Something else answers at that port."""
        client, server = self.knocks()
        server.sends("HTTP/1.1 400 Bad Request\r\n\r\n")
        client.getsError("remote-connection-failed")
        server.getsError("not-well-formed")
        self.assertLogged(DOMAIN, "not-well-formed", "correct upstream")

    def test_anotherProtocolInXML(self) -> None:
        """What answers is no stream."""
        client, server = self.knocks()
        server.sends("<html>")
        client.getsError("remote-connection-failed")
        server.isLeft()
        self.assertLogged(DOMAIN, "no XMPP server", "correct upstream")

    def test_oldServer(self) -> None:
        """A server from before XMPP 1.0 sends no features."""
        client, server = self.knocks()
        server.sends(server.header(version="") + features(PLAIN))
        client.getsError("remote-connection-failed")
        server.isLeft()
        self.assertLogged(DOMAIN, "XMPP 1.0")

    def test_stanzaBeforeFeatures(self) -> None:
        """Nothing can come before features, and what follows does not mend it."""
        client, server = self.knocks()
        server.sends(f"{server.header()}<message/>{features(PLAIN)}{features(PLAIN)}")
        client.getsError("remote-connection-failed")
        server.isLeft()

    def test_featuresTwice(self) -> None:
        """The first ones count."""
        client, server = self.knocks()
        server.sends(f"{server.header()}{features(PLAIN)}{features()}")
        client.gets(features(PLAIN))

    def test_closesBeforeFeatures(self) -> None:
        """Without a reason."""
        client, server = self.knocks()
        server.sends(server.header() + "</stream:stream>")
        client.getsError("remote-connection-failed")
        server.isLeft()

    def test_refusesWithAReason(self) -> None:
        """The log tells the operator what the server said."""
        client, server = self.knocks()
        error = f"<host-gone xmlns='{ns.STREAM_ERRORS}'/>"
        server.sends(f"{server.header()}<stream:error>{error}</stream:error></stream:stream>")
        client.getsError("remote-connection-failed")
        server.isLeft()
        self.assertLogged(DOMAIN, "host-gone")

    def test_breaksBeforeFeatures(self) -> None:
        """Its connection is lost."""
        client, server = self.knocks()
        server.vanishes()
        client.getsError("remote-connection-failed")

    def test_closesBeforeAuthentication(self) -> None:
        """It does not wait for ever. That is one event, and one line in the log."""
        client, server = self.meets()
        server.sends("</stream:stream>")
        client.getsError("remote-connection-failed")
        server.isLeft()
        self.assertEqual(len([line for line in self.log if "no stream" in line]), 1)

    def test_errorBeforeAuthentication(self) -> None:
        """What is true of the client as well reaches it."""
        client, server = self.meets()
        error = f"<system-shutdown xmlns='{ns.STREAM_ERRORS}'/>"
        server.sends(f"<stream:error>{error}</stream:error></stream:stream>")
        client.getsError("system-shutdown")
        server.isLeft()

    def test_vanishesWhileBinding(self) -> None:
        """Between request and answer."""
        client, server = self.authenticates()
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='b'>{BIND}</iq>")
        server.gets(f"<iq type='set' id='b'>{BIND}</iq>")
        server.vanishes()
        client.getsError("remote-connection-failed")

    def test_vanishesWhileTheProxyAsks(self) -> None:
        """Between the resource and the proxy's questions about the server."""
        client, server = self.authenticates()
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='b'>{BIND}</iq>")
        server.gets(f"<iq type='set' id='b'>{BIND}</iq>")
        server.sends(bound(f"{JULIET}/balcony", "b"))
        server.getsDisco()
        server.vanishes()
        client.getsError("reset")

    def test_closesSession(self) -> None:
        """After login: an error that makes the client come back."""
        balcony = self.logsIn("balcony")
        balcony.server.sends("</stream:stream>")
        balcony.client.getsError("reset")
        balcony.server.isLeft()
        self.assertLogged(f"{JULIET}/balcony: ended: server gone")

    def test_closesSessionWithAReason(self) -> None:
        """The client gets the server's own error: another client took its resource."""
        balcony = self.logsIn("balcony")
        error = f"<conflict xmlns='{ns.STREAM_ERRORS}'/>"
        balcony.server.sends(f"<stream:error>{error}</stream:error>")
        balcony.server.sends("<message><body>One more thing</body></message></stream:stream>")
        balcony.client.getsError("conflict")
        balcony.server.isLeft()

    def test_vanishes(self) -> None:
        """Its connection breaks."""
        balcony = self.logsIn("balcony")
        balcony.server.vanishes()
        balcony.client.getsError("reset")

    def test_lastWords(self) -> None:
        """What the server sent before it closed reaches the client before the error."""
        balcony = self.logsIn("balcony")
        balcony.server.sends(f"<presence from='{ROMEO}'/></stream:stream>")
        balcony.client.gets(f"<presence from='{ROMEO}'/>")
        balcony.client.getsError("reset")
        balcony.server.isLeft()

    def test_othersStay(self) -> None:
        """The account's other session goes on."""
        balcony, chamber = self.logsIn("balcony"), self.logsIn("chamber")
        balcony.server.vanishes()
        balcony.client.getsError("reset")
        chamber.server.sends(
            f"<message from='{ROMEO}'><body>I take thee at thy word</body></message>"
        )
        chamber.client.gets(
            f"<message from='{ROMEO}'><body>I take thee at thy word</body></message>"
        )


class Shutdown(Conversation):
    """The proxy ends."""

    def test_everybodyIsTold(self) -> None:
        """Clients get system-shutdown, servers a closed stream, wherever they are in their talk."""
        balcony, chamber = self.logsIn("balcony"), self.logsIn("chamber")
        nurse = self.logsIn("hall", "nurse")
        early, server = self.meets()
        mute = self.client()
        stopped = self.factory.shutdown()
        self.network.settle()
        mute.getsHeader()
        for client in (balcony.client, chamber.client, nurse.client, early, mute):
            client.getsError("system-shutdown")
        self.successResultOf(stopped)
        for each in (balcony.server, chamber.server, nurse.server, server):
            each.getsEnd()
        self.assertLogged(f"{JULIET}/balcony: ended: shutdown")

    def test_clientDoesNotRead(self) -> None:
        """One that is slow is given 3 s: the end has less time than a stream has otherwise."""
        balcony = self.logsIn("balcony")
        balcony.client.stopsReading()
        balcony.server.sends("<message><body>" + 200_000 * "-" + "</body></message>")
        stopped = self.factory.shutdown()
        self.network.wait(2.9)
        self.assertNoResult(stopped)
        self.network.wait(0.1)
        self.successResultOf(stopped)
        balcony.server.getsEnd()
        self.network.wait(2)
        balcony.server.losesConnection()
        balcony.client.vanishes()
