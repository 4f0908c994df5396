"""A process that is measured, with the sessions that are open on it."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.client import Door, Session
from benchmarks.sink import SERVED
from benchmarks.subjects import Subject


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
    @ivar others: one session of each of many accounts.
    @ivar single: a session that has no siblings.
    @ivar accounts: all sessions of each account with several, the first in front.
    """

    def __init__(self, subject: Subject, door: Door) -> None:
        self.subject = subject
        self.loginMicroseconds = 0.0
        self.idleKilobytes = 0.0
        self.others: list[Session] = []
        self.single: Session
        self.accounts: dict[Account, list[Session]] = {}
        self._door = door

    async def openSingle(self) -> None:
        """Log in the account with one session."""
        [self.single] = await self._door.login("single", ["only"])

    async def openOthers(self, accounts: int) -> None:
        """Log in many accounts, and measure what they take."""
        await self._door.login("warm", [f"{number}" for number in range(20)])
        memory, cpu = self.subject.memory, self.subject.cpu
        for number in range(accounts):
            self.others += await self._door.login(f"other{number}", ["only"])
        self.loginMicroseconds = (self.subject.cpu - cpu) / accounts * 1e6
        self.idleKilobytes = (self.subject.memory - memory) / accounts

    async def openAccount(self, account: Account) -> None:
        """Log in an account with several sessions, unless it is."""
        if account in self.accounts:
            return
        resources = ["first", *(f"sibling{number}" for number in range(account.siblings))]
        sessions = self.accounts[account] = await self._door.login(account.user, resources)
        if account.carbons:
            for sibling in sessions[1:]:
                await sibling.enableCarbons()
