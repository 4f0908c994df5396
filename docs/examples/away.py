"""A link that tells a client what it missed while its user was away."""

from __future__ import annotations

from typing import ClassVar
from xml.sax.saxutils import quoteattr

from xmpproxy import ns
from xmpproxy.chain import Wants
from xmpproxy.session import Link
from xmpproxy.stanza import Stanza


class Away(Link):
    """Counts messages between the presence that says "away" and the one that does not any more."""

    fromClient: ClassVar[Wants] = {"presence": None}
    fromServer: ClassVar[Wants] = {"message": None}
    missed: int | None = None  # not away

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """Presence for all to see says where the user is; any other kind is no matter of ours."""
        if stanza.type is None and "to" not in stanza.attributes:
            away = stanza.text(ns.CLIENT, "show") in (b"away", b"xa")
            if self.missed and not away:
                head = f"<message from={quoteattr(self.parent.domain)} type='headline'>"
                body = f"<body>Messages while you were away: {self.missed}</body>"
                self.parent.sendClient(f"{head}{body}</message>".encode())
            self.missed = (self.missed or 0) if away else None
        return stanza

    def serverStanza(self, stanza: Stanza) -> Stanza | None:
        """A message on its way to the client; only those with a text count."""
        if self.missed is not None and stanza.has(ns.CLIENT, "body"):
            self.missed += 1
        return stanza
