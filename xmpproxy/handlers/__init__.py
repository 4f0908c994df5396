"""
The links of a session's chain, in the order in which they meet a stanza.

To add one, write it in a file of its own beside the others and name it here.
"""

from __future__ import annotations

from xmpproxy.handlers.availability import Availability
from xmpproxy.handlers.binding import Binding
from xmpproxy.handlers.carbons import Carbons
from xmpproxy.handlers.clientstate import ClientState
from xmpproxy.handlers.commands import Commands
from xmpproxy.handlers.disco import Disco
from xmpproxy.handlers.mirroring import Mirroring
from xmpproxy.handlers.signsoflife import SignsOfLife
from xmpproxy.handlers.stanzaids import StanzaIds
from xmpproxy.handlers.streammanagement import StreamManagement
from xmpproxy.session import Chain

CHAIN = Chain(
    [
        SignsOfLife,
        Binding,
        StreamManagement,
        ClientState,
        Carbons,
        Commands,
        Disco,
        Availability,
        StanzaIds,
        Mirroring,
    ]
)
