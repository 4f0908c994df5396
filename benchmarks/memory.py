"""The part C{memory}: what an idle session's memory consists of."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater

from benchmarks import subjects
from benchmarks.report import table
from benchmarks.stage import Effort, Stage
from benchmarks.subjects import Subject

#: What is less than this share of what Python takes is not listed.
_SHARE = 0.02


async def measure(stage: Stage, effort: Effort) -> list[str]:
    """Measure, and say what was found, by line."""
    file = stage.directory / "traces"
    tracing = subjects.proxy(stage.directory, stage.upstream, traces=file)
    scenes = stage.scenes(
        {
            "all": subjects.proxy(stage.directory, stage.upstream),
            "no TLS": subjects.proxy(stage.directory, stage.upstream, tls="none"),
            "traced": tracing,
        }
    )
    sessions = effort.accounts
    for name in ("all", "no TLS"):
        await scenes[name].openOthers(sessions)
    await scenes["traced"].openOthers(1)
    before = await _taken(tracing, file)
    await scenes["traced"].openOthers(sessions)
    taken = await _taken(tracing, file)
    taken.subtract(before)
    by = {name: size / sessions / 1024 for name, size in taken.most_common()}
    python = sum(by.values())
    listed = {name: size for name, size in by.items() if size >= _SHARE * python}
    resident = scenes["all"].idleKilobytes
    rows = [
        ("resident", resident),
        ("  more than without TLS", resident - scenes["no TLS"].idleKilobytes),
        ("  objects of Python, and who made them", python),
        *((f"    {name}", size) for name, size in listed.items()),
        ("    other files", python - sum(listed.values())),
        ("  beside them: OpenSSL, expat, what is free", resident - python),
    ]
    cells = [(name, [f"{size:.1f}"]) for name, size in rows]
    return table(f"An idle session, mean of {sessions}: KiB", ("",), cells)


async def _taken(subject: Subject, file: Path) -> Counter[str]:
    """How many bytes Python has taken in a process, by who had it taken."""
    subject.signal(signal.SIGUSR2)
    while not file.exists():
        await deferLater(reactor, 0.05)
    taken = Counter(json.loads(file.read_text()))
    file.unlink()
    return taken
