"""Conversations in which more waits, for all clients together, than is kept."""

from __future__ import annotations

from typing import ClassVar

from tests.conversation import BINDING, JULIET, ROMEO, Conversation, Window, bound
from xmpproxy import config, ns
from xmpproxy.queues import SHARE
from xmpproxy.session import PREPARE_SECONDS

SM = ns.STREAM_MANAGEMENT[0]
LIMIT = 600_000
WHY = f"more than {LIMIT} bytes wait in all (all-queues-bytes)"


def said(number: int) -> str:
    """A message of 10 KB."""
    return f"<message to='{ROMEO}' type='chat' id='{number}'><body>{10_000 * '-'}</body></message>"


class AllQueues(Conversation):
    """600 KB may wait in all, and as much for one client."""

    limits: ClassVar = config.Limits(bytes_per_second=0, queue_bytes=LIMIT, all_queues_bytes=LIMIT)

    def setUp(self) -> None:
        super().setUp()
        self.nurse = self.logsIn("court", "nurse")

    def bystands(self) -> None:
        """Somebody else sends and receives, in order."""
        for number in range(3):
            self.nurse.client.sends(f"<presence id='{number}'/>")
            self.nurse.server.gets(f"<presence id='{number}'/>")
            self.nurse.server.sends(f"<presence from='{ROMEO}' id='{number}'/>")
            self.nurse.client.gets(f"<presence from='{ROMEO}' id='{number}'/>")

    def overheard(self, window: Window, numbers: range) -> None:
        """A client says this many things; its sibling does not read."""
        for number in numbers:
            window.client.sends(said(number))
            window.server.gets(said(number))

    def pair(self, user: str) -> tuple[Window, Window]:
        """Two sessions of an account; the first does not read."""
        slow, other = self.logsIn("balcony", user), self.logsIn("chamber", user)
        slow.client.stopsReading()
        return slow, other

    def test_slowest(self) -> None:
        """Of two that do not read, the one ends for whom more waits."""
        (slower, overhears), (slow, speaks) = self.pair("juliet"), self.pair("tybalt")
        self.overheard(overhears, range(40))
        self.overheard(speaks, range(25))
        self.assertNotLogged("too slow")
        self.assertGreater(self.queues.total, LIMIT // 2)
        self.bystands()
        self.overheard(speaks, range(25, 60))
        self.assertLogged(f"{slower.jid}: too slow: {WHY}")
        self.assertNotLogged(f"{slow.jid}: too slow")
        self.bystands()
        slow.client.readsOn()
        for _ in range(60):
            slow.client.gets(f"<message from='*' to='{slow.jid}' type='chat' id='*'>*</message>")
        self.assertEqual(self.queues.total, 0)
        slower.server.getsEnd()
        slower.client.readsOn()
        while slower.client.next == "message":
            slower.client.gets("<message from='*' to='*' type='chat' id='*'>*</message>")
        slower.client.getsError("resource-constraint")
        self.overheard(overhears, range(40, 50))

    def test_server(self) -> None:
        """What waits for a server counts, too."""
        windows = [self.logsIn("home", f"user{number}") for number in range(8)]
        for window in windows:
            window.server.stopsReading()
            window.client.ignores = window.server.ignores = True
            window.client.sends("".join(map(said, range(30))))
        self.assertLogged("too slow: " + WHY)
        self.assertLessEqual(self.queues.total, LIMIT * (1 + SHARE))
        self.bystands()
        gone = [window for window in windows if window.client.gone]
        self.assertLess(len(gone), 5)
        for window in gone:
            window.client.losesConnection()

    def test_away(self) -> None:
        """So does what is kept for clients that may come back."""
        away, sibling = self.logsIn("home", managed=True), self.logsIn("work", managed=True)
        away.client.sends(f"<enable xmlns='{SM}' resume='true'/>")
        away.client.gets(f"<enabled xmlns='{SM}' resume='true' id='*' max='300'/>")
        away.client.vanishes()
        self.overheard(sibling, range(50))
        away.server.getsNothing()
        self.assertGreater(self.queues.total, 400_000)
        slow, speaks = self.pair("tybalt")
        away.server.ignores = True
        self.overheard(speaks, range(25))
        self.assertLogged(f"{away.jid}: ended: {WHY}")
        self.assertNotLogged("too slow")
        slow.client.readsOn()
        for _ in range(25):
            slow.client.gets(f"<message from='*' to='{slow.jid}' type='chat' id='*'>*</message>")

    def test_inactive(self) -> None:
        """And what inactive clients are not told yet."""
        window = self.logsIn("home")
        window.client.sends(f"<inactive xmlns='{ns.CSI}'/>")
        for number in range(4):
            window.server.sends(f"<presence from='{ROMEO}/{number}'>{9000 * '-'}</presence>")
        self.assertGreater(self.queues.total, 30_000 - 16384)
        window.client.ignores = True


class BeforeReady(Conversation):
    """A session is not ready before the server has answered, or three seconds have passed."""

    limits: ClassVar = config.Limits(queue_bytes=100_000)

    def test_much(self) -> None:
        """With much to be told then the client is not told more than it may have waiting."""
        client, server = self.authenticates()
        client.gets(BINDING)
        request = f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>"
        client.sends(request)
        server.gets(request)
        server.sends(bound(f"{JULIET}/home"))
        server.getsDisco()
        stanzas = [f"<presence from='{ROMEO}/{each}'>{9000 * '-'}</presence>" for each in range(99)]
        server.sends("".join(stanzas))
        self.assertGreater(server.unsent, 400_000)
        client.getsNothing()
        self.network.wait(PREPARE_SECONDS)
        client.gets(bound(f"{JULIET}/home"))
        for stanza in stanzas:
            client.getsBytes(stanza)
        self.assertEqual(server.unsent, 0)

    def test_gone(self) -> None:
        """The same with a client that does not wait for it."""
        client, server = self.authenticates()
        client.gets(BINDING)
        server.ignores = True
        client.sends(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.sends(bound(f"{JULIET}/home"))
        server.sends(99 * f"<presence from='{ROMEO}'>{9000 * '-'}</presence>")
        self.assertGreater(server.unsent, 400_000)
        client.vanishes()
        self.network.wait(PREPARE_SECONDS)
        self.assertEqual(server.unsent, 0)
