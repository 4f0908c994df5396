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
- A server that is known to leave C{to} as it was written sends a message with a full JID to that
  session alone. The copies of such a message wait for nothing.

Where the server has carbons, and sends them to all sessions of the account, it does all of that.
If it sends them to some only, its carbons are forks like any other.

Everything here is pure: events in, bytes out through the callables of a L{Seat}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.words.xish import domish

from xmpproxy import carbons, ns
from xmpproxy.carbons import Decision, Direction
from xmpproxy.jid import belongs, resourceOf, same
from xmpproxy.line import Due, Line
from xmpproxy.seat import Credit, Seat, key
from xmpproxy.stanza import Stanza

#: How many messages an account remembers to know the errors that answer them.
_REMEMBERED = 256

_ALONE = Decision(False, "alone")
_FORK = Decision(False, "fork")
_NEW = Decision(True, "carbon")
_TO_ONESELF = Decision(False, "to oneself")


class Habits:
    """
    What a server does with the C{to} of a message to a bare JID, learned from what it was seen to
    do.

    @ivar keeps: it has left one as it was.
    @ivar rewrites: it has written the full JIDs of several sessions into forks of one message.
    """

    def __init__(self) -> None:
        self.keeps = False
        self.rewrites = False

    @property
    def known(self) -> bool:
        """Whether a full JID in C{to} means that the message went to that session alone."""
        return self.keeps and not self.rewrites


class Mirror:
    """
    The conversation of one account.

    @ivar seats: its sessions, from resource binding until their upstream is closed.
    """

    __slots__ = ("_conversation", "_habits", "_makeId", "seats")

    def __init__(self, makeId: Callable[[], str], habits: Habits | None = None) -> None:
        """
        @param makeId: makes the ids of copies. They must not be guessable.
        @param habits: what is known of the account's server.
        """
        self.seats: list[Seat] = []
        self._makeId = makeId
        self._habits = habits or Habits()
        self._conversation: list[tuple[Direction, str, str]] = []

    @property
    def served(self) -> bool:
        """Whether all sessions are. Where most are not, that is found at the first."""
        seats = self.seats
        return seats[0].served and all([each.served for each in seats])

    def join(self, seat: Seat) -> None:
        """A resource was bound. Nothing that came before is owed to it."""
        if seat.served and not all(each.served for each in self.seats):
            seat.begin()
        self.seats.append(seat)

    def leave(self, seat: Seat) -> None:
        """The server will send nothing more to this session."""
        self.seats.remove(seat)
        if not all(each.served for each in self.seats):
            for each in self.seats:
                if each.asked:
                    each.miss(seat.jid)

    def received(self, seat: Seat, message: Stanza) -> Decision:
        """
        The server sent a message to a session.

        @return: whether the siblings may get copies, and why.
        """
        stored = _wasStored(message, seat.account)
        left = self.served and not stored
        if not seat.owed and (left or len(self.seats) == 1):
            seat.outbox.put(message.data)
            return _ALONE
        sender = message.attributes.get("from", seat.account)
        decision = self._eligible(message, Direction.RECEIVED, seat.account, sender)
        if not decision.copy:
            seat.outbox.put(message.data)
            return decision
        if self._redeem(seat, message, message.data):
            return _FORK
        seat.outbox.append(message.data)
        if left:
            return _ALONE
        line = Line(message, Direction.RECEIVED, sender, stamped=seat.stamped)
        atOnce = self._isForOne(seat, message)
        self._owe(seat, line, atOnce=atOnce, stored=stored)
        return decision

    def carbon(self, seat: Seat, carbon: Stanza, direction: Direction, message: Stanza) -> Decision:
        """
        The server sent its copy of a message to a session.

        @param carbon: the copy.
        @param direction: of the message.
        @param message: what is in it.
        @return: whether siblings to which the server sends no carbons may get copies, and why.
        """
        sent = direction is Direction.SENT
        sender = message.attributes.get("from", seat.account)
        if sent:
            sender = self._asBound(sender)
        told = sent and (any(each.jid == sender for each in self.seats) or seat.misses(sender))
        if told and not seat.served:
            return _FORK  # sent() has shown it
        id = self._makeId() if sent else ""
        line = Line(message, direction, sender, id, stamped=seat.stamped)
        if seat.carbons:
            shown = carbon.data
            seat.copied += 1
        else:
            shown = seat.copyOf(line, seat.due(line))
        # Servers bring what was stored while nobody was there to one session, without carbons.
        left = self.served and not _wasStored(message, seat.account)
        if left and not seat.owed:
            if shown:
                seat.outbox.put(shown)
            return _ALONE
        if self._redeem(seat, message, shown):
            return _FORK
        peer = message.attributes.get("to", "") if sent else sender
        decision = self._eligible(message, direction, seat.account, peer)
        if shown and not decision.copy:
            seat.outbox.put(shown)
        elif shown:
            seat.outbox.append(shown)
        if left or not decision.copy:
            return _ALONE if left else decision
        if told or seat.fresh:
            return _FORK  # of what sent() was told, or of what siblings got before this one joined
        self._owe(seat, line)
        return _NEW

    def _asBound(self, jid: str) -> str:
        """A full JID of the account's own, in the spelling of the session's that has it."""
        jids = [each.jid for each in self.seats]
        if jid in jids:
            return jid
        resource = resourceOf(jid)
        return next((each for each in jids if resourceOf(each) == resource), jid)

    def passed(self, seat: Seat, number: int) -> None:
        """The server has handled everything up to this credit: no fork can come any more."""
        seat.passed(number)

    def overdue(self, seat: Seat) -> None:
        """The session has waited long enough: show the copies. Forks may still come, unshown."""
        seat.settle()

    def sent(self, seat: Seat, message: Stanza) -> Decision:
        """
        A session's client sent a message, and the server has it by now.

        @return: whether the siblings may get copies, and why.
        """
        if len(self.seats) == 1 or self.served:
            return _ALONE
        to = message.attributes.get("to")
        if to is None or belongs(to, seat.account):
            return _TO_ONESELF  # the server brings it, or received() copies it
        decision = self._eligible(message, Direction.SENT, seat.account, to)
        if decision.copy:
            line = Line(message, Direction.SENT, seat.jid, self._makeId())
            for sibling in self.seats:
                if sibling is not seat and not sibling.served:
                    seat.shared += sibling.show(line)
        return decision

    def _eligible(self, message: Stanza, direction: Direction, account: str, peer: str) -> Decision:
        answers = message.type == "error" and self._answers(message, direction, peer)
        decision = carbons.eligible(message, direction, account, answers=answers)
        if decision.copy and message.id is not None:
            self._conversation.append((direction, peer, message.id))
            del self._conversation[:-_REMEMBERED]
        return decision

    def _answers(self, error: Stanza, direction: Direction, peer: str) -> bool:
        """Whether an error answers a message that was eligible, and went the other way."""
        return any(
            id == error.id and way is not direction and same(each, peer)
            for way, each, id in self._conversation
        )

    def _redeem(self, seat: Seat, message: Stanza, shown: bytes) -> bool:
        credit = seat.redeem(message, shown) if seat.owed else None
        if credit is None:
            return False
        to = message.attributes.get("to", "")
        if to == seat.jid and credit.line.message.attributes.get("to", to) != to:
            self._habits.rewrites = True
        return True

    def _isForOne(self, seat: Seat, message: Stanza) -> bool:
        """Whether the server has certainly sent a message to this session alone."""
        to = message.attributes.get("to")
        if to == seat.jid:
            return self._habits.known
        if to == seat.account and not message.has(ns.DELAY, "delay"):
            self._habits.keeps = True
        return False

    def _owe(self, seat: Seat, line: Line, *, atOnce: bool = False, stored: bool = False) -> None:
        common = key(line.message)
        for sibling in self.seats:
            if sibling is not seat:
                # The server shows a line to those it serves; a fork of it may come all the same.
                served = sibling.served and not stored
                due = Due.NOTHING if served else sibling.due(line)
                sibling.owe(Credit(common, line, due), atOnce=atOnce and not served)


def _wasStored(message: Stanza, account: str) -> bool:
    """
    Whether the server may have kept a message while no session was there (XEP-0160). What it holds
    back for inactive clients (XEP-0352) has a delay, too, but no body. What it sends again after a
    stream was resumed (XEP-0198) has both, but it was for a session that was there.

    @param account: the bare JID.
    """
    children = message.children
    if (ns.DELAY, "delay") not in children or (ns.CLIENT, "body") not in children:
        return False
    delays = message.element.elements(ns.DELAY, "delay")
    return not all(_wasResent(delay, account) for delay in delays)


def _wasResent(delay: domish.Element, account: str) -> bool:
    """Whether it is the mark of a stanza that is sent again: Prosody's, or ejabberd's."""
    return delay.getAttribute("from") == account or str(delay) == "Resent"
