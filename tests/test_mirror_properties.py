"""
Properties of the mirror, before a server that may do whatever servers were seen to do.

What is promised, and what is not, says L{tests.mirrorworld}. Here is what may happen there, in any
order. C{XMPPROXY_EXAMPLES} says how many conversations are played, C{XMPPROXY_SEED} which.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Protocol, TypeVar

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.messages import stanza
from tests.mirrorworld import (
    ACCOUNT,
    ERROR,
    KINDS,
    PEERS,
    Elsewhere,
    Look,
    Server,
    Session,
    Typed,
    World,
)
from xmpproxy import seat
from xmpproxy.barrier import PATIENCE
from xmpproxy.mirror import Habits

T = TypeVar("T")

RESOURCES = ("balcony", "chamber", "garden", "phone", "tomb")
#: Resources of sessions that do not go through the proxy.
ELSEWHERE = ("tablet", "watch")


class Event(Protocol):
    """Something that happens in the world."""

    def happen(self, world: World) -> None: ...


def pick(choices: Iterable[T], at: int) -> list[T]:
    """The one of that number, or none if there are none."""
    listed = list(choices)
    return [listed[at % len(listed)]] if listed else []


def address(resource: int) -> str:
    """The account's bare JID, or one of its full JIDs."""
    return ACCOUNT + ("", *(f"/{each}" for each in (*RESOURCES, *ELSEWHERE)))[resource]


@dataclass(frozen=True)
class Send:
    """A peer writes to the account, or to one of its resources, bound or not."""

    peer: int
    resource: int
    text: str
    id: str
    kind: int
    mask: int
    stored: bool = False

    def happen(self, world: World) -> None:
        text, id = world.fresh(self.text), world.fresh(self.id)
        kind = KINDS[self.kind]
        stored = self.stored and kind.bodied
        to = address(self.resource)
        world.route(PEERS[self.peer], to, text, id, kind, self.mask, stored=stored)


@dataclass(frozen=True)
class Type:
    """A client writes to a peer, or to its own account."""

    client: int
    resource: int | None
    text: str
    mask: int

    def happen(self, world: World) -> None:
        for session in pick(world.clients, self.client):
            text = world.fresh(self.text)
            if self.resource is None:
                self.toPeer(world, session, text)
                continue
            to = address(self.resource)
            data = f"<message to='{to}' type='chat'><body>{text}</body></message>"
            world.mirror.sent(session.seat, stanza(data))
            routed = partial(world.route, session.jid, to, text, "", KINDS[0], self.mask)
            session.up.append(routed)

    def toPeer(self, world: World, session: Session, text: str) -> None:
        look: Look = (f"typed{text}", "", "")
        typed = Typed(look, session.jid, world.fresh("id"), world.now)
        typed.must = {
            each
            for each in world.joined
            if each.jid != session.jid and not each.seat.served and each.shows(KINDS[0])
        }
        world.typed.append(typed)
        data = (
            f"<message from='{session.jid}' to='{PEERS[0]}' type='chat' id='{typed.id}'>"
            f"<body>{look[0]}</body></message>"
        ).encode()
        session.up.append(partial(world.handle, session, typed, data))
        typed.copied = world.mirror.sent(session.seat, stanza(data)).copy


@dataclass(frozen=True)
class Bounce:
    """A peer's server answers with an error what a session sent, and others were shown."""

    typed: int
    mask: int

    def happen(self, world: World) -> None:
        for typed in pick((each for each in world.typed if each.copied), self.typed):
            text = world.fresh("bounce")
            world.route(PEERS[0], typed.sender, text, typed.id, ERROR, self.mask)


@dataclass(frozen=True)
class Beyond:
    """A session that does not go through the proxy comes, goes, or changes its presence."""

    resource: int
    bound: bool
    available: bool

    def happen(self, world: World) -> None:
        jid = f"{ACCOUNT}/{ELSEWHERE[self.resource]}"
        for session in world.elsewhere:
            if session.jid == jid:
                session.bound, session.available = self.bound, self.available
                return
        if self.bound:
            world.elsewhere.append(Elsewhere(jid))


@dataclass(frozen=True)
class Say:
    """Such a session writes to a peer, or to its own account."""

    session: int
    resource: int | None
    text: str
    kind: int
    mask: int

    def happen(self, world: World) -> None:
        for session in pick((each for each in world.elsewhere if each.bound), self.session):
            text, kind = world.fresh(self.text), KINDS[self.kind]
            if self.resource is None:
                world.say(session, text, world.fresh("id") if text != "again" else "", kind)
            else:
                world.route(session.jid, address(self.resource), text, "", kind, self.mask)


@dataclass(frozen=True)
class Join:
    """
    A client connects, its resource is bound; it is available once it knows. The server's carbons
    are enabled before that, or too late to be counted on, or never.
    """

    resource: int
    served: str
    carbons: bool
    interested: bool

    def happen(self, world: World) -> None:
        jid = f"{ACCOUNT}/{RESOURCES[self.resource]}"
        for other in world.sessions:
            if other.jid == jid:
                world.unbind(other)  # a conflict
        served = world.server.carbons and self.served == "yes"
        session = Session(jid, world, enabled=served)
        world.sessions.append(session)
        session.down.append(partial(self.bound, session, world))

    def bound(self, session: Session, world: World) -> None:
        world.join(session)
        session.seat.carbons = self.carbons
        if world.server.carbons and self.served == "late":
            session.seat.asked = True
            session.up.append(partial(setattr, session, "enabled", True))
        Present(0, self.interested).by(session)


@dataclass(frozen=True)
class Present:
    """A client becomes available, or is so with a negative priority."""

    client: int
    interested: bool

    def happen(self, world: World) -> None:
        for session in pick(world.clients, self.client):
            self.by(session)

    def by(self, session: Session) -> None:
        session.seat.interested = self.interested
        session.up.append(partial(setattr, session, "available", True))


@dataclass(frozen=True)
class Carbons:
    """A client enables or disables carbons."""

    client: int
    enabled: bool

    def happen(self, world: World) -> None:
        for session in pick(world.clients, self.client):
            session.seat.carbons = self.enabled


@dataclass(frozen=True)
class Leave:
    """A client is gone; the server learns of it and closes its stream, too."""

    client: int

    def happen(self, world: World) -> None:
        for session in pick(world.clients, self.client):
            session.open = False
            session.up.append(partial(world.unbind, session))


@dataclass(frozen=True)
class Break:
    """The connection to the server breaks."""

    session: int

    def happen(self, world: World) -> None:
        for session in pick(world.living, self.session):
            world.lose(session)


@dataclass(frozen=True)
class Other:
    """The server sends something that is no message."""

    session: int

    def happen(self, world: World) -> None:
        for session in pick((s for s in world.sessions if s.bound), self.session):
            text = world.fresh("other")
            world.others.append((text, "", ""))
            data = f"<presence><status>{text}</status></presence>"
            session.down.append(partial(world.other, session, data.encode()))


@dataclass(frozen=True)
class Up:
    """The server handles some of what a session sent."""

    session: int
    stanzas: int

    def happen(self, world: World) -> None:
        for session in pick((s for s in world.living if s.up), self.session):
            for _ in range(min(self.stanzas, len(session.up))):
                if session.up:
                    session.up.popleft()()


@dataclass(frozen=True)
class Down:
    """The proxy reads some of what the server sent to a session."""

    session: int
    stanzas: int

    def happen(self, world: World) -> None:
        for session in pick((s for s in world.living if s.down), self.session):
            for _ in range(min(self.stanzas, len(session.down))):
                if session.down:
                    world.deliver(session)


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    seconds: float

    def happen(self, world: World) -> None:
        world.wait(self.seconds)


SMALL = st.integers(0, 4)
FEW = st.sampled_from((1, 1, 1, 2, 4))
TEXTS = st.sampled_from(("line", "line", "line", "again"))
IDS = st.sampled_from(("", "", "id", "again"))
EVERY_KIND = st.sampled_from((0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8))
MASKS = st.sampled_from((0, 0, *range(1, 8)))
SENDS = st.builds(
    Send,
    peer=st.sampled_from((0, 0, 0, 1)),
    resource=st.sampled_from((0, 0, 0, 0, 1, 2, 3, 5, 6)),
    text=TEXTS,
    id=IDS,
    kind=EVERY_KIND,
    mask=MASKS,
)
STORED = st.builds(
    Send,
    peer=st.just(0),
    resource=st.sampled_from((0, 0, 5)),
    text=TEXTS,
    id=IDS,
    kind=st.sampled_from((0, 0, 1, 3)),
    mask=MASKS,
    stored=st.just(True),
)
TYPES = st.builds(
    Type,
    client=SMALL,
    resource=st.sampled_from((None, None, 0, 1, 2)),
    text=TEXTS,
    mask=st.integers(0, 15),
)
SAYS = st.builds(
    Say,
    session=SMALL,
    resource=st.sampled_from((None, None, None, 0, 1, 2)),
    text=TEXTS,
    kind=st.sampled_from((0, 0, 0, 3)),
    mask=MASKS,
) | st.builds(Beyond, resource=st.integers(0, 1), bound=st.booleans(), available=st.booleans())
JOINS = st.builds(
    Join,
    resource=SMALL,
    served=st.sampled_from(("yes", "yes", "late", "no")),
    carbons=st.booleans(),
    interested=st.sampled_from((True, True, False)),
)
DOWNS = st.builds(Down, session=SMALL, stanzas=FEW)
UPS = st.builds(Up, session=SMALL, stanzas=FEW)
CHANGES = st.one_of(
    JOINS,
    st.builds(Present, client=SMALL, interested=st.booleans()),
    st.builds(Carbons, client=SMALL, enabled=st.booleans()),
    st.builds(Leave, client=SMALL),
    st.builds(Break, session=SMALL),
)
KINDS_OF_EVENTS: dict[str, st.SearchStrategy[Event]] = {
    "sends": SENDS,
    "stored": STORED,
    "types": TYPES,
    "bounces": st.builds(Bounce, typed=SMALL, mask=MASKS),
    "says": SAYS,
    "downs": DOWNS,
    "ups": UPS,
    "waits": st.builds(Wait, seconds=st.sampled_from((0.2, 6.0, 6.0, 20.0))),
    "others": st.builds(Other, session=SMALL),
    "changes": CHANGES,
    # Identical messages only.
    "alike": st.builds(
        Send,
        peer=st.sampled_from((0, 0, 0, 1)),
        resource=st.sampled_from((0, 0, 1, 2)),
        text=st.just("again"),
        id=st.sampled_from(("", "", "", "again")),
        kind=st.sampled_from((0, 0, 0, 1)),
        mask=st.sampled_from((*[0] * 8, *range(1, 8))),
    ),
    # What can be told apart, and is for everybody.
    "typed": st.builds(
        Type, client=SMALL, resource=st.none(), text=st.just("line"), mask=st.just(0)
    ),
    "unique": st.builds(
        Send,
        peer=st.just(0),
        resource=st.integers(0, 4),
        text=st.just("line"),
        id=st.just(""),
        kind=st.sampled_from((0, 1, 2)),
        mask=MASKS,
    ),
}


def oftenest(**weights: int) -> st.SearchStrategy[list[Event]]:
    """Lists of events, with how often each kind happens."""
    every = [KINDS_OF_EVENTS[name] for name, weight in weights.items() for _ in range(weight)]
    event = st.integers(0, len(every) - 1).flatmap(every.__getitem__)
    return st.lists(event, max_size=60) | st.lists(event, min_size=30, max_size=60)


#: How many conversations are played; more by hand than by those who wait for it.
_EXAMPLES = settings(
    max_examples=int(os.environ.get("XMPPROXY_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
_SEED = os.environ.get("XMPPROXY_SEED")


def thoroughly(test: Callable[..., None]) -> Callable[..., None]:
    """As often as was asked for, and the same conversations again if a seed was given."""
    test = _EXAMPLES(test)
    return test if _SEED is None else seed(int(_SEED))(test)


SESSIONS = st.lists(JOINS, min_size=2, max_size=4, unique_by=lambda join: join.resource)
PLAIN_SERVERS = st.builds(
    Server,
    rewrites=st.sampled_from(("never", "gone", "always")),
    flushes=st.sampled_from(("first", "all")),
)
CARBONS_SERVERS = st.builds(
    Server,
    rewrites=st.sampled_from(("never", "gone", "always")),
    carbons=st.just(True),
    flushes=st.sampled_from(("first", "carbons", "all")),
    toSender=st.booleans(),
)


class Play(SynchronousTestCase):
    """Plays conversations."""

    def play(
        self, server: Server, joins: list[Join], events: list[Event], *, keeps: bool = False
    ) -> None:
        """
        @param keeps: whether the server was seen to keep addresses before.
        """
        habits = Habits()
        habits.keeps = keeps and server.rewrites != "always"
        world = self.begin(World(server, habits), joins)
        for event in events:
            event.happen(world)
        world.settle()
        world.check()

    def begin(self, world: World, joins: list[Join]) -> World:
        for join in joins:
            join.happen(world)
        world.settle()
        return world


class Conversation(Play):
    """Whatever happens, the windows show one conversation, and in the end nothing is left."""

    @thoroughly
    @given(
        server=PLAIN_SERVERS,
        keeps=st.booleans(),
        joins=SESSIONS,
        events=oftenest(
            sends=8, downs=8, ups=3, types=2, bounces=1, stored=1, others=1, waits=1, changes=3
        ),
    )
    def test_withoutCarbons(
        self, server: Server, keeps: bool, joins: list[Join], events: list[Event]
    ) -> None:
        """All kinds of messages, sessions that come and go, servers that take their time."""
        self.play(server, joins, events, keeps=keeps)

    @thoroughly
    @given(
        server=CARBONS_SERVERS,
        keeps=st.booleans(),
        joins=SESSIONS,
        events=oftenest(
            sends=8,
            downs=9,
            ups=4,
            types=3,
            says=3,
            bounces=1,
            stored=2,
            others=1,
            waits=1,
            changes=3,
        ),
    )
    def test_withCarbons(
        self, server: Server, keeps: bool, joins: list[Join], events: list[Event]
    ) -> None:
        """The same where the server has carbons, for all sessions, for some, or at times."""
        self.play(server, joins, events, keeps=keeps)

    @thoroughly
    @given(
        rewrites=st.sampled_from(("never", "always")),
        joins=SESSIONS,
        events=oftenest(alike=6, downs=8, ups=4, waits=1),
    )
    def test_alike(self, rewrites: str, joins: list[Join], events: list[Event]) -> None:
        """Hardly anything but identical messages: only their number tells them apart."""
        self.play(Server(rewrites), joins, events)

    @thoroughly
    @given(
        server=CARBONS_SERVERS,
        joins=SESSIONS,
        events=oftenest(alike=6, says=2, downs=8, ups=4, waits=1),
    )
    def test_alikeWithCarbons(self, server: Server, joins: list[Join], events: list[Event]) -> None:
        """The same with carbons."""
        self.play(server, joins, events)


class Bounded(Play):
    """L{seat.MOST_OWED}, before a server that answers no ping."""

    MOST = 4

    def setUp(self) -> None:
        self.patch(seat, "MOST_OWED", self.MOST)

    @thoroughly
    @given(
        rewrites=st.sampled_from(("never", "gone", "always")),
        joins=SESSIONS,
        events=oftenest(unique=8, downs=8, ups=1, typed=1),
    )
    def test_mostOwed(self, rewrites: str, joins: list[Join], events: list[Event]) -> None:
        """
        However much may still come, a session is owed so much and no more. Nothing is lost, and
        all windows agree in which order the lines came first. That lines whose place was given up
        are shown again when they come after all is a known limit.
        """
        joins = [Join(join.resource, "no", join.carbons, True) for join in joins]
        world = self.begin(World(Server(rewrites, answers=False)), joins)
        for event in events:
            event.happen(world)
            for session in world.sessions:
                self.checkBounds(session)
        world.settle()
        world.clock.advance(PATIENCE)
        for session in world.sessions:
            self.assertEqual(session.seat.outbox.waiting, 0)
            for line, (least, _) in world.bounds(session).items():
                self.assertGreaterEqual(session.lines.count(line), least, line)
        for one, other in combinations(world.sessions, 2):
            shared = {*one.lines} & {*other.lines}
            self.assertEqual(
                *([line for line in dict.fromkeys(s.lines) if line in shared] for s in (one, other))
            )

    def checkBounds(self, session: Session) -> None:
        owed = session.seat._order
        self.assertLessEqual(len(owed), self.MOST)
        self.assertLessEqual(sum(map(len, session.seat._credits.values())), len(owed))
        open_ = [slot for slot in session.seat.outbox._slots if slot.data is None]
        self.assertLessEqual(len(open_), len(owed))


class Learned(Play):
    """A server that leaves C{to} as it was written, and was seen to do so."""

    @thoroughly
    @given(
        joins=SESSIONS,
        events=st.lists(st.tuples(SMALL, st.sampled_from((0, 1, 2, 3, 4)), SMALL), max_size=30),
    )
    def test_atOnce(self, joins: list[Join], events: list[tuple[int, int, int]]) -> None:
        """What is addressed to a session is in all windows before any ping is answered."""
        world = self.begin(World(Server(answers=True)), joins)
        Send(0, 0, "line", "", 0, 0).happen(world)
        world.settle()
        for session, kind, read in events:
            resource = joins[session % len(joins)].resource
            Send(0, 1 + resource, "line", "", kind, 0).happen(world)
            Down(read, 1).happen(world)
            self.checkShown(world)
        while any(session.down for session in world.sessions):
            Down(0, 1).happen(world)
            self.checkShown(world)
        world.settle()
        world.check()

    def checkShown(self, world: World) -> None:
        for message in world.messages:
            for session in message.must or ():
                self.assertIn(message.look, session.lines)
