"""What a client sees of a server's stream features."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from xmpproxy import features, ns
from xmpproxy.stanza import parse, serialize

modest = settings(max_examples=60, deadline=None)


def offer(*children: str) -> domish.Element:
    """A server's features."""
    return parse(f"<stream:features>{''.join(children)}</stream:features>".encode())


def mechanisms(*names: str, namespace: str = ns.SASL) -> str:
    """A list of SASL mechanisms."""
    listed = "".join(f"<mechanism>{name}</mechanism>" for name in names)
    return f"<mechanisms xmlns='{namespace}'>{listed}</mechanisms>"


def bindings(*types: str) -> str:
    """A list of channel-binding types."""
    listed = "".join(f"<channel-binding type='{each}'/>" for each in types)
    return f"<sasl-channel-binding xmlns='{ns.CHANNEL_BINDING}'>{listed}</sasl-channel-binding>"


def shown(element: domish.Element) -> list[tuple[str, str, list[str]]]:
    """Namespace and name of each feature, and the names of what is in it."""
    return [
        (child.uri, child.name, [each.name for each in child.elements()])
        for child in element.elements()
    ]


#: What servers offer that must not reach a client, whatever the proxy is told.
HARMFUL = (
    "<compression xmlns='http://jabber.org/features/compress'><method>zlib</method></compression>",
    "<auth xmlns='http://jabber.org/features/iq-auth'/>",
    "<authentication xmlns='urn:xmpp:sasl:2'><mechanism>PLAIN</mechanism></authentication>",
    "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>",
    "<c xmlns='urn:xmpp:caps'><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>v</hash></c>",
    "<sm xmlns='urn:xmpp:sm:3'/>",
    "<sm xmlns='urn:xmpp:sm:2'/>",
    "<register xmlns='http://jabber.org/features/iq-register'/>",
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    mechanisms("PLAIN"),
    bindings("tls-exporter"),
    "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>1</max-bytes></limits>",
    "<csi xmlns='urn:xmpp:csi:0'/>",
    "<ver xmlns='urn:unknown'/>",
    "<unknown xmlns='urn:xmpp:features:rosterver'/>",
    "<ver/>",
)
HARMLESS: dict[str, tuple[str, str, list[str]]] = {
    "<ver xmlns='urn:xmpp:features:rosterver'/>": (ns.ROSTER_VERSIONING, "ver", []),
    "<sub xmlns='urn:xmpp:features:pre-approval'/>": (ns.PRE_APPROVAL, "sub", []),
}
#: What there is after every login (RFC 6120, section 7.4; RFC 3921, section 3; XEP-0352; XEP-0198).
ALWAYS = [
    (ns.BIND, "bind", ["required"]),
    (ns.SESSION, "session", ["optional"]),
    (ns.CSI, "csi", []),
    *((each, "sm", []) for each in ns.STREAM_MANAGEMENT),
]


class Mechanisms(SynchronousTestCase):
    """What a server says about SASL."""

    def test_order(self) -> None:
        """The server's preference is kept."""
        offered = offer(mechanisms("SCRAM-SHA-1", "PLAIN", "SCRAM-SHA-256"))
        self.assertEqual(features.mechanisms(offered), ("SCRAM-SHA-1", "PLAIN", "SCRAM-SHA-256"))

    def test_none(self) -> None:
        """No list, an empty one, and one of another protocol."""
        for children in ((), (mechanisms(),), (mechanisms("PLAIN", namespace="urn:xmpp:sasl:2"),)):
            self.assertEqual(features.mechanisms(offer(*children)), ())

    def test_whiteSpace(self) -> None:
        """What stands around a name is no part of it."""
        self.assertEqual(features.mechanisms(offer(mechanisms("\n  PLAIN\n"))), ("PLAIN",))

    def test_others(self) -> None:
        """Only mechanisms are mechanisms."""
        offered = offer(
            f"<mechanisms xmlns='{ns.SASL}'><hostname xmlns='urn:xmpp:domain-based-name:1'>a"
            "</hostname><mechanism>PLAIN</mechanism><mechanism xmlns='urn:x'>X</mechanism>"
            "</mechanisms>"
        )
        self.assertEqual(features.mechanisms(offered), ("PLAIN",))

    def test_relayable(self) -> None:
        """Left out is what would authenticate the proxy, or bind to the proxy's TLS."""
        self.assertEqual(
            features.relayable(
                ("EXTERNAL", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "PLAIN")
            ),
            ("SCRAM-SHA-256", "PLAIN"),
        )
        self.assertEqual(features.relayable(()), ())
        self.assertEqual(features.relayable(("X-PLUSSED", "XEXTERNAL")), ("X-PLUSSED", "XEXTERNAL"))

    def test_channelBindings(self) -> None:
        """The types in the server's order; an empty list is not the same as none."""
        self.assertEqual(
            features.channelBindings(offer(bindings("tls-exporter", "tls-server-end-point"))),
            ("tls-exporter", "tls-server-end-point"),
        )
        self.assertEqual(features.channelBindings(offer(bindings())), ())
        self.assertIsNone(features.channelBindings(offer(mechanisms("PLAIN"))))

    def test_bindsChannel(self) -> None:
        """It does if it lists types, or a mechanism that needs them."""
        for children, binds in (
            ((), False),
            ((mechanisms("SCRAM-SHA-1", "PLAIN"),), False),
            ((mechanisms("SCRAM-SHA-1-PLUS", "PLAIN"),), True),
            ((mechanisms("PLAIN"), bindings("tls-exporter")), True),
            ((mechanisms("PLAIN"), bindings()), True),
            ((mechanisms("SCRAM-SHA-1-PLUS", namespace="urn:x"),), False),
        ):
            self.assertEqual(features.bindsChannel(offer(*children)), binds)


class Shown(SynchronousTestCase):
    """What the proxy offers at each stage of a stream."""

    def test_hasFeature(self) -> None:
        """By name and namespace, and not deeper."""
        offered = offer("<csi xmlns='urn:xmpp:csi:0'/>", "<a xmlns='urn:a'><b/></a>")
        self.assertTrue(features.hasFeature(offered, ns.CSI, "csi"))
        self.assertFalse(features.hasFeature(offered, ns.CSI, "isc"))
        self.assertFalse(features.hasFeature(offered, ns.CLIENT, "csi"))
        self.assertFalse(features.hasFeature(offered, "urn:a", "b"))

    def test_beforeTLS(self) -> None:
        """TLS and nothing else, or a client might do without (RFC 6120, section 5.3.1)."""
        element = parse(serialize(features.beforeTLS()))
        self.assertEqual((element.uri, element.name), (ns.STREAMS, "features"))
        self.assertEqual(shown(element), [(ns.TLS, "starttls", ["required"])])

    def test_beforeLogin(self) -> None:
        """The mechanisms to offer, in that order (RFC 6120, section 6.4.1)."""
        element = parse(serialize(features.beforeLogin(("SCRAM-SHA-256", "PLAIN"), False)))
        self.assertEqual((element.uri, element.name), (ns.STREAMS, "features"))
        self.assertEqual(shown(element), [(ns.SASL, "mechanisms", ["mechanism", "mechanism"])])
        self.assertEqual(features.mechanisms(element), ("SCRAM-SHA-256", "PLAIN"))
        self.assertIsNone(features.channelBindings(element))

    def test_registration(self) -> None:
        """In-band registration where it is wanted (XEP-0077, section 8)."""
        element = parse(serialize(features.beforeLogin(("PLAIN",), True)))
        self.assertEqual(shown(element)[1:], [(ns.REGISTER_FEATURE, "register", [])])

    def test_afterLogin(self) -> None:
        """
        Resource binding, with the session that old clients wait for, and the client's state, which
        is the proxy's business; whatever is offered.
        """
        for offered in (offer(), offer(f"<bind xmlns='{ns.BIND}'/>", *HARMFUL)):
            element = parse(serialize(features.afterLogin(offered)))
            self.assertEqual((element.uri, element.name), (ns.STREAMS, "features"))
            self.assertEqual(shown(element), ALWAYS)

    @modest
    @given(st.permutations((*HARMFUL, *HARMLESS)), st.integers(0, len(HARMFUL) + len(HARMLESS)))
    def test_onlyWhatWeKnow(self, children: list[str], count: int) -> None:
        """Of all that a server offers only what works through a proxy is passed on."""
        offered = children[:count]
        element = parse(serialize(features.afterLogin(offer(*offered))))
        self.assertEqual(
            sorted(shown(element)),
            sorted([*ALWAYS, *(HARMLESS[each] for each in offered if each in HARMLESS)]),
        )
