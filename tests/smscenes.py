"""What has to hold of stream management, whoever speaks it: a server, or the proxy before one."""

from __future__ import annotations

import random

from tests.linkrelay import Place
from tests.rawclient import RawClient
from tests.servers import ServerCase
from tests.smclient import SM, SmClient


class Scenes(ServerCase):
    """
    A client and a peer.

    @ivar place: where the client connects to.
    """

    place: Place

    async def peers(self, through: str = "") -> None:
        """A managed client, through a relay if that is asked for, and a peer."""
        self.relay = await self.relayFor(self.place)
        at = self.relay if through else self.place
        self.client: SmClient = self.smClient(self.stranger(), "desk", at)
        await self.client.login()
        enabled = await self.client.enable()
        self.assertEqual(enabled.name, "enabled", enabled.toXml())
        self.peer: RawClient = self.rawClient(self.stranger(), "peer")
        await self.peer.login()

    def fromPeer(self, *bodies: str) -> None:
        for body in bodies:
            self.peer.say(self.client.jid.full(), body)

    def fromClient(self, *bodies: str) -> None:
        for body in bodies:
            self.client.say(self.peer.jid.full(), body)

    async def test_acknowledged(self) -> None:
        """Both sides count the same."""
        await self.peers()
        managed = self.client.managed
        assert managed is not None
        self.fromClient("1", "2", "3")
        self.client.send("<iq type='get' id='4'><ping xmlns='urn:xmpp:ping'/></iq><presence/>")
        self.assertEqual(managed.sent, 5)
        self.assertEqual(len(managed.unacknowledged), 5)
        await self.client.acknowledged()
        self.assertEqual(list(managed.unacknowledged), [])
        self.fromPeer(*map(str, range(50)))
        await self.client.expectBodies(*map(str, range(50)))
        self.client.acknowledge()
        await self.client.sync()  # a wrong count would have ended the stream
        self.assertEqual(self.client.shown, [*map(str, range(50))])

    async def test_wrong(self) -> None:
        """The server minds a wrong count."""
        await self.peers()
        self.client.send(f"<a xmlns='{SM}' h='1000'/>")
        error = await self.client.expect(lambda element: element.name == "error")
        self.assertEqual(next(error.elements()).name, "undefined-condition")
        await self.client.expectEnd()

    async def test_resumed(self) -> None:
        """After a cut, what was lost on the way comes, both ways, in order and once."""
        await self.peers("relay")
        self.fromPeer("a", "b")
        await self.client.expectBodies("a", "b")
        self.relay.freeze()
        self.fromPeer("c", "d")
        self.fromClient("1", "2")
        await self.peer.sync()
        self.relay.cut()
        await self.client.expectEnd()
        self.fromPeer("e")
        await self.peer.sync()
        self.client = self.successor(self.client, self.place)
        resumed = await self.client.resume()
        self.assertEqual(resumed.name, "resumed", resumed.toXml())
        self.fromClient("3")
        self.fromPeer("f")
        await self.client.expectBodies("c", "d", "e", "f")
        await self.peer.expectBodies("1", "2", "3")
        await self.client.acknowledged()
        await self.client.sync()
        self.assertEqual(self.client.shown, ["a", "b", "c", "d", "e", "f"])
        self.assertEqual(self.peer.bodies, ["1", "2", "3"])

    async def test_frozen(self) -> None:
        """The same where the server has not noticed that anything is wrong."""
        await self.peers("relay")
        self.relay.freeze()
        self.fromPeer("a")
        self.fromClient("1")
        await self.peer.sync()
        self.client = self.successor(self.client, self.place)
        self.assertEqual((await self.client.resume()).name, "resumed")
        await self.client.expectBodies("a")
        await self.peer.expectBodies("1")
        self.relay.cut()
        await self.client.sync()
        self.assertEqual(self.client.shown, ["a"])

    async def test_faults(self) -> None:
        """However often the connection breaks, everything comes once, in order, both ways."""
        seed = random.randrange(2**32)
        chance = random.Random(seed)
        await self.peers("relay")
        said: list[str] = []
        for number in range(8):
            bodies = [f"{number}.{each}" for each in range(chance.randrange(1, 30))]
            said += bodies
            for at, body in enumerate(bodies):
                if at == len(bodies) // 2:
                    chance.choice((self.relay.freeze, self.relay.cut, lambda: None))()
                self.fromPeer(body)
                self.fromClient(body)
            if chance.random() < 0.5:
                await self.peer.sync()
            old, self.client = self.client, self.successor(self.client, self.relay)
            resumed = await self.client.resume()
            self.assertEqual(resumed.name, "resumed", f"seed {seed}: {resumed.toXml()}")
            await old.abort()
        if said[-1] not in self.client.shown:
            await self.client.expectBodies(said[-1])
        await self.peer.expectBodies(said[-1])
        self.assertEqual(self.client.shown, said, f"seed {seed}")
        self.assertEqual(self.peer.bodies, said, f"seed {seed}")

    async def test_lostAcknowledgement(self) -> None:
        """What arrived before the cut is not sent again, acknowledged or not."""
        await self.peers("relay")
        self.client.answering = False
        self.fromPeer("a", "b")
        self.fromClient("1", "2")
        await self.client.expectBodies("a", "b")
        await self.peer.expectBodies("1", "2")
        self.relay.cut()
        self.client = self.successor(self.client, self.place)
        self.assertEqual((await self.client.resume()).name, "resumed")
        await self.client.sync()
        await self.peer.sync()
        self.assertEqual(self.client.shown, ["a", "b"])
        self.assertEqual(self.peer.bodies, ["1", "2"])

    async def test_recovered(self) -> None:
        """Where the server knows nothing of the stream any more, everything is sent again."""
        await self.peers("relay")
        self.relay.freeze()
        self.fromClient("1", "2")
        self.client = self.successor(self.client, self.place)
        assert self.client.managed is not None
        self.client.managed.previd = "another"
        self.assertFalse(await self.client.recover())
        await self.peer.expectBodies("1", "2")
        await self.client.acknowledged()
        self.assertEqual(self.client.managed.sent, 3)  # with the presence
        self.fromPeer("a")
        await self.client.expectBodies("a")
        self.relay.cut()

    async def test_notResumable(self) -> None:
        """Acknowledgements alone."""
        client = self.smClient(self.stranger(), "desk", self.place)
        await client.login()
        await client.enable(resume=False)
        assert client.managed is not None
        self.assertIsNone(client.managed.previd)
        client.say(client.jid.full(), "self")
        await client.acknowledged()

    async def test_tooSoon(self) -> None:
        """A client without a resource cannot have it; it can go on."""
        client = self.smClient(self.stranger(), "desk", self.place)
        await client.connect()
        await client.authenticate()
        self.assertEqual((await client.enable()).name, "failed")
        await client.bind()
        await client.sync()
