"""
The proxy, with a watch on its garbage collector. C{python -m benchmarks.pauses FILE} takes, behind
the file, what C{twistd} takes. In the file it keeps the longest pauses for another process to read.
"""

from __future__ import annotations

import gc
import mmap
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from struct import Struct

from twisted.internet import reactor
from twisted.scripts.twistd import run

_LAYOUT = Struct("3d3q")  # the longest (seconds) and how many, by generation


class Pauses:
    """The collector's pauses in some process, since they were last forgotten."""

    def __init__(self, file: Path) -> None:
        """
        @param file: made if it is not there.
        """
        with file.open("a+b") as opened:
            opened.truncate(_LAYOUT.size)
            self._shared = mmap.mmap(opened.fileno(), _LAYOUT.size)
        self._began = 0.0

    def forget(self) -> None:
        """Begin anew."""
        self._shared[:] = bytes(_LAYOUT.size)

    @property
    def longest(self) -> tuple[float, ...]:
        """The longest pause for each generation, in seconds."""
        return _LAYOUT.unpack(self._shared)[:3]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many pauses there were for each generation."""
        return _LAYOUT.unpack(self._shared)[3:]

    def watch(self) -> None:
        """Watch this process from now on. What else waits for its collections counts as pause."""
        gc.callbacks.append(self._collecting)

    def _collecting(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began = time.thread_time()
            return
        values = list(_LAYOUT.unpack(self._shared))
        generation = info["generation"]
        values[generation] = max(values[generation], time.thread_time() - self._began)
        values[3 + generation] += 1
        self._shared[:] = _LAYOUT.pack(*values)


if __name__ == "__main__":
    reactor.callWhenRunning(Pauses(Path(sys.argv.pop(1))).watch)
    run()
