"""What is done to a process while its CPU time is taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

from twisted.internet.defer import Deferred, gatherResults

from benchmarks.client import Session
from benchmarks.scenes import SIBLINGS, Scene

Way = Literal["up", "down"]

#: The size of a stanza, in bytes.
SIZE = 250
#: How many messages are on their way at once where copies are made of them.
BURST = 250
#: Over how many sessions stanzas are spread that each come in a read of their own.
SPREAD = 100

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
    @ivar copies: how many copies of each message are made.
    """

    name: str
    run: Callable[[Scene, int], Awaitable[None]]
    share: int
    goal: float | None = None
    copies: int = 0

    async def cost(self, scene: Scene, messages: int) -> float:
        """The CPU time (microseconds) that the process takes for each message, or copy."""
        messages //= self.share
        before = scene.subject.cpu
        await self.run(scene, messages)
        return (scene.subject.cpu - before) / messages / (self.copies or 1) * 1e6


def chats(way: Way, session: Session, count: int, first: int = 0, payload: str = "") -> bytes:
    """
    Messages of L{SIZE} bytes each that a session sends or gets.

    @param first: the number of the first; those with another number differ.
    @param payload: what they have beside the body.
    """
    address = f"to='{_PEER}'" if way == "up" else f"to='{session.jid}' from='{_PEER}'"
    end = f"</body>{payload}</message>"
    messages = []
    for number in range(first, first + count):
        start = f"<message {address} type='chat' id='{number:08x}'><body>"
        messages.append(f"{start}{_TEXT * 3:.{SIZE - len(start) - len(end)}}{end}")
    return "".join(messages).encode()


def _relay(way: Way, payload: str = "") -> Callable[[Scene, int], Awaitable[None]]:
    async def run(scene: Scene, messages: int) -> None:
        data = chats(way, scene.single, messages, payload=payload)
        await _exchange(way, [scene.single], data, messages)

    return run


def _spread(way: Way) -> Callable[[Scene, int], Awaitable[None]]:
    async def run(scene: Scene, messages: int) -> None:
        for number in range(messages // SPREAD):
            await gatherResults(
                [
                    _exchange(way, [session], chats(way, session, 1, number), 1)
                    for session in scene.others[:SPREAD]
                ]
            )

    return run


def _show(
    way: Way, account: Literal["plain", "carbons"], payload: str = "", burst: int = BURST
) -> Callable[[Scene, int], Awaitable[None]]:
    async def run(scene: Scene, messages: int) -> None:
        sessions: list[Session] = getattr(scene, account)
        for first in range(0, messages, burst):
            data = chats(way, sessions[0], burst, first, payload)
            await _exchange(way, sessions, data, burst)

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
SPREAD_OUT = (
    Regime(f"to server, {SPREAD} sessions in turn", _spread("up"), 4),
    Regime(f"to client, {SPREAD} sessions in turn", _spread("down"), 4),
)
PLAIN_COPIES = (
    Regime("incoming, plain copies", _show("down", "plain"), 4, 15, SIBLINGS),
    Regime("outgoing, plain copies", _show("up", "plain"), 4, 15, SIBLINGS),
)
OTHER_COPIES = (
    Regime("incoming, plain copies, with extras", _show("down", "plain", _EXTRAS), 4, 15, SIBLINGS),
    Regime("incoming, carbons", _show("down", "carbons"), 4, 15, SIBLINGS),
    Regime("outgoing, carbons", _show("up", "carbons"), 4, 15, SIBLINGS),
)
#: No goal: most of it is the work of moving a few bytes at a time, which a burst shares.
ONE_AT_A_TIME = (
    Regime("incoming, plain copies", _show("down", "plain", burst=1), 40, None, SIBLINGS),
    Regime("outgoing, plain copies", _show("up", "plain", burst=1), 40, None, SIBLINGS),
)
