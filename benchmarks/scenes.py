"""A process that is measured, with the sessions that are open on it."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from twisted.internet.defer import Deferred, gatherResults

from benchmarks.client import Door, Session
from benchmarks.sink import MANAGED, SERVED
from benchmarks.subjects import Nothing, Process

#: How many log in at once: xmpp-proxy waits for acknowledgements meanwhile (Nagle's algorithm).
_AT_ONCE = 10


class Account(NamedTuple):
    """
    An account with several sessions.

    @ivar siblings: how many sessions there are beside the first.
    @ivar carbons: whether their clients have enabled carbons. The first's has not.
    @ivar served: whether the server has carbons.
    """

    siblings: int
    carbons: bool = False
    served: bool = False

    @property
    def user(self) -> str:
        """Its name."""
        kind = "carbons" if self.carbons else "plain"
        return f"{SERVED if self.served else ''}{kind}{self.siblings}"


class Scene:
    """
    Sessions that are logged in through one process.

    @ivar subject: the process.
    @ivar loginMicroseconds: the CPU time that a login took.
    @ivar idleKilobytes: the memory (KiB) that an idle session takes.
    @ivar latencies: the median time (microseconds) that one message is on its way, by the way
        that it goes; the lowest of all runs.
    @ivar others: many sessions.
    @ivar single: a session that has no siblings.
    @ivar accounts: all sessions of each account with several, the first in front.
    """

    def __init__(self, subject: Process | Nothing, door: Door, managed: bool = False) -> None:
        """
        @param managed: whether there is stream management on both streams of all sessions.
        """
        self.subject = subject
        self._names = MANAGED if managed else ""
        self.loginMicroseconds = 0.0
        self.idleKilobytes = 0.0
        self.latencies: dict[str, float] = defaultdict(lambda: float("inf"))
        self.others: list[Session] = []
        self.single: Session
        self.accounts: dict[Account, list[Session]] = {}
        self._door = door

    async def openSingle(self) -> None:
        """Log in the account with one session."""
        [self.single] = await self._door.login(f"{self._names}single", ["only"])

    async def openOthers(
        self, sessions: int, accounts: int | None = None, *, vanishing: bool = False
    ) -> None:
        """
        Log in many sessions, and measure what they take.

        @param accounts: of how many accounts; L{None}: each of its own.
        @param vanishing: whether each client goes again, without a word.
        """
        accounts = accounts or sessions
        await self._door.login(f"{self._names}warm", [f"{number}" for number in range(20)])
        memory, cpu = self.subject.memory, self.subject.cpu
        for first in range(0, sessions, _AT_ONCE):
            logins = (
                self._door.logIn(f"{self._names}other{number % accounts}", f"{number}")
                for number in range(first, min(first + _AT_ONCE, sessions))
            )
            opened = await gatherResults([Deferred.fromCoroutine(each) for each in logins])
            self.others += opened
            if vanishing:
                for session in opened:
                    session.leave()
        self.loginMicroseconds = (self.subject.cpu - cpu) / sessions * 1e6
        self.idleKilobytes = (self.subject.memory - memory) / sessions

    async def turnOver(self, sessions: int) -> None:
        """Some of the others leave, one by one, and for each comes another one."""
        for number in range(sessions):
            self.others.pop(0).leave()
            self.others += await self._door.login(f"late{number}", ["only"])

    async def openAccount(self, account: Account) -> None:
        """Log in an account with several sessions, unless it is."""
        if account in self.accounts:
            return
        resources = ["first", *(f"sibling{number}" for number in range(account.siblings))]
        sessions = self.accounts[account] = await self._door.login(account.user, resources)
        if account.carbons:
            for sibling in sessions[1:]:
                await sibling.enableCarbons()
