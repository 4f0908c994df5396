"""Conversations with clients that say more than they may, and with some that do not listen."""

from __future__ import annotations

from typing import ClassVar

from tests.conversation import (
    DOMAIN,
    PLAIN,
    ROMEO,
    SUCCESS,
    Client,
    Conversation,
    Server,
    Window,
    features,
    plain,
)
from xmpproxy import config, ns
from xmpproxy.bucket import BURST_BYTES, BURST_SECONDS
from xmpproxy.downstream import LOGIN_BYTES_PER_SECOND
from xmpproxy.xmlstream import CLOSE_SECONDS

RATE = 100_000
BURST = int(RATE * BURST_SECONDS)
SIZE = 10_000


def said(number: int) -> str:
    """A stanza of 10 KB that is shown to nobody else."""
    begin = f"<message to='{ROMEO}' type='headline' id='{number:06}'><body>"
    end = "</body></message>"
    return begin + "-" * (SIZE - len(begin) - len(end)) + end


class Rated(Conversation):
    """Clients may say 100 KB a second."""

    limits: ClassVar = config.Limits(bytes_per_second=RATE)

    def setUp(self) -> None:
        super().setUp()
        self.home, self.other = self.logsIn("home"), self.logsIn("other", "nurse")
        # What they said when they became available counts: begin with a full bucket.
        self.network.wait(BURST_SECONDS)

    def says(self, numbers: range) -> None:
        """The client says this many things in one go."""
        self.home.client.sends("".join(map(said, numbers)))

    def got(self, numbers: range) -> None:
        """The server has got them."""
        for number in numbers:
            self.home.server.getsBytes(said(number))

    def bystands(self) -> None:
        """Somebody else sends and receives, in order."""
        for number in range(3):
            self.other.client.sends(f"<presence id='{number}'/>")
            self.other.server.gets(f"<presence id='{number}'/>")
            self.other.server.sends(f"<presence from='{ROMEO}' id='{number}'/>")
            self.other.client.gets(f"<presence from='{ROMEO}' id='{number}'/>")


class Rates(Rated):
    def test_below(self) -> None:
        """A burst goes through in no time."""
        many = BURST // SIZE
        self.says(range(many))
        self.got(range(many))
        self.assertFalse(self.home.client.unsent)
        self.bystands()

    def test_above(self) -> None:
        """What is more is read at the rate. Nobody is disconnected, nothing lost."""
        many = 2 * BURST // SIZE
        self.says(range(many))
        self.assertGreater(self.home.client.unsent, 0)
        self.bystands()
        self.home.server.sends(f"<presence from='{ROMEO}'/>")
        self.home.client.gets(f"<presence from='{ROMEO}'/>")
        before = self.home.client.unsent
        self.network.wait(1)
        self.assertLessEqual(before - self.home.client.unsent, RATE + BURST_BYTES)
        self.assertLess(self.home.client.unsent, before)
        for _ in range(10):
            self.network.wait(1)
        self.bystands()
        self.got(range(many))

    def test_alive(self) -> None:
        """Who is read slowly is read."""
        self.home.server.ignores = True
        self.says(range(2 * BURST // SIZE))
        (session,) = (
            each
            for account in self.accounts
            for each in account.sessions
            if each.jid == self.home.jid  # type: ignore[attr-defined]
        )
        downstream = session._downstream  # type: ignore[attr-defined]
        self.assertTrue(downstream.paused and downstream.reading)

    def test_serverIsSlow(self) -> None:
        """A client that is too fast for its server as well is read when neither is the case."""
        many = 2 * BURST // SIZE
        self.home.server.stopsReading()
        self.says(range(many))
        self.network.wait(2)
        waiting = self.home.client.unsent
        self.assertGreater(waiting, 0)
        self.network.wait(60)
        self.assertEqual(self.home.client.unsent, waiting)
        self.bystands()
        self.home.server.readsOn()
        for _ in range(10):
            self.network.wait(1)
        self.got(range(many))

    def test_serverReadsOn(self) -> None:
        """That its server reads again is no reason to read a client that has said too much."""
        many = 3 * BURST // SIZE
        self.says(range(many))
        waiting = self.home.client.unsent
        self.home.server.stopsReading()
        self.network.wait(2)  # the server's buffer is full now
        self.home.server.readsOn()
        self.assertGreaterEqual(self.home.client.unsent, waiting - 2 * RATE - BURST_BYTES)
        for _ in range(20):
            self.network.wait(1)
        self.got(range(many))

    def test_logsOut(self) -> None:
        """A client that said too much and then goodbye."""
        many = 2 * BURST // SIZE
        self.home.client.sends("".join(map(said, range(many))) + "</stream:stream>")
        while not self.home.client.gone:
            self.network.wait(1)
        self.home.client.isLeft()
        self.got(range(many))
        self.home.server.getsEnd()

    def test_vanishes(self) -> None:
        """Nothing waits for a client that is gone."""
        self.home.server.ignores = True
        self.says(range(2 * BURST // SIZE))
        self.home.client.vanishes()
        for _ in range(5):
            self.network.wait(1)
        self.assertEqual(len(self.factory.streams), 1)


class Unlimited(Rated):
    """Unless the rate is 0."""

    limits: ClassVar = config.Limits(bytes_per_second=0)

    def test_much(self) -> None:
        self.says(range(2000))
        self.got(range(2000))


class BeforeLogin(Conversation):
    """Who has not logged in is read much more slowly."""

    def setUp(self) -> None:
        super().setUp()
        self.other = self.logsIn("other", "nurse")

    def flooder(self, size: int) -> tuple[Client, Server]:
        """A client connects, and sends nothing but spaces."""
        client, server = self.meets()
        client.sends(size * " ")
        return client, server

    def test_below(self) -> None:
        """As much as one read may bring is read; no login is that long."""
        client, server = self.flooder(BURST_BYTES - 1000)
        self.assertFalse(client.unsent)
        client.vanishes()
        server.getsEnd()

    def test_above(self) -> None:
        """What is more takes its time, up to when the client should have logged in."""
        client, server = self.flooder(2**21)
        unsent = client.unsent
        self.assertGreater(unsent, 2**20)
        for _ in range(50):
            self.network.wait(1)
        self.assertLessEqual(unsent - client.unsent, 50 * LOGIN_BYTES_PER_SECOND + BURST_BYTES)
        self.other.client.sends("<presence/>")
        self.other.server.gets("<presence/>")
        self.network.wait(10)
        self.network.wait(CLOSE_SECONDS)
        self.assertLogged("limits login-seconds = 60")
        self.assertEqual(len(self.factory.streams), 1)
        client.getsError("connection-timeout")
        server.isLeft()

    def test_afterLogin(self) -> None:
        """That is over when it has logged in."""
        home = self.logsIn("home")
        home.client.sends(4 * BURST_BYTES * " " + "<presence/>")
        home.server.gets("<presence/>")


class Deaf(Conversation):
    """A client has the server talk, and does not listen."""

    domain: ClassVar = config.Domain(
        name=DOMAIN, upstream="tcp:127.0.0.1:15222", upstream_tls="none", registration=True
    )
    limits: ClassVar = config.Limits(bytes_per_second=0)

    def asks(self, count: int) -> Window:
        """A client asks what to fill in for an account, this many times, and hears nothing."""
        register = f"<register xmlns='{ns.REGISTER_FEATURE}'/>"
        client, server = self.meets(PLAIN + register)
        client.stopsReading()
        request = f"<iq type='get' id='r'><query xmlns='{ns.REGISTER}'/></iq>"
        for _ in range(count):
            client.sends(request)
            while server.next == "iq":
                server.gets(request)
                instructions = f"<instructions>{SIZE * '-'}</instructions>"
                form = f"<query xmlns='{ns.REGISTER}'>{instructions}</query>"
                server.sends(f"<iq type='result' id='r'>{form}</iq>")
        return Window(client, server, "")

    def test_notRead(self) -> None:
        """What it does not listen to stays with the server."""
        client, server, _ = self.asks(100)
        self.assertGreater(server.unsent, 500_000)
        client.ignores = True
        client.readsOn()
        self.assertEqual(server.unsent, 0)
        client.vanishes()
        server.getsEnd()

    def test_serverIsSlow(self) -> None:
        """And what the server does not listen to, with the client."""
        client, server, _ = self.asks(0)
        server.stopsReading()
        request = f"<iq type='get' id='r'><query xmlns='{ns.REGISTER}'/></iq>"
        client.sends(10_000 * request)
        self.assertGreater(client.unsent, 300_000)
        server.ignores = True
        server.readsOn()
        self.assertEqual(client.unsent, 0)
        client.vanishes()

    def test_tooLate(self) -> None:
        """It has to log in in time all the same."""
        client, server, _ = self.asks(100)
        self.network.wait(60)
        self.network.wait(CLOSE_SECONDS)
        self.assertEqual(len(self.factory.streams), 0)
        client.vanishes()
        server.isLeft()

    def test_logsIn(self) -> None:
        """That it did not listen for a while is no hindrance."""
        client, server, _ = self.asks(10)
        client.readsOn()
        while client.next == "iq":
            client.gets("<iq type='result' id='r'>*</iq>")
        client.sends(plain())
        server.gets(plain())
        server.succeeds()
        client.gets(SUCCESS)
        client.opens()
        client.getsHeader(from_=DOMAIN)
        server.opens(features())
        client.gets("<stream:features>*</stream:features>")
