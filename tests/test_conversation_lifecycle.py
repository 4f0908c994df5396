"""Conversations with peers that are slow, and what is logged of a session's life."""

from __future__ import annotations

from typing import ClassVar

from twisted.logger import Logger, LogLevel
from twisted.trial.unittest import FailTest

from tests.conversation import (
    PASSWORD,
    PLAIN,
    ROMEO,
    Conversation,
    failure,
    mechanisms,
    plain,
)
from xmpproxy import config, ns

KILOBYTES = 10_000 * "-"


def said(number: int, **attributes: str) -> str:
    """A message of 10 KB."""
    written = "".join(f" {name.rstrip('_')}='{value}'" for name, value in attributes.items())
    return f"<message{written} type='chat'><body>{number} {KILOBYTES}</body></message>"


class SlowClient(Conversation):
    """A client does not read as fast as others write; 100 KB may wait for it."""

    limits: ClassVar = config.Limits(queue_bytes=100_000)

    def setUp(self) -> None:
        super().setUp()
        self.balcony, self.chamber = self.logsIn("balcony"), self.logsIn("chamber")
        self.balcony.client.stopsReading()

    def overheard(self, numbers: range) -> None:
        """The other client says this many things, of which the slow one is to be shown copies."""
        for number in numbers:
            self.chamber.client.sends(said(number, to=ROMEO))
            self.chamber.server.gets(said(number, to=ROMEO))

    def copy(self, number: int) -> str:
        """What it is shown of it then."""
        return (
            f"<message from='{ROMEO}' to='{self.balcony.jid}' type='chat' id='*'>"
            f"<body>me@chamber: {number} {KILOBYTES}</body></message>"
        )

    def test_serverWaits(self) -> None:
        """What is for the client stays with the server; nothing is lost, and all is in order."""
        stanzas = [
            f"<presence from='{ROMEO}/{number}'>{KILOBYTES}</presence>" for number in range(100)
        ]
        self.balcony.server.sends("".join(stanzas))
        self.assertGreater(self.balcony.server.unsent, 500_000)
        self.balcony.client.readsOn()
        self.assertEqual(self.balcony.server.unsent, 0)
        for stanza in stanzas:
            self.balcony.client.getsBytes(stanza)

    def test_itCanSpeak(self) -> None:
        """Who does not read may write."""
        self.balcony.server.sends(100 * f"<presence>{KILOBYTES}</presence>")
        self.balcony.client.sends("<presence/>")
        self.balcony.server.gets("<presence/>")
        self.balcony.client.vanishes()
        self.balcony.server.getsEnd()

    def test_copiesWait(self) -> None:
        """What its sibling says waits at the proxy; the sibling waits for nobody."""
        self.overheard(range(20))
        self.balcony.client.getsNothing()
        self.balcony.client.readsOn()
        for number in range(20):
            self.balcony.client.gets(self.copy(number))

    def test_serverGoes(self) -> None:
        """What waits for it when its server is lost is its own all the same."""
        self.overheard(range(15))
        self.balcony.server.vanishes()
        self.balcony.client.sends("<presence/>")  # which finds nobody
        self.balcony.client.readsOn()
        for number in range(15):
            self.balcony.client.gets(self.copy(number))
        self.balcony.client.getsError("reset")

    def test_tooSlow(self) -> None:
        """Beyond the cap it has to go; the sibling does not notice."""
        self.overheard(range(40))
        self.balcony.server.getsEnd()
        self.assertLogged(f"{self.balcony.jid}: ended: too slow")
        self.chamber.client.getsNothing()
        self.overheard(range(40, 50))
        self.balcony.client.readsOn()
        for number in range(40):
            if self.balcony.client.next == "error":
                break
            self.balcony.client.gets(self.copy(number))
        self.balcony.client.getsError("resource-constraint")
        self.overheard(range(50, 55))

    def test_muchTooSlow(self) -> None:
        """It does not even read that it has to go."""
        self.overheard(range(40))
        self.balcony.server.getsEnd()
        self.balcony.server.closes()
        self.balcony.server.losesConnection()
        self.assertEqual(len(self.factory.streams), 2)
        self.network.wait(5)
        self.assertEqual(len(self.factory.streams), 1)
        self.balcony.client.vanishes()

    def test_heard(self) -> None:
        """The same with what the sibling hears: it is shown at once there."""
        for number in range(20):
            self.chamber.server.sends(said(number, from_=ROMEO, to=self.chamber.jid))
            self.chamber.client.gets(said(number, from_=ROMEO, to=self.chamber.jid))
        self.balcony.client.readsOn()
        while self.balcony.server.next == "iq":
            self.balcony.server.answersPing()
        for number in range(20):
            self.balcony.client.gets(said(number, from_=ROMEO, to=self.balcony.jid))

    def test_recovers(self) -> None:
        """A client that was slow once is like any other."""
        for _ in range(5):
            self.overheard(range(15))
            self.balcony.client.readsOn()
            for number in range(15):
                self.balcony.client.gets(self.copy(number))
            self.balcony.client.stopsReading()
        self.balcony.client.readsOn()


class SlowServer(Conversation):
    """The server does not read as fast as its clients write."""

    def setUp(self) -> None:
        super().setUp()
        self.balcony = self.logsIn("balcony")
        self.balcony.server.stopsReading()

    def test_clientWaits(self) -> None:
        """What is for the server stays with the client; nothing is lost, and all is in order."""
        self.balcony.client.sends("".join(said(number, to=ROMEO) for number in range(100)))
        self.assertGreater(self.balcony.client.unsent, 500_000)
        self.balcony.server.readsOn()
        self.assertEqual(self.balcony.client.unsent, 0)
        for number in range(100):
            self.balcony.server.getsBytes(said(number, to=ROMEO))

    def test_clientHears(self) -> None:
        """Who does not read may write."""
        self.balcony.client.sends("".join(said(number, to=ROMEO) for number in range(100)))
        self.balcony.server.sends("<presence/>")
        self.balcony.client.gets("<presence/>")
        self.balcony.server.vanishes()
        self.balcony.client.getsError("reset")

    def test_bothWait(self) -> None:
        """Two that do not listen to each other come to no end, but no harm either."""
        self.balcony.client.stopsReading()
        self.balcony.client.sends("".join(said(number, to=ROMEO) for number in range(50)))
        self.balcony.server.sends("".join(said(number, from_=ROMEO) for number in range(50)))
        self.assertGreater(self.balcony.client.unsent, 0)
        self.assertGreater(self.balcony.server.unsent, 0)
        self.balcony.server.readsOn()
        self.balcony.client.readsOn()
        for number in range(50):
            self.balcony.client.getsBytes(said(number, from_=ROMEO))
            self.balcony.server.getsBytes(said(number, to=ROMEO))

    def test_clientCloses(self) -> None:
        """What it said before is still sent, if the server reads in time."""
        self.balcony.client.sends("".join(said(number, to=ROMEO) for number in range(12)))
        self.balcony.client.sends("</stream:stream>")
        self.balcony.client.isLeft()
        self.network.wait(4)
        self.balcony.server.readsOn()
        for number in range(12):
            self.balcony.server.getsBytes(said(number, to=ROMEO))
        self.balcony.server.getsEnd()


class Log(Conversation):
    """What an operator can read of a session."""

    def test_life(self) -> None:
        """One line when it is bound, one when it ends, with fields that say all about it."""
        balcony, chamber = self.logsIn("balcony"), self.logsIn("chamber")
        chamber.client.sends(f"<message to='{ROMEO}' type='chat'><body>Good night</body></message>")
        chamber.server.gets(f"<message to='{ROMEO}' type='chat'><body>Good night</body></message>")
        balcony.client.gets(
            f"<message from='{ROMEO}' to='{balcony.jid}' type='chat' id='*'>"
            "<body>me@chamber: Good night</body></message>"
        )
        for _ in range(3):
            balcony.server.sends(f"<presence from='{ROMEO}'/>")
            balcony.client.gets(f"<presence from='{ROMEO}'/>")
        self.network.wait(42)
        balcony.client.sends("</stream:stream>")
        balcony.client.isLeft()
        balcony.server.getsEnd()

        (begun,) = self.logged("bound", balcony.jid)
        self.assertEqual(begun["client"], "192.0.2.1")
        (ended,) = self.logged("ended", balcony.jid)
        fields = {"outcome", "client", "seconds", "fromClient", "fromServer", "copies", "shared"}
        self.assertEqual(
            {field: ended[field] for field in fields},
            {
                "outcome": "closed",
                "client": "192.0.2.1",
                "seconds": 42,
                "fromClient": 1,
                "fromServer": 3,
                "copies": 1,
                "shared": 0,
            },
        )
        self.assertEqual(self.logged("ended", chamber.jid), [])

    def logged(self, word: str, jid: str) -> list[dict[str, object]]:
        """The events about a session that have this word in them."""
        return [
            event
            for event in self.events
            if event.get("jid") == jid and word in str(event["log_format"])
        ]

    def test_onlyOnce(self) -> None:
        """However many things go wrong at once."""
        balcony = self.logsIn("balcony")
        balcony.client.sends("<message></presence>")
        balcony.client.getsError("not-well-formed")
        balcony.server.getsEnd()
        balcony.server.vanishes()
        self.assertEqual(len(self.logged("ended", balcony.jid)), 1)

    def test_noSession(self) -> None:
        """A client that never had a resource has no session, and a line of its own."""
        client, server = self.meets()
        client.sends(plain("Montague"))
        server.gets(plain("Montague"))
        server.sends(failure("not-authorized"))
        client.gets(failure("not-authorized"))
        client.closes()
        client.isLeft()
        server.getsEnd()
        self.assertLogged("1 client left before login, from 192.0.2.1: closed")
        self.assertNotLogged(": ended: ")

    def test_ordinaryLifeIsNoWarning(self) -> None:
        """Nothing of it is the operator's business."""
        balcony = self.logsIn("balcony")
        balcony.client.closes()
        balcony.client.isLeft()
        balcony.server.getsEnd()
        balcony.server.closes()
        balcony.server.losesConnection()
        warnings = [event for event in self.events if event["log_level"] >= LogLevel.warn]
        self.assertEqual(warnings, [])

    def test_leavingIsNoOutage(self) -> None:
        """A client leaves before login, and so the server closes its side."""
        client, server = self.meets()
        client.closes()
        client.isLeft()
        server.getsEnd()
        server.closes()
        server.losesConnection()
        client, server = self.meets()
        client.vanishes()
        server.getsEnd()
        server.hangsUp()
        server.losesConnection()
        self.logsIn("balcony")
        self.assertNotLogged("no stream to the server")
        self.assertNotLogged("answers again")

    def test_secrets(self) -> None:
        """The check that all these tests end with would find a secret, wherever it is."""
        client, server = self.meets()
        client.sends(plain())
        server.gets(plain())
        self.assertNoSecretsLogged()
        for event in (
            {"text": plain()},
            {"data": plain().encode()},
            {"nested": [{"deep": plain()}]},
        ):
            Logger().debug("something", **event)
            self.assertRaises(FailTest, self.assertNoSecretsLogged)
            del self.events[:]
        Logger().debug(plain())
        self.assertRaises(FailTest, self.assertNoSecretsLogged)
        del self.events[:]

    def test_passwordInTheClear(self) -> None:
        """Where the proxy itself handles the password, it is in no event either."""
        client, server = self.meets(mechanisms("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"), PLAIN)
        client.sends(plain())
        server.gets(f"<auth xmlns='{ns.SASL}' mechanism='SCRAM-SHA-1'>*</auth>")
        server.sends(failure("not-authorized"))
        client.gets(failure("not-authorized"))
        client.sends(plain()[:-10])
        client.sends("<a></b>")
        client.getsError("not-well-formed")
        server.getsEnd()
        self.assertFalse([line for line in self.log if PASSWORD in line])
