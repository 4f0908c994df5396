"""
Message Carbons (XEP-0280, version 1.0.1), clause by clause, where the proxy does the carbons.

L{ELIGIBILITY} is section 6.1 as a table: which messages are copied. Each row is asked of the
function that decides, and played on stage, both ways, before a client that has enabled carbons and
one that never heard of them. docs/mirrored.rst shows the same table to readers; a test compares.

The other classes are the other sections. Each test quotes the clause that it is about. A clause
that is not kept to the letter says so, and why.

The stage is L{tests.conversation}. On real servers the same is in L{tests.test_carbons_servers}.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.conversation import DOMAIN, JULIET, ROMEO, Conversation, Window
from tests.messages import stanza
from xmpproxy import carbons, ns
from xmpproxy.carbons import Direction

ORCHARD = f"{ROMEO}/orchard"
ROOM = f"verona@chat.{DOMAIN}"
OCCUPANT = f"{ROOM}/romeo"

BODY = "<body>hi</body>"
RECEIPT_REQUEST = f"<request xmlns='{ns.RECEIPTS}'/>"
MARKABLE = f"<markable xmlns='{ns.CHAT_MARKERS}'/>"
RECEIPT = f"<received xmlns='{ns.RECEIPTS}' id='1'/>"
MARKER = f"<displayed xmlns='{ns.CHAT_MARKERS}' id='1'/>"
COMPOSING = f"<composing xmlns='{ns.CHAT_STATES}'/>"
GONE = f"<gone xmlns='{ns.CHAT_STATES}'/>"
CORRECTION = f"<replace xmlns='{ns.CORRECTION}' id='1'/>"
REACTIONS = f"<reactions xmlns='{ns.REACTIONS}' id='1'><reaction>!</reaction></reactions>"
RETRACTION = f"<retract xmlns='{ns.RETRACTION[1]}' id='1'/>"
PROPOSE = f"<propose xmlns='{ns.JINGLE_MESSAGE}' id='1'/>"
CALL = f"<invite xmlns='{ns.CALL_INVITES}'/>"
OMEMO = f"<encrypted xmlns='{ns.OMEMO[0]}'/>"
OX = f"<openpgp xmlns='{ns.OPENPGP}'>..</openpgp>"
PGP = f"<x xmlns='{ns.OPENPGP_LEGACY}'>..</x>"
ENCRYPTION = f"<encryption xmlns='{ns.ENCRYPTION}' namespace='urn:x'/>"
DIRECT_INVITATION = f"<x xmlns='{ns.CONFERENCE}' jid='{ROOM}'/>"
MEDIATED_INVITATION = f"<x xmlns='{ns.MUC_USER}'><invite from='{ORCHARD}'/></x>"
OF_ROOM = f"<x xmlns='{ns.MUC_USER}'/>"
PRIVATE = f"<private xmlns='{ns.CARBONS}'/>"
NO_COPY = f"<no-copy xmlns='{ns.HINTS}'/>"
ARCHIVED = f"<result xmlns='{ns.MAM}' id='1'/>"
EVENT = f"<event xmlns='{ns.PUBSUB_EVENT}'><items node='x'/></event>"
CARBON = f"<received xmlns='{ns.CARBONS}'/>"
ERROR = f"<error type='cancel'><service-unavailable xmlns='{ns.STANZA_ERRORS}'/></error>"


class Row(NamedTuple):
    """
    A kind of message, and who sees it besides the client that got or sent it.

    @ivar words: what kind of message; as docs/mirrored.rst says it.
    @ivar inside: its children.
    @ivar type: its type, C{""} for none.
    @ivar received: whether, if it came in, the account's other clients get it: those with carbons
        in carbons ...
    @ivar plain: ... and those without as it is, but for requests to confirm it.
    @ivar sent: whether, if a client sent it, the others with carbons get it ...
    @ivar line: ... and the text that clients without are shown.
    @ivar peer: who sent it, or whom it was sent to.
    """

    words: str
    inside: str
    type: str
    received: bool
    plain: bool
    sent: bool
    line: str = ""
    peer: str = ORCHARD


TEXT = "<body>me@balcony: hi</body>"

ELIGIBILITY = [
    # "it is of type 'chat'"
    Row("chat, with text", BODY, "chat", True, True, True, TEXT),
    Row("chat, whatever is in it", "<x xmlns='urn:x'/>", "chat", True, True, True),
    Row("chat, empty", "", "chat", True, True, True),
    # "it is of type 'normal' and contains a <body> element"
    Row("normal, with text", BODY, "normal", True, True, True, TEXT),
    Row("no type, with text", BODY, "", True, True, True, TEXT),
    Row("a type that nobody knows, with text", BODY, "odd", True, True, True, TEXT),
    Row("normal, without text", "<x xmlns='urn:x'/>", "normal", False, False, False),
    # "it contains payload elements typically used in IM (XEP-0184, XEP-0085, XEP-0333)"
    Row("receipt", RECEIPT, "normal", True, True, True),
    Row("chat state", COMPOSING, "normal", True, True, True),
    Row("chat marker", MARKER, "normal", True, True, True),
    Row("text with requests to confirm it", BODY + RECEIPT_REQUEST, "chat", True, True, True, TEXT),
    Row("chat marker in a headline", MARKER, "headline", True, True, True),
    # ... and what came since
    Row("correction", BODY + CORRECTION, "", True, True, True, TEXT),
    Row("correction without text", CORRECTION, "", True, True, True),
    Row("reactions", REACTIONS, "", True, True, True),
    Row("retraction", RETRACTION, "", True, True, True),
    Row("call (Jingle message)", PROPOSE, "", True, True, True),
    Row("call (call invite)", CALL, "", True, True, True),
    Row("OMEMO", OMEMO + BODY, "", True, False, True),
    Row("OpenPGP (OX)", OX + BODY, "", True, False, True),
    Row("OpenPGP (legacy)", PGP + BODY, "", True, False, True),
    Row("other encryption", ENCRYPTION + BODY, "", True, False, True),
    Row("OTR", "<body>?OTR:AAMC</body>", "chat", True, False, True),
    # "it matches the MUC-related rules outlined below"
    Row("groupchat", BODY, "groupchat", False, False, False, peer=ROOM),
    Row("direct invitation", DIRECT_INVITATION, "", True, True, True),
    Row("mediated invitation", MEDIATED_INVITATION, "", True, True, True, peer=ROOM),
    Row("private message in a room", BODY + OF_ROOM, "chat", False, False, True, TEXT, OCCUPANT),
    Row("what else a room says", BODY + OF_ROOM, "", True, True, True, TEXT, ROOM),
    # "it does not contain a <private/> child element", and section 9
    Row("private", BODY + PRIVATE, "chat", False, False, False),
    Row("no-copy", BODY + NO_COPY, "chat", False, False, False),
    Row("private and no-copy", BODY + PRIVATE + NO_COPY, "chat", False, False, False),
    # none of these
    Row("headline", BODY, "headline", False, False, False),
    Row("event (PubSub)", EVENT + BODY, "", False, False, False),
    Row("result of an archive (MAM)", ARCHIVED, "chat", False, False, False),
    Row("of the account itself", BODY, "chat", False, False, False, peer=JULIET),
]


def message(row: Row, **attributes: str) -> str:
    """A message of this kind."""
    written = {"type": row.type, "id": "m1"} | attributes
    pairs = "".join(f" {name.rstrip('_')}='{value}'" for name, value in written.items() if value)
    return f"<message{pairs}>{row.inside}</message>"


def carbon(direction: str, inner: str, to: str, type: str) -> str:
    """A carbon with a message."""
    inside = inner.replace("<message", f"<message xmlns='{ns.CLIENT}'", 1)
    kind = f" type='{type}'" if type else ""
    return (
        f"<message from='{JULIET}' to='{to}'{kind}><{direction} xmlns='{ns.CARBONS}'>"
        f"<forwarded xmlns='{ns.FORWARD}'>{inside}</forwarded></{direction}></message>"
    )


def enable(wish: str = "enable", to: str = "", from_: str = "", type: str = "set") -> str:
    """A request to enable or disable carbons."""
    addresses = "".join(f" {name}='{jid}'" for name, jid in (("to", to), ("from", from_)) if jid)
    return f"<iq type='{type}' id='c'{addresses}><{wish} xmlns='{ns.CARBONS}'/></iq>"


class Decision(SynchronousTestCase):
    """Section 6.1, the function that decides."""

    def test_table(self) -> None:
        """Every row, both ways."""
        for row in ELIGIBILITY:
            received = stanza(message(row, from_=row.peer, to=f"{JULIET}/balcony"))
            sent = stanza(message(row, to=row.peer))
            decisions = [carbons.eligible(received, Direction.RECEIVED, JULIET)]
            if row.peer != JULIET:
                decisions.append(carbons.eligible(sent, Direction.SENT, JULIET))
            self.assertEqual(
                [d.copy for d in decisions], [row.received, row.sent][: len(decisions)]
            )
            self.assertTrue(all(d.reason for d in decisions), row.words)


class Documented(SynchronousTestCase):
    """docs/mirrored.rst"""

    def test_table(self) -> None:
        """It has the same rows, with the same answers, and no others."""
        page = (Path(__file__).parent.parent / "docs" / "mirrored.rst").read_text()
        _, _, table, _ = re.split("^=+(?:  =+)+$", page, flags=re.MULTILINE)
        rows = [tuple(re.split("  +", line.strip())) for line in table.strip().splitlines()]
        answers = {True: "yes", False: "no"}
        expected = [
            (row.words, *map(answers.get, (row.received, row.sent, row.plain, bool(row.line))))
            for row in ELIGIBILITY
        ]
        self.assertEqual(rows, expected)


class Stage(Conversation):
    """
    An account with three windows; the server has no carbons.

    @ivar balcony: the one that gets and sends.
    @ivar closet: has enabled carbons.
    @ivar chamber: has never heard of them.
    """

    def setUp(self) -> None:
        super().setUp()
        self.balcony = self.logsIn("balcony")
        self.closet = self.logsIn("closet")
        self.chamber = self.logsIn("chamber")
        self.enables(self.closet)

    def enables(self, window: Window, wish: str = "enable") -> None:
        """A client enables carbons, or disables them."""
        window.client.sends(enable(wish))
        window.client.gets(f"<iq type='result' id='c' from='{JULIET}' to='{window.jid}'/>")

    def comes(self, said: str, window: Window) -> None:
        """The server sends a message to one window; no other fork of it will come."""
        window.server.sends(said)
        window.client.gets(said)

    def goes(self, said: str, window: Window) -> None:
        """A client sends a message."""
        window.client.sends(said)
        window.server.gets(said)

    def waits(self, *windows: Window) -> None:
        """The server says that it has handled everything."""
        for window in windows:
            window.server.answersPing()


class Eligibility(Stage):
    """Section 6.1, "Recommended Rules", on the wire. Section 6.2 makes them required."""

    def test_received(self) -> None:
        """What came in for one client."""
        for row in ELIGIBILITY:
            said = message(row, from_=row.peer, to=self.balcony.jid)
            self.balcony.server.sends(said)
            self.balcony.client.gets(said.replace(PRIVATE, ""))
            if row.received:
                self.waits(self.closet, self.chamber)
                self.closet.client.gets(carbon("received", said, self.closet.jid, row.type))
            if row.plain:
                copy = message(row, from_=row.peer, to=self.chamber.jid)
                self.chamber.client.gets(copy.replace(RECEIPT_REQUEST, ""))
            for window in (self.closet, self.chamber):
                window.client.getsNothing()
                window.server.getsNothing()

    def test_sent(self) -> None:
        """What one client sent."""
        for row in ELIGIBILITY:
            if row.peer == JULIET:
                continue
            said = message(row, to=row.peer)
            self.balcony.client.sends(said)
            delivered = said if PRIVATE not in said else said.replace(PRIVATE, "")
            if PRIVATE in said and NO_COPY not in said:
                delivered = said.replace(PRIVATE, NO_COPY)
            self.balcony.server.gets(delivered)
            if row.sent:
                inner = message(row, from_=self.balcony.jid, to=row.peer)
                self.closet.client.gets(carbon("sent", inner, self.closet.jid, row.type))
            if row.line:
                peer = row.peer if row.peer == OCCUPANT else row.peer.partition("/")[0]
                self.chamber.client.gets(
                    f"<message from='{peer}' to='{self.chamber.jid}' type='chat' id='*'>"
                    f"{row.line}</message>"
                )
            for window in (self.closet, self.chamber):
                window.client.getsNothing()


class Errors(Stage):
    """
    Section 6.1: "it is of type 'error' and it was sent in response to a message that was eligible
    for carbons delivery". Nobody without carbons is shown an error for what he did not write.
    """

    def bounces(self, window: Window, peer: str, id: str = "m1") -> str:
        """An error comes in."""
        error = f"<message type='error' from='{peer}' to='{window.jid}' id='{id}'>{ERROR}</message>"
        self.comes(error, window)
        return error

    def test_received(self) -> None:
        """Somebody's server refuses what a client sent."""
        said = f"<message type='chat' to='{ORCHARD}' id='m1'>{BODY}</message>"
        self.goes(said, self.balcony)
        inner = said.replace("<message", f"<message from='{self.balcony.jid}'")
        self.closet.client.gets(carbon("sent", inner, self.closet.jid, "chat"))
        self.chamber.client.gets(
            f"<message from='{ROMEO}' to='{self.chamber.jid}' type='chat' id='*'>{TEXT}</message>"
        )
        error = self.bounces(self.balcony, ORCHARD)
        self.waits(self.closet, self.chamber)
        self.closet.client.gets(carbon("received", error, self.closet.jid, "error"))

    def test_sent(self) -> None:
        """A client refuses what came in."""
        said = f"<message type='chat' from='{ORCHARD}' to='{self.balcony.jid}' id='m1'/>"
        self.comes(said, self.balcony)
        self.waits(self.closet, self.chamber)
        self.closet.client.gets(carbon("received", said, self.closet.jid, "chat"))
        self.chamber.client.gets(said.replace(self.balcony.jid, self.chamber.jid))
        error = f"<message type='error' to='{ORCHARD}' id='m1'>{ERROR}</message>"
        self.goes(error, self.balcony)
        inner = error.replace("<message", f"<message from='{self.balcony.jid}'")
        self.closet.client.gets(carbon("sent", inner, self.closet.jid, "error"))

    def test_ofWhatWasNotEligible(self) -> None:
        """An error that answers something else, or nothing that we know, is for its receiver."""
        self.goes(f"<message type='headline' to='{ORCHARD}' id='m1'>{BODY}</message>", self.balcony)
        self.bounces(self.balcony, ORCHARD)
        self.goes(f"<message type='chat' to='{ORCHARD}' id='m2'>{NO_COPY}</message>", self.balcony)
        self.bounces(self.balcony, ORCHARD, "m2")
        self.bounces(self.balcony, ORCHARD, "m3")

    def test_ofSomebodyElse(self) -> None:
        """Nor does a stranger's error answer what was sent to another."""
        said = f"<message type='chat' to='{ORCHARD}' id='m1'>{COMPOSING}</message>"
        self.goes(said, self.balcony)
        inner = said.replace("<message", f"<message from='{self.balcony.jid}'")
        self.closet.client.gets(carbon("sent", inner, self.closet.jid, "chat"))
        self.bounces(self.balcony, f"{ROMEO}.example.org/orchard")

    def test_withoutId(self) -> None:
        """Not to the letter: without an id nobody can tell what an error answers."""
        said = f"<message type='chat' to='{ORCHARD}'>{COMPOSING}</message>"
        self.goes(said, self.balcony)
        inner = said.replace("<message", f"<message from='{self.balcony.jid}'")
        self.closet.client.gets(carbon("sent", inner, self.closet.jid, "chat"))
        self.comes(
            f"<message type='error' from='{ORCHARD}' to='{self.balcony.jid}'>{ERROR}</message>",
            self.balcony,
        )


class Discovering(Stage):
    """Section 3, "Discovering Support", and 6.2, "Mandatory Support"."""

    def test_feature(self) -> None:
        """
        "An entity advertises support for this protocol by including the "urn:xmpp:carbons:2"
        feature in its service discovery information features", and full support of the rules by
        "urn:xmpp:carbons:rules:0".
        """
        for to in (DOMAIN, JULIET):
            question = f"<iq type='get' id='d' to='{to}'><query xmlns='{ns.DISCO_INFO}'/></iq>"
            self.balcony.client.sends(question)
            self.balcony.server.gets(question)
            self.balcony.server.sends(
                f"<iq type='result' id='d' from='{to}'><query xmlns='{ns.DISCO_INFO}'>"
                "<feature var='urn:x'/></query></iq>"
            )
            answer = self.balcony.client.gets(f"<iq type='result' id='d' from='{to}'>*</iq>")
            listed = {each["var"] for each in answer.query.elements(ns.DISCO_INFO, "feature")}
            self.assertLessEqual(
                {"urn:x", "urn:xmpp:carbons:2", "urn:xmpp:carbons:rules:0"}, listed
            )


class Enabling(Stage):
    """Sections 4, 5 and 10.1: "Enabling Carbons", "Disabling Carbons", and several requests."""

    def hears(self, window: Window, wrapped: bool, id: str = "m1") -> None:
        """A message for another window comes here, in a carbon or as it is."""
        said = f"<message type='chat' id='{id}' from='{ORCHARD}' to='{self.balcony.jid}'/>"
        self.comes(said, self.balcony)
        self.waits(self.closet, self.chamber)
        for each in (self.closet, self.chamber):
            if (each is window) == wrapped:
                each.client.gets(carbon("received", said, each.jid, "chat"))
            else:
                each.client.gets(said.replace(self.balcony.jid, each.jid))

    def test_result(self) -> None:
        """
        "The server will respond with an IQ-result when Carbons are enabled", from the bare JID to
        the full one, as in its example; or from whom was asked.
        """
        self.enables(self.chamber)
        for to in (JULIET, DOMAIN):
            self.chamber.client.sends(enable(to=to))
            self.chamber.client.gets(
                f"<iq type='result' id='c' from='{to}' to='{self.chamber.jid}'/>"
            )

    def test_often(self) -> None:
        """
        "The server MUST allow the client to enable and disable the protocol multiple times within a
        session."
        """
        for id in range(2):
            self.enables(self.closet, "disable")
            self.enables(self.chamber)
            self.hears(self.chamber, True, f"a{id}")
            self.enables(self.chamber, "disable")
            self.enables(self.closet)
            self.hears(self.closet, True, f"b{id}")

    def test_enabledTwice(self) -> None:
        """
        "The server SHOULD NOT treat multiple enable requests (without an intermediate disable
        request) as an error; the server SHOULD simply return an IQ-result".
        """
        self.enables(self.closet)
        self.enables(self.closet)
        self.hears(self.closet, True)

    def test_disabledTwice(self) -> None:
        """ "Similarly, the server SHOULD NOT treat multiple disable requests [...] as an error"."""
        self.enables(self.chamber, "disable")
        self.enables(self.chamber, "disable")
        self.hears(self.closet, True)

    def test_beforePresence(self) -> None:
        """A client that is not available yet gets carbons, as a good server sends them."""
        tomb = self.logsIn("tomb", priority=None)
        self.enables(tomb)
        said = f"<message type='chat' id='m1' from='{ORCHARD}' to='{self.balcony.jid}'/>"
        self.comes(said, self.balcony)
        self.waits(self.closet, self.chamber, tomb)
        self.closet.client.gets(carbon("received", said, self.closet.jid, "chat"))
        self.chamber.client.gets(said.replace(self.balcony.jid, self.chamber.jid))
        tomb.client.gets(carbon("received", said, tomb.jid, "chat"))

    def test_ofSomebodyElse(self) -> None:
        """
        "<not-allowed/> if the request is from a client that is not hosted on this server", or "if
        trying to disable another client's Carbons".
        """
        for wish in ("enable", "disable"):
            self.closet.server.sends(enable(wish, self.closet.jid, ORCHARD))
            self.closet.server.gets(
                f"<iq type='error' id='c' from='{self.closet.jid}' to='{ORCHARD}'>"
                "<error type='cancel' code='405'>"
                f"<not-allowed xmlns='{ns.STANZA_ERRORS}'/></error></iq>"
            )
            self.assertLogged(self.closet.jid, ORCHARD, "not-allowed")
        self.hears(self.closet, True)

    def test_malformed(self) -> None:
        """The schema has both elements empty, and RFC 6120 one payload in an iq."""
        for said, fault in (
            (enable(type="get"), "not of type set"),
            (enable("enables"), "neither enable nor disable"),
            (enable().replace("/></iq>", "> <x xmlns='urn:x'/></enable></iq>"), "not empty"),
            (enable().replace("/></iq>", ">please</enable></iq>"), "not empty"),
            (enable().replace("</iq>", f"<disable xmlns='{ns.CARBONS}'/></iq>"), "two payloads"),
        ):
            self.chamber.client.sends(said)
            self.chamber.client.gets(
                f"<iq type='error' id='c' from='{JULIET}' to='{self.chamber.jid}'>"
                f"<error type='modify' code='400'><bad-request xmlns='{ns.STANZA_ERRORS}'/>"
                f"<text xmlns='{ns.STANZA_ERRORS}'>{fault}</text></error></iq>"
            )
            self.chamber.server.getsNothing()
            self.assertLogged(self.chamber.jid, f"refused 1 request for carbons: {fault}")
            self.logAnew()
        self.hears(self.closet, True)


class Receiving(Stage):
    """Section 7, "Receiving Messages"."""

    def test_whoDidNotReceiveIt(self) -> None:
        """
        "It delivers the <message/> according to RFC 6121 § 8.5.3, and then delivers a forwarded
        copy to each Carbons-enabled resource for the matching bare JID recipient that did not
        receive it". "The receiving server MUST NOT send a forwarded copy to the client(s) the
        original <message/> stanza was addressed to".
        """
        tomb = self.logsIn("tomb")
        self.enables(tomb)
        said = f"<message type='chat' id='m1' from='{ORCHARD}' to='{JULIET}'>{BODY}</message>"
        self.comes(said, self.balcony)
        self.comes(said, self.closet)
        self.waits(self.closet, self.chamber, tomb)
        tomb.client.gets(carbon("received", said, tomb.jid, "chat"))
        self.chamber.client.gets(said.replace(f"to='{JULIET}'", f"to='{self.chamber.jid}'"))

    def test_wrapper(self) -> None:
        """
        "The wrapping message SHOULD maintain the same 'type' attribute value; the 'from' attribute
        MUST be the Carbons-enabled user's bare JID; and the 'to' attribute MUST be the full JID of
        the resource receiving the copy." It "MUST contain a <received/> element", that "a
        <forwarded/> element", and that "the original <message/>": all its attributes and children.
        """
        inside = f"{BODY}<thread>t</thread>{RECEIPT_REQUEST}{MARKABLE}<x xmlns='urn:x'>y</x>"
        for type in ("chat", "normal", ""):
            kind = f" type='{type}'" if type else ""
            said = (
                f"<message{kind} id='m1' xml:lang='it' from='{ORCHARD}' to='{self.balcony.jid}'>"
                f"{inside}</message>"
            )
            self.comes(said, self.balcony)
            self.waits(self.closet, self.chamber)
            self.closet.client.gets(carbon("received", said, self.closet.jid, type))
            requests = said.replace(RECEIPT_REQUEST, "").replace(MARKABLE, "")
            self.chamber.client.gets(requests.replace(self.balcony.jid, self.chamber.jid))


class Sending(Stage):
    """Section 8, "Sending Messages"."""

    def test_wrapper(self) -> None:
        """
        "Delivers a forwarded copy to each Carbons-enabled resource for the matching bare JID
        sender, excluding the sending client. Note that this happens irrespective of whether the
        sending client has carbons enabled." Type, from, to and content are as in section 7, with
        <sent/>.
        """
        inside = f"<subject>s</subject>{BODY}<thread>t</thread>{RECEIPT_REQUEST}"
        for window in (self.balcony, self.chamber):
            for type in ("chat", "normal", ""):
                kind = f" type='{type}'" if type else ""
                said = f"<message{kind} id='m1' xml:lang='it' to='{ORCHARD}'>{inside}</message>"
                self.goes(said, window)
                inner = said.replace("<message", f"<message from='{window.jid}'")
                self.closet.client.gets(carbon("sent", inner, self.closet.jid, type))
                [other] = {self.balcony, self.chamber} - {window}
                other.client.gets(
                    f"<message from='{ROMEO}' to='{other.jid}' type='chat' id='*' xml:lang='it'>"
                    f"<body>me@{window.jid.partition('/')[2]}: hi</body>"
                    "<subject>s</subject>"
                    "<thread>t</thread></message>"
                )

    def test_notToTheSender(self) -> None:
        """
        "The sending server SHOULD NOT send a forwarded copy to the sending full JID if it is a
        Carbons-enabled resource."
        """
        self.goes(f"<message type='chat' to='{ORCHARD}'>{COMPOSING}</message>", self.closet)
        self.closet.client.getsNothing()


class Avoiding(Stage):
    """Section 9, "Avoiding Carbons for a single message"."""

    def test_sender(self) -> None:
        """
        "The sending server MUST NOT deliver forwarded <message/>s to the other Carbons-enabled
        resources of the sender." The mark was for us, and is taken off; so that "the receiving
        server MUST NOT deliver" such copies either, the hint stays, or takes its place.
        """
        for mark, left in ((PRIVATE + NO_COPY, NO_COPY), (PRIVATE, NO_COPY), (NO_COPY, NO_COPY)):
            said = f"<message type='chat' to='{ORCHARD}'>{BODY}{mark}</message>"
            self.balcony.client.sends(said)
            self.balcony.server.gets(said.replace(mark, left))

    def test_recipient(self) -> None:
        """
        "The receiving server MUST NOT deliver forwarded <message/>s to the other Carbons-enabled
        resource of the recipient". Whoever gets it gets it without the mark.
        """
        said = f"<message type='chat' from='{ORCHARD}' to='{self.closet.jid}'>{BODY}"
        self.closet.server.sends(f"{said}{PRIVATE}{NO_COPY}</message>")
        self.closet.client.gets(f"{said}{NO_COPY}</message>")

    def test_bareJID(self) -> None:
        """
        "If the private <message/> stanza is addressed to a bare JID, the receiving server still
        delivers it according to RFC6121. This might result in a copy being delivered to each
        resource".
        """
        said = f"<message type='chat' from='{ORCHARD}' to='{JULIET}'>{BODY}"
        for window in (self.balcony, self.chamber):
            window.server.sends(f"{said}{PRIVATE}</message>")
            window.client.gets(f"{said}</message>")


class BusinessRules(Stage):
    """Section 10."""

    def test_chatStates(self) -> None:
        """10.2: chat states "will be subject to Carbon-copying. This is intentional", all of them.
        Without carbons nobody is shown what a sibling types.
        """
        for state in (COMPOSING, GONE):
            said = f"<message type='chat' to='{ORCHARD}'>{state}</message>"
            self.goes(said, self.balcony)
            inner = said.replace("<message", f"<message from='{self.balcony.jid}'")
            self.closet.client.gets(carbon("sent", inner, self.closet.jid, "chat"))

    def test_bounces(self) -> None:
        """
        10.3: When a "carbon copy bounces with an error for any reason, the server MUST NOT forward
        that error back to the original sender", and "MUST NOT rely on the <sent/> or <received/>
        elements in the bounce".
        """
        said = f"<message type='chat' id='m1' from='{ORCHARD}' to='{self.balcony.jid}'/>"
        self.comes(said, self.balcony)
        self.waits(self.closet, self.chamber)
        self.closet.client.gets(carbon("received", said, self.closet.jid, "chat"))
        self.chamber.client.gets(said.replace(self.balcony.jid, self.chamber.jid))
        for error in (
            f"<message type='error' to='{JULIET}'>{ERROR}</message>",
            f"<message type='error' to='{JULIET}'>{CARBON}{ERROR}</message>",
        ):
            self.closet.client.sends(error)
            self.closet.server.getsNothing()
        self.chamber.client.sends(f"<message type='error' to='{ORCHARD}' id='m1'>{ERROR}</message>")
        self.chamber.server.getsNothing()


class Security(Stage):
    """Section 11, "Security Considerations"."""

    def test_forged(self) -> None:
        """
        "Any forwarded copies received by a Carbons-enabled client MUST be from that user's bare
        JID; any copies that do not meet this requirement MUST be ignored." No client sees them.
        """
        inner = f"<message type='chat' from='{ORCHARD}' to='{self.balcony.jid}'>{BODY}</message>"
        true = carbon("received", inner, self.closet.jid, "chat")
        for author in (ORCHARD, DOMAIN, f"{JULIET}/balcony", f"nurse@{DOMAIN}"):
            for window in (self.closet, self.chamber):
                self.logAnew()
                window.server.sends(true.replace(f"from='{JULIET}'", f"from='{author}'", 1))
                window.client.getsNothing()
                self.assertLogged(window.jid, "dropped 1 carbon", author)
