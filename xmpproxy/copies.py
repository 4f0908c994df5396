"""Plain copies: what a client that knows no carbons is shown of its siblings' conversations."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from xmpproxy import ns
from xmpproxy.stanza import Stanza

#: Requests that only the session which got the message itself should answer.
_REQUESTS = frozenset({(ns.RECEIPTS, "request"), (ns.CHAT_MARKERS, "markable")})
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
    if b"?OTR" not in message.data:
        return False
    text = message.text(ns.CLIENT, "body")
    return text is not None and text.lstrip().startswith(b"?OTR")


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
    text = message.text(ns.CLIENT, "body")
    if mode == "off" or recipient is None or text is None:
        return None
    if mode == "self":
        author, prefix = sender, ""
    else:
        # The window of a person belongs to the bare JID; that of somebody met in a chat room to
        # the full one (XEP-0045, section 7.5).
        room = message.has(ns.MUC_USER, "x")
        author = recipient if room else recipient.partition("/")[0]
        prefix = prefix.format(resource=sender.partition("/")[2])
    return (
        f"<message from={quoteattr(author)} to={quoteattr(to)} type='chat' id={quoteattr(id)}>"
        f"<body>{escape(prefix)}".encode()
        + text
        + b"</body></message>"
    )
