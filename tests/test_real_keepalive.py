"""Peers that fall silent without a word, before and behind the proxy, on real servers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from twisted.words.xish.domish import Element

from tests.rawclient import RawClient, message
from tests.servers import Proxy, ServerCase, onServers
from xmpproxy import lab

#: Seconds. It takes 4.4 at most then until a silent peer is gone.
IDLE = {"idle-seconds": 2.0}


def _ping(element: Element) -> bool:
    return element.name == "iq" and any(child.name == "ping" for child in element.elements())


async def _stay(client: RawClient, count: int) -> None:
    """Have a client answer this many pings."""
    for _ in range(count):
        ping = await client.expect(_ping)
        client.send(f"<iq type='result' id='{ping['id']}' to='{ping['from']}'/>")


class KeepAlive(ServerCase):
    """A relay freezes: no connection is closed by that."""

    async def endsWithReset(self, client: RawClient, proxy: Proxy) -> None:
        """The client is told to come back."""
        # Meanwhile the proxy asks the client as well.
        await _stay(client, 1)
        error = await client.expect(lambda element: bool(element.name == "error"))
        self.assertEqual(next(error.elements()).name, "reset")
        await proxy.logs(f"{client.jid.full()}: ended: server gone")


@onServers("prosody", "ejabberd", "jabberd2")
class Freezes(KeepAlive):
    """On any server."""

    async def test_clientFreezes(self) -> None:
        """The server learns that the client is gone, and tells others."""
        proxy = await self.proxyFor(self.server, streamManagement=IDLE)
        relay = await self.relayFor(proxy)
        user = self.stranger()
        client = self.rawClient(user, "desk", relay)
        await client.login()
        watcher = self.rawClient(user, "watch")
        await watcher.login()
        relay.freeze()
        gone = await watcher.expect(
            lambda element: (
                element.name == "presence" and element.getAttribute("type") == "unavailable"
            )
        )
        self.assertEqual(gone["from"], client.jid.full())
        await proxy.logs(f"{client.jid.full()}: ended: connection lost")
        relay.cut()
        await client.expectEnd()

    async def test_serverFreezes(self) -> None:
        """The client learns that its server is gone."""
        relay = await self.relayFor(self.server)
        proxy = await self.proxyFor(
            self.server,
            domain={"upstream": f"tcp:{relay.host}:{relay.port}"},
            streamManagement=IDLE,
        )
        client = self.rawClient("alice", "desk", proxy)
        await client.login()
        relay.freeze()
        await self.endsWithReset(client, proxy)

    async def test_nobodyFreezes(self) -> None:
        """Who answers stays, as long as nobody has anything to say; and hears what comes then."""
        proxy = await self.proxyFor(self.server, streamManagement={"idle-seconds": 1.5})
        user = self.stranger()
        client = self.rawClient(user, "desk", proxy)
        await client.login()
        await _stay(client, 3)
        friend = self.rawClient("bob", "desk")
        await friend.login()
        friend.say(client.jid.full(), "still there?")
        await client.expect(message("still there?"))
        self.assertNotIn("sign of life", proxy.log)


@onServers("prosody")
class Stopped(KeepAlive):
    """A server of its own, because it is stopped."""

    async def test_serverHangs(self) -> None:
        """Its process does nothing any more, while the system still takes what is for it."""
        directory = Path(mkdtemp(prefix="xmpproxy-"))
        self.addCleanup(rmtree, directory, ignore_errors=True)
        server = lab.start(self.kind, directory, users=("alice",))
        self.addCleanup(server.stop)
        proxy = await self.proxyFor(server, streamManagement=IDLE)
        client = self.rawClient("alice", "desk", proxy)
        await client.login()
        (pid,) = server.pids
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        await self.endsWithReset(client, proxy)
