"""A message of an account's conversation, and what its copies look like."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

from twisted.words.xish import domish

from xmpproxy import carbons, copies, ns
from xmpproxy.carbons import Direction
from xmpproxy.jid import resourceOf
from xmpproxy.shown import legible
from xmpproxy.stanza import Stanza

#: Stands for the reader's address in a copy until somebody reads it. It occurs in no XML.
_READER = "\0"
_READER_BYTES = _READER.encode()


class Due(enum.Enum):
    """What a session is shown of a line, unless the server sends it the message itself."""

    NOTHING = enum.auto()
    CARBON = enum.auto()
    PLAIN_COPY = enum.auto()


class Reader(Protocol):
    """
    Whom a copy is made for.

    @ivar account: the account's bare JID.
    @ivar address: the full JID as it is written into XML, in double quotes.
    @ivar plain: how a plain copy of a sent message looks: mode and prefix of L{copies.sent}.
    @ivar named: what a resource is called in the prefix.
    """

    account: str
    address: bytes
    plain: tuple[str, str]
    named: Callable[[str], str]

    def shownAs(self, sender: str, id: str | None) -> str | None:
        """The id of the plain copy of what a session sent under this id, if there was one."""


class Line:
    """
    A message of the conversation, and its copies. They differ in little more than whom they are
    addressed to, so each kind is made once, when the first of it is shown.

    @ivar message: the message as one session got or sent it.
    @ivar direction: which of the two.
    @ivar sender: full JID of who wrote it.
    @ivar id: the id of plain copies, if it was sent.
    """

    __slots__ = (
        "_canonical",
        "_copies",
        "_inside",
        "_readable",
        "_stamped",
        "direction",
        "id",
        "message",
        "sender",
    )

    def __init__(
        self,
        message: Stanza,
        direction: Direction,
        sender: str,
        id: str = "",
        *,
        stamped: bool = False,
    ) -> None:
        """
        @param stamped: whether the server sees to it that ids of its archive are true (XEP-0359).
        """
        self.message = message
        self.direction = direction
        self.sender = sender
        self.id = id
        self._stamped = stamped
        self._readable: bool | None = None
        self._inside: bytes | None = None  # all that is behind the start tag
        self._canonical: list[object] | None = None
        self._copies: dict[object, bytes] = {}

    @property
    def readable(self) -> bool:
        """Whether clients without carbons have any use for it."""
        if self._readable is None:
            message = self.message
            self._readable = message.type != "error" and not copies.encrypted(message)
        return self._readable

    def copyFor(self, reader: Reader, due: Due) -> bytes:
        """A copy for this session, C{b""} if there is nothing to show."""
        if due is Due.NOTHING:
            return b""
        # Sessions of one account may have different spellings of its address.
        kind: object = (due, reader.account)
        replaces = None
        if due is Due.PLAIN_COPY and self.direction is Direction.SENT:
            if self.message.has(ns.CORRECTION, "replace"):
                replaces = reader.shownAs(self.sender, copies.corrects(self.message))
            kind = (*reader.plain, replaces)
        copy = self._copies.get(kind)
        if copy is None:
            copy = self._copies[kind] = self._make(reader, due, replaces)
        return copy.replace(_READER_BYTES, reader.address)

    def _make(self, reader: Reader, due: Due, replaces: str | None) -> bytes:
        message = copies.withoutForged(self.message, reader.account, self._stamped)
        received = self.direction is Direction.RECEIVED
        if due is Due.CARBON:
            sender = None if received else self.sender
            return carbons.wrap(message, self.direction, reader.account, _READER, sender)
        if received:
            return copies.received(message, _READER)
        mode, prefix = reader.plain
        prefix = prefix.format(resource=legible(reader.named(resourceOf(self.sender))))
        prefix = prefix.replace("{", "{{").replace("}", "}}")  # nothing is left to fill in
        return copies.sent(message, _READER, self.sender, mode, prefix, self.id, replaces) or b""

    def hasContentOf(self, fork: Stanza) -> bool:
        """Whether a message with the same key is the same in all that is inside of it."""
        if fork.data == self.message.data:
            return True
        if self._inside is None:
            self._inside = self.message.data[self.message.startTagLength :]
        inside = self._inside
        if fork.data.endswith(inside) and fork.startTagLength + len(inside) == len(fork.data):
            return True
        if self._canonical is None:
            self._canonical = _content(self.message)
        return self._canonical == _content(fork)


#: What one fork of a message may have that another has not: a server that held it back says since
#: when (XEP-0203), and another proxy before this one has asked for confirmation once already.
_NOT_COMPARED = copies.REQUESTS | {(ns.DELAY, "delay")}


def _content(message: Stanza) -> list[object]:
    """The children that count, whatever order a server has written attributes in."""
    return [
        _canonical(child)
        for child in message.element.children
        if not (domish.IElement.providedBy(child) and (child.uri, child.name) in _NOT_COMPARED)
    ]


def _canonical(node: domish.Element | str) -> object:
    if not domish.IElement.providedBy(node):
        return str(node)
    assert isinstance(node, domish.Element)
    attributes = sorted((str(name), value) for name, value in node.attributes.items())
    return (node.uri, node.name, attributes, [_canonical(child) for child in node.children])
