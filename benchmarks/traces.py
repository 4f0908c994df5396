"""
The proxy, with notes about who takes memory. C{python -m benchmarks.traces FILE} takes, behind the
file, what C{twistd} takes. On SIGUSR2 it writes into the file, as JSON, how many bytes Python has
taken since it runs, by the file of ours that had them taken.
"""

from __future__ import annotations

import json
import signal
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

from twisted.internet import reactor
from twisted.scripts.twistd import run

import xmpproxy

#: What no file of ours had taken.
_OTHERS = "Twisted"

_OURS = f"{Path(xmpproxy.__file__).parent}/"
#: All that is read comes through this one, so it says nothing.
_READING = f"{_OURS}polling.py"
#: How far a file of ours may be from who takes the memory, in calls.
_FRAMES = 24


def _write(file: Path) -> None:
    taken: Counter[str] = Counter()
    tracing = tracemalloc.Filter(False, tracemalloc.__file__, all_frames=True)
    for trace in tracemalloc.take_snapshot().filter_traces([tracing]).traces:
        taken[_who(trace.traceback)] += trace.size
    written = file.with_suffix(".new")
    written.write_text(json.dumps(taken))
    written.rename(file)


def _who(traceback: tracemalloc.Traceback) -> str:
    for frame in reversed(traceback):
        if frame.filename.startswith(_OURS) and frame.filename != _READING:
            return frame.filename.removeprefix(_OURS)
    return _OTHERS


if __name__ == "__main__":
    target = Path(sys.argv.pop(1))
    signal.signal(signal.SIGUSR2, lambda *_: _write(target))
    reactor.callWhenRunning(tracemalloc.start, _FRAMES)
    run()
