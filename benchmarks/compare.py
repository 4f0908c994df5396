"""C{python -m benchmarks.compare REVISION}: the code at hand against an older revision of it."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from benchmarks import regimes, subjects
from benchmarks.stage import FULL, QUICK, Effort, lowest, openFor, stage

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


async def compare(revision: str, effort: Effort) -> str:
    """
    Run both in turns.

    @param revision: as git takes it.
    @return: a table: microseconds of CPU then and now, and their ratio.
    """
    with _checkout(revision) as then:
        async with stage() as place:
            scenes = place.scenes(
                {
                    name: subjects.proxy(place.directory, place.upstream, root=root)
                    for name, root in (("then", then), ("now", _ROOT))
                }
            )
            for scene in scenes.values():
                await scene.openOthers(effort.accounts)
                await openFor(_PLAN, scene)
            costs = await lowest(dict.fromkeys(scenes, _PLAN), scenes, effort)
    rows = [(regime.name, costs[regime, "then"], costs[regime, "now"]) for regime in _PLAN]
    old, new = scenes["then"], scenes["now"]
    rows.append(("login", old.loginMicroseconds, new.loginMicroseconds))
    rows.append(("idle session, KiB", old.idleKilobytes, new.idleKilobytes))
    head = f"{'microseconds of CPU a message':45} {revision:>12.12} {'now':>9} {'ratio':>6}"
    return "\n".join([head, *(f"{name:45} {a:12.1f} {b:9.1f} {b / a:6.2f}" for name, a, b in rows)])


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("revision", help="the older one, as git takes it")
    parser.add_argument("--quick", action="store_true", help="sooner, and less exact")
    options = parser.parse_args(arguments)
    subjects.raiseLimits()
    subjects.pin(1)
    effort = QUICK if options.quick else FULL._replace(accounts=200)

    async def run() -> None:
        print(await compare(options.revision, effort))

    react(lambda reactor: Deferred.fromCoroutine(run()))


if __name__ == "__main__":
    main(sys.argv[1:])
