"""Whether ids of the server's archive can be believed (XEP-0359)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from xmpproxy import ns
from xmpproxy.iqs import offers
from xmpproxy.session import Link
from xmpproxy.stanza import Stanza


class StanzaIds(Link):
    """
    Learns whether the server stamps messages with such ids. If it does not, all that are in a
    message were put there by its sender, who may pretend anything.
    """

    def prepare(self) -> Deferred[None] | None:
        """Ask, but do not let the client wait for it: there are servers that never answer."""
        seat = self.parent.seat

        def discovered(info: Stanza) -> None:
            seat.stamped = offers(info, ns.STANZA_IDS)

        query = f"<query xmlns='{ns.DISCO_INFO}'/>"
        self.parent.questions.ask("get", query, discovered, to=seat.account)
        return None
