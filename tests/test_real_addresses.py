"""Odd addresses on real servers: one account however it is spelled, and a log that does not lie."""

from __future__ import annotations

from collections.abc import Callable

from twisted.words.xish.domish import Element

from tests.linkrelay import Place
from tests.rawclient import AuthenticationFailed, RawClient, bodyOf, message
from tests.servers import Proxy, ServerCase, onServers
from xmpproxy import lab, ns
from xmpproxy.shown import shown

DEBIAN = ("prosody", "ejabberd", "jabberd2")
ALONE = ("prosody", "ejabberd")  # which can do without carbons

#: Resources that all three servers allow, as they are or prepared.
RESOURCES = (
    "a/b@c",
    'x\' y="1"/><message/>',
    "<body/>&",
    "two words: bound, from 203.0.113.9",
    "{jid} {0} %s",
    "zero\u200bwidth",
    "\uff21\uff22\uff23",
    "\u05d0\u05d1",
    "r" * 1023,
)
#: What only some do: not in Unicode 3.2, on which stringprep is based.
MORE = {"jabberd2": ("😀", "a\u2066b")}


def _wide(name: str) -> str:
    """A name in letters of full width, which are prepared to ordinary ones."""
    return "".join(chr(ord(each) + 0xFEE0) for each in name)


class _Addresses(ServerCase):
    """What these tests have in common."""

    def calledItself(
        self, name: str, account: str, resource: str | None, at: Place | None = None
    ) -> RawClient:
        """A client that spells the account's name in its own way."""
        client = self.rawClient(account, resource, at)
        client.user = name
        return client

    async def showEachOther(self, one: RawClient, other: RawClient, peer: RawClient) -> None:
        """What one gets or sends, the other is shown, once."""
        for first, second in ((one, other), (other, one)):
            for each in (one, other, peer):
                each.forget()
            peer.say(first.address, "in")
            await first.expect(message("in"))
            await second.expect(message("in"))
            first.say(peer.address, "out")
            await peer.expect(message("out"))
            await second.expect(_copyOf("out"))
            await one.sync()
            await other.sync()
            self.assertEqual(first.bodies, ["in"])
            self.assertEqual(len(second.bodies), 2, second.bodies)

    def assertOneLineEach(self, proxy: Proxy) -> None:
        """Every line of the log begins as one, and has nothing in it that cannot be seen."""
        for line in proxy.log.removesuffix("\n").split("\n"):
            self.assertRegex(line, r"^[0-9]{4}-[0-9-]{5}T[0-9:+]+ \[[^ ]+\] [ -~]*$")


def _copyOf(text: str) -> Callable[[Element], bool]:
    """Whether an element is the plain copy of a message that another client sent."""

    def matches(element: Element) -> bool:
        body = bodyOf(element) if element.name == "message" else None
        return body is not None and body.startswith("me@") and body.endswith(f": {text}")

    return matches


@onServers(*DEBIAN, withoutCarbons=ALONE)
class Spelling(_Addresses):
    """Clients that spell the name of one account in several ways."""

    async def test_oneAccount(self) -> None:
        """They are siblings, whether the server writes the name as it is prepared or as it came."""
        proxy = await self.proxyFor(self.server)
        name = self.stranger()
        peer = self.rawClient(self.stranger(), "x")
        await peer.login()
        plain = self.rawClient(name, "plain", proxy)
        await plain.login()
        upper = name.upper()
        if self.kind == "jabberd2":  # does not know upper case at all
            with self.assertRaises(AuthenticationFailed):
                client = self.calledItself(upper, name, "upper", proxy)
                await client.connect()
                await client.authenticate()
            upper = _wide(name)
        other = self.calledItself(upper, name, "upper", proxy)
        await other.login()
        asWritten = upper if self.kind == "ejabberd" else name
        self.assertEqual(other.address, f"{asWritten}@{self.server.domain}/upper")
        await self.showEachOther(plain, other, peer)
        self.assertOneLineEach(proxy)

    async def test_withoutTheOrdinaryOne(self) -> None:
        """The same where none of them spells it as it is prepared, and carbons are enabled."""
        proxy = await self.proxyFor(self.server)
        name = self.stranger()
        peer = self.rawClient(self.stranger(), "x")
        await peer.login()
        others = [_wide(name), name if self.kind == "jabberd2" else name.upper()]
        clients = [
            self.calledItself(each, name, f"r{number}", proxy) for number, each in enumerate(others)
        ]
        for client in clients:
            await client.login()
            await client.enableCarbons()
        one, other = clients
        for first, second in ((one, other), (other, one)):
            first.say(peer.address, "out")
            carbon = await second.expect(lambda each: each.name == "message")
            self.assertEqual(carbon["from"], second.address.partition("/")[0])
            self.assertEqual(carbon["to"], second.address)
            sent = next(carbon.elements())
            self.assertEqual((sent.uri, sent.name), (ns.CARBONS, "sent"))


@onServers("pyjabber")
class TwoAccounts(_Addresses):
    """A server for which names in upper and lower case are two accounts."""

    async def test_twoAccounts(self) -> None:
        """Neither sees what the other gets or sends."""
        proxy = await self.proxyFor(self.server)
        name = self.stranger()
        registering = self.rawClient(name)
        await registering.connect()
        query = f"<username>{name.upper()}</username><password>{lab.PASSWORD}</password>"
        await registering.iq("set", f"<query xmlns='{ns.REGISTER}'>{query}</query>")
        lower = self.rawClient(name, None, proxy)
        await lower.login()
        upper = self.calledItself(name.upper(), name, None, proxy)
        await upper.login()
        self.assertEqual(upper.address.partition("@")[0], name.upper())
        peer = self.rawClient(self.stranger(), "x")
        await peer.login()
        for one, other in ((lower, upper), (upper, lower)):
            peer.say(one.address, "in")
            await one.expect(message("in"))
            one.say(peer.address, "out")
            await peer.expect(message("out"))
            await other.sync()
            await one.sync()
            self.assertEqual(other.bodies, [])
            one.forget()


@onServers(*DEBIAN)
class Resources(_Addresses):
    """Resources that try to be something else."""

    async def test_resources(self) -> None:
        """Siblings see each other, and the log says whose session it is, in a line each."""
        proxy = await self.proxyFor(self.server)
        name = self.stranger()
        peer = self.rawClient(self.stranger(), "x")
        await peer.login()
        sibling = self.rawClient(name, "sibling", proxy)
        await sibling.login()
        clients = []
        for resource in (*RESOURCES, *MORE.get(self.kind, ())):
            client = self.rawClient(name, resource, proxy)
            await client.login()
            await self.showEachOther(sibling, client, peer)
            await proxy.logs(f"] {shown(client.address)}: bound, from 127.0.0.1\n")
            clients.append(client)
        # Not before: jabberd2 may refuse a login right after the end of a session.
        for client in clients:
            await client.close()
            await proxy.logs(f"] {shown(client.address)}: ended: ")
        self.assertOneLineEach(proxy)
