"""What a client may ask about its resource once it has one (RFC 6120, section 7; RFC 3921, 3)."""

from __future__ import annotations

from typing import ClassVar

from twisted.words.protocols.jabber.error import StanzaError, StreamError

from xmpproxy import ns
from xmpproxy.chain import Wants
from xmpproxy.iqs import answer, refusal
from xmpproxy.session import Link
from xmpproxy.stanza import Stanza


class Binding(Link):
    """Answers the session iq where the server would not, and refuses a second resource."""

    fromClient: ClassVar[Wants] = {"iq": frozenset({ns.BIND, ns.SESSION})}

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """A bind or session iq."""
        if stanza.type != "set":
            return stanza
        if stanza.has(ns.BIND, "bind"):
            error = StanzaError("not-allowed", text="this stream has a resource")
            self.parent.sendClient(refusal(stanza, error))
            self.parent.refuse(StreamError("policy-violation", text="this stream has a resource"))
            return None
        if self.parent.offers.session:
            return stanza
        self.parent.sendClient(answer(stanza))
        return None
