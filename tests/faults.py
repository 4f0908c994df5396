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

What a server does itself is nobody's fault here. It sends errors for what was on its way to a
session that is gone, while the other one is there: the sender was told. What it has kept for a
session that is gone comes in an order of its own. And some is counted as unpromised:

  - What a server without acknowledgements (jabberd2) has written to a connection that breaks behind
    the proxy is gone, as it is for every client of that server.
  - When an account's connections to ejabberd break, and those after them soon, some of what comes
    then is lost: measured without the proxy as well, in 3 of 60 rounds. (It may be what is sent
    between resource binding and C{<enabled/>}, where nobody counts.)
  - What ejabberd should copy to a window by its carbons is gone at times, if the stream for that is
    being resumed: measured without the proxy as well, in 2 of 150 rounds.
  - What a server has taken over just before it stops may be gone or late: without the proxy,
    ejabberd loses some of that in every second round.
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
from xmpproxy import lab

T = TypeVar("T", bound=RawClient)

#: What breaks a window's link; with "hurry" it comes back on two connections, "both" is both links.
LINKS = ("cut", "freeze", "hurry", "both")
#: What breaks more: the proxy is killed; its connections to the server are cut; the server stops.
#: Both, or all, come back.
BEHIND = ("proxy", "upstream", "server")

#: The accounts that a server needs.
USERS = ("account", "peer", "first", "second")

_WINDOWS = ("desk", "phone")
_MOST_PAUSE = 0.02  # seconds
_MOST_STALLED = 0.3  # seconds
_LOOKS = 100  # at what has come, before something is missing,
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
        self._behind = DeferredLock()  # what breaks there is whole again before something else does
        self._upstream = LinkRelay(server)
        self._windows: dict[str, Window] = {}
        self._everybody: Sequence[Plain | Window] = ()

    async def start(self) -> None:
        """Start the proxy, and have everybody log in."""
        await self._upstream.start()
        upstream: dict[str, str | bool] = {
            "upstream": f"tcp:{self._upstream.host}:{self._upstream.port}"
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
            self._windows[name] = Window(client, relay, f"peer@{domain}/peer", self.tally.counts)
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

    async def round(self, *faults: str) -> None:
        """
        Write to each other, while something breaks; then look what has come.

        @param faults: of L{LINKS} or L{BEHIND}; when they happen is left to chance.
        """
        self._rounds += 1
        for each in self._everybody:
            each.begin()
        chance = self._chance
        count = chance.randrange(40, 120)
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

    # What has come

    async def _look(self, faults: tuple[str, ...]) -> None:
        links = not self._direct and all(
            fault in LINKS or (self._resumes and fault == "upstream") for fault in faults
        )
        stopped = "server" in faults
        keeps = self._server.kind == "prosody" or links
        await self._lookAtAccount(faults, promised=not stopped and keeps)
        await self._lookAtPeer(faults, promised=not stopped)
        if links:
            self._lookAtAll(faults)

    async def _lookAtAccount(self, faults: tuple[str, ...], promised: bool) -> None:
        """Has it got what the peer said?"""
        sent = [body for _, body in self._peer.said]

        def missing() -> list[str]:
            shown = {body for window in self._windows.values() for body in window.shown}
            return [body for body in sent if body not in shown]

        await self._weigh(faults, "to the account", sent, missing, self._peer.errors, promised)
        for window in self._windows.values():
            self.tally.counts["doubled"] += _more(window.shown)

    async def _lookAtPeer(self, faults: tuple[str, ...], promised: bool) -> None:
        """Has it got what the account said?"""
        for name, window in self._windows.items():
            said = window.said

            def missing(said: list[str] = said) -> list[str]:
                shown = set(self._peer.shown)
                return [body for body in said if body not in shown]

            await self._weigh(faults, "to the peer", said, missing, window.errors, promised)
            if promised:
                self._order(faults, f"from {name}", said, self._peer.shown)
        self.tally.counts["doubled"] += _more(self._peer.shown)

    async def _weigh(
        self,
        faults: tuple[str, ...],
        way: str,
        sent: list[str],
        missing: Callable[[], list[str]],
        errors: Callable[[], set[str]],
        promised: bool,
    ) -> None:
        """Count what was sent, and what is missing."""
        counts = self.tally.counts
        for _ in range(_LOOKS if promised else 0):
            if not set(missing()) - errors():
                break
            await deferLater(reactor, _BETWEEN_LOOKS)  # a server keeps some, and errors take time
        told = errors()
        lost = [body for body in missing() if body not in told]
        counts[way] += len(sent)
        counts["bounced"] += len(missing()) - len(lost)
        if promised:
            self._problem(faults, f"lost {way}", lost)
        else:
            counts["unpromised"] += len(lost)

    def _lookAtAll(self, faults: tuple[str, ...]) -> None:
        """Only links broke: has everybody got everything, once?"""
        windows, peer = self._windows, self._peer
        for name, window in windows.items():
            if not window.resumed:
                self._problem(faults, "could not resume", [name])
            others = windows.keys() - {name}
            copied = [body for to, body in peer.said if to.partition("/")[2] in others]
            sent = [body for _, body in peer.said if body not in copied]
            copied += [body for other in others for body in windows[other].said]
            self._once(faults, f"in {name}", sent, window.shown)
            self._once(faults, f"copied to {name}", copied, window.shown, self._holes(faults))
            self._once(faults, f"from {name}", window.said, peer.shown)
            for address in {to for to, _ in peer.said}:
                sent = [body for to, body in peer.said if to == address]
                self._order(faults, f"in {name}, to {address}", sent, window.shown)
        first, second = self._bystanders
        for one, two in (first, second), (second, first):
            self._once(faults, "of a bystander", [body for _, body in one.said], two.shown)
            if one.logins:
                self._problem(faults, "thrown out", [one.client.jid.full()])

    def _problem(self, faults: tuple[str, ...], what: str, messages: list[str]) -> None:
        if messages:
            self.tally.problems.append(
                f"{self._server.kind}, round {self._rounds} ({' '.join(faults)}): {what}: "
                + " ".join(messages)
            )

    def _holes(self, faults: tuple[str, ...]) -> bool:
        """Whether the server may have left out copies."""
        return "upstream" in faults and self._server.kind == "ejabberd" and self._server.carbons

    def _once(
        self,
        faults: tuple[str, ...],
        where: str,
        sent: list[str],
        shown: list[str],
        holes: bool = False,
    ) -> None:
        times = Counter(shown)
        if holes:
            self.tally.counts["unpromised"] += sum(not times[each] for each in sent)
            sent = [each for each in sent if times[each]]
        self._problem(
            faults,
            f"not once {where}",
            [f"{each}: {times[each]}" for each in sent if times[each] != 1],
        )

    def _order(
        self, faults: tuple[str, ...], where: str, sent: list[str], shown: list[str]
    ) -> None:
        wanted = set(sent)
        first = [body for body in dict.fromkeys(shown) if body in wanted]
        there = set(first)
        right = [body for body in sent if body in there]
        if first != right:
            self._problem(faults, f"not in order {where}", first)


def _more(shown: list[str]) -> int:
    return len(shown) - len(set(shown))
