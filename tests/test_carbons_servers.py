"""
XEP-0280, Message Carbons, row by row on the wire: real servers, the proxy before them.

Two who can do the carbons. Where the server has them, the proxy has the server do it (L{served}):
Prosody and ejabberd as they come. Elsewhere the proxy does: before jabberd2, and before Prosody and
ejabberd with theirs switched off. Where a server departs from the XEP, the test's docstring says
how, and the test asserts what that server really gives.

Alice talks to Bob, who is at C{home}; his client C{away} has enabled carbons, and C{plain} has
never heard of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Literal, NamedTuple

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.words.xish.domish import Element

from tests.messages import (
    ACTIVE,
    ENCRYPTION,
    MARKABLE,
    PRIVATE,
    RECEIPT_REQUEST,
    message,
)
from tests.rawclient import RawClient, bodyOf
from tests.servers import Proxy, ServerCase, Table, onServers
from tests.slixclient import SlixClient
from xmpproxy import ns

BLOCKING = "urn:xmpp:blocking"
PUBSUB = "http://jabber.org/protocol/pubsub"
ROSTER = "jabber:iq:roster"
STANZA_IDS = "urn:xmpp:sid:0"
TUNE = "http://jabber.org/protocol/tune"

DELAY = (ns.DELAY, "delay")
STANZA_ID = (STANZA_IDS, "stanza-id")

ENABLE = f"<enable xmlns='{ns.CARBONS}'/>"
DISABLE = f"<disable xmlns='{ns.CARBONS}'/>"
NO_COPY = f"<no-copy xmlns='{ns.HINTS}'/>"
RECEIPT = f"<received xmlns='{ns.RECEIPTS}' id='1'/>"
MARKER = f"<displayed xmlns='{ns.CHAT_MARKERS}' id='1'/>"
CORRECTION = f"<replace xmlns='{ns.CORRECTION}' id='1'/>"
REACTIONS = f"<reactions xmlns='{ns.REACTIONS}' id='1'><reaction>\N{WAVING HAND SIGN}</reaction>"
REACTIONS += "</reactions>"
RETRACTION = f"<retract xmlns='{ns.RETRACTION[1]}' id='1'/>"
PROPOSE = f"<propose xmlns='{ns.JINGLE_MESSAGE}' id='1'/>"
OMEMO = f"<encrypted xmlns='{ns.OMEMO[0]}'><header sid='1'/></encrypted>"
DIRECT_INVITATION = f"<x xmlns='{ns.CONFERENCE}' jid='room@muc.example.com'/>"
MEDIATED_INVITATION = f"<x xmlns='{ns.MUC_USER}'><invite from='crone@example.com/desk'/></x>"
ROOM = f"<x xmlns='{ns.MUC_USER}'/>"
THREAD = "<thread>0e3141cd80894871a68e6fe6b1ec56fa</thread>"
BOUNCE = f"<error type='cancel'><service-unavailable xmlns='{ns.STANZA_ERRORS}'/></error>"

Client = RawClient | SlixClient
Way = Literal["direct", "received", "sent"]

#: Decorators: every server, and the proxy before those that do carbons and those that do not; the
#: proxy alone; the server alone.
everywhere = onServers("prosody", "ejabberd", "jabberd2", withoutCarbons=("prosody", "ejabberd"))
byProxy = onServers("jabberd2", withoutCarbons=("prosody", "ejabberd"))
byServer = onServers("prosody", "ejabberd")


class Shown(NamedTuple):
    """
    A message that a client was sent.

    @ivar way: as it is, or in a carbon, and in which.
    @ivar message: the message itself.
    @ivar wrapper: the carbon around it.
    """

    way: Way
    message: Element
    wrapper: Element | None


def shown(client: Client) -> list[Shown]:
    """Every message that a client was sent, in order."""
    if isinstance(client, SlixClient):
        messages = client.messages
    else:
        messages = [each for each in client.received if each.name == "message"]
    return [_shown(each) for each in messages]


def _shown(element: Element) -> Shown:
    for child in element.elements():
        if child.uri == ns.CARBONS and child.name in ("received", "sent"):
            [forwarded] = child.elements()
            [inner] = forwarded.elements()
            way: Way = "received" if child.name == "received" else "sent"
            return Shown(way, inner, element)
    return Shown("direct", element, None)


def about(client: Client, name: str) -> list[Shown]:
    """
    What a client was sent of one message: that has this as its id, or as (the end of) its body,
    because the copy of a sent message is prefixed.
    """
    return [
        each
        for each in shown(client)
        if each.message.getAttribute("id") == name
        or (bodyOf(each.message) or "").rpartition(": ")[2] == name
    ]


def ways(client: Client, name: str) -> list[Way]:
    """In which ways a client was shown one message."""
    return [each.way for each in about(client, name)]


def full(client: Client) -> str:
    """A client's full JID."""
    return client.jid if isinstance(client, SlixClient) else client.jid.full()


def bare(client: Client) -> str:
    """A client's bare JID."""
    return full(client).partition("/")[0]


def identified(id: str) -> Callable[[Element], bool]:
    """A predicate for stanzas, by their id."""
    return lambda element: bool(element.getAttribute("id") == id)


def tags(element: Element) -> list[tuple[str | None, str]]:
    """The names of an element's children."""
    return [(child.uri, child.name) for child in element.elements()]


def condition(stanza: Element) -> str | None:
    """The condition of an error stanza (RFC 6120, section 8.3.3)."""
    for error in stanza.elements():
        if error.name == "error":
            return next((each.name for each in error.elements() if each.name != "text"), None)
    return None


def stamps(shown: Shown) -> list[str]:
    """The ids that the account itself claims to have given to a message (XEP-0359)."""
    wrapper = shown.wrapper if shown.wrapper is not None else shown.message
    account = wrapper["to"].partition("/")[0]
    return [
        child["id"]
        for child in shown.message.elements()
        if (child.uri, child.name) == STANZA_ID and child["by"] == account
    ]


class Scene(NamedTuple):
    """Those who talk: Alice, and Bob's three clients."""

    alice: RawClient
    home: RawClient
    away: Client
    plain: RawClient


class CarbonsCase(ServerCase):
    """Clients of accounts that are new in each test, through one proxy."""

    proxy: Proxy | None = None
    mirror: ClassVar[Table] = {}

    @property
    def served(self) -> bool:
        """Whether the server does the carbons."""
        return self.carbons and self.kind in ("prosody", "ejabberd")

    async def open(self, **tables: Table) -> None:
        """Start the proxy, unless it runs, and get to know two people."""
        if self.proxy is None:
            self.proxy = await self.proxyFor(self.server, mirror=self.mirror, **tables)
        self.alice, self.bob = self.stranger(), self.stranger()
        self.bobJid = f"{self.bob}@{self.server.domain}"
        self.aliceJid = f"{self.alice}@{self.server.domain}"

    async def client(
        self,
        user: str,
        resource: str,
        carbons: bool = False,
        priority: int | None = 0,
        straight: bool = False,
    ) -> RawClient:
        """
        A client that has logged in.

        @param priority: L{None} for one that sends no presence.
        @param straight: it connects to the server instead of to the proxy.
        """
        client = self.rawClient(user, resource, None if straight else self.proxy)
        await client.login(priority=priority)
        if carbons:
            self.assertEqual((await client.enableCarbons())["type"], "result")
        return client

    async def library(self, user: str, resource: str, carbons: bool = True) -> SlixClient:
        """A client made with slixmpp that has logged in."""
        client = self.slixClient(user, resource, self.proxy)
        await client.login()
        if carbons:
            self.assertTrue(await client.enableCarbons())
        return client

    async def scene(self, home: bool = False, library: bool = False) -> Scene:
        """
        Everybody on stage.

        @param home: whether Bob's client at home has enabled carbons, too.
        @param library: whether the one away is made with slixmpp.
        """
        await self.open()
        return Scene(
            await self.client(self.alice, "desk"),
            await self.client(self.bob, "home", home),
            await (
                self.library(self.bob, "away") if library else self.client(self.bob, "away", True)
            ),
            await self.client(self.bob, "plain"),
        )

    async def settle(self, *clients: Client) -> None:
        """
        Wait until nothing is under way: the server has handled all that these have sent, and each
        has got all that this caused.
        """
        try:
            for client in clients * 2:
                await client.sync()
        except Exception as e:
            assert self.proxy is not None
            raise AssertionError(f"{e!r}, and the proxy says:\n{self.proxy.log}") from e

    def assertWays(self, name: str, expected: Iterable[tuple[Client, Sequence[Way]]]) -> None:
        """These clients were shown a message in just these ways."""
        for client, expectation in expected:
            found = ways(client, name)
            self.assertEqual(found, list(expectation), f"{name!r} at {full(client)}")

    def assertShownOnce(self, name: str, *clients: Client) -> None:
        """These clients were shown a message exactly once, in whatever way."""
        for client in clients:
            found = ways(client, name)
            self.assertEqual(len(found), 1, f"{name!r} at {full(client)}: {found}")

    def assertCarbon(self, carbon: Shown, client: Client, direct: Shown) -> None:
        """The wrapper's attributes are the XEP's, and nothing of the message got lost."""
        assert carbon.wrapper is not None
        attributes = carbon.wrapper.attributes
        self.assertEqual(attributes["from"], bare(client))
        self.assertEqual(attributes["to"], full(client))
        self.assertEqual(attributes["type"], "chat")
        self.assertEqual(len(list(carbon.wrapper.elements())), 1)
        inner = carbon.message
        self.assertEqual(inner.uri, ns.CLIENT)
        for name in ("from", "to", "type", "id"):
            self.assertEqual(inner.getAttribute(name), direct.message.getAttribute(name), name)
        self.assertEqual(sorted(tags(inner)), sorted(tags(direct.message)))
        for child in ("body", "thread"):
            texts = [
                [str(each) for each in element.elements() if each.name == child]
                for element in (inner, direct.message)
            ]
            self.assertEqual(texts[0], texts[1])


@everywhere
class Discovering(CarbonsCase):
    """Section 3, Discovering Support."""

    async def test_features(self) -> None:
        """
        Who does the carbons says so: the server in its own words, the proxy by adding its features
        to what server and account list otherwise.
        """
        await self.open()
        client = await self.client(self.bob, "home")
        straight = await self.client(self.bob, "straight", straight=True)
        ours = {ns.CARBONS, ns.CARBONS_RULES}
        for to in (self.server.domain, self.bobJid, ""):
            listed, real = await self.features(client, to), await self.features(straight, to)
            self.assertEqual(real - listed, set(), to)
            self.assertEqual(listed & ours, real & ours if self.served else ours, to)
        self.assertIn(ns.CARBONS, await self.features(client, self.server.domain))

    async def features(self, client: RawClient, to: str) -> set[str]:
        answer = await client.iq("get", f"<query xmlns='{ns.DISCO_INFO}'/>", to)
        return {
            feature["var"]
            for query in answer.elements()
            for feature in query.elements()
            if feature.name == "feature"
        }


@everywhere
class Enabling(CarbonsCase):
    """Sections 4, Enabling Carbons, 5, Disabling Carbons, and 10.1, Multiple Requests."""

    async def test_anyNumberOfTimes(self) -> None:
        """
        Each request is granted, and from then on copies come in the form it asks for.

        The first comes before the client's presence. ejabberd makes no carbons for such a client.
        """
        await self.open()
        alice = await self.client(self.alice, "desk")
        home = await self.client(self.bob, "home")
        asking = await self.client(self.bob, "asking", priority=None)
        requests = "enable", "disable", "enable", "enable", "disable", "disable", "enable"
        available = False
        for number, request in enumerate(requests):
            result = await asking.iq("set", f"<{request} xmlns='{ns.CARBONS}'/>")
            self.assertGranted(result, asking, self.bobJid)
            alice.say(full(home), f"line {number}")
            await self.settle(alice, home, asking)
            carbons = request == "enable"
            if not available and (not carbons or (self.served and self.kind == "ejabberd")):
                expected: list[Way] = []
            else:
                expected = ["received" if carbons else "direct"]
            self.assertWays(f"line {number}", [(asking, expected)])
            if number == 1:
                available = True
                asking.send("<presence/>")
                await asking.sync()

    async def test_addresses(self) -> None:
        """
        The server, the account, or nobody by name is asked, and answers as itself. What is asked of
        no address at all is refused by the server (RFC 7622, section 3.1), and changes nothing.
        """
        alice, home, away, plain = await self.scene()
        assert isinstance(away, RawClient)
        for client, payload in ((plain, ENABLE), (away, DISABLE)):
            client.send(f"<iq type='set' id='empty' to=''>{payload}</iq>")
            answer = await client.expect(identified("empty"))
            self.assertEqual(answer["type"], "error")
        alice.say(full(home), "still the same")
        await self.settle(alice, home, away, plain)
        self.assertWays("still the same", [(away, ["received"]), (plain, ["direct"])])
        for to in ("", self.bobJid, self.server.domain):
            for client, payload, way in ((plain, ENABLE, "received"), (away, DISABLE, "direct")):
                answer = await client.iq("set", payload, to)
                self.assertGranted(answer, client, to or self.bobJid)
                alice.say(full(home), f"{way} after {to}")
                await self.settle(alice, home, client)
                self.assertEqual(ways(client, f"{way} after {to}"), [way])
                opposite = DISABLE if payload == ENABLE else ENABLE
                await client.iq("set", opposite)

    async def test_library(self) -> None:
        """slixmpp is granted what it asks for, and recognises the carbons that come."""
        await self.open()
        alice = await self.client(self.alice, "desk")
        home = await self.client(self.bob, "home")
        asking = await self.library(self.bob, "asking", carbons=False)
        for number, (request, event) in enumerate(
            [
                (asking.enableCarbons, "received"),
                (asking.enableCarbons, "received"),
                (asking.disableCarbons, "message"),
                (asking.disableCarbons, "message"),
                (asking.enableCarbons, "received"),
            ]
        ):
            self.assertTrue(await request())
            alice.say(full(home), f"line {number}")
            await self.settle(alice, home, asking)
            last = asking.received[-1]
            self.assertEqual((last["event"], last["body"]), (event, f"line {number}"))
            self.assertEqual(len(asking.received), number + 1)

    async def test_malformed(self) -> None:
        """
        A request that the schema does not allow gets <bad-request/> and changes nothing
        (RFC 6120, section 8.3.3.1).
        """
        alice, home, away, plain = await self.scene()
        assert isinstance(away, RawClient)
        requests: list[tuple[Literal["get", "set"], str]] = [
            ("get", "<{0} xmlns='{1}'/>"),
            ("set", "<{0} xmlns='{1}'>now</{0}>"),
            ("set", "<{0} xmlns='{1}'><x xmlns='urn:example:x'/></{0}>"),
            ("set", "<{0} xmlns='{1}'/><{0} xmlns='{1}'/>"),
            ("set", "<{0} xmlns='{1}'/><ping xmlns='urn:xmpp:ping'/>"),
            ("set", "<ping xmlns='urn:xmpp:ping'/><{0} xmlns='{1}'/>"),
            ("set", "<private xmlns='{1}'/>"),
            ("set", "<{0}d xmlns='{1}'/>"),
        ]
        for client, word in ((plain, "enable"), (away, "disable")):
            for kind, payload in requests:
                answer = await client.iq(kind, payload.format(word, ns.CARBONS))
                self.assertEqual(answer["type"], "error", payload)
                self.assertEqual(condition(answer), "bad-request", payload)
                self.assertIn(answer.getAttribute("from"), (None, self.bobJid), payload)
        alice.say(full(home), "still the same")
        await self.settle(alice, home, away, plain)
        self.assertWays("still the same", [(away, ["received"]), (plain, ["direct"])])

    async def test_ofAnotherClient(self) -> None:
        """
        Sections 4.1 and 5.1: <not-allowed/> for whoever asks in another client's place, and that
        one never hears of it.
        """
        alice, home, away, plain = await self.scene()
        assert isinstance(away, RawClient)
        for asking in (alice, home):
            for client, payload in ((plain, ENABLE), (away, DISABLE)):
                answer = await asking.iq("set", payload, full(client))
                self.assertEqual(answer["type"], "error")
                self.assertEqual(condition(answer), "not-allowed")
                self.assertEqual(answer["from"], full(client))
        alice.say(full(home), "still the same")
        await self.settle(alice, home, away, plain)
        self.assertWays("still the same", [(away, ["received"]), (plain, ["direct"])])
        for client in (away, plain):
            asked = [e for e in client.received if e.name == "iq" and e["type"] in ("get", "set")]
            self.assertEqual([each.toXml() for each in asked], [])

    def assertGranted(self, result: Element, client: RawClient, sender: str) -> None:
        """An empty result, from who was asked."""
        self.assertEqual(result["type"], "result", result.toXml())
        self.assertEqual(result.getAttribute("from"), sender)
        self.assertEqual(result["to"], full(client))
        self.assertEqual(list(result.elements()), [])


class Row(NamedTuple):
    """
    A message that tells something about section 6.1.

    @ivar name: what it is.
    @ivar type: its type.
    @ivar payload: its children.
    @ivar body: whether it has a body, too.
    @ivar received: whether it is copied when it is received.
    @ivar sent: whether it is copied when it is sent.
    """

    name: str
    type: str | None
    payload: str = ""
    body: bool = False
    received: bool = True
    sent: bool = True


#: Section 6.1, of what this XEP says and what its rules mean for payloads that came after it.
ELIGIBILITY = [
    Row("chat", "chat", body=True),
    Row("chat without anything", "chat"),
    Row("normal with body", "normal", body=True),
    Row("no type, with body", None, body=True),
    Row("normal without body", "normal", received=False, sent=False),
    Row("normal, unknown payload", None, "<x xmlns='urn:example:x'/>", received=False, sent=False),
    Row("receipt", "normal", RECEIPT),
    Row("chat state", "normal", ACTIVE),
    Row("chat state in a chat", "chat", ACTIVE),
    Row("chat marker", "normal", MARKER),
    Row("correction", "normal", CORRECTION),
    Row("reaction", "normal", REACTIONS),
    Row("retraction", "normal", RETRACTION),
    Row("call", "normal", PROPOSE),
    Row("encryption", "normal", ENCRYPTION + OMEMO),
    Row("headline", "headline", body=True, received=False, sent=False),
    Row("headline with a chat marker", "headline", MARKER),
    Row("groupchat", "groupchat", body=True, received=False, sent=False),
    Row("groupchat with a receipt", "groupchat", RECEIPT, received=False, sent=False),
    Row("direct invitation", "normal", DIRECT_INVITATION),
    Row("mediated invitation", "normal", MEDIATED_INVITATION),
    Row("private message of a room", "chat", ROOM, body=True, received=False),
    Row("private message of a room, without body", "chat", ROOM + ACTIVE, received=False),
]


@byProxy
class Eligibility(CarbonsCase):
    """Section 6.1, Recommended Rules, which the proxy advertises (6.2) and so has to keep."""

    async def test_table(self) -> None:
        """Every row, to and from a full JID; the copy has all of the message's children."""
        alice, home, away, plain = await self.scene(library=True)
        assert isinstance(away, SlixClient)
        for row in ELIGIBILITY:
            for sender, to, way in ((alice, full(home), "in"), (home, full(alice), "out")):
                name = f"{way} {row.name}"
                body = name if row.body else None
                sender.send(message(body, row.payload, type=row.type, id=name, to=to).data)
        await self.settle(alice, home, away, plain)
        for row in ELIGIBILITY:
            incoming, outgoing = f"in {row.name}", f"out {row.name}"
            received: list[Way] = ["received"] if row.received else []
            sent: list[Way] = ["sent"] if row.sent else []
            self.assertWays(incoming, [(home, ["direct"]), (away, received)])
            self.assertWays(outgoing, [(alice, ["direct"]), (away, sent), (home, [])])
            if row.body:
                self.assertWays(incoming, [(plain, ["direct"] if row.received else [])])
                self.assertWays(outgoing, [(plain, ["direct"] if row.sent else [])])
            else:
                self.assertWays(outgoing, [(plain, [])])
            for name, client in ((incoming, home), (outgoing, alice)):
                [direct] = about(client, name)
                for copy in about(away, name):
                    self.assertEqual(sorted(tags(copy.message)), sorted(tags(direct.message)), name)
                    assert copy.wrapper is not None
                    kind = copy.message.getAttribute("type")
                    self.assertEqual(copy.wrapper.getAttribute("type"), kind, name)
                    self.assertEqual(kind or "normal", row.type or "normal", name)
        copies = [(each.way, each.message["id"]) for each in shown(away)]
        recognised = [(event["event"], event["id"]) for event in away.received]
        self.assertEqual(recognised, copies)


@everywhere
class Receiving(CarbonsCase):
    """Section 7, Receiving Messages."""

    async def test_carbon(self) -> None:
        """Wrapper and content, for a message that was addressed to another client."""
        alice, home, away, plain = await self.scene(home=True, library=True)
        payload = RECEIPT_REQUEST + MARKABLE + THREAD
        alice.send(message("to home", payload, to=full(home), type="chat", id="c1").data)
        await self.settle(alice, home, away, plain)
        self.assertWays("to home", [(home, ["direct"]), (away, ["received"]), (plain, ["direct"])])
        [carbon], [direct] = about(away, "to home"), about(home, "to home")
        self.assertCarbon(carbon, away, direct)
        [copy] = about(plain, "to home")
        self.assertEqual((copy.message["from"], copy.message["to"]), (full(alice), full(plain)))

    async def test_typeOfWrapper(self) -> None:
        """
        It is the message's own, as the server delivers that: ejabberd leaves "normal" out. Prosody
        writes it for a message that has none.
        """
        alice, home, away, plain = await self.scene()
        for kind in ("chat", "normal", None):
            alice.send(message(f"type {kind}", to=full(home), type=kind).data)
        await self.settle(alice, home, away, plain)
        for kind in ("chat", "normal", None):
            [carbon], [direct] = about(away, f"type {kind}"), about(home, f"type {kind}")
            assert carbon.wrapper is not None
            expected = direct.message.getAttribute("type")
            self.assertEqual(expected or "normal", kind or "normal")
            if self.served and self.kind == "prosody":
                expected = kind or "normal"
            self.assertEqual(carbon.wrapper.getAttribute("type"), expected)

    async def test_addresses(self) -> None:
        """
        Whatever address of Bob's is written to, and whatever his clients' priorities: each is shown
        the message once, and one that got the message itself gets no carbon.
        """
        for home, away, plain in ((0, 0, 0), (5, 0, 0), (0, 5, 0), (0, 0, 5), (0, -1, 0)):
            await self.toAllAddresses(home, away, plain)

    async def toAllAddresses(self, *priorities: int) -> None:
        await self.open()
        alice = await self.client(self.alice, "desk")
        bobs = [
            await self.client(self.bob, resource, resource != "plain", priority)
            for resource, priority in zip(("home", "away", "plain"), priorities, strict=True)
        ]
        addresses = [self.bobJid, *map(full, bobs), f"{self.bobJid}/gone"]
        for to in addresses:
            alice.say(to, f"to {to}")
            await self.settle(alice, *bobs)
        for to in addresses:
            self.assertShownOnce(f"to {to}", *bobs)
            for client in bobs:
                if to == full(client):
                    self.assertWays(f"to {to}", [(client, ["direct"])])
        self.assertNotIn("sent", [each.way for client in bobs for each in shown(client)])


@everywhere
class Sending(CarbonsCase):
    """Section 8, Sending Messages."""

    async def test_carbon(self) -> None:
        """
        Wrapper and content; whether the sender has enabled carbons does not matter, and it gets
        none itself.
        """
        for enabled in (False, True):
            alice, home, away, plain = await self.scene(home=enabled, library=enabled)
            payload = RECEIPT_REQUEST + MARKABLE + THREAD
            home.send(message("from home", payload, to=full(alice), type="chat", id="c1").data)
            await self.settle(home, alice, away, plain)
            self.assertWays("from home", [(home, []), (away, ["sent"]), (plain, ["direct"])])
            [carbon], [direct] = about(away, "from home"), about(alice, "from home")
            self.assertCarbon(carbon, away, direct)
            [copy] = about(plain, "from home")
            self.assertEqual((copy.message["from"], copy.message["to"]), (bare(alice), full(plain)))

    async def test_bothAccounts(self) -> None:
        """Sender and recipient each have a second client with carbons, before one proxy."""
        alice, home, away, plain = await self.scene()
        phone = await self.client(self.alice, "phone", carbons=True)
        everybody = (alice, phone, home, away, plain)
        home.say(full(alice), "hello")
        await self.settle(home, *everybody)
        alice.say(full(home), "hello yourself")
        await self.settle(*everybody)
        self.assertWays("hello", [(alice, ["direct"]), (phone, ["received"]), (away, ["sent"])])
        self.assertWays(
            "hello yourself", [(home, ["direct"]), (phone, ["sent"]), (away, ["received"])]
        )


@everywhere
class Avoiding(CarbonsCase):
    """Section 9, Avoiding Carbons for a single message."""

    async def test_noCopies(self) -> None:
        """
        Neither the sender's nor the recipient's other clients see it.

        The mark is for the servers: no client gets to see it. Where the proxy does the carbons it
        says to the rest of the world what the XEP has beside it, a <no-copy/> hint, so that nobody
        else copies it either. Where the server does them, ejabberd delivers the mark to a client
        that is connected to itself.
        """
        alice, home, away, plain = await self.scene()
        straight = await self.client(self.alice, "straight", straight=True)
        bobs = (home, away, plain)
        for name, payload in (
            ("private", PRIVATE),
            ("no-copy", NO_COPY),
            ("private and no-copy", PRIVATE + NO_COPY),
            ("no-copy and private", NO_COPY + PRIVATE),
        ):
            for sender, recipient in (
                (alice, home),
                (straight, home),
                (home, alice),
                (away, alice),
                (home, straight),
            ):
                assert isinstance(sender, RawClient)
                line = f"{name} from {full(sender)} to {full(recipient)}"
                sender.send(message(line, payload, to=full(recipient), type="chat", id=line).data)
                await self.settle(sender, recipient, *bobs)
                others = [each for each in (alice, straight, *bobs) if each is not recipient]
                self.assertWays(line, [(recipient, ["direct"]), *((each, []) for each in others)])
                [direct] = about(recipient, line)
                hints = [tag for tag in tags(direct.message) if tag[0] in (ns.CARBONS, ns.HINTS)]
                self.assertEqual(hints, self.delivered(payload, sender, recipient, straight), line)

    def delivered(
        self, payload: str, sender: Client, recipient: Client, straight: Client
    ) -> list[tuple[str, str]]:
        """What is left of the marks at the recipient."""
        private, noCopy = (ns.CARBONS, "private"), (ns.HINTS, "no-copy")
        replaced = not self.served and sender is not straight
        hints = [noCopy] if NO_COPY in payload or (replaced and PRIVATE in payload) else []
        if PRIVATE in payload and recipient is straight and self.served and self.kind == "ejabberd":
            return [private, *hints] if payload.startswith(PRIVATE) else [*hints, private]
        return hints

    async def test_toBareJid(self) -> None:
        """The server routes it as ever (RFC 6121, section 8.5.2.1.1), and nobody copies it."""
        await self.open()
        alice = await self.client(self.alice, "desk")
        phone = await self.client(self.alice, "phone", carbons=True)
        home = await self.client(self.bob, "home", priority=5)
        away = await self.client(self.bob, "away", carbons=True)
        plain = await self.client(self.bob, "plain")
        alice.send(message("secret", PRIVATE, to=self.bobJid, type="chat").data)
        await self.settle(alice, phone, home, away, plain)
        self.assertWays("secret", [(home, ["direct"]), (away, []), (plain, []), (phone, [])])


@byProxy
class Errors(CarbonsCase):
    """Sections 6.1 and 10.3, Handling of Errors."""

    async def test_bounce(self) -> None:
        """
        The server's error that answers an eligible message is itself eligible: it is copied to who
        has enabled carbons, and no line of text for who has not.
        """
        _, home, away, plain = await self.scene(library=True)
        for to in (f"nobody@{self.server.domain}", f"nobody@{self.server.domain}/x"):
            name = f"to {to}"
            home.send(message(name, to=to, type="chat", id=name).data)
            error = await home.expect(identified(name))
            self.assertEqual(error["type"], "error")
            await self.settle(home, away, plain)
            self.assertEqual(sorted(ways(away, name)), ["received", "sent"])
            [copy] = [each for each in about(away, name) if each.way == "received"]
            self.assertEqual(copy.message["type"], "error")
            self.assertEqual(condition(copy.message), condition(error))
            [line] = about(plain, name)
            self.assertNotEqual(line.message.getAttribute("type"), "error")

    async def test_ofIneligible(self) -> None:
        """The error that answers a message which was not copied is not copied either."""
        _, home, away, plain = await self.scene()
        to = f"nobody@{self.server.domain}"
        for number, (kind, payload) in enumerate(
            [("normal", "<x xmlns='urn:example:x'/>"), ("chat", f"<body>x</body>{NO_COPY}")]
        ):
            home.send(message(None, payload, to=to, type=kind, id=f"e{number}").data)
            await home.expect(identified(f"e{number}"))
            await self.settle(home, away, plain)
            self.assertWays(f"e{number}", [(home, ["direct"]), (away, []), (plain, [])])

    async def test_sent(self) -> None:
        """So is the error with which a client answers an eligible message."""
        alice, home, away, plain = await self.scene()
        alice.say(full(home), "question", id="e1")
        await self.settle(alice, home, away, plain)
        home.send(message(None, BOUNCE, to=full(alice), type="error", id="e1").data)
        await self.settle(home, alice, away, plain)
        self.assertWays("e1", [(alice, ["direct"]), (away, ["received", "sent"])])
        self.assertWays("e1", [(plain, ["direct"])])  # the question itself
        self.assertEqual(about(away, "e1")[-1].message["type"], "error")

    async def test_ofCopies(self) -> None:
        """Who wrote a message never hears of an error that answers a copy of it, nor do others."""
        alice, home, away, plain = await self.scene()
        assert isinstance(away, RawClient)
        everybody = (alice, home, away, plain)
        alice.say(full(home), "question", id="e1")
        home.say(full(alice), "answer", id="e2")
        await self.settle(*everybody)
        [question], [answer] = about(plain, "question"), about(plain, "answer")
        before = [len(shown(each)) for each in everybody]
        for copy in (question, answer):
            reply = {"to": copy.message["from"], "id": copy.message["id"]}
            plain.send(message(None, BOUNCE, type="error", **reply).data)
        for way in ("received", "sent"):
            inside = f"<{way} xmlns='{ns.CARBONS}'/>"
            away.send(message(None, BOUNCE, type="error", to=self.bobJid).data)
            away.send(message(None, inside, BOUNCE, type="error", to=self.bobJid).data)
        await self.settle(away, plain, *everybody)
        self.assertEqual([len(shown(each)) for each in everybody], before)

    async def test_unasked(self) -> None:
        """An error that answers nothing is not copied."""
        alice, home, away, plain = await self.scene()
        alice.send(message(None, BOUNCE, to=full(home), type="error", id="e1").data)
        home.send(message(None, BOUNCE, to=full(alice), type="error", id="e2").data)
        await self.settle(alice, home, away, plain, alice)
        self.assertWays("e1", [(home, ["direct"]), (away, []), (plain, [])])
        self.assertWays("e2", [(alice, ["direct"]), (away, []), (plain, [])])


@everywhere
class Security(CarbonsCase):
    """Section 11, Security Considerations."""

    async def test_impersonation(self) -> None:
        """A carbon that comes from anybody but the account itself reaches nobody."""
        alice, home, away, plain = await self.scene()
        for way in ("received", "sent"):
            for to in (self.bobJid, full(home), full(away)):
                inner = message("pay him", from_=f"boss@{self.server.domain}/x", to=to, type="chat")
                forged = (
                    f"<{way} xmlns='{ns.CARBONS}'><forwarded xmlns='{ns.FORWARD}'>".encode()
                    + inner.standalone({})
                    + f"</forwarded></{way}>".encode()
                )
                alice.send(message(None, forged.decode(), to=to, type="chat").data)
                alice.send(message("honest", forged.decode(), to=to, type="chat").data)
        alice.say(self.bobJid, "the end")
        await self.settle(alice, home, away, plain)
        for client in (home, away, plain):
            self.assertEqual(ways(client, "pay him"), [])
            self.assertShownOnce("the end", client)

    async def test_stanzaIds(self) -> None:
        """
        XEP-0359, section 6: an id that the sender gives in the account's name is on no copy of the
        proxy's. Prosody and ejabberd pass it on in their carbons, where they keep no archive.
        """
        alice, home, away, plain = await self.scene()
        forged = f"<stanza-id xmlns='{STANZA_IDS}' by='{self.bobJid}' id='forged'/>"
        other = f"<stanza-id xmlns='{STANZA_IDS}' by='room@muc.example.com' id='true'/>"
        alice.send(message("hello", forged, other, to=full(home), type="chat").data)
        await self.settle(alice, home, away, plain)
        for client in (away, plain):
            [copy] = about(client, "hello")
            passedOn = self.served and client is away
            self.assertEqual(stamps(copy), ["forged"] if passedOn else [])
            self.assertEqual(tags(copy.message).count(STANZA_ID), 2 if passedOn else 1)


@everywhere
class ToOneself(CarbonsCase):
    """Sections 7 and 8 at once: what one client of an account writes to the account."""

    async def test_once(self) -> None:
        """
        Every other client is shown it once, whatever the address and the clients. The one that
        wrote it may get it back from the server, once.
        """
        _, home, away, plain = await self.scene()
        assert isinstance(away, RawClient)
        clients = (home, away, plain)
        for sender in clients:
            for to in (None, self.bobJid, *map(full, clients)):
                name = f"from {full(sender)} to {to}"
                sender.send(message(name, to=to, type="chat", id=name).data)
                await self.settle(sender, *clients)
                self.assertShownOnce(name, *(each for each in clients if each is not sender))
                self.assertIn(len(ways(sender, name)), (0, 1), name)


@byServer
class Bypassing(CarbonsCase):
    """A client of the account that is connected to the server itself."""

    async def test_both(self) -> None:
        """What it sends and what it receives is shown to those before the proxy, once."""
        alice, home, away, plain = await self.scene()
        for enabled in (False, True):
            straight = await self.client(self.bob, f"straight{enabled}", enabled, straight=True)
            clients = (straight, home, away, plain)
            alice.say(full(straight), f"to it {enabled}")
            await self.settle(alice, *clients)
            straight.say(full(alice), f"from it {enabled}")
            await self.settle(straight, alice, *clients)
            self.assertWays(
                f"to it {enabled}",
                [(straight, ["direct"]), (away, ["received"]), *self.plainly(home, plain)],
            )
            self.assertWays(
                f"from it {enabled}",
                [(straight, []), (away, ["sent"]), *self.plainly(home, plain)],
            )
            await straight.close()

    def plainly(self, *clients: Client) -> list[tuple[Client, list[Way]]]:
        return [(client, ["direct"]) for client in clients]


@byServer
class Ignoring(CarbonsCase):
    """The server's carbons are left alone, as the configuration says."""

    mirror: ClassVar[Table] = {"server-carbons": "ignore"}

    @property
    def served(self) -> bool:
        return False

    async def test_conversation(self) -> None:
        """The proxy does them."""
        alice, home, away, plain = await self.scene()
        everybody = (alice, home, away, plain)
        for to in (self.bobJid, full(home), full(plain)):
            alice.say(to, f"to {to}")
            await self.settle(*everybody)
            self.assertShownOnce(f"to {to}", home, away, plain)
        self.assertWays(f"to {full(home)}", [(away, ["received"])])
        # Only the proxy copies this, and only the servers' own rules copy that.
        alice.send(message(None, MARKER, to=full(home), type="normal", id="marker").data)
        home.say(full(alice), "answer")
        await self.settle(*everybody, away)
        self.assertWays("marker", [(away, ["received"])])
        self.assertWays("answer", [(away, ["sent"]), (plain, ["direct"])])


@everywhere
class Presence(CarbonsCase):
    """RFC 6121, sections 4 and 8.5: which clients want messages at all."""

    async def test_plainCopies(self) -> None:
        """Not those that are not there, or have a negative priority, or are there for one only."""
        await self.open()
        alice = await self.client(self.alice, "desk")
        home = await self.client(self.bob, "home")
        negative = await self.client(self.bob, "negative", priority=-1)
        silent = await self.client(self.bob, "silent", priority=None)
        gone = await self.client(self.bob, "gone")
        gone.send("<presence type='unavailable'/>")
        directed = await self.client(self.bob, "directed", priority=None)
        directed.send(f"<presence to='{full(alice)}'/>")
        quiet = (negative, silent, gone, directed)
        await self.settle(*quiet)
        await self.talk(alice, home, *quiet)
        for name in ("in", "out"):
            self.assertWays(name, [(each, []) for each in quiet])
        for client in quiet:
            client.send("<presence><priority>0</priority></presence>")
        await self.settle(*quiet)
        await self.talk(alice, home, *quiet, suffix=" again")
        for name in ("in again", "out again"):
            self.assertWays(name, [(each, ["direct"]) for each in quiet])

    async def test_carbons(self) -> None:
        """
        Who enabled carbons gets them all the same. ejabberd makes none for a client without
        presence.
        """
        await self.open()
        alice = await self.client(self.alice, "desk")
        home = await self.client(self.bob, "home")
        negative = await self.client(self.bob, "negative", carbons=True, priority=-1)
        silent = await self.client(self.bob, "silent", carbons=True, priority=None)
        await self.talk(alice, home, negative, silent)
        left = [negative] if self.served and self.kind == "ejabberd" else [negative, silent]
        self.assertWays("in", [(each, ["received"]) for each in left])
        self.assertWays("out", [(each, ["sent"]) for each in left])

    async def talk(
        self, alice: RawClient, home: RawClient, *others: RawClient, suffix: str = ""
    ) -> None:
        """A line each way."""
        alice.say(full(home), f"in{suffix}")
        home.say(full(alice), f"out{suffix}")
        await self.settle(alice, home, *others)


@everywhere
class Blocking(CarbonsCase):
    """XEP-0191: one client blocks the correspondent, which holds for the account."""

    async def test_blocked(self) -> None:
        """No message and no copy of one reaches any client, until it is unblocked."""
        alice, home, away, plain = await self.scene()
        bobs = (home, away, plain)
        addresses = (self.bobJid, *map(full, bobs))
        item = f"<item jid='{self.aliceJid}'/>"
        for word in ("block", "unblock"):
            answer = await home.iq("set", f"<{word} xmlns='{BLOCKING}'>{item}</{word}>")
            self.assertEqual(answer["type"], "result", answer.toXml())
            for to in addresses:
                alice.say(to, f"{word} {to}")
            await self.settle(alice, *bobs)
        for to in addresses:
            self.assertWays(f"block {to}", [(each, []) for each in bobs])
            self.assertShownOnce(f"unblock {to}", *bobs)


@onServers("prosody", "ejabberd", withoutCarbons=("prosody", "ejabberd"))
class Archive(CarbonsCase):
    """XEP-0313 and XEP-0359, where the server keeps an archive."""

    archive = True

    async def test_query(self) -> None:
        """What comes out of the archive is for the client that asked."""
        alice, home, away, plain = await self.scene()
        assert isinstance(away, RawClient)
        alice.say(full(home), "remember this")
        await self.settle(alice, home, away, plain)
        before = [len(shown(each)) for each in (home, away, plain)]
        for asking in (plain, away):
            query = f"<query xmlns='{ns.MAM}' queryid='{asking.jid.resource}'/>"
            answer = await asking.iq("set", query)
            self.assertEqual(answer["type"], "result")
        await self.settle(home, away, plain)
        after = [len(shown(each)) for each in (home, away, plain)]
        self.assertEqual(after, [before[0], before[1] + 1, before[2] + 1])
        for asking in (plain, away):
            [result] = shown(asking)[-1].message.elements()
            self.assertEqual(result["queryid"], asking.jid.resource)

    async def test_stanzaId(self) -> None:
        """A copy has the id that the archive gave to the message, also where another is forged."""
        alice, home, away, plain = await self.scene()
        forged = f"<stanza-id xmlns='{STANZA_IDS}' by='{self.bobJid}' id='forged'/>"
        for name, payload in (("honest", ""), ("forged", forged)):
            alice.send(message(name, payload, to=full(home), type="chat").data)
        await self.settle(alice, home, away, plain)
        for name in ("honest", "forged"):
            [direct] = about(home, name)
            given = stamps(direct)[-1]
            self.assertNotEqual(given, "forged")
            for client in (away, plain):
                [copy] = about(client, name)
                # Prosody 0.12 leaves the forged one where it was, and puts its own behind it.
                self.assertEqual(stamps(copy)[-1:], [given], name)


@onServers("prosody", "ejabberd", withoutCarbons=("prosody", "ejabberd"))
class Events(CarbonsCase):
    """XEP-0060 and XEP-0163: events are for the client that subscribed."""

    async def test_notCopied(self) -> None:
        """
        The others get what a client gets that is connected to the server itself: nothing. ejabberd
        sends each event to the account's bare JID, too, and routes it to everybody.
        """
        _, home, away, plain = await self.scene()
        straight = await self.client(self.bob, "straight", straight=True)
        publish = (
            f"<pubsub xmlns='{PUBSUB}'><publish node='{TUNE}'><item>"
            f"<tune xmlns='{TUNE}'><title>Yessongs</title></tune></item></publish></pubsub>"
        )
        subscribe = (
            f"<pubsub xmlns='{PUBSUB}'><subscribe node='{TUNE}' jid='{full(home)}'/></pubsub>"
        )
        for payload in (publish, subscribe, publish):
            answer = await home.iq("set", payload)
            self.assertEqual(answer["type"], "result", answer.toXml())
        await self.settle(home, away, plain, straight)
        counts = [
            sum((ns.PUBSUB_EVENT, "event") in tags(each.message) for each in shown(client))
            for client in (straight, home, away, plain)
        ]
        routed = 2 if self.kind == "ejabberd" else 0
        self.assertEqual([counts[0], *counts[2:]], [routed] * 3)
        self.assertGreater(counts[1], routed)


@everywhere
class Offline(CarbonsCase):
    """RFC 6121, section 8.5.2.2: what the server kept while nobody was there."""

    async def test_flush(self) -> None:
        """
        It comes with its <delay/>, once to each who is there, whether the server copies what it
        kept (ejabberd) or not (Prosody). Who comes later gets none of it.
        """
        await self.open()
        alice = await self.client(self.alice, "desk")
        for name in ("first", "second"):
            alice.say(self.bobJid, name, id=name)
        await alice.sync()
        away = await self.client(self.bob, "away", carbons=True, priority=None)
        silent = await self.client(self.bob, "silent", priority=None)
        home = await self.client(self.bob, "home")
        await self.settle(home, away, silent)
        late = await self.client(self.bob, "late", carbons=True)
        away.send("<presence/>")
        silent.send("<presence/>")
        await self.settle(away, silent, home, late)
        for name in ("first", "second"):
            self.assertWays(
                name, [(home, ["direct"]), (away, ["received"]), (silent, []), (late, [])]
            )
            for client in (home, away):
                for each in about(client, name):
                    self.assertEqual(tags(each.message).count(DELAY), 1)


@everywhere
class Untouched(CarbonsCase):
    """What the proxy has no business with leaves it as the bytes that came in."""

    async def open(self, **tables: Table) -> None:
        self.tap = Tap(self.server.host, self.server.port)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.tap.close()))
        port = await self.tap.listen()
        upstream = {"upstream": f"tcp:127.0.0.1:{port}", "upstream-tls": "none"}
        await super().open(domain=upstream, **tables)

    async def test_bytes(self) -> None:
        """Presence, a roster push, an iq between two clients, and a carbon that the server made."""
        alice, home, away, _ = await self.scene()
        assert isinstance(away, RawClient)
        status = "<show >away</show><status xml:lang='de'>\N{HOT BEVERAGE} &#x22;&amp;</status >"
        query = "<query   xmlns='urn:example:x'><y a=\"'\" b='&quot;'/><![CDATA[<z>]]></query>"
        item = f"<item jid='{self.aliceJid}' name='&lt;Alice&gt;'><group>A</group></item>"
        written = [
            (home, f"<presence  id='o1'\n>{status}</presence >"),
            (home, f"<presence to=\"{full(alice)}\" id='o2'>{status}</presence>"),
            (alice, f"<iq to='{full(home)}'  type='get' id='o3'>{query}</iq>"),
            (home, f"<iq id='o4' type='set'><query xmlns='{ROSTER}'>{item}</query></iq>"),
        ]
        for client, data in written:
            client.send(data)
        question = await home.expect(identified("o3"))
        answer = f"<iq type = 'result' id='o3' to='{question['from']}'>{query}</iq>"
        home.send(answer)
        await home.iq("get", f"<query xmlns='{ROSTER}'/>")
        await self.settle(home, alice, away)
        alice.say(full(home), "copied")
        await self.settle(alice, home, away)

        for data in [answer, *(data for _, data in written)]:
            self.assertTrue(self.passed(self.tap.fromProxy, data.encode()), data)
        pushes = [each for each in home.received if tags(each) == [(ROSTER, "query")]]
        self.assertNotEqual(pushes, [])
        seen = [
            question,
            *pushes,
            *(each for each in away.received if each.getAttribute("id") == "o1"),
            *(each for each in alice.received if each.getAttribute("id") in ("o2", "o3")),
        ]
        self.assertEqual(len(seen), 4 + len(pushes))
        for each, client in ((each, self.whose(each, alice, home, away)) for each in seen):
            raw = client.rawOf(each)
            self.assertTrue(self.passed(self.tap.fromServer, raw), raw)
        if self.served:
            [carbon] = about(away, "copied")
            assert carbon.wrapper is not None
            raw = away.rawOf(carbon.wrapper)
            self.assertTrue(self.passed(self.tap.fromServer, raw), raw)

    def whose(self, element: Element, *clients: RawClient) -> RawClient:
        [client] = [each for each in clients if any(element is one for one in each.received)]
        return client

    def passed(self, streams: list[bytearray], data: bytes) -> bool:
        return any(data in stream for stream in streams)


class Tap:
    """
    Stands between the proxy and the server, and keeps what goes by.

    @ivar fromProxy: the bytes of each connection.
    @ivar fromServer: the same of the other way.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = TCP4ClientEndpoint(reactor, host, port)
        self.fromProxy: list[bytearray] = []
        self.fromServer: list[bytearray] = []
        self._ends: list[Deferred[None]] = []
        self._listening: IListeningPort | None = None

    async def listen(self) -> int:
        """Start; returns the port."""
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        factory = Factory.forProtocol(lambda: _Tapped(self._opened))
        self._listening = await endpoint.listen(factory)
        host = self._listening.getHost()
        assert isinstance(host, IPv4Address)
        return host.port

    async def close(self) -> None:
        """Listen no more, and wait until everybody has gone."""
        assert self._listening is not None
        await maybeDeferred(self._listening.stopListening)
        await DeferredList(self._ends)

    def _opened(self, proxy: _Tapped) -> None:
        server = _Tapped(lambda _: None)
        for one, other, kept in (
            (proxy, server, self.fromProxy),
            (server, proxy, self.fromServer),
        ):
            one.peer = other
            kept.append(one.data)
            self._ends.append(one.ended)
        self._server.connect(Factory.forProtocol(lambda: server))


class _Tapped(Protocol):
    peer: _Tapped

    def __init__(self, opened: Callable[[_Tapped], None]) -> None:
        self.data = bytearray()
        self.ended: Deferred[None] = Deferred()
        self._opened = opened

    def connectionMade(self) -> None:
        self._opened(self)
        if self.peer.data:
            assert self.transport is not None
            self.transport.write(bytes(self.peer.data))

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if self.peer.transport is not None:
            self.peer.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.ended.called:
            self.ended.callback(None)
        if self.peer.transport is not None:
            self.peer.transport.loseConnection()
