"""Conversations about what takes long: it is handled piece by piece, in several turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tests.conversation import DOMAIN, STARTTLS, Conversation, Window, features
from tests.test_conversation_tls import Secure
from xmpproxy import xmlstream
from xmpproxy.xmlstream import TURN, StanzaStream

ROSALINE = "rosaline@example.net"


def said(number: int) -> str:
    """One of many lines."""
    return f"<message to='{ROSALINE}' id='{number}' type='chat'><body>{number}</body></message>"


class Turns(Conversation):
    """Each piece takes longer than it should, and others come when the test says so."""

    def setUp(self) -> None:
        super().setUp()
        self.now = 0.0
        self.waiting: deque[Callable[[], None]] = deque()
        self.patch(xmlstream, "_PIECE", 64)
        self.patch(xmlstream, "_WHOLE", 64)
        self.patch(StanzaStream, "_piece", 64)

    def logsInSlowly(self, resource: str = "home") -> Window:
        """From now on everything is slow, and what is put off waits."""
        window = self.logsIn(resource)
        self.patch(xmlstream, "perf_counter", self.passes)
        self.patch(xmlstream, "later", lambda clock, work: self.waiting.append(work))
        return window

    def passes(self) -> float:
        """Time has passed whenever somebody looks."""
        self.now += 1
        return self.now

    def turn(self) -> None:
        """A turn of the reactor."""
        self.waiting.popleft()()
        self.network.settle()

    def test_pieces(self) -> None:
        """All of it comes, in order, to the server and to siblings, a piece in each turn."""
        sibling = self.logsIn("work")
        home = self.logsInSlowly()
        lines = [said(number) for number in range(20)]
        home.client.sends("".join(lines))
        turns = 0
        while self.waiting:
            turns += 1
            self.turn()
        self.assertEqual(turns, len("".join(lines)) // 64)
        for line in lines:
            home.server.gets(line)
            sibling.client.gets(
                f"<message from='{ROSALINE}' to='{sibling.jid}' type='chat' id='*'>*</message>"
            )
        home.client.sends(said(21))
        while self.waiting:
            self.turn()
        home.server.gets(said(21))
        sibling.client.gets(
            f"<message from='{ROSALINE}' to='{sibling.jid}' type='chat' id='*'>*</message>"
        )

    def test_others(self) -> None:
        """Meanwhile others are served, and no more is read of this one."""
        nurse = self.logsIn("phone", "nurse")
        home = self.logsInSlowly()
        home.client.sends(said(0) + said(1))
        home.client.sends(said(2))
        nurse.client.sends("<presence/>")
        nurse.server.gets("<presence/>")
        home.server.getsNothing()
        self.assertEqual([each.paused for each in self.factory.streams if each.paused], [TURN])
        while self.waiting:
            self.turn()
        for number in range(3):
            home.server.gets(said(number))

    def test_fromServer(self) -> None:
        """What the server sends, likewise."""
        home = self.logsInSlowly()
        messages = [
            f"<message from='{ROSALINE}' to='{home.jid}' id='{number}'><body>x</body></message>"
            for number in range(5)
        ]
        home.server.sends("".join(messages))
        self.assertTrue(self.waiting)
        while self.waiting:
            self.turn()
        for message in messages:
            home.client.gets(message)

    def test_leaves(self) -> None:
        """What a client has said before it goes counts: in order, or not."""
        for last, vanishes in (("</stream:stream>", False), ("", False), ("", True)):
            home = self.logsInSlowly()
            home.client.sends(said(0) + said(1) + last)
            if vanishes:
                (stream,) = self.factory.streams
                stream.transport.abortConnection()
                self.network.settle()
                home.client.losesConnection()
            else:
                home.client.hangsUp()
            while self.waiting:
                self.turn()
            home.server.gets(said(0))
            home.server.gets(said(1))
            home.server.getsEnd()
            home.server.closes()
            home.server.losesConnection()
            if not vanishes:
                home.client.losesConnection()
            self.patch(xmlstream, "later", lambda clock, work: work())

    def test_mistake(self) -> None:
        """One of ours in a later turn closes the connection, as it does in the first."""
        home = self.logsInSlowly()
        home.client.sends(said(0) + said(1))
        self.patch(StanzaStream, "_handle", lambda stream, data: 1 / 0)
        self.turn()
        self.assertLogged("Unhandled Error")
        self.flushLoggedErrors(ZeroDivisionError)
        home.client.losesConnection()
        home.server.getsEnd()

    def test_sizes(self) -> None:
        """The pieces grow while there is time, and shrink to what can be handled in time."""
        self.patch(xmlstream, "_WHOLE", 4096)
        self.patch(StanzaStream, "_piece", 4096)
        home = self.logsInSlowly()
        sizes: list[int] = []
        handle = StanzaStream._handle

        def noting(stream: StanzaStream, data: bytes) -> None:
            sizes.append(len(data))
            handle(stream, data)

        self.patch(StanzaStream, "_handle", noting)
        self.patch(xmlstream, "_LONG", 0.5)  # half of what each takes
        home.client.sends(" " * 30_000)
        for _ in range(4):
            self.turn()
        self.patch(xmlstream, "perf_counter", lambda: 0.0)
        for _ in range(8):
            self.turn()
        shrinking = [4096, 2048, 1024, 512, 256]
        self.assertEqual(sizes, [*shrinking, 128, 256, 512, 1024, 2048, 4096, 4096, 4096])


class TurnsBeforeTLS(Secure):
    """What is put off when TLS begins is never handled."""

    def test_dropped(self) -> None:
        self.patch(xmlstream, "_PIECE", len(STARTTLS))
        self.patch(StanzaStream, "_piece", len(STARTTLS))
        client = self.client()
        client.opens()
        client.getsHeader(from_=DOMAIN)
        client.gets(features(f"{STARTTLS[:-2]}><required/></starttls>"))
        client.sends(STARTTLS + "<message/>" * 10)
        client.gets("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        client.startsTLS(self.clientTLS())
        client.getsHeader(from_=DOMAIN)
        server = self.server()
        server.opens(features(STARTTLS))
        server.gets(STARTTLS)
