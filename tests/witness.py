"""
What passes between the proxy and its server, and what either of them has said to be handled.

It reads a link that is not encrypted. A message is known by its body. A carbon (XEP-0280) counts
where it is to be shown: a client that is not available, or whose own line it is, gets none.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.words.xish.domish import Element

from tests.rawclient import bodyOf
from tests.rawstream import StreamReader
from xmpproxy import ns

_STANZAS = ("message", "presence", "iq")


class Record:
    """
    One stream of the proxy's to the server, however many connections it takes.

    Stanzas are counted from the beginning of the connection.

    @ivar passage: its connection, or the last one.
    @ivar jid: the full JID that the server has bound; empty before that.
    @ivar available: whether the client is.
    @ivar managed: whether the client has stream management, for who knows that to say.
    @ivar counts: whether the server counts what it sends (XEP-0198).
    @ivar open: whether it goes on.
    @ivar reached: how many of C{sent} the system that the proxy runs on has taken, as far as known.
    @ivar sent: the stanzas that the server has sent: bodies of messages, L{None} for others.
    @ivar said: those that the proxy has sent.
    @ivar claimed: how many of C{sent} the proxy has said to be handled.
    @ivar handled: how many of C{said} the server has handled, as it has said, or has shown by the
        answer to a ping behind them.
    """

    def __init__(self, passage: Passage) -> None:
        self.passage = passage
        self.jid = ""
        self.available = False
        self.managed = False
        self.counts = False
        self.open = True
        self.reached = 0
        self.sent: list[str | None] = []
        self.said: list[str | None] = []
        self.claimed = 0
        self.handled = 0
        self.sentBefore = 0  # <enabled/>
        self.saidBefore = 0  # <enable/>


class Witness:
    """
    All such streams.

    @ivar records: one for each.
    """

    def __init__(self, claimed: Callable[[Record, list[str]], None]) -> None:
        """
        @param claimed: called with messages that the proxy has just said to be handled.
        """
        self.claimed = claimed
        self.records: list[Record] = []
        self.resumable: dict[str, Record] = {}
        self.sentIn: dict[str, list[tuple[Record, int]]] = {}
        self.saidIn: dict[str, list[tuple[Record, int]]] = {}

    def link(self) -> Passage:
        """There is one more connection."""
        return Passage(self)

    def handled(self, body: str) -> bool:
        """Whether the server has taken over a message of the account's."""
        return any(at < record.handled for record, at in self.saidIn.get(body, ()))

    def said(self, body: str) -> bool:
        """Whether a message of the account's has got as far as here."""
        return body in self.saidIn

    def sent(self, body: str) -> list[tuple[Record, int]]:
        """Where the server has sent a message, and as the how-manieth stanza."""
        return self.sentIn.get(body, [])

    def forget(self) -> None:
        """What was said so far does not matter any more; what is open still counts."""
        self.sentIn.clear()
        self.saidIn.clear()
        self.records = [record for record in self.records if record.open]


class Passage:
    """What passes through one connection. See L{tests.linkrelay.Tap}."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._record = Record(self)
        witness.records.append(self._record)
        self._previd = ""
        self._pings: dict[str, int] = {}
        self._proxy = self._server = StreamReader(_nothing, _nothing, _nothing)

    # Streams begin anew after SASL; a server may begin one just to close it.

    def nearSaid(self, data: bytes) -> None:
        """The proxy has sent something."""
        if data.startswith(b"<stream:stream"):
            self._proxy = StreamReader(_nothing, self._fromProxy, _nothing)
        self._proxy.feed(data)

    def farSaid(self, data: bytes) -> None:
        """The server has sent something."""
        rest, declaration, data = data.partition(b"<?xml")
        self._server.feed(rest)
        if declaration:
            self._server = StreamReader(_nothing, self._fromServer, _nothing)
            self._server.feed(declaration + data)

    def passed(self) -> None:
        """All that the server has sent has been taken."""
        self._record.reached = len(self._record.sent)

    def ended(self) -> None:
        """The connection is gone."""
        if self._record.passage is self:
            self._record.open = False

    def _fromProxy(self, element: Element, raw: bytes) -> None:
        record = self._record
        if element.uri in ns.STREAM_MANAGEMENT:
            match element.name:
                case "enable":
                    record.saidBefore = len(record.said)
                case "a":
                    self._claimed(int(element["h"]))
                case "resume":
                    self._previd = element["previd"]
                    self._resumedAt = int(element["h"])
        elif _isStanza(element):
            if element.name == "iq" and any(each.uri == ns.PING for each in element.elements()):
                self._pings[element["id"]] = len(record.said) + 1
            elif element.name == "presence" and not element.hasAttribute("to"):
                record.available = not element.hasAttribute("type")
            body = bodyOf(element)
            if body is not None:
                self._witness.saidIn.setdefault(body, []).append((record, len(record.said)))
            record.said.append(body)

    def _fromServer(self, element: Element, raw: bytes) -> None:
        record = self._record
        if element.uri in ns.STREAM_MANAGEMENT:
            match element.name:
                case "enabled":
                    record.counts = True
                    record.sentBefore = record.claimed = len(record.sent)
                    if element.hasAttribute("id"):
                        self._witness.resumable[element["id"]] = record
                case "a":
                    self._handled(record.saidBefore + int(element["h"]))
                case "resumed":
                    self._resumed(int(element["h"]))
        elif _isStanza(element):
            if element.name == "iq":
                self._handled(self._pings.pop(element.getAttribute("id") or "", 0))
                for bind in element.elements(ns.BIND, "bind"):
                    record.jid = "".join(str(jid) for jid in bind.elements(ns.BIND, "jid"))
            body = _shown(element, record)
            if body is not None:
                self._witness.sentIn.setdefault(body, []).append((record, len(record.sent)))
            record.sent.append(body)

    def _claimed(self, h: int) -> None:
        record = self._record
        before, after = record.claimed, record.sentBefore + h
        if after > before:
            record.claimed = after
            bodies = [body for body in record.sent[before:after] if body is not None]
            self._witness.claimed(record, bodies)

    def _handled(self, count: int) -> None:
        self._record.handled = max(self._record.handled, count)

    def _resumed(self, h: int) -> None:
        """Another connection goes on with an earlier stream."""
        witness = self._witness
        witness.records.remove(self._record)
        record = self._record = witness.resumable[self._previd]
        if record not in witness.records:
            witness.records.append(record)
        record.open, record.passage = True, self
        self._claimed(self._resumedAt)
        self._handled(record.saidBefore + h)
        # What is not handled comes again.
        del record.sent[record.sentBefore + self._resumedAt :]
        del record.said[record.saidBefore + h :]


def _nothing(*what: object) -> None:
    pass


def _isStanza(element: Element) -> bool:
    return element.uri == ns.CLIENT and element.name in _STANZAS


def _shown(element: Element, record: Record) -> str | None:
    """The text of a message, or of the one in a carbon, if the client is to be shown that."""
    message = element
    for carbon in element.elements():
        if carbon.uri == ns.CARBONS and carbon.name in ("sent", "received"):
            message = next(carbon.firstChildElement().elements())
            if not record.available or message["from"] == record.jid:
                return None
    return (bodyOf(message) or "").rpartition(": ")[2] or None
