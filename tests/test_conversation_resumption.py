"""Conversations of clients that lose their connections and come back (XEP-0198, section 5)."""

from __future__ import annotations

from typing import ClassVar

from tests.conversation import (
    BINDING,
    DOMAIN,
    JULIET,
    OFFERED_MANAGEMENT,
    PING,
    ROMEO,
    Client,
    Server,
    Window,
    bound,
)
from tests.test_conversation_mirror import ORCHARD
from tests.test_conversation_streammanagement import (
    COPY,
    PRESENCE,
    SM,
    SM2,
    Managed,
    R,
    a,
    failed,
    hears,
    says,
    told,
)
from xmpproxy import config, ns

BIND_OURS = f"<iq type='set' id='*'><bind xmlns='{ns.BIND}'/></iq>"
BIND_THEIRS = f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>"
DELAY = f"<delay xmlns='{ns.DELAY}' from='{DOMAIN}' stamp='*'/>"
UNKNOWN = failed("item-not-found")


def resume(previd: str, h: int | str = 0, namespace: str = SM) -> str:
    """A client wants its stream back."""
    return f"<resume xmlns='{namespace}' previd='{previd}' h='{h}'/>"


def resumed(previd: str, h: int = 0, namespace: str = SM) -> str:
    """It gets it."""
    return f"<resumed xmlns='{namespace}' previd='{previd}' h='{h}'/>"


def late(stanza: str) -> str:
    """What is sent again says so."""
    if stanza.endswith("/>"):
        return f"{stanza[:-2]}>{DELAY}</presence>"
    return stanza.replace("</message>", f"{DELAY}</message>")


class Resuming(Managed):
    """A client with the window C{home}, which it can come back to."""

    def setUp(self) -> None:
        super().setUp()
        self.previd = self.enables()

    def comes(self, user: str = "juliet") -> tuple[Client, Server]:
        """A client authenticates."""
        client, server = self.authenticates(user, OFFERED_MANAGEMENT)
        client.gets(BINDING)
        client.handled = self.home.client.handled
        return client, server

    def asks(self, asking: str = "", user: str = "juliet") -> tuple[Client, Server]:
        """One wants to resume, and the server says who it is."""
        client, server = self.comes(user)
        client.sends(asking or resume(self.previd, self.home.client.handled))
        request = server.gets(BIND_OURS)
        server.sends(bound(f"{user}@{DOMAIN}/other", request["id"]))
        return client, server

    def part(self, server: Server) -> None:
        """The stream that nobody needs any more is closed."""
        server.getsEnd()
        server.closes()
        server.losesConnection()

    def returns(self, h: int = 0, asking: str = "") -> Client:
        """The client comes back to its window."""
        client, server = self.asks(asking)
        client.gets(resumed(self.previd, h))
        self.part(server)
        self.home = Window(client, self.home.server, self.home.jid)
        return client

    def binds(self, client: Client, server: Server, resource: str = "new") -> None:
        """The client gets a resource instead."""
        client.sends(BIND_THEIRS)
        server.gets(BIND_THEIRS)
        server.sends(bound(f"{JULIET}/{resource}"))
        self.begins(client, server, resource)

    def begins(self, client: Client, server: Server, resource: str) -> None:
        """The server has stream management, and the client a new session."""
        server.gets(f"<enable xmlns='{SM}'/>")
        server.sends(f"<enabled xmlns='{SM}'/>")
        server.answersDisco()
        client.gets(bound(f"{JULIET}/{resource}"))

    def ends(self, h: int = 0) -> None:
        """The session ends: the server hears of it."""
        self.home.server.gets(told(h))
        self.home.server.getsEnd()

    def cannot(self, h: int = 0) -> None:
        """There is nothing to come back to, but so many were handled."""
        client, server = self.comes()
        client.sends(resume(self.previd))
        client.gets(failed("item-not-found", h=h))
        client.vanishes()
        self.part(server)


class Back(Resuming):
    """The client comes back in time."""

    def test_missed(self) -> None:
        """First what it has missed, in order and with the time; then what is new."""
        self.home.server.sends(hears("a"))
        self.home.client.gets(hears("a"))
        self.home.client.vanishes()
        self.home.server.sends(hears("b") + PRESENCE)
        self.home.server.sends(hears("c"))
        iq = f"<iq type='get' id='i' from='{DOMAIN}' to='{self.home.jid}'><q/></iq>"
        self.home.server.sends(iq)
        client = self.returns()
        for each in (late(hears("b")), late(PRESENCE), late(hears("c")), iq, R):
            client.gets(each)
        self.home.server.sends(hears("d"))
        client.gets(hears("d"))
        self.hasHandled(1)
        client.acknowledges()
        self.hasHandled(6)

    def test_seen(self) -> None:
        """What it has seen, acknowledged or not, does not come again; what it has not, does."""
        for each in map(hears, "abc"):
            self.home.server.sends(each)
            self.home.client.gets(each)
        self.home.client.sends(a(1))
        self.home.client.vanishes()
        client = self.returns(asking=resume(self.previd, 2))
        client.gets(late(hears("c")))
        client.gets(R)
        client.sends(a(3))
        self.hasHandled(3)

    def test_nothingMissed(self) -> None:
        """Then it is as if nothing had been."""
        self.home.client.vanishes()
        client = self.returns()
        client.getsNothing()
        client.sends(says("a") + R)
        client.gets(a(0))
        self.home.server.gets(says("a"))
        self.home.server.gets(R)
        self.home.server.acknowledges()
        client.gets(a(1))

    def test_unnoticed(self) -> None:
        """Nobody learns that it was away."""
        sibling = self.logsIn("sibling", managed=True)
        self.home.client.vanishes()
        self.network.wait(299)
        self.returns()
        for peer in (sibling.client, sibling.server, self.home.server):
            peer.getsNothing()
        self.network.wait(299)
        self.assertNotLogged("ended")

    def test_sent(self) -> None:
        """It learns how much of what it sent the server has, and sends the rest again."""
        self.home.client.sends(says("a"))
        self.home.client.sends(says("b"))
        self.home.client.vanishes()
        client, server = self.asks()
        client.getsNothing()
        self.home.server.gets(says("a"))
        self.home.server.gets(says("b"))
        self.home.server.gets(R)
        self.home.server.sends(a(self.home.server.handled - 1))
        client.getsNothing()
        self.home.server.acknowledges()
        client.gets(resumed(self.previd, 2))
        self.part(server)
        client.sends(says("c") + R)
        client.gets(a(2))
        self.home.server.gets(says("c"))
        self.home.server.gets(R)
        self.home.server.acknowledges()
        client.gets(a(3))

    def test_copies(self) -> None:
        """What siblings say meanwhile is shown as well."""
        sibling = self.logsIn("sibling", managed=True)
        self.home.client.vanishes()
        sibling.client.sends(says("a"))
        sibling.server.gets(says("a"))
        self.home.server.sends(hears("b"))
        sibling.server.answersPing()
        sibling.client.gets("<message from='*' to='*' type='chat'>*</message>")
        client = self.returns()
        copy = client.gets(COPY)
        self.assertIn(ns.DELAY, copy.toXml())
        client.gets(late(hears("b")))
        client.gets(R)
        self.hasHandled(0)
        client.acknowledges()
        self.hasHandled(1)
        self.assertEqual(client.handled, 2)

    def test_again(self) -> None:
        """And again, by the same id. Counts go on."""
        for h in range(4):
            self.home.client.vanishes()
            self.home.server.sends(hears(f"{h}"))
            client = self.returns(h)
            client.gets(late(hears(f"{h}")))
            client.gets(R)
            client.sends(says("a") + R)
            client.gets(a(h))
            self.home.server.gets(says("a"))
            self.home.server.gets(R)
            self.home.server.acknowledges()
            client.gets(a(h + 1))
        self.hasHandled(3)

    def test_lostAgain(self) -> None:
        """What was sent again and is lost again comes a third time."""
        self.home.client.vanishes()
        self.home.server.sends(hears("a"))
        for _ in range(3):
            client = self.returns(asking=resume(self.previd, 0))
            client.gets(late(hears("a")))
            client.gets(R)
            client.vanishes()
        self.network.wait(300)
        self.ends()

    def test_version(self) -> None:
        """It may speak another one than before."""
        self.home.client.vanishes()
        self.home.server.sends(hears("a"))
        client, server = self.asks(resume(self.previd, 0, SM2))
        client.gets(resumed(self.previd, 0, SM2))
        client.gets(late(hears("a")))
        client.gets(f"<r xmlns='{SM2}'/>")
        client.acknowledges(SM2)
        self.part(server)
        self.hasHandled(1)

    def test_pipelined(self) -> None:
        """What it sends without waiting for the answer belongs to the stream that goes on."""
        self.home.client.vanishes()
        self.returns(asking=resume(self.previd) + says("a") + R + "<presence/>")
        self.home.client.gets(a(0))
        self.home.server.gets(says("a"))
        self.home.server.gets("<presence/>")
        self.home.server.gets(R)
        self.home.server.acknowledges()
        self.home.client.gets(a(2))

    def test_bindsAsWell(self) -> None:
        """It has a resource already."""
        self.home.client.vanishes()
        client = self.returns()
        client.sends(BIND_THEIRS)
        client.gets("<iq type='error' id='bind'>*</iq>")
        client.getsError("policy-violation")
        self.ends()

    def test_inactive(self) -> None:
        """It is active again, and gets what was held back."""
        self.home.client.sends(f"<inactive xmlns='{ns.CSI}'/>")
        self.home.server.sends(PRESENCE)
        self.home.client.vanishes()
        client = self.returns()
        client.gets(PRESENCE)
        self.home.server.sends(PRESENCE)
        client.gets(PRESENCE)

    def test_closedByServer(self) -> None:
        """A connection that was closed without a word is lost, too."""
        self.home.client.hangsUp()
        self.home.client.losesConnection()
        self.returns()

    def test_untaken(self) -> None:
        """It was slow to read before: the server is read again."""
        large = f"<presence from='{ORCHARD}'><status>{60_000 * '-'}</status></presence>"
        self.home.client.stopsReading()
        for _ in range(3):
            self.home.server.sends(large)
        handled = self.home.client.handled
        self.home.client.vanishes()
        self.home.client._came.clear()
        self.home.server.sends(hears("a"))
        client = self.returns(asking=resume(self.previd, handled))
        for _ in range(3):
            client.gets(large.replace("</presence>", f"{DELAY}</presence>"))
        client.gets(late(hears("a")))
        client.gets(R)
        client.handled = handled + 4
        client.acknowledges()
        self.home.server.sends(hears("b"))
        client.gets(hears("b"))
        self.hasHandled(4)


class ByPing(Resuming):
    """The same, on a server without stream management."""

    managed: ClassVar = False

    def test_sent(self) -> None:
        """A ping tells what the server has."""
        self.home.client.sends(says("a"))
        self.home.client.vanishes()
        client, server = self.asks()
        self.home.server.gets(says("a"))
        self.home.server.answersPing()
        client.gets(resumed(self.previd, 1))
        self.part(server)

    def test_returned(self) -> None:
        """Such a server has forgotten what it sent: who sent that hears that it has not arrived."""
        seen, unseen = hears("seen", "1"), hears("unseen", "2")
        self.home.server.sends(seen)
        self.home.client.gets(seen)
        self.home.client.acknowledges()
        self.home.client.vanishes()
        self.home.server.sends(unseen)
        self.network.wait(300)
        error = self.home.server.gets("<message type='error' id='2' from='*' to='*'>*</message>")
        self.assertEqual(error["to"], ORCHARD)
        self.home.server.getsEnd()

    def test_shownElsewhere(self) -> None:
        """Unless another client has shown it."""
        sibling = self.logsIn("sibling", managed=False)
        self.home.client.vanishes()
        self.home.server.sends(hears("a", "1"))
        sibling.server.answersPing()
        sibling.client.gets("<message from='*' to='*' type='chat' id='1'>*</message>")
        self.network.wait(300)
        self.home.server.getsEnd()

    def bothGo(self) -> None:
        """The client is gone, and then the server: two messages are with the proxy alone."""
        self.home.server.sends(hears("a"))
        self.home.client.gets(hears("a"))
        self.home.client.vanishes()
        self.home.server.sends(PRESENCE + hears("b") + hears("c"))
        self.home.server.closes()
        self.home.server.isLeft()

    def comesAnew(self, h: int, user: str = "juliet") -> Client:
        """The client cannot resume, and begins anew."""
        client, server = self.comes(user)
        client.sends(resume(self.previd, h))
        client.gets(failed("item-not-found", h=0))
        client.sends(BIND_THEIRS)
        server.gets(BIND_THEIRS)
        server.sends(bound(f"{user}@{DOMAIN}/new"))
        server.gets(f"<enable xmlns='{SM}'/>")
        server.sends(f"<enabled xmlns='{SM}'/>")
        server.answersDisco()
        client.gets(bound(f"{user}@{DOMAIN}/new"))
        client.getsNothing()
        self.previd = self.enables(client)
        return client

    def test_left(self) -> None:
        """If it is gone, too, the next session of the client gets the messages, once."""
        self.bothGo()
        client = self.comesAnew(1)
        client.gets(late(hears("b")))
        client.gets(late(hears("c")))
        self.network.wait(2)
        client.gets(R)
        client.vanishes()
        client, server = self.asks(resume(self.previd, 1))
        client.gets(resumed(self.previd, 0))
        self.part(server)
        client.gets(late(hears("c")))
        client.gets(R)

    def test_leftAll(self) -> None:
        """An impossible number says nothing of what it has."""
        self.bothGo()
        client = self.comesAnew(5)
        for each in "abc":
            client.gets(late(hears(each)))

    def test_leftNothing(self) -> None:
        """It had come nevertheless."""
        self.bothGo()
        self.comesAnew(4).getsNothing()

    def test_leftToOthers(self) -> None:
        """Others get nothing, and take nothing away."""
        self.bothGo()
        previd = self.previd
        self.comesAnew(1, "nurse").getsNothing()
        self.previd = previd
        client = self.comesAnew(1)
        client.gets(late(hears("b")))
        client.gets(late(hears("c")))

    def test_leftTooLong(self) -> None:
        """It is not kept for longer than a session."""
        self.bothGo()
        self.network.wait(300)
        self.comesAnew(1).getsNothing()

    def test_neverAnswered(self) -> None:
        """Unless it does not answer: then the client is not kept waiting for long."""
        self.home.client.sends(says("a"))
        self.home.client.vanishes()
        client, server = self.asks()
        self.home.server.gets(says("a"))
        self.home.server.gets(PING)
        self.network.wait(9)
        client.getsNothing()
        self.network.wait(1)
        client.gets(failed("remote-server-timeout"))
        client.sends(BIND_THEIRS)
        server.gets(f"<enable xmlns='{SM}'/>")
        server.sends(f"<enabled xmlns='{SM}'/>")
        server.answersDisco()
        client.gets(bound(f"{JULIET}/other"))

    def test_much(self) -> None:
        """It has no limit of its own: all that comes is kept, up to the proxy's."""
        self.home.client.vanishes()
        for number in range(2100):
            self.home.server.sends(hears(f"{number}"))
        client = self.returns()
        for number in range(2100):
            client.gets(late(hears(f"{number}")))
        client.gets(R)


class Twice(Resuming):
    """Who resumes, while others have the stream, or want it."""

    def test_alive(self) -> None:
        """The proxy has not noticed that the old connection is of no use: it closes it."""
        old = self.home.client
        self.home.server.sends(hears("a"))
        old.gets(hears("a"))
        client = self.returns(asking=resume(self.previd, 0))
        old.getsError("conflict")
        client.gets(late(hears("a")))
        client.gets(R)
        self.assertNotLogged("ended")

    def test_aliveAndTalking(self) -> None:
        """What had come on the old one counts; what comes after it is not heard."""
        old = self.home.client
        old.sends(says("a"))
        self.home.server.gets(says("a"))
        client, server = self.asks()
        old.getsError("conflict")
        self.home.server.gets(R)
        self.home.server.acknowledges()
        client.gets(resumed(self.previd, 1))
        self.part(server)
        self.home.server.getsNothing()

    def test_twoAtOnce(self) -> None:
        """Two clients: the second has it, whatever the first was told."""
        self.home.client.sends(says("a"))
        self.home.client.vanishes()
        self.home.server.gets(says("a"))
        first, firstServer = self.asks()
        second, secondServer = self.asks()
        self.home.server.gets(R)
        self.home.server.acknowledges()
        first.gets(resumed(self.previd, 1))
        first.getsError("conflict")
        second.gets(resumed(self.previd, 1))
        self.part(firstServer)
        self.part(secondServer)
        self.home.server.sends(hears("b"))
        second.gets(hears("b"))
        second.sends(says("c"))
        self.home.server.gets(says("c"))
        self.assertNotLogged("ended")

    def test_firstWasHeard(self) -> None:
        """The first has sent something in the same breath."""
        self.home.client.sends(says("a"))
        self.home.client.vanishes()
        self.home.server.gets(says("a"))
        first, firstServer = self.asks(resume(self.previd) + says("b"))
        second, secondServer = self.asks()
        self.home.server.gets(R)
        self.home.server.acknowledges()
        first.gets(resumed(self.previd, 1))
        first.getsError("conflict")
        self.part(firstServer)
        self.home.server.gets(says("b"))
        self.home.server.gets(R)
        second.getsNothing()
        self.home.server.acknowledges()
        second.gets(resumed(self.previd, 2))
        self.part(secondServer)


class Refused(Resuming):
    """Who cannot resume."""

    limits: ClassVar = config.Limits(bytes_per_second=0)

    def test_unknown(self) -> None:
        """Never heard of: nobody is asked for that; a resource can be bound then."""
        client, server = self.comes()
        for _ in range(2):
            client.sends(resume("x"))
            client.gets(UNKNOWN)
        server.getsNothing()
        self.binds(client, server)
        self.home.server.sends(PRESENCE)
        self.home.client.gets(PRESENCE)

    def test_long(self) -> None:
        """However long it is."""
        client, server = self.comes()
        client.sends(resume(16_000 * "x"))
        client.gets(UNKNOWN)
        client.sends(resume(2**20 * "x"))
        client.getsError("policy-violation")
        server.getsEnd()
        self.home.server.sends(PRESENCE)
        self.home.client.gets(PRESENCE)

    def test_badRequests(self) -> None:
        """Against the schema."""
        self.home.client.vanishes()
        client, server = self.comes()
        for h in ("-1", "abc", str(2**32), str(2**32 + 1), 100 * "9", ""):
            client.sends(resume(self.previd, h))
            client.gets(failed("bad-request"))
        client.sends(f"<resume xmlns='{SM}' h='0'/><resume xmlns='{SM}' previd='x'/>")
        client.gets(failed("bad-request"))
        client.gets(failed("bad-request"))
        server.getsNothing()

    def test_strangers(self) -> None:
        """Another account's: nobody is disturbed, and the stranger may have a resource."""
        for away in (False, True):
            client, server = self.asks(user="nurse")
            client.gets(UNKNOWN)
            if away:
                self.home.client.vanishes()
            client.vanishes()
            self.part(server)
        self.home.server.sends(PRESENCE)
        self.returns().gets(late(PRESENCE))
        self.home.client.gets(R)

    def test_impossible(self) -> None:
        """It has more than was sent. A resource can be bound, and others may come back."""
        self.home.server.sends(hears("a"))
        self.home.client.gets(hears("a"))
        self.home.client.vanishes()
        client, server = self.asks(resume(self.previd, 2))
        client.gets(failed("bad-request"))
        client.sends(resume(self.previd, 1))
        client.gets(UNKNOWN)  # it has a resource, and a client has but one
        client.sends(BIND_THEIRS)
        self.begins(client, server, "other")
        client.sends("<presence/>")
        server.gets("<presence/>")
        self.returns()

    def test_goingBack(self) -> None:
        """It has less than it had acknowledged."""
        self.home.server.sends(hears("a"))
        self.home.client.gets(hears("a"))
        self.home.client.acknowledges()
        self.home.client.vanishes()
        client, _ = self.asks(resume(self.previd, 0))
        client.gets(failed("bad-request"))

    def test_noResource(self) -> None:
        """The server binds none."""
        self.home.client.vanishes()
        client, server = self.comes()
        client.sends(resume(self.previd))
        id = server.gets(BIND_OURS)["id"]
        server.sends(f"<iq type='error' id='{id}'/>")
        client.gets(UNKNOWN)
        self.binds(client, server)
        self.returns()

    def test_expired(self) -> None:
        """It comes too late."""
        self.home.client.sends(says("a") + says("b") + says("c"))
        for each in "abc":
            self.home.server.gets(says(each))
        self.home.server.acknowledges()
        self.home.client.gets(a(3))
        self.home.client.vanishes()
        self.network.wait(299)
        self.home.server.getsNothing()
        self.network.wait(1)
        self.ends()
        self.assertLogged(f"{self.home.jid}: ended: not resumed")
        self.cannot(3)

    def test_expiredSooner(self) -> None:
        """It wanted so."""
        client = self.logsIn("soon", "nurse", managed=True)
        self.enables(client.client, max="10")
        client.client.vanishes()
        self.network.wait(10)
        client.server.gets(told(0))
        client.server.getsEnd()

    def test_closed(self) -> None:
        """It had closed its stream; or was closed for what it did."""
        self.home.client.sends("</stream:stream>")
        self.home.client.isLeft()
        self.ends()
        self.cannot()

    def test_misbehaved(self) -> None:
        self.home.client.sends("</message>")
        self.home.client.getsError("not-well-formed")
        self.ends()
        self.cannot()

    def test_notWanted(self) -> None:
        """It had not asked for that."""
        window = self.logsIn("plain", "nurse", managed=True)
        window.client.sends(f"<enable xmlns='{SM}'/>")
        window.client.gets(f"<enabled xmlns='{SM}'/>")
        window.client.vanishes()
        window.server.gets(told(0))
        window.server.getsEnd()


class WhileWaiting(Resuming):
    """What may happen before the server has said what it has."""

    def setUp(self) -> None:
        super().setUp()
        self.home.client.sends(says("a"))
        self.home.client.vanishes()
        self.again, self.newServer = self.asks()
        self.home.server.gets(says("a"))
        self.home.server.gets(R)
        self.again.getsNothing()

    def test_clientLost(self) -> None:
        """The client is lost once more."""
        self.again.vanishes()
        self.network.wait(9)
        self.home.server.acknowledges()
        self.part(self.newServer)
        self.returns(1)

    def test_clientTalks(self) -> None:
        """The client has more to say, which waits."""
        self.again.sends(says("b") + R)
        self.home.server.getsNothing()
        self.home.server.acknowledges()
        self.again.gets(resumed(self.previd, 1))
        self.part(self.newServer)
        self.again.gets(a(1))
        self.home.server.gets(says("b"))
        self.home.server.gets(R)
        self.home.server.acknowledges()
        self.again.gets(a(2))

    def test_serverLost(self) -> None:
        """The server closes the stream of before: there is nothing to resume."""
        self.home.server.closes()
        self.home.server.isLeft()
        self.again.gets(failed("item-not-found", h=0))
        self.again.sends(BIND_THEIRS)
        self.begins(self.again, self.newServer, "other")

    def test_newServerLost(self) -> None:
        """The server closes the new stream."""
        self.newServer.closes()
        self.newServer.isLeft()
        self.again.getsError("remote-connection-failed")
        self.home.server.acknowledges()
        self.returns(1)

    def test_expires(self) -> None:
        """The time is over."""
        self.again.vanishes()
        self.network.wait(10)
        self.part(self.newServer)
        self.network.wait(285)
        client, server = self.asks()
        self.network.wait(5)
        client.gets(failed("item-not-found", h=0))
        self.ends()
        client.sends(BIND_THEIRS)
        self.begins(client, server, "other")


class Away(Resuming):
    """What may happen while the client is away."""

    def setUp(self) -> None:
        super().setUp()
        self.home.client.vanishes()

    def test_serverLost(self) -> None:
        """The server ends the session."""
        self.home.server.closes()
        self.home.server.isLeft()
        self.assertEqual(list(self.accounts), [])
        self.assertLogged(f"{self.home.jid}: ended: server gone")
        self.cannot()

    def test_serverWrong(self) -> None:
        """The server says what cannot be, and more."""
        sibling = self.logsIn("sibling", managed=True)
        self.home.server.sends(hears("a") + a(99) + hears("b") + PRESENCE + R)
        self.home.server.isLeft()
        self.assertNotLogged("in a protocol")
        sibling.server.answersPing()
        sibling.client.gets("<message from='*' to='*' type='chat'>*</message>")
        self.cannot()

    def test_serverAsks(self) -> None:
        """It is answered, with what is known."""
        self.home.server.sends(hears("a"))
        self.hasHandled(0)

    def test_serverSilent(self) -> None:
        """It is asked for a sign of life."""
        self.home.server.sends(" ")
        for _ in range(29):
            self.network.wait(10)
        self.home.server.getsNothing()
        self.returns()
        for _ in range(5):
            self.network.wait(10)
        self.home.server.gets(R)
        self.home.server.acknowledges()

    def test_shutdown(self) -> None:
        """The proxy ends. Who loses the connection only then is not waited for either."""
        other = self.logsIn("other", managed=True)
        self.enables(other.client)
        self.resumables.stopService()
        self.network.settle()
        self.ends()
        self.assertLogged(f"{self.home.jid}: ended: shutdown")
        other.client.vanishes()
        other.server.gets(told(0))
        other.server.getsEnd()

    def test_client(self) -> None:
        """Errors and probes for a client that is not there disturb nobody."""
        self.network.wait(100)
        self.home.server.sends(f"<iq type='get' id='p' from='{ROMEO}'><q xmlns='urn:x'/></iq>")
        self.home.server.getsNothing()
        client = self.returns()
        client.gets(f"<iq type='get' id='p' from='{ROMEO}'><q xmlns='urn:x'/></iq>")
        client.gets(R)


class Few(Resuming):
    """Two sessions may wait, with 1,000 bytes in all."""

    streamManagement: ClassVar = config.StreamManagement(resume_sessions=2, resume_bytes=1000)

    def others(self) -> list[Window]:
        windows = [self.logsIn(f"{each}", f"user{each}", managed=True) for each in range(2)]
        for window in windows:
            self.enables(window.client)
        return windows

    def test_sessions(self) -> None:
        """With a third, the first one ends. Who comes back makes room."""
        others = self.others()
        self.home.client.vanishes()
        self.returns()
        for window in others:
            window.client.vanishes()
        others[0].server.getsNothing()
        self.home.client.vanishes()
        others[0].server.gets(told(0))
        others[0].server.getsEnd()
        self.assertLogged(f"{others[0].jid}: ended: no room to keep it")
        self.returns()
        others[1].server.getsNothing()

    def test_bytes(self) -> None:
        """With too much to keep likewise, whoever it is kept for; not who keeps nothing."""
        others = self.others()
        others[1].client.vanishes()
        self.home.client.vanishes()
        self.home.server.sends(hears(800 * "a"))
        self.home.server.getsNothing()
        self.returns().gets(late(hears(800 * "a")))
        self.home.client.gets(R)
        self.home.client.vanishes()
        self.home.server.sends(hears(1 * "a"))
        self.ends()
        others[1].server.getsNothing()
        others[0].client.vanishes()
        others[0].server.sends(hears(500 * "a"))
        others[0].server.getsNothing()
        others[0].server.sends(hears(400 * "a"))
        others[0].server.gets(told(0))
        others[0].server.getsEnd()
        others[1].server.getsNothing()

    def test_own(self) -> None:
        """What was not acknowledged before counts."""
        self.home.server.sends(hears(2000 * "a"))
        self.home.client.gets(hears(2000 * "a"))
        self.home.client.vanishes()
        self.ends()


class Capped(Resuming):
    """20 stanzas may be unacknowledged, and 20,000 bytes."""

    streamManagement: ClassVar = config.StreamManagement(upstream_unacked=20)
    limits: ClassVar = config.Limits(queue_bytes=20_000)

    def sends(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            self.home.server.sends(hears(f"{number}"))

    def misses(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            self.home.client.gets(late(hears(f"{number}")))

    def test_stanzas(self) -> None:
        """While the client is away: the session ends, the stanzas are still the server's."""
        self.home.client.vanishes()
        self.sends(1, 15)
        self.returns()
        self.misses(1, 15)
        self.home.client.gets(R)
        self.home.client.vanishes()
        self.sends(16, 19)
        self.home.server.getsNothing()
        self.sends(20, 20)
        self.ends()
        self.assertLogged(f"{self.home.jid}: ended: too much to keep")
        self.cannot()

    def test_bytes(self) -> None:
        """The same with bytes, also of copies."""
        sibling = self.logsIn("sibling", managed=True)
        self.home.client.vanishes()
        for _ in range(3):
            sibling.client.sends(says(6000 * "a"))
            sibling.server.gets(says(6000 * "a"))
        self.home.server.getsNothing()
        sibling.client.sends(says(6000 * "a"))
        sibling.server.gets(says(6000 * "a"))
        self.ends()

    def test_lostWhenFull(self) -> None:
        """The limit was reached before: the client has the rest of a minute, as if it were here."""
        self.sends(1, 25)
        handled = 5
        self.home.client.vanishes()
        self.home.client._came.clear()
        self.network.wait(59)
        self.home.server.getsNothing()
        self.returns(asking=resume(self.previd, handled))
        self.misses(6, 20)
        self.home.client.gets(R)
        for number in range(21, 26):
            self.home.client.gets(hears(f"{number}"))
        self.home.client.sends(a(25))
        self.hasHandled(25)
        self.network.wait(100)
        self.assertNotLogged("ended")

    def test_lostWhenFullForEver(self) -> None:
        """And no more."""
        self.sends(1, 25)
        self.home.client.vanishes()
        self.home.client._came.clear()
        self.network.wait(60)
        self.ends()

    def test_stillFull(self) -> None:
        """Who comes back and does not acknowledge anything either ends after a minute."""
        self.sends(1, 25)
        self.home.client.vanishes()
        self.home.client._came.clear()
        client = self.returns(asking=resume(self.previd, 0))
        self.misses(1, 20)
        client.gets(R)
        self.network.wait(59)
        client.getsNothing()
        self.network.wait(1)
        client.getsError("resource-constraint")
        self.ends()
