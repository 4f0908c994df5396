"""What is done to a process while its CPU time is taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter
from typing import Literal, NamedTuple

from twisted.internet.defer import Deferred, gatherResults

from benchmarks.client import Session
from benchmarks.scenes import Account, Scene
from xmpproxy import ns

Way = Literal["up", "down"]
#: Which way a message goes, and whether the siblings' clients have enabled carbons.
Kind = tuple[Way, bool]

#: The size of a stanza, in bytes.
SIZE = 250
#: How many messages are on their way at once where copies are made of them.
BURST = 250
#: How many siblings a message is shown to: each number is measured ...
SIBLINGS = (1, 2, 5, 20)
#: ... and this one is what else is measured with.
SOME = 5
#: Over how many sessions stanzas are spread that each come in a read of their own.
SPREAD = 100
WIDE_SPREAD = 200

_PEER = "romeo@example.org/orchard"
_TEXT = "But, soft! what light through yonder window breaks? It is the east, and Juliet is the sun."
#: What many clients put beside the body: a chat state and the request of a receipt.
_EXTRAS = (
    "<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>"
)


class Regime(NamedTuple):
    """
    One way to load a process.

    @ivar name: what the table calls it.
    @ivar run: does it, with a number of messages.
    @ivar share: by how much fewer messages it needs than back to back relaying.
    @ivar goal: the CPU time (microseconds) that the proxy may take at most for each message, or
        copy, if there is a goal.
    @ivar way: which way the messages go.
    @ivar account: the account that each message is shown to, if it is one with several sessions.
    """

    name: str
    run: Callable[[Scene, int], Awaitable[None]]
    share: int
    goal: float | None = None
    way: Way = "down"
    account: Account | None = None

    async def cost(self, scene: Scene, messages: int) -> float:
        """The CPU time (microseconds) that the process takes for each message, copies included."""
        messages //= self.share
        before = scene.subject.cpu
        await self.run(scene, messages)
        return (scene.subject.cpu - before) / messages * 1e6


def chats(way: Way, session: Session, count: int, first: int = 0, payload: str = "") -> bytes:
    """
    Messages of L{SIZE} bytes each that a session sends or gets.

    @param first: the number of the first; those with another number differ.
    @param payload: what they have beside the body.
    """
    address = f"to='{_PEER}'" if way == "up" else f"to='{session.jid}' from='{_PEER}'"
    return _chats(address, count, first, payload)


def _chats(address: str, count: int, first: int = 0, payload: str = "") -> bytes:
    end = f"</body>{payload}</message>"
    messages = []
    for number in range(first, first + count):
        start = f"<message {address} type='chat' id='{number:08x}'><body>"
        messages.append(f"{start}{_TEXT * 3:.{SIZE - len(start) - len(end)}}{end}")
    return "".join(messages).encode()


def carbonsOf(way: Way, session: Session, to: Session, count: int, first: int) -> bytes:
    """The server's carbons of such messages for a sibling of the session."""
    account = to.jid.partition("/")[0]
    wrapper, sender = ("sent", f" from='{session.jid}'") if way == "up" else ("received", "")
    begin = (
        f"<message from='{account}' to='{to.jid}' type='chat'><{wrapper} xmlns='{ns.CARBONS}'>"
        f"<forwarded xmlns='{ns.FORWARD}'><message xmlns='{ns.CLIENT}'{sender} "
    )
    end = f"</message></forwarded></{wrapper}></message>"
    messages = chats(way, session, count, first)
    return messages.replace(b"<message ", begin.encode()).replace(b"</message>", end.encode())


def _relay(way: Way, payload: str = "") -> Callable[[Scene, int], Awaitable[None]]:
    async def run(scene: Scene, messages: int) -> None:
        data = chats(way, scene.single, messages, payload=payload)
        await _exchange(way, [scene.single], data, messages)

    return run


def _spread(way: Way, sessions: int) -> Callable[[Scene, int], Awaitable[None]]:
    async def run(scene: Scene, messages: int) -> None:
        for number in range(messages // sessions):
            await gatherResults(
                [
                    _exchange(way, [session], chats(way, session, 1, number), 1)
                    for session in scene.others[:sessions]
                ]
            )

    return run


def _oneInFlight(way: Way) -> Callable[[Scene, int], Awaitable[None]]:
    async def run(scene: Scene, messages: int) -> None:
        seconds = []
        for number in range(messages):
            data = chats(way, scene.single, 1, number)
            begun = perf_counter()
            await _exchange(way, [scene.single], data, 1)
            seconds.append(perf_counter() - begun)
        scene.latencies[way] = min(scene.latencies[way], median(seconds) * 1e6)

    return run


def _show(
    way: Way, account: Account, payload: str = "", burst: int = BURST
) -> Callable[[Scene, int], Awaitable[None]]:
    async def run(scene: Scene, messages: int) -> None:
        sessions = scene.accounts[account]
        for first in range(0, messages, burst):
            data = chats(way, sessions[0], burst, first, payload)
            await _exchange(way, sessions, data, burst)

    return run


async def _deliver(scene: Scene, messages: int) -> None:
    """One client sends to another, through a server."""
    for first in range(0, messages, BURST):
        data = _chats(f"to='{scene.single.jid}'", BURST, first)
        await _exchange("down", [scene.single], data, BURST)


def _bring(way: Way, account: Account) -> Callable[[Scene, int], Awaitable[None]]:
    """The server sends all siblings its carbons of what the first got, or sent."""

    async def run(scene: Scene, messages: int) -> None:
        first, *siblings = scene.accounts[account]
        for number in range(0, messages, BURST):
            arrived = [sibling.arriving(BURST) for sibling in siblings]
            for sibling in siblings:
                sibling.down(carbonsOf(way, first, sibling, BURST, number))
            await gatherResults(arrived)

    return run


def _exchange(
    way: Way, sessions: list[Session], data: bytes, messages: int
) -> Deferred[list[None]]:
    """
    Send by, or to, the first of the sessions.

    @return: fires when all is where it belongs, and all the others have their copies.
    """
    first, *siblings = sessions
    done = [first.leaving(messages) if way == "up" else first.arriving(messages)]
    done += [sibling.arriving(messages) for sibling in siblings]
    if way == "up":
        first.up(data)
    else:
        first.down(data)
    return gatherResults(done)


#: What a base line can do, too.
BACK_TO_BACK = (
    Regime("to server, body only", _relay("up"), 1, 8),
    Regime("to server, with extras", _relay("up", _EXTRAS), 1, 8),
    Regime("to client, body only", _relay("down"), 1, 8),
    Regime("to client, with extras", _relay("down", _EXTRAS), 1, 8),
)
#: What is nothing but relaying, of the messages that copies are made of.
RELAYED: dict[Way, Regime] = {"up": BACK_TO_BACK[0], "down": BACK_TO_BACK[2]}


def _spreadOut(sessions: int) -> tuple[Regime, Regime]:
    return (
        Regime(f"to server, {sessions} sessions in turn", _spread("up", sessions), 4),
        Regime(f"to client, {sessions} sessions in turn", _spread("down", sessions), 4),
    )


SPREAD_OUT = _spreadOut(SPREAD)
WIDELY_SPREAD = _spreadOut(WIDE_SPREAD)
#: What a server does; see L{benchmarks.peers}.
DELIVERED = Regime("delivered by a server", _deliver, 4)
#: How long each is on its way goes to L{Scene.latencies}.
ONE_IN_FLIGHT = (
    Regime("to server, one in flight", _oneInFlight("up"), 8, way="up"),
    Regime("to client, one in flight", _oneInFlight("down"), 8),
)


def _copies(kind: Kind, siblings: int = SOME, payload: str = "", burst: int = BURST) -> Regime:
    way, carbons = kind
    name = f"{_WAYS[way]}, {'carbons' if carbons else 'plain copies'}"
    if payload:
        name += ", with extras"
    if burst == 1:
        name += ", one at a time"
    account = Account(siblings, carbons)
    share = 40 if burst == 1 else 16 if siblings > 10 else 4
    return Regime(name, _show(way, account, payload, burst), share, 6, way, account)


def _served(kind: Kind) -> Regime:
    way, carbons = kind
    name = f"{_WAYS[way]}, {'passed on untouched' if carbons else 'turned into plain copies'}"
    account = Account(SOME, carbons, served=True)
    return Regime(name, _bring(way, account), 4, 12, way, account)


_WAYS: dict[Way, str] = {"down": "incoming", "up": "outgoing"}
KINDS: tuple[Kind, ...] = tuple((way, carbons) for carbons in (False, True) for way in _WAYS)
#: By kind and number of siblings.
COPIES = {(kind, siblings): _copies(kind, siblings) for kind in KINDS for siblings in SIBLINGS}
PLAIN_COPIES = tuple(COPIES[(way, False), SOME] for way in _WAYS)
WITH_EXTRAS = tuple(_copies((way, False), payload=_EXTRAS) for way in _WAYS)
#: Most of it is the work of moving a few bytes at a time, which a burst shares.
ONE_AT_A_TIME = tuple(_copies((way, False), burst=1) for way in _WAYS)
#: The server's carbons.
SERVED = tuple(_served(kind) for kind in KINDS)
