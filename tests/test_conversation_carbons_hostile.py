"""
Hostile messages, forged carbons and odd requests, generated: nobody is harmed by any of them.

A play has three windows of one account: two that never heard of carbons, and one that enabled them,
before a server that has carbons or one that has none. In it some L{Deed}s are done, each by one of
the clients, or by the server, which passes on what strangers write. Whatever they are:

- no exception gets as far as the reactor, and nothing is logged as an error;
- each client gets a stream that strict parsers take, with stanzas that are addressed to it;
- no client is shown what is in a forged carbon, and each drop is logged with a reason;
- in the end all sessions live, and show each other what is said.

XMPPROXY_EXAMPLES says how many plays there are of each kind.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.words.xish.domish import Element

from tests.conversation import DOMAIN, JULIET, ROMEO, Conversation, Peer, Window
from tests.test_conversation_mirror import ORCHARD, body, carbon, disco, enable, message
from tests.xmlstrategies import stanzas, strictStanza, tameStanzas
from xmpproxy import ns
from xmpproxy.handlers.commands import NODE

NURSE = f"nurse@{DOMAIN}/kitchen"
RESOURCES = ("balcony", "closet", "chamber")
JIDS = tuple(f"{JULIET}/{resource}" for resource in RESOURCES)
CLOSET = 1  # has enabled carbons

#: The content of every forged carbon, and of nothing else.
POISON = "Poison, I see, hath been his timeless end"

THOROUGHLY = settings(
    max_examples=int(os.environ.get("XMPPROXY_EXAMPLES", "80")),
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)


class Outcome(Enum):
    """What becomes of a stanza."""

    ANYTHING = "no client is harmed"
    DROPPED_CARBON = "no client sees it, and the log says why"
    DROPPED = "the same, because it is no XML with namespaces"
    NOT_ALLOWED = "whoever asked is told so, and the log says who it was"
    BAD_REQUEST = "the client that asked is told why, and so is the log"


class Deed(NamedTuple):
    """
    Somebody sends something.

    @ivar who: C{"client"}, or C{"server"} for what strangers write.
    @ivar window: in which of the sessions.
    """

    who: str
    window: int
    xml: str
    outcome: Outcome = Outcome.ANYTHING


# What there is to send

_ADDRESSES = (
    *JIDS,
    JULIET,
    f"{JULIET}/mobile",
    f"{JULIET}/",
    f" {JULIET}",
    "JULIET@EXAMPLE.COM/Balcony",
    f"{JULIET}.example.net",
    f"{JULIET}/{RESOURCES[0]}/x",
    ROMEO,
    ORCHARD,
    NURSE,
    DOMAIN,
    f"verona@chat.{DOMAIN}/romeo",
    "",
    " ",
    "/",
    "@",
    "@@/",
    "<&>\"'",
    "\n{resource}\t",
    "é@ü/😀",
    3000 * "x",
)
_IDS = ("", "m1", " ", "'\"<&", "é\n", "xmpproxy-copy.1", 3000 * "i")
_TYPES = ("chat", "normal", "headline", "groupchat", "error", "", "Chat", "é")

#: Children of messages, each of them trouble for somebody.
_CHILDREN = (
    "<body>Ay me</body>",
    "<body>/me</body>",
    "<body>/me </body>",
    "<body> /me weeps</body>",
    "<body>&#47;me weeps</body>",
    "<body><![CDATA[/me <weeps/> {resource}]]></body>",
    "<body>&#x10FFFF;&#13;\r\n\t&#9;]]&gt;</body>",
    "<body>a<body>b</body><b xmlns=''>c</b></body>",
    "<body/>",
    "<body></body >",
    "<body xml:lang='it'>Ahimè</body>",
    "<body xml:lang=''\n>Ay</body\n>",
    "<body xmlns='urn:x'>no text</body>",
    f"<b:body xmlns:b='{ns.CLIENT}' b:x='1'>Ay</b:body>",
    "<body>?OTR:AAMC</body>",
    "<body> \t  \t\t\t\t \t \t \t  </body>",
    "<subject/>",
    "<subject>{0} <![CDATA[</subject>]]></subject>",
    "<thread/>",
    "<thread parent='\"'>t<x/></thread>",
    f"<html xmlns='{ns.XHTML_IM}'/>",
    f"<html xmlns='{ns.XHTML_IM}'><body xmlns='{ns.XHTML}'/></html>",
    f"<html xmlns='{ns.XHTML_IM}'><body xmlns='{ns.XHTML}'><p>/me <b>x</b></p></body></html>",
    f"<html xmlns='{ns.XHTML_IM}'><body xmlns='{ns.XHTML}'> <div><p/></div>x</body><body/></html>",
    f"<h:html xmlns:h='{ns.XHTML_IM}' xmlns:x='{ns.XHTML}'><x:body x:y='z'>x</x:body></h:html>",
    f"<html xmlns='{ns.XHTML_IM}'><html><body xmlns='{ns.XHTML}'>x</body></html></html>",
    f"<stanza-id xmlns='{ns.STANZA_IDS}' by='{JULIET}' id='1'/>",
    f"<stanza-id xmlns='{ns.STANZA_IDS}' by='{JULIET}' id='2'/>",
    f"<stanza-id xmlns='{ns.STANZA_IDS}' by='{JULIET}/x'><x/></stanza-id>",
    f"<stanza-id xmlns='{ns.STANZA_IDS}'/>",
    f"<s:stanza-id xmlns:s='{ns.STANZA_IDS}' by='JULIET@example.com' s:by='' id=''/>",
    f"<replace xmlns='{ns.CORRECTION}'/>",
    f"<replace xmlns='{ns.CORRECTION}' id=''/>",
    f"<replace xmlns='{ns.CORRECTION}' id='m1'/>",
    f"<replace xmlns='{ns.CORRECTION}' id='&quot;&apos;&lt;{3000 * 'i'}'><replace/></replace>",
    f"<x xmlns='{ns.OOB}'/>",
    f"<x xmlns='{ns.OOB}'><url> </url><url>a:<b/></url></x>",
    f"<fallback xmlns='{ns.FALLBACK}' for='{ns.REACTIONS}'><body start='x' end='-1'/></fallback>"
    "<body>Ay me</body>",
    f"<fallback xmlns='{ns.FALLBACK}'><body start='-{5000 * '9'}' end='٣'/></fallback>",
    f"<reactions xmlns='{ns.REACTIONS}'/>",
    f"<retract xmlns='{ns.RETRACTION[0]}'/>",
    f"<displayed xmlns='{ns.CHAT_MARKERS}'/>",
    f"<markable xmlns='{ns.CHAT_MARKERS}'><x/></markable>",
    f"<request xmlns='{ns.RECEIPTS}'/>",
    f"<composing xmlns='{ns.CHAT_STATES}'/>",
    f"<delay xmlns='{ns.DELAY}' stamp='never'/>",
    f"<x xmlns='{ns.MUC_USER}'/>",
    f"<x xmlns='{ns.MUC_USER}'><invite/><invite/></x>",
    f"<x xmlns='{ns.CONFERENCE}'/>",
    f"<encrypted xmlns='{ns.OMEMO[0]}'/>",
    f"<result xmlns='{ns.MAM}'/>",
    f"<event xmlns='{ns.PUBSUB_EVENT}'/>",
    f"<private xmlns='{ns.CARBONS}'/>",
    f"<p:private xmlns:p='{ns.CARBONS}'><p:private/></p:private >",
    f"<no-copy xmlns='{ns.HINTS}'/>",
    f"<enable xmlns='{ns.CARBONS}'/>",
    f"<forwarded xmlns='{ns.FORWARD}'><message xmlns='{ns.CLIENT}'/></forwarded>",
    "<error type='cancel'/>",
    "<message xmlns=''><body>b</body></message>",
    "<a>" * 50 + "</a>" * 50,
    " text ",
    "<![CDATA[<body>]]>",
)
_PAYLOADS = st.lists(
    st.one_of(
        st.sampled_from(_CHILDREN), st.sampled_from(_CHILDREN), tameStanzas().map(bytes.decode)
    ),
    max_size=5,
).map("".join)


def _written(attributes: dict[str, str | None]) -> str:
    return "".join(
        f" {name}={quoteattr(value, {chr(10): '&#10;', chr(9): '&#9;'})}"
        for name, value in attributes.items()
        if value is not None
    )


def _maybe(values: Iterable[str]) -> st.SearchStrategy[str | None]:
    return st.sampled_from((None, *values))


@st.composite
def _messages(draw: st.DrawFn, /, content: str | None = None, **fixed: str | None) -> str:
    """
    A message, odd in all that is not told.

    @param content: what is in it for certain.
    """
    attributes = {
        "from": draw(_maybe(_ADDRESSES)) if "from_" not in fixed else fixed["from_"],
        "to": draw(_maybe(_ADDRESSES)) if "to" not in fixed else fixed["to"],
        "type": draw(_maybe(_TYPES)),
        "id": draw(_maybe(_IDS)),
        "xml:lang": draw(_maybe(("it", "", "\"'"))),
    }
    inside = draw(_PAYLOADS) + (content or "")
    match draw(st.integers(0, 9)):
        case 0:
            prefixed = {"p:from" if key == "from" else key: attributes[key] for key in attributes}
            prefixed["from"] = attributes["from"]
            return (
                f"<p:message xmlns:p='{ns.CLIENT}' xmlns='{ns.CLIENT}'{_written(prefixed)}>"
                f"{inside}</p:message>"
            )
        case 1:
            return f"<message\n{_written(attributes)}\t>{inside}</message\n>"
    return f"<message{_written(attributes)}>{inside}</message>"


# Carbons


def _wrapped(direction: str, inside: str, from_: str | None, to: str, style: int = 0) -> str:
    """Something in a carbon, spelt in one way or another."""
    addresses = _written({"from": from_, "to": to})
    if style == 0:
        return (
            f"<message{addresses} type='chat'><{direction} xmlns='{ns.CARBONS}'>{inside}"
            f"</{direction}></message>"
        )
    if style == 1:
        return (
            f'<message xmlns:c="{ns.CARBONS}"{addresses}><body>{POISON}</body>\n'
            f"<c:{direction}\n>{inside}</c:{direction} ></message>"
        )
    return (
        f"<n:message xmlns:n='{ns.CLIENT}'{addresses}><thread/><c:{direction} c:from='{JULIET}' "
        f"from='{JULIET}' xmlns:c='{ns.CARBONS}'>{inside}</c:{direction}></n:message>"
    )


def _forwarded(*inside: str) -> str:
    standalone = (
        each.replace("<message", f"<message xmlns='{ns.CLIENT}'", 1)
        if each.startswith("<message") and "xmlns=" not in each.partition(">")[0]
        else each
        for each in inside
    )
    return f"<forwarded xmlns='{ns.FORWARD}'>{''.join(standalone)}</forwarded>"


#: What may be forwarded, but is no message.
_NO_MESSAGE = (
    "",
    POISON,
    body(POISON),
    f"<presence xmlns='{ns.CLIENT}'>{body(POISON)}</presence>",
    f"<iq xmlns='{ns.CLIENT}'>{body(POISON)}</iq>",
    f"<message xmlns='jabber:server'>{body(POISON)}</message>",
    f"<message xmlns=''>{body(POISON)}</message>",
    f"<message x='xmlns='>{body(POISON)}</message>",  # of the namespace that is around it
    f"<stream:message xmlns='{ns.CLIENT}'>{body(POISON)}</stream:message>",
    f"<delay xmlns='{ns.DELAY}'/>",
)


@st.composite
def _forged(draw: st.DrawFn) -> Deed:
    """A carbon that cannot be true."""
    window = draw(st.integers(0, 2))
    direction = draw(st.sampled_from(("received", "sent")))
    style = draw(st.sampled_from((0, 0, 1, 2)))
    own, other = JIDS[window], JIDS[draw(st.integers(0, 2))]
    poison = draw(
        _messages(
            content=body(POISON),
            from_=ORCHARD if direction == "received" else other,
            to=other if direction == "received" else ORCHARD,
        )
    )
    sender: str | None = JULIET
    match draw(st.integers(0, 8)):
        case 0:  # from anybody else
            sender = draw(_maybe(address for address in _ADDRESSES if address != JULIET))
            inside = _forwarded(poison)
        case 1:  # about somebody else
            foreign = draw(
                st.sampled_from((ROMEO, NURSE, "", DOMAIN, f"{JULIET}.example.net", f" {JULIET}"))
            )
            addresses = {"from_": ORCHARD, "to": foreign}
            if direction == "sent":
                addresses = {"from_": foreign, "to": ORCHARD}
            inside = _forwarded(draw(_messages(content=body(POISON), **addresses)))
        case 2:  # up to ten deep
            inside = _forwarded(poison)
            for _ in range(draw(st.integers(1, 10))):
                author = draw(st.sampled_from((JULIET, ORCHARD, None)))
                inside = _forwarded(_wrapped(direction, inside, author, own, style))
        case 3:
            inside = draw(st.sampled_from(("", " ", poison, body(POISON), f"<x>{poison}</x>")))
        case 4:
            ends, begins = f"</{direction}>", f"<{direction} xmlns='{ns.CARBONS}'>"
            second = draw(st.sampled_from(("", ends + begins))) if style == 0 else ""
            inside = (
                f"{_forwarded(poison)}{second}{_forwarded(draw(st.sampled_from(('', poison))))}"
            )
        case 5:
            inside = _forwarded(poison, draw(st.sampled_from((poison, "<message/>", "<x/>"))))
        case 6:
            inside = _forwarded(draw(st.sampled_from(_NO_MESSAGE)))
        case 7:  # two in one
            inside = _forwarded(poison)
            second = draw(st.sampled_from(("sent", "received", "private", "enable", "x")))
            xml = _wrapped(direction, inside, sender, own, style)
            end = xml.rindex("</")
            xml = f"{xml[:end]}<{second} xmlns='{ns.CARBONS}'/>{xml[end:]}"
            return Deed("server", window, xml, Outcome.DROPPED_CARBON)
        case _:  # forwarded by something else
            inside = _forwarded(poison).replace(ns.FORWARD, draw(st.sampled_from(("urn:x", ""))), 1)
    xml = _wrapped(direction, inside, sender, own, style)
    return Deed("server", window, xml, Outcome.DROPPED_CARBON)


@st.composite
def _true(draw: st.DrawFn) -> Deed:
    """A carbon that the server may well have made, with something odd in it."""
    window = draw(st.integers(0, 2))
    direction = draw(st.sampled_from(("received", "sent")))
    ours = draw(st.sampled_from((*JIDS, JULIET, f"{JULIET}/mobile", "JULIET@EXAMPLE.COM/x", None)))
    theirs = draw(_maybe(_ADDRESSES))
    addresses = {"from_": theirs, "to": ours}
    if direction == "sent":
        addresses = {"from_": ours, "to": theirs}
    inside = _forwarded(draw(_messages(**addresses)))
    return Deed("server", window, _wrapped(direction, inside, JULIET, JIDS[window]))


@st.composite
def _fromClient(draw: st.DrawFn) -> Deed:
    """A client pretends to be a server. That goes to its own server, and to nobody else."""
    window = draw(st.integers(0, 2))
    inside = _forwarded(message(body(POISON), ORCHARD, JIDS[window]))
    sender = draw(_maybe(_ADDRESSES))
    to = draw(st.sampled_from(_ADDRESSES))
    direction = draw(st.sampled_from(("received", "sent")))
    return Deed("client", window, _wrapped(direction, inside, sender, to, draw(st.integers(0, 2))))


# Wishes


@st.composite
def _somebodyElsesWish(draw: st.DrawFn) -> Deed:
    """Somebody wants a client's carbons to be enabled, or disabled."""
    window = draw(st.integers(0, 2))
    attributes = {
        "type": "set",
        "id": draw(_maybe(_IDS)),
        "from": draw(_maybe(_ADDRESSES)),
        "to": draw(st.sampled_from((None, JIDS[window], JULIET))),
    }
    wish = draw(st.sampled_from(("enable", "disable", "x")))
    inside = draw(st.sampled_from(("", body("Enable me"), "<x/>")))
    more = draw(st.sampled_from(("", "<x xmlns='urn:x'/>", f"<enable xmlns='{ns.CARBONS}'/>")))
    xml = (
        f"<iq{_written(attributes)}><c:{wish} xmlns:c='{ns.CARBONS}'>{inside}</c:{wish}>{more}</iq>"
    )
    return Deed("server", window, xml, Outcome.NOT_ALLOWED)


@st.composite
def _badWish(draw: st.DrawFn) -> Deed:
    """A client wants something of that sort, but does not know how to say it."""
    attributes = {
        "id": draw(_maybe(_IDS)),
        "from": draw(_maybe(_ADDRESSES)),
        "to": draw(st.sampled_from((None, JULIET, DOMAIN))),
    }
    kind = draw(st.sampled_from(("set", "set", "set", "get")))
    wish = draw(st.sampled_from(("enable", "disable", "private", "sent")))
    good = kind == "set" and wish in ("enable", "disable")
    wrong = (body("Please do"), "<x/>", " please ", "<![CDATA[please]]>")
    inside = draw(st.sampled_from(wrong if good else ("", *wrong)))
    more = draw(st.sampled_from(("", f"<disable xmlns='{ns.CARBONS}'/>", "<x xmlns='urn:x'/>")))
    xml = (
        f"<iq type='{kind}'{_written(attributes)}><{wish} xmlns='{ns.CARBONS}'>{inside}</{wish}>"
        f"{more}</iq>"
    )
    return Deed("client", draw(st.integers(0, 2)), xml, Outcome.BAD_REQUEST)


# All the rest

_FAULTY = (
    "<message><x xmlns='urn:f' f:a='1'/>{0}</message>",
    "<f:message>{0}</f:message>",
    f"<message from='{JULIET}'><received xmlns='{ns.CARBONS}'>{{0}}<f:x/></received></message>",
    f"<message from='{JULIET}' xmlns:a='urn:a' xmlns:b='urn:a'><sent xmlns='{ns.CARBONS}' a:x='1' "
    "b:x='2'>{0}</sent></message>",
    f"<f:iq type='set'><enable xmlns='{ns.CARBONS}'/>{{0}}</f:iq>",
    "<message xmlns='jabber:server'>{0}</message>",
    f"<message xmlns='{ns.CARBONS}'>{{0}}</message>",
    "<sent>{0}</sent>",
    "<message xmlns:p=''>{0}</message>",
)
_ANSWERS = (
    "",
    f"<query xmlns='{ns.DISCO_INFO}'/>",
    f"<query xmlns='{ns.DISCO_INFO}'><feature/><x><feature var=''/></x>text</query>",
    f"<query xmlns='{ns.DISCO_INFO}'><feature var='{ns.CARBONS}'/></query>",
    f"<query xmlns='{ns.DISCO_INFO}'/><query xmlns='{ns.DISCO_INFO}' node=''/>",
    f"<q:query xmlns:q='{ns.DISCO_INFO}' q:node='x'><q:feature q:var='x'/></q:query>",
    f"<enable xmlns='{ns.CARBONS}'/>",
)
#: What a client may ask its account, in more or less reasonable ways.
_QUESTIONS = (
    *(disco(to, node) for to in ("", JULIET, DOMAIN) for node in ("", "n")),
    disco().replace("<query", "<query/><q:query xmlns:q='urn:q'/><query"),
    disco(JULIET, NODE).replace("'d'", "''"),
    *(
        f"<iq type='set' id='d' to='{JULIET}'><c:command xmlns:c='{ns.COMMANDS}' node='{NODE}' "
        f"sessionid='&lt;&apos;' action='{action}'>{form}</c:command></iq>"
        for action in ("execute", "cancel", "complete", "", "é")
        for form in (
            "text",
            f"<x xmlns='{ns.DATA_FORMS}'>text</x>",
            f"<x xmlns='{ns.DATA_FORMS}'><field var='mode'><value><x/>loud</value></field></x>",
            f"<x xmlns='{ns.DATA_FORMS}'><field var='mode'>off</field><field/></x>",
        )
    ),
)


@st.composite
def _odd(draw: st.DrawFn) -> Deed:
    """What any parser takes, but nobody expects."""
    window = draw(st.integers(0, 2))
    who = draw(st.sampled_from(("client", "server")))
    match draw(st.integers(0, 7)):
        case 0 if who == "server":
            xml = draw(stanzas()).decode()
        case 0:
            xml = draw(tameStanzas().filter(_isStanza)).decode()
        case 1 if who == "server":
            faulty = draw(st.sampled_from(_FAULTY)).format(body(POISON))
            return Deed("server", window, faulty, Outcome.DROPPED)
        case 1:
            error = draw(_messages(content="<error type='cancel'/>"))
            xml = error.replace("<message", "<message x='1'", 1)
        case 2 if who == "server":
            address = _written({"from": draw(_maybe(_ADDRESSES))})
            answer = draw(st.sampled_from(_ANSWERS))
            kind = draw(st.sampled_from(("result", "error", "get", "set", "")))
            kind = "result" if ns.CARBONS in answer and kind == "set" else kind
            xml = f"<iq type='{kind}' id='d'{address}>{answer}</iq>"
        case 2:
            xml = draw(st.sampled_from(_QUESTIONS))
        case _:
            xml = draw(_messages())
    return Deed(who, window, xml)


def _isStanza(data: bytes) -> bool:
    node = strictStanza(data)
    return node is not None and node.name in {
        f"{ns.CLIENT} {name}" for name in ("message", "presence", "iq")
    }


DEEDS = st.one_of(_forged(), _forged(), _somebodyElsesWish(), _badWish(), _odd(), _odd(), _odd())
MORE_DEEDS = st.one_of(_forged(), _true(), _true(), _fromClient(), _odd(), _odd())
PLAYS = st.lists(st.one_of(DEEDS, MORE_DEEDS), min_size=1, max_size=8)


class Play(Conversation):
    """
    A stage that is built again for every play.

    @ivar windows: the three sessions.
    @ivar shown: the bytes of what each client got since the last deed.
    @ivar heard: what each server stream got, less pings, which are answered.
    """

    def setUp(self) -> None:
        """There is nothing to do before the first play ..."""

    def tearDown(self) -> None:
        """... nor after the last."""

    def plays(self, deeds: list[Deed], carbons: bool) -> None:
        """All of it."""
        super().setUp()
        self.windows = [self.logsIn(resource, carbons=carbons) for resource in RESOURCES]
        self.routed: list[set[str | None]] = [{jid, JULIET, None} for jid in JIDS]
        closet = self.windows[CLOSET]
        closet.client.sends(enable())
        closet.client.gets(f"<iq type='result' id='c' from='{JULIET}' to='{closet.jid}'/>")
        for deed in deeds:
            try:
                self.isDone(deed)
            except AssertionError as e:
                raise AssertionError(f"{deed}: {e}") from None
        for number, window in enumerate(self.windows):
            self.lives(number, window, carbons)
        self.assertEqual(self.flushLoggedErrors(), [])
        super().tearDown()

    def isDone(self, deed: Deed) -> None:
        """Somebody sends something; everybody reacts."""
        window = self.windows[deed.window]
        if deed.who == "server" and (node := strictStanza(deed.xml.encode())) is not None:
            # A server may deliver what is addressed to somebody else, but there, not elsewhere.
            self.routed[deed.window].add(dict(node.attributes).get("to"))
        self.logAnew()
        peer: Peer = window.client if deed.who == "client" else window.server
        peer.sends(deed.xml)
        self.reacts()
        nothing: list[list[bytes]] = [[], [], []]
        match deed.outcome:
            case Outcome.DROPPED_CARBON:
                self.assertEqual(self.shown, nothing)
                self.assertReason(f"{window.jid}: dropped 1 carbon from ")
            case Outcome.DROPPED:
                self.assertEqual(self.shown, nothing)
                self.assertReason(f"{window.jid}: dropped 1 stanza <")
            case Outcome.NOT_ALLOWED:
                self.assertEqual(self.shown, nothing)
                [refusal] = self.heard[deed.window]
                self.assertError(refusal, "not-allowed")
                self.assertReason(f"{window.jid}: refused 1 request ")
            case Outcome.BAD_REQUEST:
                self.assertEqual(self.heard, nothing)
                [answer] = self.shown[deed.window]
                self.assertIn(b"<bad-request", answer)
                self.assertReason(f"{window.jid}: refused 1 request for carbons")

    def reacts(self) -> None:
        """Everybody gets what there is, until there is no more."""
        self.shown: list[list[bytes]] = [[], [], []]
        self.heard: list[list[Element]] = [[], [], []]
        for _ in range(100):
            if not any([self.takes(number) for number in range(3)]):
                break
        else:
            raise AssertionError("they talk without end")

    def takes(self, number: int) -> bool:
        """Whether one window gets anything, on either side of the proxy."""
        window = self.windows[number]
        shown, heard = taken(window.client), taken(window.server)
        for _, raw in shown:
            self.shown[number].append(raw)
            self.isFit(number, raw)
        for element, _ in heard:
            if element.name == "iq" and [each.uri for each in element.elements()] == [ns.PING]:
                window.server.answers(element)
            else:
                self.heard[number].append(element)
        return bool(shown or heard)

    def isFit(self, number: int, raw: bytes) -> None:
        """This client may get that."""
        node = strictStanza(raw)
        if node is None:
            raise AssertionError(f"{RESOURCES[number]} got {raw!r}, which is no XML")
        if dict(node.attributes).get("to") not in self.routed[number]:
            raise AssertionError(f"{RESOURCES[number]} got {raw!r}, which is somebody else's")
        if POISON.encode() in raw:
            raise AssertionError(f"{RESOURCES[number]} got {raw!r}, which is forged")

    def assertReason(self, beginning: str) -> None:
        """The log has one line with this, and with a reason behind it."""
        lines = [line.partition(beginning)[2] for line in self.log if beginning in line]
        self.assertEqual(len(lines), 1, self.log)
        self.assertRegex(lines[0], r": \S")

    def assertError(self, stanza: Element, condition: str) -> None:
        """It is an error of this kind."""
        self.assertEqual(stanza["type"], "error")
        self.assertEqual(
            [(each.uri, each.name) for each in stanza.error.elements()],
            [(ns.STANZA_ERRORS, condition)],
        )

    def lives(self, number: int, window: Window, carbons: bool) -> None:
        """A session goes on, both ways, and the others hear of it."""
        ping = f"<iq type='get' id='p{number}' to='{DOMAIN}'><x xmlns='urn:x'/></iq>"
        window.client.sends(ping)
        window.server.getsBytes(ping)
        pong = f"<iq type='result' id='p{number}' from='{DOMAIN}'/>"
        window.server.sends(pong)
        window.client.getsBytes(pong)
        came = message(body(f"Madam {number}"), NURSE, window.jid, id=f"came{number}")
        window.server.sends(came)
        window.client.getsBytes(came)
        said = message(body(f"Anon {number}"), to=NURSE, id=f"said{number}")
        window.client.sends(said)
        window.server.getsBytes(said)
        self.reacts()
        for other, each in enumerate(self.windows):
            copies = []
            if each is not window and not carbons:
                inner = said.replace("<message", f"<message from='{window.jid}'", 1)
                if other == CLOSET:
                    copies = [
                        carbon("received", came, each.jid),
                        carbon("sent", inner, each.jid),
                    ]
                else:
                    text = body(f"me@{RESOURCES[number]}: Anon {number}")
                    nurse = NURSE.partition("/")[0]
                    copies = [came.replace(window.jid, each.jid), message(text, nurse, each.jid)]
            self.assertEqual(
                sorted(map(read, self.shown[other])), sorted(read(copy.encode()) for copy in copies)
            )


def taken(peer: Peer) -> list[tuple[Element, bytes]]:
    """All that somebody got, each with its bytes. Nobody's stream ends."""
    came = list(peer._came)
    peer._came.clear()
    elements = [(element, raw) for kind, element, raw in came if element and kind == "element"]
    if len(elements) != len(came):
        raise AssertionError(f"{peer.name} got {[kind for kind, _, _ in came]}")
    return elements


def read(data: bytes) -> str:
    """What a stanza says, less the type of a carbon, and an id."""
    node = strictStanza(data)
    assert node is not None
    kept = [pair for pair in node.attributes if pair[0] in ("from", "to")]
    return repr((node.name, kept, node.content))


class Hostile(Play):
    """Whatever comes, from whomever."""

    def test_noMessageInside(self) -> None:
        """Carbons as they come from the server, but for the message."""
        deeds = [
            Deed("server", window, _wrapped(*spelt, JIDS[window], style), Outcome.DROPPED_CARBON)
            for window in (0, CLOSET)
            for spelt in (
                (direction, _forwarded(inside), JULIET)
                for direction in ("received", "sent")
                for inside in _NO_MESSAGE
            )
            for style in range(3)
        ]
        for carbons in (False, True):
            self.plays(deeds, carbons)

    @THOROUGHLY
    @given(PLAYS)
    def test_proxysCarbons(self, deeds: list[Deed]) -> None:
        """The server has no carbons."""
        self.plays(deeds, False)

    @THOROUGHLY
    @given(PLAYS)
    def test_serversCarbons(self, deeds: list[Deed]) -> None:
        """The server has them."""
        self.plays(deeds, True)
