"""Tests of L{xmpproxy.returned}: who hears that a client will not get something."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xmpproxy import ns
from xmpproxy.returned import returned
from xmpproxy.stanza import Stanza

JULIET = "juliet@example.com/balcony"
ROMEO = "romeo@example.com/orchard"
_ADDRESSES = f"from='{ROMEO}' to='{JULIET}' id='1'"
_COPIED = (
    f"<message from='juliet@example.com' to='{JULIET}'><received xmlns='{ns.CARBONS}'>"
    f"<forwarded xmlns='{ns.FORWARD}'><message xmlns='{ns.CLIENT}' {_ADDRESSES}>"
    "<body>a</body></message></forwarded></received></message>"
)

#: Each stanza with the name and error condition of what is returned.
CASES: dict[str, tuple[str, str] | None] = {
    f"<message {_ADDRESSES} type='chat'><body>a</body></message>": (
        "message",
        "recipient-unavailable",
    ),
    f"<message {_ADDRESSES}><encrypted xmlns='urn:xmpp:omemo:2'/></message>": (
        "message",
        "recipient-unavailable",
    ),
    f"<iq {_ADDRESSES} type='get'><query xmlns='a'/></iq>": ("iq", "service-unavailable"),
    f"<iq {_ADDRESSES} type='set'><query xmlns='a'/></iq>": ("iq", "service-unavailable"),
    f"<iq {_ADDRESSES} type='result'/>": None,
    f"<iq {_ADDRESSES} type='error'/>": None,
    f"<presence {_ADDRESSES}/>": None,
    f"<message {_ADDRESSES} type='error'><body>a</body></message>": None,
    f"<message {_ADDRESSES} type='headline'><body>a</body></message>": None,
    f"<message {_ADDRESSES} type='groupchat'><body>a</body></message>": None,
    f"<message {_ADDRESSES}><composing xmlns='{ns.CHAT_STATES}'/></message>": None,
    f"<message from='{ROMEO}' id='xmpproxy-copy.1'><body>a</body></message>": None,
    "<message id='1'><body>a</body></message>": None,
    _COPIED: None,
}


class ReturnedTests(SynchronousTestCase):
    def test_cases(self) -> None:
        for stanza, expected in CASES.items():
            errors = list(returned([stanza.encode()], JULIET, messages=True))
            self.assertEqual(len(errors), 0 if expected is None else 1, stanza)
            if expected is not None:
                error = Stanza.fromBytes(errors[0])
                assert error is not None
                self.assertEqual((error.name, error.type, error.id), (expected[0], "error", "1"))
                self.assertEqual(error.attributes["to"], ROMEO)
                self.assertEqual(error.attributes["from"], JULIET)
                self.assertIn(f"<{expected[1]} ".encode(), errors[0])

    def test_shown(self) -> None:
        """Where others have shown the messages, only questions are answered."""
        pieces = [stanza.encode() for stanza in CASES]
        errors = list(returned(pieces, JULIET, messages=False))
        self.assertEqual([error[:4] for error in errors], [b"<iq ", b"<iq "])

    def test_pieces(self) -> None:
        """Several stanzas in a piece."""
        pieces = ["".join(CASES).encode(), next(iter(CASES)).encode()]
        self.assertEqual(len(list(returned(pieces, JULIET, messages=True))), 5)
