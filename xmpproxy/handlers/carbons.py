"""Who does the account's carbons, the server or we, and which clients want them (XEP-0280)."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.words.protocols.jabber.error import StanzaError

from xmpproxy import ns
from xmpproxy.chain import Wants
from xmpproxy.iqs import answer, offers, refusal
from xmpproxy.jid import isAccount, isDomain
from xmpproxy.session import Link
from xmpproxy.shown import shown
from xmpproxy.stanza import Stanza

log = Logger()

_WISHES = ((ns.CARBONS, "enable"), (ns.CARBONS, "disable"))


class Carbons(Link):
    """
    Enables the server's carbons for every session, so that the server decides what is copied.
    The client's wish is answered here: it says only in which form the client is shown copies.
    """

    fromClient: ClassVar[Wants] = {"iq": frozenset({ns.CARBONS})}
    fromServer: ClassVar[Wants] = {"iq": frozenset({ns.CARBONS})}

    def prepare(self) -> Deferred[None] | None:
        """
        Enable the server's carbons, if it has any. Service discovery comes first: there are
        servers that answer an unknown iq with nothing that could be recognised as an answer.
        """
        if self.parent.mirrorConfig.server_carbons == "ignore":
            return None
        done: Deferred[None] = Deferred()
        seat = self.parent.seat

        def discovered(info: Stanza) -> None:
            if offers(info, ns.CARBONS):
                seat.asked = True
                self.parent.questions.ask("set", f"<enable xmlns='{ns.CARBONS}'/>", enabled)
            else:
                done.callback(None)

        def enabled(result: Stanza) -> None:
            if result.type != "result":
                seat.asked = False
                log.warn(
                    "{jid}: the server has carbons, but refuses them to this session; "
                    "the proxy makes its copies",
                    jid=shown(self.parent.jid),
                )
            elif self.parent.account is None:
                seat.served = True
            # Else the session has begun without: its copies stay ours, and the carbons are forks.
            done.callback(None)

        self.parent.questions.ask("get", f"<query xmlns='{ns.DISCO_INFO}'/>", discovered)
        return done

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """The client enables or disables carbons (sections 4 and 5)."""
        seat = self.parent.seat
        asked = stanza.attributes.get("to", seat.account)
        ours = isAccount(asked, seat.account) or isDomain(asked, self.parent.domain)
        if stanza.type not in ("set", "get") or not ours:
            return stanza
        reason = _fault(stanza)
        if reason:
            self.parent.warn("refused", "request", f"for carbons: {reason}")
            error = StanzaError("bad-request", text=reason)
            self.parent.sendClient(refusal(stanza, error, asked, seat.jid))
        else:
            seat.carbons = stanza.has(ns.CARBONS, "enable")
            self.parent.sendClient(answer(stanza, asked, seat.jid))
        return None

    def serverStanza(self, stanza: Stanza) -> Stanza | None:
        """Nobody else says which carbons the client gets (sections 4.1 and 5.1)."""
        if stanza.type != "set":
            return stanza
        sender = shown(stanza.attributes.get("from", "nobody"))
        self.parent.warn("refused", "request", f"for carbons from {sender}: not-allowed")
        self.parent.send(refusal(stanza, StanzaError("not-allowed")))
        return None


def _fault(wish: Stanza) -> str | None:
    """What is wrong with a request to enable or disable carbons."""
    if wish.type != "set":
        return "not of type set"
    if len(wish.children) != 1:
        return "two payloads"
    if wish.children[0] not in _WISHES:
        return "neither enable nor disable"
    payload = wish.element.firstChildElement()
    assert payload is not None, "there is one"
    if any(True for _ in payload.elements()) or str(payload).strip():
        return "not empty"
    return None
