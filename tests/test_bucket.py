"""Tests of L{xmpproxy.bucket}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.bucket import BURST_BYTES, BURST_SECONDS, Bucket

RATE = 100_000.0
BURST = int(RATE * BURST_SECONDS)


class BucketTests(SynchronousTestCase):
    def test_burst(self) -> None:
        """A burst is free up to its last byte."""
        bucket = Bucket(RATE)
        self.assertEqual(bucket.take(BURST, 1000.0), 0)
        self.assertAlmostEqual(bucket.take(1, 1000.0), 1 / RATE)

    def test_waits(self) -> None:
        """What is too much takes its time at the rate; after that there is room for nothing."""
        bucket = Bucket(RATE)
        self.assertAlmostEqual(bucket.take(BURST + 50_000, 0.0), 0.5)
        self.assertAlmostEqual(bucket.take(10_000, 0.5), 0.1)

    def test_fillsAgain(self) -> None:
        """As fast as the rate, and up to a burst."""
        bucket = Bucket(RATE)
        bucket.take(BURST, 0.0)
        self.assertAlmostEqual(bucket.take(int(RATE), 1.0), 0)
        self.assertEqual(bucket.take(BURST, 1000.0), 0)
        self.assertAlmostEqual(bucket.take(int(RATE), 1000.0), 1)

    def test_oneRead(self) -> None:
        """However small the rate, one read is free."""
        bucket = Bucket(1.0)
        self.assertEqual(bucket.take(BURST_BYTES, 0.0), 0)
        self.assertAlmostEqual(bucket.take(1, 0.0), 1)

    def test_clockSetBack(self) -> None:
        """Nobody waits for the time to come again."""
        bucket = Bucket(RATE)
        bucket.take(BURST, 1_000_000.0)
        self.assertAlmostEqual(bucket.take(1000, 0.0), 0.01)

    @given(
        st.lists(st.tuples(st.integers(1, BURST_BYTES), st.floats(0, 10)), min_size=1),
        st.floats(1000, 1e7),
    )
    def test_neverMore(self, reads: list[tuple[int, float]], rate: float) -> None:
        """Who waits as told gets no more than rate and burst, up to what the last read brought."""
        bucket = Bucket(rate)
        now = total = 0.0
        for count, pause in reads:
            allowed = now * rate + max(BURST_BYTES, rate * BURST_SECONDS)
            self.assertLessEqual(total, allowed * (1 + 1e-9))
            total += count
            now += bucket.take(count, now) + pause
