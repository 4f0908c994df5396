"""Tests of the two ways in which L{carbons.unwrap} finds the message: they must agree."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import assume, event, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.messages import stanza
from tests.xmlstrategies import Node, strictStanza
from xmpproxy import carbons, ns
from xmpproxy.carbons import Direction, Forged
from xmpproxy.splitter import Splitter
from xmpproxy.stanza import Stanza

ACCOUNT = "juliet@example.com"
HOME = f"{ACCOUNT}/home"
ROMEO = "romeo@example.net/orchard"

BEGIN = f"<received xmlns='{ns.CARBONS}'><forwarded xmlns='{ns.FORWARD}'>"
END = "</forwarded></received>"


def carbon(inside: str, attributes: str = "") -> Stanza:
    """A carbon from the account with anything inside of its first tag."""
    return stanza(f"<message from='{ACCOUNT}'{attributes}>{inside}</message>")


class Bytes(SynchronousTestCase):
    """What is cut out is what the server wrote."""

    def test_cutOut(self) -> None:
        """Of all shapes that servers write, without a tree."""
        before = f"to='{HOME}' from='{ROMEO}' id=' a'"
        inside = "><body >a &#62; <![CDATA[<]]></body ><x xmlns='urn:x'><y/></x></message>"
        for written in (
            f"<message xmlns='{ns.CLIENT}' {before}{inside}",
            f"<message {before} xmlns='{ns.CLIENT}'{inside}",
            f'<message {before}\nxmlns="{ns.CLIENT}"{inside}',
        ):
            with patch.object(carbons, "_takenFromTree", side_effect=AssertionError):
                direction, found = carbons.unwrap(carbon(f"{BEGIN}{written}{END}"), ACCOUNT)
            self.assertIs(direction, Direction.RECEIVED)
            self.assertEqual(found.data.decode(), f"<message {before}{inside}")
            self.assertEqual(found.attributes, {"to": HOME, "from": ROMEO, "id": " a"})
            self.assertEqual(found.children, ((ns.CLIENT, "body"), ("urn:x", "x")))

    def test_declarationInAValue(self) -> None:
        """An attribute that contains what looks like the declaration stays as it is."""
        value = f" xmlns='{ns.CLIENT}'"
        written = f"<message id=\"{value}\" xmlns='{ns.CLIENT}'/>"
        _, found = carbons.unwrap(carbon(f"{BEGIN}{written}{END}"), ACCOUNT)
        self.assertEqual(stanza(found.data).attributes, {"id": value})

    def test_prefixOfAWrapper(self) -> None:
        """A prefix that is declared outside of the message keeps its meaning, however deep."""
        declaration = " xmlns:p='urn:x'"
        for inside in ("<p:x/>", "<x><p:y/></x>", "<x p:y='1'/>", "<x><y p:z='1'/></x>"):
            message = f"<message xmlns='{ns.CLIENT}'>{inside}</message>"
            expected = strictStanza(message.replace("<message", f"<message{declaration}").encode())
            for outer, begin in ((declaration, BEGIN), ("", BEGIN[:-1] + f"{declaration}>")):
                _, found = carbons.unwrap(carbon(f"{begin}{message}{END}", outer), ACCOUNT)
                self.assertEqual(strictStanza(found.data), expected)

    def test_prefixedChild(self) -> None:
        """A child with a prefix is known by its namespace."""
        message = f"<message xmlns='{ns.CLIENT}' xmlns:p='urn:x'><p:x/></message>"
        _, found = carbons.unwrap(carbon(f"{BEGIN}{message}{END}"), ACCOUNT)
        self.assertEqual(found.children, (("urn:x", "x"),))

    def test_aroundTheMessage(self) -> None:
        """White space around it is no part of it, nor is what a parser skips before a document."""
        message = f"<message xmlns='{ns.CLIENT}'><body>hi</body></message>"
        for written in (f" {message}", f"{message}\n", f"\ufeff{message}"):
            _, found = carbons.unwrap(carbon(f"{BEGIN}{written}{END}"), ACCOUNT)
            self.assertEqual(found.data, b"<message><body>hi</body></message>")

    def test_hidden(self) -> None:
        """Nothing is taken for the message because of how the bytes begin and end."""
        message = f"<message xmlns='{ns.CLIENT}'/>"
        for inside in (
            f"{message}</forwarded><forwarded xmlns='{ns.FORWARD}'>{message}",
            f"{message}{END}{BEGIN}{message}",
            f"<x>{message}</x>",
            f"<![CDATA[{message}]]>",
            f"{message}<x/>",
            f"<iq xmlns='{ns.CLIENT}'/>",
            f"<p:message xmlns='{ns.CLIENT}' xmlns:p='urn:x'/>",
            "<message/>",
            "<message xmlns=''/>",
        ):
            with self.assertRaises(Forged, msg=inside):
                carbons.unwrap(carbon(f"{BEGIN}{inside}{END}"), ACCOUNT)


def _attributes(*groups: tuple[str, ...]) -> st.SearchStrategy[str]:
    """One of each group, in any order."""
    chosen = st.tuples(*(st.sampled_from(group) for group in groups))
    return chosen.flatmap(st.permutations).map("".join)


_CHILDREN = (
    "",
    "text &amp; &#13;",
    "<body>hi</body>",
    "<body xmlns='urn:x' xml:lang='en'/>",
    "<x xmlns=''><y/></x>",
    "<p:x xmlns:p='urn:q' p:a='1'/>",
    "<p:x/>",
    "<x><p:y/></x>",
    "<stream:x/>",
    "<message/>",
    "<![CDATA[</message>]]>",
    f"<received xmlns='{ns.CARBONS}'/>",
    f"<c:sent xmlns:c='{ns.CARBONS}'/>",
)
_MESSAGES = st.builds(
    "<{0}{1}>{2}</{0}>".format,
    st.sampled_from(("message",) * 9 + ("message ", "iq", "p:message")),
    _attributes(
        (f" xmlns='{ns.CLIENT}'",) * 9
        + (f' xmlns="{ns.CLIENT}"', f" xmlns = '{ns.CLIENT}'", " xmlns='jabber:&#99;lient'")
        + ("", " xmlns='urn:x'", " xmlns=''"),
        ("",) * 3 + (" xmlns:p='urn:x'", f" xmlns:p='{ns.CLIENT}'"),
        ("", "", f" from='{ROMEO}'", f" from='{HOME}'"),
        ("", "", f" to='{HOME}'", f'\n to = "{ACCOUNT}" ', f" to='{ROMEO}'"),
        ("", " id='&lt;&#9;/>'", f" id=\" xmlns='{ns.CLIENT}'\"", " p:id='1'", " xml:lang='en'"),
    ),
    st.lists(st.sampled_from(_CHILDREN), max_size=3).map("".join),
).map(lambda written: written.replace("</message >", "</message>"))


def _mostlyOne(inside: st.SearchStrategy[str], *others: str) -> st.SearchStrategy[str]:
    several = st.lists(st.one_of(inside, st.sampled_from(others)), max_size=3).map("".join)
    return st.one_of(*[inside] * 7, several)


def _wrapped(
    inside: st.SearchStrategy[str], names: tuple[str, ...], namespace: str
) -> st.SearchStrategy[str]:
    attributes: tuple[str, ...] = (f" xmlns='{namespace}'",) * 20
    attributes += (f' xmlns="{namespace}"', f" xmlns='{namespace}' ", " xmlns='urn:x'", "")
    attributes += (f" xmlns='{namespace}' xmlns:p='urn:x'", f" xmlns='{namespace}' id='1'")
    return st.builds(
        "<{0}{1}>{2}</{0}>".format, st.sampled_from(names), st.sampled_from(attributes), inside
    )


_DELAY = f"<delay xmlns='{ns.DELAY}' stamp='2026-01-01T00:00:00Z'/>"
_FORWARDED = _wrapped(
    _mostlyOne(_MESSAGES, _DELAY, " ", "text", "\ufeff", "<x/>"),
    ("forwarded",) * 9 + ("x",),
    ns.FORWARD,
)
_WRAPPERS = _wrapped(
    _mostlyOne(_FORWARDED, " ", "<x/>"), ("received", "sent") * 5 + ("x",), ns.CARBONS
)
_CARBONS = st.builds(
    "<message from='{}'{}>{}</message>".format,
    st.just(ACCOUNT),
    _attributes(
        ("",) * 5 + (" xmlns:p='urn:y'", f" xmlns='{ns.CLIENT}'"),
        ("", f" to='{HOME}'", ' id="\'>"', f" id=\"><received xmlns='{ns.CARBONS}'>\""),
    ),
    _mostlyOne(_WRAPPERS, "text", "<x/>"),
)
_HEADERS = st.sampled_from(("", "", "", " xmlns:p='urn:z'"))


class Agreement(SynchronousTestCase):
    """Cutting out and looking at the tree are two ways to one answer."""

    @given(_HEADERS, _CARBONS)
    def test_bothWays(self, declaration: str, written: str) -> None:
        """What is forged for one is so for the other, and what is not is the same message."""
        splitter = Splitter()
        head = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}'{declaration}>"
        found = splitter.feed((head + written).encode())
        assume(splitter.error is None and len(found) == 1 and found[0].fault is None)
        outcome = _outcome(found[0])
        event("cut out" if carbons._cutOut(found[0]) is not None else "taken from the tree")
        event("forged" if outcome is None else "true")
        with patch.object(carbons, "_cutOut", return_value=None):
            self.assertEqual(outcome, _outcome(found[0]))


def _outcome(
    carbon: Stanza,
) -> tuple[Direction, Node, tuple[tuple[str, str], ...], dict[str, str]] | None:
    """Direction, message, and what is known of it without parsing it. L{None} if it is forged."""
    try:
        direction, message = carbons.unwrap(carbon, ACCOUNT)
    except Forged:
        return None
    content = strictStanza(message.data)
    assert content is not None, "it can be sent"
    again = stanza(message.data)
    assert again.name == message.name == "message" and again.namespace == message.namespace
    assert again.children == message.children
    assert again.attributes == message.attributes
    plain = {name: value for name, value in message.attributes.items() if ":" not in name}
    return direction, content, message.children, plain
