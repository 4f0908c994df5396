"""
Exactly once, in one order: what each session of an account is shown of the others' conversations.

This is for servers without Message Carbons, of which nobody can tell whether they route a message
to one, some or all sessions, at once or late. The rule:

- A message that comes from the server finds a I{credit} at its session: it is a fork of one that
  another session got before. It consumes the credit and fills the I{slot} that was kept for it.
- Else it is new. It is delivered, and every sibling gets a credit and a slot in its output.
- When the server has handled everything up to there (see L{xmpproxy.barrier}), no fork can come
  any more: the credit is void, and a copy fills the slot if one is due.
- What is behind an open slot waits. So all sessions of an account see one order: the order in
  which this class was told of the messages.

Everything here is pure: events in, bytes out through the callables of a L{Seat}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import blake2b

from twisted.words.xish import domish

from xmpproxy import carbons, copies, ns
from xmpproxy.carbons import Decision, Direction
from xmpproxy.stanza import Stanza

#: How many plain copies a session remembers, to know errors that answer them.
_REMEMBERED = 128

_Key = tuple[str | None, str | None, str | None, str | None]


class Slot:
    """A place in an output, open until it is known what belongs there."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data


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

    def put(self, data: bytes) -> None:
        """Send, behind everything that waits."""
        if self._slots:
            self._slots.append(Slot(data))
            self.waiting += len(data)
        else:
            self._write(data)

    def reserve(self) -> Slot:
        """Keep a place."""
        slot = Slot()
        self._slots.append(slot)
        return slot

    def fill(self, slot: Slot, data: bytes) -> None:
        """Put C{data} into an open slot, C{b""} for nothing, and send what need not wait now."""
        slot.data = data
        self.waiting += len(data)
        slots = self._slots
        while slots and slots[0].data is not None:
            ready = slots.popleft().data
            assert ready is not None
            self.waiting -= len(ready)
            if ready:
                self._write(ready)


class Credit:
    """
    A message that a session may still get from the server itself.

    @ivar copy: what its slot is filled with if it does not come.
    """

    __slots__ = ("copy", "key", "message", "slot")

    def __init__(self, key: _Key, message: Stanza, slot: Slot, copy: bytes) -> None:
        self.key = key
        self.message = message
        self.slot = slot
        self.copy = copy


class Seat:
    """
    One session's place in its account.

    @ivar jid: its full JID.
    @ivar carbons: whether its client has enabled carbons.
    @ivar interested: whether its client is available, with a priority that is not negative.
    @ivar served: whether the server sends it carbons, so that the proxy owes it no copies.
    @ivar mode: how a plain copy of a sent message looks, see L{copies.sent}.
    @ivar prefix: likewise.
    @ivar copied: how many copies it was given.
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
        self.carbons = False
        self.interested = False
        self.served = False
        self.mode = mode
        self.prefix = prefix
        self.copied = 0
        self.outbox = Outbox(write)
        self.await_: Callable[[Credit], None] = lambda credit: None
        self._credits: dict[_Key, list[Credit]] = {}
        self._shown: deque[tuple[str | None, str | None]] = deque(maxlen=_REMEMBERED)

    def copyOf(self, message: Stanza, direction: Direction, sender: str, id: str) -> bytes:
        """
        The copy that is due to this session, C{b""} for none.

        @param sender: full JID of who wrote the message.
        @param id: the id that a copy gets which is not the message itself.
        """
        if sender == self.jid:
            return b""  # its client has shown the line when it was typed
        if self.carbons:
            author = sender if direction is Direction.SENT else None
            return carbons.wrap(message, direction, self.account, self.jid, author)
        if not self.interested or copies.encrypted(message):
            return b""
        if direction is Direction.RECEIVED:
            self._shown.append((message.attributes.get("from"), message.id))
            return copies.received(message, self.jid)
        return copies.sent(message, self.jid, sender, self.mode, self.prefix, id) or b""

    def wasShown(self, peer: str | None, id: str | None) -> bool:
        """Whether a plain copy of an incoming message had this sender and id."""
        return (peer, id) in self._shown

    def owe(self, credit: Credit) -> None:
        """Remember that the message may still come."""
        self._credits.setdefault(credit.key, []).append(credit)

    def redeem(self, key: _Key, message: Stanza) -> Credit | None:
        """The oldest credit for this message, which is used up by that."""
        owed = self._credits.get(key)
        if owed is None:
            return None
        for credit in owed:
            if _sameContent(credit.message, message):
                self.void(credit)
                return credit
        return None

    def void(self, credit: Credit) -> None:
        """The message will not come any more. Harmless if it has."""
        owed = self._credits.get(credit.key)
        if owed is not None and credit in owed:
            owed.remove(credit)
            if not owed:
                del self._credits[credit.key]

    @property
    def owed(self) -> bool:
        """Whether any message may still come that was seen elsewhere."""
        return bool(self._credits)


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
        siblings = [each for each in self.seats if each is not seat and not each.served]
        if not siblings and not seat.owed:
            seat.outbox.put(message.data)
            return Decision(False, "alone")
        decision = carbons.eligible(message, Direction.RECEIVED)
        if not decision.copy:
            seat.outbox.put(message.data)
            return decision
        key = _key(message, seat.jid)
        credit = seat.redeem(key, message)
        if credit is not None:
            if credit.slot.data is None:
                seat.outbox.fill(credit.slot, message.data)
            return Decision(False, "fork")
        seat.outbox.put(message.data)
        sender = message.attributes.get("from", seat.account)
        for sibling in siblings:
            copy = sibling.copyOf(message, Direction.RECEIVED, sender, "")
            credit = Credit(key, message, sibling.outbox.reserve(), copy)
            sibling.owe(credit)
            sibling.await_(credit)
        return decision

    def passed(self, seat: Seat, credits: list[Credit]) -> None:
        """The server has handled everything up to these credits: what they are for cannot come."""
        for credit in credits:
            seat.void(credit)
        self.overdue(seat, credits)

    def overdue(self, seat: Seat, credits: list[Credit]) -> None:
        """These have waited long enough: show the copies. The messages may still come, unshown."""
        for credit in credits:
            if credit.slot.data is None:
                seat.copied += bool(credit.copy)
                seat.outbox.fill(credit.slot, credit.copy)

    def sent(self, seat: Seat, message: Stanza) -> Decision:
        """
        A session's client sent a message, and the server has it by now.

        @return: whether the siblings may get copies, and why.
        """
        siblings = [each for each in self.seats if each is not seat and not each.served]
        if not siblings:
            return Decision(False, "alone")
        to = message.attributes.get("to")
        if to is None or to.partition("/")[0].lower() == seat.account.lower():
            return Decision(False, "to oneself")  # the server brings it, or received() copies it
        decision = carbons.eligible(message, Direction.SENT)
        if decision.copy:
            for sibling in siblings:
                copy = sibling.copyOf(message, Direction.SENT, seat.jid, self._makeId())
                if copy:
                    sibling.copied += 1
                    sibling.outbox.put(copy)
        return decision


def _key(message: Stanza, own: str) -> _Key:
    """
    What forks of one message have in common besides content. Some servers write the full JID of
    the receiving session into C{to}.
    """
    attributes = message.attributes
    to = attributes.get("to")
    return (attributes.get("from"), None if to == own else to, message.type, message.id)


def _sameContent(one: Stanza, other: Stanza) -> bool:
    if _content(one) == _content(other):
        return True
    return _digest(one) == _digest(other)


def _content(message: Stanza) -> bytes:
    """All bytes behind the start tag: alike in most forks."""
    return message.data[message.startTagLength :]


def _digest(message: Stanza) -> bytes:
    """
    The children less C{<delay/>}, whatever order a server has written attributes in. A fork that
    was held back gets a delay (XEP-0203) that the others do not have.
    """
    children = [
        _canonical(child)
        for child in message.element.children
        if not (
            domish.IElement.providedBy(child) and (child.uri, child.name) == (ns.DELAY, "delay")
        )
    ]
    return blake2b(repr(children).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _canonical(node: domish.Element | str) -> object:
    if not domish.IElement.providedBy(node):
        return str(node)
    assert isinstance(node, domish.Element)
    attributes = sorted((str(name), value) for name, value in node.attributes.items())
    return (node.uri, node.name, attributes, [_canonical(child) for child in node.children])
