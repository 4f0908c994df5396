"""Conversations on several windows: who is shown what, once, and in which order."""

from __future__ import annotations

from typing import ClassVar

from tests.conversation import (
    DOMAIN,
    ENABLE,
    JULIET,
    PING,
    ROMEO,
    Conversation,
    Window,
    bound,
)
from xmpproxy import config, ns
from xmpproxy.downstream import Downstream
from xmpproxy.upstream import Upstream
from xmpproxy.xmlstream import StanzaStream

ORCHARD = f"{ROMEO}/orchard"
RECEIPT = f"<request xmlns='{ns.RECEIPTS}'/>"
MARKABLE = f"<markable xmlns='{ns.CHAT_MARKERS}'/>"
PRIVATE = f"<private xmlns='{ns.CARBONS}'/>"


def message(inside: str, from_: str = "", to: str = "", type: str = "chat", id: str = "") -> str:
    """A message; attributes that are empty are left out."""
    attributes = {"from": from_, "to": to, "type": type, "id": id}
    written = "".join(f" {name}='{value}'" for name, value in attributes.items() if value)
    return f"<message{written}>{inside}</message>"


def body(text: str) -> str:
    """The body of a message."""
    return f"<body>{text}</body>"


def carbon(direction: str, inner: str, to: str, from_: str = JULIET) -> str:
    """A message in a carbon."""
    standalone = inner.replace("<message", f"<message xmlns='{ns.CLIENT}'", 1)
    return message(
        f"<{direction} xmlns='{ns.CARBONS}'><forwarded xmlns='{ns.FORWARD}'>{standalone}"
        f"</forwarded></{direction}>",
        from_,
        to,
    )


def enable(wish: str = "enable", to: str = "", id: str = "c") -> str:
    """A client wants carbons, or wants none any more."""
    address = f" to='{to}'" if to else ""
    return f"<iq type='set' id='{id}'{address}><{wish} xmlns='{ns.CARBONS}'/></iq>"


def disco(to: str = "", node: str = "") -> str:
    """A client asks somebody what they can do."""
    address = f" to='{to}'" if to else ""
    part = f" node='{node}'" if node else ""
    return f"<iq type='get' id='d'{address}><query xmlns='{ns.DISCO_INFO}'{part}/></iq>"


def discovered(*offered: str, from_: str = "", node: str = "") -> str:
    """What they answer."""
    address = f" from='{from_}'" if from_ else ""
    part = f" node='{node}'" if node else ""
    listed = "".join(f"<feature var='{feature}'/>" for feature in offered)
    return (
        f"<iq type='result' id='d'{address}><query xmlns='{ns.DISCO_INFO}'{part}>"
        f"<identity category='server' type='im'/>{listed}</query></iq>"
    )


def wantsCarbons(window: Window) -> None:
    """The client asks for carbons; it is the proxy that answers."""
    window.client.sends(enable())
    window.client.gets(f"<iq type='result' id='c' from='{JULIET}' to='{window.jid}'/>")
    window.server.getsNothing()


class Incoming(Conversation):
    """The server has no carbons. A message comes in."""

    def setUp(self) -> None:
        super().setUp()
        self.balcony, self.chamber = self.logsIn("balcony"), self.logsIn("chamber")

    def test_toOne(self) -> None:
        """It is shown to the other, once the server can have nothing of it for that one."""
        said = message(body("She speaks"), ORCHARD, self.balcony.jid, id="m1")
        self.balcony.server.sends(said)
        self.balcony.client.getsBytes(said)
        self.chamber.client.getsNothing()
        self.chamber.server.answersPing()
        self.chamber.client.gets(message(body("She speaks"), ORCHARD, self.chamber.jid, id="m1"))

    def test_serverEnds(self) -> None:
        """What waits for the server's word is shown when the server has no more to say."""
        said = message(body("She speaks"), ORCHARD, self.balcony.jid, id="m1")
        self.balcony.server.sends(said)
        self.balcony.client.getsBytes(said)
        self.chamber.server.gets(PING)  # which it leaves unanswered
        self.chamber.server.sends(message(body("Listen"), ORCHARD, self.chamber.jid, id="m2"))
        self.balcony.server.answersPing()
        self.balcony.client.gets(message(body("Listen"), ORCHARD, self.balcony.jid, id="m2"))
        self.chamber.server.vanishes()
        self.chamber.client.gets(message(body("She speaks"), ORCHARD, self.chamber.jid, id="m1"))
        self.chamber.client.gets(message(body("Listen"), ORCHARD, self.chamber.jid, id="m2"))
        self.chamber.client.getsError("reset")

    def test_toAll(self) -> None:
        """The server sends it to both: each gets its own, and no other."""
        said = message(body("She speaks"), ORCHARD, JULIET, id="m1")
        self.balcony.server.sends(said)
        self.balcony.client.getsBytes(said)
        self.chamber.server.sends(said)
        self.chamber.client.getsBytes(said)
        self.chamber.server.answersPing()
        self.balcony.client.getsNothing()
        self.chamber.client.getsNothing()

    def test_toAllWithTheirOwnAddresses(self) -> None:
        """The same from a server that writes each one's full JID."""
        for window in (self.balcony, self.chamber):
            said = message(body("She speaks"), ORCHARD, window.jid, id="m1")
            window.server.sends(said)
            window.client.getsBytes(said)
        self.chamber.server.answersPing()

    def test_lateFork(self) -> None:
        """What the server has for the other keeps its own bytes, the request for a receipt too."""
        said = message(body("She speaks") + RECEIPT, ORCHARD, JULIET, id="m1")
        self.balcony.server.sends(said)
        self.balcony.client.getsBytes(said)
        ping = self.chamber.server.gets(PING)
        self.chamber.client.getsNothing()
        self.chamber.server.sends(said)
        self.chamber.client.getsBytes(said)
        self.chamber.server.answers(ping)

    def test_order(self) -> None:
        """Both windows show one order, whatever comes while one waits."""
        first = message(body("She speaks"), ORCHARD, self.balcony.jid, id="m1")
        second = message(body("She says nothing"), ORCHARD, self.chamber.jid, id="m2")
        self.balcony.server.sends(first)
        self.balcony.client.getsBytes(first)
        ping = self.chamber.server.gets(PING)
        self.chamber.server.sends(second)
        self.chamber.client.getsNothing()
        self.chamber.server.answers(ping)
        self.chamber.client.gets(message(body("She speaks"), ORCHARD, self.chamber.jid, id="m1"))
        self.chamber.client.getsBytes(second)
        self.balcony.server.answersPing()
        self.balcony.client.gets(
            message(body("She says nothing"), ORCHARD, self.balcony.jid, id="m2")
        )

    def test_equalMessages(self) -> None:
        """Who says the same twice is heard twice."""
        said = message(body("Juliet!"), ORCHARD, JULIET)
        self.balcony.server.sends(said + said)
        self.chamber.server.sends(said + said)
        for window in (self.balcony, self.chamber):
            window.client.getsBytes(said)
            window.client.getsBytes(said)
        self.chamber.server.answersPing()
        self.chamber.server.answersPing()

    def test_onePing(self) -> None:
        """Many messages wait for one answer, and those that come meanwhile for the next."""
        said = [message(body(f"Juliet! {n}"), ORCHARD, self.balcony.jid) for n in range(10)]
        self.balcony.server.sends("".join(said))
        for each in said:
            self.balcony.client.getsBytes(each)
        self.chamber.server.answersPing()
        self.chamber.server.answersPing()
        self.chamber.server.getsNothing()
        for n in range(10):
            self.chamber.client.gets(message(body(f"Juliet! {n}"), ORCHARD, self.chamber.jid))

    def test_serverDoesNotAnswerPings(self) -> None:
        """The wait is capped, and the operator hears of it."""
        self.balcony.server.sends(message(body("She speaks"), ORCHARD, self.balcony.jid))
        self.balcony.client.gets(message(body("She speaks"), ORCHARD, self.balcony.jid))
        self.chamber.server.gets(PING)
        self.network.wait(4.9)
        self.chamber.client.getsNothing()
        self.network.wait(0.1)
        self.chamber.client.gets(message(body("She speaks"), ORCHARD, self.chamber.jid))
        self.assertLogged(f"{JULIET}/chamber", "ping")

    def test_pingAnsweredByAnError(self) -> None:
        """An error is an answer."""
        self.balcony.server.sends(message(body("She speaks"), ORCHARD, self.balcony.jid))
        self.balcony.client.gets(message(body("She speaks"), ORCHARD, self.balcony.jid))
        ping = self.chamber.server.gets(PING)
        self.chamber.server.sends(
            f"<iq type='error' id='{ping['id']}' from='{self.chamber.jid}'><error type='cancel'>"
            f"<feature-not-implemented xmlns='{ns.STANZA_ERRORS}'/></error></iq>"
        )
        self.chamber.client.gets(message(body("She speaks"), ORCHARD, self.chamber.jid))

    def test_noHistory(self) -> None:
        """Who comes later has not missed anything that is owed to it."""
        said = message(body("She speaks"), ORCHARD, JULIET, id="m1")
        self.balcony.server.sends(said)
        self.balcony.client.getsBytes(said)
        self.chamber.server.gets(PING)
        closet = self.logsIn("closet")
        closet.server.getsNothing()
        closet.client.getsNothing()
        closet.server.sends(said)  # again, from the server's archive perhaps: new to this session
        closet.client.getsBytes(said)
        self.balcony.server.answersPing()
        self.balcony.client.gets(message(body("She speaks"), ORCHARD, self.balcony.jid, id="m1"))

    def test_siblingLeaves(self) -> None:
        """What was owed to it is owed to nobody."""
        self.chamber.client.closes()
        self.chamber.client.isLeft()
        self.chamber.server.getsEnd()
        self.chamber.server.closes()
        self.chamber.server.losesConnection()
        said = message(body("She speaks"), ORCHARD, JULIET)
        self.balcony.server.sends(said)
        self.balcony.client.getsBytes(said)

    def test_siblingIsLeaving(self) -> None:
        """What the server sent to it alone, before it knew, is shown to the other."""
        self.chamber.client.vanishes()
        self.chamber.server.getsEnd()
        self.chamber.server.sends(message(body("She speaks"), ORCHARD, self.chamber.jid))
        self.balcony.server.answersPing()
        self.balcony.client.gets(message(body("She speaks"), ORCHARD, self.balcony.jid))

    def test_notForCopies(self) -> None:
        """What is no conversation between two is for the session that gets it."""
        for said in (
            message(body("O"), f"verona@chat.{DOMAIN}/romeo", self.balcony.jid, "groupchat"),
            message(body("O"), "example.net", self.balcony.jid, "headline"),
            message(
                f"<error type='cancel'><gone xmlns='{ns.STANZA_ERRORS}'/></error>" + body("O"),
                ORCHARD,
                self.balcony.jid,
                "error",
            ),
            message(body("O") + f"<no-copy xmlns='{ns.HINTS}'/>", ORCHARD, self.balcony.jid),
            message("<x xmlns='urn:example'/>", ORCHARD, self.balcony.jid, ""),
            message(f"<result xmlns='{ns.MAM}' queryid='q'/>", JULIET, self.balcony.jid, ""),
            message("<event xmlns='http://jabber.org/protocol/pubsub#event'/>", ROMEO, JULIET, ""),
        ):
            self.balcony.server.sends(said)
            self.balcony.client.getsBytes(said)
            self.chamber.server.getsNothing()

    def test_presenceAndQueriesAreNotCopied(self) -> None:
        """They belong to their session."""
        for stanza in (
            f"<presence from='{ORCHARD}'/>",
            f"<iq type='get' id='v' from='{ORCHARD}'/>",
        ):
            self.balcony.server.sends(stanza)
            self.balcony.client.getsBytes(stanza)

    def test_requestsAreNotCopied(self) -> None:
        """The one that got the message itself answers; the copy asks for nothing."""
        self.balcony.server.sends(
            message(body("She speaks") + RECEIPT + MARKABLE, ORCHARD, self.balcony.jid, id="m1")
        )
        self.balcony.client.gets(
            message(body("She speaks") + RECEIPT + MARKABLE, ORCHARD, self.balcony.jid, id="m1")
        )
        self.chamber.server.answersPing()
        self.chamber.client.gets(message(body("She speaks"), ORCHARD, self.chamber.jid, id="m1"))

    def test_encrypted(self) -> None:
        """Nobody wants to read that."""
        for inside in (
            "<encrypted xmlns='eu.siacs.conversations.axolotl'/>" + body("[OMEMO]"),
            body("?OTR:AAMC..."),
        ):
            said = message(inside, ORCHARD, self.balcony.jid)
            self.balcony.server.sends(said)
            self.balcony.client.getsBytes(said)
            self.chamber.server.answersPing()
            self.chamber.client.getsNothing()

    def test_errorForACopy(self) -> None:
        """Whoever wrote the message does not know the sibling, nor need hear of its troubles."""
        self.balcony.server.sends(message(body("She speaks"), ORCHARD, self.balcony.jid, id="m1"))
        self.balcony.client.gets(message(body("She speaks"), ORCHARD, self.balcony.jid, id="m1"))
        self.chamber.server.answersPing()
        self.chamber.client.gets(message(body("She speaks"), ORCHARD, self.chamber.jid, id="m1"))
        error = f"<error type='wait'><resource-constraint xmlns='{ns.STANZA_ERRORS}'/></error>"
        self.chamber.client.sends(message(error, to=ORCHARD, type="error", id="m1"))
        self.chamber.server.getsNothing()
        self.balcony.client.sends(message(error, to=ORCHARD, type="error", id="m1"))
        self.balcony.server.gets(message(error, to=ORCHARD, type="error", id="m1"))

    def test_anotherAccount(self) -> None:
        """Its windows show its own conversation."""
        nurse = self.logsIn("hall", "nurse")
        said = message(body("Anon, good nurse!"), ORCHARD, nurse.jid)
        nurse.server.sends(said)
        nurse.client.getsBytes(said)

    def test_prefixes(self) -> None:
        """A server may write namespaces as it likes: it is a message, and is shown to all."""
        self.balcony.server.sends(
            f"<ns0:message xmlns:ns0='{ns.CLIENT}' xmlns:r='{ns.RECEIPTS}' from='{ORCHARD}' "
            "type='chat' id='m1'><ns0:body>She speaks</ns0:body><r:request/></ns0:message>"
        )
        self.balcony.client.gets(message(body("She speaks") + RECEIPT, ORCHARD, id="m1"))
        self.chamber.server.answersPing()
        self.chamber.client.gets(message(body("She speaks"), ORCHARD, self.chamber.jid, id="m1"))

    def test_forgedCarbon(self) -> None:
        """Nobody sees it, neither as a carbon nor as what is in it."""
        forged = carbon("received", message(body("Trust me"), ORCHARD, JULIET), JULIET, ORCHARD)
        self.balcony.server.sends(forged)
        self.balcony.client.getsNothing()
        self.chamber.server.getsNothing()
        self.assertLogged(f"{JULIET}/balcony", "carbon", ORCHARD)


class Availability(Conversation):
    """Who is not available, or does not want messages, gets no plain copies."""

    def shown(self, window: Window, shown: bool) -> None:
        """Whether a message for the other session is shown here."""
        said = message(body("She speaks"), ORCHARD, self.balcony.jid)
        self.balcony.server.sends(said)
        self.balcony.client.getsBytes(said)
        window.server.answersPing()
        if shown:
            window.client.gets(message(body("She speaks"), ORCHARD, window.jid))
        window.client.getsNothing()

    def setUp(self) -> None:
        super().setUp()
        self.balcony = self.logsIn("balcony")

    def test_presence(self) -> None:
        """It says what it wants, and changes its mind."""
        chamber = self.logsIn("chamber", priority=None)
        self.shown(chamber, False)
        for presence, shown in (
            ("<presence/>", True),
            ("<presence><priority>-1</priority></presence>", False),
            ("<presence><show>away</show><priority>5</priority></presence>", True),
            ("<presence type='unavailable'/>", False),
            (f"<presence to='{ROMEO}'/>", False),
            ("<presence><priority>0</priority></presence>", True),
            (f"<presence to='{ROMEO}' type='unavailable'/>", True),
            (f"<presence to='{ROMEO}' type='subscribe'/>", True),
        ):
            chamber.client.sends(presence)
            chamber.server.gets(presence)
            self.shown(chamber, shown)

    def test_carbonsWithoutPresence(self) -> None:
        """Who asked for carbons gets them."""
        chamber = self.logsIn("chamber", priority=None)
        wantsCarbons(chamber)
        said = message(body("She speaks"), ORCHARD, self.balcony.jid)
        self.balcony.server.sends(said)
        self.balcony.client.getsBytes(said)
        chamber.server.answersPing()
        chamber.client.gets(carbon("received", said, chamber.jid))


class Outgoing(Conversation):
    """The server has no carbons. A client says something."""

    def setUp(self) -> None:
        super().setUp()
        self.balcony, self.chamber = self.logsIn("balcony"), self.logsIn("chamber")

    def says(self, said: str) -> None:
        """It goes to the server as it is."""
        self.balcony.client.sends(said)
        self.balcony.server.getsBytes(said)

    def test_plainCopy(self) -> None:
        """The other window shows it where that conversation is, and nothing but the text."""
        self.says(
            message(body("Good night") + RECEIPT + "<x xmlns='urn:example'/>", to=ORCHARD, id="m1")
        )
        self.chamber.client.gets(
            message(body("me@balcony: Good night"), ROMEO, self.chamber.jid, id="*")
        )

    def test_ownIds(self) -> None:
        """Each copy has an id of its own, which nobody can guess."""
        self.says(message(body("Good night"), to=ORCHARD, id="m1"))
        self.says(message(body("Good night"), to=ORCHARD, id="m1"))
        copy = message(body("me@balcony: Good night"), ROMEO, self.chamber.jid, id="*")
        ids = {self.chamber.client.gets(copy)["id"] for _ in range(2)} | {"m1"}
        self.assertEqual(len(ids), 3)

    def test_errorForACopy(self) -> None:
        """Nobody sent that message: the error goes nowhere."""
        self.says(message(body("Good night"), to=ORCHARD, id="m1"))
        copy = self.chamber.client.gets(
            message(body("me@balcony: Good night"), ROMEO, self.chamber.jid, id="*")
        )
        self.chamber.client.sends(message("<error/>", to=ROMEO, type="error", id=copy["id"]))
        self.chamber.server.getsNothing()

    def test_carbon(self) -> None:
        """To a client that knows carbons, all of it is shown."""
        wantsCarbons(self.chamber)
        said = message(body("Good night") + RECEIPT, to=ORCHARD, id="m1")
        self.says(said)
        inner = message(body("Good night") + RECEIPT, self.balcony.jid, ORCHARD, id="m1")
        self.chamber.client.gets(carbon("sent", inner, self.chamber.jid))

    def test_noCarbonsAnyMore(self) -> None:
        """A client may change its mind."""
        wantsCarbons(self.chamber)
        self.chamber.client.sends(enable("disable", JULIET, "c2"))
        self.chamber.client.gets(
            f"<iq type='result' id='c2' from='{JULIET}' to='{self.chamber.jid}'/>"
        )
        self.says(message(body("Good night"), to=ORCHARD))
        self.chamber.client.gets(
            message(body("me@balcony: Good night"), ROMEO, self.chamber.jid, id="*")
        )

    def test_forgedSender(self) -> None:
        """A client cannot say in another's name: its siblings are shown who it was."""
        wantsCarbons(self.chamber)
        self.says(message(body("Good night"), f"nurse@{DOMAIN}/x", ORCHARD))
        inner = message(body("Good night"), self.balcony.jid, ORCHARD)
        self.chamber.client.gets(carbon("sent", inner, self.chamber.jid))

    def test_serverFirst(self) -> None:
        """It is on its way before anybody else hears of it."""
        written: list[type] = []
        write = StanzaStream.write

        def recorded(stream: StanzaStream, data: bytes) -> None:
            written.append(type(stream))
            write(stream, data)

        self.patch(StanzaStream, "write", recorded)
        self.says(message(body("Good night"), to=ORCHARD))
        self.chamber.client.gets(
            message(body("me@balcony: Good night"), ROMEO, self.chamber.jid, id="*")
        )
        self.assertEqual(written, [Upstream, Downstream])

    def test_toOneself(self) -> None:
        """The server brings it: it is not shown twice."""
        self.says(message(body("Ay me!"), to=JULIET, id="m1"))
        for window in (self.balcony, self.chamber):
            heard = message(body("Ay me!"), self.balcony.jid, JULIET, id="m1")
            window.server.sends(heard)
            window.client.getsBytes(heard)
        self.chamber.server.answersPing()

    def test_toASibling(self) -> None:
        """The windows talk to each other; the one that spoke is not told what it said."""
        self.says(message(body("Ay me!"), to=self.chamber.jid, id="m1"))
        heard = message(body("Ay me!"), self.balcony.jid, self.chamber.jid, id="m1")
        self.chamber.server.sends(heard)
        self.chamber.client.getsBytes(heard)
        self.balcony.server.answersPing()

    def test_notForCopies(self) -> None:
        """Rooms, errors, and what is marked as private."""
        for said in (
            message(body("O"), to=f"verona@chat.{DOMAIN}", type="groupchat"),
            message(body("O"), to=ORCHARD, type="headline"),
            message("<error/>", to=ORCHARD, type="error"),
            message(body("O") + f"<no-copy xmlns='{ns.HINTS}'/>", to=ORCHARD),
            message("<x xmlns='urn:example'/>", to=ORCHARD, type=""),
        ):
            self.says(said)

    def test_privateMark(self) -> None:
        """
        Where the proxy does the carbons, the mark is for the proxy: it goes no further. The hint
        that takes its place keeps the recipient's server from copying (section 9).
        """
        hint = f"<no-copy xmlns='{ns.HINTS}'/>"
        self.balcony.client.sends(message(PRIVATE + body("O"), to=ORCHARD))
        self.balcony.server.gets(message(body("O") + hint, to=ORCHARD))
        self.balcony.client.sends(message(body("O") + hint + PRIVATE, to=ORCHARD))
        self.balcony.server.gets(message(body("O") + hint, to=ORCHARD))

    def test_chatStates(self) -> None:
        """There is nothing to read: no plain copy. Carbons have it all."""
        closet = self.logsIn("closet")
        wantsCarbons(closet)
        said = message("<composing xmlns='http://jabber.org/protocol/chatstates'/>", to=ORCHARD)
        self.says(said)
        inner = said.replace("<message", f"<message from='{self.balcony.jid}'", 1)
        closet.client.gets(carbon("sent", inner, closet.jid))

    def test_encrypted(self) -> None:
        """Nobody wants to read that."""
        self.says(message("<encrypted xmlns='urn:xmpp:omemo:2'/>" + body("[OMEMO]"), to=ORCHARD))
        self.says(message(body("?OTR:AAMC"), to=ORCHARD))

    def test_inARoom(self) -> None:
        """The window of somebody met in a room is that of the full JID."""
        inside = body("Go thither") + f"<x xmlns='{ns.MUC_USER}'/>"
        self.says(message(inside, to=f"verona@chat.{DOMAIN}/romeo"))
        self.chamber.client.gets(
            message(
                body("me@balcony: Go thither"),
                f"verona@chat.{DOMAIN}/romeo",
                self.chamber.jid,
                id="*",
            )
        )

    def test_markup(self) -> None:
        """Text stays text."""
        self.says(message(body("&lt;b>I &amp; <![CDATA[<you>]]>&#x1F339;"), to=ORCHARD))
        self.chamber.client.gets(
            message(
                body("me@balcony: &lt;b>I &amp; &lt;you>\N{ROSE}"), ROMEO, self.chamber.jid, id="*"
            )
        )

    def test_resourceWithMarkup(self) -> None:
        """Resources are text, too."""
        window = self.logsIn("&lt;&apos;{resource}&quot;>", priority=None)
        window.client.sends(message(body("O"), to=ORCHARD))
        window.server.gets(message(body("O"), to=ORCHARD))
        for each in (self.balcony, self.chamber):
            each.client.gets(
                message(body("me@&lt;&apos;{resource}&quot;>: O"), ROMEO, each.jid, id="*")
            )

    def test_listenersMode(self) -> None:
        """A listener may be for clients that want no copies."""
        quiet = config.Listen(
            endpoint="tcp:5224:interface=127.0.0.1", tls="none", plain_copies="off"
        )
        self.factory = self.listener(quiet)
        self.logsIn("closet")
        self.says(message(body("Good night"), to=ORCHARD))
        self.chamber.client.gets(
            message(body("me@balcony: Good night"), ROMEO, self.chamber.jid, id="*")
        )


class OutgoingToSelf(Conversation):
    """Copies of what was sent are shown in a chat with oneself."""

    mirror: ClassVar = config.Mirror(plain_copies="self")

    def test_plainCopy(self) -> None:
        """They come from the session that spoke."""
        balcony, chamber = self.logsIn("balcony"), self.logsIn("chamber")
        balcony.client.sends(message(body("Good night"), to=ORCHARD))
        balcony.server.gets(message(body("Good night"), to=ORCHARD))
        chamber.client.gets(message(body("Good night"), balcony.jid, chamber.jid, id="*"))


class OutgoingOff(Conversation):
    """Copies of what was sent are not shown to clients that did not ask."""

    mirror: ClassVar = config.Mirror(plain_copies="off")

    def test_copies(self) -> None:
        """Carbons are, and what comes in is."""
        balcony, chamber, closet = (self.logsIn(each) for each in ("balcony", "chamber", "closet"))
        wantsCarbons(closet)
        balcony.client.sends(message(body("Good night"), to=ORCHARD))
        balcony.server.gets(message(body("Good night"), to=ORCHARD))
        inner = message(body("Good night"), balcony.jid, ORCHARD)
        closet.client.gets(carbon("sent", inner, closet.jid))
        chamber.client.getsNothing()
        balcony.server.sends(message(body("Sleep"), ORCHARD, balcony.jid))
        balcony.client.gets(message(body("Sleep"), ORCHARD, balcony.jid))
        chamber.server.answersPing()
        chamber.client.gets(message(body("Sleep"), ORCHARD, chamber.jid))
        closet.server.answersPing()
        closet.client.gets(
            carbon("received", message(body("Sleep"), ORCHARD, balcony.jid), closet.jid)
        )


class OutgoingPrefix(Conversation):
    """The operator chooses the prefix."""

    mirror: ClassVar = config.Mirror(prefix="[{resource} {{<&>}}] ")

    def test_prefix(self) -> None:
        """It is text."""
        balcony, chamber = self.logsIn("balcony"), self.logsIn("chamber")
        balcony.client.sends(message(body("Good night"), to=ORCHARD))
        balcony.server.gets(message(body("Good night"), to=ORCHARD))
        chamber.client.gets(
            message(body("[balcony {&lt;&amp;>}] Good night"), ROMEO, chamber.jid, id="*")
        )


class DiscoveryByStrangers(Conversation):
    """Somebody guesses the id of a client's question."""

    def test_strangersAnswer(self) -> None:
        """It is passed on as it is, and answers nothing."""
        window = self.logsIn("balcony")
        window.client.sends(disco())
        window.server.gets(disco())
        forged = (
            f"<iq type='result' id='d' from='{ORCHARD}'><query xmlns='{ns.DISCO_INFO}'>"
            "<feature/></query></iq>"
        )
        window.server.sends(forged)
        window.client.getsBytes(forged)
        window.server.sends(discovered())
        window.client.gets(discovered(ns.CARBONS, ns.CARBONS_RULES, ns.COMMANDS))


class Discovery(Conversation):
    """The server has no carbons: the proxy says that it has."""

    def setUp(self) -> None:
        super().setUp()
        self.balcony = self.logsIn("balcony")

    def asks(self, question: str, answer: str, shown: str | None = None) -> None:
        """The client asks, the server answers, the client is shown something else perhaps."""
        self.balcony.client.sends(question)
        self.balcony.server.getsBytes(question)
        self.balcony.server.sends(answer)
        if shown is None:
            self.balcony.client.getsBytes(answer)
        else:
            self.balcony.client.gets(shown)

    def test_server(self) -> None:
        """The server's address."""
        self.asks(
            disco(DOMAIN),
            discovered("urn:xmpp:ping", from_=DOMAIN),
            discovered("urn:xmpp:ping", ns.CARBONS, ns.CARBONS_RULES, from_=DOMAIN),
        )

    def test_account(self) -> None:
        """The account's own address, in words or not."""
        for to in (JULIET, ""):
            self.asks(
                disco(to),
                discovered(from_=JULIET),
                discovered(ns.CARBONS, ns.CARBONS_RULES, ns.COMMANDS, from_=JULIET),
            )

    def test_others(self) -> None:
        """Everybody else speaks for themselves."""
        for to in (ROMEO, ORCHARD, f"chat.{DOMAIN}", self.balcony.jid):
            self.asks(disco(to), discovered(from_=to))

    def test_part(self) -> None:
        """Of a node nothing is known."""
        self.asks(disco(DOMAIN, "n"), discovered(from_=DOMAIN, node="n"))

    def test_error(self) -> None:
        """An error stays one."""
        self.asks(disco(DOMAIN), f"<iq type='error' id='d' from='{DOMAIN}'><error/></iq>")

    def test_otherQueries(self) -> None:
        """They pass."""
        self.asks(
            "<iq type='get' id='d'><query xmlns='jabber:iq:version'/></iq>",
            "<iq type='result' id='d'><query xmlns='jabber:iq:version'/></iq>",
        )

    def test_carbonsIsNotForTheServer(self) -> None:
        """The proxy answers, from the address that was asked."""
        for to in (JULIET, DOMAIN):
            self.balcony.client.sends(enable(to=to))
            self.balcony.client.gets(
                f"<iq type='result' id='c' from='{to}' to='{self.balcony.jid}'/>"
            )
        self.balcony.server.getsNothing()

    def test_carbonsOfOthers(self) -> None:
        """What is for somebody else goes there."""
        self.asks(enable(to=ROMEO), f"<iq type='error' id='c' from='{ROMEO}'><error/></iq>")


class ServersCarbons(Conversation):
    """The server has carbons, which the proxy has enabled for every session."""

    def setUp(self) -> None:
        super().setUp()
        self.balcony = self.logsIn("balcony", carbons=True)
        self.chamber = self.logsIn("chamber", carbons=True)

    def test_passedOn(self) -> None:
        """To a client that asked for them, byte for byte."""
        wantsCarbons(self.chamber)
        heard = message(body("She speaks"), ORCHARD, self.balcony.jid)
        said = message(body("Good night"), self.balcony.jid, ORCHARD)
        for each in (
            carbon("received", heard, self.chamber.jid),
            carbon("sent", said, self.chamber.jid),
        ):
            self.chamber.server.sends(each)
            self.chamber.client.getsBytes(each)

    def test_received(self) -> None:
        """To one that did not, as the message that it is; the copy asks for nothing."""
        heard = message(body("She speaks") + RECEIPT, ORCHARD, self.balcony.jid, id="m1")
        self.balcony.server.sends(heard)
        self.balcony.client.getsBytes(heard)
        self.chamber.server.sends(carbon("received", heard, self.chamber.jid))
        self.chamber.client.gets(message(body("She speaks"), ORCHARD, self.chamber.jid, id="m1"))

    def test_sent(self) -> None:
        """What a sibling said is in the window of whom it was said to."""
        said = message(body("Good night"), to=ORCHARD, id="m1")
        self.balcony.client.sends(said)
        self.balcony.server.getsBytes(said)
        self.chamber.client.getsNothing()
        inner = message(body("Good night"), self.balcony.jid, ORCHARD, id="m1")
        self.chamber.server.sends(carbon("sent", inner, self.chamber.jid))
        self.chamber.client.gets(
            message(body("me@balcony: Good night"), ROMEO, self.chamber.jid, id="*")
        )

    def test_sentElsewhere(self) -> None:
        """A client that is not at the proxy at all is heard as well."""
        inner = message(body("Good night"), f"{JULIET}/mobile", ORCHARD, id="m1")
        for window in (self.balcony, self.chamber):
            window.server.sends(carbon("sent", inner, window.jid))
            window.client.gets(message(body("me@mobile: Good night"), ROMEO, window.jid, id="*"))

    def test_toAll(self) -> None:
        """The server sends the message itself to both: nothing is added."""
        heard = message(body("She speaks"), ORCHARD, JULIET, id="m1")
        for window in (self.balcony, self.chamber):
            window.server.sends(heard)
            window.client.getsBytes(heard)

    def test_unavailable(self) -> None:
        """The server may send carbons to a client that wants no messages; it gets no copies."""
        self.chamber.client.sends("<presence type='unavailable'/>")
        self.chamber.server.gets("<presence type='unavailable'/>")
        heard = message(body("She speaks"), ORCHARD, self.balcony.jid)
        self.chamber.server.sends(carbon("received", heard, self.chamber.jid))

    def test_encrypted(self) -> None:
        """No plain copy of what cannot be read."""
        inside = "<encrypted xmlns='eu.siacs.conversations.axolotl'/>" + body("[OMEMO]")
        inner = message(inside, ORCHARD, self.balcony.jid)
        self.chamber.server.sends(carbon("received", inner, self.chamber.jid))

    def test_toOneself(self) -> None:
        """A message to the account comes as sent, and directly as well: it is shown once."""
        for inner in (
            message(body("Ay me!"), self.balcony.jid, JULIET, id="m1"),
            message(body("Ay me!"), self.balcony.jid, "", id="m1"),
            message(body("Ay me!"), self.balcony.jid, f"{JULIET}/closet", id="m1"),
        ):
            self.chamber.server.sends(carbon("sent", inner, self.chamber.jid))
            self.chamber.client.getsNothing()
        heard = message(body("Ay me!"), self.balcony.jid, JULIET, id="m1")
        self.chamber.server.sends(heard)
        self.chamber.client.getsBytes(heard)

    def test_ownWords(self) -> None:
        """A session is not shown what it said itself."""
        inner = message(body("Ay me!"), self.chamber.jid, f"{JULIET}/closet", id="m1")
        self.chamber.server.sends(carbon("received", inner, self.chamber.jid))

    def test_privateMark(self) -> None:
        """It is the server's business."""
        said = message(body("O") + PRIVATE, to=ORCHARD)
        self.balcony.client.sends(said)
        self.balcony.server.getsBytes(said)

    def test_discovery(self) -> None:
        """The server speaks for itself."""
        self.balcony.client.sends(disco(DOMAIN))
        self.balcony.server.gets(disco(DOMAIN))
        self.balcony.server.sends(discovered(ns.CARBONS, from_=DOMAIN))
        self.balcony.client.getsBytes(discovered(ns.CARBONS, from_=DOMAIN))

    def test_forged(self) -> None:
        """Neither the client that knows carbons nor the other one sees any of these."""
        wantsCarbons(self.chamber)
        heard = message(body("Trust me, gentleman"), ORCHARD, self.balcony.jid)
        said = message(body("Trust me, gentleman"), self.balcony.jid, ORCHARD)
        for window in (self.balcony, self.chamber):
            for forged in (
                carbon("received", heard, window.jid, ORCHARD),
                carbon("sent", said, window.jid, ORCHARD),
                carbon("received", heard, window.jid, f"nurse@{DOMAIN}"),
                carbon("received", heard, window.jid, DOMAIN),
                carbon("received", heard, window.jid, f"{JULIET}/balcony"),
                carbon("received", heard, window.jid, f"{JULIET}.example.net"),
                carbon("received", said, window.jid),
                carbon("sent", heard, window.jid),
                carbon("sent", message(body("O"), f"nurse@{DOMAIN}/x", ORCHARD), window.jid),
                carbon("received", message(body("O"), ORCHARD, f"nurse@{DOMAIN}/x"), window.jid),
                # As a stranger's carbon comes inside of a real one.
                carbon("received", carbon("received", heard, window.jid, ORCHARD), window.jid),
                message(f"<received xmlns='{ns.CARBONS}'/>", JULIET, window.jid),
                message(f"<sent xmlns='{ns.CARBONS}'/>" + body("O"), ORCHARD, window.jid),
            ):
                self.logAnew()
                window.server.sends(forged)
                window.client.getsNothing()
                self.assertLogged(window.jid, "dropped 1 carbon")

    def test_forgedSenderInside(self) -> None:
        """A carbon without `from` is not the account's (section 11)."""
        heard = message(body("Trust me"), ORCHARD, self.balcony.jid)
        self.chamber.server.sends(carbon("received", heard, self.chamber.jid, ""))
        self.assertLogged(self.chamber.jid, "dropped 1 carbon")

    def test_notAvailableForThisSession(self) -> None:
        """The server refuses to enable them for one session: that one the proxy looks after."""
        client, server = self.authenticates()
        client.gets("<stream:features>*</stream:features>")
        client.sends(f"<iq type='set' id='b'><bind xmlns='{ns.BIND}'/></iq>")
        server.gets(f"<iq type='set' id='b'><bind xmlns='{ns.BIND}'/></iq>")
        closet = Window(client, server, f"{JULIET}/closet")
        server.sends(bound(closet.jid, "b"))
        server.answersDisco(ns.CARBONS)
        asked = server.gets(ENABLE)
        server.sends(f"<iq type='error' id='{asked['id']}'><error type='cancel'/></iq>")
        client.gets(bound(closet.jid, "b"))
        client.sends("<presence/>")
        server.gets("<presence/>")
        self.balcony.client.sends(message(body("Good night"), to=ORCHARD))
        self.balcony.server.gets(message(body("Good night"), to=ORCHARD))
        client.gets(message(body("me@balcony: Good night"), ROMEO, closet.jid, id="*"))
        self.chamber.client.getsNothing()


class IgnoredCarbons(Conversation):
    """The operator does not want the server's carbons."""

    mirror: ClassVar = config.Mirror(server_carbons="ignore")

    def test_neverAsked(self) -> None:
        """The server is asked for nothing, the proxy does it all."""
        balcony, chamber = self.logsIn("balcony"), self.logsIn("chamber")
        wantsCarbons(chamber)
        balcony.client.sends(message(body("Good night"), to=ORCHARD))
        balcony.server.gets(message(body("Good night"), to=ORCHARD))
        inner = message(body("Good night"), balcony.jid, ORCHARD)
        chamber.client.gets(carbon("sent", inner, chamber.jid))
        balcony.client.sends(disco(DOMAIN))
        balcony.server.gets(disco(DOMAIN))
        balcony.server.sends(discovered(ns.CARBONS, from_=DOMAIN))
        balcony.client.gets(discovered(ns.CARBONS, ns.CARBONS_RULES, from_=DOMAIN))
