"""Conversations with peers that fall silent."""

from __future__ import annotations

from typing import ClassVar

from tests.conversation import (
    DOMAIN,
    PING,
    ROMEO,
    Conversation,
    Peer,
    Window,
)
from xmpproxy import config, ns


class KeepAlive(Conversation):
    """
    Peers are asked after 100 seconds of silence, and have 60 to say something. One session, with
    the client's window C{balcony}.
    """

    streamManagement: ClassVar = config.StreamManagement(idle_seconds=100)

    def setUp(self) -> None:
        super().setUp()
        self.balcony = self.logsIn("balcony")

    def passes(self, seconds: int, *saying: Peer) -> None:
        """Let time go by, in which some say nothing but white space, and the others nothing."""
        for second in range(seconds):
            if second % 10 == 0:
                for peer in saying:
                    peer.sends(" ")
            self.network.wait(1)

    def ping(self, window: Window) -> str:
        """A ping of the proxy's to a client."""
        return (
            f"<iq type='get' id='*' from='{DOMAIN}' to='{window.jid}'>"
            f"<ping xmlns='{ns.PING}'/></iq>"
        )


class SilentClient(KeepAlive):
    """The client says nothing."""

    def passes(self, seconds: int, *saying: Peer) -> None:
        super().passes(seconds, self.balcony.server, *saying)

    def getsPing(self) -> str:
        """The client is asked for a sign of life; the id of what asks."""
        id: str = self.balcony.client.gets(self.ping(self.balcony))["id"]
        return id

    def test_asked(self) -> None:
        """Once in a while; its answers are for the proxy, and every question has its own id."""
        ids = set()
        for _ in range(3):
            self.passes(99)
            self.balcony.client.getsNothing()
            self.passes(21)
            ids.add(id := self.getsPing())
            self.balcony.client.sends(f"<iq type='result' id='{id}' to='{DOMAIN}'/>")
        self.assertEqual(len(ids), 3)
        self.balcony.server.getsNothing()
        self.balcony.client.closes()
        self.balcony.client.isLeft()
        self.balcony.server.getsEnd()
        self.assertLogged("1 stanzas from the client")  # its presence

    def test_error(self) -> None:
        """Who does not know what a ping is is there, too (XEP-0199, section 4.2)."""
        self.passes(120)
        id = self.getsPing()
        self.balcony.client.sends(
            f"<iq type='error' id='{id}'><ping xmlns='{ns.PING}'/><error type='cancel'>"
            f"<service-unavailable xmlns='{ns.STANZA_ERRORS}'/></error></iq>"
        )
        self.balcony.server.getsNothing()
        self.passes(99)

    def test_gone(self) -> None:
        """It gives no sign of life: its session ends as if its connection had broken."""
        sibling = self.logsIn("chamber")
        self.passes(120, sibling.client, sibling.server)
        self.getsPing()
        self.passes(50, sibling.client, sibling.server)
        self.balcony.server.getsNothing()
        self.passes(10, sibling.client, sibling.server)
        self.balcony.client.losesConnection()
        self.balcony.server.getsEnd()
        self.assertLogged(self.balcony.jid, "no sign of life")
        self.assertLogged(f"{self.balcony.jid}: ended: connection lost")

    def test_anythingCounts(self) -> None:
        """Even a space, or some bytes of a stanza that takes its time."""
        self.passes(300, self.balcony.client)
        for byte in "<message>":
            self.balcony.client.sends(byte)
            self.passes(90)
        self.balcony.client.getsNothing()

    def test_anythingAnswers(self) -> None:
        """The same after the question. If an answer comes late, it still is for the proxy."""
        self.passes(120)
        id = self.getsPing()
        self.passes(50)
        self.balcony.client.sends(" ")
        self.passes(99)
        self.balcony.client.sends(f"<iq type='result' id='{id}'/>")
        self.balcony.server.getsNothing()

    def test_othersMayAsk(self) -> None:
        """Answers to others are theirs, and so is all else that the client says."""
        self.passes(120)
        id = self.getsPing()
        theirs = [
            f"<iq type='result' id='{id[:-1]}' to='{ROMEO}/orchard'/>",
            f"<message to='{ROMEO}' id='{id}' type='error'/>",
            f"<iq type='get' id='{id}' to='{DOMAIN}'><ping xmlns='{ns.PING}'/></iq>",
        ]
        answer = f"<iq type='result' id='{id}' to='{DOMAIN}'/>"
        self.balcony.client.sends("".join([*theirs, answer, *theirs]))
        for each in [*theirs, *theirs]:
            self.balcony.server.getsBytes(each)

    def test_fastPath(self) -> None:
        """The answer is found among what nobody wants to see."""
        self.passes(120)
        answer = f"<iq type='result' id='{self.getsPing()}' to='{DOMAIN}'/>"
        many = 5 * f"<iq type='result' id='1' to='{ROMEO}/orchard'/>"
        self.balcony.client.sends(many + answer + many)
        for _ in range(10):
            self.balcony.server.gets(f"<iq type='result' id='1' to='{ROMEO}/orchard'/>")

    def test_answerIsUsedOnce(self) -> None:
        """What comes under its id after that is no answer."""
        self.passes(120)
        answer = f"<iq type='result' id='{self.getsPing()}' to='{DOMAIN}'/>"
        self.balcony.client.sends(answer + answer)
        self.balcony.server.getsBytes(answer)

    def test_asleep(self) -> None:
        """If it was the proxy's machine that slept, nobody is given up for that."""
        self.passes(120)
        id = self.getsPing()
        self.network.wait(100_000)
        self.balcony.client.sends(f"<iq type='result' id='{id}'/>")
        self.passes(50)
        self.balcony.server.getsNothing()


class SilentServer(KeepAlive):
    """The server says nothing."""

    def passes(self, seconds: int, *saying: Peer) -> None:
        super().passes(seconds, self.balcony.client, *saying)

    def test_asked(self) -> None:
        """Once in a while; the client learns nothing of it."""
        for _ in range(3):
            self.passes(99)
            self.balcony.server.getsNothing()
            self.passes(21)
            self.balcony.server.answersPing()
        self.balcony.client.getsNothing()

    def test_error(self) -> None:
        """Servers without XEP-0199 answer, too."""
        self.passes(120)
        id = self.balcony.server.gets(PING)["id"]
        self.balcony.server.sends(f"<iq type='error' id='{id}' from='{DOMAIN}'/>")
        self.passes(99)

    def test_gone(self) -> None:
        """It gives no sign of life: the client is told to come back, and the log says why."""
        self.passes(120)
        self.balcony.server.gets(PING)
        self.passes(50)
        self.balcony.client.getsNothing()
        self.passes(10)
        self.balcony.client.getsError("reset")
        self.balcony.server.isLeft()
        self.assertLogged(f"{self.balcony.jid}: the server is gone: it gives no sign of life")
        self.assertLogged(f"{self.balcony.jid}: ended: server gone")

    def test_goneEntirely(self) -> None:
        """It does not even take the end of the stream: the connection is dropped soon."""
        self.balcony.server.stopsReading()
        self.passes(180)
        self.balcony.client.getsError("reset")
        self.passes(5)
        self.assertEqual(len(self.upstreams.streams), 0)
        self.balcony.server.vanishes()

    def test_anythingCounts(self) -> None:
        """Even a space."""
        self.passes(300, self.balcony.server)
        self.balcony.server.getsNothing()


class BothSilent(KeepAlive):
    """Neither says anything."""

    def test_asked(self) -> None:
        """Each is asked on its own."""
        for _ in range(3):
            self.passes(120)
            self.balcony.server.answersPing()
            id = self.balcony.client.gets(self.ping(self.balcony))["id"]
            self.balcony.client.sends(f"<iq type='result' id='{id}'/>")

    def test_gone(self) -> None:
        """Both are gone."""
        self.passes(180)
        self.balcony.client.gets(self.ping(self.balcony))
        self.balcony.client.losesConnection()
        self.balcony.server.gets(PING)
        self.balcony.server.getsEnd()
        self.passes(5)
        self.balcony.server.losesConnection()
        self.assertLogged(f"{self.balcony.jid}: ended: connection lost")

    def test_goneBefore(self) -> None:
        """Who has left is not looked for."""
        self.passes(120)
        self.balcony.server.answersPing()
        self.balcony.client.gets(self.ping(self.balcony))
        self.passes(57)
        self.balcony.client.vanishes()
        self.passes(4)
        self.balcony.server.getsEnd()
        self.assertNotLogged("no sign of life")


class NotRead(KeepAlive):
    """A peer is slow to read: whoever is not heard because of that is not silent."""

    many: ClassVar = [f"<presence from='{ROMEO}/{n}'>{10_000 * '-'}</presence>" for n in range(50)]

    def test_slowClient(self) -> None:
        """It has been slow for long, while the server had much to say."""
        self.balcony.client.stopsReading()
        self.balcony.server.sends("".join(self.many))
        self.passes(1000)
        self.balcony.server.getsNothing()
        self.balcony.client.readsOn()
        for each in self.many:
            self.balcony.client.getsBytes(each)
        self.passes(99)
        self.balcony.client.getsNothing()
        self.passes(21)
        self.balcony.client.gets(self.ping(self.balcony))
        self.balcony.server.answersPing()

    def test_slowServer(self) -> None:
        """The same the other way."""
        self.balcony.server.stopsReading()
        self.balcony.client.sends("".join(self.many))
        self.passes(1000)
        self.balcony.client.getsNothing()
        self.balcony.server.readsOn()
        for each in self.many:
            self.balcony.server.getsBytes(each)
        self.passes(99)
        self.balcony.server.getsNothing()
        self.passes(21)
        self.balcony.server.answersPing()
        self.balcony.client.gets(self.ping(self.balcony))

    def test_slowAfterTheQuestion(self) -> None:
        """The question does not reach it."""
        self.passes(105)
        self.balcony.client.stopsReading()
        self.balcony.server.sends("".join(self.many))
        self.passes(300)
        self.balcony.client.readsOn()
        for each in self.many:
            self.balcony.client.getsBytes(each)
        self.passes(99)
        self.balcony.server.getsNothing()


class Never(Conversation):
    """Nobody is to be asked."""

    streamManagement: ClassVar = config.StreamManagement(idle_seconds=0)

    def test_never(self) -> None:
        """Nor is there anything to be done."""
        self.logsIn("balcony")
        self.assertEqual(self.network.getDelayedCalls(), [])


class LoggingIn(Conversation):
    """Who is not logged in yet has less time, and is not asked."""

    streamManagement: ClassVar = config.StreamManagement(idle_seconds=5)

    def test_loggingIn(self) -> None:
        client, server = self.meets()
        for _ in range(59):
            self.network.wait(1)
        client.getsNothing()
        server.getsNothing()
        self.network.wait(1)
        client.getsError("connection-timeout")
        server.getsEnd()
