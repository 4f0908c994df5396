"""Bad input, and what it gets; nobody else notices any of it."""

from __future__ import annotations

from typing import ClassVar

from tests.conversation import (
    BIND,
    BINDING,
    DOMAIN,
    JULIET,
    OTHER_DOMAIN,
    PLAIN,
    ROMEO,
    STARTTLS,
    Conversation,
    Window,
    features,
    mechanisms,
    plain,
)
from xmpproxy import config, ns


class BadHeader(Conversation):
    """What a client begins with is no header of a stream that we could serve."""

    def refused(self, data: str | bytes, condition: str) -> None:
        """A client that sends this gets an error, and the server hears of nothing."""
        client = self.client()
        client.sends(data)
        client.getsHeader(version="1.0")
        client.getsError(condition)

    def test_notXML(self) -> None:
        """It speaks another protocol."""
        self.refused("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "not-well-formed")

    def test_binary(self) -> None:
        """It speaks no protocol at all."""
        self.refused(bytes(range(1, 256)), "not-well-formed")

    def test_tls(self) -> None:
        """TLS where none is spoken yet: some clients try, and take a silent close for a no."""
        client = self.client()
        client.sends(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        client.losesConnection()

    def test_noStream(self) -> None:
        """It is XML."""
        self.refused("<html>", "invalid-namespace")

    def test_wrongStreamNamespace(self) -> None:
        """Neither prefix nor name make a stream."""
        self.refused(
            f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='http://example.com/streams' "
            f"to='{DOMAIN}' version='1.0'>",
            "invalid-namespace",
        )

    def test_wrongContentNamespace(self) -> None:
        """It is a server, not a client."""
        self.refused(
            f"<stream:stream xmlns='jabber:server' xmlns:stream='{ns.STREAMS}' "
            f"to='{DOMAIN}' version='1.0'>",
            "invalid-namespace",
        )

    def test_noVersion(self) -> None:
        """It is from before XMPP 1.0."""
        self.refused(self.header(version=""), "unsupported-version")

    def test_wrongVersion(self) -> None:
        """It is from before XMPP 1.0, or from nowhere."""
        self.refused(self.header(version="0.9"), "unsupported-version")
        self.refused(self.header(version="one"), "unsupported-version")

    def test_unknownDomain(self) -> None:
        """It wants to go somewhere else."""
        self.refused(self.header(to="example.net"), "host-unknown")

    def test_unknownSubdomain(self) -> None:
        """A domain is served, and no domain below it."""
        self.refused(self.header(to=f"chat.{DOMAIN}"), "host-unknown")

    def test_behindIt(self) -> None:
        """What is sent behind it, all at once, changes nothing."""
        for behind in (STARTTLS, f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'/>", "</x>", "<iq/>"):
            self.refused(self.header(to="example.net") + behind, "host-unknown")
        self.network.wait(60)
        self.assertEqual(sum("refused" in line for line in self.log), 2)
        self.assertLogged("refused 3 clients: host-unknown, this domain is not served here")

    def test_noDomain(self) -> None:
        """It does not say where to."""
        self.refused(self.header(to=""), "improper-addressing")

    def test_impossibleDomain(self) -> None:
        """What it says is no JID."""
        self.refused(self.header(to="@@@"), "host-unknown")
        self.refused(self.header(to=300 * "x" + ".example"), "host-unknown")

    def test_otherEncoding(self) -> None:
        """XMPP is UTF-8."""
        self.refused(
            "<?xml version='1.0' encoding='iso-8859-1'?>" + self.header(), "unsupported-encoding"
        )

    def test_documentType(self) -> None:
        """It declares entities to blow up with."""
        self.refused(
            "<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY lol 'lol'>]>" + self.header(),
            "restricted-xml",
        )

    def test_comment(self) -> None:
        """Before the header, too."""
        self.refused("<!-- hello -->" + self.header(), "restricted-xml")

    def test_processingInstruction(self) -> None:
        """Before the header, too."""
        self.refused("<?hello?>" + self.header(), "restricted-xml")

    def test_endlessHeader(self) -> None:
        """It has an attribute that does not end."""
        self.refused("<stream:stream a='" + 300_000 * "x", "policy-violation")

    def test_unboundPrefix(self) -> None:
        """No stream without the declaration of its prefix."""
        self.refused(f"<stream:stream to='{DOMAIN}' version='1.0'>", "not-well-formed")

    @staticmethod
    def header(**attributes: str) -> str:
        """A header, less its XML declaration."""
        values = {"to": DOMAIN, "version": "1.0"} | attributes
        written = "".join(f" {name}='{value}'" for name, value in values.items() if value)
        return f"<stream:stream{written} xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}'>"


class BeforeLogin(Conversation):
    """A client does things in an order that RFC 6120 does not allow."""

    def test_stanzaBeforeAuthentication(self) -> None:
        """It talks without having said who it is."""
        for stanza in (
            f"<message to='{ROMEO}'><body>Who is there?</body></message>",
            "<presence/>",
            f"<iq type='set' id='b'>{BIND}</iq>",
            f"<iq type='get' id='r'><query xmlns='{ns.REGISTER}'/></iq>",
        ):
            client, server = self.meets()
            client.sends(stanza)
            client.getsError("not-authorized")
            server.getsEnd()

    def test_stanzaBeforeBinding(self) -> None:
        """It has authenticated, and has no resource."""
        for stanza in (f"<message to='{ROMEO}'/>", "<presence/>", "<iq type='get' id='v'/>"):
            client, server = self.authenticates()
            client.gets(BINDING)
            client.sends(stanza)
            client.getsError("not-authorized")
            server.getsEnd()

    def test_bindWithoutId(self) -> None:
        """A request that no answer could be found for."""
        client, server = self.authenticates()
        client.gets(BINDING)
        client.sends(f"<iq type='set'>{BIND}</iq>")
        client.getsError("not-authorized")
        server.getsEnd()

    def test_unknownElement(self) -> None:
        """SASL2, compression, and whatever was not offered."""
        client, server = self.meets()
        client.sends("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>")
        client.getsError("unsupported-stanza-type")
        server.getsEnd()

    def test_authenticationAfterAuthentication(self) -> None:
        """It wants to be somebody else now."""
        client, server = self.authenticates()
        client.gets(BINDING)
        client.sends(plain(user="nurse"))
        client.getsError("unsupported-stanza-type")
        server.getsEnd()

    def test_anotherDomainAfterAuthentication(self) -> None:
        """The stream after SASL is to the same domain."""
        client, server = self.meets()
        client.sends(plain())
        server.gets(plain())
        server.succeeds()
        client.gets("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        client.opens(to=OTHER_DOMAIN)
        client.getsHeader(from_=DOMAIN)
        client.getsError("host-unknown")
        server.getsHeader()
        server.getsEnd()

    def test_unboundPrefixInAuthentication(self) -> None:
        """Nothing of it goes to the server."""
        client, server = self.meets()
        client.sends(f"<auth xmlns='{ns.SASL}' mechanism='PLAIN' a:b='c'>=</auth>")
        client.getsError("not-well-formed")
        server.getsEnd()


class LongLogin(Conversation):
    """Before there is a resource, less may be sent at once."""

    #: A token of a mechanism that has long ones, as long as may be.
    TOKEN = f"<auth xmlns='{ns.SASL}' mechanism='GSSAPI'>" + "A" * 16311 + "</auth>"

    def test_longToken(self) -> None:
        """It passes up to the limit; of one byte more the server gets nothing."""
        self.assertEqual(len(self.TOKEN), 16384)
        offered = mechanisms("GSSAPI")
        client, server = self.meets(offered)
        client.sends(self.TOKEN)
        server.getsBytes(self.TOKEN)
        client, server = self.meets(offered)
        client.sends(self.TOKEN.replace("AA", "AAA", 1))
        client.getsError("policy-violation")
        self.assertLogged("policy-violation", "(login-stanza-bytes)")
        server.getsEnd()

    def test_beforeBinding(self) -> None:
        """Who has authenticated must still bind first."""
        client, server = self.authenticates()
        client.gets(BINDING)
        client.sends("<message><body>" + "a" * 16384)
        client.getsError("policy-violation")
        self.assertLogged("policy-violation", "(login-stanza-bytes)")
        server.getsEnd()

    def test_afterBinding(self) -> None:
        """Then more may be sent."""
        window = self.logsIn("balcony")
        stanza = f"<message><body>{20_000 * '-'}</body></message>"
        window.client.sends(stanza)
        window.server.getsBytes(stanza)

    def test_longFeatures(self) -> None:
        """Once TLS has shown that it is the server, it may send what it likes."""
        listed = [f"SCRAM-SHA-{n}" for n in range(1000)]
        self.meets(mechanisms("PLAIN", *listed))


class LongFeatures(Conversation):
    """What is connected to may be anybody, before TLS."""

    domain: ClassVar = config.Domain(
        name=DOMAIN, upstream="tcp:127.0.0.1:15222", upstream_tls="starttls"
    )

    def test_longFeatures(self) -> None:
        """More than a client could send before it has logged in is not read."""
        client = self.client()
        client.opens()
        client.getsHeader()
        server = self.server()
        server.opens("<stream:features>" + 17_000 * "a")
        server.getsError("policy-violation")
        client.getsError("remote-connection-failed")
        self.assertLogged("policy-violation", "(login-stanza-bytes)")


class BadInput(Conversation):
    """A client that is logged in sends something bad, before two that are bystanders."""

    def setUp(self) -> None:
        super().setUp()
        self.culprit = self.logsIn("balcony")
        self.sameAccount = self.logsIn("chamber")
        self.otherAccount = self.logsIn("hall", "nurse")

    def passes(self, data: str) -> None:
        """What is just right is relayed."""
        self.culprit.client.sends(data)
        self.culprit.server.getsBytes(data)

    def refused(self, data: str | bytes, condition: str, *logged: str) -> None:
        """Who sends this gets an error and is out; the others go on."""
        self.culprit.client.sends(data)
        self.culprit.client.getsError(condition)
        self.culprit.server.getsEnd()
        self.assertLogged(f"{JULIET}/balcony: ended: {condition}")
        self.assertLogged(f"refused: {condition}", *logged)
        self.culprit.server.closes()
        self.culprit.server.losesConnection()
        self.unharmed(self.sameAccount)
        self.unharmed(self.otherAccount)

    def unharmed(self, window: Window) -> None:
        """It has got nothing until now, and its conversation goes on."""
        window.client.sends(f"<message to='{ROMEO}'><body>Saints do not move</body></message>")
        window.server.gets(f"<message to='{ROMEO}'><body>Saints do not move</body></message>")
        window.server.sends(f"<message from='{ROMEO}'><body>Then move not</body></message>")
        window.client.gets(f"<message from='{ROMEO}'><body>Then move not</body></message>")

    def test_notWellFormed(self) -> None:
        """Tags that do not fit."""
        self.refused("<message><body>My ears have not yet</message>", "not-well-formed")

    def test_goodBeforeBad(self) -> None:
        """What was right before it is not lost."""
        self.culprit.client.sends("<presence><show>dnd</show></presence><message>&</message>")
        self.culprit.server.gets("<presence><show>dnd</show></presence>")
        self.refused("", "not-well-formed")

    def test_badUTF8(self) -> None:
        """Bytes that are no characters."""
        self.refused(
            b"<message><body>drunk a hundred \xff\xfe</body></message>", "unsupported-encoding"
        )

    def test_forbiddenCharacter(self) -> None:
        """Characters that are not XML's."""
        self.refused(b"<message><body>words of \x00</body></message>", "not-well-formed")

    def test_documentType(self) -> None:
        """In the middle of a stream it is not even well-formed."""
        self.refused("<!DOCTYPE message>", "not-well-formed")

    def test_undefinedEntity(self) -> None:
        """There are five entities in XMPP."""
        self.refused("<message><body>thy tongue&lol;'s</body></message>", "restricted-xml")

    def test_processingInstruction(self) -> None:
        """Between stanzas, and inside of one."""
        self.refused("<?php echo 1; ?>", "restricted-xml")

    def test_processingInstructionInside(self) -> None:
        """Between stanzas, and inside of one."""
        self.refused("<message><?php echo 1; ?></message>", "restricted-xml")

    def test_comment(self) -> None:
        """Between stanzas, and inside of one."""
        self.refused("<!-- nothing -->", "restricted-xml")

    def test_commentInside(self) -> None:
        """Between stanzas, and inside of one."""
        self.refused("<message><!-- nothing --></message>", "restricted-xml")

    def test_unboundPrefix(self) -> None:
        """Of an element, however deep."""
        self.refused("<message><a><b:c/></a></message>", "not-well-formed")

    def test_unboundPrefixOfAttribute(self) -> None:
        """The same for an attribute."""
        self.refused("<message a:b='c'/>", "not-well-formed")

    def test_bigStanza(self) -> None:
        """One MiB."""
        self.refused(f"<message><body>{1048576 * '-'}</body></message>", "policy-violation")

    def test_endlessStanza(self) -> None:
        """The end is not waited for."""
        self.refused(f"<message><body>{300_000 * '-'}", "policy-violation")

    def test_largestStanza(self) -> None:
        """The limit is the limit."""
        text = (262144 - len("<message><body></body></message>")) * "-"
        self.culprit.client.sends(f"<message><body>{text}</body></message>")
        self.culprit.server.gets(f"<message><body>{text}</body></message>")
        self.refused(
            f"<message><body>-{text}</body></message>", "policy-violation", "(stanza-bytes)"
        )

    def test_deepStanza(self) -> None:
        """10,000 levels."""
        self.refused(10_000 * "<a>" + 10_000 * "</a>", "policy-violation")

    def test_deepestStanza(self) -> None:
        """The stream's own element counts."""
        self.passes("<message>" + 198 * "<a>" + 198 * "</a>" + "</message>")
        self.refused("<message>" + 199 * "<a>", "policy-violation", "(depth)")

    def test_manyAttributes(self) -> None:
        """In one element."""
        attributes = "".join(f" a{n}=''" for n in range(256))
        self.passes(f"<message><x{attributes}/><y{attributes}/></message>")
        self.refused(
            f"<message><x b=''{attributes}/></message>", "policy-violation", "(attributes)"
        )

    def test_manyNamespaces(self) -> None:
        """In one stanza."""
        declarations = 4096 * "<x xmlns='urn:x'/><p:x xmlns:p='urn:p'/>"
        self.passes(f"<message>{declarations}</message>")
        self.refused(
            f"<message>{declarations}<x xmlns=''/></message>", "policy-violation", "(namespaces)"
        )

    def test_deepStanzaWithoutEnd(self) -> None:
        """The end is not waited for."""
        self.refused("<message>" + 1_000 * "<a>", "policy-violation")

    def test_text(self) -> None:
        """Text that is in no stanza."""
        self.refused("Good pilgrim", "bad-format")

    def test_streamInStream(self) -> None:
        """A stream header without a reason for one."""
        self.refused(BadHeader.header(), "bad-format")

    def test_secondResource(self) -> None:
        """One resource to a stream: the request is answered with an error, first."""
        self.culprit.client.sends(f"<iq type='set' id='b2'>{BIND}</iq>")
        self.culprit.client.gets(
            "<iq type='error' id='b2'><error type='cancel' code='*'>"
            f"<not-allowed xmlns='{ns.STANZA_ERRORS}'/>"
            f"<text xmlns='{ns.STANZA_ERRORS}'>this stream has a resource</text></error></iq>"
        )
        self.refused("", "policy-violation")

    def test_authentication(self) -> None:
        """The time for that is over."""
        self.refused(plain(), "unsupported-stanza-type")

    def test_startTLS(self) -> None:
        """The time for that is over."""
        self.refused(f"<starttls xmlns='{ns.TLS}'/>", "unsupported-stanza-type")

    def test_unknownElement(self) -> None:
        """No stanza, nothing known."""
        self.refused("<foo xmlns='urn:example:bar'/>", "unsupported-stanza-type")

    def test_serverStanza(self) -> None:
        """A stanza of another namespace than the stream's."""
        self.refused("<message xmlns='jabber:server'/>", "unsupported-stanza-type")

    def test_streamElement(self) -> None:
        """What only a server sends."""
        self.refused("<stream:features/>", "unsupported-stanza-type")

    def test_harmless(self) -> None:
        """What looks odd and is right: CDATA, references, a prefix for the content namespace."""
        odd = (
            "<c:message xmlns:c='jabber:client' to='a&#x40;b' id=\"'>'\">"
            "<c:body><![CDATA[<body>]]> &lt;&amp;&#33;</c:body></c:message>"
        )
        self.culprit.client.sends(odd)
        self.culprit.server.getsBytes(odd)
        self.sameAccount.client.gets(
            f"<message from='a@b' to='{JULIET}/chamber' type='chat' id='*'>"
            "<body>me@balcony: &lt;body&gt; &lt;&amp;!</body></message>"
        )


class BadServer(Conversation):
    """The server sends something bad, or passes on what a stranger wrote."""

    def setUp(self) -> None:
        super().setUp()
        self.balcony = self.logsIn("balcony")

    def dropped(self, stanza: str, *logged: str) -> None:
        """The client does not see it, the operator does, and the session lives."""
        self.balcony.server.sends(stanza)
        self.balcony.client.getsNothing()
        self.assertLogged(f"{JULIET}/balcony: dropped", *logged)
        self.balcony.server.sends(f"<message from='{ROMEO}'><body>a rose</body></message>")
        self.balcony.client.gets(f"<message from='{ROMEO}'><body>a rose</body></message>")

    def test_unboundPrefix(self) -> None:
        """As ejabberd passes it on."""
        self.dropped(
            f"<message from='{ROMEO}'><x xmlns='urn:f' f:a='1'/><body>Poison</body></message>",
            "message",
            "'f' is not bound",
        )

    def test_unboundPrefixOfStanza(self) -> None:
        """Of the stanza itself."""
        self.dropped(f"<a:message from='{ROMEO}'/>", "'a' is not bound")

    def test_unboundPrefixInAnswer(self) -> None:
        """Of an iq to the proxy itself."""
        self.balcony.client.sends("<iq type='get' id='1'/>")
        self.balcony.server.gets("<iq type='get' id='1'/>")
        self.dropped("<iq type='result' id='1'><a:b/></iq>", "iq", "'a' is not bound")

    def test_sameAttributeTwice(self) -> None:
        """Well-formed, but not with namespaces."""
        self.dropped(
            "<message xmlns:a='urn:a' xmlns:b='urn:a' a:x='1' b:x='2'/>", "message", "there twice"
        )

    def test_noStanza(self) -> None:
        """As pyjabber answers what it does not know."""
        self.dropped("<error xmlns='' type='cancel'/>", "error")

    def test_flood(self) -> None:
        """One line a minute, however many there are; also while the client is away."""
        client = self.balcony.client
        client.sends(f"<enable xmlns='{ns.STREAM_MANAGEMENT[0]}' resume='true'/>")
        client.gets(f"<enabled xmlns='{ns.STREAM_MANAGEMENT[0]}' id='*' resume='true' max='300'/>")
        poison = f"<message from='{ROMEO}'><a:b/></message>"
        self.balcony.server.sends(100 * poison)
        client.vanishes()
        self.balcony.server.sends(100 * poison)
        self.network.wait(60)
        why = "stanza <message type=None [a:b]>: the prefix 'a' is not bound"
        dropped = [line for line in self.log if "dropped" in line]
        self.assertEqual(len(dropped), 2)
        self.assertIn(f"{JULIET}/balcony: dropped 1 {why}", dropped[0])
        self.assertIn(
            f"{JULIET}/balcony: dropped 199 {why.replace('stanza', 'stanzas')}", dropped[1]
        )

    def test_features(self) -> None:
        """There is nothing left to negotiate."""
        self.balcony.server.sends(features(PLAIN))
        self.balcony.client.getsNothing()
        self.balcony.server.sends("<presence/>")
        self.balcony.client.gets("<presence/>")

    def test_notWellFormed(self) -> None:
        """The server's stream is broken; the client is told to come back."""
        self.balcony.server.sends("<message></presence>")
        self.balcony.server.getsError("not-well-formed")
        self.balcony.client.getsError("reset")
        self.assertLogged(f"{JULIET}/balcony", "not-well-formed")

    def test_bigStanza(self) -> None:
        """A long roster, or whatever a server lets pass, is no reason to end a session."""
        roster = "".join(f"<item jid='friend{n}@example.net'/>" for n in range(10_000))
        answer = f"<iq type='result' id='r'><query xmlns='jabber:iq:roster'>{roster}</query></iq>"
        self.balcony.client.sends("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        self.balcony.server.gets("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        self.balcony.server.sends(answer)
        self.balcony.client.getsBytes(answer)

    def test_deepStanza(self) -> None:
        """Servers pass on 2,000 levels at least. A stranger must not end a session so."""
        self.dropped(
            f"<message from='{ROMEO}'>{1_000 * '<a>'}{1_000 * '</a>'}</message>", "message", "deep"
        )

    def test_manyAttributes(self) -> None:
        """A stranger's stanza may be as wide as the servers between let it be."""
        attributes = "".join(f" a{n}=''" for n in range(3000))
        self.dropped(f"<message from='{ROMEO}'><x{attributes}/></message>", "(attributes)")

    def test_manyNamespaces(self) -> None:
        """And declare as many namespaces."""
        declarations = 8193 * "<x xmlns='urn:x'/>"
        self.dropped(f"<message from='{ROMEO}'>{declarations}</message>", "(namespaces)")

    def test_hugeStanza(self) -> None:
        """And be as long. Its end is found, and nothing of it was kept."""
        more = 1_000_000 * "<a>-</a>"
        self.balcony.server.sends(f"<message from='{ROMEO}' type='chat'>{more}")
        self.balcony.server.sends(more)
        self.balcony.server.sends(more)
        self.dropped("</message>", "message type='chat'", "16777216 bytes", "(stanza-bytes)")
