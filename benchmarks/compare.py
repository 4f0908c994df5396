"""C{python -m benchmarks.compare REVISION}: the code at hand against an older revision of it."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.ssl import Certificate
from twisted.internet.task import react

from benchmarks import regimes, subjects
from benchmarks.client import Door
from benchmarks.scenes import Scene
from benchmarks.sink import DOMAIN, Sink
from xmpproxy.lab import certificates

_ROOT = Path(__file__).parent.parent
_PLAN = (
    *regimes.BACK_TO_BACK,
    *regimes.SPREAD_OUT,
    *regimes.ONE_IN_FLIGHT,
    *regimes.PLAIN_COPIES,
    *regimes.ONE_AT_A_TIME,
)


@contextmanager
def _checkout(revision: str) -> Iterator[Path]:
    """A work tree of a revision, for a while."""
    git = ["git", "-C", str(_ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory) / "tree"
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


async def compare(revision: str, messages: int, repeats: int, accounts: int) -> str:
    """
    Run both in turns.

    @param revision: as git takes it.
    @param messages: in one run of back to back relaying.
    @param repeats: how many runs the lowest cost is taken of.
    @param accounts: how many others are online.
    @return: a table: microseconds of CPU then and now, and their ratio.
    """
    sink = Sink()
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(sink)
    upstream = port.getHost().port
    with ExitStack() as stack:
        then = stack.enter_context(_checkout(revision))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        certificates.make(directory, DOMAIN)
        authority = Certificate.loadPEM((directory / "ca.pem").read_bytes())
        scenes = []
        for root in (then, _ROOT):
            subject = subjects.proxy(directory, upstream, root=root)
            stack.callback(subject.stop)
            subject.waitUntilListening()
            scenes.append(Scene(subject, Door(subject.port, subject.tls, authority, sink)))
        for scene in scenes:
            await scene.openOthers(accounts)
            await scene.openSingle()
            for regime in _PLAN:
                if regime.account is not None:
                    await scene.openAccount(regime.account)
        costs: dict[tuple[str, int], float] = defaultdict(lambda: float("inf"))
        for _ in range(repeats):
            for regime in _PLAN:
                for at, scene in enumerate(scenes):
                    cost = await regime.cost(scene, messages)
                    costs[regime.name, at] = min(costs[regime.name, at], cost)
        rows = [(regime.name, costs[regime.name, 0], costs[regime.name, 1]) for regime in _PLAN]
        old, new = scenes
        rows.append(("login", old.loginMicroseconds, new.loginMicroseconds))
        rows.append(("idle session, KiB", old.idleKilobytes, new.idleKilobytes))
        head = f"{'microseconds of CPU a message':45} {revision:>12.12} {'now':>9} {'ratio':>6}"
        return "\n".join(
            [head, *(f"{name:45} {a:12.1f} {b:9.1f} {b / a:6.2f}" for name, a, b in rows)]
        )


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("revision", help="the older one, as git takes it")
    parser.add_argument("--quick", action="store_true", help="sooner, and less exact")
    options = parser.parse_args(arguments)
    subjects.raiseLimits()
    subjects.pin(0, 1)
    counts = (4000, 3, 100) if options.quick else (12000, 7, 200)

    async def run() -> None:
        print(await compare(options.revision, *counts))

    react(lambda reactor: Deferred.fromCoroutine(run()))


if __name__ == "__main__":
    main(sys.argv[1:])
