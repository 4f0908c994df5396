"""What real servers make of the tricks of smugglers that pass, and what they never get to see."""

from __future__ import annotations

from twisted.words.xish.domish import Element

from tests.rawclient import RawClient, bodyOf
from tests.servers import ServerCase, onServers
from tests.tricks import TRICKS
from xmpproxy import ns

#: One of each kind of bad input is enough here; all are tried without servers.
_REFUSED = (
    "overlong < in text",
    "2 bytes of 3 in a name",
    "end of stream inside",
    "stanza of streams",
    "restart",
    "unbound",
    "separator &#39;",
    "separator U+0001",
    "twice by two prefixes",
    "byte order mark between",
    "XML declared again",
    "comment",
    "many",
)


@onServers("prosody", "ejabberd", "jabberd2")
class Smuggling(ServerCase):
    """A client through the proxy, and whom it writes to, straight at the server."""

    async def test_passes(self) -> None:
        """What passes is one stanza for the server, too, and the same."""
        proxy = await self.proxyFor(self.server)
        friend = self.rawClient(self.stranger(), "desk")
        client = self.rawClient(self.stranger(), "home", proxy)
        for each in (friend, client):
            await each.login()
        right = [trick for trick in TRICKS if trick.condition is None]
        for number, trick in enumerate(right):
            client.send(trick.to(friend.jid.full()))
            client.send(_mark(friend, number))
        bodies = await self.bodiesUpTo(friend, f"mark {len(right) - 1}")
        self.assertEqual(bodies, [b for n in range(len(right)) for b in ("trick", f"mark {n}")])

    async def test_refused(self) -> None:
        """Of what is refused the server gets nothing, and nothing of what is behind it."""
        proxy = await self.proxyFor(self.server)
        friend = self.rawClient(self.stranger(), "desk")
        bystander = self.rawClient(self.stranger(), "home", proxy)
        for each in (friend, bystander):
            await each.login()
        user = self.stranger()
        tricks = [trick for trick in TRICKS if trick.name in _REFUSED]
        self.assertEqual(len(tricks), len(_REFUSED))
        for number, trick in enumerate(tricks):
            client = self.rawClient(user, "home", proxy)
            await client.login()
            client.send(_mark(friend, number))
            client.send(trick.to(friend.jid.full()) + _mark(friend, -1))
            error = await client.expect(lambda each: each.uri == ns.STREAMS)
            self.assertEqual(_condition(error), trick.condition)
            bystander.send(_mark(friend, 100 + number))
        bodies = await self.bodiesUpTo(friend, f"mark {99 + len(tricks)}")
        for first in (0, 100):
            wanted = [f"mark {n}" for n in range(first, first + len(tricks))]
            self.assertEqual([each for each in bodies if each in wanted], wanted)
        self.assertEqual(len(bodies), 2 * len(tricks))

    async def test_strangers(self) -> None:
        """
        What a stranger sends through the server, which passes it on, is dropped where it exceeds a
        limit, and no session ends.
        """
        proxy = await self.proxyFor(self.server)
        stranger = self.rawClient(self.stranger(), "desk")
        await stranger.login()
        for limit, poison in (
            ("depth", "<a>" * 300 + "</a>" * 300),
            ("attributes", "<a" + "".join(f" a{n}=''" for n in range(300)) + "/>"),
        ):
            client = self.rawClient(self.stranger(), "home", proxy)
            await client.login()
            to = client.jid.full()
            stranger.send(f"<message to='{to}'><body>poison</body>{poison}</message>")
            stranger.send(_mark(client, 0))
            self.assertEqual(await self.bodiesUpTo(client, "mark 0"), ["mark 0"])
            await proxy.logs(f"({limit})")

    async def bodiesUpTo(self, friend: RawClient, last: str) -> list[str]:
        """What a client is sent to read."""
        await friend.expect(lambda each: each.name == "message" and bodyOf(each) == last)
        await friend.sync()
        return friend.bodies


def _mark(friend: RawClient, number: int) -> bytes:
    body = f"<body>mark {number}</body>"
    return f"<message to='{friend.jid.full()}' type='chat'>{body}</message>".encode()


def _condition(error: Element) -> str:
    return next(str(each.name) for each in error.elements() if each.name != "text")
