"""Conversations with stream management (XEP-0198), on either stream of a session."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.words.xish.domish import Element

from tests.conversation import (
    BINDING,
    DISCO,
    DISCO_ACCOUNT,
    DOMAIN,
    JULIET,
    OFFERED_MANAGEMENT,
    PING,
    Client,
    Conversation,
    Server,
    Window,
    bound,
)
from tests.test_conversation_mirror import ORCHARD, body, enable, message
from xmpproxy import config, ns

SM, SM2 = ns.STREAM_MANAGEMENT
R = f"<r xmlns='{SM}'/>"
MODULUS = 2**32
COPY = "<message from='*' to='*' type='chat' id='*'>*</message>"
TOO_HIGH = (SM, "handled-count-too-high")
PRESENCE = f"<presence from='{ORCHARD}'/>"


def a(h: int | str, namespace: str = SM) -> str:
    """So many are handled."""
    return f"<a xmlns='{namespace}' h='{h}'/>"


def told(h: int) -> str:
    """The same to a server that has answered our two questions before."""
    return a((h + 2) % MODULUS)


def failed(condition: str, namespace: str = SM, h: int | None = None) -> str:
    """It may not be; but so many were handled."""
    known = "" if h is None else f" h='{h}'"
    return f"<failed xmlns='{namespace}'{known}><{condition} xmlns='{ns.STANZA_ERRORS}'/></failed>"


def says(text: str) -> str:
    """A message of the client's."""
    return message(body(text), to=ORCHARD)


def hears(text: str, id: str = "") -> str:
    """A message for the client."""
    return message(body(text), ORCHARD, JULIET, id=id)


class Managed(Conversation):
    """
    A client with the window C{home}.

    @cvar managed: whether the server has stream management.
    """

    managed: ClassVar = True
    home: Window

    def setUp(self) -> None:
        super().setUp()
        self.home = self.logsIn("home", managed=self.managed)

    def enables(self, client: Client | None = None, **attributes: str) -> str:
        """
        A client enables stream management.

        @return: by what to resume it.
        """
        client = client or self.home.client
        written = "".join(f" {name}='{value}'" for name, value in attributes.items())
        client.sends(f"<enable xmlns='{SM}' resume='true'{written}/>")
        enabled = client.gets(f"<enabled xmlns='{SM}' id='*' resume='true' max='*'/>")
        id: str = enabled["id"]
        return id

    def hasHandled(self, h: int, window: Window | None = None) -> None:
        """The server is told, if it asks, that so many are handled."""
        server = (window or self.home).server
        server.sends(R)
        server.gets(told(h))

    def session(self, window: Window | None = None) -> Any:
        """A window's session."""
        jid = (window or self.home).jid
        sessions: list[Any] = [each for account in self.accounts for each in account.sessions]
        return next(each for each in sessions if each.jid == jid)

    def leaves(self, window: Window) -> None:
        """A client closes its stream, and so do all."""
        window.client.closes()
        window.client.isLeft()
        while window.server.next:
            window.server.gets(a("*"))
        window.server.isLeft()


class Enabling(Managed):
    """What a client gets."""

    def test_plain(self) -> None:
        """It wants no more than to know what has arrived."""
        self.home.client.sends(f"<enable xmlns='{SM}'/>")
        self.home.client.gets(f"<enabled xmlns='{SM}'/>")
        self.home.client.sends(R)
        self.home.client.gets(a(0))
        self.home.server.getsNothing()

    def test_resume(self) -> None:
        """It wants to be able to come back. By what cannot be guessed."""
        other = self.logsIn("other", managed=True)
        ids = [self.enables(client) for client in (self.home.client, other.client)]
        self.assertNotEqual(*ids)
        self.assertGreater(len(ids[0]), 20)

    def test_max(self) -> None:
        """It comes back soon, or takes more time than there is."""
        for resource, wanted, given in (("a", "60", "60"), ("b", "1000", "300")):
            client = self.logsIn(resource, managed=True).client
            client.sends(f"<enable xmlns='{SM}' resume='1' max='{wanted}'/>")
            client.gets(f"<enabled xmlns='{SM}' id='*' resume='true' max='{given}'/>")

    def test_versions(self) -> None:
        """Each is answered in its own version, whatever the server speaks."""
        client = self.home.client
        client.sends(f"<enable xmlns='{SM2}' resume='maybe'/><enable xmlns='{SM2}'/>")
        client.gets(failed("bad-request", SM2))
        client.gets(f"<enabled xmlns='{SM2}'/>")
        client.sends(f"<presence/><r xmlns='{SM2}'/>")
        client.gets(a(0, SM2))
        self.home.server.gets("<presence/>")
        self.home.server.gets(R)
        self.home.server.acknowledges()
        client.gets(a(1, SM2))
        self.home.server.sends(PRESENCE)
        client.gets(PRESENCE)
        self.network.wait(2)
        client.gets(f"<r xmlns='{SM2}'/>")
        client.acknowledges(SM2)
        self.hasHandled(1)

    def test_twice(self) -> None:
        """The second is refused, and changes nothing."""
        self.enables()
        self.home.server.sends(PRESENCE)
        self.home.client.gets(PRESENCE)
        self.home.client.sends(f"<presence/><enable xmlns='{SM}'/>")
        self.home.client.gets(failed("unexpected-request"))
        self.home.server.gets("<presence/>")
        self.home.client.acknowledges()
        self.hasHandled(1)
        self.home.server.acknowledges()
        self.home.client.gets(a(1))

    def test_badRequests(self) -> None:
        """Against the schema; a right one may follow."""
        for attributes in ("resume='perhaps'", "resume='true' max='0'", "max='soon'", "max='-1'"):
            self.home.client.sends(f"<enable xmlns='{SM}' {attributes}/>")
            self.home.client.gets(failed("bad-request"))
        self.enables()

    def test_before(self) -> None:
        """Nobody has anything to say to requests and answers; a resumption comes too late."""
        self.home.client.sends(R + a(5) + R)
        self.home.client.sends(f"<resume xmlns='{SM}' previd='x' h='0'/>")
        self.home.client.gets(failed("unexpected-request"))
        self.enables()
        self.home.client.getsNothing()

    def test_others(self) -> None:
        """What a server says is not heard from a client; what is not known is an error."""
        for each in (
            f"<enabled xmlns='{SM}'/>",
            f"<resumed xmlns='{SM}' previd='' h='1'/>",
            failed("item-not-found"),
        ):
            self.home.client.sends(each)
        self.home.client.getsNothing()
        self.home.client.sends(f"<q xmlns='{SM}'/>")
        self.home.client.getsError("unsupported-stanza-type")
        self.home.server.gets(told(0))
        self.home.server.getsEnd()

    def test_beforeBinding(self) -> None:
        """Too early: but a resource can be bound then."""
        client, server = self.authenticates("nurse", OFFERED_MANAGEMENT)
        client.gets(BINDING)
        client.sends(R + a(1) + f"<enable xmlns='{SM2}' resume='true'/>")
        client.gets(failed("unexpected-request", SM2))
        server.getsNothing()
        client.sends(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.gets(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.ignores = True

    def test_tooOften(self) -> None:
        """Who has no resource, and sends nothing that could be, is not answered for long."""
        client, server = self.authenticates("nurse")
        client.gets(BINDING)
        client.sends(1000 * f"<enable xmlns='{SM}'/>")
        for _ in range(10):
            client.gets(failed("unexpected-request"))
        client.getsError("policy-violation")
        server.getsEnd()

    def test_pipelined(self) -> None:
        """Not waiting for the resource."""
        client, server = self.authenticates("nurse", OFFERED_MANAGEMENT)
        client.gets(BINDING)
        bind = f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>"
        client.sends(f"{bind}<enable xmlns='{SM}'/><presence/>{R}")
        server.gets(bind)
        server.sends(bound(f"nurse@{DOMAIN}/1"))
        server.gets(f"<enable xmlns='{SM}'/>")
        server.sends(f"<enabled xmlns='{SM}'/>")
        server.answersDisco()
        client.gets(bound(f"nurse@{DOMAIN}/1"))
        client.gets(f"<enabled xmlns='{SM}'/>")
        client.gets(a(0))
        server.gets("<presence/>")
        server.gets(R)
        server.acknowledges()
        client.gets(a(1))


class Never(Managed):
    """The operator wants nobody to come back."""

    streamManagement: ClassVar = config.StreamManagement(resume_seconds=0)

    def test_enabled(self) -> None:
        """Without it."""
        self.home.client.sends(f"<enable xmlns='{SM}' resume='true' max='10'/>")
        self.home.client.gets(f"<enabled xmlns='{SM}'/>")
        self.home.client.vanishes()
        self.home.server.gets(a("*"))
        self.home.server.getsEnd()


class Slow(Managed):
    """A client that does not read."""

    limits: ClassVar = config.Limits(queue_bytes=20_000)
    large: ClassVar = f"<presence from='{ORCHARD}'><status>{60_000 * '-'}</status></presence>"

    def fills(self) -> None:
        """The client stops reading, until the network takes no more."""
        self.home.client.stopsReading()
        for _ in range(3):
            self.home.server.sends(self.large)

    def test_enabling(self) -> None:
        """What was on its way before does not count, but any answer says that it has come."""
        sibling = self.logsIn("sibling", managed=True)
        self.fills()
        sibling.client.sends(says("good morrow"))
        sibling.server.gets(says("good morrow"))
        self.home.client.sends(f"<enable xmlns='{SM}'/>")
        self.home.client.readsOn()
        for _ in range(3):
            self.home.client.gets(self.large)
        self.home.client.gets(COPY)
        self.home.client.gets(f"<enabled xmlns='{SM}'/>")
        self.home.client.gets(R)
        self.home.server.sends(R)
        self.home.server.gets(a(0))
        self.home.client.acknowledges()
        self.hasHandled(3)
        self.home.server.sends(PRESENCE + hears("adieu"))
        self.home.client.gets(PRESENCE)
        self.home.client.gets(hears("adieu"))
        sibling.server.answersPing()
        sibling.client.gets("<message from='*' to='*' type='chat'>*</message>")
        self.assertEqual(self.session().management._client.keeps.count, 2)
        self.home.client.acknowledges()
        self.assertEqual(self.session().management._client.keeps.count, 0)

    def test_refusedOnAndOn(self) -> None:
        """Nor are refusals, of a client without stream management: they bring what had to wait."""
        sibling = self.logsIn("sibling", managed=True)
        self.fills()
        for _ in range(3):
            self.assertNotLogged(f"{self.home.jid}: ended")
            sibling.client.sends(says(9_000 * "a"))
            sibling.server.gets(says(9_000 * "a"))
            self.home.client.sends(f"<enable xmlns='{SM}' resume='?'/>")
        self.assertLogged(f"{self.home.jid}: ended: too slow")
        self.home.client.ignores = True
        self.home.client.readsOn()
        self.home.client._came.clear()
        self.home.server.gets(a("*"))
        self.home.server.getsEnd()

    def test_askingOnAndOn(self) -> None:
        """Answers are no way to fill the proxy's memory."""
        self.fills()
        self.home.client.sends(f"<enable xmlns='{SM}'/>")
        for _ in range(500):
            self.home.client.sends(R)
        self.assertNotLogged(f"{self.home.jid}: ended")
        for _ in range(500):
            self.home.client.sends(R)
        self.assertLogged(f"{self.home.jid}: ended: too slow")
        self.home.client.ignores = True
        self.home.client.readsOn()
        self.home.client._came.clear()
        self.home.server.gets(a("*"))
        self.home.server.getsEnd()


class Upwards(Managed):
    """What the client sends, to a server that counts, too."""

    def setUp(self) -> None:
        super().setUp()
        self.enables()

    def test_handled(self) -> None:
        """The client is told when the server has said so; and at once how much that is."""
        client, server = self.home.client, self.home.server
        client.sends(says("a") + says("b"))
        client.sends(says("c") + R)
        client.gets(a(0))
        client.getsNothing()
        for text in "abc":
            server.gets(says(text))
        server.gets(R)
        server.sends(a(server.handled - 1))
        client.gets(a(2))
        server.acknowledges()
        client.gets(a(3))
        client.sends(R)
        client.gets(a(3))
        server.getsNothing()

    def answeredHere(self) -> None:
        """Something of the client's is handled, which it has not been told."""
        self.home.client.sends(f"<iq type='set' id='c'><enable xmlns='{ns.CARBONS}'/></iq>")
        self.home.client.gets("<iq type='result' id='c' from='*' to='*'/>")

    def test_shutdown(self) -> None:
        """The last that is known is told when the proxy ends,"""
        self.answeredHere()
        self.factory.shutdown()
        self.network.settle()
        self.home.client.gets(a(1))
        self.home.client.getsError("system-shutdown")
        self.home.server.gets(a("*"))
        self.home.server.getsEnd()

    def test_serverGone(self) -> None:
        """or the server is gone;"""
        self.answeredHere()
        self.home.server.closes()
        self.home.client.gets(a(1))
        self.home.client.getsError("reset")
        self.home.server.isLeft()

    def test_told(self) -> None:
        """unless it was told already."""
        self.answeredHere()
        self.home.client.sends(R)
        self.home.client.gets(a(1))
        self.home.server.closes()
        self.home.client.getsError("reset")
        self.home.server.isLeft()

    def test_unasked(self) -> None:
        """Nobody asks of himself what the client does not want to know."""
        self.home.client.sends(says("a"))
        self.home.server.gets(says("a"))
        self.network.wait(100)
        self.home.server.getsNothing()

    def test_answeredHere(self) -> None:
        """What the server never gets is handled at once; if there is more before, with that."""
        client, server = self.home.client, self.home.server
        client.sends(enable() + R)
        client.gets("<iq type='result' id='c' from='*' to='*'/>")
        client.gets(a(1))
        server.getsNothing()
        client.sends(says("a") + enable() + R)
        client.gets("<iq type='result' id='c' from='*' to='*'/>")
        client.gets(a(1))
        server.gets(says("a"))
        server.gets(R)
        server.acknowledges()
        client.gets(a(3))

    def test_ours(self) -> None:
        """What the proxy itself asks counts with the server, and not with the client."""
        sibling = self.logsIn("sibling", managed=True)
        self.home.client.sends(says("a"))
        self.home.server.gets(says("a"))
        sibling.client.gets(COPY)
        sibling.server.sends(message(body("b"), ORCHARD, JULIET))
        sibling.client.gets(message(body("b"), ORCHARD, JULIET))
        self.home.server.answersPing()
        self.home.client.gets("<message from='*' to='*' type='chat'>*</message>")
        self.home.client.sends(says("c") + R)
        self.home.client.gets(a(0))
        self.home.server.gets(says("c"))
        sibling.client.gets(COPY)
        self.home.server.gets(R)
        self.home.server.acknowledges()
        self.home.client.gets(a(2))

    def test_burst(self) -> None:
        """Requests without number: an answer for each read, and one request to the server."""
        self.home.client.sends(says("a"))
        self.home.server.gets(says("a"))
        self.home.client.sends(100_000 * R)
        answers = 0
        while self.home.client.next:
            self.home.client.gets(a(0))
            answers += 1
        self.assertLessEqual(answers, 2 + 100_000 * len(R) // 65536)
        self.home.server.gets(R)
        self.home.server.getsNothing()

    def test_manyReads(self) -> None:
        """Each is answered; the server is asked once, and once more for the rest."""
        client, server = self.home.client, self.home.server
        for number in range(1000):
            client.sends(says(f"{number}") + R)
            client.gets(a(0))
        server.gets(says("0"))
        server.gets(R)
        for number in range(1, 1000):
            server.gets(says(f"{number}"))
        server.sends(a(server.handled - 999))
        client.gets(a(1))
        server.gets(R)
        server.acknowledges()
        client.gets(a(1000))
        server.getsNothing()

    def test_beyondTheModulus(self) -> None:
        """Counters begin anew after 2^32."""
        shift(self.session().management._server, MODULUS - 3)
        shift(self.session().management._client.leg, MODULUS - 3)
        server = self.home.server
        server.handled += MODULUS - 3
        self.home.client.sends(says("a") + says("b") + R)
        self.home.client.gets(a(MODULUS - 3))
        server.gets(says("a"))
        server.gets(says("b"))
        server.gets(R)
        server.acknowledges()
        self.home.client.gets(a(MODULUS - 1))
        self.home.client.sends(says("c") + says("d") + R)
        self.home.client.gets(a(MODULUS - 1))
        server.gets(says("c"))
        server.gets(says("d"))
        server.gets(R)
        server.acknowledges()
        self.home.client.gets(a(1))


def shift(leg: Any, by: int) -> None:
    """Have counted more on a stream, both ways."""
    leg._came -= by
    leg._sent -= by
    leg._counter.sent += by
    leg._counter.acknowledged += by


class UpwardsByPing(Managed):
    """The same to a server that has no stream management."""

    managed: ClassVar = False

    def setUp(self) -> None:
        super().setUp()
        self.enables()

    def test_handled(self) -> None:
        """It handles a stream in order: who answers a ping has handled what came before it."""
        for answer in ("result", "error"):
            h = self.sendsTwo()
            self.home.client.gets(a(h))
            ping = self.home.server.gets(PING)
            self.home.client.getsNothing()
            self.home.server.sends(f"<iq type='{answer}' id='{ping['id']}' from='{DOMAIN}'/>")
            self.home.client.gets(a(h + 2))
        self.home.client.sends(R)
        self.home.client.gets(a(4))
        self.home.server.getsNothing()

    def sendsTwo(self) -> int:
        h: int = self.session().management._up.handled - 1  # the first presence
        self.home.client.sends(says("a") + says("b") + R)
        self.home.server.gets(says("a"))
        self.home.server.gets(says("b"))
        return h

    def test_manyReads(self) -> None:
        """One ping at a time, however often the client asks."""
        client, server = self.home.client, self.home.server
        for number in range(1000):
            client.sends(says(f"{number}") + R)
            client.gets(a(0))
        server.gets(says("0"))
        first = server.gets(PING)
        for number in range(1, 1000):
            server.gets(says(f"{number}"))
        server.getsNothing()
        server.answers(first)
        client.gets(a(1))
        server.answersPing()
        client.gets(a(1000))
        server.getsNothing()

    def test_burst(self) -> None:
        """Or how much in one read."""
        self.home.client.sends(says("a") + 2000 * R)
        self.home.client.gets(a(0))
        self.home.server.gets(says("a"))
        self.home.server.answersPing()
        self.home.client.gets(a(1))

    def test_others(self) -> None:
        """Nobody else answers."""
        h = self.sendsTwo()
        self.home.client.gets(a(h))
        id = self.home.server.gets(PING)["id"]
        forged = f"<iq type='result' id='{id}' from='{ORCHARD}' to='{self.home.jid}'/>"
        self.home.server.sends(forged)
        self.home.client.gets(forged)
        self.home.server.sends(f"<iq type='result' id='{id}'/>")
        self.home.client.gets(a(2))

    def test_noneBetween(self) -> None:
        """What comes from it in stream management's namespaces says nothing."""
        for each in (R, a(7), f"<enabled xmlns='{SM}'/>"):
            self.home.server.sends(each)
        self.home.client.getsNothing()


class Downwards(Managed):
    """What the server sends, to a client that counts, too."""

    def setUp(self) -> None:
        super().setUp()
        self.enables()

    def gets(self, *stanzas: str) -> None:
        """The server sends these, one by one, and the client gets them."""
        for each in stanzas:
            self.home.server.sends(each)
            self.home.client.gets(each)

    def test_handled(self) -> None:
        """The server is told what the client has acknowledged, as soon as it asks."""
        self.gets(hears("a"), hears("b"), PRESENCE)
        self.hasHandled(0)
        self.home.client.sends(a(2))
        self.home.server.getsNothing()
        self.hasHandled(2)
        self.home.client.acknowledges()
        self.hasHandled(3)
        self.hasHandled(3)

    def test_manyRequests(self) -> None:
        """The server, too, is answered once a turn."""
        self.home.server.sends(1000 * R)
        self.home.server.gets(told(0))

    def test_asked(self) -> None:
        """The client is asked after ten stanzas, once, and when nothing more comes."""
        self.gets(*map(hears, "abcdefghi"))
        self.home.client.getsNothing()
        self.gets(hears("j"))
        self.home.client.gets(R)
        self.gets(*map(hears, "abcdefghijklmno"))
        self.network.wait(10)
        self.home.client.getsNothing()
        self.home.client.sends(a(24))
        self.network.wait(1.9)
        self.home.client.getsNothing()
        self.network.wait(0.1)
        self.home.client.gets(R)
        self.network.wait(10)
        self.home.client.getsNothing()
        self.home.client.acknowledges()
        self.gets(hears("z"))
        self.home.client.acknowledges()
        self.hasHandled(26)
        self.network.wait(100)
        self.home.client.getsNothing()

    def test_bytes(self) -> None:
        """Or after much."""
        self.gets(hears(20_000 * "a"))
        self.home.client.gets(R)

    def test_refusedAcknowledgements(self) -> None:
        """What is no number."""
        wrong = ("", "h=''", "h='-1'", "h='abc'", f"h='{MODULUS}'", f"h='{MODULUS + 1}'")
        for number, each in enumerate((*wrong, f"h='{5000 * '9'}'")):
            window = self.logsIn(f"{number}", f"user{number}", managed=True)
            self.enables(window.client)
            window.client.sends(f"<a xmlns='{SM}' {each}/>")
            window.client.getsError("invalid-xml")
            window.server.gets(told(0))
            window.server.getsEnd()

    def test_tooHigh(self) -> None:
        """More than was sent: by little, by much, or it would be less than nothing."""
        for number, h in enumerate((3, 1000, MODULUS - 1)):
            window = self.logsIn(f"{number}", f"user{number}", managed=True)
            self.enables(window.client)
            window.server.sends(PRESENCE + PRESENCE)
            window.client.gets(PRESENCE)
            window.client.gets(PRESENCE)
            window.client.sends(a(h) + says("never"))
            window.client.getsError("undefined-condition", TOO_HIGH)
            window.server.gets(told(0))
            window.server.getsEnd()

    def test_goingBack(self) -> None:
        """What was acknowledged is gone."""
        self.gets(*map(hears, "abc"))
        self.home.client.sends(a(3))
        self.home.client.sends(a(3))
        self.home.client.sends(a(2))
        self.home.client.getsError("undefined-condition")
        self.home.server.gets(told(3))
        self.home.server.getsEnd()

    def test_beyondTheModulus(self) -> None:
        """Counters begin anew after 2^32."""
        shift(self.session().management._server, MODULUS - 2)
        shift(self.session().management._client.leg, MODULUS - 2)
        self.home.client.handled += MODULUS - 2
        self.gets(hears("a"))
        self.home.client.acknowledges()
        self.hasHandled(MODULUS - 1)
        self.gets(hears("b"), hears("c"))
        self.home.client.acknowledges()
        self.hasHandled(1)
        self.home.client.sends(a(MODULUS - 1))
        self.home.client.getsError("undefined-condition")
        self.home.server.gets(told(1))
        self.home.server.getsEnd()

    def test_dropped(self) -> None:
        """What never reaches the client counts with what came before it."""
        bad = f"<message from='{ORCHARD}'><p:x/></message>"
        self.home.server.sends(bad)
        self.hasHandled(1)
        self.gets(hears("a"))
        self.home.server.sends(bad)
        self.hasHandled(1)
        self.home.client.acknowledges()
        self.hasHandled(3)

    def test_farewell(self) -> None:
        """The last that is known is told before the stream ends, however the client leaves."""
        self.gets(hears("a"), hears("b"))
        self.home.client.sends(a(1) + "</stream:stream>")
        self.home.client.isLeft()
        self.home.server.gets(told(1))
        self.home.server.getsEnd()

    def test_held(self) -> None:
        """What is held back from an inactive client is not handled; what is not, is."""
        self.home.client.sends(f"<inactive xmlns='{ns.CSI}'/>")
        self.home.server.sends(PRESENCE)
        self.home.client.acknowledges()
        self.hasHandled(0)
        self.home.server.sends(hears("a"))
        self.home.client.gets(PRESENCE)
        self.home.client.gets(hears("a"))
        self.home.client.acknowledges()
        self.hasHandled(2)
        self.home.server.sends(PRESENCE)
        self.getsBehindPresence(hears("b"))
        self.home.server.sends(PRESENCE)
        self.home.client.acknowledges()
        self.hasHandled(4)
        self.home.client.sends(f"<active xmlns='{ns.CSI}'/>")
        self.home.client.gets(PRESENCE)
        self.home.client.acknowledges()
        self.hasHandled(5)

    def getsBehindPresence(self, important: str) -> None:
        """With what was held."""
        self.home.server.sends(important)
        self.home.client.gets(PRESENCE)
        self.home.client.gets(important)


class Copies(Managed):
    """Two windows with stream management, on a server that has it, but no carbons."""

    def setUp(self) -> None:
        super().setUp()
        self.work = self.logsIn("work", managed=True)
        self.enables()
        self.enables(self.work.client)

    def getsCopy(self, window: Window) -> None:
        window.client.gets(COPY)

    def test_copies(self) -> None:
        """They count with the client, and not with the server."""
        self.work.client.sends(says("a"))
        self.work.server.gets(says("a"))
        self.getsCopy(self.home)
        self.hasHandled(0)
        self.home.server.sends(PRESENCE)
        self.home.client.gets(PRESENCE)
        self.home.client.sends(a(1))
        self.hasHandled(0)
        self.home.client.sends(a(2))
        self.hasHandled(1)

    def test_answers(self) -> None:
        """Answers to the proxy's own questions count, although no client sees them."""
        heard = hears("a", "1")
        self.work.server.sends(heard)
        self.work.client.gets(heard)
        self.home.server.answersPing()
        self.getsCopy(self.home)
        self.home.client.acknowledges()
        self.hasHandled(1)

    def test_waiting(self) -> None:
        """
        What waits behind a message that may still come is not handled, also if all that was sent
        is; what came before is.
        """
        first = hears("first")
        self.home.server.sends(PRESENCE)
        self.home.client.gets(PRESENCE)
        heard = hears("a", "1")
        self.work.server.sends(heard)
        self.work.client.gets(heard)
        ping = self.home.server.gets(PING)
        self.home.server.sends(first)
        self.work.server.answersPing()
        self.work.client.gets(message("*", "*", "*").replace(">*<", "><body>first</body><"))
        self.home.client.getsNothing()
        self.home.client.acknowledges()
        self.hasHandled(1)
        self.home.server.answers(ping)
        self.getsCopy(self.home)
        self.home.client.gets(first)
        self.hasHandled(1)
        self.home.client.acknowledges()
        self.hasHandled(3)

    def test_wrongAtTheEnd(self) -> None:
        """What a server says last, and wrong, of a session that is over, costs nobody a message."""
        self.home.client.sends("</stream:stream>")
        self.home.client.isLeft()
        self.home.server.gets(told(0))
        self.home.server.getsEnd()
        self.home.server.sends(hears("a") + a(99) + hears("b"))
        self.home.server.losesConnection()
        self.work.server.answersPing()
        self.work.client.gets("<message from='*' to='*' type='chat'>*</message>")

    def test_fork(self) -> None:
        """A message that fills the place kept for it counts when the client has it."""
        heard = hears("a", "1")
        self.work.server.sends(heard)
        self.work.client.gets(heard)
        self.home.server.sends(heard)
        self.home.client.gets(heard)
        ping = self.home.server.gets(PING)
        self.hasHandled(0)
        self.home.client.acknowledges()
        self.hasHandled(1)
        self.home.server.answers(ping)
        self.hasHandled(2)


class Unmanaged(Managed):
    """A client without stream management, on a server that has it."""

    def test_taken(self) -> None:
        """What its connection has taken is handled."""
        self.home.server.sends(hears("a") + hears("b"))
        self.home.client.gets(hears("a"))
        self.home.client.gets(hears("b"))
        self.hasHandled(2)

    def test_notTaken(self) -> None:
        """What waits here is not."""
        large = f"<presence from='{ORCHARD}'><status>{50_000 * '-'}</status></presence>"
        self.home.client.stopsReading()
        self.home.server.sends(large)
        self.hasHandled(1)
        self.home.server.sends(large + R)
        self.home.server.gets(told(1))
        self.home.client.readsOn()
        self.home.client.gets(large)
        self.home.client.gets(large)
        self.hasHandled(2)

    def test_lost(self) -> None:
        """The server hears the last that is known."""
        self.home.server.sends(hears("a"))
        self.home.client.gets(hears("a"))
        self.home.client.vanishes()
        self.home.server.gets(told(1))
        self.home.server.getsEnd()


class Servers(Conversation):
    """What a server may say about it, and when."""

    def binds(self) -> tuple[Client, Server]:
        """Up to the moment when the server has bound a resource."""
        client, server = self.authenticates("juliet", OFFERED_MANAGEMENT)
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.gets(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.sends(bound(f"{JULIET}/1"))
        server.gets(f"<enable xmlns='{SM}'/>")
        return client, server

    def enables(self, client: Client) -> None:
        client.sends(f"<enable xmlns='{SM}'/>")
        client.gets(f"<enabled xmlns='{SM}'/>")

    def test_failed(self) -> None:
        """It offers what it does not have: then pings it is."""
        client, server = self.binds()
        server.sends(failed("internal-server-error"))
        server.answersDisco()
        client.gets(bound(f"{JULIET}/1"))
        self.enables(client)
        client.sends(says("a") + R)
        client.gets(a(0))
        server.gets(says("a"))
        server.answersPing()
        client.gets(a(1))

    def test_version(self) -> None:
        """It has the older version alone."""
        client, server = self.authenticates("juliet", f"<sm xmlns='{SM2}'/>")
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.gets(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.sends(bound(f"{JULIET}/1"))
        server.gets(f"<enable xmlns='{SM2}'/>")
        server.sends(f"<enabled xmlns='{SM2}'/>")
        server.answersDisco()
        client.gets(bound(f"{JULIET}/1"))
        self.enables(client)
        client.sends(says("a") + R)
        client.gets(a(0))
        server.gets(says("a"))
        server.gets(f"<r xmlns='{SM2}'/>")
        server.acknowledges(SM2)
        client.gets(a(1))
        server.sends(f"<r xmlns='{SM2}'/>")
        server.gets(a(2, SM2))  # the answers to our questions

    def test_silent(self) -> None:
        """It says nothing for three seconds. Until it does, there are pings; then it counts."""
        client, server = self.binds()
        server.answersDisco()
        client.getsNothing()
        self.network.wait(3)
        client.gets(bound(f"{JULIET}/1"))
        self.enables(client)
        client.sends(says("a") + R)
        client.gets(a(0))
        server.gets(says("a"))
        server.answersPing()
        client.gets(a(1))
        server.sends(hears("b") + PRESENCE)
        client.gets(hears("b"))
        client.gets(PRESENCE)
        client.sends(a(1))
        server.sends(f"<enabled xmlns='{SM}'/>" + R)
        server.gets(a(0))
        client.acknowledges()
        server.sends(hears("c") + R)
        client.gets(hears("c"))
        server.gets(a(0))
        client.acknowledges()
        server.sends(R)
        server.gets(a(1))
        client.sends(says("d") + R)
        client.gets(a(1))
        server.gets(says("d"))
        server.gets(R)
        server.acknowledges()
        client.gets(a(2))

    def test_between(self) -> None:
        """What comes before it is enabled does not count; what comes after, does."""
        client, server = self.binds()
        server.sends(hears("a") + PRESENCE)
        server.sends(f"<enabled xmlns='{SM}'/>" + hears("b") + R)
        server.answersDisco()
        server.gets(a(0))
        client.gets(bound(f"{JULIET}/1"))
        for each in (hears("a"), PRESENCE, hears("b")):
            client.gets(each)
        server.sends(R)
        server.gets(a(0))
        client.sends(PRESENCE)
        server.gets(PRESENCE)
        server.sends(R)
        server.gets(a(3))  # the answers to both questions, too

    def test_clientBetween(self) -> None:
        """What comes before the client enables it is handled once that says anything later."""
        client, server = self.binds()
        server.sends(f"<enabled xmlns='{SM}'/>")
        server.answersDisco()
        client.gets(bound(f"{JULIET}/1"))
        server.sends(hears("a") + R)
        client.gets(hears("a"))
        server.gets(a(0))
        self.enables(client)
        client.gets(R)
        server.sends(R)
        server.gets(a(0))
        client.sends(a(0))
        server.sends(R)
        server.gets(told(1))

    def test_clientWithout(self) -> None:
        """Before a client has said anything it is not taken for one without."""
        client, server = self.binds()
        server.sends(f"<enabled xmlns='{SM}'/>")
        server.answersDisco()
        client.gets(bound(f"{JULIET}/1"))
        for each in "ab":
            server.sends(hears(each) + R)
            client.gets(hears(each))
            server.gets(a(0))
        client.sends(says("c"))
        server.gets(says("c"))
        server.sends(R)
        server.gets(told(2))

    def test_clientMute(self) -> None:
        """Except if it gets very much: the server would not wait for ever."""
        client, server = self.binds()
        server.sends(f"<enabled xmlns='{SM}'/>")
        server.answersDisco()
        client.gets(bound(f"{JULIET}/1"))
        server.sends(998 * PRESENCE + R)
        server.gets(a(0))
        server.sends(PRESENCE + R)
        server.gets(told(999))
        for _ in range(999):
            client.gets(PRESENCE)

    def test_lostMeanwhile(self) -> None:
        """The client does not wait for it."""
        client, server = self.binds()
        server.gets(DISCO)
        server.gets(DISCO_ACCOUNT)
        client.vanishes()
        self.network.wait(3)
        server.getsEnd()

    def test_wrong(self) -> None:
        """What cannot be ends the session, with whatever else it says in the same breath."""
        more = hears("x") + PRESENCE + f"<iq type='get' id='i' from='{DOMAIN}'><q/></iq>" + R + a(1)
        for number, wrong in enumerate(("-1", "abc", "99", f"{MODULUS}", "")):
            client, server = self.binds()
            server.sends(f"<enabled xmlns='{SM}'/>")
            server.answersDisco()
            client.gets(bound(f"{JULIET}/1"))
            self.enables(client)
            if number % 2:
                server.sends(hears("a") + a(wrong) + more)
                client.gets(hears("a"))
            else:
                server.sends(a(wrong) + more)
            client.getsError("reset")
            server.isLeft()
            self.assertLogged("the server is gone: stream management")
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertNotLogged("in a protocol")

    def test_wrongBeforeReady(self) -> None:
        """Before the client has its resource."""
        client, server = self.binds()
        server.gets(DISCO)
        server.gets(DISCO_ACCOUNT)
        server.sends(f"<enabled xmlns='{SM}'/>" + a(99) + hears("x") + R)
        client.getsError("reset")
        server.getsEnd()
        server.losesConnection()
        self.assertNotLogged("in a protocol")

    def test_goingBack(self) -> None:
        """It takes back what it had handled."""
        client, server = self.binds()
        server.sends(f"<enabled xmlns='{SM}'/>")
        server.answersDisco()
        client.gets(bound(f"{JULIET}/1"))
        server.sends(a(2) + a(1))
        client.getsError("reset")
        server.isLeft()


class Capped(Managed):
    """A client may leave 20 stanzas unacknowledged."""

    streamManagement: ClassVar = config.StreamManagement(upstream_unacked=20)

    def setUp(self) -> None:
        super().setUp()
        self.enables()

    def sends(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            self.home.server.sends(hears(f"{number}"))

    def gets(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            self.home.client.gets(hears(f"{number}"))
            if self.home.client.next == "r":
                self.home.client.gets(R)

    def test_goesOn(self) -> None:
        """The rest stays with the server, until the client acknowledges something."""
        self.sends(1, 25)
        self.gets(1, 20)
        self.home.client.getsNothing()
        self.network.wait(50)
        self.home.client.sends(a(1))
        self.gets(21, 25)
        self.home.client.acknowledges()
        self.network.wait(100)
        self.hasHandled(25)

    def test_never(self) -> None:
        """It does not for a minute."""
        self.sends(1, 25)
        self.gets(1, 20)
        self.home.client.sends(says("still here"))
        self.home.server.gets(says("still here"))
        self.network.wait(59)
        self.home.client.getsNothing()
        self.network.wait(1)
        self.home.client.getsError("resource-constraint")
        self.home.server.gets(told(0))
        self.home.server.getsEnd()
        self.assertLogged(f"{self.home.jid}: too slow: acknowledge what you are sent")
        self.assertLogged(f"{self.home.jid}: ended: too slow")

    def test_inactive(self) -> None:
        """However much presence comes: an inactive client is told before it is too much."""
        self.home.client.sends(f"<inactive xmlns='{ns.CSI}'/>")
        told = 0
        for _ in range(100):
            self.home.server.sends(PRESENCE)
            while self.home.client.next:
                if self.home.client.next == "presence":
                    told += 1
                    self.home.client.gets(PRESENCE)
                else:
                    self.home.client.gets(R)
                self.home.client.acknowledges()
        self.assertGreater(told, 5)
        self.assertLess(told, 20)
        self.assertTrue(self.session()._upstream.reading)
        self.home.client.sends(f"<active xmlns='{ns.CSI}'/>")
        self.home.client._came.clear()

    def test_stillInactive(self) -> None:
        """Important things come in between."""
        self.home.client.sends(f"<inactive xmlns='{ns.CSI}'/>")
        for _ in range(50):
            self.home.server.sends(hears("a"))
            self.home.client.gets(hears("a"))
            if self.home.client.next:
                self.home.client.gets(R)
            self.home.client.acknowledges()
        self.hasHandled(50)

    def test_siblings(self) -> None:
        """Places that are kept without end, but none for long, are no reason to wait either."""
        work = self.logsIn("work", managed=True)
        asked: list[Element] = []
        for number in range(100):
            heard = hears(f"{number}", f"{number}")
            work.server.sends(heard)
            work.client.gets(heard)
            if self.home.server.next == "iq":
                asked.append(self.home.server.gets(PING))
            self.home.server.sends(PRESENCE)  # which comes before what has yet to come
            if len(asked) > 1:
                self.home.server.answers(asked.pop(0))
            elif number:  # the first answer takes a while: then a place is always kept
                self.home.server.answers(asked.pop(0))
                asked.append(self.home.server.gets(PING))
            self.getsAll()
            self.assertFalse(self.session().seat.outbox.empty)
            self.assertTrue(self.session()._upstream.reading)
        self.home.server.answers(asked.pop(0))
        self.getsAll()
        self.hasHandled(200)

    def getsAll(self) -> None:
        """The client gets what there is, and acknowledges it."""
        expected = {"r": R, "presence": PRESENCE, "message": COPY}
        while self.home.client.next:
            self.home.client.gets(expected[self.home.client.next])
        self.home.client.acknowledges()


class Bytes(Managed):
    """A client may leave 20,000 bytes unacknowledged."""

    limits: ClassVar = config.Limits(queue_bytes=20_000)

    def setUp(self) -> None:
        super().setUp()
        self.enables()

    def test_server(self) -> None:
        """With half of that the server has to wait."""
        large = hears(6_000 * "a")
        for _ in range(3):
            self.home.server.sends(large)
        self.home.client.gets(large)
        self.home.client.gets(large)
        self.home.client.getsNothing()
        self.home.client.acknowledges()
        self.home.client.gets(large)
        self.home.client.gets(R)
        self.home.client.acknowledges()
        self.assertEqual(self.session().management._client.keeps.size, 0)
        self.assertIsNone(self.session().management._client.keeps._pieces)

    def test_copies(self) -> None:
        """What siblings say does not wait: the session ends."""
        work = self.logsIn("work", managed=True)
        large = says(6_000 * "a")
        for _ in range(3):
            work.client.sends(large)
            work.server.gets(large)
            self.home.client.gets(COPY)
            while self.home.client.next == "r":
                self.home.client.gets(R)
        work.client.sends(large)
        work.server.gets(large)
        self.home.client.gets(COPY)
        self.home.client.getsError("resource-constraint")
        self.home.server.gets(told(0))
        self.home.server.getsEnd()
