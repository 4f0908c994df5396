"""Accounts: the live sessions that share a bare JID."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from xmpproxy.ids import Ids
from xmpproxy.jid import split
from xmpproxy.mirror import Habits, Mirror
from xmpproxy.queues import Waiting
from xmpproxy.silence import Patience


class Session(Waiting, Protocol):
    """What an account needs of a session."""

    def flushUpstream(self) -> None:
        """Write to the server what was gathered for it."""

    def flushDownstream(self) -> None:
        """Write to the client what was gathered for it."""

    def look(self, patience: Patience) -> None:
        """Look whether client and server are still there."""


class Account:
    """
    The sessions of one bare JID.

    @ivar jid: the bare JID, in the spelling that L{Seat.canonical} has.
    @ivar mirror: what they show each other.
    """

    __slots__ = ("_dirty", "jid", "mirror", "sessions")

    def __init__(self, jid: str, makeId: Callable[[], str], habits: Habits) -> None:
        self.jid = jid
        self.sessions: list[Session] = []
        self.mirror = Mirror(makeId, habits)
        self._dirty: list[Session] = []

    def mark(self, session: Session) -> None:
        """Have C{flush} write what this session has gathered."""
        self._dirty.append(session)

    def flush(self) -> None:
        """
        Write what was gathered in this turn of the reactor: first to the server, then to clients,
        so that a message is where it was going before a sibling hears of it.
        """
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for session in dirty:
                session.flushUpstream()
            for session in dirty:
                session.flushDownstream()


class Accounts:
    """
    All accounts that have a session.

    @ivar ids: makes the ids of stanzas that are ours.
    """

    def __init__(self, ids: Ids) -> None:
        self._accounts: dict[str, Account] = {}
        self._live: dict[str, int] = {}
        self._habits: dict[str, Habits] = {}  # of each domain's server
        self.ids = ids
        self._makeId = ids.make

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def sessions(self) -> list[Session]:
        """All their sessions."""
        return [session for account in self for session in account.sessions]

    def live(self, jid: str) -> int:
        """How many sessions an account has, from C{begin} to C{end}: also those not ready yet."""
        return self._live.get(jid, 0)

    def begin(self, jid: str) -> None:
        """A session of an account begins."""
        self._live[jid] = self.live(jid) + 1

    def end(self, jid: str) -> None:
        """It is over, though its upstream may not be closed yet."""
        self._live[jid] -= 1
        if not self._live[jid]:
            del self._live[jid]

    def join(self, jid: str, session: Session) -> Account:
        """
        A session's resource was bound.

        @param jid: the bare JID, see L{Seat.canonical}.
        """
        account = self._accounts.get(jid)
        if account is None:
            habits = self._habits.setdefault(split(jid)[1], Habits())
            account = self._accounts[jid] = Account(jid, self._makeId, habits)
        account.sessions.append(session)
        return account

    def leave(self, account: Account, session: Session) -> None:
        """A session's upstream is closed."""
        account.sessions.remove(session)
        if not account.sessions:
            del self._accounts[account.jid]
