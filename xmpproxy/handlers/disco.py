"""Service discovery (XEP-0030) that tells of what the proxy adds."""

from __future__ import annotations

from typing import ClassVar

from xmpproxy import ns
from xmpproxy.chain import Wants
from xmpproxy.jid import isAccount, isDomain
from xmpproxy.session import Link
from xmpproxy.stanza import Stanza, parse

#: How many questions a client may have open before answers to the oldest pass unchanged.
_REMEMBERED = 64

#: Hashes of the answer to a disco#info query.
_CAPS = frozenset((namespace, "c") for namespace in ns.CAPS)


class Disco(Link):
    """
    Adds what we do to what the server and the account can do. Where the server does the carbons,
    all answers are its own: of the account's command its list of commands tells.

    Presence of whom something is added to loses its entity capabilities (XEP-0115, XEP-0390): the
    hash of an answer that the client will not get. Such hashes come in stream features as well, see
    L{xmpproxy.features}, and nowhere else.
    """

    fromClient: ClassVar[Wants] = {"iq": frozenset({ns.DISCO_INFO})}
    fromServer: ClassVar[Wants] = {
        "iq": frozenset({ns.DISCO_INFO}),
        "presence": frozenset(ns.CAPS),
    }

    def __init__(self) -> None:
        super().__init__()
        self._asked: list[tuple[str, tuple[str, ...]]] = []

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """A question of the client, of the server or account perhaps."""
        added = self._added(stanza.attributes.get("to"))
        if added and stanza.type == "get" and stanza.id and not _ofPart(stanza):
            self._asked.append((stanza.id, added))
            del self._asked[:-_REMEMBERED]
        return stanza

    def _added(self, to: str | None) -> tuple[str, ...]:
        """What we do at an address. None is the account's (RFC 6120, section 10.3.3)."""
        if self.parent.seat.served:
            return ()
        if to is None or isAccount(to, self.parent.seat.account):
            return (ns.CARBONS, ns.CARBONS_RULES, ns.COMMANDS)
        return (ns.CARBONS, ns.CARBONS_RULES) if isDomain(to, self.parent.domain) else ()

    def serverStanza(self, stanza: Stanza) -> Stanza | None:
        """An answer to the client, or presence."""
        if stanza.name == "presence":
            return stanza.without(_CAPS) if self._added(stanza.attributes.get("from")) else stanza
        asked = next((each for each in self._asked if each[0] == stanza.id), None)
        if asked is None:
            return stanza
        parent = self.parent
        sender = stanza.attributes.get("from")
        if not parent.questions.mayAnswer(sender):
            return stanza  # somebody else's; clients' ids are easily guessed
        self._asked.remove(asked)
        if stanza.type != "result":
            return stanza
        if _ofPart(stanza):
            return stanza
        element = parse(stanza.data)
        for query in element.elements(ns.DISCO_INFO, "query"):
            listed = [each.getAttribute("var") for each in query.elements(ns.DISCO_INFO, "feature")]
            for feature in asked[1]:
                if feature not in listed:
                    query.addElement("feature")["var"] = feature
        return Stanza.fromElement(element)


def _ofPart(stanza: Stanza) -> bool:
    """Whether a question or answer is about some part of an entity, not about the whole."""
    return any(
        query.hasAttribute("node") for query in stanza.element.elements(ns.DISCO_INFO, "query")
    )
