"""Networks, proxies and servers that fail, on real servers."""

from __future__ import annotations

import random
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from twisted.internet.defer import Deferred

from tests import faults
from tests.servers import ServerCase, onServers, requireServer
from xmpproxy import lab

#: What breaks in each round. One server takes seconds to start.
_ROUNDS = (
    (),
    ("cut",),
    ("freeze",),
    ("hurry",),
    ("both",),
    ("cut", "freeze", "both"),
    ("proxy",),
    ("upstream",),
    ("both", "upstream"),
    ("freeze", "proxy"),
    ("server",),
    ("both", "hurry", "both"),
)
#: So many messages go each way, in all.
_MESSAGES = 2000


@onServers("prosody", "ejabberd", "jabberd2")
class Faults(ServerCase):
    """Short of C{make soak}."""

    timeout = 120

    def setUp(self) -> None:
        """It gets a server of its own, because that is stopped."""
        requireServer(self.kind)
        directory = Path(mkdtemp(prefix="xmpproxy-"))
        self.addCleanup(rmtree, directory, ignore_errors=True)
        self.server = lab.start(self.kind, directory, users=faults.USERS)
        self.addCleanup(self.server.stop)

    async def test_faults(self) -> None:
        """Nothing is lost that somebody was told to be taken over."""
        seed = random.randrange(2**32)
        world = faults.World(self.server, random.Random(seed))
        self.addCleanup(lambda: Deferred.fromCoroutine(world.stop()))
        try:
            await world.start()
            for each in _ROUNDS:
                await world.round(*each, count=-(-_MESSAGES // len(_ROUNDS)))
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        self.assertEqual(world.tally.problems, [], f"seed {seed}")
        for way in ("to the account", "to the peer"):
            self.assertGreaterEqual(world.tally.counts[way], _MESSAGES, f"seed {seed}")


@onServers("prosody", "ejabberd", "jabberd2")
class Slixmpp(ServerCase):
    """The stream management of a library that people use, as it is."""

    async def test_resumes(self) -> None:
        """What was under way when the connection broke comes when it is back, once."""
        proxy = await self.proxyFor(self.server)
        relay = await self.relayFor(proxy)
        peer = self.rawClient(self.stranger(), "peer")
        await peer.login()
        client = self.slixClient(self.stranger(), "desk", relay, resumes=True)
        await client.login()
        for number in range(3):
            peer.say(client.jid, f"{number}a")
            await client.expectBodies(f"{number}a")
            relay.freeze()
            peer.say(client.jid, f"{number}b")
            client.say(peer.jid.full(), f"{number}c")
            await peer.sync()
            await client.written()
            relay.cut()
            await client.resumed()
            client.say(peer.jid.full(), f"{number}d")
            await peer.expectBodies(f"{number}c", f"{number}d")
            await client.expectBodies(f"{number}b")
        await client.sync()
        self.assertEqual(client.bodies, [f"{number}{each}" for number in range(3) for each in "ab"])
        self.assertEqual(peer.bodies, [f"{number}{each}" for number in range(3) for each in "cd"])
