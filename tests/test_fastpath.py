"""The fast path is the slow path, only faster."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests import test_splitter as slow
from tests import xmlstrategies as xml
from tests.conversation import DOMAIN, JULIET, ROMEO, Conversation, Window
from tests.test_splitter import HEADER, Outcome, modest
from xmpproxy import fastpath, ns
from xmpproxy.fastpath import Run, Unwanted
from xmpproxy.splitter import Splitter
from xmpproxy.stanza import Stanza, spans

UNWANTED: Unwanted = (
    ("message", frozenset({ns.CARBONS, ns.DELAY})),
    ("presence", frozenset()),
    ("iq", frozenset({ns.DISCO_INFO})),
)
#: What nobody wants to see.
ORDINARY = (
    "<message><body>a</body></message>",
    "<message to='romeo@example.net' type=\"chat\" id='1'><body>&lt;>é</body></message>",
    "<message xmlns='jabber:client' from='a' xml:lang='en'><x xmlns='urn:x' a='>'/>\n</message>",
    '<message xmlns="jabber:client"><x xmlns="urn:x"><y><z><a/></z></y></x><body/></message >',
    f"<message><result xmlns='{ns.MAM}'><forwarded xmlns='{ns.FORWARD}'><delay xmlns='{ns.DELAY}'/>"
    f"<message xmlns='{ns.CLIENT}'><body>b</body></message></forwarded></result></message>",
    "<message type='headline'><x xmlns=''/></message>",
    "<message\n/>",
    "<presence/>",
    "<presence type='unavailable'><status>gone</status></presence>",
    "<iq type='get' id='a'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<iq type='result' id='a'/>",
)
#: What somebody may want to see, and what is not worth knowing on the fast path.
OTHER = (
    f"<message><received xmlns='{ns.CARBONS}'/></message>",
    f'<message><private\nxmlns = "{ns.CARBONS}"/></message>',
    f"<message><private xmlns='{ns.CARBONS.replace(':', '&#58;')}'/></message>",
    f"<message><p:sent xmlns:p='{ns.CARBONS}'/></message>",
    f"<iq type='result'><query xmlns='{ns.DISCO_INFO}'/></iq>",
    "<message type='error'/>",
    "<message type='&#101;rror'/>",
    "<message type = 'error'/>",
    "<message xmlns='urn:x'/>",
    "<message xmlns='jabber:client\"'/>",
    "<p:message xmlns:p='jabber:client'/>",
    "<p:message/>",
    "<message p:a=''/>",
    "<message xml:langs=''/>",
    "<message xml:1=''/>",
    "<message><x xmlns='a b'/></message>",
    f"<message><x xmlns='{ns.XML}'/></message>",
    f"<message><x><y xmlns='{ns.XMLNS}'/></x></message>",
    "<message><x><y><z><a><b/></a></z></y></x></message>",
    "<message><![CDATA[</message><message>]]></message>",
    "<messages/>",
    "<stream:features/>",
    "<r/>",
    "<a xmlns='urn:xmpp:sm:3'/>",
    "<a xmlns='urn:xmpp:sm:3' h='-1'/>",
    "<enable xmlns='urn:xmpp:sm:3'/>",
    "<r xmlns='urn:xmpp:sm:30'/>",
    "<é/>",
)
#: What comes as itself, with a run before it and one behind it.
BETWEEN = (
    "<r xmlns='urn:xmpp:sm:3'/>",
    '<r xmlns="urn:xmpp:sm:2" />',
    "<a xmlns='urn:xmpp:sm:3' h='1'/>",
    "<a h='4294967295' xmlns='urn:xmpp:sm:2'/>",
    """<a h="0" xmlns='urn:xmpp:sm:3'/>""",
    "<a xmlns='urn:xmpp:sm:3' h='9999999999'/>",
)
#: What must not pass.
BAD = (
    "<message><body></message></body>",
    "<message></presence>",
    "<message a='1' a='2'/>",
    "<message a='<'/>",
    "<message>]]></message>",
    "<message>&b;</message>",
    "<message>&#0;</message>",
    "<message>\x01</message>",
    "<message><!-- --></message>",
    "<message><?a?></message>",
    "<message><stream:stream></message>",
    "<message a='1'b='2'/>",
    "<message><1/></message>",
    "<message><-a/></message>",
    "</message>",
    "text",
    " ",
    "&amp;",
    "</stream:stream>",
)


class Case(SynchronousTestCase):
    def fast(self, splitter: Splitter, reads: Iterable[bytes], unwanted: Unwanted) -> Outcome:
        """Feed a splitter, the fast way."""
        pieces = [each for data in reads for each in fastpath.read(splitter, data, unwanted)]
        condition = None if splitter.error is None else splitter.error.condition
        return Outcome(pieces, condition, splitter.ended)

    def assertSame(self, fast: Outcome, slow: Outcome, unwanted: Unwanted = UNWANTED) -> int:
        """
        Both are the same stream, and there is no more in runs than may be.

        @return: how many stanzas came in runs.
        """
        stanzas = iter(slow.stanzas)
        wanted = dict(unwanted)
        total = 0
        for piece in fast.stanzas:
            if not isinstance(piece, Run):
                one = Outcome([piece], None, False).comparable
                self.assertEqual(one, Outcome([next(stanzas)], None, False).comparable)
                continue
            passed = [next(stanzas) for _ in range(piece.count)]
            total += len(passed)
            self.assertEqual(b"".join(each.data for each in passed), piece.data)
            for each in passed:
                self.assertIsNone(each.fault)
                self.assertEqual(each.namespace, ns.CLIENT)
                self.assertNotEqual(each.type, "error")
                namespaces = {namespace for namespace, _ in each.children}
                self.assertTrue(namespaces.isdisjoint(wanted[each.name]))
        self.assertEqual(list(stanzas), [])
        # Which of two errors comes first depends on the cuts, on the slow path as well.
        self.assertEqual(fast.comparable[1:], slow.comparable[1:])
        return total


class Ordinary(Case):
    """What comes in runs, and what does not."""

    def read(self, *stanzas: str, header: bytes = HEADER) -> list[Stanza]:
        """All of them in one read."""
        splitter = Splitter()
        splitter.feed(header)
        return fastpath.read(splitter, "".join(stanzas).encode(), UNWANTED)

    def test_ordinary(self) -> None:
        """All that nobody wants to see is one piece."""
        for each in ORDINARY:
            (run,) = self.read(each)
            assert isinstance(run, Run), each
            self.assertEqual((run.data.decode(), run.count), (each, 1))
        (run,) = self.read(*ORDINARY)
        assert isinstance(run, Run)
        self.assertEqual((run.data.decode(), run.count), ("".join(ORDINARY), len(ORDINARY)))

    def test_other(self) -> None:
        """What comes behind something else waits for the next read. So do parts of stanzas."""
        for each in OTHER:
            run, *others = self.read(ORDINARY[0], each, ORDINARY[1])
            self.assertIsInstance(run, Run)
            self.assertEqual(run.data.decode(), ORDINARY[0])
            self.assertFalse(any(isinstance(other, Run) for other in others), each)
            self.assertEqual(others[-1].data.decode(), ORDINARY[1])

    def test_between(self) -> None:
        """The requests and answers of stream management cut a run in two, and no more."""
        for each in BETWEEN:
            pieces = self.read(ORDINARY[0], each, each, ORDINARY[1], ORDINARY[2])
            runs = [piece.count if isinstance(piece, Run) else None for piece in pieces]
            self.assertEqual(runs, [1, None, None, 2])
            self.assertEqual(pieces[1].data.decode(), each)

    def test_onlyUnwanted(self) -> None:
        """Names that are not mentioned are wanted."""
        for at, name in enumerate(("message", "presence", "iq")):
            splitter = Splitter()
            splitter.feed(HEADER)
            data = "".join(ORDINARY).encode()
            pieces = fastpath.read(splitter, data, UNWANTED[:at] + UNWANTED[at + 1 :])
            self.assertIn(name, {each.name for each in pieces})
        splitter = Splitter()
        splitter.feed(HEADER)
        self.assertEqual(len(fastpath.read(splitter, data, ())), len(ORDINARY))

    def test_cut(self) -> None:
        """Behind the rest of a stanza the run goes on."""
        data = "".join(ORDINARY).encode()
        splitter = Splitter()
        splitter.feed(HEADER + data[:20])
        first, run = fastpath.read(splitter, data[20:] + data[:20], UNWANTED)
        self.assertEqual(first.data.decode(), ORDINARY[0])
        assert isinstance(run, Run)
        self.assertEqual(run.count, len(ORDINARY) - 1)

    def test_otherStreams(self) -> None:
        """Where tags may mean something else, all is read the slow way."""
        for header in (
            f"<stream:stream xmlns='jabber:server' xmlns:stream='{ns.STREAMS}'>",
            f"<stream:stream xmlns:stream='{ns.STREAMS}'>",
            f"<stream xmlns='{ns.STREAMS}'>",
            "<message xmlns='jabber:client'>",
        ):
            for each in self.read(ORDINARY[0], header=header.encode()):
                self.assertNotIsInstance(each, Run)
        splitter = Splitter(depth=5)
        splitter.feed(HEADER)
        self.assertFalse(splitter.skips)

    def test_limit(self) -> None:
        """No stanza of a run is longer than any may be."""
        data = b"<message>%b</message>" % (b"a" * 100)
        splitter = Splitter(len(data))
        splitter.feed(HEADER)
        pieces = fastpath.read(splitter, data * 3, UNWANTED)
        self.assertEqual([each.data for each in pieces], [data] * 3)
        fastpath.read(splitter, data + data.replace(b"aaa", b"aaaa", 1), UNWANTED)
        assert splitter.error is not None
        self.assertEqual(splitter.error.condition, "policy-violation")

    def test_longWayRound(self) -> None:
        """What looks ordinary for long, and is not."""
        for begin, more, end in (
            ("<message>", "<a/>", ""),
            ("<message>", "<a>", ""),
            ("<message ", "a='b' ", ""),
            ("<message>", "<a><b><c><d/></c></b></a>", "<"),
            ("<message", " ", ""),
            ("<message><a", " b=''", "'/>"),
            ("<message>", "a", ""),
            ("", "<iq/>", "<iq"),
        ):
            data = f"{begin}{more * 12_000}{end}".encode()
            match = fastpath.pattern(UNWANTED).match(data)
            self.assertEqual(match is not None, not begin)


class Properties(Case):
    """Both ways of reading, side by side."""

    @modest
    @given(st.data(), st.sampled_from((262144, 100, 40)))
    def test_anything(self, data: st.DataObject, limit: int) -> None:
        """Whatever comes, however it is cut."""
        header = data.draw(st.one_of(st.just(xml.PLAIN), st.just(xml.PLAIN), xml.headers()))
        pieces = st.one_of(
            st.sampled_from(ORDINARY).map(str.encode),
            st.sampled_from(ORDINARY).map(str.encode),
            st.sampled_from(OTHER).map(str.encode),
            st.sampled_from(BETWEEN).map(str.encode),
            st.sampled_from(BAD).map(str.encode),
            xml.stanzas(),
            xml.wounded(),
            xml.soups(),
        )
        stream = header.data + b"".join(data.draw(st.lists(pieces, max_size=8))) + header.end
        unwanted = tuple(each for each in UNWANTED if data.draw(st.booleans()))
        whole = slow.read(Splitter(limit, 7), [stream])
        fast = self.fast(Splitter(limit, 7), data.draw(xml.splits(stream)), unwanted)
        self.assertSame(fast, whole, unwanted)

    def test_tenThousand(self) -> None:
        """Much of what is ordinary, some that is not, and a little that is bad."""
        chance = random.Random(6120)
        passed = 0
        for _ in range(10_000):
            pieces = chance.choices((*ORDINARY * 8, *OTHER * 2, *BETWEEN), k=8)
            if chance.random() < 0.3:
                pieces.insert(chance.randrange(9), chance.choice(BAD))
            stream = HEADER + "".join(pieces).encode()
            cuts = sorted(chance.choices(range(len(stream)), k=chance.randrange(4)))
            reads = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
            fast = self.fast(Splitter(), reads, UNWANTED)
            passed += self.assertSame(fast, slow.read(Splitter(), [stream]))
        self.assertGreater(passed, 10_000)


class EveryByteCase(Case):
    """Something between two runs, with a cut at each byte."""

    BEFORE = "".join(ORDINARY[:3]).encode()
    BEHIND = "".join(ORDINARY[3:6]).encode()

    def everywhere(self, data: bytes, header: bytes = HEADER, *limits: int) -> None:
        """
        Cut everywhere.

        @param limits: of the splitter.
        """
        head = header + self.BEFORE
        whole = slow.read(Splitter(*limits), [head + data + self.BEHIND])
        step = 1 + len(data) // 100
        for cut in range(0, len(data) + 1, step):
            splitter = Splitter(*limits)
            reads = (head, data[:cut], data[cut:] + self.BEHIND)
            fast = self.fast(splitter, reads, UNWANTED)
            self.assertSame(fast, whole)
            self.assertEqual(fast.condition, whole.condition)


class EveryByte(EveryByteCase):
    """What is listed in this file."""

    def test_rows(self) -> None:
        """The rows above."""
        for each in (*ORDINARY, *OTHER, *BAD):
            self.everywhere(each.encode())


class _BothWays(EveryByteCase, slow.SplitterTestCase):
    """What the tests of the splitter read."""

    def split(
        self,
        data: bytes | str,
        header: bytes = HEADER,
        stanzaBytes: int = 262144,
        depth: int = 200,
        attributes: int = 256,
        namespaces: int = 8192,
    ) -> Outcome:
        encoded = data.encode() if isinstance(data, str) else data
        limits = (stanzaBytes, depth, attributes, namespaces)
        self.everywhere(encoded, header, *limits)
        return super().split(data, header, *limits)


class StreamsBothWays(_BothWays, slow.Streams):
    """Beginning and end of a stream, and what is between stanzas."""


class StanzasBothWays(_BothWays, slow.Stanzas):
    """What a stanza tells about itself."""


class ConditionsBothWays(_BothWays, slow.Conditions):
    """Stream errors."""


class LimitsBothWays(_BothWays, slow.Limits):
    """How long and how deep a stanza may be."""


class NamespacesBothWays(_BothWays, slow.Namespaces):
    """Namespaces in XML 1.0."""


class SelfContainedBothWays(_BothWays, slow.SelfContained):
    """What only the header declares."""


class Sessions(Conversation):
    """What server and client get does not depend on the way."""

    FROM_CLIENT: ClassVar = (
        *(f"<message to='{ROMEO}' type='chat' id='{n}'><body>a</body></message>" for n in "ab"),
        f"<message to='{ROMEO}'><body>b</body><private xmlns='{ns.CARBONS}'/></message>",
        f"<message to='{ROMEO}' type='error' id='x'><body>c</body></message>",
        "<presence><show>away</show></presence>",
        f"<presence to='{ROMEO}'/>",
        "<iq type='get' id='v'><query xmlns='jabber:iq:version'/></iq>",
        "<iq type='set' id='e'><enable xmlns='urn:xmpp:carbons:2'/></iq>",
        "<inactive xmlns='urn:xmpp:csi:0'/>",
        "<inactive xmlns='urn:xmpp:csi:0'/>",
        "<active xmlns='urn:xmpp:csi:0'/>",
        " ",
        "\n",
    )
    FROM_SERVER: ClassVar = (
        *(f"<message from='{ROMEO}' to='{JULIET}' id='{n}'><body>d</body></message>" for n in "ab"),
        f"<message from='{ROMEO}'><received xmlns='{ns.CARBONS}'/></message>",
        f"<message from='{ROMEO}' type='error'><body>e</body></message>",
        f"<message from='{ROMEO}'><p:x/></message>",
        f"<message from='{ROMEO}'><body>f</body><delay xmlns='{ns.DELAY}'/></message>",
        f"<presence from='{ROMEO}'/>",
        f"<presence from='{ROMEO}/orchard'><show>away</show></presence>",
        f"<presence from='{ROMEO}/orchard' type='unavailable'/>",
        f"<message from='{ROMEO}' type='chat'><paused xmlns='{ns.CHAT_STATES}'/></message>",
        f"<iq type='result' id='v' from='{DOMAIN}'/>",
        "<strange xmlns='urn:x'/>",
        "\n",
    )

    def test_bothWays(self) -> None:
        """Random traffic, in random pieces, through a session of each kind."""
        chance = random.Random(3921)
        for number in range(30):
            fast = self.logsIn("only", user=f"fast{number}")
            slow = self.logsIn("only", user=f"slow{number}")
            for account in self.accounts:
                for session in account.sessions:
                    if account.jid.startswith("slow"):
                        session._downstream.unwanted = None  # type: ignore[attr-defined]
                        session._upstream.unwanted = None  # type: ignore[attr-defined]
            self.traffic(chance, fast, slow)
            for window in (fast, slow):
                window.client.closes()
                window.server.getsEnd()
                window.server.closes()
                window.client.isLeft()
                window.server.losesConnection()
            ended = [line.partition(" s, ")[2] for line in self.log if ": ended: " in line]
            self.assertEqual(ended[-1], ended[-2])

    def test_managed(self) -> None:
        """The same with stream management on both streams: nothing is counted otherwise."""
        chance = random.Random(198)
        asking = f"<r xmlns='{ns.STREAM_MANAGEMENT[0]}'/>"
        self.patch(Sessions, "FROM_CLIENT", (*self.FROM_CLIENT, asking))
        self.patch(Sessions, "FROM_SERVER", (*self.FROM_SERVER, asking))
        passed = 0
        for number in range(30):
            windows = [
                self.logsIn("only", user=f"{kind}{number}", managed=True)
                for kind in ("fast", "slow")
            ]
            sessions: list[Any] = [each for account in self.accounts for each in account.sessions]
            for window in windows:
                window.client.sends(f"<enable xmlns='{ns.STREAM_MANAGEMENT[0]}'/>")
                window.client.gets(f"<enabled xmlns='{ns.STREAM_MANAGEMENT[0]}'/>")
            sessions[1]._downstream.unwanted = sessions[1]._upstream.unwanted = None
            self.traffic(chance, *windows)
            counts = [self.counts(session) for session in sessions]
            self.assertEqual(counts[0], counts[1])
            passed += counts[0][0]
            for window, session in zip(windows, sessions, strict=True):
                kept = session.management._client.keeps.count
                window.client.sends(f"<a xmlns='{ns.STREAM_MANAGEMENT[0]}' h='{kept}'/>")
                window.client.sends("<active xmlns='urn:xmpp:csi:0'/></stream:stream>")
                window.client.vanishes()
                window.server.vanishes()
                for peer in window[:2]:
                    peer._came.clear()
        self.assertNotLogged("refused")
        self.assertGreater(passed, 300)

    def counts(self, session: Any) -> list[int]:
        """All that is counted in a session."""
        management = session.management
        keeps = management._client.keeps
        stanzas = sum(1 for _ in spans(b"".join(keeps.rest()), 0))
        self.assertEqual(stanzas, keeps.count)
        self.assertEqual(management._down.acknowledged + stanzas, session.output.count)
        numbers = [session.fromClient, session.fromServer, session.output.count, session.toServer]
        ledgers = [
            (ledger.handled, ledger.acknowledged) for ledger in (management._up, management._down)
        ]
        return [*numbers, *(number for ledger in ledgers for number in ledger), keeps.size]

    def traffic(self, chance: random.Random, *windows: Window) -> None:
        came: list[list[bytes]] = []
        for window in windows:
            for peer in (window.server, window.client):
                came.append([])
                peer.dataReceived = came[-1].append  # type: ignore[assignment,method-assign]
        for _ in range(4):
            upwards = "".join(chance.choices(self.FROM_CLIENT, k=6))
            downwards = "".join(chance.choices(self.FROM_SERVER, k=6))
            upCut, downCut = chance.randrange(len(upwards)), chance.randrange(len(downwards))
            for window in windows:
                user = window.jid.partition("@")[0]
                for data in (upwards[:upCut], upwards[upCut:]):
                    window.client.sends(data)
                for data in (downwards[:downCut], downwards[downCut:]):
                    window.server.sends(data)
                for each in came:
                    each[:] = [b"".join(each).replace(user.encode(), b"user")]
        self.assertEqual(came[0], came[2])
        self.assertEqual(came[1], came[3])
        for window in windows:
            for peer in (window.server, window.client):
                del peer.dataReceived

    def test_siblings(self) -> None:
        """While there is another session, messages are wanted again, and then no more."""
        home = self.logsIn("home")
        line = f"<message to='{ROMEO}' type='chat' id='1'><body>hello</body></message>"
        home.client.sends(line)
        home.server.gets(line)
        work = self.logsIn("work")
        home.client.sends(line)
        home.server.gets(line)
        copy = work.client.gets("<message from='*' to='*' type='chat' id='*'>*</message>")
        self.assertEqual(copy["from"], ROMEO)
        work.client.closes()
        work.server.getsEnd()
        work.server.closes()
        work.client.isLeft()
        work.server.losesConnection()
        (account,) = self.accounts
        (session,) = account.sessions
        unwanted = session._downstream.unwanted  # type: ignore[attr-defined]
        self.assertIn("message", dict(unwanted()))
