"""Tests of L{xmpproxy.reconnection}: how long it waits. The rest is in the conversations."""

from __future__ import annotations

from itertools import islice
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.reconnection import FIRST_DELAY, LONGEST_DELAY, delays


class DelaysTests(SynchronousTestCase):
    """Between tries."""

    @given(st.integers(), st.booleans())
    def test_bounds(self, seed: int, prompt: bool) -> None:
        """None at most once; then each is at most twice the one before, up to the longest."""
        waits = list(islice(delays(Random(seed), prompt=prompt), 20))
        if prompt:
            self.assertEqual(waits.pop(0), 0.0)
        longest = FIRST_DELAY
        for each in waits:
            self.assertTrue(longest / 2 <= each <= longest, (each, longest))
            longest = min(2 * longest, LONGEST_DELAY)

    def test_jitter(self) -> None:
        """Thousands that have lost the server at once do not come back at once."""
        waits = {next(delays(Random(seed), prompt=False)) for seed in range(100)}
        self.assertEqual(len(waits), 100)
