"""C{python -m benchmarks}: measure everything, or one part of it, and print it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import react

from benchmarks import copies, flood, growing, management, memory, peers, relaying, scale, subjects
from benchmarks.report import about
from benchmarks.stage import FULL, QUICK, Effort, Stage, stage

_LATEST = Path(__file__).parent.parent / "docs" / "benchmarks" / "latest.txt"
#: What is measured, by part: each gives its lines of the report.
_PARTS: Mapping[str, Callable[[Stage, Effort], Awaitable[list[str]]]] = {
    "relaying": relaying.measure,
    "copies": copies.measure,
    "management": management.measure,
    "peers": peers.measure,
    "growing": growing.measure,
    "memory": memory.measure,
}
#: The same for parts that are measured, and kept, apart from all others.
_APART: Mapping[str, Callable[[Stage, Effort], Awaitable[list[str]]]] = {
    "scale": scale.measure,
    "flood": flood.measure,
}


async def measure(parts: Sequence[str], effort: Effort) -> tuple[str, dict[str, str]]:
    """
    Measure.

    @param parts: which parts.
    @return: the report, and pictures by their file names.
    """
    lines, pictures = about(effort.repeats), {}
    for part in parts:
        async with stage() as place:
            lines += await {**_PARTS, **_APART}[part](place, effort)
            pictures.update(place.pictures)
    return "\n".join(lines), pictures


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="?", choices=[*_PARTS, *_APART], help="measure only this")
    parser.add_argument(
        "--quick", action="store_true", help="in less than a minute, and less exact"
    )
    parser.add_argument("--write", action="store_true", help=f"keep it beside {_LATEST.name}, too")
    options = parser.parse_args(arguments)
    if options.write and options.part in _PARTS:
        parser.error(f"{_LATEST.name} has all parts")
    subjects.raiseLimits()
    subjects.pin(1)

    async def run(reactor: IReactorCore) -> None:
        parts = [options.part] if options.part else list(_PARTS)
        text, pictures = await measure(parts, QUICK if options.quick else FULL)
        print(text)
        if options.write:
            _LATEST.parent.mkdir(exist_ok=True)
            report = f"{options.part}.txt" if options.part else _LATEST.name
            for name, content in {report: f"{text}\n", **pictures}.items():
                _LATEST.with_name(name).write_text(content, encoding="utf-8")

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


main(sys.argv[1:])
