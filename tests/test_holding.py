"""What an inactive client is told, and when (XEP-0352)."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.messages import message, stanza, written
from xmpproxy import carbons, ns
from xmpproxy.carbons import Direction
from xmpproxy.holding import MOST_HELD, Holding, Topic, topic

modest = settings(max_examples=200, deadline=None)

ACCOUNT = "juliet@example.com"
HOME = f"{ACCOUNT}/home"
WORK = f"{ACCOUNT}/work"
ROMEO = "romeo@example.net/orchard"
ROOM = "verona@chat.example.net"
THIRDWITCH = f"{ROOM}/thirdwitch"

COMPOSING = f"<composing xmlns='{ns.CHAT_STATES}'/>"
ITEM = "<item affiliation='none' role='participant'/>"


def presence(inside: str = "", from_: str | None = ROMEO, type: str | None = None) -> str:
    """Somebody's presence."""
    return f"<presence{written({'from': from_, 'to': HOME, 'type': type})}>{inside}</presence>"


def chatState(
    state: str = "composing", beside: str = "", from_: str = ROMEO, type: str | None = "chat"
) -> str:
    """A message that says nothing else."""
    attributes = written({"from": from_, "to": HOME, "type": type})
    return f"<message{attributes}><{state} xmlns='{ns.CHAT_STATES}'/>{beside}</message>"


def carbon(
    inner: str, direction: Direction = Direction.RECEIVED, from_: str = ACCOUNT, beside: str = ""
) -> str:
    """The same in a carbon."""
    wrapped = carbons.wrap(stanza(inner), direction, from_, HOME, None).decode()
    return wrapped.removesuffix("</message>") + beside + "</message>"


def room(inside: str, type: str | None = None) -> str:
    """Presence of somebody in a chat room."""
    return presence(f"<x xmlns='{ns.MUC_USER}'>{inside}</x>", THIRDWITCH, type)


def about(xml: str) -> Topic | None:
    """What a stanza for this client is about."""
    return topic(stanza(xml), HOME)


CAN_WAIT = (
    presence(),
    presence("<show>away</show><status>At the feast</status><priority>-1</priority>"),
    presence("<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>"),
    presence(type="unavailable"),
    presence(from_="romeo@example.net", type="unavailable"),
    presence(from_=WORK),
    presence(from_="icq.example.com"),
    room(ITEM),
    room(ITEM, "unavailable"),
    presence(f"<x xmlns='{ns.MUC_USER}'/>", THIRDWITCH),
    *map(chatState, ("active", "composing", "paused", "inactive", "gone")),
    chatState(type=None),
    chatState(type="normal"),
    chatState(type="groupchat", from_=THIRDWITCH),
    chatState(beside="<thread>t</thread>"),
    chatState(beside=f"<no-store xmlns='{ns.HINTS}'/><no-permanent-store xmlns='{ns.HINTS}'/>"),
    chatState(beside=f"<delay xmlns='{ns.DELAY}' stamp='2026-01-01T00:00:00Z'/>"),
    chatState(beside=f"<origin-id xmlns='{ns.STANZA_IDS}' id='o'/>"),
    chatState(beside=f"<occupant-id xmlns='{ns.OCCUPANT_ID}' id='o'/>"),
    carbon(chatState()),
    carbon(chatState(), beside=f"<no-copy xmlns='{ns.HINTS}'/>"),
    carbon(chatState(from_=WORK), Direction.SENT),
)

IMPORTANT = (
    # Other presence
    presence(from_=None),
    presence(from_=HOME),
    *(
        presence(type=each)
        for each in ("subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error")
    ),
    presence(type="available"),  # there is no such type
    presence(f"<muji xmlns='{ns.MUJI}'/>", THIRDWITCH),
    room(ITEM + "<status code='110'/>"),
    room(ITEM + "<status code='307'/>", "unavailable"),
    room("<item affiliation='none'/><destroy jid='other@chat.example.net'/>", "unavailable"),
    room("<unknown/>"),
    # Messages with something to read, or to hear
    chatState(beside="<body>Wherefore</body>"),
    chatState(beside="<subject/>"),
    chatState(beside=f"<request xmlns='{ns.RECEIPTS}'/>"),
    chatState(beside=f"<x xmlns='{ns.MUC_USER}'><invite/></x>"),
    chatState(beside=f"<encrypted xmlns='{ns.OMEMO[0]}'/>"),
    chatState(beside="<unknown xmlns='urn:x'/>"),
    chatState(beside="<composing/>"),
    chatState(beside="<p:body xmlns:p='jabber:client'>Wherefore</p:body>"),
    chatState(type="error"),
    chatState(type="headline"),
    *(
        f"<message from='{ROMEO}' type='chat'>{inside}</message>"
        for inside in (
            "",
            "<thread>t</thread>",
            "<body>Wherefore</body>",
            f"<received xmlns='{ns.RECEIPTS}' id='1'/>",
            f"<displayed xmlns='{ns.CHAT_MARKERS}' id='1'/>",
            f"<propose xmlns='{ns.JINGLE_MESSAGE}' id='1'/>",
            f"<encrypted xmlns='{ns.OMEMO[1]}'/>",
            f"<event xmlns='{ns.PUBSUB_EVENT}'/>",
            f"<no-store xmlns='{ns.HINTS}'/>",
            "<composing/>",
        )
    ),
    # Carbons of such, and what only looks like a carbon
    carbon(chatState(beside="<body>Wherefore</body>")),
    carbon(chatState(beside="<body>Wherefore</body>", from_=WORK), Direction.SENT),
    carbon(chatState(), beside="<body>Wherefore</body>"),
    carbon(chatState(), beside=COMPOSING),
    carbon(chatState(), from_=ROMEO),
    carbon(chatState(type="error")),
    carbon(carbon(chatState())),
    chatState(beside=f"<received xmlns='{ns.CARBONS}'/>"),
    # All else
    f"<iq type='get' id='1' from='{ROMEO}'>{COMPOSING}</iq>",
    "<iq type='result' id='1'/>",
    f"<presence xmlns='urn:x' from='{ROMEO}'/>",
    f"<message xmlns='urn:x' from='{ROMEO}'>{COMPOSING}</message>",
    "<r xmlns='urn:xmpp:sm:3'/>",
)


class Topics(SynchronousTestCase):
    """What can wait, and what the next is about that takes its place."""

    def test_canWait(self) -> None:
        """Presence of others, and chat states alone."""
        for each in CAN_WAIT:
            self.assertIsNotNone(about(each), each)

    def test_important(self) -> None:
        """All else."""
        for each in IMPORTANT:
            self.assertIsNone(about(each), each)

    def test_same(self) -> None:
        """The later one says all that the earlier one said."""
        for one, other in (
            (presence("<show>away</show>"), presence(type="unavailable")),
            (room(ITEM), room(ITEM, "unavailable")),
            (chatState("composing"), chatState("gone")),
            (chatState(type=None), chatState("paused", "<thread>t</thread>")),
            (chatState(), carbon(chatState("paused"))),
            (
                carbon(chatState(from_=WORK), Direction.SENT),
                carbon(chatState("paused", from_=WORK), Direction.SENT),
            ),
        ):
            self.assertEqual(about(one), about(other), (one, other))

    def test_different(self) -> None:
        """No two of these are about the same."""
        topics = [
            about(each)
            for each in (
                presence(),
                presence(from_="romeo@example.net"),
                presence(from_=THIRDWITCH),
                presence(from_=f"{ROOM}/Thirdwitch"),
                chatState(),
                chatState(from_="romeo@example.net/cell"),
                chatState(from_=THIRDWITCH),
                chatState(from_=THIRDWITCH, type="groupchat"),
                chatState(from_=WORK),
                carbon(chatState(from_=WORK), Direction.SENT),
                carbon(chatState(from_=WORK).replace(HOME, ROMEO), Direction.SENT),
                carbon(chatState(from_=HOME).replace(f"to='{HOME}'", f"to='{ROMEO}'")),
            )
        ]
        self.assertEqual(len(set(topics)), len(topics), topics)


class Held(SynchronousTestCase):
    """What is sent when."""

    def setUp(self) -> None:
        self.sent: list[str] = []
        self.holding = self.holds(1_000_000)

    def holds(self, mostBytes: int) -> Holding:
        """An inactive client."""
        return Holding(lambda data: self.sent.append(data.decode()), HOME, mostBytes)

    def test_each(self) -> None:
        """What is important comes behind what can wait, the others with the client's activity."""
        for each in CAN_WAIT:
            self.holding.write(each.encode())
            self.assertEqual(self.sent, [])
            self.holding.flush()
            self.assertEqual(self.sent, [each])
            self.sent.clear()
        for each in IMPORTANT:
            self.holding.write(presence().encode())
            self.holding.write(each.encode())
            self.assertEqual(self.sent, [presence(), each])
            self.sent.clear()

    def test_several(self) -> None:
        """A piece with more than one stanza goes through as it is."""
        data = presence() * 2
        self.holding.write(presence().encode())
        self.holding.write(data.encode())
        self.assertEqual(self.sent, [presence(), data])

    def test_superseded(self) -> None:
        """Of each sender the latest, in the order in which these came."""
        away = presence("<show>away</show>")
        other = presence(from_="nurse@example.com/a")
        for each in (away, other, chatState(), presence(), chatState("paused"), away):
            self.holding.write(each.encode())
        self.holding.flush()
        self.assertEqual(self.sent, [other, chatState("paused"), away])
        self.holding.flush()
        self.assertEqual(len(self.sent), 3)

    def test_mostStanzas(self) -> None:
        """Nobody's is thrown away: with too many all are sent, and it begins anew."""
        many = [presence(from_=f"a@b/{number}") for number in range(MOST_HELD + 1)]
        for each in (many[0], *many[:-1]):
            self.holding.write(each.encode())
        self.assertEqual(self.sent, [])
        self.holding.write(many[-1].encode())
        self.assertEqual(self.sent, many)
        self.holding.write(many[0].encode())
        self.assertEqual(len(self.sent), len(many))

    def test_mostBytes(self) -> None:
        """The same with too many bytes; what is superseded does not count."""
        one, other = presence(), presence(from_="nurse@example.com/a")
        self.holding = self.holds(len(one) + len(other))
        for each in (one, one, other, one, other):
            self.holding.write(each.encode())
        self.assertEqual(self.sent, [])
        longer = presence("<show>dnd</show>")
        self.holding.write(longer.encode())
        self.assertEqual(self.sent, [other, longer])

    def test_long(self) -> None:
        """What is too long by itself is not held."""
        self.holding = self.holds(10)
        self.holding.write(presence().encode())
        self.assertEqual(self.sent, [presence()])


class Said(NamedTuple):
    """A stanza, and what it is about; the number makes each differ."""

    topic: object
    xml: str


@st.composite
def _said(draw: st.DrawFn) -> Said:
    sender = draw(st.sampled_from((ROMEO, "romeo@example.net/cell", THIRDWITCH, WORK)))
    number = draw(st.integers(0, 9999))
    kind = draw(st.sampled_from(("presence", "typing", "room", "sent", "important")))
    if kind == "presence":
        type = draw(st.sampled_from((None, "unavailable")))
        return Said((kind, sender), presence(f"<status>{number}</status>", sender, type))
    typing = chatState(
        draw(st.sampled_from(("composing", "paused"))),
        f"<thread>{number}</thread>",
        sender,
        "groupchat" if kind == "room" else "chat",
    )
    if kind == "sent":
        return Said((kind, WORK), carbon(typing.replace(sender, WORK), Direction.SENT))
    if kind in ("typing", "room"):
        return Said((kind, sender), typing)
    return Said(
        None,
        draw(
            st.sampled_from(
                (
                    message(str(number), COMPOSING, from_=sender).data.decode(),
                    presence(f"<status>{number}</status>", sender, "subscribe"),
                    f"<iq type='get' id='{number}' from='{sender}'/>",
                )
            )
        ),
    )


def _waiting(said: list[Said]) -> list[str]:
    """The latest about each topic, in the order in which these were said."""
    last = {each.topic: at for at, each in enumerate(said)}
    return [each.xml for at, each in enumerate(said) if last[each.topic] == at]


class Properties(SynchronousTestCase):
    """Whatever is said."""

    @modest
    @given(st.lists(_said(), max_size=30))
    def test_nothingLost(self, said: list[Said]) -> None:
        """All that is important, at once and in order; before it the latest of all else."""
        sent: list[str] = []
        holding = Holding(lambda data: sent.append(data.decode()), HOME, 1_000_000)
        expected: list[str] = []
        waiting: list[Said] = []
        for each in said:
            holding.write(each.xml.encode())
            if each.topic is None:
                expected += [*_waiting(waiting), each.xml]
                waiting = []
            else:
                waiting.append(each)
            self.assertEqual(sent, expected)
        holding.flush()
        self.assertEqual(sent, expected + _waiting(waiting))

    @modest
    @given(st.lists(_said(), max_size=30), st.integers(0, 1500))
    def test_bounded(self, said: list[Said], most: int) -> None:
        """However little may be held: in order, and nothing lost but what a later one replaces."""
        sent: list[str] = []
        holding = Holding(lambda data: sent.append(data.decode()), HOME, most)
        waiting: list[Said] = []
        for each in said:
            before = len(sent)
            holding.write(each.xml.encode())
            waiting.append(each)
            if len(sent) > before or each.topic is None:
                important = [each.xml] if each.topic is None else []
                held = waiting[:-1] if important else waiting
                self.assertEqual(sent[before:], _waiting(held) + important)
                waiting = []
            self.assertLessEqual(sum(len(one) for one in _waiting(waiting)), most)
        before = len(sent)
        holding.flush()
        self.assertEqual(sent[before:], _waiting(waiting))
