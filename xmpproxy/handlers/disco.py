"""Service discovery (XEP-0030) that tells of what the proxy adds."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from xmpproxy import ns
from xmpproxy.session import Link, Wants
from xmpproxy.stanza import Stanza, parse

_ADDED = (ns.CARBONS, ns.CARBONS_RULES)
#: How many questions a client may have open before answers to the oldest pass unchanged.
_REMEMBERED = 64


class Disco(Link):
    """Adds carbons to what the server and the account can do, where it is us who do them."""

    fromClient: ClassVar[Wants] = {"iq": frozenset({ns.DISCO_INFO})}
    fromServer: ClassVar[Wants] = {"iq": frozenset({ns.DISCO_INFO})}

    def __init__(self) -> None:
        super().__init__()
        self._asked: deque[str] = deque(maxlen=_REMEMBERED)

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """A question of the client, of the server or account perhaps."""
        ours = not self.parent.seat.served and stanza.attributes.get("to") in self._own()
        if ours and stanza.type == "get" and stanza.id:
            self._asked.append(stanza.id)
        return stanza

    def _own(self) -> tuple[str | None, ...]:
        """The addresses of the server and the account."""
        return (None, self.parent.seat.account, self.parent.domain)

    def serverStanza(self, stanza: Stanza) -> Stanza | None:
        """An answer to the client."""
        if stanza.id is None or stanza.id not in self._asked:
            return stanza
        if stanza.attributes.get("from") not in (*self._own(), self.parent.jid):
            return stanza  # somebody else's; clients' ids are easily guessed
        self._asked.remove(stanza.id)
        if stanza.type != "result":
            return stanza
        element = parse(stanza.data)
        for query in element.elements(ns.DISCO_INFO, "query"):
            if query.hasAttribute("node"):
                return stanza  # of some part, not of the whole
            listed = [each.getAttribute("var") for each in query.elements(ns.DISCO_INFO, "feature")]
            for feature in _ADDED:
                if feature not in listed:
                    query.addElement("feature")["var"] = feature
        return Stanza.fromElement(element)
