"""
What is no message is each session's own: roster, presence and queries pass as the bytes they are.

And the exception to that: hashes of what an entity can do (XEP-0115, XEP-0390), where the proxy
changes what the entity says about it.
"""

from __future__ import annotations

from tests.conversation import DOMAIN, JULIET, ROMEO, Conversation, Window
from tests.test_conversation_mirror import ORCHARD, disco, discovered
from xmpproxy import ns

NURSE = f"nurse@{DOMAIN}"
BALCONY = f"{JULIET}/balcony"
CHAMBER = f"{JULIET}/chamber"
ROSTER = "jabber:iq:roster"
BLOCKING = "urn:xmpp:blocking"
CAPS = f"<c xmlns='{ns.CAPS[0]}' hash='sha-1' node='http://server.example' ver='v='/>"
CAPS_2 = (
    f"<c xmlns='{ns.CAPS[1]}'><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>v=</hash>"
    "<hash xmlns='urn:xmpp:hashes:2' algo='sha3-256'>w=</hash></c>"
)

#: What it is, and how a server may write it.
FROM_SERVER: dict[str, str] = {
    "roster": f"<iq id='r' type='result' to='{BALCONY}'><query xmlns='{ROSTER}' ver='1'>"
    f"<item jid='{ROMEO}' name='R &amp; J' subscription='both'><group/></item></query></iq>",
    "roster, nothing new": f"<iq type='result' id='r' to='{BALCONY}'></iq>",
    "roster push": f"<iq type='set' id='push1' to='{BALCONY}'><query xmlns='{ROSTER}' ver='2'>"
    f"<item jid='{NURSE}' subscription='none' ask='subscribe'/></query></iq>",
    "roster push with a sender": f"<iq from='{JULIET}' type='set' id='push2' to='{BALCONY}'>"
    f"<query xmlns='{ROSTER}'><item jid='{NURSE}' subscription='remove'/></query></iq>",
    "push of a block list": f"<iq to='{BALCONY}' type='set' id='b'><block xmlns='{BLOCKING}'>"
    f"<item jid='{ROMEO}'/></block></iq>",
    "answer to a probe": f"<presence from='{ORCHARD}' to='{JULIET}'><show>dnd</show>"
    f"<priority>5</priority>{CAPS}<delay xmlns='{ns.DELAY}' stamp='2026-11-22T07:09:45Z'/>"
    "</presence>",
    "own presence": f"<presence from='{BALCONY}' to='{BALCONY}'>{CAPS}{CAPS_2}</presence>",
    "presence of a sibling": f"<presence from='{CHAMBER}' to='{BALCONY}'>{CAPS}{CAPS_2}</presence>",
    "presence of another account": f"<presence from='{NURSE}'>{CAPS}{CAPS_2}</presence>",
    "presence of a service": f"<presence from='chat.{DOMAIN}'>{CAPS}</presence>",
    "presence of the server's resource": f"<presence from='{DOMAIN}/x'>{CAPS}</presence>",
    "presence of the account": f"<presence from='{JULIET}'><status>s</status></presence>",
    "presence of nobody": "<presence/>",
    "other c": f"<presence from='{JULIET}'><c xmlns='urn:x'>{CAPS}</c></presence>",
    "presence of an occupant": f"<presence from='verona@chat.{DOMAIN}/romeo' to='{BALCONY}'>"
    f"<x xmlns='{ns.MUC_USER}'><item affiliation='member' role='participant'/></x></presence>",
    "subscription": f"<presence type='subscribe' from='{ROMEO}' to='{JULIET}' id='s'>"
    "<nick xmlns='http://jabber.org/protocol/nick'>R</nick></presence>",
    "subscribed": f"<presence type='subscribed' from='{ROMEO}' to='{JULIET}'/>",
    "unavailable": f"<presence type='unavailable' from='{ORCHARD}' to='{JULIET}'></presence>",
    "presence error": f"<presence type='error' from='{ROMEO}' to='{BALCONY}'><error type='cancel'>"
    f"<remote-server-not-found xmlns='{ns.STANZA_ERRORS}'/></error></presence>",
    "presence of no type that there is": "<presence type='' from='@@'>\u00e9</presence>",
    "vCard": f"<iq type='result' id='v' from='{ROMEO}' to='{BALCONY}'><vCard xmlns='vcard-temp'>"
    "<FN>\u0160 &#x160;</FN><PHOTO><BINVAL>aGk=\n</BINVAL></PHOTO></vCard></iq>",
    "question for the version": f"<iq type='get' id='x' from='{ORCHARD}' to='{BALCONY}'>"
    "<query xmlns='jabber:iq:version'/></iq>",
    "question what it can do": f"<iq type='get' id='x' from='{ORCHARD}' to='{BALCONY}'>"
    f"<query xmlns='{ns.DISCO_INFO}' node='http://client.example#v='/></iq>",
    "ping": f"<iq type='get' id='x' from='{DOMAIN}' to='{BALCONY}'><ping xmlns='{ns.PING}'/></iq>",
    "answer that nobody waits for": f"<iq type='result' id='push1' from='{NURSE}/x'/>",
    "error": f"<iq type='error' id='v' from='{ROMEO}' to='{BALCONY}'><vCard xmlns='vcard-temp'/>"
    f"<error type='cancel'><item-not-found xmlns='{ns.STANZA_ERRORS}'/></error></iq>",
    "unknown": "<iq type='set' id='x'><do xmlns='urn:x'>this</do></iq>",
    "no type, no id, nothing": "<iq/>",
    "two payloads": "<iq type='set' id='x'><a xmlns='urn:a'/><b xmlns='urn:b'/></iq>",
    "prefixes": f'<p:iq xmlns:p="{ns.CLIENT}" type="set" id="x"><q:query xmlns:q="{ROSTER}">'
    f"<q:item jid='{ROMEO}' p:x='1'/></q:query></p:iq>",
    "white space": f"<presence\n\tfrom = \"{ORCHARD}\"  to='{JULIET}'\r\n>\n <show\n>away</show >\t"
    "</presence\n>",
    "quotes": "<iq type=\"set\" id='\"' to=\"'\"><x xmlns=\"urn:x\" a='>' b='/>'>\"'</x></iq>",
    "references": "<presence id='&#x61;&amp;&#10;'><status>&#60;&gt;&apos;\u00e9\U0001f339</status>"
    "</presence>",
    "CDATA": "<presence><status><![CDATA[<c xmlns='urn:xmpp:caps'/>]]]]><![CDATA[>]]></status>"
    "</presence>",
}

#: The same for a client.
FROM_CLIENT: dict[str, str] = {
    "for the roster": f"<iq type='get' id='r'><query xmlns='{ROSTER}' ver=''/></iq>",
    "into the roster": f"<iq id='r2' type='set'><query xmlns='{ROSTER}'><item jid='{ROMEO}' "
    "name='&lt;3'><group/></item></query></iq>",
    "answer to a roster push": f"<iq type='result' id='push1' to='{JULIET}'/>",
    "presence": "<presence xml:lang='it'><show>chat</show><status>O</status></presence>",
    "presence with hashes": f"<presence>{CAPS}{CAPS_2}</presence>",
    "presence as of the account": f"<presence from='{JULIET}'>{CAPS}{CAPS_2}</presence>",
    "negative priority": "<presence><priority>-1</priority></presence>",
    "no priority": "<presence><priority>high</priority></presence>",
    "directed presence": f"<presence to='verona@chat.{DOMAIN}/juliet'>{CAPS}"
    "<x xmlns='http://jabber.org/protocol/muc'/></presence>",
    "subscription": f"<presence type='subscribe' to='{ROMEO}'/>",
    "probe": f"<presence type='probe' to='{ROMEO}'/>",
    "unavailable": "<presence type='unavailable'><status>O</status></presence>",
    "hashes before presence": f"<iq type='set' id='g' to='{DOMAIN}'>{CAPS_2}</iq>",
    "block": f"<iq type='set' id='b'><block xmlns='{BLOCKING}'><item jid='{ROMEO}'/></block></iq>",
    "privacy list": "<iq type='set' id='p'><query xmlns='jabber:iq:privacy'><list/></query></iq>",
    "vCard": f"<iq type='get' id='v' to='{ROMEO}'><vCard xmlns='vcard-temp'/></iq>",
    "version": f"<iq type='result' id='x' to='{ORCHARD}'><query xmlns='jabber:iq:version'>"
    "<name>n</name></query></iq>",
    "what it can do": f"<iq type='result' id='x' to='{ORCHARD}'><query xmlns='{ns.DISCO_INFO}' "
    f"node='http://client.example#v='><feature var='{ns.CARBONS}'/></query></iq>",
    "unknown": f"<iq type='set' id='x' to='{DOMAIN}'><do xmlns='urn:x'>that</do></iq>",
    "no type, no id, nothing": "<iq/>",
    "prefixes": f'<p:presence xmlns:p="{ns.CLIENT}"><p:show>xa</p:show></p:presence>',
    "white space": "<iq\n\ttype = \"get\"  id='x'\r\n>\n <x xmlns='urn:x'\n/>\t</iq\n>",
    "quotes": "<iq type=\"set\" id='\"' to=\"'\"><x xmlns=\"urn:x\" a='>' b='/>'>\"'</x></iq>",
    "CDATA": "<presence><status><![CDATA[</presence>]]></status></presence>",
}


class Untouched(Conversation):
    """Whoever does the carbons, and whatever another session gets."""

    def passes(self, *windows: Window) -> None:
        """All of it, by itself and in one go, and only there where it belongs."""
        server, client = windows[0].server, windows[0].client
        for words, stanza in FROM_SERVER.items():
            with self.subTest(words):
                server.sends(stanza)
                client.getsBytes(stanza)
        for words, stanza in FROM_CLIENT.items():
            with self.subTest(words):
                client.sends(stanza)
                server.getsBytes(stanza)
        server.sends("".join(FROM_SERVER.values()))
        for stanza in FROM_SERVER.values():
            client.getsBytes(stanza)
        client.sends("".join(FROM_CLIENT.values()))
        for stanza in FROM_CLIENT.values():
            server.getsBytes(stanza)
        for window in windows:
            window.client.getsNothing()
            window.server.getsNothing()

    def test_proxysCarbons(self) -> None:
        """The server has none."""
        self.passes(self.logsIn("balcony"), self.logsIn("chamber"))

    def test_serversCarbons(self) -> None:
        """The server has them."""
        self.passes(self.logsIn("balcony", carbons=True), self.logsIn("chamber", carbons=True))

    def test_betweenLines(self) -> None:
        """Nor does any of it wait for a message that may still come, or is it mixed up with one."""
        balcony, chamber = self.logsIn("balcony"), self.logsIn("chamber")
        said = (
            f"<message type='chat' from='{ORCHARD}' to='{CHAMBER}' id='m'><body>O</body></message>"
        )
        chamber.server.sends(said)
        chamber.client.getsBytes(said)
        for stanza in FROM_SERVER.values():
            balcony.server.sends(stanza)
            balcony.client.getsBytes(stanza)
        balcony.server.answersPing()
        balcony.client.gets(said.replace(CHAMBER, BALCONY))


class Hashes(Conversation):
    """
    Whose answer to disco#info the proxy changes must not be known by the hash of another one: a
    client could not verify that, or would believe it and never ask.
    """

    def comes(self, window: Window, sender: str, *inside: str, kept: str) -> None:
        """Presence with hashes."""
        address = f" from='{sender}'" if sender else ""
        window.server.sends(f"<presence{address} id='p'>{''.join(inside)}</presence>")
        window.client.getsBytes(f"<presence{address} id='p'>{kept}</presence>")

    def test_takenOut(self) -> None:
        """From the account's presence and the server's; without `from` it is the account's."""
        window = self.logsIn("balcony")
        for sender in (JULIET, DOMAIN, ""):
            self.comes(window, sender, CAPS, kept="")
            self.comes(window, sender, CAPS_2, kept="")
            self.comes(
                window,
                sender,
                "\n<show>xa</show>",
                CAPS,
                f"<a xmlns='urn:a'>{CAPS}</a>",
                CAPS_2,
                "<status>O</status>\n",
                CAPS,
                kept=f"\n<show>xa</show><a xmlns='urn:a'>{CAPS}</a><status>O</status>\n",
            )

    def test_prefixed(self) -> None:
        """However they are written."""
        window = self.logsIn("balcony")
        window.server.sends(
            f"<p:presence xmlns:p='{ns.CLIENT}' xmlns:c='{ns.CAPS[0]}' from='{JULIET}'>"
            "<c:c ver='>'><c:c/></c:c ><p:show>xa</p:show></p:presence>"
        )
        window.client.gets(f"<presence from='{JULIET}'><show>xa</show></presence>")

    def test_serversCarbons(self) -> None:
        """The proxy changes no answer: what the server says is true, and known by its hash."""
        window = self.logsIn("balcony", carbons=True)
        for sender in (JULIET, DOMAIN, ""):
            self.comes(window, sender, CAPS, CAPS_2, kept=CAPS + CAPS_2)
        for to in (JULIET, DOMAIN, ""):
            window.client.sends(disco(to))
            window.server.getsBytes(disco(to))
            answer = discovered("urn:x", from_=to)
            window.server.sends(answer)
            window.client.getsBytes(answer)

    def test_node(self) -> None:
        """
        What a hash stands for is the server's alone to say, even if it forgets to say in the answer
        that this is what it was asked for.
        """
        window = self.logsIn("balcony")
        for to in (JULIET, DOMAIN, ""):
            for node in ("http://server.example#v=", "urn:xmpp:caps#sha-256.v="):
                for answer in (
                    discovered("urn:x", from_=to, node=node),
                    discovered("urn:x", from_=to),
                    f"<iq type='error' id='d'><error type='cancel'>"
                    f"<item-not-found xmlns='{ns.STANZA_ERRORS}'/></error></iq>",
                ):
                    window.client.sends(disco(to, node))
                    window.server.getsBytes(disco(to, node))
                    window.server.sends(answer)
                    window.client.getsBytes(answer)
