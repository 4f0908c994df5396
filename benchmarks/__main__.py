"""C{python -m benchmarks}: measure everything, or one part of it, and print it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IReactorCore
from twisted.internet.ssl import Certificate
from twisted.internet.task import react

from benchmarks import regimes, subjects
from benchmarks.client import Door
from benchmarks.regimes import Regime
from benchmarks.report import PARTS, report
from benchmarks.scenes import Scene
from benchmarks.sink import DOMAIN, Sink
from benchmarks.subjects import Subject
from xmpproxy.lab import certificates

_LATEST = Path(__file__).parent.parent / "docs" / "benchmarks" / "latest.txt"
_RELAYING = (*regimes.BACK_TO_BACK, *regimes.SPREAD_OUT)
#: What of each part is measured where.
_PLANS: dict[str, dict[str, tuple[Regime, ...]]] = {
    "relaying": {
        "alone": (*regimes.BACK_TO_BACK, *regimes.PLAIN_COPIES),
        "crowd": (*_RELAYING, *regimes.PLAIN_COPIES),
        "splice": _RELAYING,
        "TLS splice": _RELAYING,
        "domish": _RELAYING,
    },
    "copies": {
        "alone": (
            *regimes.BACK_TO_BACK,
            *regimes.COPIES.values(),
            *regimes.WITH_EXTRAS,
            *regimes.ONE_AT_A_TIME,
            *regimes.SERVED,
        ),
        "unmirrored": (*regimes.BACK_TO_BACK, *regimes.SERVED),
    },
}


def _start(name: str, directory: Path, upstream: int) -> Subject:
    """One of the processes that the plans name."""
    match name:
        case "splice":
            return subjects.relay("splice", directory, upstream, tls=False)
        case "TLS splice":
            return subjects.relay("splice", directory, upstream)
        case "domish":
            return subjects.relay("domish", directory, upstream)
        case _:
            return subjects.proxy(directory, upstream, mirror=name != "unmirrored")


async def _open(scene: Scene, plan: Sequence[Regime], accounts: int) -> None:
    """
    Log in all that a plan needs.

    @param accounts: how many others are online, besides.
    """
    if accounts:
        await scene.openOthers(accounts)
    await scene.openSingle()
    for regime in plan:
        if regime.account is not None:
            await scene.openAccount(regime.account)


async def measure(parts: Sequence[str], messages: int, repeats: int, accounts: int) -> str:
    """
    Measure.

    @param parts: which parts.
    @param messages: in one run of back to back relaying; less where a message costs more.
    @param repeats: how many runs the lowest cost is taken of.
    @param accounts: how many others are online where there are any.
    @return: the report.
    """
    plans: dict[str, tuple[Regime, ...]] = {}
    for part in parts:
        for name, plan in _PLANS[part].items():
            plans[name] = tuple(dict.fromkeys((*plans.get(name, ()), *plan)))
    sink = Sink()
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(sink)
    upstream = port.getHost().port
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        certificates.make(directory, DOMAIN)
        authority = Certificate.loadPEM((directory / "ca.pem").read_bytes())
        started = {name: _start(name, directory, upstream) for name in plans}
        for subject in started.values():
            stack.callback(subject.stop)
        scenes: dict[str, Scene] = {}
        for name, subject in started.items():
            subject.waitUntilListening()
            scene = Scene(subject, Door(subject.port, subject.tls, authority, sink))
            scenes[name] = scene
            quiet = name in ("alone", "unmirrored")
            await _open(scene, plans[name], 0 if quiet else accounts)
        costs: dict[tuple[Regime, str], float] = defaultdict(lambda: float("inf"))
        for _ in range(repeats):
            for regime in dict.fromkeys(regime for plan in plans.values() for regime in plan):
                for name, plan in plans.items():
                    if regime in plan:
                        cost = await regime.cost(scenes[name], messages)
                        costs[regime, name] = min(costs[regime, name], cost)
        return report(parts, costs, scenes, repeats)


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS, help="measure only this")
    parser.add_argument(
        "--quick", action="store_true", help="in less than a minute, and less exact"
    )
    parser.add_argument("--write", action="store_true", help=f"write it to {_LATEST.name}, too")
    options = parser.parse_args(arguments)
    if options.write and options.part:
        parser.error(f"{_LATEST.name} has all parts")
    parts = [options.part] if options.part else list(PARTS)
    subjects.raiseLimits()
    subjects.pin(0, 1)

    async def run(reactor: IReactorCore) -> None:
        counts = (4000, 3, 100) if options.quick else (12000, 7, 500)
        text = await measure(parts, *counts)
        print(text)
        if options.write:
            _LATEST.parent.mkdir(exist_ok=True)
            _LATEST.write_text(f"{text}\n", encoding="utf-8")

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


main(sys.argv[1:])
