"""Threads that do their work when a test says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure


class Threads:
    """
    A reactor and its pool of threads, as far as L{xmpproxy.computing.Computing} needs them.

    @ivar jobs: what the threads are to do.
    """

    def __init__(self) -> None:
        self.jobs: deque[Callable[[], None]] = deque()

    def getThreadPool(self) -> Threads:
        return self

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], None], function: Callable[..., Any], *args: object
    ) -> None:
        def job() -> None:
            try:
                result = function(*args)
            except Exception:
                onResult(False, Failure())
            else:
                onResult(True, result)

        self.jobs.append(job)

    def callFromThread(self, function: Callable[..., None], *args: object) -> None:
        function(*args)

    def work(self) -> None:
        """Do the job that came first."""
        self.jobs.popleft()()
