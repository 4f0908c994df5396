"""A raw client that speaks stream management (XEP-0198), and keeps a strict account of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import quoteattr

from twisted.words.xish.domish import Element

from tests.linkrelay import Place
from tests.rawclient import Predicate, RawClient, Tls, bodyOf
from tests.rawstream import StreamReader

SM = "urn:xmpp:sm:3"

_MODULUS = 2**32
_STANZAS = ("message", "presence", "iq")
_HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"


class ManagedStream:
    """What a client remembers of one managed stream, however many connections it takes.

    @ivar previd: what to resume it by; L{None} if that is not possible.
    @ivar handled: how many stanzas came.
    @ivar sent: how many stanzas were sent.
    @ivar unacknowledged: those that the server has not acknowledged, as they were sent.
    """

    def __init__(self) -> None:
        self.previd: str | None = None
        self.handled = 0
        self.sent = 0
        self.unacknowledged: deque[bytes] = deque()

    @property
    def acknowledged(self) -> int:
        """How many the server has acknowledged."""
        return self.sent - len(self.unacknowledged)

    def settle(self, h: int) -> list[bytes]:
        """Take what the server acknowledges.

        @return: it.
        @raise AssertionError: it is more than was sent, or less than before.
        """
        more = (h - self.acknowledged) % _MODULUS
        if more > len(self.unacknowledged):
            raise AssertionError(
                f"h is {h}: {self.sent} were sent, {self.acknowledged} acknowledged"
            )
        return [self.unacknowledged.popleft() for _ in range(more)]


class SmClient(RawClient):
    """One connection of a client that speaks stream management.

    @ivar managed: its managed stream; L{None} while there is none.
    @ivar answering: whether it answers C{<r/>}.
    @ivar acknowledges: called with what the server acknowledges.
    @ivar everything: the stanzas that came since stream management was enabled first, on this
        connection and the ones before it.
    """

    def __init__(
        self,
        host: str,
        port: int,
        jid: str,
        password: str,
        resource: str | None = None,
        trust: Path | None = None,
    ) -> None:
        super().__init__(host, port, jid, password, resource, trust)
        self.managed: ManagedStream | None = None
        self.answering = True
        self.acknowledges: Callable[[list[bytes]], None] = lambda stanzas: None
        self.everything: list[Element] = []
        self._again = (jid, password, resource)
        self._counting = False  # what comes; what is sent is counted a little earlier
        self._sent: StreamReader | None = None

    @property
    def shown(self) -> list[str]:
        """The bodies of the messages in C{everything}."""
        bodies = (bodyOf(element) for element in self.everything if element.name == "message")
        return [body for body in bodies if body is not None]

    def successor(self, at: Place) -> SmClient:
        """A client that goes on where this one is, on another connection. What comes on this one
        from now on is lost.

        @param at: where to connect to.
        """
        jid, password, resource = self._again
        client = SmClient(at.host, at.port, jid, password, resource, at.trust)
        client.jid = self.jid
        client.managed, self.managed = self.managed, None
        self._counting, self._sent = False, None
        client.everything = self.everything
        client.answering = self.answering
        client.acknowledges = self.acknowledges
        return client

    async def enable(self, resume: bool = True) -> Element:
        """Enable stream management; what an earlier stream has left is sent again.

        @return: the answer: C{<enabled/>} or C{<failed/>}.
        """
        before, self.managed = self.managed, ManagedStream()
        self.send(f"<enable xmlns='{SM}' resume='{str(resume).lower()}'/>")
        self._countSent()
        if before is not None:
            self.send(b"".join(before.unacknowledged))
        return await self.expect(_managing("enabled", "failed"))

    async def resume(self, tls: Tls = "starttls", mechanism: str = "PLAIN") -> Element:
        """Connect, authenticate, and resume the stream of the client that this is the successor of.

        @return: the answer: C{<resumed/>}, or C{<failed/>}: a resource may be bound then.
        """
        assert self.managed is not None and self.managed.previd is not None
        await self.connect(tls)
        await self.authenticate(mechanism)
        previd, h = quoteattr(self.managed.previd), self.managed.handled % _MODULUS
        self.send(f"<resume xmlns='{SM}' previd={previd} h='{h}'/>")
        return await self.expect(_managing("resumed", "failed"))

    async def recover(self, tls: Tls = "starttls", priority: int | None = 0) -> bool:
        """Come back in any case: resume, or else bind and enable anew.

        @param priority: of the presence that is sent then; L{None} sends none.
        @return: whether the stream was resumed.
        """
        if (await self.resume(tls)).name == "resumed":
            return True
        await self.bind()
        await self.enable()
        if priority is not None:
            self.send(f"<presence><priority>{priority}</priority></presence>")
        return False

    async def acknowledged(self) -> None:
        """Ask, and wait until all that was sent before is acknowledged."""
        assert self.managed is not None
        target = self.managed.sent
        self.send(f"<r xmlns='{SM}'/>")
        await self.expect(_managing("a"))
        while self.managed.acknowledged < target:
            await self.expect(_managing("a"))

    def acknowledge(self) -> None:
        """Say what has come."""
        assert self.managed is not None
        self.send(f"<a xmlns='{SM}' h='{self.managed.handled % _MODULUS}'/>")

    def send(self, data: str | bytes) -> None:
        """Send some bytes as they are: whole elements, once stream management is enabled."""
        if self._sent is not None:
            self._sent.feed(data.encode() if isinstance(data, str) else data)
        super().send(data)

    async def close(self) -> None:
        """Say what has come, end the stream and wait for the connection's end."""
        if self._counting:
            self.acknowledge()
        await super().close()

    def _countSent(self) -> None:
        self._sent = StreamReader(lambda header: None, self._isSent, lambda: None)
        self._sent.feed(_HEADER)

    def _isSent(self, element: Element, raw: bytes) -> None:
        assert self.managed is not None
        if _isStanza(element):
            self.managed.sent += 1
            self.managed.unacknowledged.append(raw)

    def _gotElement(self, element: Element, raw: bytes) -> None:
        if element.uri == SM:
            self._manage(element)
        elif self.managed is not None and _isStanza(element):
            if self._counting:
                self.managed.handled += 1
            self.everything.append(element)  # before <enabled/>, too: messages come once bound
        super()._gotElement(element, raw)

    def _manage(self, element: Element) -> None:
        managed = self.managed
        if managed is None:
            return
        match element.name:
            case "r":
                if self.answering:
                    self.acknowledge()
            case "a":
                self._settle(managed, element)
            case "enabled":
                self._counting = True
                if element.getAttribute("resume") in ("true", "1"):
                    managed.previd = element["id"]
            case "resumed":
                assert element["previd"] == managed.previd
                self._settle(managed, element)
                super().send(b"".join(managed.unacknowledged))
                self._counting = True
                self._countSent()
            case "failed":
                self._counting = False
                self._sent = None
                if element.hasAttribute("h"):  # it is too late, but this much has arrived
                    self._settle(managed, element)

    def _settle(self, managed: ManagedStream, element: Element) -> None:
        self.acknowledges(managed.settle(int(element["h"])))


def _isStanza(element: Element) -> bool:
    return element.uri == "jabber:client" and element.name in _STANZAS


def _managing(*names: Literal["enabled", "resumed", "failed", "a"]) -> Predicate:
    return lambda element: element.uri == SM and element.name in names
