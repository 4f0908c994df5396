"""Tests of L{xmpproxy.copies}."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock
from xml.sax.saxutils import escape

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from tests.messages import ACTIVE, ENCRYPTION, MARKABLE, RECEIPT_REQUEST, message, stanza, written
from tests.xmlstrategies import Node, strictStanza, tameStanzas
from xmpproxy import copies, ns
from xmpproxy.stanza import Stanza

ACCOUNT = "juliet@example.com"
WORK = f"{ACCOUNT}/work"
HOME = f"{ACCOUNT}/home"
ROMEO = "romeo@example.net/orchard"
URL = "https://upload.example.net/a.jpg?b=1&amp;c=2"

COMPOSING = f"<composing xmlns='{ns.CHAT_STATES}'/>"
RECEIPT = f"<received xmlns='{ns.RECEIPTS}' id='1'/>"
DISPLAYED = f"<displayed xmlns='{ns.CHAT_MARKERS}' id='1'/>"
REACTIONS = f"<reactions xmlns='{ns.REACTIONS}' id='1'><reaction>+</reaction></reactions>"
RETRACT = f"<retract xmlns='{ns.RETRACTION[1]}' id='1'/>"
FASTENED_RETRACT = (
    f"<apply-to xmlns='{ns.FASTENING}' id='1'><retract xmlns='{ns.RETRACTION[0]}'/></apply-to>"
)
REPLACE = f"<replace xmlns='{ns.CORRECTION}' id='1'/>"
REPLY = "<reply xmlns='urn:xmpp:reply:0' to='romeo@example.net' id='1'/>"
FILE = "<file-sharing xmlns='urn:xmpp:sfs:0'><file/></file-sharing>"
BARE_FALLBACK = f"<fallback xmlns='{ns.FALLBACK}'/>"
OTR_TAG = " \t  \t\t\t\t \t \t \t  "
OTR_TAGS = OTR_TAG + "  \t\t  \t " + "  \t\t  \t\t"


def fallback(meant: str, *parts: str) -> str:
    """A mark that text stands in place of something."""
    return f"<fallback xmlns='{ns.FALLBACK}' for='{meant}'>{''.join(parts)}</fallback>"


def link(url: str, more: str = "") -> str:
    """A link to a file."""
    return f"<x xmlns='{ns.OOB}'><url>{url}</url>{more}</x>"


def html(*bodies: str) -> str:
    """Formatted text; each of them what is inside of one body."""
    inside = "".join(f"<body xmlns='{ns.XHTML}'>{each}</body>" for each in bodies)
    return f"<html xmlns='{ns.XHTML_IM}'>{inside}</html>"


def typed(children: str, to: str = ROMEO, **attributes: str) -> Stanza:
    """A message as a client at home sends it."""
    return stanza(
        f"<message{written({'to': to, 'type': 'chat', **attributes})}>{children}</message>"
    )


def sent(
    original: Stanza,
    mode: str = "prefix",
    prefix: str = "me@{resource}: ",
    replaces: str | None = None,
) -> Stanza | None:
    """The copy of a message that home sent, for work."""
    copy = copies.sent(original, WORK, HOME, mode, prefix, "id-of-copy", replaces)
    return None if copy is None else stanza(copy)


def shown(inside: str, from_: str = "romeo@example.net", **attributes: str) -> Node | None:
    """A copy, as a parser sees it."""
    given = {"from": from_, "to": WORK, "type": "chat", "id": "id-of-copy", **attributes}
    return strictStanza(f"<message{written(given)}>{inside}</message>".encode())


def node(copy: Stanza | None) -> Node | None:
    """The same of what was made."""
    return None if copy is None else strictStanza(copy.data)


#: What is inside of a message, and inside of its copy.
LINES: list[tuple[str, str, str]] = [
    ("text", "<body>hi</body>", "<body>me@home: hi</body>"),
    ("white space", "<body> </body>", "<body>me@home:  </body>"),
    ("lines", "<body>a\nb\n\n c</body>", "<body>me@home: a\nb\n\n c</body>"),
    ("escaped", "<body>&lt;&amp;&#62;]]&gt;</body>", "<body>me@home: &lt;&amp;>]]&gt;</body>"),
    ("CDATA", "<body>a <![CDATA[<b>]]> c</body>", "<body>me@home: a &lt;b> c</body>"),
    ("elements in text", "<body>a<b>c</b>d</body>", "<body>me@home: acd</body>"),
    ("odd spaces", "<body\n>hi</body >", "<body>me@home: hi</body>"),
    ("namespace", "<c:body xmlns:c='jabber:client'>hi</c:body>", "<body>me@home: hi</body>"),
    (
        "foreign bodies",
        "<x xmlns='urn:x'><body>1</body></x><body xmlns='urn:x'>2</body>"
        "<y xmlns='urn:y'><![CDATA[/><body>3</body>]]></y><body>hi</body>",
        "<body>me@home: hi</body>",
    ),
    ("behind text", "<![CDATA[/><body>1</body>]]> <body>hi</body>", "<body>me@home: hi</body>"),
    (
        "behind others",
        f"{ACTIVE}<x xmlns='urn:x' a=\">\"/><nick xmlns='urn:y'>N</nick><body>hi</body>",
        "<body>me@home: hi</body>",
    ),
    ("language", "<body xml:lang='en'>hi</body>", "<body xml:lang='en'>me@home: hi</body>"),
    (
        "language only",
        "<body xml:lang='en' a='b'>hi</body>",
        "<body xml:lang='en'>me@home: hi</body>",
    ),
    (
        "languages",
        "<body>hi</body><body xml:lang='de'>/me grüßt</body><body xml:lang='fr'/>",
        "<body>me@home: hi</body><body xml:lang='de'>/me me@home: grüßt</body>",
    ),
    ("one text of two", "<body/><body>hi</body>", "<body>me@home: hi</body>"),
    # XEP-0245
    ("/me", "<body>/me waves</body>", "<body>/me me@home: waves</body>"),
    ("/me, lines", "<body>/me waves\n/me goes</body>", "<body>/me me@home: waves\n/me goes</body>"),
    ("/me with nothing", "<body>/me </body>", "<body>/me me@home: </body>"),
    ("/me written oddly", "<body>&#47;me&#x20;a</body>", "<body>/me me@home: a</body>"),
    ("/me in CDATA", "<body><![CDATA[/me <a>]]></body>", "<body>/me me@home: &lt;a></body>"),
    ("no /me", "<body>/meow</body>", "<body>me@home: /meow</body>"),
    ("no /me either", "<body> /me waves</body>", "<body>me@home:  /me waves</body>"),
    # What is kept
    (
        "subject",
        "<subject>a</subject><subject xml:lang='de'>b</subject><body>hi</body>",
        "<body>me@home: hi</body><subject>a</subject><subject xml:lang='de'>b</subject>",
    ),
    (
        "thread",
        "<thread>t&lt;1</thread><body>hi</body>",
        "<body>me@home: hi</body><thread>t&lt;1</thread>",
    ),
    (
        "thread with parent",
        "<body>hi</body><thread parent='&lt;'>t</thread>",
        "<body>me@home: hi</body><thread parent='&lt;'>t</thread>",
    ),
    (
        "thread, odd",
        "<body>hi</body><thread b='c' parent='a'><![CDATA[t]]></thread>",
        "<body>me@home: hi</body><thread parent='a'>t</thread>",
    ),
    (
        "threads, of which there must be but one",
        "<body>hi</body><thread >1</thread><thread>2</thread>",
        "<body>me@home: hi</body><thread>1</thread>",
    ),
    (
        "thread, not another's",
        "<x xmlns='urn:x'><thread>1</thread></x><body>hi</body><thread>2</thread>",
        "<body>me@home: hi</body><thread>2</thread>",
    ),
    (
        "subject and thread",
        "<thread>t</thread><body>hi</body><subject>a</subject>",
        "<body>me@home: hi</body><subject>a</subject><thread>t</thread>",
    ),
    # XEP-0066
    (
        "link",
        f"<body>{URL}</body>{link(URL, '<desc>a</desc>')}",
        f"<body>me@home: {URL}</body>{link(URL, '<desc>a</desc>')}",
    ),
    ("link alone", link(URL), f"<body>me@home: {URL}</body>{link(URL)}"),
    (
        "links alone",
        link("") + link(URL) + link("b"),
        f"<body>me@home: {URL}</body>{link('')}{link(URL)}{link('b')}",
    ),
    # XEP-0071
    (
        "HTML",
        f"<body>hi you</body>{html('hi <b>you</b>')}",
        f"<body>me@home: hi you</body>{html('me@home: hi <b>you</b>')}",
    ),
    (
        "HTML in front",
        f"{html('<p>hi</p>')}<body>hi</body>",
        f"<body>me@home: hi</body>{html('<p>me@home: hi</p>')}",
    ),
    ("HTML alone", html("hi"), html("me@home: hi")),
    (
        "HTML in languages",
        f"<body>hi</body>{html('<p>hi</p>', '<div>ho</div>')}",
        f"<body>me@home: hi</body>{html('<p>me@home: hi</p>', '<div>me@home: ho</div>')}",
    ),
    (
        "HTML, blocks in blocks",
        html("\n <blockquote cite='a'> <ul><li><b>a</b></li><li>b</li></ul></blockquote><p>c</p>"),
        html(
            "\n <blockquote cite='a'> <ul><li>me@home: <b>a</b></li><li>b</li></ul></blockquote>"
            "<p>c</p>"
        ),
    ),
    ("HTML, blocks behind text", html("a<p>b</p>"), html("me@home: a<p>b</p>")),
    (
        "HTML, blocks behind an image",
        html("<img src='cid:1' alt='x'/><p>b</p>"),
        html("me@home: <img src='cid:1' alt='x'/><p>b</p>"),
    ),
    (
        "HTML, not the block of another language",
        html("<p xmlns='urn:x'>a</p>"),
        html("me@home: <p xmlns='urn:x'>a</p>"),
    ),
    (
        "HTML, attributes",
        html("<p style=\"a: 'b'\" xml:lang='en'>a<br/><a href='b?c&amp;d'>e</a></p>"),
        html("<p style=\"a: 'b'\" xml:lang='en'>me@home: a<br/><a href='b?c&amp;d'>e</a></p>"),
    ),
    (
        "HTML, /me",
        f"<body>/me waves</body>{html('<p><span>/me <b>waves</b></span></p>')}",
        f"<body>/me me@home: waves</body>{html('<p><span>/me me@home: <b>waves</b></span></p>')}",
    ),
    ("HTML, /me below", html("<br/>/me <b>a</b>"), html("<br/>/me me@home: <b>a</b>")),
    ("HTML, no /me", html("<p>/meow</p>"), html("<p>me@home: /meow</p>")),
    (
        "HTML empty",
        f"<body>hi</body><html xmlns='{ns.XHTML_IM}'/>",
        f"<body>me@home: hi</body><html xmlns='{ns.XHTML_IM}'/>",
    ),
    # What is not
    (
        "what asks or says something to machines",
        f"<body>hi</body>{RECEIPT_REQUEST}{MARKABLE}{ACTIVE}<origin-id xmlns='{ns.STANZA_IDS}' "
        f"id='1'/><stanza-id xmlns='{ns.STANZA_IDS}' by='{ACCOUNT}' id='2'/>"
        f"<store xmlns='{ns.HINTS}'/><delay xmlns='{ns.DELAY}' stamp='2002-09-10T23:08:25Z'/>",
        "<body>me@home: hi</body>",
    ),
    ("what is not known", "<body>hi</body><x xmlns='urn:x'><y/></x>", "<body>me@home: hi</body>"),
    ("a correction of what was not shown", f"<body>hi</body>{REPLACE}", "<body>me@home: hi</body>"),
    ("a signature", "<body>hi</body><x xmlns='jabber:x:signed'>x</x>", "<body>me@home: hi</body>"),
    ("an offer of OTR", f"<body>hi{OTR_TAG}</body>", "<body>me@home: hi</body>"),
    (
        "offers of OTR",
        f"<body>a{OTR_TAGS}b\t</body>{html(f'<p>c</p>{OTR_TAGS}')}",
        f"<body>me@home: ab\t</body>{html('<p>me@home: c</p>')}",
    ),
    ("talk of OTR", "<body>What is ?OTR:</body>", "<body>me@home: What is ?OTR:</body>"),
    # Signals beside text, and text in place of what such clients do not know
    ("typing with text", f"<body>hi</body>{COMPOSING}", "<body>me@home: hi</body>"),
    ("receipt with text", f"<body>hi</body>{RECEIPT}", "<body>me@home: hi</body>"),
    ("marker with text", f"<body>hi</body>{DISPLAYED}", "<body>me@home: hi</body>"),
    (
        "reply",
        "<body>&gt; a\nhi</body>"
        + REPLY
        + fallback("urn:xmpp:reply:0", "<body start='0' end='4'/>"),
        "<body>me@home: &gt; a\nhi</body>",
    ),
    (
        "reply, all of it",
        f"<body>hi</body>{REPLY}{fallback('urn:xmpp:reply:0')}",
        "<body>me@home: hi</body>",
    ),
    (
        "file",
        f"<body>{URL}</body>{FILE}{fallback('urn:xmpp:sfs:0', '<body/>')}",
        f"<body>me@home: {URL}</body>",
    ),
    (
        "in place of who knows what",
        f"<body>hi</body>{BARE_FALLBACK}{ACTIVE}",
        "<body>me@home: hi</body>",
    ),
    (
        "half of it in place of a marker",
        f"<body>Read. Ok</body>{DISPLAYED}"
        + fallback(ns.CHAT_MARKERS, "<body start='0' end='5'/>"),
        "<body>me@home: Read. Ok</body>",
    ),
    (
        "the other half",
        f"<body>Ok. Read</body>{DISPLAYED}" + fallback(ns.CHAT_MARKERS, "<body start='3'/>"),
        "<body>me@home: Ok. Read</body>",
    ),
    (
        "only the subject",
        f"<body>hi</body>{DISPLAYED}{fallback(ns.CHAT_MARKERS, '<subject/>')}",
        "<body>me@home: hi</body>",
    ),
]

#: What is inside of messages that get no copy.
NO_LINES: list[tuple[str, str]] = [
    ("nothing", ""),
    ("empty", "<body/>"),
    ("empty too", "<body></body><body xml:lang='de'/>"),
    ("empty HTML", f"<body/>{html('<p><br/></p>')}"),
    ("empty link", link("") + link(" ")),
    ("link without one", f"<x xmlns='{ns.OOB}'/>"),
    ("only an offer of OTR", f"<body>{OTR_TAG}</body>"),
    ("somebody else's body", "<x xmlns='urn:x'><body>hi</body></x>"),
    ("subject", "<subject>a</subject><thread>t</thread>"),
    ("typing", COMPOSING),
    ("receipt", RECEIPT),
    ("marker", DISPLAYED),
    ("correction of nothing", REPLACE),
    ("unknown", "<x xmlns='urn:x'>hi</x>"),
    ("reaction", REACTIONS),
    ("reaction with text", f"<body>+</body>{REACTIONS}"),
    ("reaction in place", f"<body>&gt; a\n+</body>{REACTIONS}{fallback(ns.REACTIONS)}"),
    ("reaction, HTML", f"{html('+')}{REACTIONS}"),
    ("retraction", RETRACT),
    ("retraction in place", f"<body>Gone</body>{RETRACT}{fallback(ns.RETRACTION[1], '<body/>')}"),
    ("retraction with text", f"<body>Gone</body>{RETRACT}"),
    ("retraction, old", f"<body>Gone</body>{FASTENED_RETRACT}{BARE_FALLBACK}"),
    ("receipt in place", f"<body>Got it</body>{RECEIPT}{fallback(ns.RECEIPTS)}"),
    ("receipt in place, unsaid", f"<body>Got it</body>{RECEIPT}{BARE_FALLBACK}"),
    ("marker in place", f"<body>Read</body>{DISPLAYED}{fallback(ns.CHAT_MARKERS, '<body/>')}"),
    (
        "marker in place, in numbers",
        f"<body>Read \n</body>{DISPLAYED}"
        + fallback(ns.CHAT_MARKERS, "<subject/>", "<body start='0' end='4'/>"),
    ),
    (
        "marker in place, not in numbers",
        f"<body>Read</body>{DISPLAYED}"
        + fallback(ns.CHAT_MARKERS, f"<body start='x' end='{'9' * 5000}'/>"),
    ),
    ("typing in place", f"<body>...</body>{COMPOSING}{fallback(ns.CHAT_STATES)}"),
    ("typing in place, unsaid", f"<body>...</body>{COMPOSING}{BARE_FALLBACK}"),
    (
        "reply by a mark",
        f"<body>&gt; a\nRead</body>{REPLY}{DISPLAYED}"
        + fallback("urn:xmpp:reply:0", "<body start='0' end='4'/>")
        + fallback(ns.CHAT_MARKERS),
    ),
]

_OMEMO = [f"<encrypted xmlns='{namespace}'/>" for namespace in ns.OMEMO]
#: What is inside of messages for one client only.
SECRETS: list[str] = [
    *(f"<body>Your client cannot read this</body>{each}" for each in _OMEMO),
    *_OMEMO,
    f"<body>Encrypted</body><openpgp xmlns='{ns.OPENPGP}'>x</openpgp>",
    f"<body>Encrypted</body><x xmlns='{ns.OPENPGP_LEGACY}'>x</x>",
    f"<body>Encrypted</body>{ENCRYPTION}",
    f"<body>Encrypted</body><encryption xmlns='{ns.ENCRYPTION}' namespace='urn:xmpp:otr:0'/>",
    "<body>?OTR:AAMC</body>",
    "<body>?OTR,1,3,AAMC</body>",
    "<body>?OTR|5a73a599|27e31597,00001,00002,AAMC</body>",
    "<body> \n?OTRv23?\nI want to talk in private</body>",
    "<body>?OTR Error: what?</body>",
    "<body><![CDATA[?OTR:AAMC]]></body>",
    "<body xml:lang='en'>hi</body><body xml:lang='de'>?OTR:AAMC</body>",
    html("?OTR:AAMC"),
    f"<body/>{html('<p> <b>?OTR:AAMC</b></p>')}",
    f"<body>hi</body>{html('?OTR:AAMC')}",
]


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

    def test_lines(self) -> None:
        """What a person reads of a message, prefixed, and no more."""
        for name, children, expected in LINES:
            original = typed(children)
            self.assertTrue(copies.isLine(original), name)
            self.assertEqual(node(sent(original)), shown(expected), name)

    def test_noLines(self) -> None:
        """What clients say by themselves, and what is said of other lines."""
        for name, children in NO_LINES:
            original = typed(children)
            self.assertFalse(copies.isLine(original), name)
            self.assertIsNone(sent(original), name)

    def test_secrets(self) -> None:
        """What is for other eyes only."""
        for children in SECRETS:
            original = typed(children)
            self.assertFalse(copies.isLine(original), children)
            self.assertIsNone(sent(original), children)

    def test_prefix(self) -> None:
        """In the window of the person it was sent to, with who wrote it, whatever type it had."""
        original = typed("<body>hi</body>", id="1", type="normal")
        self.assertEqual(node(sent(original)), shown("<body>me@home: hi</body>"))

    def test_anotherPrefix(self) -> None:
        """As the configuration has it, whose braces are not the sender's."""
        copy = sent(typed("<body>{resource}</body>"), prefix="<{resource}{{&}}>\n{resource} ")
        self.assertEqual(node(copy), shown("<body>&lt;home{&amp;}>\nhome {resource}</body>"))

    def test_self(self) -> None:
        """As a message from the sending session, its text unchanged."""
        for children in (
            "<body>hi</body>",
            "<body>/me waves</body>",
            f"<body>hi</body>{html('<p>/me <b>hi</b></p>')}",
            f"<body>{URL}</body><subject>a</subject>{link(URL)}",
        ):
            copy = sent(typed(children), "self")
            self.assertEqual(node(copy), shown(children, HOME), children)

    def test_room(self) -> None:
        """A private message in a room belongs to the window of the occupant."""
        children = f"<body>hi</body><x xmlns='{ns.MUC_USER}'/>"
        copy = sent(typed(children, to="room@muc/nurse"))
        self.assertEqual(node(copy), shown("<body>me@home: hi</body>", "room@muc/nurse"))

    def test_namespace(self) -> None:
        """Only what is in the namespace of messages is part of one."""
        original = stanza(
            f"<c:message xmlns:c='jabber:client' xmlns='urn:x' to='{ROMEO}'>"
            "<body>1</body><c:body>hi</c:body></c:message>"
        )
        self.assertEqual(node(sent(original)), shown("<body>me@home: hi</body>"))

    def test_language(self) -> None:
        """The language of the whole is that of all texts which say nothing of it."""
        for children in ("<body>hi</body>", "<body>hi</body><body xml:lang='de'>ho</body>"):
            copy = sent(typed(children, **{"xml:lang": "en"}))
            expected = children.replace("h", "me@home: h")
            self.assertEqual(node(copy), shown(expected, **{"xml:lang": "en"}), children)

    def test_correction(self) -> None:
        """It corrects the line that this client was shown (XEP-0308)."""
        replace = f"<replace xmlns='{ns.CORRECTION}' id='&lt;&quot;&apos;'/>"
        for children in (f"<body>hi</body>{REPLACE}", f"{REPLACE}<body>hi</body><subject/>"):
            copy = sent(typed(children), replaces="<\"'")
            subject = "<subject/>" if "subject" in children else ""
            self.assertEqual(node(copy), shown(f"<body>me@home: hi</body>{subject}{replace}"))

    def test_none(self) -> None:
        """Nothing to show: switched off, or sent to nobody."""
        self.assertIsNone(sent(typed("<body>hi</body>"), "off"))
        self.assertIsNone(sent(message("hi")))
        self.assertIsNone(sent(message("hi", html("hi"))))

    def test_original(self) -> None:
        """Whoever looks at the message itself later sees what was sent."""
        original = typed(f"<body>hi</body>{html('<p>hi</p>')}")
        sent(original)
        self.assertEqual(original.element.toXml().count("me@home"), 0)


#: Any text that XML can have.
TEXTS = st.text(
    st.characters(
        codec="utf-8",
        exclude_categories=("Cc", "Cs"),
        include_characters="\t\n\r",
        exclude_characters="\ufffe\uffff",
    )
)
TRICKY = st.lists(
    st.sampled_from(["/me ", "&", "<", ">", "]]>", "'", '"', "{", "}", "\r\n", "a", " "])
).map("".join)


def plainly(text: str) -> str:
    """A body, as clients write it."""
    return f"<body>{escape(text, {chr(13): '&#13;'})}</body>"


def oddly(text: str) -> str:
    """The same, as no client does."""
    quoted = text.replace("]]>", "]]]]><![CDATA[>").replace("\r", "]]>&#13;<![CDATA[")
    return f"<body xml:lang = 'en'><![CDATA[{quoted}]]></body >"


def withSubject(text: str) -> str:
    """The same, with something beside it that is kept."""
    return f"<subject>a</subject>{plainly(text)}"


class AnyText(SynchronousTestCase):
    """Whatever is written and however a client calls itself: it is text, and stays text."""

    @given(
        st.one_of(TEXTS, TRICKY),
        st.one_of(TEXTS, TRICKY),
        st.one_of(TEXTS, TRICKY),
        st.sampled_from((plainly, oddly, withSubject)),
    )
    def test_text(self, text: str, resource: str, before: str, write: Callable[[str], str]) -> None:
        """Exactly the prefix and the text."""
        prefix = before.replace("{", "{{").replace("}", "}}") + "{resource}> "
        sender = f"{ACCOUNT}/{resource}"
        copy = copies.sent(typed(write(text)), WORK, sender, "prefix", prefix, "i")
        if not text:
            self.assertIsNone(copy)
            return
        assert copy is not None
        found = strictStanza(copy)
        assert found is not None
        body = found.content[0]
        assert isinstance(body, Node)
        said = f"{before}{resource}> "
        if text.startswith("/me "):
            said, text = f"/me {said}", text[4:]
        self.assertEqual((body.name, body.content), (f"{ns.CLIENT} body", (said + text,)))

    @given(st.one_of(TEXTS, TRICKY))
    def test_self(self, resource: str) -> None:
        """However a client calls itself, that is who it comes from."""
        sender = f"{ACCOUNT}/{resource}"
        copy = copies.sent(typed("<body>hi</body>"), WORK, sender, "self", "", "i")
        assert copy is not None
        self.assertEqual(stanza(copy).attributes["from"], sender)


_PREFIX = "\N{BLACK STAR}"


@st.composite
def formatted(draw: st.DrawFn, depth: int = 0) -> str:
    """What is inside of a body in HTML, or of an element in it."""
    inside = ""
    for _ in range(draw(st.integers(0, 3 - depth))):
        if draw(st.booleans()):
            texts = ("a", " ", "/me ", "/me b", "&lt;", "<![CDATA[<]]>", "\n")
            inside += draw(st.sampled_from(texts))
        else:
            tag = draw(
                st.sampled_from(("p", "div", "ul", "li", "b", "br", "h1", "x xmlns='urn:x'"))
            )
            inside += f"<{tag} a='b'>{draw(formatted(depth + 1))}</{tag.partition(' ')[0]}>"
    return inside


def _texts(node: Node) -> str:
    return "".join(each if isinstance(each, str) else _texts(each) for each in node.content)


def _withoutPrefix(node: Node) -> Node:
    content = (
        each.replace(_PREFIX, "") if isinstance(each, str) else _withoutPrefix(each)
        for each in node.content
    )
    return node._replace(content=tuple(each for each in content if each != ""))


class AnyHtml(SynchronousTestCase):
    """Formatted text keeps its form."""

    @given(formatted())
    def test_html(self, inside: str) -> None:
        """There is nothing new in it but the prefix: once, in front of all that can be seen."""
        original = typed(f"<body>hi</body>{html(inside)}")
        copy = node(sent(original, prefix=_PREFIX))
        assert copy is not None
        before, after = (strictStanza(original.data), copy)
        assert before is not None
        (old,) = [each for each in before.content if isinstance(each, Node) and "html" in each.name]
        (new,) = [each for each in after.content if isinstance(each, Node) and "html" in each.name]
        self.assertEqual(_withoutPrefix(new), old)
        front, prefix, rest = _texts(new).partition(_PREFIX)
        self.assertEqual(prefix, _PREFIX)
        self.assertNotIn(_PREFIX, rest)
        self.assertIn(front.lstrip(), ("", "/me "))


_CHILDREN = st.one_of(
    st.sampled_from([b"<c:body>hi</c:body>", b"<c:thread>1</c:thread>"]),
    st.sampled_from([b"<body xmlns='jabber:client'>hi</body>", b"<body>hi</body>"]),
    st.sampled_from(
        [children for _, children, _ in LINES] + [children for _, children in NO_LINES] + SECRETS
    ).map(str.encode),
    tameStanzas(),
)


class TwoWays(SynchronousTestCase):
    """Simple messages are copied without a look at the tree, all others with one."""

    @given(
        st.lists(_CHILDREN, max_size=3).map(b"".join),
        st.sampled_from((b"message", b"c:message xmlns='urn:x'")),
    )
    def test_same(self, children: bytes, start: bytes) -> None:
        """There is no difference to be seen, and what is a line gets a copy."""
        declared = b" xmlns:c='jabber:client' to='a@b/c' x='>/>'>"
        end = b"</" + start.partition(b" ")[0] + b">"
        original = stanza(b"<" + start + declared + children + end)
        copy = sent(original, replaces="1")
        self.assertEqual(copies.isLine(original), copy is not None)
        with mock.patch.object(copies, "_simple", return_value=None):  # as if it were not simple
            self.assertEqual(node(sent(original, replaces="1")), node(copy))
            self.assertEqual(copies.isLine(original), copy is not None)

    def test_simple(self) -> None:
        """What nearly all messages look like is copied without one."""
        wrong = AssertionError("parsed")
        with (
            mock.patch("xmpproxy.stanza.parse", side_effect=wrong),
            mock.patch.object(copies, "parse", side_effect=wrong),
        ):
            for children in (
                "<body>/me likes a &gt; b &amp; c</body>",
                f"<body>hi</body>{ACTIVE}{RECEIPT_REQUEST}{MARKABLE}",
                f"{ACTIVE}<thread>1</thread><body xml:lang='en'>hi</body>",
                "<body>hi</body><x xmlns='urn:x'><y>1</y></x><nick xmlns='urn:y'>N</nick>",
            ):
                self.assertIsNotNone(sent(typed(children, **{"xml:lang": "en"})), children)
            self.assertIsNone(sent(typed(COMPOSING)))


class Corrects(SynchronousTestCase):
    """Which line a message corrects."""

    def test_id(self) -> None:
        """What its replacement says, however that is written."""
        self.assertEqual(copies.corrects(message("hi", REPLACE)), "1")
        odd = f"<c:replace xmlns:c='{ns.CORRECTION}' a=\"id='2'\" id='&#x33;'>4</c:replace>"
        self.assertEqual(copies.corrects(message("hi", odd, REPLACE)), "3")

    def test_none(self) -> None:
        """None: it is no correction, or does not say of what."""
        self.assertIsNone(copies.corrects(message("hi")))
        self.assertIsNone(copies.corrects(message("hi", f"<x xmlns='urn:x'>{REPLACE}</x>")))
        self.assertIsNone(copies.corrects(message("hi", f"<replace xmlns='{ns.CORRECTION}'/>")))


class Encrypted(SynchronousTestCase):
    """What is no text for other clients."""

    def test_secrets(self) -> None:
        """OTR, OMEMO, OpenPGP old and new, and whatever says so (XEP-0380)."""
        for children in SECRETS:
            self.assertTrue(copies.encrypted(typed(children)), children)

    def test_lines(self) -> None:
        """Nothing else: not what offers, mentions or only signs."""
        for name, children, _ in LINES:
            self.assertFalse(copies.encrypted(typed(children)), name)


def archived(by: str, id: str = "1") -> str:
    """An id in somebody's archive."""
    return f"<stanza-id xmlns='{ns.STANZA_IDS}' by='{by}' id='{id}'/>"


ROOM = archived("room@muc.example.com", "room")
OWN = archived(ACCOUNT, "own")
FORGED = archived(ACCOUNT, "forged")
SHOUTED = archived("Juliet@EXAMPLE.com", "shouted")
FULL = archived(HOME, "full")
NOBODY = f"<stanza-id xmlns='{ns.STANZA_IDS}' id='1'/>"
INSIDE = f"<x xmlns='urn:x'>{FORGED}</x>"

#: Children of a message, and which of them stay if the server stamps messages and if it does not.
IDS: list[tuple[list[str], list[str], list[str]]] = [
    ([], [], []),
    ([INSIDE], [INSIDE], [INSIDE]),
    ([ROOM], [ROOM], [ROOM]),
    ([NOBODY, ROOM], [NOBODY, ROOM], [NOBODY, ROOM]),
    ([OWN], [OWN], []),
    ([ROOM, OWN], [ROOM, OWN], [ROOM]),
    ([OWN, ROOM], [OWN, ROOM], [ROOM]),
    ([FORGED, OWN], [OWN], []),
    ([FORGED, INSIDE, OWN, ROOM], [INSIDE, OWN, ROOM], [INSIDE, ROOM]),
    ([FORGED, ROOM, FORGED, OWN], [ROOM, OWN], [ROOM]),
    ([FORGED, FORGED], [FORGED], []),
    ([SHOUTED, OWN], [OWN], []),
    ([FULL, OWN], [OWN], []),
    ([SHOUTED], [SHOUTED], []),
]


class WithoutForged(SynchronousTestCase):
    """Ids of the account's archive that the server did not write (XEP-0359)."""

    def test_many(self) -> None:
        """As many as fit into a stanza: each costs the same."""
        forged = f"<stanza-id xmlns='{ns.STANZA_IDS}' by='{ACCOUNT}' id='x'/>"

        def compared(count: int) -> int:
            equal = 0

            def alike(one: object, other: object) -> bool:
                nonlocal equal
                equal += 1
                return one is other

            with (
                mock.patch.object(domish.Element, "__eq__", alike),
                mock.patch.object(domish.Element, "__hash__", object.__hash__),
            ):
                original = message("a", forged * count)
                self.assertIsNot(copies.withoutForged(original, ACCOUNT, False), original)
            return equal

        self.assertLess(compared(1000), 10_000)

    def test_table(self) -> None:
        """Only the last is the server's, if it writes any. The others are as they were."""
        for children, stamped, not_ in IDS:
            for server, staying in ((True, stamped), (False, not_)):
                original = message("a > b", *children, from_=ROMEO, to=HOME, id="1")
                cleaned = copies.withoutForged(original, ACCOUNT, server)
                expected = message("a > b", *staying, from_=ROMEO, to=HOME, id="1")
                self.assertEqual(strictStanza(cleaned.data), strictStanza(expected.data), children)
                self.assertEqual(cleaned.children, expected.children)
                self.assertEqual(dict(cleaned.attributes), dict(expected.attributes))
                self.assertEqual(cleaned is original, staying == children, children)
                self.assertEqual(len(list(original.element.elements())), 1 + len(children))

    @given(st.lists(st.sampled_from((ROOM, OWN, FORGED, INSIDE, ACTIVE, " ")), max_size=6))
    def test_any(self, children: list[str]) -> None:
        """Whatever is around them."""
        original = message("hi", *children)
        none = copies.withoutForged(original, ACCOUNT, False)
        own = [each for each in children if each in (OWN, FORGED)]
        rest = [each for each in children if each not in (OWN, FORGED)]
        self.assertEqual(strictStanza(none.data), strictStanza(message("hi", *rest).data))
        one = copies.withoutForged(original, ACCOUNT, True)
        for last in own[-1:]:
            rest = [each for each in children if each not in own]
            place = len(children) - 1 - children[::-1].index(last)
            rest.insert(sum(each not in own for each in children[:place]), last)
        self.assertEqual(strictStanza(one.data), strictStanza(message("hi", *rest).data))

    def test_nothingToDo(self) -> None:
        """A message with no such id, or the one that a server writes, is not even looked at."""
        with mock.patch("xmpproxy.stanza.parse", side_effect=AssertionError):
            for children, stamped in (([], True), ([], False), ([OWN], True), ([ROOM], True)):
                original = message("hi", *children)
                self.assertIs(copies.withoutForged(original, ACCOUNT, stamped), original)
