"""Deadlines of thousands, by one call of the reactor; those that come together are met in turns."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from xmpproxy.later import later

log = Logger()

#: How many are met in one piece of work: it takes a tenth of a millisecond or two to end a session.
PORTION = 10


class Deadlines:
    """Who has how much time left, each known by an id of its own."""

    def __init__(self, clock: IReactorTime, over: Callable[[str], None]) -> None:
        """
        @param over: called with each id whose time is over, the earliest first.
        """
        self._clock = clock
        self._over = over
        self._when: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # with some that are cancelled
        self._next: IDelayedCall | None = None  # while there are any, unless some are being met
        self._meeting = False

    def set(self, id: str, seconds: float) -> None:
        """From now on there is so much time."""
        when = self._clock.seconds() + seconds
        self._when[id] = when
        heappush(self._heap, (when, id))
        if len(self._heap) > 2 * len(self._when) + PORTION:
            self._heap = [(when, id) for id, when in self._when.items()]
            heapify(self._heap)
        if self._next is not None and when < self._next.getTime():
            self._next.reset(seconds)
        self._wait()

    def cancel(self, id: str) -> None:
        """There is no deadline, if there was one."""
        self._when.pop(id, None)
        if not self._when:
            self._heap.clear()
            if self._next is not None:
                self._next.cancel()
                self._next = None

    def _wait(self) -> None:
        if self._heap and self._next is None and not self._meeting:
            seconds = max(0.0, self._heap[0][0] - self._clock.seconds())
            self._next = self._clock.callLater(seconds, self._due)

    def _due(self) -> None:
        self._next = None
        self._meeting = True
        later(self._clock, self._meet)

    def _meet(self) -> None:
        now = self._clock.seconds()
        for _ in range(PORTION):
            if not self._heap or self._heap[0][0] > now:
                self._meeting = False
                self._wait()
                return
            when, id = heappop(self._heap)
            if self._when.get(id) == when:
                self.cancel(id)
                try:
                    self._over(id)
                except Exception:
                    log.failure("cannot meet a deadline")
        later(self._clock, self._meet)
