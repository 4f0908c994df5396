"""
Tests of L{xmpproxy.mirror}, case by case: what is shown where, and where the limits are.

What holds whatever happens is in L{tests.test_mirror_properties}.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.messages import (
    ACTIVE,
    ENCRYPTION,
    MARKABLE,
    PRIVATE,
    RECEIPT_REQUEST,
    message,
    stanza,
)
from xmpproxy import carbons, ns
from xmpproxy.account import Accounts
from xmpproxy.barrier import GIVE_UP, Barrier
from xmpproxy.carbons import Decision, Direction
from xmpproxy.ids import Ids
from xmpproxy.line import Due, Line
from xmpproxy.mirror import Mirror
from xmpproxy.outbox import Outbox, Slot
from xmpproxy.seat import MOST_OWED, Seat
from xmpproxy.silence import Patience
from xmpproxy.stanza import Stanza

ACCOUNT = "juliet@example.com"
ROMEO = "romeo@example.net/orchard"
DELAY = f"<delay xmlns='{ns.DELAY}' stamp='2026-01-01T00:00:00Z'/>"


class Window(Seat):
    """
    A session whose barrier is the test's: L{passes} says when the server has handled everything.

    @ivar sent: what its client was sent.
    @ivar waiting: the numbers of credits whose barrier has not passed.
    """

    def __init__(self, mirror: Mirror, resource: str, mode: str = "prefix") -> None:
        self.sent: list[bytes] = []
        super().__init__(f"{ACCOUNT}/{resource}", self.sent.append, mode)
        self.interested = True
        self.mirror = mirror
        self.waiting: list[int] = []
        self.await_ = self.waiting.append
        mirror.join(self)

    def gets(self, *messages: Stanza) -> list[Decision]:
        """Messages come from the server."""
        return [self.mirror.received(self, each) for each in messages]

    def says(self, message: Stanza) -> Decision:
        """The client sends a message."""
        return self.mirror.sent(self, message)

    def passes(self, credits: int | None = None) -> None:
        """The server has handled what there was when these credits were given, or all were."""
        passed = self.waiting[:credits]
        del self.waiting[:credits]
        if passed:
            self.mirror.passed(self, passed[-1])

    def overdue(self) -> None:
        """The answer takes long."""
        self.mirror.overdue(self)

    @property
    def shows(self) -> list[str]:
        """The texts in its window, in order."""
        texts = [each.partition(b"<body>")[2].partition(b"</body>")[0] for each in self.sent]
        return [text.decode() for text in texts]


class Account(SynchronousTestCase):
    """An account with two windows, before a server without carbons."""

    def setUp(self) -> None:
        self.mirror = Mirror(Ids("proxy").make)
        self.balcony = self.window("balcony")
        self.chamber = self.window("chamber")

    def window(self, resource: str, mode: str = "prefix") -> Window:
        """One more."""
        return Window(self.mirror, resource, mode)


def incoming(
    body: str | None, *payload: str, to: str = ACCOUNT, from_: str = ROMEO, id: str | None = None
) -> Stanza:
    """A chat message for the account."""
    return message(body, *payload, from_=from_, to=to, type="chat", id=id)


class Forks(Account):
    """What is new, and what is one more fork."""

    def test_toOne(self) -> None:
        """A copy is shown once the server has handled everything that it had by then."""
        said = incoming("hi", to=self.balcony.jid)
        self.assertEqual(self.balcony.gets(said), [Decision(True, "chat")])
        self.assertEqual(self.balcony.sent, [said.data])
        self.assertEqual(self.chamber.sent, [])
        self.chamber.passes()
        self.assertEqual(self.chamber.shows, ["hi"])
        self.assertEqual((self.balcony.copied, self.chamber.copied), (0, 1))

    def test_toAll(self) -> None:
        """Each session shows the server's own bytes, and no copy."""
        forks = [incoming("hi", RECEIPT_REQUEST), incoming("hi", RECEIPT_REQUEST)]
        self.balcony.gets(forks[0])
        self.assertEqual(self.chamber.gets(forks[1]), [Decision(False, "fork")])
        self.chamber.passes()
        self.assertEqual(self.chamber.sent, [forks[1].data])
        self.assertEqual(self.balcony.waiting, [])
        self.assertEqual(self.chamber.copied, 0)
        self.assertFalse(self.chamber.owed)

    def test_ownAddresses(self) -> None:
        """A server may write each session's full JID into its fork."""
        for window in (self.balcony, self.chamber):
            window.gets(incoming("hi", to=window.jid))
        self.chamber.passes()
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["hi"], ["hi"]))

    def test_otherAddresses(self) -> None:
        """What is addressed to a session and to the account is not the same."""
        self.balcony.gets(incoming("hi", to=self.balcony.jid))
        self.chamber.gets(incoming("hi"))
        self.balcony.passes()
        self.chamber.passes()
        self.assertEqual(self.balcony.shows, ["hi", "hi"])
        self.assertEqual(self.chamber.shows, ["hi", "hi"])

    def test_differences(self) -> None:
        """Whatever else differs makes another message."""
        first = message("hi", from_=ROMEO, to=ACCOUNT, type="chat", id="1")
        for other in (
            message("hi", from_="romeo@example.net/tomb", to=ACCOUNT, type="chat", id="1"),
            message("hi", from_=ROMEO, to=ACCOUNT, type="chat", id="2"),
            message("hi", from_=ROMEO, to=ACCOUNT, type="chat"),
            message("hi", from_=ROMEO, to=ACCOUNT, id="1"),
            message("hi!", from_=ROMEO, to=ACCOUNT, type="chat", id="1"),
            message("hi", ACTIVE, from_=ROMEO, to=ACCOUNT, type="chat", id="1"),
            message("hi", "<x xmlns='urn:x' a='1'/>", from_=ROMEO, to=ACCOUNT, type="chat", id="1"),
        ):
            self.setUp()
            self.balcony.gets(first)
            self.assertEqual(
                self.chamber.gets(other)[0].reason,
                carbons.eligible(other, Direction.RECEIVED, ACCOUNT).reason,
            )

    def test_sameContent(self) -> None:
        """A server may write the same in another way, and may add a delay to what was held."""
        attributes = f"from='{ROMEO}' to='{ACCOUNT}' type='chat'"
        first = (
            f"<message {attributes}><body>a&amp;b</body><x xmlns='urn:x' a='1' b='2'/></message>"
        )
        for other in (
            f'<message type="chat" to="{ACCOUNT}" from="{ROMEO}" xml:lang="en"><body>a&amp;b</body>'
            '<x b="2" a="1" xmlns="urn:x"></x></message>',
            f"<message {attributes}>{DELAY}<body>a&#38;b</body><x xmlns='urn:x' a='1' b='2'/>"
            "</message>",
            f"<message {attributes}><body><![CDATA[a&b]]></body><y:x xmlns:y='urn:x' a='1' b='2'/>"
            f"{DELAY}</message>",
        ):
            self.setUp()
            self.balcony.gets(stanza(first))
            self.assertEqual(self.chamber.gets(stanza(other)), [Decision(False, "fork")])
            self.assertEqual(self.chamber.sent, [other.encode()])

    def test_suffix(self) -> None:
        """That a message ends like another says little."""
        self.balcony.gets(incoming("hi"))
        self.chamber.gets(stanza(incoming("hi").data.replace(b"<body>", b"<a/><body>", 1)))
        self.chamber.passes()
        self.assertEqual(len(self.chamber.sent), 2)

    def test_twice(self) -> None:
        """Two equal messages are two, wherever they are seen first."""
        self.balcony.gets(incoming("hi"), incoming("hi"))
        self.chamber.gets(incoming("hi"))
        self.chamber.passes(1)
        self.chamber.gets(incoming("hi"))
        self.chamber.passes()
        self.assertEqual(self.chamber.shows, ["hi", "hi"])
        self.assertEqual(self.balcony.shows, ["hi", "hi"])

    def test_oldestFirst(self) -> None:
        """
        A fork is of the oldest of equal messages that it can be of. Were it the youngest, the
        barrier of the oldest would let a copy through, and the next fork would find no credit.
        """
        self.balcony.gets(incoming("hi"), incoming("hi"))
        self.chamber.gets(incoming("hi"))
        self.chamber.passes(1)
        self.assertEqual(self.chamber.shows, ["hi"])
        self.assertEqual(self.chamber.gets(incoming("hi")), [Decision(False, "fork")])
        self.chamber.passes()
        self.assertEqual(self.chamber.shows, ["hi", "hi"])

    def test_afterTheBarrier(self) -> None:
        """What comes after that is another message."""
        self.balcony.gets(incoming("hi"))
        self.chamber.passes()
        self.chamber.gets(incoming("hi"))
        self.balcony.passes()
        self.assertEqual(self.chamber.shows, ["hi", "hi"])
        self.assertEqual(self.balcony.shows, ["hi", "hi"])

    def test_overdue(self) -> None:
        """A copy that could not wait stands for the fork that comes after all."""
        self.balcony.gets(incoming("hi"))
        self.chamber.overdue()
        self.assertEqual(self.chamber.shows, ["hi"])
        self.assertEqual(self.chamber.gets(incoming("hi", DELAY)), [Decision(False, "fork")])
        self.chamber.overdue()
        self.chamber.passes()
        self.assertEqual(self.chamber.shows, ["hi"])
        self.assertFalse(self.chamber.owed)

    def test_overdueWithoutCopy(self) -> None:
        """Where no copy was due and none was shown, the fork is."""
        self.balcony.gets(incoming("secret", ENCRYPTION))
        self.chamber.overdue()
        self.assertEqual(self.chamber.shows, [])
        self.chamber.gets(incoming("secret", ENCRYPTION))
        self.chamber.passes()
        self.assertEqual(self.chamber.shows, ["secret"])

    def test_notCopied(self) -> None:
        """What is not to be copied passes, as often as it comes, and nobody waits for it."""
        for said in (message("hi", type="headline"), incoming("hi", PRIVATE)):
            for window in (self.balcony, self.chamber):
                [decision] = window.gets(said)
                self.assertFalse(decision.copy)
                self.assertEqual(window.sent.pop(), said.data)
                self.assertEqual(window.waiting, [])


class Order(Account):
    """What waits for what."""

    def test_oneOrder(self) -> None:
        """Lines are in the order in which the mirror was told of them, in every window."""
        closet = self.window("closet")
        self.balcony.gets(incoming("1", to=self.balcony.jid))
        self.chamber.gets(incoming("2", to=self.chamber.jid))
        self.balcony.says(message("3", to=ROMEO, type="chat"))
        closet.gets(incoming("4"))
        for window in (closet, self.chamber, self.balcony):
            window.passes()
        self.assertEqual(closet.shows, ["1", "2", "me@balcony: 3", "4"])
        self.assertEqual(self.chamber.shows, closet.shows)
        self.assertEqual(self.balcony.shows, ["1", "2", "4"])

    def test_anyAnswerFirst(self) -> None:
        """A slot that is filled waits for those before it."""
        self.balcony.gets(incoming("1"), incoming("2"))
        self.chamber.gets(incoming("2"))
        self.assertEqual(self.chamber.shows, [])
        self.assertGreater(self.chamber.outbox.waiting, 0)
        self.chamber.gets(incoming("1"))
        self.assertEqual(self.chamber.shows, ["1", "2"])
        self.assertEqual(self.chamber.outbox.waiting, 0)

    def test_notCopied(self) -> None:
        """
        What is no line comes before the lines that are still to come on the same stream: that a
        sibling has them already is no reason to reorder what one sender wrote.
        """
        self.balcony.gets(incoming("1", PRIVATE), incoming("2"))
        self.chamber.gets(incoming("1", PRIVATE))
        self.assertEqual(self.chamber.shows, ["1"])
        self.chamber.gets(incoming("2"))
        self.assertEqual(self.chamber.shows, ["1", "2"])

    def test_behindWhatHasCome(self) -> None:
        """It never overtakes a line that came before it."""
        self.balcony.gets(incoming("1"))
        self.chamber.gets(incoming("2"), incoming("3", PRIVATE))
        self.assertEqual(self.chamber.shows, [])
        self.balcony.gets(incoming("4"))
        self.chamber.gets(incoming("5", PRIVATE))
        self.chamber.passes()
        self.assertEqual(self.chamber.shows, ["1", "2", "3", "5", "4"])


class Copies(Account):
    """Who is shown what, if the server does not send it."""

    def test_due(self) -> None:
        """By what the client wants, and what the message is."""
        plain = Line(incoming("hi"), Direction.RECEIVED, ROMEO)
        encrypted = Line(incoming("hi", ENCRYPTION), Direction.RECEIVED, ROMEO)
        own = Line(incoming("hi", from_=self.chamber.jid), Direction.RECEIVED, self.chamber.jid)
        for enabled, interested, line, due in (
            (False, False, plain, Due.NOTHING),
            (False, True, plain, Due.PLAIN_COPY),
            (True, False, plain, Due.CARBON),
            (True, True, plain, Due.CARBON),
            (False, True, encrypted, Due.NOTHING),
            (True, True, encrypted, Due.CARBON),
            (False, True, own, Due.NOTHING),
            (True, True, own, Due.NOTHING),
        ):
            self.chamber.carbons, self.chamber.interested = enabled, interested
            self.assertIs(self.chamber.due(line), due)

    def test_whenItWasNew(self) -> None:
        """What counts is what the client wanted when the message came."""
        closet = self.window("closet")
        closet.interested = False
        self.balcony.gets(incoming("hi"))
        self.chamber.interested, closet.interested = False, True
        self.chamber.passes()
        closet.passes()
        self.assertEqual((self.chamber.shows, closet.shows), (["hi"], []))

    def test_plainCopy(self) -> None:
        """The message itself for another reader, who is not to confirm it."""
        self.balcony.gets(incoming("hi", RECEIPT_REQUEST, MARKABLE, ACTIVE, id="1"))
        self.chamber.passes()
        [copy] = map(stanza, self.chamber.sent)
        self.assertEqual(
            dict(copy.attributes),
            {"from": ROMEO, "to": self.chamber.jid, "type": "chat", "id": "1"},
        )
        self.assertEqual(copy.children, ((ns.CLIENT, "body"), (ns.CHAT_STATES, "active")))

    def test_carbon(self) -> None:
        """All of it, in a carbon."""
        said = incoming("hi", RECEIPT_REQUEST, id="1")
        self.chamber.carbons = True
        self.balcony.gets(said)
        self.chamber.passes()
        [carbon] = map(stanza, self.chamber.sent)
        self.assertEqual(carbon.attributes["to"], self.chamber.jid)
        direction, inner = carbons.unwrap(carbon, ACCOUNT)
        self.assertIs(direction, Direction.RECEIVED)
        self.assertEqual(inner.attributes["to"], ACCOUNT)
        self.assertEqual(inner.children, said.children)

    def test_readers(self) -> None:
        """Copies of one message differ in whom they are for, however its address is written."""
        names = ("a", "O'Neil", 'the "big" one', "<&>", "prefix {0}", "\N{DELETE}é")
        windows = [self.window(name) for name in names]
        for carbon in (False, True):
            for window in windows:
                window.carbons = carbon
            self.balcony.gets(incoming("hi"))
            self.balcony.says(message("hi", to=ROMEO))
            for window in windows:
                window.passes()
                for copy in map(stanza, window.sent):
                    self.assertEqual(copy.attributes["to"], window.jid)
                self.assertEqual(len(window.sent), 2)
                window.sent.clear()

    def test_modes(self) -> None:
        """Each session has its own way to show what a sibling sent."""
        own, off = self.window("own", "self"), self.window("off", "off")
        wanted = self.window("wanted")
        wanted.carbons = True
        said = message("hi", to=ROMEO, type="chat", id="1")
        self.assertEqual(self.balcony.says(said), Decision(True, "chat"))
        self.assertEqual(self.chamber.shows, ["me@balcony: hi"])
        self.assertEqual(own.shows, ["hi"])
        self.assertEqual(stanza(own.sent[0]).attributes["from"], self.balcony.jid)
        self.assertEqual(off.shows, [])
        direction, inner = carbons.unwrap(stanza(wanted.sent[0]), ACCOUNT)
        self.assertIs(direction, Direction.SENT)
        self.assertEqual(
            (inner.attributes["from"], inner.attributes["to"], inner.id),
            (self.balcony.jid, ROMEO, "1"),
        )
        self.assertEqual([w.copied for w in (self.chamber, own, off, wanted)], [1, 1, 0, 1])

    def test_ownIds(self) -> None:
        """Plain copies of sent messages have ids that are ours, another for each message."""
        ids = Ids()
        self.mirror = Mirror(ids.make)
        balcony, chamber = self.window("balcony"), self.window("chamber")
        for _ in range(2):
            balcony.says(message("hi", to=ROMEO, id="1"))
        first, second = (stanza(copy).id for copy in chamber.sent)
        self.assertNotEqual(first, second)
        self.assertTrue(ids.made(first) and ids.made(second))

    def test_notShown(self) -> None:
        """What is sent and not for others: reasons as for what comes in."""
        for said in (
            message("hi", to=ROMEO, type="groupchat"),
            message("hi", PRIVATE, to=ROMEO),
            message(None, "<x xmlns='urn:x'/>", to=ROMEO),
        ):
            self.assertEqual(
                self.balcony.says(said), carbons.eligible(said, Direction.SENT, ACCOUNT)
            )
        self.balcony.says(message("?OTR:AAMC", to=ROMEO))
        self.balcony.says(message(None, ACTIVE, to=ROMEO, type="chat"))
        self.assertEqual(self.chamber.sent, [])

    def test_toOneself(self) -> None:
        """What one writes to oneself comes back from the server, and not to where it was typed."""
        for to in (None, ACCOUNT, ACCOUNT.upper(), self.chamber.jid):
            said = message("hi", to=to, type="chat")
            self.assertEqual(self.balcony.says(said), Decision(False, "to oneself"))
        self.assertEqual(self.chamber.sent, [])
        closet = self.window("closet")
        self.chamber.gets(incoming("hi", from_=self.balcony.jid, to=self.chamber.jid))
        closet.passes()
        self.balcony.passes()
        self.assertEqual((closet.shows, self.balcony.shows), (["hi"], []))

    def test_wasShown(self) -> None:
        """Errors can be told to answer a copy, not the message itself."""
        self.balcony.gets(incoming("1", id="1"), incoming("2", id="2"))
        self.chamber.gets(incoming("2", id="2"))
        self.assertFalse(self.chamber.wasShown(ROMEO, "1"))
        self.chamber.passes()
        self.assertTrue(self.chamber.wasShown(ROMEO, "1"))
        self.assertFalse(self.chamber.wasShown(ROMEO, "2"))
        self.assertFalse(self.chamber.wasShown("nurse@example.com", "1"))
        self.assertFalse(self.balcony.wasShown(ROMEO, "1"))

    def test_wasShownForAWhile(self) -> None:
        """Not all copies are remembered for ever."""
        for n in range(1000):
            self.balcony.gets(incoming("hi", id=str(n)))
        self.chamber.passes()
        self.assertTrue(self.chamber.wasShown(ROMEO, "999"))
        self.assertFalse(self.chamber.wasShown(ROMEO, "0"))


class ComingAndGoing(Account):
    """Sessions join and leave."""

    def test_alone(self) -> None:
        """With one session there is nothing to decide."""
        self.mirror.leave(self.chamber)
        self.assertEqual(self.balcony.gets(incoming("hi")), [Decision(False, "alone")])
        self.assertEqual(self.balcony.says(message("hi", to=ROMEO)), Decision(False, "alone"))
        self.assertEqual((self.balcony.shows, self.chamber.sent), (["hi"], []))

    def test_noHistory(self) -> None:
        """Who joins is owed nothing that was seen before."""
        self.balcony.gets(incoming("hi"))
        closet = self.window("closet")
        self.chamber.gets(incoming("hi"))
        self.chamber.passes()
        self.assertEqual((closet.waiting, closet.sent), ([], []))

    def test_rejoins(self) -> None:
        """Not even who was there, with the same resource."""
        self.balcony.gets(incoming("hi"))
        self.mirror.leave(self.chamber)
        chamber = self.window("chamber")
        self.assertFalse(chamber.owed)
        self.balcony.gets(incoming("you"))
        chamber.passes()
        self.assertEqual(chamber.shows, ["you"])

    def test_lastFork(self) -> None:
        """A fork is one even if the session that had the first is gone."""
        self.balcony.gets(incoming("hi"))
        self.mirror.leave(self.balcony)
        self.assertEqual(self.chamber.gets(incoming("hi")), [Decision(False, "fork")])
        self.chamber.passes()
        self.assertEqual(self.chamber.shows, ["hi"])

    def test_leaving(self) -> None:
        """
        A session whose client is gone stays until its upstream is closed: what comes for it alone
        is shown by the others, and what comes for all is known.
        """
        self.chamber.gets(incoming("for chamber", to=self.chamber.jid))
        self.balcony.passes()
        self.balcony.gets(incoming("for all"))
        self.assertEqual(self.chamber.gets(incoming("for all")), [Decision(False, "fork")])
        self.mirror.leave(self.chamber)
        self.assertEqual(self.balcony.shows, ["for chamber", "for all"])


class ServerWithCarbons(Account):
    """Some or all sessions have the server's carbons."""

    def test_all(self) -> None:
        """The server decides: forks pass as they come, and nobody waits."""
        self.balcony.served = self.chamber.served = True
        for window in (self.balcony, self.chamber):
            self.assertEqual(window.gets(incoming("hi")), [Decision(False, "alone")])
        self.assertEqual(self.balcony.says(message("hi", to=ROMEO)), Decision(False, "alone"))
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["hi"], ["hi"]))
        self.assertEqual(self.balcony.waiting + self.chamber.waiting, [])

    def test_some(self) -> None:
        """The others get copies, and forks for those that have carbons are not new to them."""
        self.chamber.served = True
        self.balcony.gets(incoming("hi"))
        self.assertEqual(self.chamber.gets(incoming("hi")), [Decision(False, "fork")])
        self.chamber.gets(incoming("you", to=self.chamber.jid))
        self.balcony.passes()
        self.assertEqual(self.balcony.shows, ["hi", "you"])
        self.balcony.gets(incoming("there", to=self.balcony.jid))
        self.chamber.passes()
        self.assertEqual(self.chamber.shows, ["hi", "you"])

    def test_sent(self) -> None:
        """The server's carbons tell of what is sent, where there are any."""
        self.chamber.served = True
        self.chamber.says(message("1", to=ROMEO))
        self.balcony.says(message("2", to=ROMEO))
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["me@chamber: 1"], []))


class CarbonsForSome(Account):
    """
    The server sends its carbons to the chamber only. What it shows there, of sessions that do not
    go through the proxy too, the balcony is to see as well.
    """

    def setUp(self) -> None:
        super().setUp()
        self.chamber.served = True

    def carbon(self, window: Window, said: Stanza, direction: Direction) -> Decision:
        """The server sends a carbon."""
        sender = said.attributes.get("from")
        wrapped = stanza(carbons.wrap(said, direction, ACCOUNT, window.jid, sender))
        return self.mirror.carbon(window, wrapped, *carbons.unwrap(wrapped, ACCOUNT))

    def test_received(self) -> None:
        """A carbon is a fork like any other: of what the balcony got, ..."""
        said = incoming("hi", to=self.balcony.jid)
        self.balcony.gets(said)
        self.assertFalse(self.carbon(self.chamber, said, Direction.RECEIVED).copy)
        self.chamber.passes()
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["hi"], ["hi"]))

    def test_receivedFirst(self) -> None:
        """... or of what it will get, ..."""
        said = incoming("hi", to=self.balcony.jid)
        self.assertTrue(self.carbon(self.chamber, said, Direction.RECEIVED).copy)
        self.balcony.gets(said)
        self.balcony.passes()
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["hi"], ["hi"]))

    def test_receivedElsewhere(self) -> None:
        """... or of what neither gets."""
        self.carbon(self.chamber, incoming("hi", to=f"{ACCOUNT}/mobile"), Direction.RECEIVED)
        self.balcony.passes()
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["hi"], ["hi"]))

    def test_addressRewritten(self) -> None:
        """ejabberd, if the resource is gone: carbons keep its address, direct messages do not."""
        self.balcony.gets(incoming("hi", to=self.balcony.jid))
        self.carbon(self.chamber, incoming("hi", to=f"{ACCOUNT}/gone"), Direction.RECEIVED)
        self.chamber.passes()
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["hi"], ["hi"]))

    def test_sentElsewhere(self) -> None:
        """What a session beyond the proxy said is shown once, however many carbons tell of it."""
        closet = self.window("closet")
        closet.served = True
        said = message("hi", from_=f"{ACCOUNT}/mobile", to=ROMEO, type="chat", id="1")
        for window in (self.chamber, closet):
            self.carbon(window, said, Direction.SENT)
        for window in (self.balcony, self.chamber, closet):
            window.passes()
            self.assertEqual(window.shows, ["me@mobile: hi"])

    def test_sentHere(self) -> None:
        """What one of these sessions said was shown when it did."""
        said = message("hi", to=ROMEO, type="chat", id="1", from_=f"{ACCOUNT}/closet")
        closet = self.window("closet")
        closet.says(said)
        self.carbon(self.chamber, said, Direction.SENT)
        for window in (self.balcony, self.chamber):
            window.passes()
            self.assertEqual(window.shows, ["me@closet: hi"])

    def test_servedAfterAll(self) -> None:
        """A server that enables carbons late sends them where copies are due: one is shown."""
        said = incoming("hi", to=self.chamber.jid)
        self.balcony.asked = True
        self.chamber.gets(said)
        self.carbon(self.balcony, said, Direction.RECEIVED)
        self.balcony.passes()
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["hi"], ["hi"]))

    def test_stored(self) -> None:
        """
        What a server had stored it brings to one session, some without carbons for the others, and
        some with.
        """
        self.balcony.served = True
        self.balcony.gets(incoming("1", DELAY), incoming("2", DELAY))
        self.carbon(self.chamber, incoming("1", DELAY), Direction.RECEIVED)
        self.chamber.passes()
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["1", "2"], ["1", "2"]))
        self.assertIn(b"<delay", self.chamber.sent[-1])

    def test_resent(self) -> None:
        """What comes again on a stream that was resumed is not such: there are carbons of it."""
        for window in (self.balcony, self.chamber):
            window.served = True
        for mark in (
            f"<delay xmlns='{ns.DELAY}' from='{ACCOUNT}' stamp='2026-01-01T00:00:00Z'/>",
            f"<delay xmlns='{ns.DELAY}' from='x' stamp='2026-01-01T00:00:00Z'>Resent</delay>",
        ):
            self.balcony.gets(incoming("1", mark))
            self.assertFalse(self.chamber.owed)
        self.balcony.gets(incoming("2", mark + DELAY))
        self.assertTrue(self.chamber.owed)


class KnownServer(Account):
    """The server was seen to leave C{to} as it was written."""

    def setUp(self) -> None:
        super().setUp()
        for window in (self.balcony, self.chamber):
            window.gets(incoming("first"))
        self.chamber.passes()

    def test_atOnce(self) -> None:
        """A message with a full JID went nowhere else: nobody waits."""
        self.balcony.gets(incoming("hi", to=self.balcony.jid))
        self.assertEqual(self.chamber.shows, ["first", "hi"])
        self.chamber.passes()
        self.assertFalse(self.chamber.owed)

    def test_inOrder(self) -> None:
        """But behind what waits already."""
        self.balcony.gets(incoming("1"), incoming("2", to=self.balcony.jid))
        self.assertEqual(self.chamber.shows, ["first"])
        self.chamber.passes(1)
        self.assertEqual(self.chamber.shows, ["first", "1", "2"])

    def test_notReally(self) -> None:
        """
        A server may make an exception (ejabberd, if the resource is gone): the fork is not shown
        again, and from then on everybody waits.
        """
        for window in (self.balcony, self.chamber):
            window.gets(incoming("hi", to=window.jid))
        self.chamber.passes()
        self.assertEqual(self.chamber.shows, ["first", "hi"])
        self.balcony.gets(incoming("you", to=self.balcony.jid))
        self.assertEqual(self.chamber.shows, ["first", "hi"])
        self.chamber.passes()
        self.assertEqual(self.chamber.shows, ["first", "hi", "you"])

    def test_stored(self) -> None:
        """A server may leave the address of what it had stored, and of nothing else (jabberd2)."""
        mirror = Mirror(Ids("proxy").make)
        window, other = Window(mirror, "balcony"), Window(mirror, "chamber")
        window.gets(incoming("old", DELAY), incoming("hi", to=window.jid))
        self.assertEqual(other.shows, [])


class Bounds(Account):
    """How much is remembered."""

    def test_mostOwed(self) -> None:
        """
        If more may still come than a session can be owed, the oldest is given up: its copy is
        shown.
        """
        self.balcony.gets(*(incoming(str(n)) for n in range(MOST_OWED + 2)))
        self.assertEqual(self.chamber.shows, ["0", "1"])
        self.chamber.gets(incoming("2"), incoming("0"))
        self.assertEqual(self.chamber.shows, ["0", "1", "2"])
        self.chamber.passes()
        self.assertEqual(self.chamber.shows, [str(n) for n in range(MOST_OWED + 2)] + ["0"])

    def test_errors(self) -> None:
        """Of errors that answer an old message nobody can tell that they do."""
        self.chamber.carbons = True
        for n in range(300):
            self.balcony.says(message("hi", to=ROMEO, id=str(n)))
        for id, copied in (("0", False), ("299", True)):
            error = message(None, from_=ROMEO, to=self.balcony.jid, type="error", id=id)
            self.assertEqual([each.copy for each in self.balcony.gets(error)], [copied])


class Corrections(Account):
    """XEP-0308: who was shown a copy is shown that it is corrected, and which."""

    def says(self, text: str, id: str, corrects: str = "") -> None:
        """The balcony says something."""
        replace = f"<replace xmlns='{ns.CORRECTION}' id='{corrects}'/>" if corrects else ""
        self.balcony.says(message(text, replace, to=ROMEO, id=id))

    def last(self, window: Window) -> tuple[str, str | None]:
        """Id and corrected id of what a window showed last."""
        element = stanza(window.sent[-1]).element
        replaced = [each["id"] for each in element.elements(ns.CORRECTION, "replace")]
        return element["id"], replaced[0] if replaced else None

    def test_copies(self) -> None:
        """The copy of a correction corrects the copy of the line."""
        self.says("hi", "1")
        first, none = self.last(self.chamber)
        self.assertIsNone(none)
        self.says("ho", "2", "1")
        second, corrected = self.last(self.chamber)
        self.assertEqual(corrected, first)
        self.says("ha", "3", "2")
        self.assertEqual(self.last(self.chamber)[1], second)

    def test_neverShown(self) -> None:
        """Who was not shown the line is shown the correction as a line, beside who was."""
        self.says("hi", "1")
        closet = self.window("closet")
        self.says("ho", "2", "1")
        self.assertIsNone(self.last(closet)[1])
        self.assertIsNotNone(self.last(self.chamber)[1])
        self.says("hu", "3", "of another")
        self.assertIsNone(self.last(self.chamber)[1])

    def test_another(self) -> None:
        """Ids are of the session that sent them."""
        self.says("hi", "1")
        closet = self.window("closet")
        replace = f"<replace xmlns='{ns.CORRECTION}' id='1'/>"
        closet.says(message("ho", replace, to=ROMEO, id="2"))
        self.assertIsNone(self.last(self.chamber)[1])

    def test_forAWhile(self) -> None:
        """What was shown long ago is forgotten."""
        for n in range(200):
            self.says("hi", str(n))
        self.says("ho", "200", "0")
        self.assertIsNone(self.last(self.chamber)[1])
        self.says("ho", "201", "199")
        self.assertIsNotNone(self.last(self.chamber)[1])


class KnownLimits(Account):
    """What the documents say does not work. Should it ever, they have to be changed."""

    def test_identicalToDifferentSessions(self) -> None:
        """
        Messages without id that are identical but for the session they are addressed to look like
        forks from a server that writes full JIDs: within one round trip, one is lost.
        """
        for window in (self.balcony, self.chamber):
            window.gets(incoming("hi", to=window.jid))
        self.balcony.passes()
        self.chamber.passes()
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["hi"], ["hi"]))

    def test_notSoWithIds(self) -> None:
        """An id is enough to tell them apart ..."""
        for window in (self.balcony, self.chamber):
            window.gets(incoming("hi", to=window.jid, id=window.jid))
        self.balcony.passes()
        self.chamber.passes()
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["hi"] * 2, ["hi"] * 2))

    def test_notSoLater(self) -> None:
        """... and so is a round trip."""
        self.balcony.gets(incoming("hi", to=self.balcony.jid))
        self.chamber.passes()
        self.chamber.gets(incoming("hi", to=self.chamber.jid))
        self.balcony.passes()
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["hi"] * 2, ["hi"] * 2))

    def test_otherOrderThanTheSenders(self) -> None:
        """
        The windows agree, but who writes to a session and to the account in turns may find his
        lines in another order: C{1} was for one session, and that stream was the slower one.
        """
        first, second = incoming("1", to=self.balcony.jid), incoming("2")
        self.chamber.gets(second)
        self.balcony.gets(first, second)
        self.chamber.passes()
        self.assertEqual((self.balcony.shows, self.chamber.shows), (["2", "1"], ["2", "1"]))

    def test_noAnswerForAMinute(self) -> None:
        """A fork that comes when nobody expects the ping's answer any more is shown again."""
        clock = Clock()
        barrier = Barrier(
            lambda answered: None,
            clock,
            partial(self.mirror.passed, self.chamber),
            partial(self.mirror.overdue, self.chamber),
        )
        self.chamber.await_ = barrier.wait
        self.balcony.gets(incoming("hi"))
        clock.pump([1] * int(GIVE_UP))
        self.chamber.gets(incoming("hi"))
        self.assertEqual(self.chamber.shows, ["hi", "hi"])


class Output(SynchronousTestCase):
    """L{Outbox} alone."""

    def setUp(self) -> None:
        self.written: list[bytes] = []
        self.outbox = Outbox(self.written.append)

    def test_open(self) -> None:
        """Without open slots everything is written at once."""
        self.outbox.append(b"a")
        self.outbox.put(b"b")
        self.assertEqual(self.written, [b"a", b"b"])
        self.assertEqual(self.outbox.waiting, 0)

    def test_slots(self) -> None:
        """Slots are written in their order, with what is behind them; empty ones not at all."""
        first, second, third = Slot(), Slot(), Slot()
        for slot in (first, second):
            self.outbox.reserve(slot)
        self.outbox.append(b"line")
        self.outbox.reserve(third)
        self.outbox.fill(second, b"2")
        self.assertEqual((self.written, self.outbox.waiting), ([], 5))
        self.outbox.fill(first, b"")
        self.assertEqual((self.written, self.outbox.waiting), ([b"2", b"line"], 0))
        self.outbox.fill(third, b"3")
        self.assertEqual((self.written, self.outbox.waiting), ([b"2", b"line", b"3"], 0))

    def test_put(self) -> None:
        """What is no line goes before open slots, as far as nothing came before it."""
        first, second = Slot(), Slot()
        self.outbox.reserve(first)
        self.outbox.put(b"a")
        self.assertEqual(self.written, [b"a"])
        self.outbox.append(b"line")
        self.outbox.reserve(second)
        self.outbox.put(b"b")
        self.outbox.put(b"c")
        self.assertEqual((self.written, self.outbox.waiting), ([b"a"], 6))
        self.outbox.fill(first, b"1")
        self.assertEqual(self.written, [b"a", b"1", b"line", b"b", b"c"])
        self.outbox.fill(second, b"2")
        self.assertEqual(self.written[5:], [b"2"])
        self.assertEqual(self.outbox.waiting, 0)


class Recorder:
    """A session that an account can flush."""

    counted = waiting = 0

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def flushUpstream(self) -> None:
        self.log.append(f"{self.name} up")

    def flushDownstream(self) -> None:
        self.log.append(f"{self.name} down")

    def look(self, patience: Patience) -> None:
        raise NotImplementedError

    def makeRoom(self, text: str) -> None:
        raise NotImplementedError


class AccountTests(SynchronousTestCase):
    """L{xmpproxy.account}"""

    def setUp(self) -> None:
        self.log: list[str] = []
        self.accounts = Accounts(Ids())
        self.one, self.other = Recorder("one", self.log), Recorder("other", self.log)

    def test_sessions(self) -> None:
        """An account is there as long as it has sessions."""
        account = self.accounts.join(ACCOUNT, self.one)
        self.assertIs(self.accounts.join(ACCOUNT, self.other), account)
        nurse = self.accounts.join("nurse@example.com", self.one)
        self.assertEqual(list(self.accounts), [account, nurse])
        self.assertIsNot(account.mirror, nurse.mirror)
        self.accounts.leave(account, self.one)
        self.assertEqual(account.sessions, [self.other])
        self.accounts.leave(account, self.other)
        self.assertEqual(list(self.accounts), [nurse])
        self.assertIsNot(self.accounts.join(ACCOUNT, self.one), account)

    def test_serversFirst(self) -> None:
        """What goes to the server is written before any client hears of it."""
        account = self.accounts.join(ACCOUNT, self.one)
        account.mark(self.one)
        account.mark(self.other)
        account.flush()
        self.assertEqual(self.log, ["one up", "other up", "one down", "other down"])
        account.flush()
        self.assertEqual(len(self.log), 4)

    def test_whileFlushing(self) -> None:
        """What is gathered in the meantime is written as well."""
        account = self.accounts.join(ACCOUNT, self.one)
        self.one.flushUpstream = lambda: account.mark(self.other)  # type: ignore[method-assign]
        account.mark(self.one)
        account.flush()
        self.assertEqual(self.log, ["one down", "other up", "other down"])


class IdTests(SynchronousTestCase):
    """L{xmpproxy.ids}"""

    def test_made(self) -> None:
        """It knows its own, and those only."""
        ids = Ids()
        mine = [ids.make() for _ in range(1000)]
        self.assertEqual(len(set(mine)), 1000)
        self.assertTrue(all(map(ids.made, mine)))
        for other in (None, "", "1", Ids().make(), mine[0].partition(".")[0], "x" + mine[0]):
            self.assertFalse(ids.made(other), other)

    def test_unguessable(self) -> None:
        """There are 96 random bits in each process's ids."""
        tokens = {Ids().make().rpartition(".")[0] for _ in range(100)}
        self.assertEqual(len(tokens), 100)
        self.assertTrue(all(len(token) == 16 for token in tokens))
