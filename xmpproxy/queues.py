"""All that waits because somebody does not take it, of all sessions together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Of what may wait, how much more has to since all sessions were looked at, until they are again:
#: a look takes a microsecond for every session.
SHARE = 1 / 8
#: By how many bytes a session's queues have to grow, where that happens often, to be counted anew.
GRAIN = 16384


class Waiting(Protocol):
    """
    A session, as far as it has queues.

    @ivar counted: what was waiting there when it was counted last, in bytes.
    """

    counted: int

    @property
    def waiting(self) -> int:
        """How many bytes wait for its client, or for its server; 0 once it has ended."""

    def makeRoom(self, text: str) -> None:
        """
        End.

        @param text: why, for the client and the log.
        """


class Queues:
    """
    Keeps the total, and ends the sessions where most waits while it is too much.

    A session is counted when more has to wait there, and not whenever something was taken. So there
    may be less than the total says; before any session has to end, all are counted. Not each time:
    an eighth more than allowed may wait for a while.

    @ivar total: how many bytes wait at most.
    """

    def __init__(
        self, most: int, sessions: Callable[[], Iterable[Waiting]], clock: IReactorTime
    ) -> None:
        """
        @param most: how many bytes may wait.
        @param sessions: gives all that there are.
        """
        self.total = 0
        self._most = most
        self._sessions = sessions
        self._clock = clock
        self._enough = most  # beyond it all are looked at
        self._looking: IDelayedCall | None = None

    def count(self, session: Waiting) -> None:
        """Look how much waits there."""
        waiting = session.waiting
        self.total += waiting - session.counted
        session.counted = waiting
        if self.total > self._enough and self._looking is None:
            # Not at once: it may be in the middle of something.
            self._looking = self._clock.callLater(0, self._look)

    def _look(self) -> None:
        try:
            self._makeRoom(list(self._sessions()))
        finally:
            self._enough = max(self._most, self.total + int(self._most * SHARE))
            self._looking = None

    def _makeRoom(self, sessions: list[Waiting]) -> None:
        for session in sessions:
            self.count(session)
        sessions.sort(key=lambda session: session.counted, reverse=True)
        for session in sessions:
            if self.total <= self._most:
                return
            session.makeRoom(f"more than {self._most} bytes wait in all (all-queues-bytes)")
            self.count(session)
