"""Too many logins, on real servers."""

from __future__ import annotations

from tests.rawclient import AuthenticationFailed
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
