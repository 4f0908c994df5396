"""What a client may ask about its resource once it has one (RFC 6120, section 7; RFC 3921, 3)."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.words.protocols.jabber.error import StanzaError, StreamError

from xmpproxy import jid, ns
from xmpproxy.chain import Wants
from xmpproxy.iqs import answer, refusal
from xmpproxy.session import Link
from xmpproxy.stanza import Stanza


class Binding(Link):
    """
    Answers the session iq where the server would not, and refuses a second resource. Learns whose
    the resource is, if the server has spelled that as the client did.
    """

    fromClient: ClassVar[Wants] = {"iq": frozenset({ns.BIND, ns.SESSION})}

    def prepare(self) -> Deferred[None] | None:
        """
        Find out whether the account is the one whose address is prepared as its own would be.

        Servers may write a client's own spelling into the bind result (ejabberd). All spellings of
        an account prepare to one, but a server may tell accounts apart that prepare to the same
        (pyjabber has C{Alice} and C{alice}; with PRECIS, C{straße} and C{strasse} are two). So the
        server is asked, by a stanza to the other spelling with the client's own resource: is it one
        account, it comes back on this very stream, from its own full JID. If not, it is dropped
        (RFC 6120, section 8.2.3), and the answer to a ping comes without it.
        """
        session = self.parent
        seat = session.seat
        canonical = jid.prepared(seat.account)
        if canonical == seat.account:
            return None
        done: Deferred[None] = Deferred()

        def returned(stanza: Stanza) -> None:
            # Not once the account has been joined.
            if session.account is None and stanza.attributes.get("from") == session.jid:
                seat.canonical = canonical

        def answered() -> None:
            session.questions.forget(sent)
            done.callback(None)

        sent = session.questions.ask(
            "result", "", returned, to=f"{canonical}/{jid.resourceOf(session.jid)}"
        )
        session.questions.ping(answered)
        return done

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
