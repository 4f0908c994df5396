"""Connections to real servers that are cut, and streams that are resumed."""

from __future__ import annotations

import random
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from twisted.internet.defer import Deferred

from tests import faults
from tests.linkrelay import LinkRelay
from tests.rawclient import RawClient
from tests.servers import Proxy, ServerCase, onServers, requireServer
from tests.smclient import SmClient
from xmpproxy import lab

#: What breaks in each round.
_ROUNDS = (
    ("upstream",),
    (),
    ("upstream", "upstream"),
    ("upstream", "cut"),
    ("both", "upstream"),
    ("freeze", "upstream", "hurry"),
    ("upstream",),
)


class Cut(ServerCase):
    """A proxy that resumes, behind it a window, and a peer at the server."""

    relay: LinkRelay
    proxy: Proxy
    window: SmClient
    peer: RawClient

    async def begins(self) -> None:
        self.relay = await self.relayFor(self.server)
        upstream = f"tcp:{self.relay.host}:{self.relay.port}"
        self.proxy = await self.proxyFor(
            self.server,
            domain={"upstream": upstream, "auth": "terminate", "upstream-resume": True},
        )
        self.account = self.stranger()
        self.window = self.smClient(self.account, "desk", self.proxy)
        await self.window.login()
        await self.window.enable()
        self.peer = self.rawClient(self.stranger(), "peer")
        await self.peer.login()


@onServers("prosody", "ejabberd")
class Resumed(Cut):
    """One window."""

    async def test_cut(self) -> None:
        """In the midst of a conversation: everything comes once, in order, both ways."""
        await self.begins()
        for number in range(4):
            said = [f"{number}.{each}" for each in range(30)]
            for each in said:
                if each.endswith(".15"):
                    self.relay.freeze()
                self.peer.say(self.window.jid.full(), each)
                self.window.say(self.peer.jid.full(), each)
            await self.peer.sync()
            self.relay.cut()
            await self.window.expectBodies(*said)
            await self.peer.expectBodies(*said)
            await self.window.acknowledged()
        everything = [f"{number}.{each}" for number in range(4) for each in range(30)]
        await self.window.sync()
        await self.peer.sync()
        self.assertEqual(self.window.shown, everything)
        self.assertEqual(self.peer.bodies, everything)
        self.assertEqual(self.proxy.log.count("the server has resumed the stream"), 4)

    async def test_unacknowledged(self) -> None:
        """What the window has not acknowledged the server still has; it is not shown again."""
        await self.begins()
        self.window.answering = False
        self.peer.say(self.window.jid.full(), "a")
        await self.window.expectBodies("a")
        self.relay.cut()
        self.peer.say(self.window.jid.full(), "b")
        await self.window.expectBodies("b")
        await self.proxy.kill()
        await self.window.expectEnd()
        await self.proxy.start()
        self.window = self.smClient(self.account, "desk", self.proxy)
        await self.window.login()
        await self.window.expectBodies("a", "b")

    async def test_stopped(self) -> None:
        """A proxy that cannot reach the server ends in order, and tells the window."""
        await self.begins()
        await self.relay.stop()
        self.window.say(self.peer.jid.full(), "a")
        await self.proxy.logs("lost the server")
        await self.proxy.stop()
        error = await self.window.expect(lambda element: element.name == "error")
        self.assertEqual(next(error.elements()).name, "system-shutdown")
        self.assertEqual(self.peer.bodies, [])

    async def test_tooLate(self) -> None:
        """A server that knows the stream no more: the window is told at once."""
        await self.begins()
        self.relay.freeze()
        self.window.say(self.peer.jid.full(), "a")
        await self.begunAnew()
        self.relay.cut()
        await self.window.expectEnd()
        await self.proxy.logs("the server does not resume")
        self.window = self.successor(self.window, self.proxy)
        self.assertFalse(await self.window.recover())
        await self.peer.expectBodies("a")

    async def begunAnew(self) -> None:
        """Somebody else takes the window's resource, so that the server ends its session."""
        other = self.rawClient(self.account, "desk")
        await other.login()
        await other.close()


@onServers("prosody", "ejabberd", withoutCarbons=("prosody", "ejabberd"))
class Faults(ServerCase):
    """Two windows, of which anything may break."""

    timeout = 120

    def setUp(self) -> None:
        """It has accounts of its own."""
        requireServer(self.kind)
        directory = Path(mkdtemp(prefix="xmpproxy-"))
        self.addCleanup(rmtree, directory, ignore_errors=True)
        self.server = lab.start(self.kind, directory, users=faults.USERS, carbons=self.carbons)
        self.addCleanup(self.server.stop)

    async def test_faults(self) -> None:
        """Everything is shown in each window once, and nobody is told to come back."""
        seed = random.randrange(2**32)
        world = faults.World(self.server, random.Random(seed), resumes=True)
        self.addCleanup(lambda: Deferred.fromCoroutine(world.stop()))
        try:
            await world.start()
            for each in _ROUNDS:
                await world.round(*each)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        self.assertEqual(world.tally.problems, [], f"seed {seed}")


@onServers("jabberd2")
class NotResumed(Cut):
    """A server that has no stream management."""

    async def test_cut(self) -> None:
        """It is as without; the operator is told why."""
        await self.begins()
        self.relay.cut()
        await self.window.expectEnd()
        await self.proxy.logs("upstream-resume: the server")
