"""Clients that come back whenever something has broken, and that keep account of what they say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar
from xml.sax.saxutils import quoteattr

from OpenSSL.SSL import Error as TlsError
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.task import deferLater
from twisted.words.xish.domish import Element

from tests.linkrelay import LinkRelay
from tests.rawclient import RawClient, bodyOf
from tests.smclient import SM, SmClient

T = TypeVar("T")

_BETWEEN_TRIES = 0.1  # seconds
_TRIES = 200
_BODY = re.compile(b"<body>(.*?)</body>")
_BROKEN = (ConnectError, ConnectionClosed, TlsError)
#: What the proxy says while it has no server, and jabberd2 when a login comes at a bad time.
_NOT_NOW = ("remote-connection-failed", "reset", "system-shutdown", "internal-server-error")


class Party:
    """
    Somebody who comes back.

    @ivar client: the client, or the last one.
    """

    client: RawClient

    def __init__(self) -> None:
        self._lock = DeferredLock()

    @property
    def online(self) -> bool:
        """Whether it is connected, as far as it knows."""
        raise NotImplementedError

    async def attempt(self) -> None:
        """Log in, or resume."""
        raise NotImplementedError

    async def isTold(self) -> None:
        """Wait until all that it has said is taken over."""
        raise NotImplementedError

    def begin(self) -> None:
        """A round begins."""
        raise NotImplementedError

    async def comeBack(self) -> None:
        """Try until it is there."""
        await self._lock.acquire()
        try:
            for _ in range(_TRIES):
                if self.online:
                    return
                try:
                    await self.attempt()
                    continue
                except (AssertionError, *_BROKEN) as error:
                    _excuse(error)
                await deferLater(reactor, _BETWEEN_TRIES)
            raise AssertionError("it cannot come back")
        finally:
            self._lock.release()

    async def persist(self, do: Callable[[], Awaitable[T]]) -> T:
        """Do something until it was not interrupted."""
        for _ in range(_TRIES):
            await self.comeBack()
            try:
                return await do()
            except _BROKEN:
                pass
        raise AssertionError("it is always interrupted")


class Window(Party):
    """
    A session of the account.

    @ivar client: its client, or the last one.
    @ivar said: the messages of this round.
    @ivar resumed: whether it has gone on as one session in this round.
    """

    client: SmClient

    def __init__(
        self,
        client: SmClient,
        relay: LinkRelay,
        peer: str,
        counts: Counter[str],
        told: Callable[[list[str]], None],
        managed: Callable[[str], None],
    ) -> None:
        """
        @param relay: what the client, and those after it, connect to.
        @param peer: whom it writes to.
        @param counts: of how often it has resumed, and not.
        @param told: called with what it was told to be taken over.
        @param managed: called with its full JID when it has enabled stream management.
        """
        super().__init__()
        self.client = client
        client.acknowledges = lambda stanzas: told(
            [found[1].decode() for stanza in stanzas if (found := _BODY.search(stanza))]
        )
        self.relay = relay
        self.said: list[str] = []
        self.resumed = True
        self._peer = peer
        self._counts = counts
        self._managed = managed
        self._up = False
        self._unsaid: list[str] = []
        self._ever: set[str] = set()  # has it been shown,
        self._looked = 0  # up to here

    @property
    def online(self) -> bool:
        return self._up and self.client.open

    @property
    def shown(self) -> list[str]:
        """The bodies of the messages that came in this round, without the prefixes of copies."""
        return [body.rpartition(": ")[2] for body in self.client.shown if body]

    def has(self, body: str) -> bool:
        """Whether it has ever got a message."""
        everything = self.client.everything
        if body not in self._ever and self._looked < len(everything):
            new = (bodyOf(each) for each in everything[self._looked :] if each.name == "message")
            self._ever.update(body.rpartition(": ")[2] for body in new if body)
            self._looked = len(everything)
        return body in self._ever

    async def attempt(self) -> None:
        self._up = False
        if self.client.managed is None:
            await self.client.login(priority=None)
            await self.client.enable()
            self.client.send("<presence><priority>0</priority></presence>")
        else:
            old, self.client = self.client, self.client.successor(self.relay)
            resumed = await self._recover(self.client)
            if old.open:
                await old.abort()
            self.resumed = self.resumed and resumed
            self._counts["resumed" if resumed else "begun anew"] += 1
        self._managed(self.client.jid.full())
        self._up = True
        unsaid, self._unsaid = self._unsaid, []
        for body in unsaid:
            self.client.say(self._peer, body, id=body)

    @staticmethod
    async def _recover(client: SmClient) -> bool:
        assert client.managed is not None
        if client.managed.previd is not None:
            return await client.recover()
        await client.connect()
        await client.authenticate()
        await client.bind()
        await client.enable()
        client.send("<presence><priority>0</priority></presence>")
        return False

    def say(self, body: str) -> None:
        """Write to the peer, as soon as that is possible."""
        self.said.append(body)
        if self._up:  # or believes to be
            self.client.say(self._peer, body, id=body)
        else:
            self._unsaid.append(body)

    def ask(self) -> None:
        """Have the other side say what it has taken over so far."""
        if self.online:
            self.client.send(f"<r xmlns='{SM}'/>")

    async def isTold(self) -> None:
        """Wait until all is acknowledged."""
        await self.persist(lambda: self.client.acknowledged())

    async def isAnswered(self) -> None:
        """Wait until the server has answered it."""
        await self.persist(lambda: self.client.sync())

    async def isCut(self) -> None:
        """Its link breaks."""
        client = self.client
        self.relay.cut()
        await self.isLeft(client)

    async def freezes(self) -> None:
        """Its link breaks, which nobody is told."""
        self.relay.freeze()
        if not self._up:
            await self.client.abort()  # it was coming back, and would wait for long
        self._up = False
        await self.comeBack()

    async def hurries(self, rival: RawClient) -> None:
        """
        Its link breaks, and it tries to resume on two connections at once.

        @param rival: the second one, which comes to nothing in the end.
        """
        managed = self.client.managed
        assert managed is not None
        previd = quoteattr(managed.previd or "")
        resume = f"<resume xmlns='{SM}' previd={previd} h='{managed.handled}'/>"
        comesBack = Deferred.fromCoroutine(self.isCut())
        try:
            await rival.connect()
            await rival.authenticate()
            rival.send(resume)
            await rival.expect(lambda element: element.name in ("resumed", "failed", "error"))
        except (AssertionError, *_BROKEN) as error:
            _excuse(error)
        await rival.abort()
        await comesBack

    async def isLeft(self, client: SmClient) -> None:
        """
        The other side is going.

        @param client: its client of that moment.
        """
        if self._up and client is self.client:
            await client.expectEnd()
        await self.comeBack()

    def errors(self) -> set[str]:
        """The messages of this round that did not arrive, as far as it was told."""
        return _errors(self.client.everything)

    def begin(self) -> None:
        """A round begins."""
        self.said.clear()
        self.resumed = True
        self.has("")
        self.client.everything.clear()
        self._looked = 0
        self.client.forget()


class Plain(Party):
    """
    A client without stream management.

    @ivar said: the messages of this round that the server has taken over, with their addresses.
    """

    def __init__(self, make: Callable[[], RawClient]) -> None:
        """
        @param make: makes the client, and those after it.
        """
        super().__init__()
        self._make = make
        self._clients = [make()]
        self.client = self._clients[-1]
        self._up = False
        self.said: list[tuple[str, str]] = []
        self._pending: list[tuple[str, str]] = []

    @property
    def logins(self) -> int:
        """How often it has logged in in this round."""
        return len(self._clients) - 1

    @property
    def online(self) -> bool:
        return self._up and self.client.open

    @property
    def shown(self) -> list[str]:
        """The bodies of the messages of this round."""
        return [body for client in self._clients for body in client.bodies if body]

    async def attempt(self) -> None:
        self._up = False
        self.client = self._make()
        self._clients.append(self.client)
        await self.client.login()
        self._up = True
        for to, body in self._pending:
            self.client.say(to, body, id=body)

    def say(self, to: str, body: str) -> None:
        """Write to somebody; if it comes to that, once more after the next login."""
        self._pending.append((to, body))
        if self.online:
            self.client.say(to, body, id=body)

    async def isTold(self) -> None:
        """Wait until the server has taken over all."""

        async def ping() -> None:
            count = len(self._pending)
            await self.client.sync()
            self.said += self._pending[:count]
            del self._pending[:count]

        await self.persist(ping)

    def errors(self) -> set[str]:
        """The messages of this round that did not arrive, as far as it was told."""
        return {body for client in self._clients for body in _errors(client.received)}

    def begin(self) -> None:
        """A round begins."""
        self.said.clear()
        del self._clients[:-1]
        self.client.forget()


def _excuse(error: Exception) -> None:
    """
    Connections break, and the other side may not be ready.

    @raise Exception: it is something else.
    """
    if isinstance(error, AssertionError) and not any(each in str(error) for each in _NOT_NOW):
        raise error


def _errors(elements: Iterable[Element]) -> set[str]:
    return {
        str(element["id"])
        for element in elements
        if element.name == "message" and element.getAttribute("type") == "error"
    }
