"""Answers that the proxy gives to iqs (RFC 6120, sections 8.2.3 and 8.3), and those it gets."""

from __future__ import annotations

from twisted.words.protocols.jabber.error import StanzaError

from xmpproxy import ns
from xmpproxy.stanza import Stanza, serialize


def answer(request: Stanza, from_: str | None = None, to: str | None = None) -> bytes:
    """
    The empty result that answers an iq.

    @param from_: who answers; by default whom the request was addressed to.
    @param to: who asked, if that is to be written.
    """
    sender = from_ or request.attributes.get("to")
    return Stanza(b"<iq/>", "iq", ns.CLIENT, {}, ()).withAttributes(
        {"type": "result", "id": request.id or "", "from": sender, "to": to}
    )


def refusal(
    request: Stanza, error: StanzaError, from_: str | None = None, to: str | None = None
) -> bytes:
    """The error that answers a stanza, without what was in that. Parameters as of L{answer}."""
    sender = from_ or request.attributes.get("to")
    receiver = to or request.attributes.get("from")
    end = f"</{request.name}>"
    empty = Stanza(f"<{request.name}>{end}".encode(), request.name, ns.CLIENT, {}, ())
    head = empty.withAttributes(
        {"type": "error", "id": request.id, "from": sender, "to": receiver}
    ).removesuffix(end.encode())
    return head + serialize(error.getElement()) + end.encode()


def offers(info: Stanza, feature: str) -> bool:
    """Whether an answer to a disco#info query lists a feature (XEP-0030, section 3.1)."""
    return info.type == "result" and any(
        listed.getAttribute("var") == feature
        for query in info.element.elements(ns.DISCO_INFO, "query")
        for listed in query.elements(ns.DISCO_INFO, "feature")
    )
