"""Connections, logins and descriptors that run out, on real servers."""

from __future__ import annotations

import os
import resource
from unittest import skipUnless

from twisted.internet.defer import Deferred

from tests.rawclient import AuthenticationFailed, RawClient
from tests.servers import Proxy, ServerCase, onServers


class Bystanders(ServerCase):
    """Two who talk with each other through the proxy whatever happens."""

    async def meet(self, proxy: Proxy) -> None:
        """They log in."""
        self.said = 0
        self.users = (self.stranger(), self.stranger())
        self.pair = tuple(self.rawClient(user, "desk", proxy) for user in self.users)
        for each in self.pair:
            await each.login()

    async def chat(self) -> None:
        """Each hears the other, in order."""
        for one, other in (self.pair, self.pair[::-1]):
            lines = [f"line {self.said + each}" for each in range(3)]
            for line in lines:
                one.say(other.jid.full(), line)
            await other.expectBodies(*lines)
            self.assertEqual(other.bodies[-3:], lines)
        self.said += 3


@onServers("prosody", "ejabberd", "jabberd2")
class Logins(Bystanders):
    """Too many, on any server."""

    async def test_failed(self) -> None:
        """Who guesses is refused, and who was at home at the same address before is not."""
        proxy = await self.proxyFor(self.server, limits={"failed-logins-per-address": 1})
        await self.meet(proxy)
        guessed = self.stranger()
        for mechanism in ("PLAIN", "PLAIN"):
            guesser = self.rawClient(guessed, "desk", proxy)
            await guesser.connect()
            with self.assertRaises(AuthenticationFailed) as caught:
                await guesser.authenticate(mechanism, password="wrong")
            self.assertEqual(caught.exception.condition, "not-authorized")
            await self.chat()
        refused = self.rawClient(guessed, "desk", proxy)
        await refused.connect()
        with self.assertRaises(AuthenticationFailed) as caught:
            await refused.authenticate()
        self.assertEqual(caught.exception.condition, "temporary-auth-failure")
        await refused.expectEnd()
        await proxy.logs("refused 1 login from 127.0.0.1: limits failed-logins-per-address = 1")
        await self.rawClient(self.users[0], "phone", proxy).login()
        await self.chat()

    async def test_sessions(self) -> None:
        """One too many of an account: the server has its resource back."""
        proxy = await self.proxyFor(self.server, limits={"sessions-per-account": 1})
        await self.meet(proxy)
        second = self.rawClient(self.users[0], "phone", proxy)
        await second.connect()
        await second.authenticate()
        with self.assertRaises(AssertionError) as caught:
            await second.bind()
        self.assertIn("<resource-constraint", str(caught.exception))
        await second.expectEnd()
        await self.chat()
        await self.pair[0].close()
        third = self.rawClient(self.users[0], "desk", proxy)
        await third.login()
        self.pair = (third, self.pair[1])
        await self.chat()


@onServers("prosody")
class Descriptors(Bystanders):
    """They run out."""

    def waits(self, client: RawClient) -> Deferred[None]:
        """Somebody else logs in, for as long as that takes."""
        return Deferred.fromCoroutine(client.login())

    async def test_few(self) -> None:
        """There are enough for three sessions: who comes next waits until somebody leaves."""
        proxy = await self.proxyFor(self.server, descriptors={"soft": 65, "hard": 70})
        await proxy.logs("file descriptors: 70 (raised from 65); sessions at most: 3")
        await self.meet(proxy)
        third = self.rawClient(self.stranger(), "desk", proxy)
        await third.login()
        waiting = self.waits(self.rawClient(self.stranger(), "desk", proxy))
        await proxy.logs("accepting paused 1 time: no descriptors are left")
        await self.chat()
        self.assertNoResult(waiting)
        await third.close()
        await waiting
        await self.chat()

    async def test_most(self) -> None:
        """The same with as many connections as there may be."""
        proxy = await self.proxyFor(self.server, limits={"connections": 3})
        await self.meet(proxy)
        third = self.rawClient(self.stranger(), "desk", proxy)
        await third.login()
        waiting = self.waits(self.rawClient(self.stranger(), "desk", proxy))
        await proxy.logs("accepting paused 1 time: limits connections = 3")
        await self.chat()
        self.assertNoResult(waiting)
        await third.close()
        await waiting
        await self.chat()

    @skipUnless(hasattr(resource, "prlimit"), "only Linux lets others set a process's limits")
    async def test_none(self) -> None:
        """The system gives no more: it is tried again until it does."""
        proxy = await self.proxyFor(self.server)
        await self.meet(proxy)
        _, most = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (3, most))
        waiting = self.waits(self.rawClient(self.stranger(), "desk", proxy))
        await proxy.logs("accepting paused 1 time: Too many open files")
        await self.chat()
        self.assertNoResult(waiting)
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (most, most))
        await waiting
        await self.chat()

    @skipUnless(hasattr(resource, "prlimit"), "only Linux lets others set a process's limits")
    async def test_noneForTheServer(self) -> None:
        """There was one for the client, and none for its stream to the server: it is told."""
        proxy = await self.proxyFor(self.server)
        await self.meet(proxy)
        used = {int(name) for name in os.listdir(f"/proc/{proxy.pid}/fd")}
        free = next(each for each in range(len(used) + 1) if each not in used)
        _, most = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (free + 1, most))
        unlucky = self.rawClient(self.stranger(), "desk", proxy)
        with self.assertRaises(AssertionError) as caught:
            await unlucky.connect()
        self.assertIn("<remote-connection-failed", str(caught.exception))
        await proxy.logs("raise the hard limit of file descriptors")
        await self.chat()
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (most, most))
        await self.rawClient(self.stranger(), "desk", proxy).login()
        await self.chat()
