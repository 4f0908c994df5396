"""
Long computations, such as the thousands of iterations of SCRAM: in threads, a few at a time.

Fewer than there are processors, so that one is left for the reactor, and fewer than the reactor has
threads, so that one is left for looking up names.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThreadPool

#: How many at a time at most; the reactor has ten threads.
MOST = 8


class Compute(Protocol):
    """Calls a function, somewhere."""

    def __call__(self, function: Callable[[bytes], bytes], argument: bytes, /) -> Deferred[bytes]:
        """
        @param function: called with C{argument}, perhaps in another thread.
        @return: fires with its result. Once cancelled, it is not called if it has not been yet,
            and its result is dropped if it has.
        """


class Computing:
    """Calls functions in the reactor's threads, in the order in which they came."""

    def __init__(self, reactor: Any, most: int | None = None) -> None:
        """
        @param reactor: provides C{IReactorThreads}, and the pool.
        @param most: how many at a time; L{None} for one fewer than there are processors.
        """
        self._reactor = reactor
        self._places = DeferredSemaphore(most or max(1, min(MOST, (os.cpu_count() or 1) - 1)))

    def __call__(self, function: Callable[[bytes], bytes], argument: bytes, /) -> Deferred[bytes]:
        """See L{Compute}."""
        return self._places.acquire().addCallback(self._begin, function, argument)

    def _begin(
        self, _: object, function: Callable[[bytes], bytes], argument: bytes
    ) -> Deferred[bytes]:
        """There is a place: taken until the thread is done, as threads cannot be cancelled."""
        pool = self._reactor.getThreadPool()
        computing = deferToThreadPool(self._reactor, pool, function, argument)
        result: Deferred[bytes] = Deferred()
        computing.addBoth(self._done).chainDeferred(result)
        return result

    def _done(self, outcome: Any) -> Any:
        self._places.release()
        return outcome
