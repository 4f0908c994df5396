"""A client's choice (XEP-0050) made with a client library, through the proxy on real servers."""

from __future__ import annotations

from tests.servers import ServerCase, onServers
from xmpproxy import ns
from xmpproxy.handlers.commands import NODE


@onServers("prosody", "ejabberd", "jabberd2")
class Choice(ServerCase):
    """Where a client sees what the others send."""

    async def test_choice(self) -> None:
        """It finds the command on its own account, and chooses, more than once."""
        proxy = await self.proxyFor(self.server)
        user, friend = self.stranger(), self.rawClient(self.stranger(), "desk")
        home, work = (self.slixClient(user, resource, proxy) for resource in ("home", "work"))
        for each in (friend, home, work):
            await each.login()
        features, nodes = await home.commands()
        if self.kind == "jabberd2":  # where the server has carbons, its answer stays its own
            self.assertIn(ns.COMMANDS, features)
        self.assertIn(NODE, nodes)

        async def says(text: str) -> None:
            work.say(friend.jid.userhost(), text)
            await friend.expectBodies(text)
            for each in (work, home):  # whatever the server has for them is there then
                await each.sync()

        await says("one")
        self.assertEqual(await home.execute(NODE, mode="off"), "completed")
        await says("two")
        self.assertEqual(await home.execute(NODE, mode="loud"), "bad-request")
        await says("three")
        self.assertEqual(await home.execute(NODE, mode="self"), "completed")
        await says("four")
        self.assertEqual(home.bodies, ["me@work: one", "four"])
