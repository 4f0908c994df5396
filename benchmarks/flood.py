"""
The part C{flood}: how long the reactor's turns take while some do their worst, and how long
somebody else's message is on its way meanwhile.

Those who do their worst are a process of their own, C{python -m benchmarks.flood FLOOD PORT
AUTHORITY SECONDS}.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

from benchmarks import subjects
from benchmarks.crowd import Crowd, Member
from benchmarks.report import limit, table
from benchmarks.stage import Effort, Stage
from benchmarks.turns import COLUMNS, Turns

#: Seconds for each kind of flood.
_SECONDS = 10.0
_FEWER_SECONDS = 1.0
#: Seconds in which all have logged in.
_LOGIN_SECONDS = 60.0
#: What is measured where it is to be soon.
_QUICK = ("copied", "large", "logins")
#: The longest turn but for one in a thousand, in milliseconds.
_GOAL = 20


class Flood(NamedTuple):
    """
    What some do.

    @ivar name: for people.
    @ivar data: what each sends again and again; empty: it logs in again and again.
    @ivar senders: how many do.
    @ivar sessions: how many sessions the account of each has.
    """

    name: str
    data: str
    senders: int = 20
    sessions: int = 1


def _message(content: str, to: str = "nobody@example.net") -> str:
    return f"<message to='{to}'>{content}</message>"


_TINY = _message("<body>x</body>") * 1000
_WIDE = _message("<x " + " ".join(f"a{number}=''" for number in range(60)) + "/>") * 100
_PING = "<iq type='get' id='x' to='example.com'><ping xmlns='urn:xmpp:ping'/></iq>"

_FLOODS: Mapping[str, Flood] = {
    "nothing": Flood("nothing", "", senders=0),
    "tiny": Flood("tiny messages", _TINY),
    "copied": Flood("tiny messages, to 5 siblings each", _TINY, 4, 6),
    "crowded": Flood("tiny messages, to 49 siblings", _TINY, 1, 50),
    "self": Flood(
        "tiny messages to oneself, and 5 siblings",
        _message("<body>x</body>", "flood0@example.com/0") * 1000,
        1,
        6,
    ),
    "iqs": Flood("iqs", _PING * 1000),
    "large": Flood("messages of 256 KiB", _message(f"<body>{'x' * 262000}</body>")),
    "largeCopied": Flood(
        "messages of 256 KiB, to 5 siblings each", _message(f"<body>{'x' * 262000}</body>"), 4, 6
    ),
    "deep": Flood("elements 190 deep", _message("<a>" * 190 + "</a>" * 190) * 40),
    "wide": Flood("60 attributes", _WIDE),
    "logins": Flood("logins", "", 100),
}


class _Mob(Crowd):
    """Those who do."""

    def loggedIn(self, member: Member) -> None:
        """Somebody is: once is enough, or not."""
        if self.storming:
            member.close()
            member.connect()
        else:
            super().loggedIn(member)

    storming = False


def _flood(flood: Flood, port: int, authority: Path, seconds: float) -> None:
    """Do it."""
    mob = _Mob(port, authority)
    mob.add(flood.senders * flood.sessions, max(1, flood.senders), "flood")
    if flood.data or not flood.senders:
        mob.logIn(10, _LOGIN_SECONDS)
    print("ready", flush=True)
    mob.storming = not flood.data
    for member in mob.members[: flood.senders]:
        if flood.data:
            member.flood(flood.data.encode())
        else:
            member.connect()
    end = time.monotonic() + seconds
    mob.run(lambda: time.monotonic() > end, seconds + _LOGIN_SECONDS)


async def measure(stage: Stage, effort: Effort) -> list[str]:
    """Measure, and say what was found, by line. Nothing else happens in this process meanwhile."""
    seconds = _FEWER_SECONDS if effort.quick else _SECONDS
    rows = []
    for key in _QUICK if effort.quick else _FLOODS:
        flood = _FLOODS[key]
        print(f"{flood.name} ...", file=sys.stderr, flush=True)
        rows.append((flood.name, _measured(stage, key, seconds)))
    columns = (*COLUMNS, "goal", "a message", "its 99 %")
    return table(f"Under a flood of {seconds:g} s, ms", columns, rows)


def _measured(stage: Stage, key: str, seconds: float) -> list[str]:
    """The cells of a row: turns, then the time that a message of somebody else takes."""
    server = subjects.router(stage.directory)
    stage.callback(server.stop)
    server.waitUntilListening()
    file = stage.directory / f"{key}.turns"
    proxy = subjects.proxy(stage.directory, server.port, turns=file, limited=subjects.LIMITS)
    stage.callback(proxy.stop)
    proxy.waitUntilListening()
    authority = stage.directory / "ca.pem"
    crowd = Crowd(proxy.port, authority)
    crowd.add(2, 2, "bystander")
    crowd.logIn(2, _LOGIN_SECONDS)
    command = [sys.executable, "-m", "benchmarks.flood", key, f"{proxy.port}", str(authority)]
    with subprocess.Popen([*command, f"{seconds}"], stdout=subprocess.PIPE) as flooding:
        assert flooding.stdout is not None
        flooding.stdout.readline()
        turns = Turns(file)
        turns.forget()
        took: list[float] = []
        while flooding.poll() is None:
            began = time.monotonic()
            crowd.exchange([(crowd.members[0], _asked(crowd.members[1], len(took)))], 1)
            took.append(time.monotonic() - began)
            time.sleep(0.005)
        cells = [*turns.cells(), limit(_GOAL)]
    crowd.vanish()
    for process in (proxy, server):
        process.stop()
    parts = quantiles(took, n=100)
    return [*cells, f"{1000 * parts[49]:.1f}", f"{1000 * parts[98]:.1f}"]


def _asked(receiver: Member, number: int) -> bytes:
    return (
        f"<message to='{receiver.jid}' id='{number}'><body>Who's there?</body></message>".encode()
    )


if __name__ == "__main__":
    subjects.raiseLimits()
    subjects.pin(1)
    os.nice(10)  # the others' messages are measured
    name, port, authority, seconds = sys.argv[1:]
    _flood(_FLOODS[name], int(port), Path(authority), float(seconds))
