"""Conversations of those with odd addresses: never two accounts, never half of one, no lies."""

from __future__ import annotations

from typing import ClassVar
from xml.sax.saxutils import escape, quoteattr

from hypothesis import given
from hypothesis import strategies as st
from twisted.words.xish.domish import Element

from tests.conversation import (
    BIND,
    BINDING,
    DISCO,
    DISCO_ACCOUNT,
    DOMAIN,
    ENABLE,
    JULIET,
    PING,
    PLAIN,
    ROMEO,
    SUCCESS,
    Client,
    Conversation,
    Server,
    Window,
    bound,
    features,
    plain,
)
from tests.test_conversation_binding import request
from tests.test_conversation_mirror import (
    ORCHARD,
    body,
    carbon,
    disco,
    discovered,
    enable,
    message,
)
from xmpproxy import config, ns
from xmpproxy.jid import prepared
from xmpproxy.shown import MOST_LOGGED, shown

RLO = "\u202e"
ALEPHS = "\u05d0" * 5000

#: Resources that servers may allow, whatever the RFC says.
RESOURCES = (
    "a/b@c/d",
    'x\' y="1"/><message/>',
    "<body/>&amp;",
    "two words: bound, from 203.0.113.9",
    "new\nline\r\ttab",
    f"{RLO}ynoclab",
    "zero\u200bwidth\ufeff",
    "{jid} {0} %s",
    "\u05d0\u05d1",
    "😀",
    "\x7f\x85\u2028",
    "r" * 1023,
)


#: Names of accounts that are alike.
_NAMES = st.sampled_from(
    ("juliet", "Juliet", "JULIET", "juli\u0435t", "\uff4auliet", "weiss", "wei\xdf", 'ju"liet')
)


class Played(Conversation):
    """What the plays here have in common."""

    def binds(self, jid: str, carbons: bool = False, echo: bool | None = None) -> Window:
        """
        A client is bound to an address, however that is spelled, and is available.

        @param echo: whether the server takes the prepared spelling for the same account; L{None}
            if there is no other.
        """
        client, server = self.asksFor(jid)
        if echo is not None:
            asked = server.gets("<iq type='result' id='*' to='*'/>")
            ping = server.gets(PING)
            if echo:
                self.bringsBack(server, asked, jid)
            server.answers(ping)
        return self.begins(client, server, jid, carbons)

    def asksFor(self, jid: str) -> tuple[Client, Server]:
        """The server binds it."""
        client, server = self.authenticates()
        client.gets(BINDING)
        client.sends(request())
        server.gets(request())
        server.sends(bound(escape(jid, {"\r": "&#13;"}), "b"))
        return client, server

    def bringsBack(self, server: Server, asked: Element, jid: str) -> None:
        """What was sent to another spelling arrives at the sender."""
        to, sender = quoteattr(asked["to"]), quoteattr(jid)
        server.sends(f"<iq type='result' id='{asked['id']}' to={to} from={sender}/>")

    def begins(self, client: Client, server: Server, jid: str, carbons: bool = False) -> Window:
        """The rest of a login."""
        server.answersDisco(*[ns.CARBONS] * carbons)
        if carbons:
            server.answers(server.gets(ENABLE))
        client.gets(bound(escape(jid, {"\r": "&#13;"}), "b"))
        client.sends("<presence/>")
        server.gets("<presence/>")
        return Window(client, server, jid)

    def leaves(self, window: Window) -> None:
        """A session ends."""
        window.client.closes()
        window.server.getsEnd()
        window.server.closes()
        window.client.isLeft()
        window.server.losesConnection()

    def areSiblings(self, one: Window, other: Window, account: str) -> None:
        """What one sends is shown to the other, and what one gets as well."""
        self.assertEqual([each.jid for each in self.accounts], [account])
        said = message(body("I come anon"), to=ROMEO, id="m1")
        one.client.sends(said)
        one.server.gets(said)
        self.assertIn("I come anon", str(other.client.gets(f"{ANY_COPY}").children[0]))
        said = message(body("By and by I come"), ORCHARD, quoteattr(one.jid)[1:-1], id="m2")
        one.server.sends(said)
        one.client.getsBytes(said)
        other.server.answersPing()
        self.assertEqual(
            other.client.gets("<message from='*' to='*' type='chat' id='m2'>*</message>")["to"],
            other.jid,
        )

    def areStrangers(self, one: Window, other: Window) -> None:
        """Neither is shown what the other gets or sends."""
        self.assertEqual(len(list(self.accounts)), 2)
        for window in (one, other):
            said = message(body("I come anon"), to=ROMEO, id="m1")
            window.client.sends(said)
            window.server.gets(said)
            said = message(body("By and by I come"), ORCHARD, quoteattr(window.jid)[1:-1], id="m2")
            window.server.sends(said)
            window.client.getsBytes(said)
        for window in (one, other):
            window.client.getsNothing()
            window.server.getsNothing()


ANY_COPY = "<message from='*' to='*' type='chat' id='*'>*</message>"


class Accounts(Played):
    """Whose a session is."""

    def test_asServersWriteIt(self) -> None:
        """Where the server prepares addresses, nothing is asked."""
        one, other = self.binds(f"{JULIET}/balcony"), self.binds(f"{JULIET}/chamber")
        self.areSiblings(one, other, JULIET)

    def test_asClientsWriteIt(self) -> None:
        """Where it does not (ejabberd), it is asked, and says that it is one account."""
        one = self.binds(f"Juliet@{DOMAIN}/balcony", echo=True)
        other = self.binds(f"{JULIET}/chamber")
        third = self.binds(f"JULIET@{DOMAIN}/closet", echo=True)
        self.leaves(third)
        self.areSiblings(one, other, JULIET)

    def test_twoAccounts(self) -> None:
        """A server that tells accounts apart by case (pyjabber) drops it: two accounts."""
        one = self.binds(f"Juliet@{DOMAIN}/balcony", echo=False)
        other = self.binds(f"{JULIET}/balcony")
        self.areStrangers(one, other)

    def test_precis(self) -> None:
        """One that has PRECIS tells accounts apart that are one by nodeprep."""
        one = self.binds(f"weiß@{DOMAIN}/balcony", echo=False)
        other = self.binds(f"weiss@{DOMAIN}/balcony")
        self.areStrangers(one, other)

    def test_lookAlike(self) -> None:
        """What only looks the same is not even asked for."""
        one = self.binds(f"juli\u0435t@{DOMAIN}/balcony")  # a Cyrillic letter
        other = self.binds(f"{JULIET}/balcony")
        self.areStrangers(one, other)

    def test_notToBePrepared(self) -> None:
        """What the RFC forbids, but the server allows, is taken as it is."""
        one = self.binds(f"Juliet{RLO}@{DOMAIN}/balcony")
        other = self.binds(f"juliet{RLO}@{DOMAIN}/balcony")
        self.areStrangers(one, other)

    def test_noAnswer(self) -> None:
        """A server that says nothing keeps nobody waiting for long. An answer then is too late."""
        client, server = self.asksFor(f"Juliet@{DOMAIN}/balcony")
        asked = server.gets("<iq type='result' id='*' to='*'/>")
        self.assertEqual(asked["to"], f"{JULIET}/balcony")
        ping = server.gets(PING)
        server.answersDisco()
        self.network.wait(3)
        client.gets(bound(f"Juliet@{DOMAIN}/balcony", "b"))
        self.bringsBack(server, asked, f"Juliet@{DOMAIN}/balcony")
        server.answers(ping)
        client.getsNothing()
        self.assertEqual([each.jid for each in self.accounts], [f"Juliet@{DOMAIN}"])

    def test_somebodyElseAnswers(self) -> None:
        """Where it is two accounts, the other may get what was asked; its answer is no proof."""
        client, server = self.asksFor(f"Juliet@{DOMAIN}/balcony")
        asked = server.gets("<iq type='result' id='*' to='*'/>")
        ping = server.gets(PING)
        self.bringsBack(server, asked, f"{JULIET}/balcony")
        server.answers(ping)
        self.begins(client, server, f"Juliet@{DOMAIN}/balcony")
        self.assertEqual([each.jid for each in self.accounts], [f"Juliet@{DOMAIN}"])

    def test_leaves(self) -> None:
        """An account with several spellings is gone with its last session."""
        one = self.binds(f"Juliet@{DOMAIN}/balcony", echo=True)
        self.leaves(one)
        self.assertEqual(list(self.accounts), [])

    @given(_NAMES, _NAMES, st.booleans())
    def test_any(self, one: str, other: str, prepares: bool) -> None:
        """
        Two sessions have one account if the server says so, by the bind result or afterwards: if it
        prepares addresses, whoever has two spellings of one address; else who has the same.
        """
        windows = []
        for number, name in enumerate((one, other)):
            jid = f"{name}@{DOMAIN}/{number}"
            asked = prepared(jid) != jid
            windows.append(self.binds(jid, echo=prepares if asked else None))
        addresses = [f"{each}@{DOMAIN}" for each in (one, other)]
        known = {prepared(each) if prepares else each for each in addresses}
        self.assertEqual({each.jid for each in self.accounts}, known)
        for window in windows:
            self.leaves(window)

    def test_domain(self) -> None:
        """The domain may be spelled otherwise as well."""
        jid = f"juliet@{DOMAIN.upper()}./balcony"
        self.binds(jid, echo=True)
        self.assertEqual([each.jid for each in self.accounts], [JULIET])


class Copies(Played):
    """Sessions of one account with two spellings of its address."""

    mirror: ClassVar = config.Mirror(server_carbons="auto")

    def test_carbons(self) -> None:
        """A carbon of ours comes from the address that its client knows as its own."""
        one = self.binds(f"Juliet@{DOMAIN}/balcony", echo=True)
        other = self.binds(f"{JULIET}/chamber")
        third = self.binds(f"{JULIET}/closet")
        for window in (one, other):
            window.client.sends(enable())
            window.client.gets(
                f"<iq type='result' id='c' from='{window.jid.partition('/')[0]}' "
                f"to='{window.jid}'/>"
            )
        third.client.sends(message(body("I come"), to=ROMEO))
        third.server.gets(message(body("I come"), to=ROMEO))
        for window in (one, other):
            got = window.client.gets("<message from='*' to='*' type='chat'>*</message>")
            self.assertEqual(got["from"], window.jid.partition("/")[0])
            self.assertEqual(got["to"], window.jid)

    def test_serversCarbons(self) -> None:
        """A server's carbons are true in the spelling of the session, and in the prepared one."""
        one = self.binds(f"Juliet@{DOMAIN}/balcony", carbons=True, echo=True)
        inner = message(body("She speaks"), ORCHARD, f"JULIET@{DOMAIN}/chamber", id="m1")
        for account in (f"Juliet@{DOMAIN}", JULIET):
            one.server.sends(carbon("received", inner, one.jid, account))
            one.client.gets(message(body("She speaks"), ORCHARD, one.jid, id="m1"))
        for forger in (f"JULIET@{DOMAIN}", f"juli\u0435t@{DOMAIN}", f"{JULIET}/chamber", DOMAIN):
            one.server.sends(carbon("received", inner, one.jid, forger))
            one.client.getsNothing()
            self.assertLogged("dropped 1 carbon", shown(forger))
            self.logAnew()

    def test_serversCarbonsOfTwo(self) -> None:
        """Where accounts differ by case, the one forges no carbons for the other."""
        inner = message(body("She speaks"), ORCHARD, f"{JULIET}/chamber", id="m1")
        for jid, forger, echo in (
            (f"{JULIET}/balcony", f"Juliet@{DOMAIN}", None),
            (f"Juliet@{DOMAIN}/balcony", JULIET, False),
        ):
            window = self.binds(jid, carbons=True, echo=echo)
            window.server.sends(carbon("received", inner, window.jid, forger))
            window.client.getsNothing()

    def test_sentBySibling(self) -> None:
        """The server's carbon of what a sibling sent is known, however it spells the sibling."""
        one = self.binds(f"Juliet@{DOMAIN}/balcony", carbons=True, echo=True)
        other = self.binds(f"{JULIET}/chamber")
        said = message(body("I come anon"), to=ROMEO, id="m1")
        other.client.sends(said)
        other.server.gets(said)
        inner = message(body("I come anon"), other.jid, ROMEO, id="m1")
        one.server.sends(carbon("sent", inner, one.jid, f"Juliet@{DOMAIN}"))
        one.client.gets(ANY_COPY)
        one.client.getsNothing()


class Requests(Played):
    """A client spells its own address, or its server's, in its own way."""

    OWN = (f"Juliet@{DOMAIN}", f"JULIET@{DOMAIN.upper()}", f"juliet@{DOMAIN}.")
    SERVERS = (DOMAIN.upper(), f"{DOMAIN}.")

    def setUp(self) -> None:
        super().setUp()
        self.balcony = self.binds(f"{JULIET}/balcony")

    def test_carbons(self) -> None:
        """Carbons are enabled with the proxy."""
        for to in (*self.OWN, *self.SERVERS):
            self.balcony.client.sends(enable(to=to))
            self.balcony.client.gets(
                f"<iq type='result' id='c' from='{to}' to='{self.balcony.jid}'/>"
            )
            self.balcony.server.getsNothing()

    def test_notOwn(self) -> None:
        """What only looks like the own address is not."""
        for to in (f"juli\u0435t@{DOMAIN}", f"juliet@{DOMAIN}.example.net", f"{JULIET}/balcony"):
            self.balcony.client.sends(enable(to=to))
            self.balcony.server.gets(enable(to=to))

    def test_disco(self) -> None:
        """Our features are added."""
        for to in (*self.OWN, *self.SERVERS):
            self.balcony.client.sends(disco(to))
            self.balcony.server.gets(disco(to))
            self.balcony.server.sends(discovered(from_=to))
            self.assertIn(ns.CARBONS, self.balcony.client.gets(_ANY_DISCO).toXml())

    def test_command(self) -> None:
        """The account's command is answered."""
        for to in self.OWN:
            self.balcony.client.sends(
                f"<iq type='set' id='x' to='{to}'><command xmlns='{ns.COMMANDS}' "
                "node='urn:xmpproxy:plain-copies' action='cancel'/></iq>"
            )
            self.balcony.client.gets("<iq type='result' id='x' from='*' to='*'>*</iq>")

    def test_toOneself(self) -> None:
        """A message to oneself is brought by the server, and not by the proxy as well."""
        chamber = self.binds(f"{JULIET}/chamber")
        for to in self.OWN:
            said = message(body("Ay me"), to=to)
            self.balcony.client.sends(said)
            self.balcony.server.gets(said)
            chamber.client.getsNothing()

    def test_errorThatAnswersCopy(self) -> None:
        """An error for a copy stops here, however its client spells whom it answers."""
        chamber = self.binds(f"{JULIET}/chamber")
        said = message(body("She speaks"), "Romeo@Example.net/orchard", self.balcony.jid, id="m1")
        self.balcony.server.sends(said)
        self.balcony.client.getsBytes(said)
        chamber.server.answersPing()
        chamber.client.gets(ANY_COPY)
        error = f"<error type='cancel'><not-allowed xmlns='{ns.STANZA_ERRORS}'/></error>"
        chamber.client.sends(message(error, to=ORCHARD, type="error", id="m1"))
        chamber.server.getsNothing()

    def test_serversAnswer(self) -> None:
        """A server may answer in another spelling than it was asked in."""
        client, server = self.asksFor(f"{JULIET}/chamber")
        asked = server.gets(DISCO)
        server.answers(server.gets(DISCO_ACCOUNT))
        server.sends(f"<iq type='result' id='{asked['id']}' from='{DOMAIN.upper()}'/>")
        client.gets(bound(f"{JULIET}/chamber", "b"))


_ANY_DISCO = f"<iq type='result' id='d' from='*'><query xmlns='{ns.DISCO_INFO}'>*</query></iq>"


class Resources(Played):
    """Resources that try to be something else."""

    def test_log(self) -> None:
        """Nobody's resource makes up a line of the log, or a part of one."""
        for resource in RESOURCES:
            with self.subTest(shown(resource)[:40]):
                del self.events[:]
                jid = f"{JULIET}/{resource}"
                window = self.binds(jid)
                window.client.sends("<message xmlns='' to='x'/>")
                window.client.getsError("unsupported-stanza-type")
                window.server.getsEnd()
                window.server.closes()
                window.server.losesConnection()
                self.assertOneLineEach()
                lines = [line for line in self.log if " bound, " in line or " ended: " in line]
                for line in lines:
                    self.assertIn(f"#info] {shown(jid)}: ", line)
                    self.assertLess(len(line), MOST_LOGGED + 250)
                self.assertEqual(len(lines), 2)

    def test_copies(self) -> None:
        """Siblings see each other, and XML stays XML."""
        for resource in RESOURCES:
            with self.subTest(shown(resource)[:40]):
                one, other = self.binds(f"{JULIET}/{resource}"), self.binds(f"{JULIET}/chamber")
                one.client.sends(message(body("I come"), to=ROMEO))
                one.server.gets(message(body("I come"), to=ROMEO))
                copy = other.client.gets(ANY_COPY)
                self.assertEqual((copy["from"], copy["to"]), (ROMEO, other.jid))
                text = str(copy.firstChildElement())
                self.assertTrue(text.isprintable() or "\ufffd" in text)
                self.assertTrue(text.endswith(": I come"))
                self.assertFalse(set(text) & set(f"{RLO}\n\r\t\u200b\ufeff\u2028\x7f\x85"))
                self.assertLess(len(text), 80)
                said = message(body("She speaks"), ORCHARD, other.jid, id="m2")
                other.server.sends(said)
                other.client.getsBytes(said)
                one.server.answersPing()
                self.assertEqual(one.client.gets(ANY_COPY)["to"], one.jid)
                self.leaves(one)
                self.leaves(other)

    def test_inCarbons(self) -> None:
        """The same for carbons, in which the address is an attribute of what was sent."""
        resource = "x' \"y\n<z>&"
        one, other = self.binds(f"{JULIET}/{resource}"), self.binds(f"{JULIET}/chamber")
        other.client.sends(enable())
        other.client.gets(f"<iq type='result' id='c' from='{JULIET}' to='{other.jid}'/>")
        one.client.sends(message(body("I come"), to=ROMEO))
        one.server.gets(message(body("I come"), to=ROMEO))
        got = other.client.gets("<message from='*' to='*' type='chat'>*</message>")
        inner = got.firstChildElement().firstChildElement().firstChildElement()
        self.assertEqual(inner["from"], one.jid)

    def test_longest(self) -> None:
        """The longest address that there is."""
        jid = f"{'j' * 1023}@{DOMAIN}/{'r' * 1023}"
        other = f"{'j' * 1023}@{DOMAIN}/{'s' * 1023}"
        self.areSiblings(self.binds(jid), self.binds(other), jid.partition("/")[0])


class Log(Played):
    """Others whose words the log has."""

    def test_beforeLogin(self) -> None:
        """A client's elements, and what it says about itself."""
        client = self.client()
        client.opens(from_=f"juliet{RLO}@{DOMAIN}")
        client.getsHeader(from_=DOMAIN, to=f"juliet{RLO}@{DOMAIN}")
        server = self.server()
        server.opens(features())
        client.gets(features(f"<mechanisms xmlns='{ns.SASL}'/>"))
        client.sends(f"<{ALEPHS} xmlns='urn:x'/>")
        client.getsError("unsupported-stanza-type")
        server.getsEnd()
        self.assertLogged(r"refused 1 client: unsupported-stanza-type, <\u05d0")
        self.assertLess(max(map(len, self.log)), 1200)

    def test_sender(self) -> None:
        """Who forges, and what is dropped."""
        window = self.binds(f"{JULIET}/balcony")
        forger = f"tybalt@example.net/{RLO}\r: bound, from "
        inner = message(body("Poison"), ORCHARD, window.jid)
        forged = carbon("received", inner, window.jid, "FORGER")
        window.server.sends(forged.replace("'FORGER'", quoteattr(forger)))
        self.assertLogged(
            "dropped 1 carbon from tybalt@example.net/\\u202e\\r:\\x20bound,\\x20from"
        )
        window.server.sends(f"<message type='{RLO}&#10;{'x' * 5000}'><a:b/></message>")
        self.assertLogged("dropped 1 stanza <message type='\\u202e\\n")
        window.client.getsNothing()
        self.assertLess(max(map(len, self.log)), 1200)

    def test_server(self) -> None:
        """What a server says for a farewell, and whom it binds."""
        window = self.binds(f"{JULIET}/balcony")
        window.server.sends(f"<stream:error><{ALEPHS} xmlns='{ns.STREAM_ERRORS}'/></stream:error>")
        window.client.gets("<stream:error>*</stream:error>")
        window.client.isLeft()
        window.server.isLeft()
        client, server = self.asksFor(f"juliet@{DOMAIN}.example.net/{RLO} x")
        client.getsError("remote-connection-failed")
        server.getsEnd()
        self.assertLogged(f"the server bound juliet@{DOMAIN}.example.net/\\u202e x")
        self.assertLess(max(map(len, self.log)), 1200)


class Header(Played):
    """The domain in a client's stream header."""

    listen: ClassVar = config.Listen(endpoint="tcp:5222", tls="none", accept_plaintext=True)

    def test_spelling(self) -> None:
        """However it is spelled, it is served, and called by its configured name."""
        for to in (
            DOMAIN.upper(),
            f"{DOMAIN}.",
            "\uff45xample.com",
            f"juliet@{DOMAIN}",
            "example\u3002com",
        ):
            with self.subTest(to):
                client = self.client()
                client.opens(to=to)
                client.getsHeader(from_=DOMAIN)
                self.server().opens(features())
                client.gets(features(f"<mechanisms xmlns='{ns.SASL}'/>"))

    def test_another(self) -> None:
        """What only looks like it is not served."""
        for to in (
            "ex\u0430mple.com",
            f"{DOMAIN}..",
            f".{DOMAIN}",
            f"{DOMAIN}@example.net",
            "xn--a",
        ):
            with self.subTest(to):
                client = self.client()
                client.opens(to=to)
                client.getsHeader()
                client.getsError("host-unknown")


class Idn(Played):
    """A domain that is not written in ASCII alone."""

    domain: ClassVar = config.Domain(
        name="münchen.example", upstream="tcp:127.0.0.1:15222", upstream_tls="none"
    )

    def test_spelling(self) -> None:
        """Client and server may write A-labels; it is one domain."""
        for to, host in (
            ("xn--mnchen-3ya.example", "MÜNCHEN.example"),
            ("Mu\u0308nchen.example", "xn--mnchen-3ya.example"),
            ("münchen.example", "münchen.example"),
        ):
            with self.subTest(to):
                client = self.client()
                client.opens(to=to)
                client.getsHeader(from_="münchen.example")
                server = self.server()
                server.getsHeader(to="münchen.example")
                server.sends(server.header() + features(PLAIN))
                client.gets(features(PLAIN))
                client.sends(plain())
                server.gets(plain())
                server.succeeds()
                client.gets(SUCCESS)
                client.opens(to=to)
                client.getsHeader(from_="münchen.example")
                server.getsHeader(to="münchen.example")
                server.sends(server.header() + features(BIND))
                client.gets(BINDING)
                client.sends(request())
                server.gets(request())
                server.sends(bound(f"juliet@{host}/balcony", "b"))
                if host != "münchen.example":
                    asked = server.gets("<iq type='result' id='*' to='*'/>")
                    self.assertEqual(asked["to"], "juliet@münchen.example/balcony")
                    self.bringsBack(server, asked, f"juliet@{host}/balcony")
                for _ in range(2 + (host != "münchen.example")):
                    asked = server.gets("<iq type='get' id='*' to='*'>*</iq>")
                    server.sends(f"<iq type='result' id='{asked['id']}' from='{host}'/>")
                client.gets(bound(f"juliet@{host}/balcony", "b"))
        self.assertEqual([each.jid for each in self.accounts], ["juliet@münchen.example"])
