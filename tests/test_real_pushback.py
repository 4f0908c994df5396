"""A client that says more than it may, through the proxy on real servers."""

from __future__ import annotations

from tests.servers import ServerCase, onServers

_KILOBYTE = 1000 * "-"


@onServers("prosody", "ejabberd", "jabberd2")
class Rate(ServerCase):
    """It is read more slowly, and others as ever."""

    async def exchange(self, numbers: range) -> None:
        """Two others talk to each other."""
        one, other = self.others
        for number in numbers:
            one.say(other.jid.userhost(), f"to {number}")
            await other.expectBodies(f"to {number}")
            other.say(one.jid.userhost(), f"from {number}")
            await one.expectBodies(f"from {number}")
        self.assertEqual(other.bodies, [f"to {number}" for number in numbers])
        self.assertEqual(one.bodies, [f"from {number}" for number in numbers])

    async def test_above(self) -> None:
        """All that it says arrives, in order."""
        proxy = await self.proxyFor(self.server, limits={"bytes-per-second": 200_000})
        self.others = [self.rawClient(self.stranger(), "home", proxy) for _ in range(2)]
        for other in self.others:
            await other.login()
        talker = self.rawClient(self.stranger(), "home", proxy)
        friend = self.rawClient(self.stranger(), "friend")
        await talker.login()
        await friend.login()
        bodies = [f"{number} {_KILOBYTE}" for number in range(900)]
        for body in bodies:
            talker.say(friend.jid.full(), body)
        await self.exchange(range(20))
        await talker.sync()
        await friend.expectBodies(*bodies)
        self.assertEqual(friend.bodies, bodies)
