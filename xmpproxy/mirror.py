"""
Exactly once, in one order: what each session of an account is shown of the others' conversations.

This is for servers without Message Carbons, of which nobody can tell whether they route a message
to one, some or all sessions, at once or late. The rule:

- A message that comes from the server finds a I{credit} at its session: it is a fork of one that
  another session got before. It consumes the credit and fills the I{slot} that was kept for it.
- Else it is new. It is delivered, and every sibling gets a credit, with a slot in its output.
- When the server has handled everything up to there (see L{xmpproxy.barrier}), no fork can come
  any more: the credit is void, and a copy fills the slot if one is due.
- Lines behind an open slot wait. So all sessions of an account see one order of lines: the order
  in which this class was told of the messages.
- Nothing else waits for slots: what comes while they are open came before what they are kept for.

Everything here is pure: events in, bytes out through the callables of a L{Seat}.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from xml.sax.saxutils import escape

from twisted.words.xish import domish

from xmpproxy import carbons, copies, ns
from xmpproxy.carbons import Decision, Direction
from xmpproxy.stanza import Stanza

#: How many plain copies a session remembers, to know errors that answer them.
_REMEMBERED = 128

#: Stands for the reader's address in a copy until somebody reads it. It occurs in no XML.
_READER = "\0"
_READER_BYTES = _READER.encode()

_ALONE = Decision(False, "alone")
_FORK = Decision(False, "fork")
_TO_ONESELF = Decision(False, "to oneself")

_Key = tuple[str | None, str | None, str | None, str | None]


class Due(enum.Enum):
    """What a session is shown of a line, unless the server sends it the message itself."""

    NOTHING = enum.auto()
    CARBON = enum.auto()
    PLAIN_COPY = enum.auto()


class Line:
    """
    A message of the conversation, and its copies. They differ in little more than whom they are
    addressed to, so each kind is made once, when the first of it is shown.

    @ivar message: the message as one session got or sent it.
    @ivar direction: which of the two.
    @ivar sender: full JID of who wrote it.
    """

    __slots__ = (
        "_canonical",
        "_copies",
        "_encrypted",
        "_id",
        "_inside",
        "direction",
        "message",
        "sender",
    )

    def __init__(self, message: Stanza, direction: Direction, sender: str, id: str = "") -> None:
        """
        @param id: the id of plain copies of a sent message.
        """
        self.message = message
        self.direction = direction
        self.sender = sender
        self._id = id
        self._encrypted: bool | None = None
        self._inside: bytes | None = None  # all that is behind the start tag
        self._canonical: list[object] | None = None
        self._copies: dict[tuple[str, str] | None, bytes] = {}

    @property
    def encrypted(self) -> bool:
        """Whether there is nothing to read for other clients."""
        if self._encrypted is None:
            self._encrypted = copies.encrypted(self.message)
        return self._encrypted

    def copyFor(self, seat: Seat, due: Due) -> bytes:
        """A copy for this session, C{b""} if there is nothing to show."""
        if due is Due.NOTHING:
            return b""
        kind = None if due is Due.CARBON else seat.plain
        copy = self._copies.get(kind)
        if copy is None:
            copy = self._copies[kind] = self._make(kind, seat.account)
        return copy.replace(_READER_BYTES, seat.address)

    def _make(self, kind: tuple[str, str] | None, account: str) -> bytes:
        received = self.direction is Direction.RECEIVED
        if kind is None:
            sender = None if received else self.sender
            return carbons.wrap(self.message, self.direction, account, _READER, sender)
        if received:
            return copies.received(self.message, _READER)
        return copies.sent(self.message, _READER, self.sender, *kind, self._id) or b""

    def hasContentOf(self, fork: Stanza) -> bool:
        """Whether a message with the same key is the same in all that is inside of it."""
        if fork.data == self.message.data:
            return True
        if self._inside is None:
            self._inside = self.message.data[self.message.startTagLength :]
        inside = self._inside
        if fork.data.endswith(inside) and fork.startTagLength + len(inside) == len(fork.data):
            return True
        if self._canonical is None:
            self._canonical = _content(self.message)
        return self._canonical == _content(fork)


class Slot:
    """
    A place in an output.

    @ivar data: what is sent there; L{None} while that is open.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data


class Credit(Slot):
    """
    A line that a session may still get from the server itself, and the place kept for it.

    @ivar due: what is shown there if it does not come.
    """

    __slots__ = ("due", "key", "line")

    def __init__(self, key: _Key, line: Line, due: Due) -> None:
        super().__init__()
        self.key = key
        self.line = line
        self.due = due


class Outbox:
    """
    What one client is sent, in order.

    @ivar waiting: bytes that wait behind an open slot.
    """

    __slots__ = ("_slots", "_write", "waiting")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._slots: deque[Slot] = deque()
        self.waiting = 0

    def append(self, data: bytes) -> None:
        """Send a line, behind all others."""
        if self._slots:
            self._slots.append(Slot(data))
            self.waiting += len(data)
        else:
            self._write(data)

    def reserve(self, slot: Slot) -> None:
        """Keep the place of a line, behind all others."""
        self._slots.append(slot)

    def put(self, data: bytes) -> None:
        """Send what is no line: behind what has come, before what has yet to come."""
        slots = self._slots
        if slots:
            toCome = sum(1 for _ in takewhile(lambda slot: slot.data is None, reversed(slots)))
            if toCome < len(slots):
                slots.insert(len(slots) - toCome, Slot(data))
                self.waiting += len(data)
                return
        self._write(data)

    def fill(self, slot: Slot, data: bytes) -> None:
        """Put C{data} into an open slot, C{b""} for nothing, and send what need not wait now."""
        slot.data = data
        self.waiting += len(data)
        slots = self._slots
        while slots and (ready := slots[0].data) is not None:
            slots.popleft()
            self.waiting -= len(ready)
            if ready:
                self._write(ready)


class Seat:
    """
    One session's place in its account.

    @ivar jid: its full JID.
    @ivar account: its bare JID.
    @ivar address: the full JID as it is written into XML.
    @ivar plain: how a plain copy of a sent message looks: mode and prefix of L{copies.sent}.
    @ivar carbons: whether its client has enabled carbons.
    @ivar interested: whether its client is available, with a priority that is not negative.
    @ivar served: whether the server sends it carbons, so that the proxy owes it no copies.
    @ivar copied: how many copies its client was shown.
    @ivar shared: how many copies others were shown of what its client sent.
    @ivar outbox: what its client is sent.
    @ivar await_: has L{Mirror.passed} called with a credit once the server has handled everything
        that it has accepted by now. Whoever knows the server sets it.
    """

    def __init__(
        self,
        jid: str,
        write: Callable[[bytes], None],
        mode: str = "prefix",
        prefix: str = "me@{resource}: ",
    ) -> None:
        """
        @param write: sends bytes to the client.
        """
        self.jid = jid
        self.account = jid.partition("/")[0]
        self.address = escape(jid, {'"': "&quot;", "'": "&apos;"}).encode()
        self.plain = (mode, prefix)
        self.carbons = False
        self.interested = False
        self.served = False
        self.copied = 0
        self.shared = 0
        self.outbox = Outbox(write)
        self.await_: Callable[[Credit], None] = lambda credit: None
        self._credits: dict[_Key, list[Credit]] = {}
        self._shown: deque[tuple[str | None, str | None]] = deque(maxlen=_REMEMBERED)

    def due(self, line: Line) -> Due:
        """What this session should see of a line now."""
        if line.sender == self.jid:
            return Due.NOTHING  # its client has shown the line when it was typed
        if self.carbons:
            return Due.CARBON
        if not self.interested or line.encrypted:
            return Due.NOTHING
        return Due.PLAIN_COPY

    def show(self, line: Line) -> bool:
        """
        Send a copy, behind everything that waits, if one is due.

        @return: whether one was.
        """
        copy = self._copy(line, self.due(line))
        if copy:
            self.outbox.append(copy)
        return bool(copy)

    def _copy(self, line: Line, due: Due) -> bytes:
        copy = line.copyFor(self, due)
        if copy:
            self.copied += 1
            if due is Due.PLAIN_COPY and line.direction is Direction.RECEIVED:
                self._shown.append((line.message.attributes.get("from"), line.message.id))
        return copy

    def wasShown(self, peer: str | None, id: str | None) -> bool:
        """Whether a plain copy of an incoming message had this sender and id."""
        return (peer, id) in self._shown

    @property
    def owed(self) -> bool:
        """Whether any message may still come that was seen elsewhere."""
        return bool(self._credits)

    def owe(self, credit: Credit) -> None:
        """A message may still come: keep its place."""
        self.outbox.reserve(credit)
        owed = self._credits.get(credit.key)
        if owed is None:
            self._credits[credit.key] = [credit]
        else:
            owed.append(credit)
        self.await_(credit)

    def redeem(self, key: _Key, message: Stanza) -> bool:
        """
        Show a message in the place that was kept for it: that of the oldest credit which it can
        be meant by. That is used up.

        @return: whether there was one.
        """
        for credit in self._credits.get(key, ()):
            if credit.line.hasContentOf(message):
                break
        else:
            return False
        self._void(credit)
        if credit.data is None:
            self.outbox.fill(credit, message.data)
        elif not credit.data:
            self.outbox.put(message.data)  # late, but nothing was shown in its place
        return True

    def void(self, credit: Credit) -> None:
        """The message will not come any more, if it has not come already."""
        self._void(credit)
        self.settle(credit)

    def settle(self, credit: Credit) -> None:
        """Wait no longer for the message: show what is due instead of it."""
        if credit.data is None:
            self.outbox.fill(credit, self._copy(credit.line, credit.due))

    def _void(self, credit: Credit) -> None:
        owed = self._credits.get(credit.key)
        if owed is not None and credit in owed:
            owed.remove(credit)
            if not owed:
                del self._credits[credit.key]


class Mirror:
    """
    The conversation of one account.

    @ivar seats: its sessions, from resource binding until their upstream is closed.
    """

    def __init__(self, makeId: Callable[[], str]) -> None:
        """
        @param makeId: makes the ids of copies. They must not be guessable.
        """
        self.seats: list[Seat] = []
        self._makeId = makeId

    def join(self, seat: Seat) -> None:
        """A resource was bound. Nothing that came before is owed to it."""
        self.seats.append(seat)

    def leave(self, seat: Seat) -> None:
        """The server will send nothing more to this session."""
        self.seats.remove(seat)

    def received(self, seat: Seat, message: Stanza) -> Decision:
        """
        The server sent a message to a session.

        @return: whether the siblings may get copies, and why.
        """
        if not seat.owed and (len(self.seats) == 1 or all([each.served for each in self.seats])):
            seat.outbox.put(message.data)
            return _ALONE
        decision = carbons.eligible(message, Direction.RECEIVED)
        if not decision.copy:
            seat.outbox.put(message.data)
            return decision
        key = _key(message, seat.jid)
        if seat.redeem(key, message):
            return _FORK
        seat.outbox.append(message.data)
        line = Line(message, Direction.RECEIVED, message.attributes.get("from", seat.account))
        for sibling in self.seats:
            if sibling is not seat:
                # The server shows a line to those it serves; a fork of it may come all the same.
                due = Due.NOTHING if sibling.served else sibling.due(line)
                sibling.owe(Credit(key, line, due))
        return decision

    def passed(self, seat: Seat, credits: list[Credit]) -> None:
        """The server has handled everything up to these credits: what they are for cannot come."""
        for credit in credits:
            seat.void(credit)

    def overdue(self, seat: Seat, credits: list[Credit]) -> None:
        """These have waited long enough: show the copies. The messages may still come, unshown."""
        for credit in credits:
            seat.settle(credit)

    def sent(self, seat: Seat, message: Stanza) -> Decision:
        """
        A session's client sent a message, and the server has it by now.

        @return: whether the siblings may get copies, and why.
        """
        if len(self.seats) == 1 or all([each.served for each in self.seats]):
            return _ALONE
        to = message.attributes.get("to")
        if to is None or carbons.belongs(to, seat.account):
            return _TO_ONESELF  # the server brings it, or received() copies it
        decision = carbons.eligible(message, Direction.SENT)
        if decision.copy:
            line = Line(message, Direction.SENT, seat.jid, self._makeId())
            for sibling in self.seats:
                if sibling is not seat and not sibling.served:
                    seat.shared += sibling.show(line)
        return decision


def _key(message: Stanza, own: str) -> _Key:
    """
    What forks of one message have in common besides content. Some servers write the full JID of
    the receiving session into C{to}.
    """
    attributes = message.attributes
    to = attributes.get("to")
    return (
        attributes.get("from"),
        None if to == own else to,
        attributes.get("type"),
        attributes.get("id"),
    )


def _content(message: Stanza) -> list[object]:
    """
    The children less C{<delay/>}, whatever order a server has written attributes in. A fork that
    was held back gets a delay (XEP-0203) that the others do not have.
    """
    return [
        _canonical(child)
        for child in message.element.children
        if not (
            domish.IElement.providedBy(child) and (child.uri, child.name) == (ns.DELAY, "delay")
        )
    ]


def _canonical(node: domish.Element | str) -> object:
    if not domish.IElement.providedBy(node):
        return str(node)
    assert isinstance(node, domish.Element)
    attributes = sorted((str(name), value) for name, value in node.attributes.items())
    return (node.uri, node.name, attributes, [_canonical(child) for child in node.children])
