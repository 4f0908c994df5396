"""Stream management through the proxy, on real servers: those that have it, and one without."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests import smscenes
from tests.servers import onServers


@onServers("prosody", "ejabberd", "jabberd2")
class Proxied(smscenes.Scenes):
    """The same as straight on a server."""

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        super().setUp()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self.place = await self.proxyFor(self.server)
