"""Plain copies: what a client that knows no carbons is shown of its siblings' conversations."""

from __future__ import annotations

from twisted.words.xish import domish

from xmpproxy import ns
from xmpproxy.stanza import Stanza, serialize

#: Requests that only the session which got the message itself should answer.
_REQUESTS = ((ns.RECEIPTS, "request"), (ns.CHAT_MARKERS, "markable"))
_ENCRYPTED = frozenset(
    {
        (ns.ENCRYPTION, "encryption"),
        (ns.OPENPGP, "openpgp"),
        (ns.OPENPGP_LEGACY, "x"),
        *((namespace, "encrypted") for namespace in ns.OMEMO),
    }
)


def encrypted(message: Stanza) -> bool:
    """Whether the body is for one client only, or no text at all: it gets no plain copy."""
    if not _ENCRYPTED.isdisjoint(message.children):
        return True
    return (
        (ns.CLIENT, "body") in message.children
        and b"?OTR" in message.data
        and body(message).lstrip().startswith("?OTR")
    )


def body(message: Stanza) -> str:
    """The text of a message, C{""} if it has none."""
    for element in message.element.elements(ns.CLIENT, "body"):
        return str(element)
    return ""


def received(message: Stanza, to: str) -> bytes:
    """
    The copy of an incoming message: the message itself, without requests to confirm it.

    @param to: full JID of the session that gets the copy.
    """
    return message.without(_REQUESTS).withAttributes({"to": to})


def sent(message: Stanza, to: str, sender: str, mode: str, prefix: str, id: str) -> bytes | None:
    """
    The copy of a message that another session sent, or L{None} if there is nothing to show.

    @param to: full JID of the session that gets the copy.
    @param sender: full JID of the session that sent the message.
    @param mode: C{"prefix"}: in the window of the person it was sent to, its text prefixed;
        C{"self"}: as a message from the sending session; C{"off"}: not at all.
    @param prefix: what the text begins with in that window; C{{resource}} stands for the sender's.
    @param id: the id of the copy.
    """
    recipient = message.attributes.get("to")
    if mode == "off" or recipient is None or (ns.CLIENT, "body") not in message.children:
        return None
    text = body(message)
    copy = domish.Element((ns.CLIENT, "message"))
    if mode == "self":
        copy["from"] = sender
    else:
        # The window of a person belongs to the bare JID; that of somebody met in a chat room to
        # the full one (XEP-0045, section 7.5).
        room = (ns.MUC_USER, "x") in message.children
        copy["from"] = recipient if room else recipient.partition("/")[0]
        text = prefix.format(resource=sender.partition("/")[2]) + text
    copy["to"] = to
    copy["type"] = "chat"
    copy["id"] = id
    copy.addElement("body", content=text)
    return serialize(copy)
