"""C{python -m tests.soak}: have things break for long, and count what that does to messages."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEventAsClassicLogText,
    globalLogPublisher,
)
from zope.interface import provider

from tests import faults
from tests.faults import Tally, World
from xmpproxy import lab

_SERVERS = ("prosody", "ejabberd", "jabberd2")
_ROWS = ("rounds", *faults.LINKS, *faults.BEHIND, *faults.COUNTS)
#: How often what breaks; a server that starts takes seconds.
_WEIGHTS = {"cut": 5, "freeze": 5, "hurry": 4, "both": 4, "proxy": 2, "upstream": 2, "server": 1}

_PROXIED = ("proxy", "upstream")


def main(arguments: Sequence[str]) -> None:
    """Run it; the exit status is 1 if anything was lost, doubled or disturbed that must not be."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for all servers together")
    parser.add_argument("--server", choices=_SERVERS, action="append", help="default: all three")
    parser.add_argument("--direct", action="store_true", help="without the proxy, to compare")
    parser.add_argument(
        "--upstream-resume", action="store_true", help="with upstream-resume = true"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(arguments)
    react(lambda _: Deferred.fromCoroutine(_soak(options)))


async def _soak(options: argparse.Namespace) -> None:
    servers = options.server or _SERVERS
    print(f"seed {options.seed}", flush=True)
    tallies = {}
    for kind in servers:
        tallies[kind] = await _one(kind, options.seconds / len(servers), options)
    print(f"\n{'':20}" + "".join(f"{kind:>10}" for kind in tallies))
    for name in _ROWS:
        counts = "".join(f"{each.counts[name]:10}" for each in tallies.values())
        print(f"{name:20}{counts}  {faults.COUNTS.get(name, '')}".rstrip())
    print(f"{'problems':20}" + "".join(f"{len(each.problems):10}" for each in tallies.values()))
    if any(each.problems for each in tallies.values()):
        raise SystemExit(1)


async def _one(kind: str, seconds: float, options: argparse.Namespace) -> Tally:
    seed, direct = options.seed, options.direct
    directory = Path(tempfile.mkdtemp(prefix="xmpproxy-"))
    server = lab.start(kind, directory, users=faults.USERS)
    world = World(server, random.Random(f"{seed} {kind}"), direct, options.upstream_resume)
    problems = world.tally.problems

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event["log_level"] is LogLevel.critical:
            problems.append(f"{kind}: {formatEventAsClassicLogText(event)}")

    globalLogPublisher.addObserver(observe)
    end = reactor.seconds() + seconds
    told = 0
    try:
        await world.start()
        chance = random.Random(f"{seed} {kind} faults")
        weights = {key: _WEIGHTS[key] for key in _WEIGHTS if not direct or key not in _PROXIED}
        while reactor.seconds() < end:
            chosen = chance.choices(list(weights), list(weights.values()), k=chance.randrange(1, 4))
            await world.round(*chosen)
            for problem in problems[told:]:
                print(problem, flush=True)
            told = len(problems)
            if world.tally.counts["rounds"] % 20 == 0:
                counts = ", ".join(f"{world.tally.counts[name]} {name}" for name in _ROWS)
                print(f"{kind}: {counts}", flush=True)
    except Exception as error:
        problems.append(f"{kind}: {type(error).__name__}: {error}")
        print(problems[-1], flush=True)
        traceback.print_exc()
    finally:
        await world.stop()
        globalLogPublisher.removeObserver(observe)
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return world.tally


if __name__ == "__main__":
    main(sys.argv[1:])
