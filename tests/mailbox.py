"""What a test client received, and waiting for a particular piece of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred, TimeoutError
from twisted.python.failure import Failure

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Everything that came in, in order; each piece is handed out at most once.

    @ivar received: everything that came in, handed out or not.
    """

    def __init__(self, owner: Callable[[], str]) -> None:
        self.received: list[T] = []
        self._owner = owner
        self._untaken: list[T] = []
        self._waiting: list[tuple[Callable[[T], bool], Deferred[T]]] = []
        self._closed: Failure | None = None

    def put(self, item: T) -> None:
        """Something came in."""
        self.received.append(item)
        for entry in self._waiting:
            wanted, result = entry
            if wanted(item):
                self._waiting.remove(entry)
                result.callback(item)
                return
        self._untaken.append(item)

    def close(self, reason: Failure) -> None:
        """Nothing more will come in: whoever waits now, or will, for more fails."""
        self._closed = reason
        waiting, self._waiting = self._waiting, []
        for _, result in waiting:
            result.errback(reason)

    async def take(self, wanted: Callable[[T], bool], timeout: float) -> T:
        """The first piece that is wanted and was not handed out yet.

        @param timeout: how long to wait for it, in seconds; longer is an assertion error that says
            what came instead.
        """
        for item in self._untaken:
            if wanted(item):
                self._untaken = [other for other in self._untaken if other is not item]
                return item
        if self._closed is not None:
            self._closed.raiseException()
        result: Deferred[T] = Deferred()
        self._waiting.append((wanted, result))
        result.addTimeout(timeout, reactor)
        try:
            return await result
        except TimeoutError:
            self._waiting = [entry for entry in self._waiting if entry[1] is not result]
            came = "\n  ".join(str(self._describe(item)) for item in self._untaken)
            raise AssertionError(
                f"{self._owner()} waited {timeout} s in vain; not asked for yet:\n  {came}"
            ) from None

    def forget(self) -> None:
        """Drop what came in so far."""
        self.received.clear()
        self._untaken.clear()

    @staticmethod
    def _describe(item: T) -> object:
        toXml = getattr(item, "toXml", None)
        return toXml() if callable(toXml) else item
