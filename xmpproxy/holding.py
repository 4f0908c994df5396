"""
What an inactive client (XEP-0352) need not be told at once: that others type, and their presence.

Only the latest of each sender is kept. What is not such a stanza is important: the client gets all
that is held, in the order in which it came, and then that. In doubt a stanza is important.
"""

from __future__ import annotations

from collections.abc import Callable

from xmpproxy import carbons, ns
from xmpproxy.carbons import Direction, Forged
from xmpproxy.jid import bare
from xmpproxy.stanza import Stanza

#: How many stanzas are held at most. With one more the client gets them all.
MOST_HELD = 500

#: What a held stanza is about: the next one that is about the same takes its place.
Topic = tuple[str | None, ...]

#: Types of messages in which a chat state may come. The others are answered, or not for people.
_TYPES = frozenset({None, "normal", "chat", "groupchat"})

#: What servers and clients put beside a chat state, and what says nothing without a text.
_BESIDES = frozenset({ns.DELAY, ns.HINTS, ns.OCCUPANT_ID, ns.STANZA_IDS})
_THREAD = (ns.CLIENT, "thread")


class Holding:
    """
    Stands before what writes to a client while that is inactive.

    @ivar send: what writes to it.
    """

    __slots__ = ("_bytes", "_held", "_jid", "_mostBytes", "send")

    def __init__(self, send: Callable[[bytes], None], jid: str, mostBytes: int) -> None:
        """
        @param jid: the client's full JID.
        @param mostBytes: how much is held at most. With more the client gets it all.
        """
        self.send = send
        self._jid = jid
        self._mostBytes = mostBytes
        self._held: dict[Topic, bytes] = {}
        self._bytes = 0

    def write(self, data: bytes) -> None:
        """Hold a stanza back, or send it behind all that was held."""
        stanza = Stanza.fromBytes(data)
        about = None if stanza is None else topic(stanza, self._jid)
        if about is None:
            self.flush()
            self.send(data)
            return
        self._bytes += len(data) - len(self._held.pop(about, b""))
        self._held[about] = data
        if len(self._held) > MOST_HELD or self._bytes > self._mostBytes:
            self.flush()

    @property
    def waiting(self) -> int:
        """How many bytes are held."""
        return self._bytes

    @property
    def empty(self) -> bool:
        """Whether nothing is held."""
        return not self._held

    def flush(self) -> None:
        """Send all that is held, a stanza at a time."""
        held, self._held = self._held, {}
        self._bytes = 0
        for data in held.values():
            self.send(data)


def topic(stanza: Stanza, jid: str) -> Topic | None:
    """
    What a stanza is about if it can wait, L{None} if it is important.

    @param jid: the full JID of the client that it is for.
    """
    if stanza.namespace != ns.CLIENT:
        return None
    if stanza.name == "presence":
        return _presence(stanza, jid)
    if stanza.name == "message":
        return _message(stanza, bare(jid))
    return None


def _presence(presence: Stanza, jid: str) -> Topic | None:
    """
    Whose presence it is, unless that is the client's own. Important are requests and answers
    (RFC 6121, sections 3 and 4.3), and what is said of a call or of one's own stay in a room.
    """
    sender = presence.attributes.get("from")
    if presence.type not in (None, "unavailable") or sender in (None, jid):
        return None
    if any(namespace == ns.MUJI for namespace, _ in presence.children):
        return None
    # Status codes, the end of a room: whatever is more than who the occupant is (XEP-0045).
    if presence.has(ns.MUC_USER, "x") and any(
        said.name != "item"
        for x in presence.element.elements(ns.MUC_USER, "x")
        for said in x.elements()
    ):
        return None
    return ("presence", sender)


def _message(message: Stanza, account: str) -> Topic | None:
    """Who types to whom, if a message or the one in a carbon says nothing else."""
    direction = Direction.RECEIVED
    if carbons.isCarbon(message):
        if any(namespace not in _BESIDES | {ns.CARBONS} for namespace, _ in message.children):
            return None
        try:
            direction, message = carbons.unwrap(message, account)
        except Forged:
            return None
    if message.type not in _TYPES or not _isChatState(message):
        return None
    sender = message.attributes.get("from")
    # The same occupant of a room may type there, and to oneself in private.
    where = "room" if message.type == "groupchat" else "chat"
    if direction is Direction.RECEIVED:
        return (where, sender)
    return (where, sender, message.attributes.get("to"))


def _isChatState(message: Stanza) -> bool:
    """Whether a message has a chat state (XEP-0085), and nothing that a person would miss."""
    namespaces = {child[0] for child in message.children if child != _THREAD}
    return ns.CHAT_STATES in namespaces and namespaces <= _BESIDES | {ns.CHAT_STATES}
