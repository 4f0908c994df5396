"""Stream management (XEP-0198), which the proxy does not speak yet."""

from __future__ import annotations

from typing import ClassVar

from xmpproxy import ns
from xmpproxy.session import Link, Wants
from xmpproxy.stanza import Stanza


class StreamManagement(Link):
    """Refuses it: a server would count the stanzas that we add and ends such a session."""

    fromClient: ClassVar[Wants] = dict.fromkeys(ns.STREAM_MANAGEMENT)

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """One of its elements. Requests and answers mean nothing while it is not enabled."""
        if stanza.name in ("enable", "resume"):
            self.parent.sendClient(
                f"<failed xmlns='{stanza.namespace}'>"
                f"<feature-not-implemented xmlns='{ns.STANZA_ERRORS}'/></failed>".encode()
            )
        return None
