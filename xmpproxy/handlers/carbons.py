"""Who does the account's carbons, the server or we, and which clients want them (XEP-0280)."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet.defer import Deferred

from xmpproxy import ns
from xmpproxy.handlers.binding import answer
from xmpproxy.session import Link, Wants
from xmpproxy.stanza import Stanza


class Carbons(Link):
    """
    Enables the server's carbons for every session, so that the server decides what is copied.
    The client's wish is answered here: it says only in which form the client is shown copies.
    """

    fromClient: ClassVar[Wants] = {"iq": frozenset({ns.CARBONS})}

    def prepare(self) -> Deferred[None] | None:
        """
        Enable the server's carbons, if it has any. Service discovery comes first: there are
        servers that answer an unknown iq with nothing that could be recognised as an answer.
        """
        if self.parent.mirrorConfig.server_carbons == "ignore":
            return None
        done: Deferred[None] = Deferred()

        def discovered(info: Stanza) -> None:
            if _hasCarbons(info):
                self.parent.ask("set", f"<enable xmlns='{ns.CARBONS}'/>", enabled)
            else:
                done.callback(None)

        def enabled(result: Stanza) -> None:
            self.parent.seat.served = result.type == "result"
            done.callback(None)

        self.parent.ask("get", f"<query xmlns='{ns.DISCO_INFO}'/>", discovered)
        return done

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """The client enables or disables carbons (sections 4 and 5)."""
        to = stanza.attributes.get("to")
        if stanza.type != "set" or to not in (None, self.parent.seat.account, self.parent.domain):
            return stanza
        self.parent.seat.carbons = stanza.has(ns.CARBONS, "enable")
        self.parent.sendClient(answer(stanza))
        return None


def _hasCarbons(info: Stanza) -> bool:
    return info.type == "result" and any(
        feature.getAttribute("var") == ns.CARBONS
        for query in info.element.elements(ns.DISCO_INFO, "query")
        for feature in query.elements(ns.DISCO_INFO, "feature")
    )
