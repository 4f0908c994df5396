"""Work that is too much for one turn of the reactor: all of it together gets a share of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IReactorTime

#: Seconds of a turn after which nothing more of it is begun.
SHARE = 0.003


class Later:
    """What is to be done in later turns of one reactor, in the order in which it came."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def add(self, clock: IReactorTime, work: Callable[[], None]) -> None:
        """
        Have something done.

        @param clock: the reactor, always the same.
        """
        if not self._waiting:
            clock.callLater(0, self._do, clock)
        self._waiting.append(work)

    def _do(self, clock: IReactorTime) -> None:
        waiting, self._waiting = self._waiting, deque()
        end = perf_counter() + SHARE
        try:
            while waiting:
                waiting.popleft()()
                if perf_counter() > end:
                    break
        finally:
            waiting.extend(self._waiting)  # what is to go on comes behind those who wait
            if waiting and not self._waiting:
                clock.callLater(0, self._do, clock)
            self._waiting = waiting


_ALL: WeakKeyDictionary[IReactorTime, Later] = WeakKeyDictionary()


def later(clock: IReactorTime, work: Callable[[], None]) -> None:
    """
    Have something done in a later turn of a reactor.

    @param work: takes a few milliseconds at most.
    """
    _ALL.setdefault(clock, Later()).add(clock, work)
