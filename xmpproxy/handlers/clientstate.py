"""Client state indication (XEP-0352), answered for every server."""

from __future__ import annotations

from typing import ClassVar

from xmpproxy import ns
from xmpproxy.chain import Wants
from xmpproxy.session import Link
from xmpproxy.stanza import Stanza

#: Of what may wait for a client that does not read, this part may be held for one that is inactive.
_SHARE = 8


class ClientState(Link):
    """
    Has nothing sent to an inactive client that can wait: see L{xmpproxy.holding}. The server never
    hears of it, because it would hold back forks, too, past any barrier.
    """

    fromClient: ClassVar[Wants] = {ns.CSI: None}

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """The client is active or inactive."""
        if stanza.name == "inactive":
            self.parent.seat.hold(self.parent.output.most // _SHARE)
        elif stanza.name == "active":
            self.parent.seat.release()
        return None
