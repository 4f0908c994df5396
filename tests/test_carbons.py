"""Tests of L{xmpproxy.carbons}. Which messages are eligible is in L{tests.test_xep0280}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.messages import PRIVATE, RECEIPT_REQUEST, message, stanza
from xmpproxy import carbons, ns
from xmpproxy.carbons import Direction, Forged
from xmpproxy.stanza import Stanza

ACCOUNT = "juliet@example.com"
JID = f"{ACCOUNT}/balcony"
ROMEO = "romeo@example.net/orchard"
NO_COPY = f"<no-copy xmlns='{ns.HINTS}'/>"
CARBON = f"<received xmlns='{ns.CARBONS}'/>"


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

    def test_hinted(self) -> None:
        """A hint takes its place, once."""
        for marks in ([PRIVATE], [PRIVATE, PRIVATE], [PRIVATE, NO_COPY], [NO_COPY, PRIVATE]):
            delivered = stanza(carbons.hinted(message("hi", *marks, to=ROMEO)).data)
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
