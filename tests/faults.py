"""
Networks, proxies and servers that fail, and what of a conversation has to survive that.

An account has two windows, C{desk} and C{phone}: clients with stream management behind the proxy,
each on a link of its own that can break. A peer on the server itself writes to the account's bare
JID and to either window, and both write to the peer. Two bystanders, of whom one is behind the
proxy, write to each other meanwhile.

They go on in rounds. In each of them something breaks, while messages are under way; at its end
everybody has come back, and is told what the other side has taken over. Then this holds:

  - A message that the peer was told to be taken over (the server has answered a ping behind it) has
    been shown in a window of the account, or an error has told the peer that it was not.
  - A message that a window was told to be taken over (C{<a/>}) has been shown to the peer, or an
    error has told the window.
  - Where only the windows' own links broke (L{LINKS}) every window resumes its stream, and then
    every message is shown in each window, and to the peer, exactly once. The bystanders notice
    nothing.
  - What a window writes comes in that order, and if only links broke, also what the peer writes to
    one address. What comes again, after a stream that could not be resumed, is not minded.

It is always looked at, on every server and whatever breaks, what the proxy takes upon itself: its
links to the server are not encrypted, and a L{Witness} reads them. Never may

  - the proxy say C{<a/>} to a window before the server has taken a message over, as far as it has
    told the proxy,
  - the proxy say C{<a/>} to the server before the window has a message,
  - a message be missing that the server had sent on a stream that is still there, or of which it
    was told that the window has it, or that has got as far as the proxy, on a server that forgets
    what it has sent.

What is missing otherwise is counted by who lost it:

  - I{Lost by the server}: what it had taken over and never sent, or what it sent and was not
    acknowledged, so that it still had it. Without the proxy, ejabberd loses some of that in every
    second round in which it is stopped, and in 3 of 60 in which connections break. Where nothing
    but links broke, and of what the windows write, and on Prosody, that does not happen unless the
    server was stopped.
  - I{Lost on the way}: what a server without acknowledgements (jabberd2) has sent on a connection
    that broke behind the proxy, or before a window had stream management. Every client of it
    loses that.
  - I{Lost uncounted}: what a server with acknowledgements sends before C{<enabled/>}.

What else a server does itself is nobody's fault here. It sends errors for what was on its way to a
session that is gone, while the other one is there: the sender was told. What it has kept for a
session that is gone comes in an order of its own. And when a stream is being resumed ejabberd
routes anew what has come for it just then: to the other window as well if it is for the bare JID,
so twice, and behind what came later. Or it never sends the carbon. Without the proxy it sends some
twice as well, in 2 of 171 rounds, and does not send some carbons, in 2 of 150.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import deferLater

from tests.linkrelay import LinkRelay, Place
from tests.parties import Plain, Window
from tests.rawclient import RawClient, bodyOf
from tests.servers import Proxy
from tests.smclient import SmClient
from tests.witness import Record, Witness
from xmpproxy import lab

T = TypeVar("T", bound=RawClient)

#: What breaks a window's link; with "hurry" it comes back on two connections, "both" is both links.
LINKS = ("cut", "freeze", "hurry", "both")
#: What breaks more: the proxy is killed; its connections to the server are cut; the server stops.
#: Both, or all, come back.
BEHIND = ("proxy", "upstream", "server")

_EARLY = "acknowledged early"
_BY_PROXY = "lost by the proxy"
_BY_SERVER = "lost by the server"
_UNCOUNTED = "lost uncounted"
_ON_THE_WAY = "lost on the way"
_NOT_COPIED = "not copied"
_REROUTED = "rerouted"
_REPLACED = "given up"

#: What may be counted besides what breaks, and what it means.
COUNTS = {
    "resumed": "a window went on with its session",
    "begun anew": "it could not, and has logged in",
    "to the account": "messages that the peer's server had taken over",
    "to the peer": "messages that the proxy had acknowledged to a window",
    _EARLY: "the proxy said of one to be taken over, and it was not: must not be",
    _BY_PROXY: "one was there and was not passed on: must not be",
    _BY_SERVER: "it had one, taken over or not acknowledged by the proxy, and that is gone",
    _ON_THE_WAY: "a server that wants no acknowledgements had sent one when a connection broke",
    _UNCOUNTED: "a server that wants them had sent one before they began",
    _NOT_COPIED: "the server never sent a window the carbon of one",
    _REROUTED: "the server sent one twice on a stream, or behind a later one",
    _REPLACED: "a session that the server kept for a proxy that was killed, under another resource",
    "returned": "the sender got an error instead",
    "doubled": "one came again after a stream that could not be resumed",
}

#: The accounts that a server needs.
USERS = ("account", "peer", "first", "second")

_WINDOWS = ("desk", "phone")
_MOST_PAUSE = 0.02  # seconds
_MOST_STALLED = 0.3  # seconds
_LOOKS = 100  # at what has come, before something is missing that must not be,
_FEW_LOOKS = 10  # or may be,
_BETWEEN_LOOKS = 0.1  # so many seconds apart


@dataclass
class Tally:
    """
    What has happened.

    @ivar counts: how often what happened that may.
    @ivar problems: what may not have happened, each in a line.
    """

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class World:
    """
    All of them.

    @ivar tally: what has happened so far.
    """

    def __init__(
        self,
        server: lab.Server,
        chance: random.Random,
        direct: bool = False,
        resumes: bool = False,
    ) -> None:
        """
        @param server: has L{USERS}, was started with a directory of its own, and nobody else
            uses it.
        @param chance: decides.
        @param direct: there is no proxy, and no copies: this is about the server itself.
        @param resumes: the proxy resumes its streams to the server. Then its connections there are
            links like any other.
        """
        self.tally = Tally()
        self._server = server
        self._chance = chance
        self._direct = direct
        self._resumes = resumes
        self._place: Place = server
        self._rounds = 0
        self._faults = ""
        self._behind = DeferredLock()  # what breaks there is whole again before something else does
        self._witness = Witness(self._claimed)
        self._upstream = LinkRelay(server, self._witness.link)
        self._windows: dict[str, Window] = {}
        self._everybody: Sequence[Plain | Window] = ()

    async def start(self) -> None:
        """Start the proxy, and have everybody log in."""
        await self._upstream.start()
        upstream: dict[str, str | bool] = {
            "upstream": f"tcp:{self._upstream.host}:{self._upstream.port}",
            "upstream-tls": "none",
        }
        if self._resumes:
            upstream |= {"auth": "terminate", "upstream-resume": True}
        self._proxy = Proxy(
            self._server,
            [{}],
            {"domain": upstream, "mirror": {}, "limits": {}, "stream-management": {}},
        )
        if not self._direct:
            await self._proxy.start()
            self._place = self._proxy
        domain = self._server.domain
        self._account = f"account@{domain}"
        for name in _WINDOWS:
            relay = LinkRelay(self._place)
            await relay.start()
            client = self._client(SmClient, "account", name, relay)
            peer = f"peer@{domain}/peer"
            counts, told = self.tally.counts, self._told
            self._windows[name] = Window(client, relay, peer, counts, told, self._managed)
        server = self._server
        self._peer = Plain(lambda: self._client(RawClient, "peer", "peer", server))
        self._bystanders = (
            Plain(lambda: self._client(RawClient, "first", "one", self._place)),
            Plain(lambda: self._client(RawClient, "second", "two", server)),
        )
        self._everybody = (self._peer, *self._bystanders, *self._windows.values())
        await self._allOf(each.comeBack() for each in self._everybody)
        await self._allOf(each.isTold() for each in self._everybody)

    async def stop(self) -> None:
        """Have everybody leave, and stop the proxy."""
        for each in self._everybody:
            await each.client.abort()
        for window in self._windows.values():
            await window.relay.stop()
        await self._proxy.stop()
        await self._upstream.stop()

    def _client(self, kind: type[T], user: str, resource: str, at: Place) -> T:
        jid = f"{user}@{self._server.domain}"
        return kind(at.host, at.port, jid, self._server.users[user], resource, at.trust)

    @staticmethod
    async def _allOf(doings: Iterable[Coroutine[Deferred[Any], Any, None]]) -> None:
        """At the same time; it takes as long as the longest."""
        started = [Deferred.fromCoroutine(doing) for doing in doings]
        for each in started:
            await each

    # What breaks

    async def _cut(self) -> None:
        await self._chance.choice([*self._windows.values()]).isCut()

    async def _freeze(self) -> None:
        await self._chance.choice([*self._windows.values()]).freezes()

    async def _hurry(self) -> None:
        window = self._chance.choice([*self._windows.values()])
        await window.hurries(self._client(RawClient, "account", "rival", self._place))

    async def _both(self) -> None:
        await self._allOf(
            self._chance.choice((window.isCut, window.freezes))()
            for window in self._windows.values()
        )

    async def _killProxy(self) -> None:
        relays = [self._upstream, *(window.relay for window in self._windows.values())]
        await self._stall(relays[:1] if self._chance.random() < 0.5 else relays[1:])
        clients = self._clients()
        await self._proxy.kill()
        for relay in relays:
            relay.cut()
        await self._proxy.start()
        await self._leftBehind(clients)
        if self._resumes:
            await self._replace()

    async def _replace(self) -> None:
        """
        Have the server give up sessions that the proxy would have resumed.

        A window that binds its resource anew does that. But it has another one than it asks for if
        its session ended while it resumed that: the one that the server gave the proxy, to say
        whose the window was. The server would wait for minutes.
        """
        there = {client.jid.full() for client in self._clients()}
        left = {each.jid for each in self._witness.records if each.counts and not each.open}
        for jid in sorted(left - there):
            account, _, resource = jid.partition("/")
            if account == self._account:
                replacing = self._client(RawClient, "account", resource, self._server)
                await replacing.login(priority=None)
                await replacing.close()
                self.tally.counts[_REPLACED] += 1

    async def _cutUpstream(self) -> None:
        await self._stall([self._upstream])
        clients = self._clients()
        self._upstream.cut()
        if not self._resumes:
            await self._leftBehind(clients)

    async def _stall(self, relays: list[LinkRelay]) -> None:
        """Perhaps nothing goes any further for a while, so that much is under way."""
        if self._chance.random() < 0.7:
            for relay in relays:
                relay.freeze()
            await deferLater(reactor, self._chance.random() * _MOST_STALLED)

    async def _stopServer(self) -> None:
        clients = self._clients()
        lab.restart(self._server)
        await self._leftBehind(clients)

    def _clients(self) -> list[SmClient]:
        return [window.client for window in self._windows.values()]

    async def _leftBehind(self, clients: list[SmClient]) -> None:
        windows = self._windows.values()
        await self._allOf(
            window.isLeft(client) for window, client in zip(windows, clients, strict=True)
        )

    # A round

    async def round(self, *faults: str, count: int = 0) -> None:
        """
        Write to each other, while something breaks; then look what has come.

        @param faults: of L{LINKS} or L{BEHIND}; when they happen is left to chance.
        @param count: how many messages the peer writes; the account writes a little more. 0 leaves
            that to chance, too.
        """
        self._rounds += 1
        self._faults = " ".join(faults)
        self._witness.forget()
        for each in self._everybody:
            each.begin()
        chance = self._chance
        count = count or chance.randrange(40, 120)
        when = sorted(chance.randrange(count) for _ in faults)
        breaking: list[Deferred[None]] = []
        for number in range(count):
            self._speak(f"{self._rounds}.{number}")
            if chance.random() < 0.2:
                await deferLater(reactor, chance.random() * _MOST_PAUSE)
            if chance.random() < 0.1:
                await self._peer.isTold()
            while len(breaking) < len(when) and when[len(breaking)] <= number:
                fault = faults[len(breaking)]
                self.tally.counts[fault] += 1
                breaking.append(Deferred.fromCoroutine(self._break(fault)))
        for broken in breaking:
            await broken
        await self._end()
        await self._look(faults)
        self.tally.counts["rounds"] += 1

    async def _break(self, fault: str) -> None:
        links = {
            "cut": self._cut,
            "freeze": self._freeze,
            "hurry": self._hurry,
            "both": self._both,
        }
        if fault in links:
            await links[fault]()
            return
        await self._behind.acquire()
        try:
            behind = {
                "proxy": self._killProxy,
                "upstream": self._cutUpstream,
                "server": self._stopServer,
            }
            await behind[fault]()
        finally:
            self._behind.release()

    def _speak(self, number: str) -> None:
        to = self._chance.choice(("", "", *(f"/{name}" for name in self._windows)))
        self._peer.say(self._account + to, f"peer.{number}")
        for name, window in self._windows.items():
            if self._chance.random() < 0.6:
                window.say(f"{name}.{number}")
            if self._chance.random() < 0.2:
                window.ask()
        first, second = self._bystanders
        if self._chance.random() < 0.3:
            first.say(f"second@{self._server.domain}/two", f"first.{number}")
            second.say(f"first@{self._server.domain}/one", f"second.{number}")

    async def _end(self) -> None:
        """Everybody says a last word, and everybody hears all of them."""
        await self._allOf(each.isTold() for each in self._everybody)
        if self._resumes:
            await self._allOf(each.isAnswered() for each in self._windows.values())
        last = f"{self._rounds}.last"
        for name, window in self._windows.items():
            window.say(f"{name}.{last}")
            self._peer.say(f"{self._account}/{name}", f"peer.{last}.{name}")
        first, second = self._bystanders
        first.say(f"second@{self._server.domain}/two", f"first.{last}")
        second.say(f"first@{self._server.domain}/one", f"second.{last}")
        await self._allOf(each.isTold() for each in self._everybody)
        for name, window in self._windows.items():
            await self._sees(self._peer, f"{name}.{last}")
            await self._sees(window, f"peer.{last}.{name}")
            for other in self._windows.keys() - {name} if not self._direct else ():
                await self._sees(window, f"peer.{last}.{other}")
                await self._sees(window, f"{other}.{last}")
        await self._sees(first, f"second.{last}")
        await self._sees(second, f"first.{last}")
        # What is doubled would have come behind.
        await self._allOf(each.isTold() for each in self._everybody)

    async def _sees(self, who: Window | Plain, body: str) -> None:
        await who.client.expect(
            lambda element: (
                element.name == "message" and (bodyOf(element) or "").rpartition(": ")[2] == body
            )
        )

    # What is said to have come

    def _told(self, bodies: list[str]) -> None:
        """A window was told that these are taken over."""
        if not self._direct:
            early = [body for body in bodies if not self._witness.handled(body)]
            self._early("the server", early)

    def _managed(self, jid: str) -> None:
        """A window has stream management on its stream."""
        for record in self._witness.records:
            if record.jid == jid and record.open:
                record.managed = True

    def _claimed(self, record: Record, bodies: list[str]) -> None:
        """The server was told that these are."""
        window = self._windows.get(record.jid.partition("/")[2])
        if window is not None:
            early = [body for body in bodies if not window.has(body)]
            self._early(record.jid, early)

    def _early(self, who: str, bodies: list[str]) -> None:
        self.tally.counts[_EARLY] += len(bodies)
        self._problem(f"acknowledged before {who} did", bodies)

    # What has come

    async def _look(self, faults: tuple[str, ...]) -> None:
        links = not self._direct and all(
            fault in LINKS or (self._resumes and fault == "upstream") for fault in faults
        )
        stopped = "server" in faults
        keeps = self._server.kind == "prosody" or links
        await self._lookAtAccount(faults, mayLose=stopped or not keeps)
        await self._lookAtPeer(mayLose=stopped)
        if links:
            self._lookAtAll()

    async def _lookAtAccount(self, faults: tuple[str, ...], mayLose: bool) -> None:
        """Has it got what the peer said?"""
        sent = [body for _, body in self._peer.said]

        def missing() -> list[str]:
            shown = {body for window in self._windows.values() for body in window.shown}
            return [body for body in sent if body not in shown]

        def loser(body: str) -> str | None:
            return self._loser(body, killed="proxy" in faults)

        await self._weigh("to the account", sent, missing, self._peer.errors, loser, mayLose)
        for window in self._windows.values():
            self.tally.counts["doubled"] += _more(window.shown)

    def _loser(self, body: str, killed: bool) -> str | None:
        """How a message to the account was lost, if that was not the proxy."""
        ways = set()
        for record, at in self._witness.sent(body):
            if record.open:
                return None
            if not record.counts:
                if self._reached(record, at, killed):
                    return None
                ways.add(_ON_THE_WAY)
            elif at < record.sentBefore:
                ways.add(_UNCOUNTED)
            elif at < record.claimed:
                return None
            else:
                ways.add(_BY_SERVER)
        return ways.pop() if len(ways) == 1 else _BY_SERVER

    def _reached(self, record: Record, at: int, killed: bool) -> bool:
        """Whether the proxy must have read a stanza, though it has told nobody."""
        if not record.managed:
            return False  # nor has the client, so there is nothing to tell by
        if at < record.reached and not killed:
            return True
        # What came behind it was shown, and came nowhere else.
        window = self._windows.get(record.jid.partition("/")[2])
        return window is not None and any(
            len(self._witness.sent(body)) == 1 and window.has(body)
            for body in record.sent[at + 1 :]
            if body is not None
        )

    async def _lookAtPeer(self, mayLose: bool) -> None:
        """Has it got what the account said?"""
        for name, window in self._windows.items():
            said = window.said

            def missing(said: list[str] = said) -> list[str]:
                shown = set(self._peer.shown)
                return [body for body in said if body not in shown]

            def loser(body: str) -> str | None:
                handled = self._direct or self._witness.handled(body)
                return _BY_SERVER if handled else None

            await self._weigh("to the peer", said, missing, window.errors, loser, mayLose)
            if not mayLose:
                self._order(f"from {name}", said, self._peer.shown)
        self.tally.counts["doubled"] += _more(self._peer.shown)

    async def _weigh(
        self,
        way: str,
        sent: list[str],
        missing: Callable[[], list[str]],
        errors: Callable[[], set[str]],
        loser: Callable[[str], str | None],
        mayLose: bool,
    ) -> None:
        """
        Count what was sent, and what is missing.

        @param loser: says which count a loss belongs to, if the proxy has no part in it.
        @param mayLose: whether such a loss is no problem.
        """
        counts = self.tally.counts

        def lost() -> dict[str, str | None]:
            told = errors()
            return {body: loser(body) for body in missing() if body not in told}

        # A server keeps some, and errors take time.
        for look in range(_LOOKS):
            left = lost().values()
            if not left or (look >= _FEW_LOOKS and mayLose and None not in left):
                break
            await deferLater(reactor, _BETWEEN_LOOKS)
        found = lost()
        counts[way] += len(sent)
        counts["returned"] += len(missing()) - len(found)
        counts.update(by or _BY_PROXY for by in found.values())
        self._problem(f"lost {way}", [body for body, by in found.items() if by is None])
        if not mayLose:
            self._problem(
                f"lost {way}, not by us", [body for body, by in found.items() if by is not None]
            )

    def _lookAtAll(self) -> None:
        """Only links broke: has everybody got everything, once?"""
        windows, peer = self._windows, self._peer
        rerouted = self._rerouted()
        for name, window in windows.items():
            if not window.resumed:
                self._problem("could not resume", [name])
            others = windows.keys() - {name}
            copied = [body for to, body in peer.said if to.partition("/")[2] in others]
            sent = [body for _, body in peer.said if body not in copied]
            copied += [body for other in others for body in windows[other].said]
            copied = self._withoutHoles(name, copied)
            # At least once is enough for what the server itself sends twice.
            shown = [body for body in window.shown if body not in rerouted]
            shown += rerouted & {*window.shown}
            self._once(f"in {name}", sent, shown)
            self._once(f"copied to {name}", copied, shown)
            self._once(f"from {name}", window.said, peer.shown)
            for address in {to for to, _ in peer.said}:
                sent = [body for to, body in peer.said if to == address and body not in rerouted]
                self._order(f"in {name}, to {address}", sent, window.shown)
        first, second = self._bystanders
        for one, two in (first, second), (second, first):
            self._once("of a bystander", [body for _, body in one.said], two.shown)
            if one.logins:
                self._problem("thrown out", [one.client.jid.full()])

    def _problem(self, what: str, messages: list[str]) -> None:
        if messages:
            self.tally.problems.append(
                f"{self._server.kind}, round {self._rounds} ({self._faults}): {what}: "
                + " ".join(messages)
            )

    def _withoutHoles(self, name: str, copied: list[str]) -> list[str]:
        """What has to be copied to a window, if the server may leave out copies: what it sent."""
        server = self._server
        if "upstream" not in self._faults or server.kind != "ejabberd" or not server.carbons:
            return copied
        jid = self._windows[name].client.jid.full()
        there = [
            body
            for body in copied
            if self._windows[name].has(body)
            or any(record.jid == jid for record, _ in self._witness.sent(body))
        ]
        self.tally.counts[_NOT_COPIED] += len(copied) - len(there)
        return there

    def _rerouted(self) -> set[str]:
        """What the server has sent twice on a stream, or behind what was said later, if it may."""
        if "upstream" not in self._faults or self._server.kind != "ejabberd":
            return set()
        rerouted = set()
        first: dict[tuple[str, Record], int] = {}  # of what was said later to an address
        for to, body in reversed(self._peer.said):
            places: dict[Record, set[int]] = {}
            for record, at in self._witness.sent(body):
                places.setdefault(record, set()).add(at)
            for record, ats in places.items():
                key = (to, record)
                if len(ats) > 1 or min(ats) > first.get(key, min(ats)):
                    rerouted.add(body)
                first[key] = min(first.get(key, min(ats)), min(ats))
        self.tally.counts[_REROUTED] += len(rerouted)
        return rerouted

    def _once(self, where: str, sent: list[str], shown: list[str]) -> None:
        times = Counter(shown)
        self._problem(
            f"not once {where}",
            [f"{each}: {times[each]}" for each in sent if times[each] != 1],
        )

    def _order(self, where: str, sent: list[str], shown: list[str]) -> None:
        wanted = set(sent)
        first = [body for body in dict.fromkeys(shown) if body in wanted]
        there = set(first)
        right = [body for body in sent if body in there]
        if first != right:
            self._problem(f"not in order {where}", first)


def _more(shown: list[str]) -> int:
    return len(shown) - len(set(shown))
