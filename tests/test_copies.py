"""Tests of L{xmpproxy.copies}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.messages import ACTIVE, ENCRYPTION, MARKABLE, RECEIPT_REQUEST, message, stanza
from xmpproxy import copies, ns
from xmpproxy.stanza import Stanza

WORK = "juliet@example.com/work"
HOME = "juliet@example.com/home"
ROMEO = "romeo@example.net/orchard"


def sent(original: Stanza, mode: str = "prefix", prefix: str = "me@{resource}: ") -> Stanza | None:
    """The copy of a message that home sent, for work."""
    copy = copies.sent(original, WORK, HOME, mode, prefix, "id-of-copy")
    return None if copy is None else stanza(copy)


class Received(SynchronousTestCase):
    """Copies of incoming messages."""

    def test_copy(self) -> None:
        """The message itself, for the sibling, asking for nothing."""
        original = message("hi", RECEIPT_REQUEST, MARKABLE, ACTIVE, from_=ROMEO, to=HOME, id="1")
        copy = stanza(copies.received(original, WORK))
        self.assertEqual(dict(copy.attributes), {"from": ROMEO, "to": WORK, "id": "1"})
        self.assertEqual(copy.children, ((ns.CLIENT, "body"), (ns.CHAT_STATES, "active")))

    def test_bytes(self) -> None:
        """Nothing behind the start tag is touched that need not be."""
        inside = b"<body >a &#62; b</body ><x xmlns='urn:x'  y='1'/></message>"
        copy = copies.received(stanza(b"<message from='a@b'>" + inside), WORK)
        self.assertTrue(copy.endswith(b">" + inside))


class Sent(SynchronousTestCase):
    """Copies of what a sibling sent."""

    def test_prefix(self) -> None:
        """In the window of the person it was sent to, with who wrote it."""
        copy = sent(message("hi", RECEIPT_REQUEST, ACTIVE, to=ROMEO, id="1", type="normal"))
        assert copy is not None
        self.assertEqual(
            dict(copy.attributes),
            {"from": "romeo@example.net", "to": WORK, "type": "chat", "id": "id-of-copy"},
        )
        self.assertEqual(copy.children, ((ns.CLIENT, "body"),))
        self.assertEqual(copy.text(ns.CLIENT, "body"), b"me@home: hi")

    def test_self(self) -> None:
        """As a message from the sending session, its text unchanged."""
        copy = sent(message("hi", to=ROMEO), "self")
        assert copy is not None
        self.assertEqual(copy.attributes["from"], HOME)
        self.assertEqual(copy.text(ns.CLIENT, "body"), b"hi")

    def test_room(self) -> None:
        """A private message in a room belongs to the window of the occupant."""
        copy = sent(message("hi", f"<x xmlns='{ns.MUC_USER}'/>", to="room@muc/nurse"))
        assert copy is not None
        self.assertEqual(copy.attributes["from"], "room@muc/nurse")

    def test_none(self) -> None:
        """Nothing to show: switched off, no text, no recipient."""
        self.assertIsNone(sent(message("hi", to=ROMEO), "off"))
        self.assertIsNone(sent(message(None, ACTIVE, to=ROMEO)))
        self.assertIsNone(sent(message("hi")))

    @given(
        st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co"))),
        st.text(st.sampled_from("ab <>&'\"/@:")),
    )
    def test_anyText(self, text: str, resource: str) -> None:
        """Whatever is written and however a client calls itself, it is text and stays text."""
        original = message(text, to=ROMEO)
        copy = copies.sent(
            original, WORK, f"juliet@example.com/{resource}", "prefix", "{resource}> ", "i"
        )
        assert copy is not None
        body = next(stanza(copy).element.elements(ns.CLIENT, "body"))
        self.assertEqual(str(body), f"{resource}> {text}")
        self.assertEqual(len(body.children), 1)


class Encrypted(SynchronousTestCase):
    """What is no text for other clients."""

    def test_table(self) -> None:
        """OTR, OMEMO, OpenPGP old and new, and whatever says so (XEP-0380)."""
        omemo = [f"<encrypted xmlns='{namespace}'/>" for namespace in ns.OMEMO]
        openpgp = f"<openpgp xmlns='{ns.OPENPGP}'/>"
        legacy = f"<x xmlns='{ns.OPENPGP_LEGACY}'>..</x>"
        for payload in (*omemo, openpgp, legacy, ENCRYPTION):
            self.assertTrue(copies.encrypted(message("for other eyes", payload)), payload)
        for text in ("?OTR:AAMC", "  ?OTRv23?"):
            self.assertTrue(copies.encrypted(message(text)), text)
        for text in ("hello", "what is ?OTR: good for", ""):
            self.assertFalse(copies.encrypted(message(text)), text)
