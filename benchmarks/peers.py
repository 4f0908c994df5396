"""
The part C{peers}: what the proxy costs beside others that stand in the same place, a message's copy
beside what a server does for a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from twisted.internet.ssl import Certificate

from benchmarks import install, plot, regimes, subjects
from benchmarks.client import Door, Session
from benchmarks.regimes import Regime
from benchmarks.report import limit, table, verdict
from benchmarks.scenes import Scene
from benchmarks.sink import Sink
from benchmarks.stage import Costs, Effort, Stage, lowest, openFor
from benchmarks.subjects import Nothing, Process, Subject
from xmpproxy import lab

_US, _RUST, _HAPROXY, _PROSODY = "xmpproxy", "xmpp-proxy", "haproxy", "prosody"
#: The same, with TLS on both legs.
_US_TLS, _HAPROXY_TLS = f"{_US}, TLS", f"{_HAPROXY}, TLS"
#: No proxy at all, without TLS and with it.
_STRAIGHT = ("straight", "straight, TLS")

_UP, _DOWN = regimes.RELAYED["up"], regimes.RELAYED["down"]
_PLAN = (_UP, _DOWN, *regimes.WIDELY_SPREAD, *regimes.ONE_IN_FLIGHT)
_COPIES = tuple(regimes.COPIES[kind, regimes.SOME] for kind in regimes.KINDS)
#: What a copy may cost at most of what a server spends on a message.
_SERVER_GOAL = 0.1


class _Row(NamedTuple):
    """
    A line of the table.

    @ivar value: what it is about, of a scene.
    @ivar goal: the ratio to xmpp-proxy that it may have at most.
    """

    name: str
    value: Callable[[str], float]
    goal: float


async def measure(stage: Stage, effort: Effort) -> list[str]:
    """Measure, and say what was found, by line."""
    missing, started = _start(stage, effort)
    scenes = stage.scenes(started)
    plans: dict[str, tuple[Regime, ...]] = dict.fromkeys(scenes, _PLAN)
    doors = (stage.door(stage.upstream, "none"), stage.door(stage.tlsUpstream, "direct"))
    for name, door in zip(_STRAIGHT, doors, strict=True):
        scenes[name] = Scene(Nothing(), door)
        plans[name] = regimes.ONE_IN_FLIGHT
    plans[_US] = (*_PLAN, *_COPIES)
    accounts = max(effort.accounts, regimes.WIDE_SPREAD)
    for name, plan in plans.items():
        if name not in _STRAIGHT:
            await scenes[name].openOthers(accounts)
        await openFor(plan, scenes[name])
    if (reason := lab.available("prosody")) is None:
        scenes[_PROSODY] = await _openProsody(stage)
        plans[_PROSODY] = (regimes.DELIVERED,)
    else:
        missing.append(reason)
    costs = await lowest(plans, scenes, effort)
    rows = _rows(costs, scenes)
    if _RUST in scenes:
        stage.pictures["latest.svg"] = _picture(rows, scenes)
    versions = install.versions()
    heads = [f"Beside its peers, {accounts} sessions", "The same with TLS to the server"]
    return [
        *(["", f"Peers: {', '.join(versions)}"] if versions else []),
        *_beside(heads[0], rows, scenes, (_US, _RUST, _HAPROXY)),
        *_beside(heads[1], rows, scenes, (_US_TLS, _HAPROXY_TLS)),
        *_copies(costs, _PROSODY in scenes),
        *(f"Skipped: {reason}." for reason in missing),
    ]


def _start(stage: Stage, effort: Effort) -> tuple[list[str], dict[str, Subject]]:
    """
    Start what there is.

    @return: why others are not, and those that are.
    """
    directory, plain, tls = stage.directory, stage.upstream, stage.tlsUpstream
    started = {_US: subjects.proxy(directory, plain, tls="direct")}
    missing = []
    rust, hap = install.xmppProxy(), install.haproxy()
    if rust is None:
        missing.append("xmpp-proxy was not built (make bench does, where Rust is)")
    else:
        started[_RUST] = subjects.xmppProxy(rust, directory, plain)
    if hap is None:
        missing.append("haproxy is not installed (make bench does that, as root)")
    else:
        started[_HAPROXY] = subjects.haproxy(hap, directory, plain)
    if not effort.quick:
        started[_US_TLS] = subjects.proxy(directory, tls, tls="direct", upstreamTls="direct")
        if hap is not None:
            started[_HAPROXY_TLS] = subjects.haproxy(hap, directory, tls, upstreamTls=True)
    return missing, started


async def _openProsody(stage: Stage) -> Scene:
    """Prosody without carbons, with two accounts: one sends without TLS, the other gets with it."""
    with subjects.pinned():
        server = lab.start("prosody", users=("alice", "bob"), carbons=False)
    stage.callback(server.stop)
    [pid] = server.pids
    assert server.tlsPort is not None
    authority = Certificate.loadPEM(server.trust.read_bytes())
    door = Door(server.tlsPort, "direct", authority, Sink())
    receiver = await door.connect("alice", "orchard")
    sender = await Door(server.port, "none", authority, Sink()).connect("bob", "only")
    scene = Scene(Process(pid), door)
    scene.single = Session(f"alice@{server.domain}/orchard", receiver, sender)
    return scene


def _rows(costs: Costs, scenes: Mapping[str, Scene]) -> list[_Row]:
    def cost(regime: Regime) -> Callable[[str], float]:
        return lambda name: costs[regime, name]

    def added(way: str) -> Callable[[str], float]:
        plain, tls = (scenes[name].latencies[way] for name in _STRAIGHT)

        def value(name: str) -> float:
            # Where only the client has TLS, that is half of the TLS that the straight way has.
            straight = tls if name in (_US_TLS, _HAPROXY_TLS) else (plain + tls) / 2
            return scenes[name].latencies[way] - straight

        return value

    toServer, toClient = regimes.WIDELY_SPREAD
    upInFlight, downInFlight = regimes.ONE_IN_FLIGHT
    return [
        _Row("to server, back to back, µs", cost(_UP), 1),
        _Row("to client, back to back, µs", cost(_DOWN), 0.8),
        _Row(f"{toServer.name}, µs", cost(toServer), 1.6),
        _Row(f"{toClient.name}, µs", cost(toClient), 1.6),
        _Row(f"{upInFlight.name}, µs", cost(upInFlight), 1.6),
        _Row(f"{downInFlight.name}, µs", cost(downInFlight), 1.6),
        _Row("to server, added latency, µs", added("up"), 1.5),
        _Row("to client, added latency, µs", added("down"), 1.5),
        _Row("login, µs", lambda name: scenes[name].loginMicroseconds, 1.6),
        _Row("idle session, KiB", lambda name: scenes[name].idleKilobytes, 0.6),
    ]


def _beside(
    heading: str, rows: Iterable[_Row], scenes: Mapping[str, Scene], names: tuple[str, ...]
) -> list[str]:
    """A table of some scenes: the first is the proxy."""
    there = [name for name in names if name in scenes]
    if names[0] not in there:
        return []
    lines = []
    for row in rows:
        ours, *theirs = (row.value(name) for name in there)
        ratios = [ours / their for their in theirs]
        cells = [f"{cost:.2f}" for cost in (ours, *theirs)] + [f"{ratio:.2f}" for ratio in ratios]
        if _RUST in there:
            cells += [limit(row.goal), verdict(ratios[there.index(_RUST) - 1], row.goal)]
        lines.append((row.name, cells))
    columns = [name.removesuffix(", TLS") for name in there]
    columns += [f"x {name}" for name in columns[1:]]
    return table(heading, [*columns, *(["goal", ""] if _RUST in there else [])], lines)


def _copies(costs: Costs, server: bool) -> list[str]:
    delivered = costs[regimes.DELIVERED, _PROSODY]
    lines = []
    for regime in _COPIES:
        relayed = costs[regimes.RELAYED[regime.way], _US]
        copy = (costs[regime, _US] - relayed) / regimes.SOME
        assert regime.goal is not None
        cells = [f"{copy:.1f}", limit(regime.goal), verdict(copy, regime.goal)]
        if server:
            ratio = copy / delivered
            cells += [f"{delivered:.1f}", f"{ratio:.2f}"]
            cells += [limit(_SERVER_GOAL), verdict(ratio, _SERVER_GOAL)]
        lines.append((regime.name, cells))
    columns = ["a copy", "goal", ""]
    if server:
        columns += ["by prosody", "x prosody", "goal", ""]
    return table(f"Shown to {regimes.SOME} siblings, or delivered: µs", columns, lines)


def _picture(rows: Iterable[_Row], scenes: Mapping[str, Scene]) -> str:
    bars = [
        plot.Group(
            row.name.rpartition(", ")[0],
            {
                name: row.value(name) / row.value(_RUST)
                for name in (_US, _HAPROXY)
                if name in scenes
            },
            row.goal,
        )
        for row in rows
    ]
    return plot.draw(f"Cost, as a multiple of {_RUST}'s (mark: the goal)", bars)
