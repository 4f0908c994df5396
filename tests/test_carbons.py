"""Tests of L{xmpproxy.carbons}: XEP-0280, clause by clause where a decision is made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.messages import ACTIVE, ENCRYPTION, MARKABLE, PRIVATE, RECEIPT_REQUEST, message, stanza
from xmpproxy import carbons, ns
from xmpproxy.carbons import Direction, Forged
from xmpproxy.stanza import Stanza

ACCOUNT = "juliet@example.com"
JID = f"{ACCOUNT}/balcony"
ROMEO = "romeo@example.net/orchard"
NO_COPY = f"<no-copy xmlns='{ns.HINTS}'/>"
RECEIPT = f"<received xmlns='{ns.RECEIPTS}' id='1'/>"
MARKER = f"<displayed xmlns='{ns.CHAT_MARKERS}' id='1'/>"
DIRECT_INVITATION = f"<x xmlns='{ns.CONFERENCE}' jid='room@muc.example.com'/>"
MEDIATED_INVITATION = f"<x xmlns='{ns.MUC_USER}'><invite from='{ROMEO}'/></x>"
ROOM = f"<x xmlns='{ns.MUC_USER}'/>"
CORRECTION = f"<replace xmlns='{ns.CORRECTION}' id='1'/>"
REACTIONS = f"<reactions xmlns='{ns.REACTIONS}' id='1'/>"
RETRACTION = f"<retract xmlns='{ns.RETRACTION[1]}' id='1'/>"
PROPOSE = f"<propose xmlns='{ns.JINGLE_MESSAGE}' id='1'/>"
ARCHIVED = f"<result xmlns='{ns.MAM}' id='1'/>"
EVENT = f"<event xmlns='{ns.PUBSUB_EVENT}'/>"
CARBON = f"<received xmlns='{ns.CARBONS}'/>"

BOTH = (True, True)
SENT_ONLY = (False, True)
NONE = (False, False)

#: Section and clause, the message, and whether it is copied when received and when sent. Rows that
#: say so are not to the letter of section 6.1.
ELIGIBILITY: list[tuple[str, Stanza, tuple[bool, bool]]] = [
    ("6.1 chat", message(type="chat"), BOTH),
    ("6.1 chat without body", message(None, type="chat"), BOTH),
    ("6.1 chat state", message(None, ACTIVE, type="chat"), BOTH),
    ("6.1 normal with body", message(type="normal"), BOTH),
    ("6.1 no type, with body", message(), BOTH),
    ("6.1 unknown type is normal (RFC 6121, 5.2.2)", message(type="strange"), BOTH),
    ("6.1 normal without body", message(None), NONE),
    ("6.1 unknown payload", message(None, "<x xmlns='urn:example:x'/>"), NONE),
    ("6.1 payload: receipt", message(None, RECEIPT), BOTH),
    ("6.1 payload: chat state", message(None, ACTIVE), BOTH),
    ("6.1 payload: chat marker", message(None, MARKER), BOTH),
    ("6.1 payload: correction", message(None, CORRECTION), BOTH),
    ("6.1 payload: reactions", message(None, REACTIONS), BOTH),
    ("6.1 payload: retraction", message(None, RETRACTION), BOTH),
    ("6.1 payload: encryption", message(None, ENCRYPTION), BOTH),
    ("6.1 payload: call", message(None, PROPOSE), BOTH),
    ("6.1 groupchat", message(type="groupchat"), NONE),
    ("6.1 headline", message(type="headline"), NONE),
    ("6.1 payload in a headline: not to the letter", message(None, RECEIPT, type="headline"), NONE),
    ("6.1 error, whatever it answers: not to the letter", message(type="error"), NONE),
    ("6.1 direct invitation", message(None, DIRECT_INVITATION), BOTH),
    ("6.1 mediated invitation", message(None, MEDIATED_INVITATION), BOTH),
    ("6.1 private message of a room", message("hi", ROOM, type="chat"), SENT_ONLY),
    ("6.1 other message of a room", message("hi", ROOM), NONE),
    (
        "6.1 mediated invitation with a direct one beside it",
        message("hi", MEDIATED_INVITATION, DIRECT_INVITATION),
        BOTH,
    ),
    ("9 private", message("hi", PRIVATE, type="chat"), NONE),
    ("9 no-copy", message("hi", NO_COPY, type="chat"), NONE),
    ("9 private and no-copy", message("hi", PRIVATE, NO_COPY, type="chat"), NONE),
    ("11 a copy is not copied", message("hi", CARBON, type="chat"), NONE),
    ("XEP-0313 archived", message(None, ARCHIVED), NONE),
    ("XEP-0060 event with a body", message("hi", EVENT), NONE),
    ("requests change nothing", message("hi", RECEIPT_REQUEST, MARKABLE, type="chat"), BOTH),
]


class Eligibility(SynchronousTestCase):
    """Section 6.1."""

    def test_table(self) -> None:
        """Every row."""
        for clause, each, (received, sent) in ELIGIBILITY:
            decisions = [carbons.eligible(each, direction) for direction in Direction]
            self.assertEqual([d.copy for d in decisions], [received, sent], clause)
            self.assertTrue(all(d.reason for d in decisions), clause)


class Wrapping(SynchronousTestCase):
    """Making carbons (sections 7 and 8), and reading those of a server."""

    def test_received(self) -> None:
        """All attributes and bytes of the message are inside."""
        inner = message("<&>", RECEIPT_REQUEST, from_=ROMEO, to=JID, type="chat", id="1")
        carbon = stanza(carbons.wrap(inner, Direction.RECEIVED, ACCOUNT, JID, None))
        self.assertEqual(carbon.attributes, {"from": ACCOUNT, "to": JID, "type": "chat"})
        direction, found = carbons.unwrap(carbon, ACCOUNT)
        self.assertIs(direction, Direction.RECEIVED)
        self.assertEqual(found.children, inner.children)
        self.assertEqual({**found.attributes, **inner.attributes}, found.attributes)
        self.assertEqual(found.text(ns.CLIENT, "body"), b"&lt;&amp;&gt;")

    def test_sent(self) -> None:
        """It says who sent the message, which a client need not write."""
        carbon = carbons.wrap(message(to=ROMEO), Direction.SENT, ACCOUNT, JID, f"{ACCOUNT}/x")
        direction, found = carbons.unwrap(stanza(carbon), ACCOUNT)
        self.assertIs(direction, Direction.SENT)
        self.assertEqual(found.attributes["from"], f"{ACCOUNT}/x")

    def test_withoutPrivate(self) -> None:
        """Only the mark goes."""
        delivered = carbons.withoutPrivate(message("hi", PRIVATE, NO_COPY, to=ROMEO))
        self.assertEqual(delivered.children, ((ns.CLIENT, "body"), (ns.HINTS, "no-copy")))


def _carbon(
    inside: str, sender: str = ACCOUNT, wrapper: str = "received", wrappers: int = 1
) -> Stanza:
    forwarded = f"<forwarded xmlns='{ns.FORWARD}'>{inside}</forwarded>"
    carbon = f"<{wrapper} xmlns='{ns.CARBONS}'>{forwarded}</{wrapper}>"
    return stanza(f"<message from='{sender}' to='{JID}'>{carbon * wrappers}</message>")


def _inner(**attributes: str) -> str:
    written = "".join(f" {name.rstrip('_')}='{value}'" for name, value in attributes.items())
    return f"<message xmlns='{ns.CLIENT}'{written}><body>hi</body></message>"


class Forgery(SynchronousTestCase):
    """Section 11."""

    def test_table(self) -> None:
        """What no server sends is refused, whoever it comes from."""
        true = _inner(from_=ROMEO, to=JID)
        nested = f"<message xmlns='{ns.CLIENT}' from='{ROMEO}' to='{JID}'>{CARBON}</message>"
        empty = f"<message from='{ACCOUNT}'><received xmlns='{ns.CARBONS}'/></message>"
        rows = [
            ("from a stranger", _carbon(true, ROMEO)),
            ("from a full JID of the own account", _carbon(true, JID)),
            ("from nobody", stanza(f"<message>{CARBON}</message>")),
            ("to somebody else", _carbon(_inner(from_=ROMEO, to=ROMEO))),
            ("sent by somebody else", _carbon(_inner(from_=ROMEO, to=JID), wrapper="sent")),
            ("a carbon inside", _carbon(nested)),
            ("two carbons", _carbon(true, wrappers=2)),
            ("nothing forwarded", stanza(empty)),
            ("nothing inside", _carbon("")),
            ("two inside", _carbon(true * 2)),
            ("no message inside", _carbon(f"<iq xmlns='{ns.CLIENT}'/>")),
            ("another namespace inside", _carbon("<message xmlns='urn:example:x'/>")),
        ]
        for what, forged in rows:
            self.assertTrue(carbons.isCarbon(forged), what)
            with self.assertRaises(Forged, msg=what):
                carbons.unwrap(forged, ACCOUNT)

    def test_true(self) -> None:
        """A delay beside the message is no forgery, and a server may leave out the account."""
        delay = f"<delay xmlns='{ns.DELAY}' stamp='2026-01-01T00:00:00Z'/>"
        _, found = carbons.unwrap(_carbon(delay + _inner(from_=ROMEO)), ACCOUNT)
        self.assertEqual(found.attributes["from"], ROMEO)
        # Some servers leave an address as its sender typed it.
        _, found = carbons.unwrap(_carbon(_inner(from_=ROMEO, to="Juliet@Example.com")), ACCOUNT)
        self.assertEqual(found.attributes["from"], ROMEO)
        direction, _ = carbons.unwrap(_carbon(_inner(to=ROMEO), wrapper="sent"), ACCOUNT)
        self.assertIs(direction, Direction.SENT)

    @given(
        st.recursive(
            st.sampled_from(["", "text", "<a/>", _inner(from_=ROMEO, to=JID), CARBON]),
            lambda inside: st.builds(
                "<{0} xmlns='{1}'>{2}</{0}>".format,
                st.sampled_from(["received", "sent", "forwarded", "message"]),
                st.sampled_from([ns.CARBONS, ns.FORWARD, ns.CLIENT]),
                inside,
            ),
            max_leaves=12,
        )
    )
    def test_nothingElseIsRaised(self, inside: str) -> None:
        """Whatever is inside, it is a carbon or forged."""
        try:
            direction, found = carbons.unwrap(_carbon(inside), ACCOUNT)
        except Forged as e:
            self.assertTrue(str(e))
        else:
            self.assertIn(direction, Direction)
            self.assertEqual(found.name, "message")
