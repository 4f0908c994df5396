"""A process that is measured, with the sessions that are open on it."""

from __future__ import annotations

from benchmarks.client import Door, Session
from benchmarks.subjects import Subject

#: How many siblings a message is shown to.
SIBLINGS = 4


class Scene:
    """
    Sessions that are logged in through one process.

    @ivar subject: the process.
    @ivar loginMicroseconds: the CPU time that a login took.
    @ivar idleKilobytes: the memory (KiB) that an idle session takes.
    @ivar others: one session of each of many accounts.
    @ivar single: a session that has no siblings.
    @ivar plain: the sessions of one account, of which none has carbons.
    @ivar carbons: the same where the siblings of the first have them.
    """

    def __init__(self, subject: Subject, door: Door) -> None:
        self.subject = subject
        self.loginMicroseconds = 0.0
        self.idleKilobytes = 0.0
        self.others: list[Session] = []
        self.single: Session
        self.plain: list[Session]
        self.carbons: list[Session]
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

    async def openSiblings(self) -> None:
        """Log in the two accounts with several sessions."""
        resources = ["first", *(f"sibling{number}" for number in range(SIBLINGS))]
        self.plain = await self._door.login("plain", resources)
        self.carbons = await self._door.login("carbons", resources)
        for sibling in self.carbons[1:]:
            await sibling.enableCarbons()
