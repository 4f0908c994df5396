"""Conversations about servers whose connections are lost, and resumed (XEP-0198, section 5)."""

from __future__ import annotations

import weakref
from base64 import b64decode
from typing import Any, ClassVar

from scramp import ScramMechanism

from tests.conversation import (
    BIND,
    BINDING,
    DOMAIN,
    JULIET,
    OFFERED_MANAGEMENT,
    PASSWORD,
    PING,
    PLAIN,
    SUCCESS,
    Client,
    Conversation,
    Server,
    Window,
    bound,
    failure,
    features,
    mechanisms,
    plain,
)
from tests.test_conversation_freed import WithoutCollector
from tests.test_conversation_mirror import ORCHARD, body, message
from tests.test_conversation_resumption import BIND_OURS, late, resume, resumed
from tests.test_conversation_sasl import sasl
from tests.test_conversation_streammanagement import COPY, SM, R, a, failed, hears, says
from xmpproxy import config, ns

MECHANISM = "SCRAM-SHA-256"
SALT = 16 * b"s"
ID = "s0/=&amp;"
#: What the server has sent before all else: answers to two questions of the proxy's.
BEFORE = 2
#: What it has got: these two, and the client's presence.
GOT = 3
NOW = "2026-11-23T03:00:00Z"


class Scram(Conversation):
    """The proxy logs in by SCRAM, and resumes."""

    domain: ClassVar = config.Domain(
        name=DOMAIN,
        upstream="tcp:127.0.0.1:15222",
        upstream_tls="none",
        auth="terminate",
        upstream_resume=True,
    )
    enable: ClassVar = f"<enable xmlns='{SM}' resume='true' max='300'/>"
    enabled: ClassVar = f"<enabled xmlns='{SM}' resume='true' id='{ID}' max='600'/>"
    password = PASSWORD
    salt = SALT

    def tearDown(self) -> None:
        """What ends here is not resumed."""
        self.upstreams.stopped = True
        super().tearDown()

    def authenticates(self, user: str = "juliet", offered: str = "") -> tuple[Client, Server]:
        """A client authenticates to the proxy, and the proxy to the server."""
        client, server = self.meets(mechanisms(MECHANISM), PLAIN)
        client.sends(plain(user=user))
        self.proves(server)
        client.gets(SUCCESS)
        client.opens()
        client.getsHeader(from_=DOMAIN)
        server.opens(features(BIND, offered))
        return client, server

    def challenges(self, server: Server) -> tuple[object, str]:
        """The proxy wants to log in; the server wants to see what it knows."""
        mechanism = ScramMechanism(MECHANISM)
        known = mechanism.make_auth_info(self.password, salt=self.salt)
        capulets = mechanism.make_server(lambda user: known)
        auth = server.gets(f"<auth xmlns='{ns.SASL}' mechanism='{MECHANISM}'>*</auth>")
        first = b64decode(str(auth)).decode()
        capulets.set_client_first(first)
        server.sends(sasl("challenge", capulets.get_server_first()))
        return capulets, first

    def proves(self, server: Server) -> str:
        """
        The proxy logs in.

        @return: its first message.
        """
        capulets, first = self.challenges(server)
        response = server.gets(f"<response xmlns='{ns.SASL}'>*</response>")
        capulets.set_client_final(b64decode(str(response)).decode())  # type: ignore[attr-defined]
        server.restarts()
        server.sends(sasl("success", capulets.get_server_final()))  # type: ignore[attr-defined]
        return first


class Cut(Scram):
    """A client with stream management has the window C{home}; it can come back, too."""

    def setUp(self) -> None:
        super().setUp()
        self.home = self.logsIn("home", managed=True)
        client = self.home.client
        client.sends(f"<enable xmlns='{SM}' resume='true'/>")
        enabled = client.gets(f"<enabled xmlns='{SM}' id='*' resume='true' max='*'/>")
        self.previd: str = enabled["id"]

    def meetsAgain(self) -> Server:
        """The proxy connects once more, and logs in."""
        server = self.server()
        server.opens(features(mechanisms(MECHANISM)))
        self.proves(server)
        server.opens(features(BIND, OFFERED_MANAGEMENT))
        return server

    def resumes(
        self, h: int, handled: int, again: str = "", window: Window | None = None
    ) -> Server:
        """
        The proxy resumes the stream.

        @param h: how many stanzas it wants no more, without those of the beginning.
        @param handled: how many of its own it need not send again, likewise.
        @param again: what the server sends at once.
        """
        server = self.meetsAgain()
        server.gets(resume(ID, BEFORE + h))
        server.handled = GOT + handled
        if window is None:
            self.home = self.home._replace(server=server)
        server.sends(resumed(ID, GOT + handled) + again)
        return server

    def hears(self, *texts: str) -> None:
        """The server sends messages, and the client gets them."""
        for text in texts:
            self.home.server.sends(hears(text))
            self.home.client.gets(hears(text))

    def says(self, *texts: str) -> None:
        """The client sends messages."""
        for text in texts:
            self.home.client.sends(says(text))

    def toldOf(self, h: int) -> None:
        """The server asks what has arrived."""
        self.home.server.sends(R)
        self.home.server.gets(a(BEFORE + h))

    def ends(self, condition: str = "reset") -> None:
        """The client is told to come back."""
        self.home.client.getsError(condition)
        self.assertEqual(list(self.accounts), [])


class Back(Cut):
    """The server is there again at once."""

    def test_nothing(self) -> None:
        """Nothing was under way: nobody notices anything, and all goes on."""
        self.home.server.vanishes()
        self.resumes(0, 0)
        self.hears("a")
        self.says("b")
        self.home.server.gets(says("b"))
        self.home.client.acknowledges()
        self.toldOf(1)
        self.assertLogged(f"{self.home.jid}: lost the server")
        self.assertLogged(f"{self.home.jid}: the server has resumed the stream")

    def test_toServer(self) -> None:
        """What the server has not got it gets, in order, and what is said meanwhile behind that."""
        self.says("a", "b", "c")
        for each in "abc":
            self.home.server.gets(says(each))
        self.home.server.vanishes()
        self.says("d")
        self.resumes(0, 1)
        self.home.client.gets(a(1))
        self.says("e")
        for each in "bcd":
            self.home.server.gets(says(each))
        self.home.server.gets(R)
        self.home.server.gets(says("e"))
        self.home.server.acknowledges()
        self.home.client.gets(a(5))

    def test_untilAcknowledged(self) -> None:
        """The client is told of what has arrived, no more and no less."""
        self.says("a", "b")
        for each in "ab":
            self.home.server.gets(says(each))
        self.home.client.sends(R)
        self.home.client.gets(a(0))
        self.home.server.gets(R)
        self.home.server.vanishes()
        self.home.client.sends(says("c") + R)
        self.home.client.gets(a(0))
        self.resumes(0, 1)
        self.home.client.gets(a(1))
        for each in "bc":
            self.home.server.gets(says(each))
        self.home.server.gets(R)
        self.home.server.acknowledges()
        self.home.client.gets(a(3))

    def test_fromServer(self) -> None:
        """What the client has acknowledged does not come again; of the rest, what it has had."""
        self.hears("a", "b")
        self.home.client.sends(a(1))
        self.hears("c")
        self.home.server.vanishes()
        self.resumes(1, 0, late(hears("b")) + late(hears("c")) + late(hears("d")))
        self.home.client.gets(late(hears("d")))
        self.hears("e")
        self.home.client.acknowledges()
        self.toldOf(5)

    def test_piecemeal(self) -> None:
        """The same where what comes again comes in pieces, with other things between."""
        for each in "abc":
            self.hears(each)
        self.home.server.vanishes()
        again = "".join(late(hears(each)) for each in "abcd")
        self.resumes(0, 0, again[:30])
        self.home.server.sends(again[30:500] if len(again) > 500 else again[30:])
        self.home.server.sends(again[500:])
        self.home.client.gets(late(hears("d")))
        self.home.client.acknowledges()
        self.toldOf(4)

    def test_asked(self) -> None:
        """The server asks amid what it sends again: it is told what the client has."""
        self.hears("a", "b")
        self.home.server.vanishes()
        self.home.client.sends(a(1))
        self.resumes(1, 0, R + late(hears("b")) + R)
        self.home.server.gets(a(BEFORE + 1))
        self.home.client.sends(a(2))
        self.toldOf(2)

    def test_acknowledgedMeanwhile(self) -> None:
        """What the client acknowledges between the question and the answer is not lost count of."""
        self.hears("a", "b")
        self.home.server.vanishes()
        server = self.meetsAgain()
        server.gets(resume(ID, BEFORE))
        self.home.client.sends(a(2))
        self.home = self.home._replace(server=server)
        server.sends(resumed(ID, GOT) + late(hears("a")) + late(hears("b")) + late(hears("c")))
        self.home.client.gets(late(hears("c")))
        self.toldOf(2)

    def test_half(self) -> None:
        """Half a stanza is none."""
        self.home.server.sends(hears("a")[:-5])
        self.home.server.vanishes()
        self.resumes(0, 0, late(hears("a")))
        self.home.client.gets(late(hears("a")))
        self.home.client.acknowledges()
        self.toldOf(1)

    def test_again(self) -> None:
        """And again, by the same id. Soon after each other it is not at once any more."""
        for number in range(4):
            self.hears(f"{number}")
            self.home.client.acknowledges()
            self.home.server.vanishes()
            if number:
                self.assertRaises(AssertionError, self.server)
                self.network.wait(1)
            self.resumes(number + 1, number)
            if number:
                self.home.client.gets(a(number))
            self.says(f"{number}")
            self.home.server.gets(says(f"{number}"))

    def test_nonces(self) -> None:
        """Every login is another one."""
        firsts = set()
        for _ in range(3):
            self.network.wait(60)
            self.home.server.vanishes()
            server = self.server()
            server.opens(features(mechanisms(MECHANISM)))
            firsts.add(self.proves(server))
            server.opens(features(BIND, OFFERED_MANAGEMENT))
            server.gets(resume(ID, BEFORE))
            server.sends(resumed(ID, GOT))
            self.home = self.home._replace(server=server)
        self.assertEqual(len(firsts), 3)

    def test_asking(self) -> None:
        """The server is asked so often that not much need be kept."""
        for number in range(20):
            self.says(f"{number}")
        for number in range(20):
            if number == 20 - GOT:
                self.home.server.gets(R)
            self.home.server.gets(says(f"{number}"))
        self.home.server.sends(a(GOT + 17))
        self.home.client.gets(a(17))
        self.home.server.vanishes()
        self.resumes(0, 18)
        self.home.client.gets(a(18))
        for number in (18, 19):
            self.home.server.gets(says(f"{number}"))
        self.home.server.gets(R)

    def test_inactive(self) -> None:
        """What is held back is no more handled than what is not here."""
        self.home.client.sends(f"<inactive xmlns='{ns.CSI}'/>")
        presence = f"<presence from='{ORCHARD}'/>"
        self.home.server.sends(presence)
        self.home.server.vanishes()
        self.resumes(0, 0, late(presence) + late(hears("a")))
        self.home.client.gets(presence)
        self.home.client.gets(late(hears("a")))
        self.home.client.acknowledges()
        self.toldOf(2)

    def test_silent(self) -> None:
        """A server that gives no sign of life is taken for lost. It is not told so."""
        self.home.client.sends(" ")
        for _ in range(40):
            self.home.client.sends(" ")
            self.network.wait(10)
            if self.home.server.next == "r":
                self.home.server.gets(R)
        self.home.server.losesConnection()
        self.resumes(0, 0)

    def test_location(self) -> None:
        """Where else the server would like to be resumed does not matter."""
        self.patch(
            Cut, "enabled", self.enabled.replace(" max=", " location='elsewhere.example:5' max=")
        )
        window = self.logsIn("other", managed=True)
        window.server.vanishes()
        self.resumes(0, 0, window=window)


class WithoutManagement(Cut):
    """The client has no stream management."""

    def setUp(self) -> None:
        Scram.setUp(self)
        self.home = self.logsIn("home", managed=True)

    def test_taken(self) -> None:
        """What the system has taken is the client's; what it sent is not the server's yet."""
        self.hears("a", "b")
        self.says("c")
        self.home.server.gets(says("c"))
        self.home.server.vanishes()
        self.says("d")
        self.resumes(2, 0, late(hears("e")))
        self.home.client.gets(late(hears("e")))
        self.home.server.gets(says("c"))
        self.home.server.gets(says("d"))
        self.home.server.gets(R)
        self.toldOf(3)

    def test_leaves(self) -> None:
        """Its last words reach the server, which then may end the session."""
        self.home.server.vanishes()
        self.says("a")
        self.home.client.sends("<presence type='unavailable'/></stream:stream>")
        self.home.client.isLeft()
        server = self.resumes(0, 0, late(hears("b")))
        server.gets(says("a"))
        server.gets("<presence type='unavailable'/>")
        server.gets(R)
        server.gets(a("*"))
        server.getsEnd()
        server.closes()
        server.losesConnection()
        self.assertEqual(list(self.accounts), [])

    def test_leavesForGood(self) -> None:
        """The server does not come back either."""
        self.host.refuses = True
        self.home.server.vanishes()
        self.home.client.closes()
        self.home.client.isLeft()
        self.network.wait(300)
        self.assertEqual(list(self.accounts), [])


class Long(Cut):
    """The server is gone for longer."""

    def setUp(self) -> None:
        super().setUp()
        self.host.refuses = True

    def test_patience(self) -> None:
        """It is tried again and again; the client hears nothing of all that."""
        self.home.server.vanishes()
        self.says("a")
        self.network.wait(200)
        self.home.client.getsNothing()
        self.host.refuses = False
        self.network.wait(30)
        self.resumes(0, 0)
        self.home.server.gets(says("a"))
        self.home.server.gets(R)

    def test_tooLong(self) -> None:
        """In the end the client is told to come back, and so it may send what was not handled."""
        self.home.server.vanishes()
        self.says("a")
        self.network.wait(299)
        self.home.client.getsNothing()
        self.network.wait(1)
        self.ends()
        self.assertLogged("the server is gone: not resumed within 300 s", "refused")

    def test_hangs(self) -> None:
        """A connection that is never made is not waited for any longer either."""
        self.host.refuses, self.host.hangs = False, True
        self.home.server.vanishes()
        self.network.wait(300)
        self.assertTrue(self.host.cancelled)
        self.ends()

    def test_mute(self) -> None:
        """Nor is one on which the server says nothing; that is dropped without a word."""
        self.host.refuses = False
        self.home.server.vanishes()
        server = self.meetsAgain()
        server.gets(resume(ID, BEFORE))
        self.network.wait(30)
        server.losesConnection()
        self.network.wait(1)
        self.resumes(0, 0)

    def test_lostMeanwhile(self) -> None:
        """The new connection is lost as well, whenever that is."""
        self.host.refuses = False
        self.home.server.vanishes()
        self.server().getsHeader()
        self._peers[-1].vanishes()
        self.network.wait(1)
        server = self.server()
        server.opens(features(mechanisms(MECHANISM)))
        self.challenges(server)
        server.gets(f"<response xmlns='{ns.SASL}'>*</response>")
        server.vanishes()
        self.network.wait(2)
        server = self.meetsAgain()
        server.gets(resume(ID, BEFORE))
        server.vanishes()
        self.network.wait(4)
        self.resumes(0, 0)

    def test_tooMuch(self) -> None:
        """A client that writes much meanwhile is not read for a while."""
        self.home.server.vanishes()
        for number in range(60):
            self.says(f"{number}" + 20_000 * "-")
        self.assertGreater(self.home.client.unsent, 300_000)
        self.host.refuses = False
        self.network.wait(1)
        self.resumes(0, 0)
        for number in range(60):
            self.home.server.gets(says(f"{number}" + 20_000 * "-"))
            if self.home.server.next == "r":
                self.home.server.gets(R)
                self.home.server.acknowledges()
            if self.home.client.next == "a":
                self.home.client.gets(a("*"))
        self.assertEqual(self.home.client.unsent, 0)

    def test_shutdown(self) -> None:
        """The proxy ends."""
        self.home.server.vanishes()
        self.upstreams.stopService()
        self.network.settle()
        self.ends("system-shutdown")

    def test_shutdownMeanwhile(self) -> None:
        """Also while it logs in."""
        self.host.refuses = False
        self.home.server.vanishes()
        server = self.meetsAgain()
        server.gets(resume(ID, BEFORE))
        self.upstreams.stopService()
        self.network.settle()
        self.ends("system-shutdown")
        server.isLeft()

    def test_clientGone(self) -> None:
        """A client that is silent is looked at later."""
        self.home.server.vanishes()
        self.network.wait(250)
        self.home.client.getsNothing()
        self.host.refuses = False
        self.network.wait(30)
        self.resumes(0, 0)


class Refused(Cut):
    """The server is back, but does not resume."""

    def test_unknown(self) -> None:
        """It has forgotten the stream; the client learns how much of its own was handled."""
        self.says("a", "b")
        for each in "ab":
            self.home.server.gets(says(each))
        self.home.server.vanishes()
        server = self.meetsAgain()
        server.gets(resume(ID, BEFORE))
        server.sends(failed("item-not-found", h=GOT + 1))
        self.home.client.gets(a(1))
        self.ends()
        server.isLeft()
        self.assertLogged("the server does not resume: item-not-found")
        client, server = self.authenticates("juliet", OFFERED_MANAGEMENT)
        client.gets(BINDING)
        client.sends(resume(self.previd))
        client.gets(failed("item-not-found", h=1))

    def test_impossible(self) -> None:
        """A number that cannot be, or is none."""
        for h in ("99", "1", "-1"):
            self.says("a")
            self.home.server.gets(says("a"))
            self.home.server.sends(a(GOT + 1))
            self.home.client.gets(a(1))
            self.home.server.vanishes()
            server = self.meetsAgain()
            server.gets(resume(ID, BEFORE))
            server.sends(f"<resumed xmlns='{SM}' previd='{ID}' h='{h}'/>")
            self.ends()
            server.isLeft()
            Cut.setUp(self)

    def test_password(self) -> None:
        """The password has changed."""
        self.home.server.vanishes()
        self.password = "another"
        server = self.server()
        server.opens(features(mechanisms(MECHANISM)))
        self.challenges(server)
        server.gets(f"<response xmlns='{ns.SASL}'>*</response>")
        server.sends(failure("not-authorized"))
        self.ends()
        server.isLeft()
        self.assertLogged("the server refuses the login: not-authorized")

    def test_salt(self) -> None:
        """Or its salt."""
        self.home.server.vanishes()
        self.salt = 16 * b"x"
        server = self.server()
        server.opens(features(mechanisms(MECHANISM)))
        self.challenges(server)
        self.ends()
        server.isLeft()

    def test_impostor(self) -> None:
        """It does not know the password itself."""
        self.home.server.vanishes()
        server = self.server()
        server.opens(features(mechanisms(MECHANISM)))
        self.challenges(server)
        server.gets(f"<response xmlns='{ns.SASL}'>*</response>")
        server.sends(sasl("success", "v=" + 43 * "A" + "="))
        self.ends()
        server.isLeft()

    def test_mechanism(self) -> None:
        """It offers no SCRAM any more: there is no password to send."""
        self.home.server.vanishes()
        server = self.server()
        server.opens(features(mechanisms("PLAIN", "SCRAM-SHA-1")))
        self.ends()
        server.isLeft()

    def test_closes(self) -> None:
        """It says why not: the client is told the same."""
        self.home.server.vanishes()
        server = self.meetsAgain()
        server.gets(resume(ID, BEFORE))
        error = f"<policy-violation xmlns='{ns.STREAM_ERRORS}'/>"
        server.sends(f"<stream:error>{error}</stream:error></stream:stream>")
        self.ends("policy-violation")
        server.isLeft()

    def test_closed(self) -> None:
        """Who closes the stream has ended it, and does not wait for anybody."""
        for each in (
            "</stream:stream>",
            f"<stream:error><conflict xmlns='{ns.STREAM_ERRORS}'/></stream:error></stream:stream>",
            "<not></well-formed>",
        ):
            server = self.home.server
            server.sends(each)
            self.home.client.getsError("conflict" if "conflict" in each else "reset")
            if each.startswith("<not"):
                server.gets("<stream:error>*</stream:error>")
            server.isLeft()
            Cut.setUp(self)


class Without(Scram):
    """There is nothing to resume, and it is as without C{upstream-resume}."""

    def plainly(self, window: Window) -> None:
        """The server's connection is lost: the client hears of it at once."""
        window.server.vanishes()
        window.client.getsError("reset")

    def test_notOffered(self) -> None:
        """The server has stream management, but nobody can come back to it. That is said once."""
        self.patch(Scram, "enabled", f"<enabled xmlns='{SM}'/>")
        for resource in ("a", "b"):
            self.plainly(self.logsIn(resource, managed=True))
        said = [line for line in self.log if "upstream-resume" in line]
        self.assertEqual(len(said), 1)
        self.assertIn("the server lets nobody resume", said[0])

    def test_noManagement(self) -> None:
        """It has none."""
        self.plainly(self.logsIn("a"))
        self.assertLogged("upstream-resume", "no stream management")

    def test_preparing(self) -> None:
        """The client has no resource yet."""
        client, server = self.authenticates("juliet", OFFERED_MANAGEMENT)
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.gets(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.sends(bound(f"{JULIET}/home"))
        server.gets(self.enable)
        server.sends(self.enabled)
        server.getsDisco()
        server.vanishes()
        client.getsError("reset")


class Relayed(Conversation):
    """The client logs in itself: the proxy cannot."""

    domain: ClassVar = Scram.domain.model_copy(update={"auth": "auto"})

    def test_relayed(self) -> None:
        """It is as without, and is said once."""
        for resource in ("a", "b"):
            window = self.logsIn(resource, managed=True)
            window.server.vanishes()
            window.client.getsError("reset")
        said = [line for line in self.log if "upstream-resume" in line]
        self.assertEqual(len(said), 1)
        self.assertIn("terminate", said[0])


class ByPassword(Conversation):
    """The proxy logs in with the password itself, which it does not keep."""

    domain: ClassVar = Scram.domain

    def test_plain(self) -> None:
        """It is as without."""
        client, server = self.meets()
        client.sends(plain())
        server.gets(plain())
        server.succeeds()
        server.getsHeader()
        client.gets(SUCCESS)
        self.assertLogged("upstream-resume", "no SCRAM")


class Never(Scram):
    """Nobody waits for anybody."""

    streamManagement: ClassVar = config.StreamManagement(resume_seconds=0)
    enable: ClassVar = Conversation.enable

    def test_never(self) -> None:
        """Nor does the proxy for servers."""
        window = self.logsIn("home", managed=True)
        window.server.vanishes()
        window.client.getsError("reset")


class Brief(Cut):
    """The server waits for a minute."""

    enabled: ClassVar = f"<enabled xmlns='{SM}' resume='true' id='{ID}' max='60'/>"

    def test_brief(self) -> None:
        """It is not tried for longer than that."""
        self.host.refuses = True
        self.home.server.vanishes()
        self.network.wait(60)
        self.ends()


class NoRoom(Cut):
    """There is too much for the server, in all, while that is gone."""

    limits: ClassVar = config.Limits(all_queues_bytes=65536)

    def setUp(self) -> None:
        super().setUp()
        self.host.refuses = True
        self.home.server.vanishes()
        for number in range(3):
            self.says(f"{number}" + 20_000 * "-")

    def isGone(self) -> None:
        self.assertLogged("ended: ", self.home.jid)
        self.assertEqual(self.upstreams.reconnections, set())
        self.assertEqual(list(self.accounts), [])

    def test_client(self) -> None:
        """What ends for that keeps nothing, and the client knows what was not handled."""
        self.says("3" + 20_000 * "-")
        self.home.client.getsError("resource-constraint")
        self.isGone()

    def test_away(self) -> None:
        """The same for a client that is not there."""
        self.home.client.vanishes()
        (session,) = self.accounts.sessions()
        session.makeRoom("more than that")
        self.isGone()


class Both(Cut):
    """The client's connection is lost, too."""

    def returns(self, h: int = 0) -> None:
        """The client comes back."""
        client, server = self.authenticates("juliet", OFFERED_MANAGEMENT)
        client.gets(BINDING)
        client.handled = self.home.client.handled
        client.sends(resume(self.previd, client.handled))
        request = server.gets(BIND_OURS)
        server.sends(bound(f"{JULIET}/other", request["id"]))
        self.returning = client, server
        self.h = h

    def isBack(self) -> None:
        """It has its session again."""
        client, server = self.returning
        client.gets(resumed(self.previd, self.h))
        server.getsEnd()
        server.closes()
        server.losesConnection()
        self.home = self.home._replace(client=client)

    def test_serverFirst(self) -> None:
        """The server is back first, and the client gets what it has missed."""
        self.home.client.vanishes()
        self.home.server.sends(hears("a"))
        self.home.server.vanishes()
        self.resumes(0, 0, late(hears("a")) + late(hears("b")))
        self.returns()
        self.isBack()
        self.home.client.gets(late(hears("a")))
        self.home.client.gets(late(hears("b")))
        self.home.client.gets(R)
        self.home.client.acknowledges()
        self.toldOf(2)

    def test_clientFirst(self) -> None:
        """The client is back first: if it could log in, the server must be there."""
        self.says("a")
        self.home.server.gets(says("a"))
        self.host.refuses = True
        self.home.server.vanishes()
        self.home.client.vanishes()
        self.network.wait(20)
        self.host.refuses = False
        self.returns(h=1)
        self.resumes(0, 0)
        self.home.server.gets(says("a"))
        self.home.server.gets(R)
        self.home.server.acknowledges()
        self.isBack()
        self.hears("b")

    def test_nothingToSend(self) -> None:
        """A client of which all was handled need not wait for the server."""
        self.host.refuses = True
        self.home.server.vanishes()
        self.home.client.vanishes()
        self.host.refuses = False
        self.returns()
        self.isBack()
        self.says("a")
        self.network.wait(1)
        self.resumes(0, 0)
        self.home.server.gets(says("a"))
        self.home.server.gets(R)

    def test_neither(self) -> None:
        """Neither comes back."""
        self.host.refuses = True
        self.home.server.vanishes()
        self.home.client.vanishes()
        self.network.wait(300)
        self.assertEqual(list(self.accounts), [])

    def test_clientTooLate(self) -> None:
        """The server comes back, the client does not: the session ends in order."""
        self.home.client.vanishes()
        self.network.wait(290)
        self.host.refuses = True
        self.home.server.vanishes()
        self.network.wait(10)
        self.host.refuses = False
        self.network.wait(30)
        server = self.resumes(0, 0)
        server.gets(a(BEFORE))
        server.getsEnd()
        server.closes()
        server.losesConnection()
        self.assertEqual(list(self.accounts), [])


class Siblings(Cut):
    """The account has another window, on a server without carbons."""

    def setUp(self) -> None:
        super().setUp()
        self.sibling = self.logsIn("sibling", managed=True)

    def copies(self, text: str) -> None:
        """The client of the other window sends a message."""
        self.sibling.client.sends(says(text))
        self.sibling.server.gets(says(text))

    def test_copies(self) -> None:
        """What the sibling says is shown meanwhile."""
        self.host.refuses = True
        self.home.server.vanishes()
        self.copies("a")
        self.home.client.gets(COPY)
        self.host.refuses = False
        self.network.wait(1)
        self.resumes(0, 0)

    def test_fork(self) -> None:
        """What the server has routed to both is shown once in each; the copy did not wait."""
        self.host.refuses = True
        self.home.server.vanishes()
        self.sibling.server.sends(hears("a", id="1"))
        self.sibling.client.gets(hears("a", id="1"))
        self.home.client.getsNothing()
        self.network.wait(6)
        self.home.client.gets(hears("a", id="1").replace(JULIET, self.home.jid))
        self.home.client.acknowledges()
        self.host.refuses = False
        self.network.wait(30)
        self.resumes(0, 0, late(hears("a", id="1")))
        self.home.server.answersPing()
        self.home.server.gets(R)
        self.home.client.getsNothing()

    def test_forkAtOnce(self) -> None:
        """If the server is back soon the message comes in its place."""
        self.home.server.vanishes()
        self.sibling.server.sends(hears("a", id="1"))
        self.sibling.client.gets(hears("a", id="1"))
        self.resumes(0, 0, late(hears("a", id="1")))
        self.home.client.gets(late(hears("a", id="1")))
        self.home.server.answersPing()
        self.home.server.gets(R)

    def test_new(self) -> None:
        """What comes again and was for this window alone is shown in the other one, too."""
        self.home.server.vanishes()
        self.resumes(0, 0, late(hears("a", id="1")))
        self.home.client.gets(late(hears("a", id="1")))
        self.sibling.server.answersPing()
        self.sibling.client.gets("<message from='*' to='*' type='*' id='1'>*</message>")

    def test_pinged(self) -> None:
        """A ping that was not answered is answered now, and frees what waits for that."""
        self.sibling.server.sends(hears("a", id="1"))
        self.sibling.client.gets(hears("a", id="1"))
        ping = self.home.server.gets(PING)
        self.home.server.vanishes()
        answer = f"<iq type='result' id='{ping['id']}' from='{DOMAIN}'/>"
        self.resumes(0, 1, answer)
        self.home.client.gets("<message from='*' to='*' type='*' id='1'>*</message>")

    def test_bothCut(self) -> None:
        """Both windows lose the server; both get everything once."""
        self.home.server.vanishes()
        self.sibling.server.vanishes()
        one = hears("a", id="1")
        self.resumes(0, 0, late(one))
        self.home.client.gets(late(one))
        other = self.resumes(0, 0, late(one), window=self.sibling)
        self.sibling.client.gets(late(one))
        other.answersPing()
        other.gets(R)


class Served(Cut):
    """The same on a server with carbons."""

    def setUp(self) -> None:
        Scram.setUp(self)
        self.home = self.logsIn("home", managed=True, carbons=True)
        self.sibling = self.logsIn("sibling", managed=True, carbons=True)

    def received(self, inner: str) -> str:
        """The server's copy, for the sibling."""
        wrapped = inner.replace("<message ", f"<message xmlns='{ns.CLIENT}' ")
        return (
            f"<message from='{JULIET}' to='{self.sibling.jid}' type='chat'>"
            f"<received xmlns='{ns.CARBONS}'><forwarded xmlns='{ns.FORWARD}'>{wrapped}"
            "</forwarded></received></message>"
        )

    def test_resent(self) -> None:
        """
        The server has copied to the sibling what it sends again: nothing is left to the proxy,
        whatever mark the server puts on it.
        """
        for mark in (
            f"<delay xmlns='{ns.DELAY}' from='{JULIET}' stamp='{NOW}'/>",
            f"<delay xmlns='{ns.DELAY}' from='{DOMAIN}' stamp='{NOW}'>Resent</delay>",
        ):
            inner = message(body("a"), ORCHARD, self.home.jid)
            self.network.wait(60)
            self.home.server.vanishes()
            self.sibling.server.sends(self.received(inner))
            self.sibling.client.gets("<message from='*' to='*' type='chat'>*</message>")
            server = self.meetsAgain()
            server.gets(resume(ID, "*"))
            server.sends(resumed(ID, GOT + 1) + inner.replace("</message>", f"{mark}</message>"))
            self.home = self.home._replace(server=server)
            self.home.client.gets(inner.replace("</message>", f"{mark}</message>"))
            self.sibling.server.getsNothing()
            self.sibling.client.getsNothing()

    def test_stored(self) -> None:
        """What was stored offline, and was on its way, is still the proxy's to show."""
        mark = f"<delay xmlns='{ns.DELAY}' from='{DOMAIN}' stamp='{NOW}'/>"
        inner = message(body("a") + mark, ORCHARD, JULIET)
        self.home.server.vanishes()
        server = self.meetsAgain()
        server.gets(resume(ID, "*"))
        server.sends(resumed(ID, GOT + 1) + inner)
        self.home = self.home._replace(server=server)
        self.home.client.gets(inner)
        self.sibling.server.answersPing()
        self.sibling.client.gets("<message from='*' to='*' type='chat'>*</message>")


class Freed(WithoutCollector, Cut):
    """What is over is freed at once."""

    def freed(self, parts: dict[str, weakref.ref[Any]]) -> None:
        self.assertEqual([name for name, part in parts.items() if part() is not None], [])

    def test_freed(self) -> None:
        """The stream that was lost, and what has brought the other; in the end all."""
        before = self.parts(self.home)
        lost = {name: part for name, part in before.items() if "upstream" in name}
        self.host.refuses = True
        self.home.server.vanishes()
        lost["reconnection"] = weakref.ref(self.session()._reconnection)
        self.says("a")
        self.host.refuses = False
        self.network.wait(1)
        self.resumes(0, 0)
        self.home.server.gets(says("a"))
        self.home.server.gets(R)
        self.freed(lost)
        after = self.parts(self.home)
        self.allGo()
        self.freed(before | after)

    def test_freedAway(self) -> None:
        """All, when the server does not come back."""
        parts = self.parts(self.home)
        self.host.refuses = True
        self.home.server.vanishes()
        parts["reconnection"] = weakref.ref(self.session()._reconnection)
        self.network.wait(300)
        self.allGo()
        self.freed(parts)

    def session(self) -> Any:
        """The session."""
        (session,) = (session for account in self.accounts for session in account.sessions)
        return session

    def allGo(self) -> None:
        """Nobody is there any more, nor is waited for."""
        self.upstreams.stopped = True
        self.resumables.stopService()
        for peer in self._peers:
            peer.vanishes()
            peer._came.clear()
