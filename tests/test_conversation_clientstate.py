"""Conversations with a client that is inactive at times (XEP-0352)."""

from __future__ import annotations

from typing import ClassVar

from tests.conversation import DOMAIN, JULIET, OFFERED_MANAGEMENT, ROMEO, Conversation, Window
from tests.test_conversation_mirror import (
    ORCHARD,
    body,
    carbon,
    enable,
    message,
    wantsCarbons,
)
from xmpproxy import config, ns

INACTIVE = f"<inactive xmlns='{ns.CSI}'/>"
ACTIVE = f"<active xmlns='{ns.CSI}'/>"


def presence(show: str = "", from_: str = ORCHARD) -> str:
    """Somebody's presence."""
    return f"<presence from='{from_}'><show>{show}</show></presence>"


def chatState(state: str, from_: str = ORCHARD, to: str = JULIET, id: str = "") -> str:
    """A message that only says that somebody types, or not."""
    return message(f"<{state} xmlns='{ns.CHAT_STATES}'/>", from_, to, id=id)


def inactive(window: Window) -> None:
    """The client is inactive; nobody but the proxy hears of it."""
    window.client.sends(INACTIVE)
    window.client.getsNothing()
    window.server.getsNothing()


class Alone(Conversation):
    """One client, on a server that offers nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.home = self.logsIn("home")

    def unwanted(self) -> set[str]:
        """What passes the session unseen."""
        (account,) = self.accounts
        (session,) = account.sessions
        return {name for name, _ in session._unwantedFromServer()}  # type: ignore[attr-defined]

    def gets(self, *stanzas: str) -> None:
        """The client gets these very bytes."""
        for each in stanzas:
            self.home.client.getsBytes(each)
        self.home.client.getsNothing()

    def test_offered(self) -> None:
        """Once, also where the server offers its own."""
        client, _ = self.authenticates("nurse", f"<csi xmlns='{ns.CSI}'/>")
        client.gets(
            f"<stream:features><bind xmlns='{ns.BIND}'><required/></bind>"
            f"<session xmlns='{ns.SESSION}'><optional/></session><csi xmlns='{ns.CSI}'/>"
            f"{OFFERED_MANAGEMENT}</stream:features>"
        )

    def test_active(self) -> None:
        """All passes as it is, in runs; saying once more that the client is active is no news."""
        self.home.client.sends(ACTIVE)
        self.home.server.getsNothing()
        self.home.server.sends(presence("away") + presence() + chatState("composing"))
        self.gets(presence("away"), presence(), chatState("composing"))
        self.assertEqual(self.unwanted(), {"message", "presence", "iq"})

    def test_held(self) -> None:
        """The latest of each contact waits, until the client is active. Runs come to an end."""
        inactive(self.home)
        self.assertEqual(self.unwanted(), {"iq"})
        other = presence(from_=f"{ROMEO}/cell")
        self.home.server.sends(presence("away") + other + presence("dnd") + chatState("composing"))
        inactive(self.home)
        self.home.client.sends(ACTIVE)
        self.gets(other, presence("dnd"), chatState("composing"))
        self.assertEqual(self.unwanted(), {"message", "presence", "iq"})
        self.home.server.sends(presence("away") + presence())
        self.gets(presence("away"), presence())

    def test_important(self) -> None:
        """A message brings with it what was held. The client is as inactive as before."""
        inactive(self.home)
        for text in ("Wherefore", "Deny"):
            self.home.server.sends(presence("away") + chatState("composing"))
            self.home.client.getsNothing()
            said = message(body(text), ORCHARD, JULIET)
            self.home.server.sends(presence() + said + presence("dnd"))
            self.gets(chatState("composing"), presence(), said)
            self.home.client.sends(ACTIVE)
            self.gets(presence("dnd"))
            inactive(self.home)

    def test_runOfIqs(self) -> None:
        """They are important, together as well."""
        inactive(self.home)
        first, second = (f"<iq type='get' id='{n}' from='{DOMAIN}'><q/></iq>" for n in "ab")
        self.home.server.sends(presence())
        self.home.server.sends(first + second + presence("away"))
        self.gets(presence(), first, second)

    def test_answerOfTheProxy(self) -> None:
        """What the client is told by the proxy itself is important."""
        inactive(self.home)
        self.home.server.sends(presence())
        self.home.client.sends(enable())
        self.home.client.getsBytes(presence())
        self.home.client.gets(f"<iq type='result' id='c' from='{JULIET}' to='{self.home.jid}'/>")

    def test_roomIsEntered(self) -> None:
        """Who is in a room is told with the end of the list, one's own presence."""
        room = "verona@chat.example.net"
        others = [
            f"<presence from='{room}/{nick}'><x xmlns='{ns.MUC_USER}'><item/></x></presence>"
            for nick in ("thirdwitch", "secondwitch")
        ]
        own = (
            f"<presence from='{room}/juliet'><x xmlns='{ns.MUC_USER}'><item/><status code='110'/>"
            "</x></presence>"
        )
        inactive(self.home)
        self.home.server.sends("".join(others))
        self.home.client.getsNothing()
        self.home.server.sends(own)
        self.gets(*others, own)

    def test_inOneRead(self) -> None:
        """The states count from where they are between the stanzas."""
        self.home.client.sends(INACTIVE + "<presence/>" + ACTIVE + INACTIVE)
        self.home.server.gets("<presence/>")
        self.home.server.sends(presence())
        self.home.client.getsNothing()
        self.home.client.sends("<presence/>" + ACTIVE)
        self.home.server.gets("<presence/>")
        self.gets(presence())

    def test_otherElement(self) -> None:
        """What else there may be of this namespace one day goes nowhere."""
        self.home.client.sends(f"<drowsy xmlns='{ns.CSI}'/>")
        self.home.server.getsNothing()
        self.home.server.sends(presence())
        self.gets(presence())

    def test_serverGone(self) -> None:
        """The news comes at once, and not behind what was held."""
        inactive(self.home)
        self.home.server.sends(presence())
        self.home.server.vanishes()
        self.home.client.getsError("reset")

    def test_clientGone(self) -> None:
        """What was held goes with it."""
        inactive(self.home)
        self.home.server.sends(presence())
        self.home.client.closes()
        self.home.server.getsEnd()
        self.home.server.sends(presence("away") + message(body("O"), ORCHARD, JULIET))
        self.home.server.closes()
        self.home.client.isLeft()
        self.home.server.losesConnection()


class LittleRoom(Conversation):
    """Little may wait for a client: for one that is inactive, an eighth of that is held."""

    limits: ClassVar = config.Limits(queue_bytes=8 * 3 * len(presence("away")))

    def test_most(self) -> None:
        """With more it gets them all."""
        home = self.logsIn("home")
        inactive(home)
        *three, fourth = (presence("away", ORCHARD[:-1] + last) for last in "abcd")
        home.server.sends("".join(three))
        home.client.getsNothing()
        home.server.sends(fourth + three[0])
        for each in (*three, fourth):
            home.client.getsBytes(each)
        home.client.getsNothing()
        home.client.sends(ACTIVE)
        home.client.getsBytes(three[0])


class Siblings(Conversation):
    """Two clients, of which one is inactive; the server has no carbons."""

    def setUp(self) -> None:
        super().setUp()
        self.balcony, self.chamber = self.logsIn("balcony"), self.logsIn("chamber")
        inactive(self.chamber)
        self.chamber.server.sends(presence())

    def test_copy(self) -> None:
        """A copy is as important as the message."""
        said = message(body("She speaks"), ORCHARD, self.balcony.jid, id="m1")
        self.balcony.server.sends(said)
        self.balcony.client.getsBytes(said)
        self.chamber.client.getsNothing()
        self.chamber.server.answersPing()
        self.chamber.client.getsBytes(presence())
        self.chamber.client.gets(message(body("She speaks"), ORCHARD, self.chamber.jid, id="m1"))

    def test_copyOfSent(self) -> None:
        """So is what another client of the account says."""
        said = message(body("Good night"), to=ORCHARD, id="m1")
        self.balcony.client.sends(said)
        self.balcony.server.getsBytes(said)
        self.chamber.client.getsBytes(presence())
        self.chamber.client.gets(
            message(body("me@balcony: Good night"), ROMEO, self.chamber.jid, id="*")
        )

    def test_copyOfTyping(self) -> None:
        """It can wait, and the next takes its place."""
        for state in ("composing", "paused"):
            typing = chatState(state, to=self.balcony.jid, id=state)
            self.balcony.server.sends(typing)
            self.balcony.client.getsBytes(typing)
            self.chamber.server.answersPing()
            self.chamber.client.getsNothing()
        self.chamber.client.sends(ACTIVE)
        self.chamber.client.getsBytes(presence())
        self.chamber.client.gets(chatState("paused", to=self.chamber.jid, id="paused"))

    def test_carbonOfTyping(self) -> None:
        """The same for a client that knows carbons, whoever types."""
        self.chamber.client.sends(enable())
        self.chamber.client.getsBytes(presence())
        self.chamber.client.gets(f"<iq type='result' id='c' from='{JULIET}' to='*'/>")
        heard = chatState("composing", to=self.balcony.jid)
        self.balcony.server.sends(heard)
        self.balcony.client.getsBytes(heard)
        self.chamber.server.answersPing()
        said = chatState("composing", "", ORCHARD)
        self.balcony.client.sends(said)
        self.balcony.server.getsBytes(said)
        self.chamber.client.getsNothing()
        self.chamber.client.sends(ACTIVE)
        self.chamber.client.gets(carbon("received", heard, self.chamber.jid))
        sent = chatState("composing", self.balcony.jid, ORCHARD)
        self.chamber.client.gets(carbon("sent", sent, self.chamber.jid))

    def test_forks(self) -> None:
        """What is held has come: it is no copy's turn, and no line waits for it."""
        typing = chatState("composing", id="t1")
        self.balcony.server.sends(typing)
        self.balcony.client.getsBytes(typing)
        ping = self.chamber.server.gets(f"<iq type='get' id='*' to='{DOMAIN}'>*</iq>")
        self.chamber.server.sends(typing)
        said = message(body("She speaks"), ORCHARD, JULIET, id="m1")
        self.chamber.client.getsNothing()
        self.chamber.server.sends(said)
        for each in (presence(), typing, said):
            self.chamber.client.getsBytes(each)
        self.balcony.server.sends(said)
        self.balcony.client.getsBytes(said)
        self.chamber.server.answers(ping)
        self.balcony.server.answersPing()
        self.chamber.client.sends(ACTIVE)


class ServersCarbons(Conversation):
    """The server has carbons; whether a client is inactive is none of its business either."""

    def setUp(self) -> None:
        super().setUp()
        self.balcony = self.logsIn("balcony", carbons=True)
        self.chamber = self.logsIn("chamber", carbons=True)

    def test_carbons(self) -> None:
        """As they are for a client that asked, or as plain copies: typing waits for words."""
        wantsCarbons(self.chamber)
        for window in (self.balcony, self.chamber):
            inactive(window)
            heard = chatState("composing", to=f"{JULIET}/closet")
            window.server.sends(carbon("received", heard, window.jid))
            window.client.getsNothing()
            said = message(body("She speaks"), ORCHARD, f"{JULIET}/closet")
            window.server.sends(carbon("received", said, window.jid))
        self.balcony.client.gets(chatState("composing", to=self.balcony.jid))
        self.balcony.client.gets(message(body("She speaks"), ORCHARD, self.balcony.jid))
        for each in (heard, said):
            self.chamber.client.getsBytes(carbon("received", each, self.chamber.jid))
