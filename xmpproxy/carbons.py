"""
Message Carbons (XEP-0280): which messages are copied, and how carbons are made and read.

Decisions come as C{(answer, reason)}: the reason goes to the log.
"""

from __future__ import annotations

import enum
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from xmpproxy import ns
from xmpproxy.stanza import Stanza


class Direction(enum.Enum):
    """Which way the copied message went, seen from the account (XEP-0280, section 1)."""

    RECEIVED = "received"
    SENT = "sent"


class Decision(NamedTuple):
    """
    @ivar copy: whether the other sessions get a copy.
    @ivar reason: one word or two that say why.
    """

    copy: bool
    reason: str


_CARBON = frozenset({(ns.CARBONS, "received"), (ns.CARBONS, "sent")})
_PRIVATE = frozenset({(ns.CARBONS, "private")})
_NEVER_COPIED = frozenset(
    {
        (ns.CARBONS, "received"),
        (ns.CARBONS, "sent"),
        (ns.MAM, "result"),
        (ns.PUBSUB_EVENT, "event"),
    }
)
#: Payloads that make a message without body part of a conversation (section 6.1).
_CONVERSATION = frozenset(
    {
        ns.RECEIPTS,
        ns.CHAT_STATES,
        ns.CHAT_MARKERS,
        ns.CONFERENCE,
        ns.CORRECTION,
        ns.REACTIONS,
        ns.JINGLE_MESSAGE,
        ns.ENCRYPTION,
        ns.OPENPGP,
        ns.OPENPGP_LEGACY,
        *ns.OMEMO,
        *ns.RETRACTION,
    }
)


def eligible(message: Stanza, direction: Direction) -> Decision:
    """
    Whether a message is to be copied to the account's other sessions (XEP-0280, section 6.1).

    @param message: a message as it came, from the server or from one of the clients.
    """
    kind = message.type
    children = message.children
    if kind in ("groupchat", "error", "headline"):
        return Decision(False, kind)
    if not _NEVER_COPIED.isdisjoint(children):
        return Decision(False, "a copy or an archived message")
    if (ns.CARBONS, "private") in children or (ns.HINTS, "no-copy") in children:
        return Decision(False, "private")
    if (ns.MUC_USER, "x") in children:
        return _fromRoom(message, direction)
    if kind == "chat":
        return Decision(True, "chat")
    if (ns.CLIENT, "body") in children:
        return Decision(True, "body")
    if any(namespace in _CONVERSATION for namespace, _ in children):
        return Decision(True, "conversation")
    return Decision(False, "no conversation")


def _fromRoom(message: Stanza, direction: Direction) -> Decision:
    for x in message.element.elements(ns.MUC_USER, "x"):
        if any(True for _ in x.elements(ns.MUC_USER, "invite")):
            return Decision(True, "invitation")
    # A room sends a private message to every joined resource itself.
    if direction is Direction.RECEIVED or message.type != "chat":
        return Decision(False, "private message in a room")
    return Decision(True, "private message in a room")


def isCarbon(message: Stanza) -> bool:
    """Whether a message claims to be a carbon. Only C{unwrap} tells if it is a true one."""
    return not _CARBON.isdisjoint(message.children)


def belongs(address: str, account: str) -> bool:
    """
    Whether an address is the account's own, bare or full. Servers may leave it as it was typed.

    @param account: the bare JID.
    """
    return address.partition("/")[0].lower() == account.lower()


class Forged(Exception):
    """A message that only looks like a carbon (CVE-2017-5589 and its family)."""


def unwrap(carbon: Stanza, account: str) -> tuple[Direction, Stanza]:
    """
    The message inside of a carbon that a server sent (sections 7, 8 and 11).

    @param account: the bare JID of the session's own account.
    @raise Forged: it does not come from the own account, or its content cannot be true.
    """
    if carbon.attributes.get("from") != account:
        raise Forged("not from the own account")
    wrappers = [child for child in carbon.element.elements() if child.uri == ns.CARBONS]
    if len(wrappers) != 1 or wrappers[0].name not in ("received", "sent"):
        raise Forged("not exactly one carbon")
    direction = Direction(wrappers[0].name)
    forwarded = list(wrappers[0].elements(ns.FORWARD, "forwarded"))
    if len(forwarded) != 1:
        raise Forged("not exactly one forwarded stanza")
    inner = [
        child for child in forwarded[0].elements() if (child.uri, child.name) != (ns.DELAY, "delay")
    ]
    if len(inner) != 1 or (inner[0].uri, inner[0].name) != (ns.CLIENT, "message"):
        raise Forged("no message inside")
    message = Stanza.fromElement(inner[0])
    if isCarbon(message):
        raise Forged("a carbon inside of a carbon")
    # A server leaves out `to` of what a session sends to its own account.
    own = message.attributes.get("to" if direction is Direction.RECEIVED else "from", account)
    if not belongs(own, account):
        raise Forged("somebody else's message")
    return direction, message


def wrap(message: Stanza, direction: Direction, account: str, to: str, sender: str | None) -> bytes:
    """
    A carbon (sections 7 and 8).

    @param account: the account's bare JID.
    @param to: the full JID of the session that gets the carbon.
    @param sender: the full JID to put into a sent message, which a client need not write.
    """
    kind = "" if message.type is None else f" type={quoteattr(message.type)}"
    inner = message.standalone({"from": sender} if sender is not None else {})
    return (
        f"<message from={quoteattr(account)} to={quoteattr(to)}{kind}>"
        f"<{direction.value} xmlns='{ns.CARBONS}'><forwarded xmlns='{ns.FORWARD}'>".encode()
        + inner
        + f"</forwarded></{direction.value}></message>".encode()
    )


def withoutPrivate(message: Stanza) -> Stanza:
    """
    What is delivered of a message that its sender marked as private: the same without the mark,
    which concerns nobody but the sender's own server (section 9).
    """
    return message.without(_PRIVATE)
