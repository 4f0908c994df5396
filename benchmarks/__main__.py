"""C{python -m benchmarks}: measure everything once, and print it."""

from __future__ import annotations

import argparse
import resource
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
from benchmarks.report import report
from benchmarks.scenes import Scene
from benchmarks.sink import DOMAIN, Sink
from xmpproxy.lab import certificates

_LATEST = Path(__file__).parent.parent / "docs" / "benchmarks" / "latest.txt"
_RELAYING = (*regimes.BACK_TO_BACK, *regimes.SPREAD_OUT)
#: What is measured where.
_PLAN: dict[str, tuple[Regime, ...]] = {
    "alone": (
        *regimes.BACK_TO_BACK,
        *regimes.PLAIN_COPIES,
        *regimes.OTHER_COPIES,
        *regimes.ONE_AT_A_TIME,
    ),
    "crowd": (*_RELAYING, *regimes.PLAIN_COPIES),
    "splice": _RELAYING,
    "TLS splice": _RELAYING,
    "domish": _RELAYING,
}


async def measure(messages: int, repeats: int, accounts: int) -> str:
    """
    Measure everything.

    @param messages: in one run of back to back relaying; less where a message costs more.
    @param repeats: how many runs the lowest cost is taken of.
    @param accounts: how many others are online where there are any.
    @return: the report.
    """
    sink = Sink()
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(sink)
    upstream = port.getHost().port
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        certificates.make(directory, DOMAIN)
        authority = Certificate.loadPEM((directory / "ca.pem").read_bytes())
        started = {
            "alone": subjects.proxy(directory, upstream),
            "crowd": subjects.proxy(directory, upstream),
            "splice": subjects.relay("splice", directory, upstream, tls=False),
            "TLS splice": subjects.relay("splice", directory, upstream),
            "domish": subjects.relay("domish", directory, upstream),
        }
        for subject in started.values():
            stack.callback(subject.stop)
        scenes: dict[str, Scene] = {}
        for name, subject in started.items():
            subject.waitUntilListening()
            scene = Scene(subject, Door(subject.port, subject.tls, authority, sink))
            scenes[name] = scene
            if name != "alone":
                await scene.openOthers(accounts)
            await scene.openSingle()
            if name in ("alone", "crowd"):
                await scene.openSiblings()
        costs: dict[tuple[Regime, str], float] = defaultdict(lambda: float("inf"))
        for _ in range(repeats):
            for regime in dict.fromkeys(regime for plan in _PLAN.values() for regime in plan):
                for name, plan in _PLAN.items():
                    if regime in plan:
                        cost = await regime.cost(scenes[name], messages)
                        costs[regime, name] = min(costs[regime, name], cost)
        return report(costs, scenes, repeats)


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="in less than a minute, and less exact"
    )
    parser.add_argument("--write", action="store_true", help=f"write it to {_LATEST.name}, too")
    options = parser.parse_args(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    subjects.pin(0, 1)

    async def run(reactor: IReactorCore) -> None:
        text = await (measure(4000, 3, 100) if options.quick else measure(12000, 7, 500))
        print(text)
        if options.write:
            _LATEST.parent.mkdir(exist_ok=True)
            _LATEST.write_text(f"{text}\n", encoding="utf-8")

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


main(sys.argv[1:])
