"""Tests of L{tests.witness}: what it makes of a connection."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.witness import Passage, Record, Witness
from xmpproxy import ns

HEADER = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}'>"
DECLARATION = "<?xml version='1.0'?>"
SM = ns.STREAM_MANAGEMENT[0]
JID = "juliet@example.com/balcony"
BOUND = f"<iq type='result' id='b'><bind xmlns='{ns.BIND}'><jid>{JID}</jid></bind></iq>"


def message(body: str, sender: str = "romeo@example.net") -> str:
    return f"<message xmlns='{ns.CLIENT}' from='{sender}'><body>{body}</body></message>"


def carbon(body: str, sender: str) -> str:
    return (
        f"<message><sent xmlns='{ns.CARBONS}'><forwarded xmlns='urn:xmpp:forward:0'>"
        f"{message(body, sender)}</forwarded></sent></message>"
    )


class Streams(SynchronousTestCase):
    """What passes, and what it means."""

    def setUp(self) -> None:
        self.claims: list[tuple[str, list[str]]] = []
        self.witness = Witness(self.claimed)

    def claimed(self, record: Record, bodies: list[str]) -> None:
        self.claims.append((record.jid, bodies))

    def passes(self) -> Passage:
        """A connection on which SASL is done."""
        passage = self.witness.link()
        passage.nearSaid(HEADER.encode())
        passage.farSaid(f"{DECLARATION}{HEADER}".encode())
        passage.nearSaid(HEADER.encode())
        passage.farSaid(f"<success xmlns='{ns.SASL}'/>{DECLARATION}{HEADER}".encode())
        return passage

    def binds(self) -> Passage:
        """One on which a resource is bound and stream management enabled."""
        passage = self.passes()
        passage.nearSaid(f"<iq type='set' id='b'/><enable xmlns='{SM}'/>".encode())
        passage.farSaid(f"{BOUND}{message('early')}<enabled xmlns='{SM}' id='1'/>".encode())
        return passage

    def test_claimed(self) -> None:
        """What the proxy says to be handled, of what came since it was enabled."""
        passage = self.binds()
        (record,) = self.witness.records
        self.assertEqual((record.jid, record.counts, record.sentBefore), (JID, True, 2))
        passage.farSaid("".join(map(message, "abc")).encode())
        passage.nearSaid(f"<a xmlns='{SM}' h='0'/><a xmlns='{SM}' h='2'/>".encode())
        passage.nearSaid(f"<a xmlns='{SM}' h='2'/><a xmlns='{SM}' h='3'/>".encode())
        self.assertEqual(self.claims, [(JID, ["a", "b"]), (JID, ["c"])])
        self.assertEqual(self.witness.sent("b"), [(record, 3)])
        self.assertEqual(self.witness.sent("early"), [(record, 1)])
        self.assertEqual(self.witness.sent("d"), [])

    def test_handled(self) -> None:
        """What the server says to be handled, of what the proxy has sent since."""
        passage = self.binds()
        passage.nearSaid((message("a") + message("b")).encode())
        passage.farSaid(f"<a xmlns='{SM}' h='1'/>".encode())
        self.assertEqual([self.witness.handled(each) for each in "abc"], [True, False, False])

    def test_ping(self) -> None:
        """Or the answer to a ping, whether there is stream management or not."""
        passage = self.passes()
        ping = f"<iq type='get' id='p'><ping xmlns='{ns.PING}'/></iq>"
        passage.nearSaid((message("a") + ping + message("b")).encode())
        self.assertFalse(self.witness.handled("a"))
        passage.farSaid(b"<iq type='result' id='other'/>")
        self.assertFalse(self.witness.handled("a"))
        passage.farSaid(b"<iq type='error' id='p'/>")
        self.assertEqual([self.witness.handled(each) for each in "ab"], [True, False])

    def test_carbons(self) -> None:
        """They count once the client is available, and if they are not of its own lines."""
        passage = self.binds()
        passage.farSaid(carbon("a", "juliet@example.com/garden").encode())
        passage.nearSaid(b"<presence to='romeo@example.net'/>")
        passage.farSaid(carbon("b", "juliet@example.com/garden").encode())
        passage.nearSaid(b"<presence/>")
        passage.farSaid(carbon("c", "juliet@example.com/garden").encode())
        passage.farSaid(carbon("d", JID).encode())
        self.assertEqual([bool(self.witness.sent(each)) for each in "abcd"], [0, 0, 1, 0])

    def test_resumed(self) -> None:
        """Another connection goes on with the stream: what was not handled comes again."""
        passage = self.binds()
        passage.farSaid("".join(map(message, "abc")).encode())
        passage.nearSaid("".join(map(message, "xyz")).encode())
        passage.ended()
        (record,) = self.witness.records
        self.assertFalse(record.open)
        passage = self.passes()
        passage.nearSaid(f"<resume xmlns='{SM}' previd='1' h='1'/>".encode())
        passage.farSaid(f"<resumed xmlns='{SM}' previd='1' h='2'/>".encode())
        self.assertEqual(self.witness.records, [record])
        self.assertTrue(record.open)
        self.assertEqual(self.claims, [(JID, ["a"])])
        self.assertEqual([self.witness.handled(each) for each in "xyz"], [True, True, False])
        passage.farSaid("".join(map(message, "bc")).encode())
        passage.nearSaid(f"<a xmlns='{SM}' h='3'/>{message('z')}".encode())
        self.assertEqual(self.claims[1:], [(JID, ["b", "c"])])
        passage.farSaid(f"<a xmlns='{SM}' h='3'/>".encode())
        self.assertTrue(self.witness.handled("z"))

    def test_reached(self) -> None:
        """What was taken before the connection broke."""
        passage = self.binds()
        passage.farSaid("".join(map(message, "ab")).encode())
        passage.passed()
        passage.farSaid(message("c").encode())
        passage.ended()
        (record,) = self.witness.records
        self.assertEqual((record.reached, len(record.sent)), (4, 5))

    def test_forgets(self) -> None:
        """All but the streams that go on."""
        passage, other = self.binds(), self.binds()
        passage.farSaid(message("a").encode())
        other.ended()
        self.witness.forget()
        self.assertEqual(len(self.witness.records), 1)
        self.assertEqual(self.witness.sent("a"), [])
        passage.nearSaid(f"<a xmlns='{SM}' h='1'/>".encode())
        self.assertEqual(self.claims, [(JID, ["a"])])
