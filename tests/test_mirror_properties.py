"""
Properties of the mirror, before a server that may do whatever servers were seen to do.

The L{World} holds one account at a server that hands each message to one, some or all of its
sessions, and keeps the order of each stream, but nothing else: streams run as slowly as the test
likes, in both directions. Between the server and the clients stand the real L{Mirror} and
L{Barrier}. At the end all streams run empty, and L{World.check} compares what the clients' windows
show with what was written.

What cannot be told from outside is not asked for: messages that are identical (sender, address,
type, id and content), of which some went to one session only and some to another only, all within
one round trip, look like forks of fewer messages. There only bounds are checked.
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from random import Random
from typing import Protocol, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.messages import ACTIVE, ENCRYPTION, RECEIPT_REQUEST, stanza, written
from xmpproxy import ns
from xmpproxy.barrier import GIVE_UP, Barrier
from xmpproxy.ids import Ids
from xmpproxy.mirror import Credit, Mirror, Seat

T = TypeVar("T")

ACCOUNT = "juliet@example.com"
RESOURCES = ("balcony", "chamber", "garden", "phone", "tomb")
PEERS = ("romeo@example.net/orchard", "nurse@example.com/kitchen")
#: What a window shows of a line, prefixes of copies and wrappings of carbons taken off.
TEXT = re.compile(rb"(?:>|: )([a-z]+\d*)</(?:body|thread|status)>")
FROM = re.compile(rb"<message [^>]*?\bfrom=[\"']([^\"']*)")
ID = re.compile(rb"<message [^>]*?\bid=[\"']([^\"']*)")

#: The text by which a window shows a line, whom it is from, and its id.
Look = tuple[str, str, str]


def look(data: bytes) -> Look:
    """How a client tells lines apart, C{("", "", "")} for stanzas that are none."""
    text = TEXT.findall(data)
    if not text:
        return ("", "", "")
    if text[0].startswith((b"typed", b"other")):
        return (text[0].decode(), "", "")  # the ids of these copies are the proxy's own
    sender = FROM.findall(data)
    ids = ID.findall(data)
    return (text[0].decode(), sender[-1].decode(), ids[-1].decode() if ids else "")


@dataclass(frozen=True)
class Kind:
    """What sort of message."""

    type: str | None
    payload: str = ""
    bodied: bool = True
    copied: bool = True
    encrypted: bool = False


KINDS = (
    Kind("chat"),
    Kind("chat", RECEIPT_REQUEST),
    Kind(None, "<x xmlns='urn:x' {0} {1}/>"),
    Kind("chat", ACTIVE, bodied=False),
    Kind("chat", ENCRYPTION, encrypted=True),
    Kind("headline", copied=False),
)


@dataclass(eq=False)
class Epoch:
    """Identical messages that were under way at the same time."""

    messages: list[Message] = field(default_factory=list)
    arrived: int = 0  # forks
    wanted: Counter[Session] = field(default_factory=Counter)  # how often it was, when they did
    common: set[Session] | None = None  # the sessions that all of them went to
    flying: int = 0  # forks
    credits: int = 0
    lost: bool = False  # a fork was

    @property
    def quiet(self) -> bool:
        """Whether nothing of it is under way any more."""
        return not self.flying and not self.credits

    @property
    def clear(self) -> bool:
        """Whether all of them can be told apart, by number at least."""
        return len(self.messages) == 1 or (bool(self.common) and not self.lost)


@dataclass(eq=False)
class Message:
    """
    A message that the server routed to the account.

    @ivar routed: the sessions it went to.
    @ivar got: those where it arrived.
    @ivar due: those that were to be shown it when the proxy first saw it.
    """

    look: Look
    sender: str
    kind: Kind
    epoch: Epoch
    routed: set[Session]
    got: set[Session] = field(default_factory=set)
    due: set[Session] | None = None


@dataclass(frozen=True)
class Fork:
    """A message on its way to one session."""

    message: Message
    data: bytes


class Session:
    """
    One client's session: its streams, both ways, and its window.

    @ivar open: whether the client is there.
    @ivar connected: whether the stream from the server is.
    @ivar bound: whether the server knows of it ...
    @ivar available: ... and of its presence.
    @ivar up: what is on the way to the server.
    @ivar down: what is on the way from it.
    @ivar window: what the client was sent, and ...
    @ivar lines: ... what that shows.
    @ivar arrived: what came from the server, in order.
    @ivar forks: the messages among that.
    @ivar own: those that were the first to show their line: they must be shown as they are.
    @ivar credits: what the barrier was given.
    @ivar overdue: messages whose barrier took so long that they were given up here.
    @ivar late: those of them that came after that, when nothing had been shown in their place ...
    @ivar swallowed: ... or a copy had.
    """

    def __init__(self, jid: str, world: World, served: bool) -> None:
        self.jid = jid
        self.open = self.connected = self.bound = True
        self.available = False
        self.up: deque[Callable[[], None]] = deque()
        self.down: deque[Callable[[], None] | Fork] = deque()
        self.window: list[bytes] = []
        self.lines: list[Look] = []
        self.arrived: list[Look] = []
        self.forks: list[bytes] = []
        self.own: list[bytes] = []
        self.credits: dict[Credit, Message] = {}
        self.overdue: set[Message] = set()
        self.late: set[Look] = set()
        self.swallowed: set[Look] = set()
        self.pinged: float | None = None
        self.seat = Seat(jid, self._write)
        self.seat.served = served
        self.seat.await_ = partial(world.await_, self)
        self.barrier: Barrier[Credit] = Barrier(
            partial(world.ping, self),
            world.clock,
            partial(world.passed, self),
            partial(world.overdue, self),
        )

    def __repr__(self) -> str:
        return self.jid

    def _write(self, data: bytes) -> None:
        if self.open:
            self.window.append(data)
            self.lines.append(look(data))

    def wants(self, message: Message) -> bool:
        """Whether it is to be shown a message that appears now."""
        seat = self.seat
        if seat.served or message.sender == self.jid or not message.kind.copied:
            return False
        return seat.carbons or (seat.interested and not message.kind.encrypted)


class World:
    """The server, the proxy and the clients of one account."""

    def __init__(self, rewrites: str) -> None:
        """
        @param rewrites: where the server writes a session's full JID into C{to}: C{"never"},
            C{"always"} (jabberd2), or C{"gone"} (ejabberd): if a resource is not there.
        """
        self.rewrites = rewrites
        self.clock = Clock()
        self.mirror = Mirror(Ids("proxy").make)
        self.sessions: list[Session] = []  # all that ever were
        self.messages: list[Message] = []  # in the order in which the server routed them
        self.typed: list[tuple[Look, set[Session]]] = []
        self.others: list[Look] = []  # what was sent and is no message
        self.epochs: dict[tuple[Look, str, Kind], Epoch] = {}
        self.arriving: Message | None = None
        self.count = 0

    # The server

    def route(self, sender: str, to: str, text: str, id: str, kind: Kind, mask: int) -> None:
        """
        Hand a message to the sessions: to the one whose full JID is C{to}, else to whatever
        available ones the bits of C{mask} say, to all if they say none.
        """
        bound = [session for session in self.sessions if session.bound]
        exact = [session for session in bound if session.jid == to]
        available = [session for session in bound if session.available]
        some = [session for at, session in enumerate(available) if mask >> at & 1]
        routed = exact or some or available
        if not routed:
            return  # stored, or refused
        gone = not exact and "/" in to
        rewritten = self.rewrites == "always" or (self.rewrites == "gone" and gone)
        line: Look = (text, sender, id)
        key = (line, "own" if rewritten or exact else to, kind)
        epoch = self.epochs.get(key)
        if epoch is None or epoch.quiet:
            epoch = self.epochs[key] = Epoch()
        message = Message(line, sender, kind, epoch, set(routed))
        epoch.messages.append(message)
        epoch.common = message.routed & (message.routed if epoch.common is None else epoch.common)
        epoch.flying += len(routed)
        self.messages.append(message)
        random = Random(f"{len(self.messages)} {mask}")
        for session in routed:
            data = fork(message, session.jid if rewritten else to, random)
            session.down.append(Fork(message, data))
        if kind.copied:
            carbon = f"<message from='{sender}' id='{id}'><body>{text}</body></message>".encode()
            for session in bound:
                if session.seat.served and session not in routed and session.jid != sender:
                    session.down.append(partial(self.other, session, carbon))

    def ping(self, session: Session, answered: Callable[[], None]) -> None:
        """The proxy asks the server, which will answer behind all that it has sent before."""
        assert session.pinged is None, "one ping at a time"
        session.pinged = self.clock.seconds()

        def pong() -> None:
            session.pinged = None
            answered()

        session.up.append(lambda: session.down.append(pong))

    def unbind(self, session: Session) -> None:
        """The server closes a session's stream."""
        if session.bound:
            session.bound = False
            session.up.clear()
            session.down.append(partial(self.lose, session))

    # The proxy

    def deliver(self, session: Session) -> None:
        """Something comes from the server."""
        item = session.down.popleft()
        if isinstance(item, Fork):
            self.arrives(session, item.message, item.data)
        else:
            item()

    def arrives(self, session: Session, message: Message, data: bytes) -> None:
        """A fork comes from the server."""
        message.epoch.flying -= 1
        message.got.add(session)
        due = {s for s in self.sessions if s.seat in self.mirror.seats and s.wants(message)}
        if message.due is None:
            message.due = due
        message.epoch.arrived += 1
        message.epoch.wanted.update(due)
        if message.look not in session.lines:
            session.own.append(data)
            if message in session.overdue:
                session.late.add(message.look)
        elif message in session.overdue:
            session.swallowed.add(message.look)
        session.arrived.append(message.look)
        session.forks.append(data)
        self.arriving = message
        self.mirror.received(session.seat, stanza(data))
        self.arriving = None

    def other(self, session: Session, data: bytes) -> None:
        """Something comes that is shown as it is: presence, or a carbon of the server's."""
        session.arrived.append(look(data))
        session.seat.outbox.put(data)

    def await_(self, session: Session, credit: Credit) -> None:
        assert self.arriving is not None
        session.credits[credit] = self.arriving
        self.arriving.epoch.credits += 1
        session.barrier.wait(credit)

    def passed(self, session: Session, credits: list[Credit]) -> None:
        for credit in credits:
            session.credits.pop(credit).epoch.credits -= 1
        self.mirror.passed(session.seat, credits)

    def overdue(self, session: Session, credits: list[Credit]) -> None:
        session.overdue.update(session.credits[credit] for credit in credits)
        self.mirror.overdue(session.seat, credits)

    def lose(self, session: Session) -> None:
        """The stream from the server is gone, and with it what was on the way."""
        session.barrier.finish()
        session.connected = session.open = session.bound = False
        for item in session.down:
            if isinstance(item, Fork):
                item.message.epoch.flying -= 1
                item.message.epoch.lost = True
        session.up.clear()
        session.down.clear()
        if session.seat in self.mirror.seats:
            self.mirror.leave(session.seat)

    # All together

    def wait(self, seconds: float) -> None:
        """Time passes, but never so much that the proxy expects no answer any more."""
        before = self.clock.seconds() + seconds - GIVE_UP
        if any(s.pinged is not None and s.pinged <= before for s in self.living):
            self.settle()
        self.clock.advance(seconds)

    def fresh(self, word: str) -> str:
        """A word that was not used before; words for what is to be identical stay as they are."""
        if word in ("", "again"):
            return word
        self.count += 1
        return f"{word}{self.count}"

    @property
    def clients(self) -> list[Session]:
        """Sessions with a client that knows its resource."""
        return [s for s in self.living if s.open and s.seat in self.mirror.seats]

    @property
    def living(self) -> list[Session]:
        """Sessions with a stream from the server."""
        return [session for session in self.sessions if session.connected]

    def settle(self) -> None:
        """Let everything that is under way arrive."""
        while busy := [s for s in self.living if s.up or s.down]:
            for session in busy:
                while session.up:
                    session.up.popleft()()
                while session.down:
                    self.deliver(session)

    def unique(self) -> set[Look]:
        """Lines that were written once only."""
        written = Counter(message.look for message in self.messages)
        written.update(line for line, _ in self.typed)
        written.update(self.others)
        return {line for line, times in written.items() if times == 1}

    def bounds(self, session: Session) -> dict[Look, tuple[int, int]]:
        """How often a session's window must and may show each line."""
        least: Counter[Look] = Counter()
        most: Counter[Look] = Counter()
        for epoch in {message.epoch for message in self.messages}:
            messages = [each for each in epoch.messages if each.due is not None]
            got = sum(session in each.got for each in messages)
            if len(epoch.messages) == 1:
                low = high = int(any({session} & (m.got | (m.due or set())) for m in messages))
            elif not epoch.wanted[session]:
                low = high = got
            elif epoch.wanted[session] == epoch.arrived and epoch.clear:
                low = high = len(messages)
            else:
                low, high = got, len(messages)
            least[epoch.messages[0].look] += low
            most[epoch.messages[0].look] += high
        for line, shownTo in self.typed:
            least[line] += session in shownTo
            most[line] += session in shownTo
        return {line: (least[line], most[line]) for line in most}

    def check(self) -> None:
        """The promises of L{xmpproxy.mirror}, once nothing is under way any more."""
        unique = self.unique()
        noLines = {*self.others, *(each.look for each in self.messages if not each.kind.copied)}
        for session in self.sessions:
            self.checkCounts(session)
            self.checkBytes(session, unique)
            self.checkOwnOrder(session, unique, noLines)
            if session.connected:
                self.checkEmpty(session)
        for one, other in combinations([s for s in self.sessions if not s.seat.served], 2):
            shared = (unique - noLines) & {*one.lines} & {*other.lines} - one.late - other.late
            first, second = (
                [line for line in window.lines if line in shared] for window in (one, other)
            )
            assert first == second, f"{one} shows {first}, {other} {second}"

    def checkCounts(self, session: Session) -> None:
        """Each line exactly once: not more often in any window, nor less in one that stayed."""
        shown = Counter(line for line in session.lines if line[0])
        arrived = Counter(session.arrived)
        bounds = self.bounds(session)
        for line in {*shown, *bounds, *arrived}:
            least, most = bounds.get(line, (0, 0))
            if session.seat.served or line not in bounds:
                least = most = arrived[line]
            assert shown[line] <= most, f"{session} shows {line} {shown[line]} times, not {most}"
            if session.open:
                assert shown[line] >= least, f"{session} shows {line} {shown[line]}, not {least}"

    def checkBytes(self, session: Session, unique: set[Look]) -> None:
        """A fork that shows its line is itself; a copy asks for no receipt."""
        for data in session.own:
            if session.open and look(data) in unique:
                assert data in session.window, f"{session} was not shown {data!r}"
        for data in session.window:
            if data not in session.forks and ns.CARBONS.encode() not in data:
                assert ns.RECEIPTS.encode() not in data, data

    def checkOwnOrder(self, session: Session, unique: set[Look], noLines: set[Look]) -> None:
        """
        What is no line overtakes nothing, and nothing that came later on the same stream is shown
        before it but for the sake of something in between. Lines are in the order in which the
        server sent them if they went to the same sessions, or to ever fewer.
        """
        place = {line: at for at, line in enumerate(session.lines) if line not in session.late}
        known = unique & {*place} - session.swallowed
        came = [line for line in session.arrived if line in known]
        for at, line in enumerate(came):
            if line in noLines:
                later = came[at + 1 :]
                assert all(place[each] < place[line] for each in came[:at]), f"{line} {session}"
                for each in later:
                    between = session.lines[place[each] + 1 : place[line]]
                    assert place[line] < place[each] or {*between} - {*later}, f"{line} {session}"
        messages = [each for each in self.messages if each.look in unique and each.look in place]
        for first, second in combinations(messages, 2):
            if first.kind.copied and second.routed <= first.routed:
                assert place[first.look] < place[second.look], f"{second} first at {session}"

    def checkEmpty(self, session: Session) -> None:
        """Nothing waits, nothing is owed."""
        seat = session.seat
        assert not seat.owed and not seat.outbox.waiting and not session.credits
        seat.outbox.put(b"<marker/>")
        assert not session.open or session.window.pop() == b"<marker/>"
        session.lines.pop()


def fork(message: Message, to: str, random: Random) -> bytes:
    """What the server makes of a message for one session."""
    text, sender, id = message.look
    kind = message.kind
    attributes = [("from", sender), ("to", to), ("type", kind.type), ("id", id or None)]
    random.shuffle(attributes)
    name = "body" if kind.bodied else "thread"
    children = [
        f"<{name}>{text}</{name}>",
        kind.payload.format(*random.sample(("a='1'", "b='2'"), 2)),
    ]
    if random.random() < 0.3:
        delay = f"<delay xmlns='{ns.DELAY}' stamp='2026-01-01T00:00:0{random.randrange(10)}Z'/>"
        children.insert(random.choice((0, 2)), delay)
    return f"<message{written(dict(attributes))}>{''.join(children)}</message>".encode()


# What may happen


class Event(Protocol):
    """Something that happens in the world."""

    def happen(self, world: World) -> None: ...


def pick(choices: Iterable[T], at: int) -> list[T]:
    """The one of that number, or none if there are none."""
    listed = list(choices)
    return [listed[at % len(listed)]] if listed else []


@dataclass(frozen=True)
class Send:
    """A peer writes to the account, or to one of its resources, bound or not."""

    peer: int
    resource: int
    text: str
    id: str
    kind: int
    mask: int

    def happen(self, world: World) -> None:
        to = ACCOUNT + ("", *(f"/{each}" for each in RESOURCES))[self.resource]
        text, id = world.fresh(self.text), world.fresh(self.id)
        world.route(PEERS[self.peer], to, text, id, KINDS[self.kind], self.mask)


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
            kind = KINDS[0]
            if self.resource is None:
                to = PEERS[0]
                text = f"typed{text}"
                line = (text, "", "")
                message = Message(line, session.jid, kind, Epoch(), set())
                due = {s for s in world.sessions if s.seat in world.mirror.seats}
                world.typed.append((line, {s for s in due if s.wants(message)}))
            else:
                to = ACCOUNT + ("", *(f"/{each}" for each in RESOURCES))[self.resource]
                session.up.append(partial(world.route, session.jid, to, text, "", kind, self.mask))
            data = f"<message to='{to}' type='chat'><body>{text}</body></message>"
            world.mirror.sent(session.seat, stanza(data))


@dataclass(frozen=True)
class Join:
    """A client connects, its resource is bound; it is available once it knows."""

    resource: int
    served: bool
    carbons: bool
    interested: bool

    def happen(self, world: World) -> None:
        jid = f"{ACCOUNT}/{RESOURCES[self.resource]}"
        for other in world.sessions:
            if other.jid == jid:
                world.unbind(other)  # a conflict
        # A server that has carbons may fail to enable them for one session, but it does not begin
        # with that: while all others are served, no message is kept in mind.
        others = [each.seat.served for each in world.living]
        session = Session(jid, world, self.served or bool(others and all(others)))
        world.sessions.append(session)
        session.down.append(partial(self.bound, session, world))

    def bound(self, session: Session, world: World) -> None:
        world.mirror.join(session.seat)
        session.seat.carbons = self.carbons
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
SENDS = st.builds(
    Send,
    peer=st.sampled_from((0, 0, 0, 1)),
    resource=st.sampled_from((0, 0, 0, 0, 1, 2, 3, 5)),
    text=TEXTS,
    id=st.sampled_from(("", "", "id", "again")),
    kind=st.sampled_from((0, 0, 0, 0, 1, 2, 3, 4, 5)),
    mask=st.sampled_from((0, 0, *range(1, 8))),
)
TYPES = st.builds(
    Type,
    client=SMALL,
    resource=st.sampled_from((None, None, 0, 1, 2)),
    text=TEXTS,
    mask=st.integers(0, 15),
)
JOINS = st.builds(
    Join,
    resource=SMALL,
    served=st.sampled_from((False, False, False, False, True)),
    carbons=st.booleans(),
    interested=st.sampled_from((True, True, False)),
)
DOWNS = st.builds(Down, session=SMALL, stanzas=FEW)
UPS = st.builds(Up, session=SMALL, stanzas=FEW)
WAITS = st.builds(Wait, seconds=st.sampled_from((0.2, 6.0, 6.0, 20.0)))
OTHERS = st.builds(Other, session=SMALL)
CHANGES = st.one_of(
    JOINS,
    st.builds(Present, client=SMALL, interested=st.booleans()),
    st.builds(Carbons, client=SMALL, enabled=st.booleans()),
    st.builds(Leave, client=SMALL),
    st.builds(Break, session=SMALL),
)
#: Identical messages only.
ALIKE = st.builds(
    Send,
    peer=st.sampled_from((0, 0, 0, 1)),
    resource=st.sampled_from((0, 0, 1, 2)),
    text=st.just("again"),
    id=st.sampled_from(("", "", "", "again")),
    kind=st.sampled_from((0, 0, 0, 1)),
    mask=st.sampled_from((*[0] * 8, *range(1, 8))),
)


def oftenest(**weights: int) -> st.SearchStrategy[list[Event]]:
    """Lists of events, with how often each kind happens."""
    kinds: dict[str, st.SearchStrategy[Event]] = {
        "sends": SENDS,
        "alike": ALIKE,
        "types": TYPES,
        "downs": DOWNS,
        "ups": UPS,
        "waits": WAITS,
        "others": OTHERS,
        "changes": CHANGES,
    }
    every = [kinds[name] for name, weight in weights.items() for _ in range(weight)]
    event = st.integers(0, len(every) - 1).flatmap(every.__getitem__)
    return st.lists(event, max_size=60) | st.lists(event, min_size=30, max_size=60)


#: How many conversations are played; more by hand than by those who wait for it.
THOROUGHLY = settings(
    max_examples=int(os.environ.get("XMPPROXY_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
SESSIONS = st.lists(JOINS, min_size=2, max_size=4, unique_by=lambda join: join.resource)


class Conversation(SynchronousTestCase):
    """Whatever happens, the windows show one conversation, and in the end nothing is left."""

    @THOROUGHLY
    @given(
        rewrites=st.sampled_from(("never", "gone", "always")),
        joins=SESSIONS,
        events=oftenest(sends=8, downs=8, ups=3, types=2, others=1, waits=1, changes=3),
    )
    def test_everything(self, rewrites: str, joins: list[Join], events: list[Event]) -> None:
        """All kinds of messages, sessions that come and go, servers that take their time."""
        self.play(World(rewrites), joins, events)

    @THOROUGHLY
    @given(
        rewrites=st.sampled_from(("never", "always")),
        joins=SESSIONS,
        events=oftenest(alike=6, downs=8, ups=4, waits=1),
    )
    def test_alike(self, rewrites: str, joins: list[Join], events: list[Event]) -> None:
        """Hardly anything but identical messages: only their number tells them apart."""
        self.play(World(rewrites), joins, events)

    def play(self, world: World, joins: list[Join], events: list[Event]) -> None:
        for join in joins:
            join.happen(world)
        world.settle()
        for event in events:
            event.happen(world)
        world.settle()
        world.check()
