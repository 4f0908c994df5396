"""Seams between the parts that Twisted sees."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory


class IStoppableFactory(IProtocolFactory):
    """Serves clients, and can send them all off."""

    def shutdown() -> Deferred[None]:
        """
        Close all streams, with C{<system-shutdown/>} (RFC 6120, section 4.9.3.19).

        @return: fires when all are closed; cancelled when that takes too long.
        """
