"""
The proxy, with a watch on the turns of its reactor. C{python -m benchmarks.turns FILE} takes,
behind the file, what C{twistd} takes. In the file it counts turns by their length for another
process.

A turn is all that happens between two polls: nobody else is served meanwhile.
"""

from __future__ import annotations

import math
import mmap
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.scripts.twistd import run

#: Lengths are counted in classes: so many for each doubling, beginning with a microsecond.
_CLASSES = 8
_MOST = 32 * _CLASSES
_SIZE = 8

#: What is shown of turns, in milliseconds.
COLUMNS = ("turns", "99.9 % CPU", "longest CPU", "99.9 %", "longest")


class Lengths:
    """The lengths of turns, since they were last forgotten."""

    def __init__(self, shared: memoryview) -> None:
        self._counts = shared[: _MOST * _SIZE].cast("Q")
        self._longest = shared[_MOST * _SIZE :].cast("d")

    def forget(self) -> None:
        """Begin anew."""
        self._counts[:] = memoryview(bytes(_MOST * _SIZE)).cast("Q")
        self._longest[0] = 0.0

    @property
    def longest(self) -> float:
        """The longest, in seconds."""
        return self._longest[0]

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)

    def within(self, share: float) -> float:
        """
        The time within which turns ended, in seconds, rounded up by a tenth at most.

        @param share: of all turns: 0.999 for all but one in a thousand.
        """
        missing = share * self.count
        for index, count in enumerate(self._counts[:-1]):
            missing -= count
            if missing <= 0:
                return min(self.longest, 2 ** ((index + 1) / _CLASSES) / 1e6)
        return self.longest

    def note(self, seconds: float) -> None:
        """A turn is over."""
        index = int(_CLASSES * math.log2(seconds * 1e6)) if seconds > 1e-6 else 0
        self._counts[min(index, _MOST - 1)] += 1
        if seconds > self._longest[0]:
            self._longest[0] = seconds


class Turns:
    """
    The turns of some process, since they were last forgotten.

    @ivar cpu: by CPU time: what they take where nothing else keeps the core busy.
    @ivar wall: by the clock on the wall.
    """

    def __init__(self, file: Path) -> None:
        """
        @param file: made if it is not there.
        """
        size = (_MOST + 1) * _SIZE
        with file.open("a+b") as opened:
            opened.truncate(2 * size)
            shared = memoryview(mmap.mmap(opened.fileno(), 2 * size))
        self.cpu, self.wall = Lengths(shared[:size]), Lengths(shared[size:])

    def forget(self) -> None:
        """Begin anew."""
        self.cpu.forget()
        self.wall.forget()

    def cells(self) -> list[str]:
        """The cells of a row, for C{COLUMNS}; what they are about is forgotten then."""
        times = [
            each
            for lengths in (self.cpu, self.wall)
            for each in (lengths.within(0.999), lengths.longest)
        ]
        cells = [f"{self.wall.count}", *(f"{1000 * each:.1f}" for each in times)]
        self.forget()
        return cells

    def watch(self, reactor: Any) -> None:
        """
        Watch the turns of this process from now on.

        @param reactor: Twisted's epoll reactor, not running yet.
        """
        reactor._poller = _Poller(reactor._poller, self)


class _Poller:
    """An epoll object, and when it was left."""

    def __init__(self, poller: Any, turns: Turns) -> None:
        self._poll = poller.poll
        self._turns = turns
        self._left: float | None = None
        self._cpu = 0.0
        for name in ("register", "modify", "unregister", "close", "fileno"):
            setattr(self, name, getattr(poller, name))

    def poll(self, *arguments: Any) -> Any:
        """See C{select.epoll.poll}."""
        if self._left is not None:
            self._turns.wall.note(time.monotonic() - self._left)
            self._turns.cpu.note(time.thread_time() - self._cpu)
        events = self._poll(*arguments)
        self._left, self._cpu = time.monotonic(), time.thread_time()
        return events


if __name__ == "__main__":
    Turns(Path(sys.argv.pop(1))).watch(reactor)
    run()
