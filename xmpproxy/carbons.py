"""
Message Carbons (XEP-0280): which messages are copied, and how carbons are made and read.

Decisions come as C{(answer, reason)}: the reason goes to the log.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from xmpproxy import ns
from xmpproxy.ids import ofCopy
from xmpproxy.jid import belongs, isAccount
from xmpproxy.stanza import Stanza, quoted


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
_NO_COPY = (ns.HINTS, "no-copy")
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
        ns.FASTENING,
        ns.REACTIONS,
        ns.CALL_INVITES,
        ns.JINGLE_MESSAGE,
        ns.ENCRYPTION,
        ns.OPENPGP,
        ns.OPENPGP_LEGACY,
        *ns.OMEMO,
        *ns.RETRACTION,
    }
)


def eligible(
    message: Stanza, direction: Direction, account: str, *, answers: bool = False
) -> Decision:
    """
    Whether a message is to be copied to the account's other sessions (XEP-0280, section 6.1).

    @param message: a message as it came, from the server or from one of the clients.
    @param account: the account's bare JID.
    @param answers: of an error: whether what it answers was eligible.
    """
    kind = message.type
    children = message.children
    if kind == "groupchat":
        return Decision(False, kind)
    if ofCopy(message.id) or not _NEVER_COPIED.isdisjoint(children):
        return Decision(False, "a copy or an archived message")
    if (ns.CARBONS, "private") in children or _NO_COPY in children:
        return Decision(False, "private")
    received = direction is Direction.RECEIVED
    sender = message.attributes.get("from")
    if received and (sender is None or isAccount(sender, account)):
        return Decision(False, "of the account itself")  # a notice of the server
    if kind == "error":
        return Decision(answers, "error")
    if (ns.MUC_USER, "x") in children:
        if _invites(message):
            return Decision(True, "invitation")
        if "/" in message.attributes.get("from" if received else "to", ""):
            # A room sends such a message to each resource that has joined it.
            return Decision(not received, "private message in a room")
    if kind == "chat":
        return Decision(True, "chat")
    if any(namespace in _CONVERSATION for namespace, _ in children):
        return Decision(True, "conversation")
    if kind == "headline":
        return Decision(False, kind)
    if (ns.CLIENT, "body") in children:
        return Decision(True, "body")
    return Decision(False, "no conversation")


def _invites(message: Stanza) -> bool:
    """Whether it is an invitation into a room, direct or mediated (XEP-0045, section 7.8)."""
    return message.has(ns.CONFERENCE, "x") or any(
        True
        for x in message.element.elements(ns.MUC_USER, "x")
        for _ in x.elements(ns.MUC_USER, "invite")
    )


def isCarbon(message: Stanza) -> bool:
    """Whether a message claims to be a carbon. Only C{unwrap} tells if it is a true one."""
    return not _CARBON.isdisjoint(message.children)


#: What stands before the message in nearly all carbons, and behind it.
_BEFORE_INNER = re.compile(
    rb"<message\s[^>\"']*(?:(?:\"[^\"]*\"|'[^']*')[^>\"']*)*>"
    + f"<(received|sent) xmlns=['\"]{ns.CARBONS}['\"]>"
    f"<forwarded xmlns=['\"]{ns.FORWARD}['\"]>".encode()
)
_BEHIND_INNER = {
    each.value.encode(): f"</forwarded></{each.value}></message>".encode() for each in Direction
}
_DIRECTIONS = {each.value.encode(): each for each in Direction}


class Forged(Exception):
    """A message that only looks like a carbon (CVE-2017-5589 and its family)."""


def unwrap(carbon: Stanza, account: str, canonical: str | None = None) -> tuple[Direction, Stanza]:
    """
    The message inside of a carbon that a server sent (sections 7, 8 and 11).

    No spelling of the address is taken for the account's own that the server has not used for it:
    servers may have an account that differs from this one only in case.

    @param account: the bare JID of the session's own account, as the server has written it.
    @param canonical: another spelling, of which the server was seen to mean the same by it.
    @raise Forged: it does not come from the own account, or its content cannot be true.
    """
    if carbon.attributes.get("from") not in (account, canonical or account):
        raise Forged("not from the own account")
    direction, message = _cutOut(carbon) or _takenFromTree(carbon)
    if isCarbon(message):
        raise Forged("a carbon inside of a carbon")
    # A server leaves out `to` of what a session sends to its own account.
    own = message.attributes.get("to" if direction is Direction.RECEIVED else "from", account)
    if not belongs(own, account):
        raise Forged("somebody else's message")
    return direction, message


def _cutOut(carbon: Stanza) -> tuple[Direction, Stanza] | None:
    """
    What is inside, in its own bytes, if the carbon has the shape that nearly all have: three start
    tags that declare no prefix, one whole element, and the three end tags.
    """
    data = carbon.data
    before = _BEFORE_INNER.match(data)
    if before is None or b"xmlns:" in before[0]:
        return None
    behind = _BEHIND_INNER[before[1]]
    if not data.endswith(behind):
        return None
    message = Stanza.fromDocument(data[before.end() : -len(behind)])
    if message is None or message.name != "message":
        return None
    return _DIRECTIONS[before[1]], message


def _takenFromTree(carbon: Stanza) -> tuple[Direction, Stanza]:
    """
    The same, whatever the shape is.

    @raise Forged: there is not one message inside of one carbon.
    """
    wrappers = [child for child in carbon.element.elements() if child.uri == ns.CARBONS]
    if len(wrappers) != 1 or wrappers[0].name not in ("received", "sent"):
        raise Forged("not exactly one carbon")
    forwarded = list(wrappers[0].elements(ns.FORWARD, "forwarded"))
    if len(forwarded) != 1:
        raise Forged("not exactly one forwarded stanza")
    inner = [
        child for child in forwarded[0].elements() if (child.uri, child.name) != (ns.DELAY, "delay")
    ]
    if len(inner) != 1 or (inner[0].uri, inner[0].name) != (ns.CLIENT, "message"):
        raise Forged("no message inside")
    return Direction(wrappers[0].name), Stanza.fromElement(inner[0])


def wrap(message: Stanza, direction: Direction, account: str, to: str, sender: str | None) -> bytes:
    """
    A carbon (sections 7 and 8).

    @param account: the account's bare JID.
    @param to: the full JID of the session that gets the carbon.
    @param sender: the full JID to put into a sent message, which a client need not write.
    """
    kind = "" if message.type is None else f" type={quoted(message.type)}"
    inner = message.standalone({"from": sender} if sender is not None else {})
    return (
        f"<message from={quoted(account)} to={quoted(to)}{kind}>"
        f"<{direction.value} xmlns='{ns.CARBONS}'><forwarded xmlns='{ns.FORWARD}'>".encode()
        + inner
        + f"</forwarded></{direction.value}></message>".encode()
    )


def isPrivate(message: Stanza) -> bool:
    """Whether a message is marked as private (section 9)."""
    return not _PRIVATE.isdisjoint(message.children)


def withoutPrivate(message: Stanza) -> Stanza:
    """What its recipient gets of a message that is marked as private: the mark is for servers."""
    return message.without(_PRIVATE)


def hinted(message: Stanza) -> Stanza:
    """
    What the server gets of a message that is marked as private, where the mark was for us: it gives
    way to the hint (XEP-0334) that keeps the recipient's server from making copies as well.
    """
    delivered = message.without(_PRIVATE)
    return delivered if delivered.has(*_NO_COPY) else delivered.withEmpty(*_NO_COPY)
