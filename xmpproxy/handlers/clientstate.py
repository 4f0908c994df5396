"""Client state indication (XEP-0352)."""

from __future__ import annotations

from typing import ClassVar

from xmpproxy import ns
from xmpproxy.session import Link, Wants
from xmpproxy.stanza import Stanza


class ClientState(Link):
    """
    Keeps a client's state from the server where the proxy counts forks: a server holds forks for
    an inactive client back, past any barrier.
    """

    fromClient: ClassVar[Wants] = {ns.CSI: None}

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """The client is active or inactive."""
        return stanza if self.parent.seat.served else None
