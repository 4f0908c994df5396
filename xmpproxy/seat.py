"""One session's place in its account's conversation: what it is shown, and what it is owed."""

from __future__ import annotations

from collections.abc import Callable

from xmpproxy.carbons import Direction
from xmpproxy.holding import Holding
from xmpproxy.jid import bare, resourceOf, same
from xmpproxy.line import Due, Line
from xmpproxy.outbox import Outbox, Slot
from xmpproxy.stanza import Stanza, quoted

#: How many messages a session may be owed at most. The oldest is given up then: its copy is shown,
#: and if the message itself comes after all, that is shown, too.
MOST_OWED = 1000

#: How many plain copies a session remembers: to know errors that answer copies of what came, and
#: corrections of what was sent.
_REMEMBERED = 128

#: What forks of one message have in common besides content: C{from}, C{type}, C{id}, and whether
#: C{to} is a full JID. Which one says nothing: some servers write that of the receiving session.
Key = tuple[str | None, str | None, str | None, bool]


def key(message: Stanza) -> Key:
    """What a message has in common with its forks."""
    attributes = message.attributes
    return (
        attributes.get("from"),
        attributes.get("type"),
        attributes.get("id"),
        "/" in attributes.get("to", ""),
    )


class Credit(Slot):
    """
    A line that a session may still get from the server itself, and the place kept for it.

    @ivar due: what is shown there if it does not come.
    @ivar number: the place in the order in which the session got its credits.
    """

    __slots__ = ("due", "key", "line", "number")

    def __init__(self, key: Key, line: Line, due: Due) -> None:
        super().__init__()
        self.key = key
        self.line = line
        self.due = due
        self.number = 0


#: What a seat has of what it has nothing of. Nothing may be put into these.
_NONE_SHOWN: dict[tuple[str | None, str | None], None] = {}
_NONE_SHOWN_AS: dict[tuple[str, str], str] = {}


class Seat:
    """
    One session's place in its account.

    @ivar jid: its full JID.
    @ivar account: its bare JID.
    @ivar canonical: the bare JID in the spelling that all sessions of the account have in common;
        as the server has written it, until it is known that another one means the same.
    @ivar address: the full JID as it is written into XML, in double quotes.
    @ivar plain: how a plain copy of a sent message looks: mode and prefix of L{copies.sent}.
    @ivar named: what a resource is called in the prefix.
    @ivar carbons: whether its client has enabled carbons.
    @ivar interested: whether its client is available, with a priority that is not negative.
    @ivar asked: whether the server was asked to send it carbons. Some may come, then.
    @ivar served: whether it has said in time that it does, so that the proxy owes it no copies.
    @ivar stamped: whether the server stamps messages with ids of its archive (XEP-0359).
    @ivar copied: how many copies its client was shown.
    @ivar shared: how many copies others were shown of what its client sent.
    @ivar outbox: what its client is sent.
    @ivar holding: what it is not told while it is inactive (XEP-0352); L{None} while it is active.
    @ivar await_: has L{Mirror.passed} called with a credit's number once the server has handled
        everything that it has accepted by now. Whoever knows the server sets it.
    """

    __slots__ = (
        "__weakref__",
        "_credits",
        "_fresh",
        "_last",
        "_missed",
        "_order",
        "_shown",
        "_shownAs",
        "account",
        "address",
        "asked",
        "await_",
        "canonical",
        "carbons",
        "copied",
        "holding",
        "interested",
        "jid",
        "named",
        "outbox",
        "plain",
        "served",
        "shared",
        "stamped",
    )

    def __init__(
        self,
        jid: str,
        write: Callable[[bytes], None],
        mode: str = "prefix",
        prefix: str = "me@{resource}: ",
        named: Callable[[str], str] = str,
    ) -> None:
        """
        @param write: sends bytes to the client.
        """
        self.jid = jid
        self.account = self.canonical = bare(jid)
        self.address = quoted(jid)[1:-1].encode()
        self.plain = (mode, prefix)
        self.named = named
        self.carbons = False
        self.interested = False
        self.asked = False
        self.served = False
        self.stamped = False
        self.copied = 0
        self.shared = 0
        self.outbox = Outbox(write)
        self.holding: Holding | None = None
        self.await_: Callable[[int], None] = lambda number: None
        self._credits: dict[Key, list[Credit]] = {}
        self._order: list[Credit] = []  # those, and some that were redeemed
        self._last = 0  # the number of the last credit
        self._fresh = 0
        self._missed: tuple[tuple[int, str], ...] = ()  # full JIDs, and until when
        self._shown = _NONE_SHOWN
        self._shownAs = _NONE_SHOWN_AS

    # Client state

    def hold(self, mostBytes: int) -> None:
        """
        The client is inactive: send nothing that can wait.

        @param mostBytes: how much of that is held at most.
        """
        if self.holding is None:
            self.holding = Holding(self.outbox.write, self.jid, mostBytes)
            self.outbox.write = self.holding.write

    def release(self) -> None:
        """It is active: send what was held."""
        if self.holding is not None:
            self.outbox.write = self.holding.send
            self.holding.flush()
            self.holding = None

    # Copies

    def due(self, line: Line) -> Due:
        """What this session should see of a line now."""
        if line.sender == self.jid:
            return Due.NOTHING  # its client has shown the line when it was typed
        if self.carbons:
            return Due.CARBON
        if not self.interested or not line.readable:
            return Due.NOTHING
        return Due.PLAIN_COPY

    def show(self, line: Line) -> bool:
        """
        Send a copy, behind everything that waits, if one is due.

        @return: whether one was.
        """
        copy = self.copyOf(line, self.due(line))
        if copy:
            self.outbox.append(copy)
        return bool(copy)

    def copyOf(self, line: Line, due: Due) -> bytes:
        """The copy that is shown to this session, C{b""} if there is nothing to show."""
        copy = line.copyFor(self, due)
        if copy:
            self.copied += 1
            if due is Due.PLAIN_COPY:
                self._remember(line)
        return copy

    def _remember(self, line: Line) -> None:
        id = line.message.id
        if line.direction is Direction.RECEIVED:
            if self._shown is _NONE_SHOWN:
                self._shown = {}
            self._shown[line.message.attributes.get("from"), id] = None
            if len(self._shown) > _REMEMBERED:
                del self._shown[next(iter(self._shown))]
        elif id is not None:
            if self._shownAs is _NONE_SHOWN_AS:
                self._shownAs = {}
            self._shownAs[line.sender, id] = line.id
            if len(self._shownAs) > _REMEMBERED:
                del self._shownAs[next(iter(self._shownAs))]

    def wasShown(self, peer: str | None, id: str | None) -> bool:
        """Whether a plain copy of an incoming message had this sender and id."""
        if peer is None or (peer, id) in self._shown:
            return (peer, id) in self._shown
        # A client may have its own spelling of whom it answers.
        return any(each == id and who and same(who, peer) for who, each in self._shown)

    def shownAs(self, sender: str, id: str | None) -> str | None:
        """The id of the plain copy of what a session sent under this id, if there was one."""
        return None if id is None else self._shownAs.get((sender, id))

    # The server's carbons, where some sessions get them

    def begin(self) -> None:
        """The session joins. The carbons that come soon may be of what siblings got before."""
        self._fresh = self._awaitNow()

    @property
    def fresh(self) -> bool:
        """Whether carbons may still come of what siblings got before this session joined."""
        return self._fresh > 0

    def miss(self, jid: str) -> None:
        """A sibling has left. Carbons of what it sent may still come."""
        self._missed += ((self._awaitNow(), jid),)

    def misses(self, jid: str) -> bool:
        """Whether that may be so of this one."""
        resource = resourceOf(jid)  # that of the account's own
        return any(resourceOf(each) == resource for _, each in self._missed)

    def _awaitNow(self) -> int:
        self._last += 1
        self.await_(self._last)
        return self._last

    # Credits

    @property
    def owed(self) -> bool:
        """Whether any message may still come that was seen elsewhere."""
        return bool(self._credits)

    def owe(self, credit: Credit, *, atOnce: bool = False) -> None:
        """
        A message may still come: keep its place.

        @param atOnce: that is improbable. Show the copy, and drop the message if it comes.
        """
        if len(self._order) >= MOST_OWED:
            self.passed(self._order[0].number)
        self._last = credit.number = self._last + 1
        self._order.append(credit)
        self._credits.setdefault(credit.key, []).append(credit)
        if atOnce:
            credit.data = self.copyOf(credit.line, credit.due)
            if credit.data:
                self.outbox.append(credit.data)
        else:
            self.outbox.reserve(credit)
        self.await_(credit.number)

    def redeem(self, message: Stanza, data: bytes) -> Credit | None:
        """
        A message has come. If a credit is meant by it, use up the oldest such.

        @param data: what to show of it in the place that was kept.
        @return: the credit.
        """
        for credit in self._credits.get(key(message), ()):
            if credit.line.hasContentOf(message):
                break
        else:
            return None
        self._void(credit)
        if credit.data is None:
            self.outbox.fill(credit, data)
        elif not credit.data and data:
            self.outbox.put(data)  # late, but nothing was shown in its place
        return credit

    def passed(self, number: int) -> None:
        """What is owed up to this credit will not come any more, if it has not come already."""
        while self._order and self._order[0].number <= number:
            credit = self._order.pop(0)
            self._void(credit)
            self._settle(credit)
        if self._fresh <= number:
            self._fresh = 0
        if self._missed:
            self._missed = tuple(each for each in self._missed if each[0] > number)

    def settle(self) -> None:
        """Wait no longer: show what is due instead of what is owed. That may come, unshown then."""
        for credit in self._order:
            self._settle(credit)

    def _settle(self, credit: Credit) -> None:
        if credit.data is None:
            self.outbox.fill(credit, self.copyOf(credit.line, credit.due))

    def _void(self, credit: Credit) -> None:
        owed = self._credits.get(credit.key)
        if owed is not None and credit in owed:
            owed.remove(credit)
            if not owed:
                del self._credits[credit.key]
