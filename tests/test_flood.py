"""Short floods: see L{tests.flood}."""

from __future__ import annotations

import sys

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.flood import MEGABYTE, SCENES, Amount, play


class Floods(TestCase):
    """However much is offered, the proxy's memory grows by little, and others do not notice."""

    timeout = 120
    if sys.platform != "linux":
        skip = "reads /proc"

    def played(self, name: str) -> Deferred[None]:
        async def run() -> None:
            _, problems = await play(SCENES[name], Amount(bytes=24 * MEGABYTE))
            self.assertEqual(problems, [])

        return Deferred.fromCoroutine(run())

    def test_clientFloods(self) -> Deferred[None]:
        return self.played("client floods, server does not read")

    def test_clientFloodsTLS(self) -> Deferred[None]:
        return self.played("the same through TLS")

    def test_serverFloods(self) -> Deferred[None]:
        return self.played("server floods, client does not read")

    def test_serverFloodsTLS(self) -> Deferred[None]:
        return self.played("the same through TLS, too")

    def test_bothRead(self) -> Deferred[None]:
        return self.played("both flood, both read")

    def test_siblings(self) -> Deferred[None]:
        return self.played("siblings do not read")

    def test_manySiblings(self) -> Deferred[None]:
        return self.played("many siblings do not read")

    def test_beforeLogin(self) -> Deferred[None]:
        return self.played("clients do not read before login")

    def test_strangers(self) -> Deferred[None]:
        return self.played("strangers flood")

    def test_strangersTLS(self) -> Deferred[None]:
        return self.played("strangers flood through TLS")
