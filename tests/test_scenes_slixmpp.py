"""The conversation on every client, through the proxy, on real servers with slixmpp."""

from __future__ import annotations

from tests.servers import ServerCase, onServers
from tests.slixclient import SlixClient

BURST = 150


@onServers("prosody", "ejabberd", "jabberd2", withoutCarbons=("prosody", "ejabberd"))
class SlixConversation(ServerCase):
    """One of Bob's clients has enabled carbons, the other has never heard of them."""

    async def settle(self, *clients: SlixClient) -> None:
        """Wait until nothing is under way."""
        for client in clients * 2:
            await client.sync()

    async def test_conversation(self) -> None:
        proxy = await self.proxyFor(self.server)
        alice = self.slixClient("alice", "desk", proxy)
        home = self.slixClient("bob", "home", proxy)
        work = self.slixClient("bob", "work", proxy)
        for client in (alice, home, work):
            await client.login()
        self.assertTrue(await home.enableCarbons())

        bare = f"bob@{self.server.domain}"
        incoming = [(bare, "to bare"), (home.jid, "to home"), (work.jid, "to work")]
        for to, text in incoming:
            alice.say(to, text)
            await self.settle(alice, home, work)
        burst = [f"in {number}" for number in range(BURST)]
        for text in burst:
            alice.say(bare, text)
        await self.settle(alice, home, work)
        received = [*(text for _, text in incoming), *burst]
        self.assertEqual(home.bodies, received)
        self.assertEqual(work.bodies, received)

        answers = [f"out {number}" for number in range(BURST)]
        for text in answers:
            home.say(alice.jid, text)
        await self.settle(home, alice, work)
        work.say(alice.jid, "and from work")
        await self.settle(work, alice, home)
        self.assertEqual(alice.bodies, [*answers, "and from work"])
        self.assertEqual(work.bodies, [*received, *(f"me@home: {text}" for text in answers)])
        self.assertEqual(home.bodies, [*received, "and from work"])
        self.assertEqual(home.received[-1]["event"], "sent")
