"""Who may connect to a server now, and who waits: so many at once, in turn by address."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure


class Turns:
    """
    So many at a time. Of those who wait each address is served in turn, so that one from which many
    come at once keeps nobody else waiting.

    @ivar taken: how many turns are not given back.
    """

    def __init__(self, most: int) -> None:
        """
        @param most: how many at a time.
        """
        self.taken = 0
        self._most = most
        self._waiting: dict[str, deque[Deferred[None]]] = {}  # whose turn is next comes first

    def take(self, address: str) -> Deferred[None]:
        """
        Ask for a turn.

        @return: fires when it has come: C{give} it back then. Cancel it to wait no longer.
        """
        if self.taken < self._most:
            self.taken += 1
            return succeed(None)

        def cancel(turn: Deferred[None]) -> None:
            waiting = self._waiting[address]
            waiting.remove(turn)
            if not waiting:
                del self._waiting[address]

        turn: Deferred[None] = Deferred(cancel)
        self._waiting.setdefault(address, deque()).append(turn)
        return turn

    def give(self) -> None:
        """A turn is over: it is somebody else's."""
        if not self._waiting:
            self.taken -= 1
            return
        address = next(iter(self._waiting))
        waiting = self._waiting.pop(address)
        turn = waiting.popleft()
        if waiting:
            self._waiting[address] = waiting  # behind all others
        turn.callback(None)

    def fail(self, failure: Failure) -> None:
        """Nobody need wait any more: what all wait for cannot be had."""
        waiting, self._waiting = self._waiting, {}
        for turns in waiting.values():
            for turn in turns:
                turn.errback(failure)
