"""Logging in, and the end of a session, through the proxy on real servers."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from twisted.words.xish.domish import Element

from tests.rawclient import AuthenticationFailed
from tests.servers import ServerCase, onServers
from xmpproxy import lab

DEBIAN = ("prosody", "ejabberd", "jabberd2")


def _streamError(element: Element) -> bool:
    return bool(element.name == "error")


def _condition(error: Element) -> str:
    return str(next(error.elements()).name)


@onServers(*DEBIAN, "pyjabber")
class Login(ServerCase):
    """SASL and resource binding."""

    async def test_relay(self) -> None:
        """A client negotiates with the server itself where that can work."""
        mechanism = "SCRAM-SHA-1" if self.kind in ("prosody", "ejabberd") else "PLAIN"
        proxy = await self.proxyFor(self.server, domain={"auth": "relay"})
        client = self.rawClient("alice", "desk", proxy)
        await client.login(mechanism=mechanism)
        self.assertEqual(client.jid.userhost(), f"alice@{self.server.domain}")

    async def test_terminate(self) -> None:
        """The proxy logs in with the best that the server has."""
        proxy = await self.proxyFor(self.server, domain={"auth": "terminate"})
        client = self.rawClient("alice", "desk", proxy)
        await client.connect()
        assert client.features is not None
        offered = [str(each) for each in next(client.features.elements()).elements()]
        self.assertEqual(offered, ["PLAIN"])
        await client.authenticate("PLAIN")
        await client.bind()
        self.assertEqual(client.jid.userhost(), f"alice@{self.server.domain}")

    async def test_wrongPassword(self) -> None:
        """Three times wrong, then right, on one stream, in both ways."""
        tries = 1 if self.kind == "pyjabber" else 3  # it closes the stream after one
        for auth in ("relay", "terminate"):
            proxy = await self.proxyFor(self.server, domain={"auth": auth})
            client = self.rawClient("alice", "desk", proxy)
            await client.connect()
            for _ in range(tries):
                with self.assertRaises(AuthenticationFailed) as caught:
                    await client.authenticate("PLAIN", password="wrong")
                self.assertEqual(caught.exception.condition, "not-authorized")
            if tries > 1:
                await client.authenticate("PLAIN")
                await client.bind()
            self.assertNotIn("secret", proxy.log)

    async def test_resource(self) -> None:
        """The client gets what it asked for, or what the server chose instead."""
        proxy = await self.proxyFor(self.server)
        named = self.rawClient("alice", "desk", proxy)
        await named.login()
        if self.kind != "pyjabber":
            self.assertEqual(named.jid.resource, "desk")
        unnamed = self.rawClient("alice", None, proxy)
        await unnamed.login()
        self.assertTrue(unnamed.jid.resource)
        self.assertNotEqual(unnamed.jid.resource, named.jid.resource)


@onServers("prosody", "ejabberd")
class DirectTLS(ServerCase):
    """TLS from the first byte (XEP-0368), on both legs."""

    async def test_bothLegs(self) -> None:
        proxy = await self.proxyFor(
            self.server, listen=[{"tls": "direct"}], domain={"upstream-tls": "direct"}
        )
        client = self.rawClient("alice", "desk", proxy)
        await client.login(tls="direct")
        self.assertEqual(client.jid.resource, "desk")


@onServers("prosody")
class LoadBalancer(ServerCase):
    """Something before the proxy tells it by the PROXY protocol where a client really is."""

    async def test_address(self) -> None:
        proxy = await self.proxyFor(self.server, listen={"endpoint": "haproxy:{tcp}"})
        client = self.rawClient("alice", "desk", proxy)
        client.preface = b"PROXY TCP4 203.0.113.7 127.0.0.1 5555 5222\r\n"
        await client.login()
        await proxy.logs(f"{client.jid.full()}: bound, from 203.0.113.7")


@onServers(*DEBIAN)
class Ends(ServerCase):
    """The end of a session is told to whoever is left."""

    async def test_proxyStops(self) -> None:
        """SIGTERM: system-shutdown, a closed stream, exit status 0."""
        proxy = await self.proxyFor(self.server)
        client = self.rawClient("alice", "desk", proxy)
        await client.login()
        await proxy.stop()  # fails unless it ends with status 0
        error = await client.expect(_streamError)
        self.assertEqual(_condition(error), "system-shutdown")

    async def test_sameResourceAgain(self) -> None:
        """The server's conflict reaches the older client as it is."""
        proxy = await self.proxyFor(self.server)
        older = self.rawClient("alice", "desk", proxy)
        await older.login()
        newer = self.rawClient("alice", "desk", proxy)
        await newer.login()
        self.assertEqual(newer.jid.resource, "desk")
        error = await older.expect(_streamError)
        self.assertEqual(_condition(error), "conflict")
        await newer.sync()

    async def test_clientVanishes(self) -> None:
        """A client that breaks off leaves nothing behind at the server."""
        proxy = await self.proxyFor(self.server)
        lost = self.rawClient("alice", "desk", proxy)
        await lost.login()
        watcher = self.rawClient("alice", "watch", proxy)
        await watcher.login()
        await lost.abort()
        gone = await watcher.expect(
            lambda element: (
                element.name == "presence"
                and element.getAttribute("type") == "unavailable"
                and element["from"] == lost.jid.full()
            )
        )
        self.assertEqual(gone["from"], lost.jid.full())

    async def test_unboundPrefix(self) -> None:
        """A stanza that no namespace-aware parser takes hurts nobody but its author."""
        proxy = await self.proxyFor(self.server)
        victim = self.rawClient("alice", "desk", proxy)
        await victim.login()
        # Straight to the server: it is a stranger's, of whom no proxy takes care.
        stranger = self.rawClient("bob", "desk")
        await stranger.login()
        stranger.send(
            f"<message to='{victim.jid.full()}' type='chat' xmlns:f='urn:f' f:at='1'>"
            "<f:x f:a='1'/><body>poison</body></message>"
        )
        stranger.say(victim.jid.full(), "fine")
        await victim.expectBodies("fine")
        if self.kind == "ejabberd":
            self.assertEqual(victim.bodies, ["fine"])
            await proxy.logs("is not bound")
        else:
            self.assertEqual(victim.bodies, ["poison", "fine"])


@onServers(*DEBIAN)
class ServerDies(ServerCase):
    """A server of its own, because it is killed."""

    async def test_serverDies(self) -> None:
        directory = Path(mkdtemp(prefix="xmpproxy-"))
        self.addCleanup(rmtree, directory, ignore_errors=True)
        server = lab.start(self.kind, directory, users=("alice",))
        self.addCleanup(server.stop)
        proxy = await self.proxyFor(server)
        client = self.rawClient("alice", "desk", proxy)
        await client.login()
        server.stop()
        error = await client.expect(_streamError)
        # What the server says before it goes is passed on; else the proxy says it.
        self.assertIn(_condition(error), ("system-shutdown", "reset"))
        again = self.rawClient("alice", "desk", proxy)
        with self.assertRaises(AssertionError) as caught:
            await again.connect()
        self.assertIn("remote-connection-failed", str(caught.exception))
        await proxy.logs("no connection to tcp:")
