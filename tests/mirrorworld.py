"""
One account, its server and its clients, for property tests of the mirror.

The L{World} holds one account at a server that hands each message to one, some or all of its
sessions, and keeps the order of each stream, but nothing else: streams run as slowly as the test
likes, in both directions. Between the server and the clients stand the real L{Mirror} and
L{Barrier}. At the end all streams run empty, and L{World.check} compares what the clients' windows
show with what was written.

What is promised, and checked:

- Whatever reaches the proxy is shown in every window whose client wanted it when the proxy first
  knew of it, once. What the server itself sends to a session is always shown there.
- Windows of sessions to which the server sends no carbons agree in the order of all they show.
  Other windows agree with these and with each other in the order of what came from outside, and of
  what sessions beyond the proxy said. Where they show what a session of the proxy said is the
  server's business, as is everything while the server sends carbons to all.
- What is no line comes in the order of its stream.

What cannot be told from outside is not asked for: messages that are identical (sender, type, id,
content, and whether the address is a full JID), of which some went to one session only and some to
another only, all within one round trip, look like forks of fewer messages. Where the server has
carbons, such of which some were stored and some not, or some came while a session joined, may look
like more. There only bounds are checked.

Nor can it always be told where the server has carbons, but does not send them to all, whether what
comes while a session joins is new. What is addressed to a session that is only being bound, and
what was stored and comes to one that has just been bound in a carbon, may be shown twice.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from random import Random

from twisted.internet.task import Clock

from tests.messages import ACTIVE, ENCRYPTION, RECEIPT_REQUEST, stanza, written
from xmpproxy import carbons, ns
from xmpproxy.barrier import GIVE_UP, Barrier
from xmpproxy.carbons import Direction
from xmpproxy.ids import Ids
from xmpproxy.mirror import Habits, Mirror
from xmpproxy.seat import Seat

ACCOUNT = "juliet@example.com"
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
    """
    What sort of message.

    @ivar copied: whether the proxy finds that siblings should see it ...
    @ivar carbons: ... and whether the server does.
    @ivar readable: whether clients without carbons have any use for it.
    """

    type: str | None
    payload: str = ""
    bodied: bool = True
    copied: bool = True
    carbons: bool = True
    readable: bool = True


KINDS = (
    Kind("chat"),
    Kind("chat", RECEIPT_REQUEST),
    Kind(None, "<x xmlns='urn:x' {0} {1}/>"),
    Kind("chat", ENCRYPTION, readable=False),
    Kind("chat", ACTIVE, bodied=False),
    Kind("headline", copied=False, carbons=False),
    Kind("chat", f"<x xmlns='{ns.MUC_USER}'/>", copied=False),
    Kind(None, ACTIVE, bodied=False, carbons=False),
    Kind("error", "<error type='cancel'/>", copied=False, carbons=False),
)
#: What answers a message that was copied.
ERROR = Kind("error", "<error type='cancel'/>", carbons=False, readable=False)


@dataclass(frozen=True)
class Server:
    """
    What a server does.

    @ivar rewrites: where it writes a session's full JID into C{to}: C{"never"}, C{"always"}
        (jabberd2), or C{"gone"} (ejabberd): if a resource is not there.
    @ivar carbons: whether it has any. If not, it may add a delay to whatever it likes.
    @ivar flushes: whom it brings what it had stored: the C{"first"}, the first with C{"carbons"}
        for the others, or C{"all"}.
    @ivar toSender: whether a session gets a carbon of what it has written to a sibling.
    @ivar answers: whether it answers pings.
    """

    rewrites: str = "never"
    carbons: bool = False
    flushes: str = "first"
    toSender: bool = False
    answers: bool = True


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
    A message that the server routed to the account, or took from a session beyond the proxy.

    @ivar stored: whether it was stored before.
    @ivar reach: the sessions that the server sends it to, itself or as a carbon.
    @ivar got: those where it arrived itself.
    @ivar carboned: those where a carbon did, and whether that was to be shown.
    @ivar early: those of them where it did so when they had just joined.
    @ivar seen: when the proxy first knew of it.
    @ivar must: those that were to be shown it when the mirror was first told, L{None} before.
    @ivar may: those that joined after that, and were to be shown it when more of it arrived.
    @ivar tracked: whether there was a session without the server's carbons all the time.
    @ivar left: whether there was none.
    @ivar atOnce: whether it was shown without waiting for the server.
    """

    look: Look
    sender: str
    kind: Kind
    epoch: Epoch
    stored: bool
    reach: set[Session]
    got: set[Session] = field(default_factory=set)
    carboned: dict[Session, bool] = field(default_factory=dict)
    early: set[Session] = field(default_factory=set)
    seen: int | None = None
    must: set[Session] | None = None
    may: set[Session] = field(default_factory=set)
    tracked: bool = True
    left: bool = True
    atOnce: bool = False


@dataclass(eq=False)
class Typed:
    """
    A message from a session to a peer.

    @ivar sender: the full JID of the session.
    @ivar id: its id.
    @ivar at: when it was typed.
    @ivar copied: whether the proxy found that siblings should see it.
    @ivar must: the sessions that were to be shown it when it was typed.
    @ivar may: those that joined later, before a carbon told of it.
    @ivar carboned: those where a carbon of it arrived, and whether that was to be shown.
    """

    look: Look
    sender: str
    id: str
    at: int
    copied: bool = False
    must: set[Session] = field(default_factory=set)
    may: set[Session] = field(default_factory=set)
    carboned: dict[Session, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Fork:
    """A message on its way to one session: itself, or in a carbon."""

    message: Message
    data: bytes
    carbon: Direction | None = None


class Elsewhere:
    """
    A session that does not go through the proxy. What it is shown is the server's business.

    @ivar bound: whether the server knows of it ...
    @ivar available: ... and of its presence.
    @ivar ready: whether it knows of that itself.
    """

    def __init__(self, jid: str) -> None:
        self.jid = jid
        self.bound = self.ready = True
        self.available = True

    def __repr__(self) -> str:
        return self.jid


class Session(Elsewhere):
    """
    One client's session through the proxy: its streams, both ways, and its window.

    @ivar enabled: whether the server sends it carbons. That the proxy counts on them is said by
        its seat.
    @ivar open: whether the client is there.
    @ivar connected: whether the stream from the server is.
    @ivar since: when it joined the mirror.
    @ivar fresh: until the barrier has passed this, the server's carbons may be older than it is.
    @ivar up: what is on the way to the server.
    @ivar down: what is on the way from it.
    @ivar window: what the client was sent, and ...
    @ivar lines: ... what that shows.
    @ivar arrived: what came from the server to be shown, in order.
    @ivar forks: the messages among that.
    @ivar own: those that were the first to show their line: they must be shown as they are.
    @ivar credits: what the barrier was given.
    @ivar overdue: messages whose barrier took so long that they were given up here.
    @ivar late: those that came when no place was kept for them any more ...
    @ivar swallowed: ... or had been shown by a copy.
    """

    def __init__(self, jid: str, world: World, *, enabled: bool = False) -> None:
        super().__init__(jid)
        self.enabled = enabled
        self.open = self.connected = True
        self.available = self.ready = False
        self.since = 0
        self.fresh = 0
        self.up: deque[Callable[[], None]] = deque()
        self.down: deque[Callable[[], None] | Fork] = deque()
        self.window: list[bytes] = []
        self.lines: list[Look] = []
        self.arrived: list[Look] = []
        self.forks: list[bytes] = []
        self.own: list[bytes] = []
        self.credits: dict[int, Message | None] = {}
        self.overdue: set[Message] = set()
        self.late: set[Look] = set()
        self.swallowed: set[Look] = set()
        self.pinged: float | None = None
        self.seat = Seat(jid, self._write)
        self.seat.served = self.seat.asked = enabled
        self.seat.await_ = partial(world.await_, self)
        self.barrier = Barrier(
            partial(world.ping, self),
            world.clock,
            partial(world.passed, self),
            partial(world.overdue, self),
        )

    def _write(self, data: bytes) -> None:
        if self.open:
            self.window.append(data)
            self.lines.append(look(data))

    def shows(self, kind: Kind) -> bool:
        """Whether its client wants what siblings get or send."""
        return self.seat.carbons or (self.seat.interested and kind.readable)

    def wants(self, fork: Fork) -> bool:
        """Whether the proxy is to show it a message that appears now."""
        message = fork.message
        if message.sender == self.jid or not message.kind.copied:
            return False
        if self.seat.served and (fork.carbon is not None or not message.stored):
            return False
        return self.shows(message.kind)


class World:
    """The server, the proxy and the clients of one account."""

    def __init__(self, server: Server, habits: Habits | None = None) -> None:
        """
        @param habits: what the proxy knows of the server, if anything.
        """
        self.server = server
        self.habits = habits or Habits()
        self.kept = self.habits.keeps  # the server was seen to leave an address as it was
        self.clock = Clock()
        self.mirror = Mirror(Ids("proxy").make, self.habits)
        self.sessions: list[Session] = []  # all that ever were
        self.elsewhere: list[Elsewhere] = []
        self.messages: list[Message] = []  # in the order in which the server had them
        self.typed: list[Typed] = []
        self.others: list[Look] = []  # what was sent and is no message
        self.epochs: dict[object, Epoch] = {}
        self.arriving: Message | None = None
        self.count = 0
        self.now = 0  # counts what happens

    # The server

    def route(
        self,
        sender: str,
        to: str,
        text: str,
        id: str,
        kind: Kind,
        mask: int,
        *,
        stored: bool = False,
    ) -> None:
        """
        Hand a message to the sessions: to the one whose full JID is C{to}, else to whatever
        available ones the bits of C{mask} say, to all if they say none.

        @param stored: it was kept until now, and C{mask} says who is the first.
        """
        bound = [each for each in (*self.sessions, *self.elsewhere) if each.bound]
        exact = [each for each in bound if each.jid == to]
        routed = [each for each in bound if each.available]
        if stored and self.server.flushes != "all" and routed:
            routed = [routed[mask % len(routed)]]
        elif exact and not stored:
            routed = exact
        elif not stored:
            routed = [each for at, each in enumerate(routed) if mask >> at & 1] or routed
        if not routed:
            return  # stored, or refused
        if self.server.carbons and any(not each.ready for each in routed):
            return  # not asked for, see above
        gone = "/" in to and not exact
        rewritten = {
            "never": False,
            "always": not stored,
            "gone": gone,
        }[self.server.rewrites]
        copied = kind.carbons and not (stored and self.server.flushes == "first")
        copies = [
            each
            for each in self.sessions
            if each.bound and each.enabled and each not in routed
            if copied and (each.jid != sender or self.server.toSender)
        ]
        line: Look = (text, sender, id)
        direct = [each for each in routed if isinstance(each, Session)]
        content = None if kind.payload == RECEIPT_REQUEST else kind.payload
        key = (line, rewritten or "/" in to, kind.type, content or None, kind.bodied)
        message = self._message(line, sender, kind, key, {*direct, *copies}, stored)
        random = Random(f"{len(self.messages)} {mask}")
        for session in direct:
            data = self._write(message, session.jid if rewritten else to, random)
            session.down.append(Fork(message, data))
        inner = routed[0].jid if self.server.rewrites == "always" and rewritten else to
        for session in copies:
            data = wrapped(self._write(message, inner, random), Direction.RECEIVED, session.jid)
            session.down.append(Fork(message, data, Direction.RECEIVED))

    def say(self, elsewhere: Elsewhere, text: str, id: str, kind: Kind) -> None:
        """A session beyond the proxy sends something to a peer."""
        line = (f"typed{text}", "", "")
        copies = {each for each in self.sessions if each.bound and each.enabled}
        key = (line, elsewhere.jid, id, kind)
        message = self._message(line, elsewhere.jid, kind, key, copies, False)
        random = Random(len(self.messages))
        data = self._write(message, PEERS[0], random, id)
        for session in copies:
            carbon = wrapped(data, Direction.SENT, session.jid)
            session.down.append(Fork(message, carbon, Direction.SENT))

    def handle(self, session: Session, typed: Typed, data: bytes) -> None:
        """The server has got what a session sent to a peer."""
        for each in self.sessions:
            if each.bound and each.enabled and each is not session:
                carbon = wrapped(data, Direction.SENT, each.jid)
                each.down.append(partial(self.told, each, typed, carbon))

    def _message(
        self,
        line: Look,
        sender: str,
        kind: Kind,
        key: object,
        reach: set[Session],
        stored: bool,
    ) -> Message:
        epoch = self.epochs.get(key)
        if epoch is None or epoch.quiet:
            epoch = self.epochs[key] = Epoch()
        message = Message(line, sender, kind, epoch, stored, reach)
        epoch.messages.append(message)
        epoch.common = reach & (reach if epoch.common is None else epoch.common)
        epoch.flying += len(reach)
        self.messages.append(message)
        return message

    def _write(self, message: Message, to: str, random: Random, id: str = "") -> bytes:
        """What the server makes of a message for one session."""
        kind = message.kind
        text = message.look[0]
        attributes = [
            ("from", message.sender),
            ("to", to),
            ("type", kind.type),
            ("id", id or message.look[2] or None),
        ]
        random.shuffle(attributes)
        name = "body" if kind.bodied else "thread"
        children = [
            f"<{name}>{text}</{name}>",
            kind.payload.format(*random.sample(("a='1'", "b='2'"), 2)),
        ]
        held = random.random() < 0.3 and not (self.server.carbons and kind.bodied)
        if message.stored or held:
            delay = f"<delay xmlns='{ns.DELAY}' stamp='2026-01-01T00:00:0{random.randrange(10)}Z'/>"
            children.insert(random.choice((0, 2)), delay)
        return f"<message{written(dict(attributes))}>{''.join(children)}</message>".encode()

    def ping(self, session: Session, answered: Callable[[], None]) -> None:
        """The proxy asks the server, which will answer behind all that it has sent before."""
        assert session.pinged is None, "one ping at a time"
        session.pinged = self.clock.seconds()

        def pong() -> None:
            session.pinged = None
            answered()

        if self.server.answers:
            session.up.append(lambda: session.down.append(pong))

    def unbind(self, session: Session) -> None:
        """The server closes a session's stream."""
        if session.bound:
            session.bound = False
            session.up.clear()
            session.down.append(partial(self.lose, session))

    # The proxy

    def join(self, session: Session) -> None:
        """The session is ready."""
        self.now += 1
        session.since = self.now
        session.ready = True
        self.mirror.join(session.seat)
        session.fresh = max(session.credits, default=0)

    def deliver(self, session: Session) -> None:
        """Something comes from the server."""
        item = session.down.popleft()
        if isinstance(item, Fork):
            self.arrives(session, item)
        else:
            item()

    def arrives(self, session: Session, fork: Fork) -> None:
        """A message comes from the server."""
        message = fork.message
        self._account(session, fork)
        self._place(session, fork)
        self.arriving = message
        received = stanza(fork.data)
        if fork.carbon is None:
            self.mirror.received(session.seat, received)
        else:
            self.mirror.carbon(session.seat, received, *carbons.unwrap(received, ACCOUNT))
        self.arriving = None

    def _account(self, session: Session, fork: Fork) -> None:
        """Who is to be shown it."""
        message = fork.message
        epoch = message.epoch
        epoch.flying -= 1
        epoch.arrived += 1
        received = stanza(fork.data)
        joined = self.joined
        due = {each for each in joined if each.wants(fork)}
        epoch.wanted.update(due)
        self.now += 1
        if message.seen is None:
            message.seen = self.now
        served = all(each.seat.served for each in joined)
        fresh = fork.carbon is not None and bool(session.fresh)
        if served or fresh:
            message.tracked = False
        if message.stored or not served:
            message.left = False
        if message.must is None and not fresh and (message.stored or not served):
            message.must = due
            if fork.carbon is None and self.kept and self.habits.known and len(joined) > 1:
                message.atOnce = received.attributes["to"] == session.jid
        if received.attributes["to"] == ACCOUNT and not received.has(ns.DELAY, "delay"):
            self.kept = True
        if self.server.carbons:
            message.may |= {each for each in due if each.since > message.seen}
        if fork.carbon is None:
            message.got.add(session)
        else:
            message.carboned[session] = session.seat.carbons or (
                session.shows(message.kind) and session.jid != message.sender
            )
            if fresh:
                message.early.add(session)

    def _place(self, session: Session, fork: Fork) -> None:
        """Where it is to be shown, and in which shape."""
        message = fork.message
        shown = message.must is not None and message.atOnce and session in message.must
        if message.look in session.lines or shown:
            if shown or message in session.overdue:
                session.swallowed.add(message.look)
        else:
            if fork.carbon is None or session.seat.carbons:
                session.own.append(fork.data)
            late = message.atOnce and message.seen != self.now
            late = late and (message.stored or not session.seat.served)
            if late or message in session.overdue or (session in message.early and message.stored):
                session.late.add(message.look)
        session.arrived.append(message.look)
        session.forks.append(fork.data)

    def told(self, session: Session, typed: Typed, carbon: bytes) -> None:
        """The server's carbon comes of what another session of the proxy has sent."""
        received = stanza(carbon)
        if typed.sender not in (each.jid for each in self.joined):
            typed.may |= {each for each in self.joined if each.since > typed.at}
        if session.seat.served:
            typed.carboned[session] = session.seat.carbons or (
                session.seat.interested and session.jid != typed.sender
            )
            session.arrived.append(typed.look)
        self.mirror.carbon(session.seat, received, *carbons.unwrap(received, ACCOUNT))

    def other(self, session: Session, data: bytes) -> None:
        """Something comes that is shown as it is."""
        session.arrived.append(look(data))
        session.seat.outbox.put(data)

    def await_(self, session: Session, number: int) -> None:
        session.credits[number] = self.arriving
        if self.arriving is not None:
            self.arriving.epoch.credits += 1
        session.barrier.wait(number)

    def passed(self, session: Session, number: int) -> None:
        for each in [each for each in session.credits if each <= number]:
            message = session.credits.pop(each)
            if message is not None:
                message.epoch.credits -= 1
        if session.fresh <= number:
            session.fresh = 0
        self.mirror.passed(session.seat, number)

    def overdue(self, session: Session) -> None:
        session.overdue.update(each for each in session.credits.values() if each is not None)
        self.mirror.overdue(session.seat)

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
        before = self.clock.seconds() + seconds - GIVE_UP + 0.01  # sums of seconds are not exact
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
    def joined(self) -> list[Session]:
        """Sessions that the mirror knows."""
        return [session for session in self.sessions if session.seat in self.mirror.seats]

    @property
    def clients(self) -> list[Session]:
        """Sessions with a client that knows its resource."""
        return [session for session in self.joined if session.open]

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

    # What is promised

    def unique(self) -> set[Look]:
        """Lines that were written once only."""
        written = Counter(message.look for message in self.messages)
        written.update(typed.look for typed in self.typed)
        written.update(self.others)
        return {line for line, times in written.items() if times == 1}

    def bounds(self, session: Session) -> dict[Look, tuple[int, int]]:
        """How often a session's window must and may show each line."""
        least: Counter[Look] = Counter()
        most: Counter[Look] = Counter()
        for epoch in {message.epoch for message in self.messages}:
            low, high = self.epochBounds(session, epoch)
            least[epoch.messages[0].look] += low
            most[epoch.messages[0].look] += high
        for typed in self.typed:
            shown = session in typed.must or typed.carboned.get(session, False)
            least[typed.look] += shown
            most[typed.look] += shown or session in typed.may
        return {line: (least[line], most[line]) for line in most}

    def epochBounds(self, session: Session, epoch: Epoch) -> tuple[int, int]:
        """The same of identical messages."""
        messages = [each for each in epoch.messages if each.seen is not None]
        got = sum(session in each.got or each.carboned.get(session, False) for each in messages)
        if not epoch.messages[0].kind.copied:
            return got, got
        if len(epoch.messages) == 1:
            return bounds(session, messages[0]) if messages else (0, 0)
        if not self.server.carbons:
            if not epoch.wanted[session]:
                return got, got
            if epoch.wanted[session] == epoch.arrived and epoch.clear:
                return len(messages), len(messages)
        if any(each.early or each.stored != messages[0].stored for each in messages):
            return got, 2 * len(messages)
        return got, len(messages)

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
        for one, other in combinations(self.sessions, 2):
            shared = (unique - noLines) & {*one.lines} & {*other.lines} - one.late - other.late
            shared -= self.unordered(one, other)
            first, second = (
                [line for line in window.lines if line in shared] for window in (one, other)
            )
            assert first == second, f"{one} shows {first}, {other} {second}"

    def unordered(self, one: Session, other: Session) -> set[Look]:
        """Lines of which nothing is said in which order two windows show them."""
        since = max(one.since, other.since)
        lines = {m.look for m in self.messages if m.seen is not None and m.seen < since}
        if one.seat.served or other.seat.served:
            lines |= {message.look for message in self.messages if not message.tracked}
            lines |= {typed.look for typed in self.typed}
        return lines

    def checkCounts(self, session: Session) -> None:
        """Each line exactly once: not more often in any window, nor less in one that stayed."""
        shown = Counter(line for line in session.lines if line[0])
        arrived = Counter(session.arrived)
        bounds = self.bounds(session)
        for line in {*shown, *bounds, *arrived}:
            least, most = bounds.get(line, (arrived[line], arrived[line]))
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
            alike = (first.tracked and second.tracked) or (first.left and second.left)
            if alike and first.kind.copied and second.reach <= first.reach:
                assert place[first.look] < place[second.look], f"{second} first at {session}"

    def checkEmpty(self, session: Session) -> None:
        """Nothing waits, nothing is owed."""
        seat = session.seat
        assert not seat.owed and not seat.outbox.waiting and not session.credits
        seat.outbox.put(b"<marker/>")
        assert not session.open or session.window.pop() == b"<marker/>"
        session.lines.pop()


def bounds(session: Session, message: Message) -> tuple[int, int]:
    """How often a session must and may show a message of which there is no other like it."""
    must = int(session in (message.must or ()))
    may = max(must, int(session in message.may))
    if session in message.got:
        return 1, 1
    if session not in message.carboned:
        return must, may
    # Whether a carbon is shown depends on what the client wants when it comes, not when the
    # message did; but perhaps a copy was shown in between.
    carboned = message.carboned[session]
    if session.seat.served and not message.stored:
        return carboned, carboned
    if session in message.early:
        return min(must, carboned), may + carboned
    return min(must, carboned), max(may, carboned)


def wrapped(message: bytes, direction: Direction, to: str) -> bytes:
    """A carbon as servers send it."""
    inner = message.replace(b"<message", b"<message xmlns='jabber:client'", 1).decode()
    name = direction.value
    return (
        f"<message from='{ACCOUNT}' to='{to}' type='chat'><{name} xmlns='{ns.CARBONS}'>"
        f"<forwarded xmlns='{ns.FORWARD}'>{inner}</forwarded></{name}></message>"
    ).encode()
