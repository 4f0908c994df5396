"""The conversation on every client, through the proxy, on real servers with raw clients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations, count
from random import Random, randrange

from twisted.words.xish.domish import Element

from tests.rawclient import RawClient, bodyOf
from tests.servers import Proxy, ServerCase, onServers

_numbers: defaultdict[tuple[str, bool], Iterator[int]] = defaultdict(count)


def shown(element: Element) -> str | None:
    """The line that a client shows for an element: of a carbon, the message inside."""
    if element.name != "message" or element.getAttribute("type") == "error":
        return None
    for wrapper in element.elements():
        if wrapper.uri == "urn:xmpp:carbons:2" and wrapper.name in ("received", "sent"):
            forwarded = next(wrapper.elements())
            inner = next(child for child in forwarded.elements() if child.name == "message")
            own = "me: " if wrapper.name == "sent" else ""
            text = bodyOf(inner)
            return None if text is None else own + text
    return bodyOf(element)


def lines(client: RawClient) -> list[str]:
    """What a client's window shows of what it was sent."""
    return [line for line in map(shown, client.received) if line is not None]


class SceneCase(ServerCase):
    """Bob at home and at work, and Alice who talks to him, all through the proxy."""

    proxy: Proxy

    async def connect(self, user: str, resource: str, priority: int | None = 0) -> RawClient:
        """A client of ours, available."""
        client = self.rawClient(user, resource, self.proxy)
        await client.login(priority=priority)
        return client

    async def stage(
        self,
        priorities: tuple[int | None, ...] = (0, 0),
        carbons: tuple[bool, ...] = (False, False),
        **tables: dict[str, str | int | float | bool],
    ) -> tuple[RawClient, list[RawClient]]:
        """Alice, and Bob's clients with these priorities and carbons."""
        self.proxy = await self.proxyFor(self.server, **tables)
        # Each test has people of its own: what a server keeps of the last ones is not for these.
        number = next(_numbers[self.kind, self.carbons])
        self.alice, self.bob = f"u{2 * number}", f"u{2 * number + 1}"
        self.bobJid = f"{self.bob}@{self.server.domain}"
        self.aliceJid = f"{self.alice}@{self.server.domain}"
        clients = []
        for index, (priority, wants) in enumerate(zip(priorities, carbons, strict=True)):
            client = await self.connect(self.bob, f"r{index}", priority)
            if wants:
                answer = await client.enableCarbons()
                self.assertEqual(answer["type"], "result")
            clients.append(client)
        alice = await self.connect(self.alice, "desk")
        for client in (alice, *clients):
            client.received.clear()
        return alice, clients

    async def settle(self, *clients: RawClient) -> None:
        """
        Wait until nothing is under way: the server has handled all that was sent, and every client
        has got all that this caused.
        """
        try:
            for client in clients * 2:
                await client.sync()
        except Exception as e:
            raise AssertionError(f"{e!r}, and the proxy says:\n{self.proxy.log}") from e

    def assertShown(self, client: RawClient, expected: list[str]) -> None:
        """A client shows exactly these lines."""
        self.assertEqual(lines(client), expected, f"at {client.jid.full()}")


@onServers("prosody", "ejabberd", "jabberd2", "pyjabber", withoutCarbons=("prosody", "ejabberd"))
class Conversation(SceneCase):
    """What each window shows."""

    async def test_oneClientInAndOut(self) -> None:
        alice, [bob] = await self.stage((0,), (False,))
        alice.say(self.bobJid, "hello")
        await bob.expectBodies("hello")
        bob.say(alice.jid.full(), "hello yourself")
        await alice.expectBodies("hello yourself")
        await self.settle(alice, bob)
        self.assertShown(bob, ["hello"])
        self.assertShown(alice, ["hello yourself"])

    async def test_outgoing(self) -> None:
        alice, [home, work] = await self.stage()
        home.say(self.aliceJid, "from home")
        work.say(alice.jid.full(), "from work")
        await self.settle(home, work, alice, home, work)
        self.assertEqual(sorted(lines(alice)), ["from home", "from work"])
        self.assertShown(home, [f"me@{work.jid.resource}: from work"])
        self.assertShown(work, [f"me@{home.jid.resource}: from home"])
        copy = work.received[0]
        self.assertEqual(copy["from"], self.aliceJid)
        self.assertEqual(copy["type"], "chat")
        self.assertEqual([child.name for child in copy.elements()], ["body"])

    async def incoming(
        self, priorities: tuple[int | None, ...], carbons: tuple[bool, ...]
    ) -> tuple[list[str], list[RawClient]]:
        """Alice writes to every address that Bob has; each line is checked to be everywhere."""
        alice, bobs = await self.stage(priorities, carbons)
        texts = []
        addresses = [self.bobJid, *(bob.jid.full() for bob in bobs)]
        if self.kind != "pyjabber":  # which delivers nothing to a resource that is not there
            addresses.append(f"{self.bobJid}/gone")
        for to in addresses:
            text = f"to {to.partition('/')[2] or 'bare'}"
            alice.say(to, text)
            texts.append(text)
            await self.settle(alice, *bobs)
        return texts, bobs

    async def test_incoming(self) -> None:
        texts, bobs = await self.incoming((0, 0), (False, False))
        for bob in bobs:
            self.assertShown(bob, texts)

    async def test_incomingWithUnequalPriorities(self) -> None:
        texts, bobs = await self.incoming((5, 0), (False, False))
        for bob in bobs:
            self.assertShown(bob, texts)

    async def test_incomingWithCarbonsOnOne(self) -> None:
        texts, bobs = await self.incoming((0, 0), (True, False))
        for bob in bobs:
            self.assertShown(bob, texts)

    async def test_incomingWithCarbonsOnBoth(self) -> None:
        texts, bobs = await self.incoming((5, 0), (True, True))
        for bob in bobs:
            self.assertShown(bob, texts)

    async def test_incomingOnThree(self) -> None:
        texts, bobs = await self.incoming((3, 0, 0), (False, True, False))
        for bob in bobs:
            self.assertShown(bob, texts)

    async def test_negativePriorityGetsNoCopies(self) -> None:
        alice, [home, quiet] = await self.stage((0, -1))
        alice.say(self.bobJid, "for those who listen")
        alice.say(home.jid.full(), "for home")
        home.say(self.aliceJid, "answer")
        await self.settle(alice, home, quiet)
        self.assertShown(home, ["for those who listen", "for home"])
        self.assertShown(quiet, [])

    async def test_outgoingWithCarbons(self) -> None:
        alice, [home, work] = await self.stage((0, 0), (True, False))
        home.say(self.aliceJid, "from home")
        await self.settle(home, work, alice)
        work.say(self.aliceJid, "from work")
        await self.settle(home, work, alice, home)
        self.assertShown(home, ["me: from work"])
        self.assertShown(work, [f"me@{home.jid.resource}: from home"])
        self.assertShown(alice, ["from home", "from work"])

    async def test_toOneself(self) -> None:
        _, [home, work] = await self.stage()
        home.say(self.bobJid, "note")
        await self.settle(home, work)
        home.say(work.jid.full(), "over there")
        await self.settle(home, work)
        self.assertShown(work, ["note", "over there"])
        # What a client writes it shows itself; the server may bring it back, once.
        self.assertIn(lines(home), ([], ["note"]))

    async def test_sameTextTwice(self) -> None:
        alice, bobs = await self.stage()
        for _ in range(3):
            alice.send(f"<message to='{self.bobJid}' type='chat'><body>knock</body></message>")
        await self.settle(alice, *bobs)
        for bob in bobs:
            self.assertShown(bob, ["knock"] * 3)

    async def test_rejoinedClientIsNotPaidForHistory(self) -> None:
        alice, [home, work] = await self.stage()
        alice.say(home.jid.full(), "before")
        await self.settle(alice, home, work)
        await work.close()
        alice.say(home.jid.full(), "meanwhile")
        await self.settle(alice, home)
        again = await self.connect(self.bob, "again")
        alice.say(home.jid.full(), "after")
        await self.settle(alice, home, again)
        self.assertShown(home, ["before", "meanwhile", "after"])
        self.assertShown(again, ["after"])

    async def test_notCopied(self) -> None:
        alice, [home, work] = await self.stage((0, 0), (False, True))
        private = "<private xmlns='urn:xmpp:carbons:2'/><no-copy xmlns='urn:xmpp:hints'/>"
        to = home.jid.full()
        alice.send(f"<message to='{to}' type='chat'><body>secret</body>{private}</message>")
        alice.send(f"<message to='{to}' type='headline'><body>news</body></message>")
        home.send(f"<message to='{self.aliceJid}' type='chat'><body>hush</body>{private}</message>")
        await self.settle(alice, home, work, alice)
        self.assertShown(home, ["secret", "news"])
        self.assertShown(work, [])
        self.assertShown(alice, ["hush"])

    async def test_forgedCarbon(self) -> None:
        alice, [home, work] = await self.stage((0, 0), (True, False))
        forged = (
            "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
            f"<message xmlns='jabber:client' from='boss@{self.server.domain}/x' to='{self.bobJid}'"
            " type='chat'><body>pay him</body></message></forwarded></received>"
        )
        alice.send(f"<message to='{home.jid.full()}' type='chat'>{forged}</message>")
        alice.send(f"<message to='{self.bobJid}' type='chat'>{forged}</message>")
        alice.say(self.bobJid, "honest")
        await self.settle(alice, home, work)
        for bob in (home, work):
            self.assertShown(bob, ["honest"])

    async def test_bursts(self) -> None:
        alice, [home, work] = await self.stage()
        incoming = [f"in {number}" for number in range(150)]
        outgoing = [f"out {number}" for number in range(150)]
        for text in incoming:
            alice.say(self.bobJid, text)
        await self.settle(alice, home, work)
        self.assertShown(home, incoming)
        self.assertShown(work, incoming)
        for text in incoming:
            alice.say(home.jid.full(), f"{text} home")
        await self.settle(alice, home, work)
        home.received.clear()
        self.assertShown(work, [*incoming, *(f"{text} home" for text in incoming)])
        work.received.clear()
        for text in outgoing:
            home.say(self.aliceJid, text)
        await self.settle(home, alice, work)
        self.assertShown(alice, outgoing)
        self.assertShown(work, [f"me@{home.jid.resource}: {text}" for text in outgoing])


@onServers("prosody", "ejabberd", "jabberd2", withoutCarbons=("prosody", "ejabberd"))
class Stress(SceneCase):
    """Everybody talks at once, to all addresses, in random order."""

    rounds = 8
    burst = 40

    async def test_everybodyAtOnce(self) -> None:
        seed = randrange(2**32)
        random = Random(seed)
        alice, bobs = await self.stage((3, 0, 0), (False, True, False))
        numbers = count()
        for _ in range(self.rounds):
            received: list[str] = []
            sent: dict[RawClient, list[str]] = {bob: [] for bob in bobs}
            for _ in range(self.burst):
                text = f"line {next(numbers)}"
                if random.random() < 0.6:
                    alice.say(random.choice([self.bobJid, *(b.jid.full() for b in bobs)]), text)
                    received.append(text)
                else:
                    bob = random.choice(bobs)
                    bob.say(self.aliceJid, text)
                    sent[bob].append(text)
            await self.settle(alice, *bobs, *bobs)
            said = [text for texts in sent.values() for text in texts]
            self.assertEqual(sorted(lines(alice)), sorted(said), f"seed {seed}")
            for bob in bobs:
                plain = [line.rpartition(": ")[2] for line in lines(bob)]
                others = [text for text in said if text not in sent[bob]]
                self.assertEqual(sorted(plain), sorted(received + others), f"seed {seed}")
            if self.kind == "jabberd2" or not self.carbons:
                self.assertSameOrder(bobs, f"seed {seed}")
            for client in (alice, *bobs):
                client.received.clear()

    def assertSameOrder(self, clients: list[RawClient], message: str) -> None:
        """Whatever two windows both show, they show in one order."""
        windows = [[line.rpartition(": ")[2] for line in lines(client)] for client in clients]
        for one, other in combinations(windows, 2):
            self.assertEqual(
                [line for line in one if line in other],
                [line for line in other if line in one],
                message,
            )
