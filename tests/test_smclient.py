"""Tests of L{tests.smclient}, straight on servers that have stream management."""

from __future__ import annotations

from tests import smscenes
from tests.servers import onServers


@onServers("prosody", "ejabberd")
class Straight(smscenes.Scenes):
    """Without the proxy."""

    def setUp(self) -> None:
        super().setUp()
        self.place = self.server
