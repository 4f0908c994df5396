"""A stanza, its bytes and its tree."""

from __future__ import annotations

import re

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from tests import xmlstrategies as xml
from tests.xmlstrategies import Node
from xmpproxy import ns
from xmpproxy.splitter import Splitter
from xmpproxy.stanza import Stanza, parse, serialize

modest = settings(max_examples=60, deadline=None)

#: Characters that XML 1.0 allows, those that must be escaped among the first tried.
_TEXT = st.text(
    st.one_of(
        st.sampled_from("<>&\"' \n\r\t"),
        st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"),
    ),
    max_size=20,
)
_CHANGES = st.dictionaries(
    st.sampled_from(("to", "from", "id", "type", "é")), st.one_of(st.none(), _TEXT)
)


def split(data: bytes | str, header: bytes = xml.PLAIN.data) -> Stanza:
    """A stanza as the splitter makes it."""
    data = data.encode() if isinstance(data, str) else data
    (stanza,) = Splitter().feed(header + data)
    assert stanza.fault is None
    return stanza


def node(data: bytes) -> Node:
    """What a strict parser sees."""
    found = xml.strictStanza(data)
    assert found is not None, data
    return found


@st.composite
def stanzas(draw: st.DrawFn) -> Stanza:
    """Stanzas without fault, from streams of all kinds."""
    header = draw(xml.headers())
    return split(draw(xml.tameStanzas(header)), header.data)


class Reading(SynchronousTestCase):
    """What a stanza tells."""

    def test_attributes(self) -> None:
        """The ones every stanza may have, for short."""
        stanza = split("<iq id='a' type='set'/>")
        self.assertEqual((stanza.id, stanza.type), ("a", "set"))
        stanza = split("<iq/>")
        self.assertEqual((stanza.id, stanza.type), (None, None))

    def test_has(self) -> None:
        """Only direct children count, with their namespace."""
        stanza = split("<message><body/><x xmlns='urn:x'><y/></x></message>")
        self.assertTrue(stanza.has(ns.CLIENT, "body"))
        self.assertTrue(stanza.has("urn:x", "x"))
        self.assertFalse(stanza.has("urn:x", "y"))
        self.assertFalse(stanza.has("urn:x", "body"))

    def test_representation(self) -> None:
        """What goes to a log is no business of anybody's but the peers'."""
        stanza = split(
            "<message type='chat' to='romeo@example.net'><body>secret</body><x a='b'/></message>"
        )
        self.assertEqual(repr(stanza), "<message type='chat' [body, x]>")

    def test_element(self) -> None:
        """The tree is made once."""
        stanza = split("<message id='1'><body>a &amp; b</body></message>")
        self.assertIs(stanza.element, stanza.element)
        self.assertEqual((stanza.element.uri, stanza.element.name), (ns.CLIENT, "message"))
        self.assertEqual(stanza.element["id"], "1")
        self.assertEqual(str(stanza.element.body), "a & b")

    def test_startTagLength(self) -> None:
        """However the start tag is written."""
        for start in (
            "<message>",
            "<message/>",
            "<message />",
            "<message to='a'>",
            "<message to='>' from=\"/>\" />",
            '<message\nto = "a\'b"\n>',
            "<message to='a\"b'>",
        ):
            for behind in ("", "'>\"", "<a b='>'/>") if not start.endswith("/>") else ("",):
                end = "" if start.endswith("/>") else "</message>"
                self.assertEqual(split(start + behind + end).startTagLength, len(start))

    @modest
    @given(stanzas(), stanzas())
    def test_fromBytes(self, stanza: Stanza, other: Stanza) -> None:
        """From its bytes alone the same, or nothing where prefixes are; nothing of several."""
        again = Stanza.fromBytes(stanza.data)
        prefixed = any(b":" in name for name in re.findall(rb"<([^\s/>!]+)", stanza.data))
        if again is None:
            self.assertTrue(prefixed, stanza.data)
        else:
            for name in ("data", "name", "namespace", "attributes", "children", "fault"):
                self.assertEqual(getattr(again, name), getattr(stanza, name))
        self.assertIsNone(Stanza.fromBytes(stanza.data + other.data))

    @modest
    @given(stanzas())
    def test_startTag(self, stanza: Stanza) -> None:
        """It has all the attributes, and nothing else."""
        start = stanza.data[: stanza.startTagLength]
        if not start.endswith(b"/>"):
            start = start[:-1] + b"/>"
        self.assertEqual(node(start), node(stanza.data)._replace(content=()))


class Text(SynchronousTestCase):
    """The text of a child, as XML has it."""

    def test_escaped(self) -> None:
        """It is taken as it is."""
        stanza = split("<message><x/><body>a &lt; b &amp;&#99;</body><body>d</body></message>")
        self.assertEqual(stanza.text(ns.CLIENT, "body"), b"a &lt; b &amp;&#99;")

    def test_none(self) -> None:
        """No element is not the same as an empty one."""
        stanza = split("<message><x xmlns='urn:x'>a</x><y><z>b</z></y><e/><f></f></message>")
        self.assertIsNone(stanza.text(ns.CLIENT, "x"))
        self.assertIsNone(stanza.text(ns.CLIENT, "z"))
        self.assertEqual(stanza.text("urn:x", "x"), b"a")
        self.assertEqual(stanza.text(ns.CLIENT, "e"), b"")
        self.assertEqual(stanza.text(ns.CLIENT, "f"), b"")

    def test_section(self) -> None:
        """CDATA sections become ordinary text."""
        stanza = split("<message><body>a<![CDATA[</body><]]>b</body></message>")
        self.assertEqual(stanza.text(ns.CLIENT, "body"), b"a&lt;/body&gt;&lt;b")

    @modest
    @given(stanzas(), st.data())
    def test_anywhere(self, stanza: Stanza, data: st.DataObject) -> None:
        """It may be put into any other element, and is the first text there."""
        assume(stanza.children)
        namespace, name = data.draw(st.sampled_from(stanza.children))
        text = stanza.text(namespace, name)
        assert text is not None
        whole = f"{namespace} {name}".strip()
        child = next(
            each
            for each in node(stanza.data).content
            if isinstance(each, Node) and each.name == whole
        )
        expected = next((each for each in child.content if isinstance(each, str)), "")
        self.assertEqual("".join(map(str, node(b"<a>" + text + b"</a>").content)), expected)


class Changing(SynchronousTestCase):
    """Other bytes from those of a stanza."""

    def test_withAttributes(self) -> None:
        """Some are set, some removed, the others stay as they are, and so does the content."""
        stanza = split("<message to='a' id=\"1\"><body to='c'>b</body>\n</message >")
        self.assertEqual(
            stanza.withAttributes({"to": "d", "id": None, "type": "chat", "from": None}),
            b'<message to="d" type="chat"><body to=\'c\'>b</body>\n</message >',
        )

    def test_emptyElement(self) -> None:
        """A stanza without content stays one."""
        for data in (b"<presence/>", b"<presence />", b"<presence a='/>'/>"):
            self.assertTrue(split(data).withAttributes({"to": "a"}).endswith(b' to="a"/>'))
        self.assertEqual(
            split("<presence></presence>").withAttributes({"to": "a"}),
            b'<presence to="a"></presence>',
        )

    def test_escaping(self) -> None:
        """What a parser would take for something else, or for a space."""
        stanza = split("<message/>")
        for value in ("<&>", "\"'", "'", '"', "\n\r\t", "&amp;", "]]>", "é😀"):
            data = stanza.withAttributes({"id": value})
            self.assertEqual(split(data).attributes, {"id": value})
            self.assertEqual(split(split(data).withAttributes({"to": "a"})).id, value)

    @modest
    @given(stanzas(), _CHANGES)
    def test_attributes(self, stanza: Stanza, changes: dict[str, str | None]) -> None:
        """The tree is the same but for the attributes that were to be changed."""
        before = node(stanza.data)
        kept = {**dict(before.attributes), **changes}
        attributes = tuple(
            sorted((name, value) for name, value in kept.items() if value is not None)
        )
        data = stanza.withAttributes(changes)
        self.assertEqual(node(data), before._replace(attributes=attributes))
        self.assertTrue(data.endswith(stanza.data[stanza.startTagLength :]))

    @modest
    @given(stanzas(), _CHANGES)
    def test_standalone(self, stanza: Stanza, changes: dict[str, str | None]) -> None:
        """Inside of another element it is what it would be on a stream."""
        data = stanza.standalone(changes)
        outer = node(
            b"<message><forwarded xmlns='urn:xmpp:forward:0'>" + data + b"</forwarded></message>"
        )
        forwarded = outer.content[0]
        assert isinstance(forwarded, Node)
        self.assertEqual(forwarded.content, (node(stanza.withAttributes(changes)),))

    def test_without(self) -> None:
        """Only the direct children go, and nothing else is touched."""
        stanza = split(
            "<message a='b'> <r xmlns='urn:r'>c</r><body>d</body><r xmlns='urn:r'/><r/>"
            "<x xmlns='urn:x'><r xmlns='urn:r'/></x><![CDATA[<r xmlns='urn:r'/>]]></message>"
        )
        less = stanza.without(frozenset([("urn:r", "r"), ("urn:r", "absent")]))
        self.assertEqual(
            less.data,
            b"<message a='b'> <body>d</body><r/>"
            b"<x xmlns='urn:x'><r xmlns='urn:r'/></x><![CDATA[<r xmlns='urn:r'/>]]></message>",
        )
        self.assertEqual(less.attributes, {"a": "b"})
        self.assertEqual(less.children, ((ns.CLIENT, "body"), (ns.CLIENT, "r"), ("urn:x", "x")))

    def test_withoutNothing(self) -> None:
        """A stanza that has none of them is the same object."""
        stanza = split("<message><x><r xmlns='urn:r'/></x><r/></message>")
        self.assertIs(stanza.without(frozenset([("urn:r", "r")])), stanza)

    @modest
    @given(stanzas(), st.data())
    def test_withoutAny(self, stanza: Stanza, data: st.DataObject) -> None:
        """The tree is the same but for the children that were to go."""
        assume(stanza.children)
        unwanted = data.draw(st.sets(st.sampled_from(stanza.children), min_size=1))
        names = [f"{namespace} {name}".strip() for namespace, name in unwanted]
        content: list[Node | str] = []
        before = node(stanza.data)
        for each in before.content:
            if isinstance(each, str) and content and isinstance(content[-1], str):
                content[-1] += each
            elif isinstance(each, str) or each.name not in names:
                content.append(each)
        less = stanza.without(frozenset(unwanted))
        self.assertEqual(node(less.data), before._replace(content=tuple(content)))
        again = split(less.data)
        self.assertEqual(less.children, again.children)
        self.assertEqual(less.attributes, again.attributes)


class Trees(SynchronousTestCase):
    """From bytes to domish and back."""

    def test_parseRefuses(self) -> None:
        """Bytes that are no stanza are the caller's mistake."""
        for data in (b"<message>", b"<p:message/>", b"<message/></message>"):
            self.assertRaises(domish.ParserError, parse, data)

    def test_serialize(self) -> None:
        """As a client writes it: no declaration that the stream has."""
        element = domish.Element((ns.CLIENT, "iq"))
        element["type"] = "get"
        element.addElement(("urn:xmpp:ping", "ping"))
        self.assertEqual(
            serialize(element).replace(b'"', b"'"),
            b"<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
        )
        element = domish.Element((ns.STREAMS, "features"))
        element.addElement((ns.TLS, "starttls")).addElement("required")
        self.assertEqual(
            serialize(element).replace(b'"', b"'"),
            f"<stream:features><starttls xmlns='{ns.TLS}'><required/></starttls>"
            "</stream:features>".encode(),
        )

    def test_fromElement(self) -> None:
        """The same as if the splitter had read it."""
        for data in (
            "<message to='a' xml:lang='en'><body>b</body><x xmlns='urn:x'/></message>",
            "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>a</jid></bind>",
            "<message><x xmlns=''/></message>",
            "<message xmlns:p='urn:p' p:a='b'><p:c/></message>",
            "<stream:features/>",
        ):
            original = split(data)
            stanza = Stanza.fromElement(original.element)
            self.assertEqual(node(stanza.data), node(original.data))
            again = split(stanza.data)
            for name in ("name", "namespace", "attributes", "children", "fault"):
                self.assertEqual(getattr(stanza, name), getattr(again, name))

    def test_fromElementWithAttributes(self) -> None:
        """Nothing is lost on the way to other attributes."""
        original = split("<x xmlns='urn:x' xmlns:p='urn:p' xml:lang='en' p:a='b'><p:c/></x>")
        data = Stanza.fromElement(original.element).withAttributes({"to": "a"})
        self.assertEqual(node(data), node(original.withAttributes({"to": "a"})))

    @modest
    @given(stanzas(), _CHANGES)
    def test_anyTree(self, original: Stanza, changes: dict[str, str | None]) -> None:
        """A tree that is written and read again is the same."""
        stanza = Stanza.fromElement(original.element)
        self.assertEqual(node(stanza.data), node(original.data))
        self.assertEqual(
            node(stanza.withAttributes(changes)), node(original.withAttributes(changes))
        )
        self.assertEqual(stanza.children, original.children)

    def test_prefixDeclaredTwice(self) -> None:
        """Each element keeps its namespace."""
        original = split(
            "<message><a xmlns:p='urn:1'><b xmlns:p='urn:2'><c xmlns='urn:1'/></b></a></message>"
        )
        stanza = Stanza.fromElement(original.element)
        self.assertEqual(node(stanza.data), node(original.data))
