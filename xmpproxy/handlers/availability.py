"""Whether a client wants messages at all (RFC 6121, sections 4.2, 4.5 and 4.7.2.3)."""

from __future__ import annotations

from typing import ClassVar

from xmpproxy import ns
from xmpproxy.chain import Wants
from xmpproxy.session import Link
from xmpproxy.stanza import Stanza


class Availability(Link):
    """Notes the client's own presence. One that is directed at somebody says nothing."""

    fromClient: ClassVar[Wants] = {"presence": None}

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """A presence stanza."""
        if "to" not in stanza.attributes:
            if stanza.type is None:
                self.parent.seat.interested = _priority(stanza) >= 0
            elif stanza.type == "unavailable":
                self.parent.seat.interested = False
        return stanza


def _priority(presence: Stanza) -> int:
    if presence.has(ns.CLIENT, "priority"):
        for element in presence.element.elements(ns.CLIENT, "priority"):
            try:
                return int(str(element))
            except ValueError:
                return 0  # the server refuses it
    return 0
