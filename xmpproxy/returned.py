"""
What senders hear of stanzas that a client will not get any more, from a proxy before a server that
has forgotten them (RFC 6121, section 8.5; pure).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from twisted.words.protocols.jabber.error import StanzaError

from xmpproxy import carbons
from xmpproxy.holding import topic
from xmpproxy.ids import ofCopy
from xmpproxy.iqs import refusal
from xmpproxy.stanza import Stanza, spans


def returned(pieces: Iterable[bytes], jid: str, *, messages: bool) -> Iterator[bytes]:
    """
    The errors to send.

    @param pieces: what the client has not acknowledged, each one stanza or several.
    @param jid: its full JID.
    @param messages: whether messages are lost, too; else others have shown them.
    """
    for piece in pieces:
        for begin, end in spans(piece, 0):
            stanza = Stanza.fromBytes(piece[begin:end])
            if stanza is None or "from" not in stanza.attributes:
                continue
            if stanza.name == "iq" and stanza.type in ("get", "set"):
                yield refusal(stanza, StanzaError("service-unavailable"))
            elif messages and _isMessage(stanza, jid):
                yield refusal(stanza, StanzaError("recipient-unavailable"))


def _isMessage(stanza: Stanza, jid: str) -> bool:
    """Whether it is somebody's message to this client that a person would miss."""
    return (
        stanza.name == "message"
        and stanza.type in (None, "normal", "chat")
        and not carbons.isCarbon(stanza)
        and not ofCopy(stanza.id)
        and topic(stanza, jid) is None
    )
