"""The conversation in real clients: finch, which knows no carbons, and profanity, which does."""

from __future__ import annotations

import contextlib  # not "suppress" from it: that name in a test module means something to trial
from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.words.protocols.jabber.jid import JID
from twisted.words.xish.domish import Element

from tests.finch import Finch
from tests.profanity import Profanity
from tests.rawclient import Predicate, bodyOf
from tests.servers import ServerCase, onServers
from tests.terminal import SECONDS, requirePrograms
from xmpproxy.demo.scenes import Line, Say, Window, due, problems

SPECIAL = '1 < 2 & \N{GREEK SMALL LETTER ALPHA} isn\'t "b";'
QUICK = tuple(f"quick {number}" for number in range(10))


def presence(sender: str, type: str | None = None) -> Predicate:
    """A predicate for presence from someone."""

    def matches(element: Element) -> bool:
        return bool(
            element.name == "presence"
            and element.getAttribute("from") == sender
            and element.getAttribute("type") == type
        )

    return matches


@onServers("prosody", "ejabberd", "jabberd2", withoutCarbons=("prosody", "ejabberd"))
class SideBySide(ServerCase):
    """
    Bob has both open side by side, and Alice is at her desk. All are connected to the proxy.

    @ivar expected: what each window has to show of all that was said, by its name.
    """

    # Two terminal programs are started, and every line is looked for on their screens.
    timeout = 180

    def setUp(self) -> None:
        super().setUp()
        requirePrograms("finch", "profanity", "tmux")

    async def stage(self) -> None:
        """Bring everybody on."""
        self.alice, self.bob = self.stranger(), self.stranger()
        self.aliceJid = f"{self.alice}@{self.server.domain}"
        self.bobJid = f"{self.bob}@{self.server.domain}"
        self.windows = {
            "finch": Window("finch", self.bob),
            "profanity": Window("profanity", self.bob, carbons=True),
            "desk": Window("desk", self.alice),
        }
        self.expected: dict[str, list[Line]] = {name: [] for name in self.windows}
        self.proxy = await self.proxyFor(self.server)
        self.desk = self.rawClient(self.alice, "desk", self.proxy)
        await self.desk.login()
        await self.acquaint()
        place, password = (self.proxy.host, self.proxy.port), self.server.users[self.bob]
        self.clients: dict[str, Finch | Profanity] = {
            "finch": Finch(*place, f"{self.bobJid}/finch", password, self.server.certificate),
            "profanity": Profanity(*place, f"{self.bobJid}/profanity", password, self.proxy.trust),
        }
        for name, client in self.clients.items():
            self.addCleanup(self.close, client)
            with self.explained():
                await client.start()
                await self.desk.expect(presence(f"{self.bobJid}/{name}"), SECONDS)
        self.desk.received.clear()

    def close(self, client: Finch | Profanity) -> Deferred[None]:
        """End a client of Bob's."""
        return Deferred.fromCoroutine(client.close())

    async def acquaint(self) -> None:
        """Make Alice and Bob contacts of each other (RFC 6121 3.1)."""
        bob = self.rawClient(self.bob)
        await bob.login()
        for one, other in (self.desk, bob), (bob, self.desk):
            one.send(f"<presence to='{other.jid.userhost()}' type='subscribe'/>")
            await other.expect(presence(one.jid.userhost(), "subscribe"))
            other.send(f"<presence to='{one.jid.userhost()}' type='subscribed'/>")
            await one.expect(presence(other.jid.full()))
        await bob.close()

    async def play(self, *says: Say) -> None:
        """Have things said; each when every window has shown what was said before."""
        resources = {name: name for name in self.clients}
        for say in says:
            shown = {
                name: due(say, window, self.windows[say.speaker], resources)
                for name, window in self.windows.items()
            }
            await self.say(say)
            for name, lines in shown.items():
                self.expected[name] += lines
                with self.explained():
                    if name in self.clients:
                        await self.clients[name].expect(self.aliceJid, self.expected[name])
                    else:
                        await self.desk.expectBodies(*(text for who, text in lines if who != "me"))

    async def say(self, say: Say) -> None:
        """Have one thing said."""
        if say.speaker == "desk":
            to = f"{self.bobJid}/{say.to}" if say.to in self.clients else self.bobJid
            for text in say.texts:
                self.desk.say(to, text)
        else:
            await self.clients[say.speaker].say(self.aliceJid, *say.texts)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Add what the proxy says to a failure."""
        try:
            yield
        except AssertionError as e:
            raise AssertionError(f"{e}\nThe proxy says:\n{self.proxy.log}") from None

    async def assertShown(self) -> None:
        """Every window shows each line once, and in order; and no other window is open."""
        # What comes last comes after whatever might come late.
        await self.play(
            Say("desk", self.bob, ("That was it.",)), Say("desk", self.bob, ("Really.",))
        )
        for name, client in self.clients.items():
            windows = await client.conversations()
            self.assertEqual([JID(title).userhost() for title in windows], [self.aliceJid], name)
            [shown] = windows.values()
            self.assertEqual(list(problems(name, self.expected[name], shown)), [])
        received = [item for item in self.desk.received if item.name == "message"]
        texts = [text for text in map(bodyOf, received) if text is not None]
        said = [line.text for line in self.expected["desk"] if line.who != "me"]
        self.assertEqual(texts, said)

    async def test_incoming(self) -> None:
        """What anybody sends to Bob, or to one of his clients, both show."""
        await self.stage()
        await self.play(
            Say("desk", self.bob, ("for Bob",)),
            Say("desk", "finch", ("for finch",)),
            Say("desk", "profanity", ("for profanity",)),
            Say("desk", self.bob, QUICK),
            Say("desk", "finch", QUICK),
        )
        await self.assertShown()

    async def test_outgoing(self) -> None:
        """What Bob sends from one client, the other shows: as his own, or with a prefix."""
        await self.stage()
        await self.play(
            Say("finch", self.alice, ("from finch",)),
            Say("profanity", self.alice, ("from profanity",)),
            Say("finch", self.alice, (SPECIAL,)),
            Say("profanity", self.alice, (SPECIAL,)),
            Say("finch", self.alice, QUICK),
            Say("profanity", self.alice, QUICK),
        )
        await self.assertShown()

    async def test_conversation(self) -> None:
        """Questions and answers, in turn."""
        await self.stage()
        await self.play(
            Say("profanity", self.alice, ("Are you there?",)),
            Say("desk", "profanity", ("At my desk.",)),
            Say("finch", self.alice, ("I am home now.",)),
            Say("desk", self.bob, ("That was", "quick.")),
            Say("profanity", self.alice, ("Yes.",)),
            Say("desk", "finch", ("Yes?",)),
            Say("finch", self.alice, ("Yes.",)),
        )
        await self.assertShown()
