"""Tests for C{python -m benchmarks}: the parts that are measured apart run from end to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.turns import Turns

ROOT = Path(__file__).parent.parent


class TurnsTests(SynchronousTestCase):
    """Turns by their length, in a file that two processes share."""

    def setUp(self) -> None:
        file = Path(self.mktemp())
        self.turns, self.seen = Turns(file), Turns(file)

    def test_none(self) -> None:
        self.assertEqual((self.seen.count, self.seen.longest, self.seen.within(0.999)), (0, 0, 0))

    def test_within(self) -> None:
        """Rounded up, by a tenth at most, but never beyond the longest."""
        for _ in range(998):
            self.turns.note(0.001, 0.0005)
        self.turns.note(0.02, 0.001)
        self.turns.note(0.05, 0.03)
        self.assertEqual(self.seen.count, 1000)
        self.assertEqual((self.seen.longest, self.seen.longestCpu), (0.05, 0.03))
        for share, seconds in ((0.5, 0.001), (0.998, 0.001), (0.999, 0.02), (1, 0.05)):
            self.assertTrue(seconds <= self.seen.within(share) <= 1.1 * seconds, share)

    def test_extremes(self) -> None:
        for seconds in (0, 1e-9, 1e-6, 1e6):
            self.turns.note(seconds, 0)
        self.assertEqual((self.seen.count, self.seen.within(1)), (4, 1e6))

    def test_forget(self) -> None:
        self.turns.note(1, 1)
        self.seen.forget()
        self.turns.note(0.5, 0.5)
        self.assertEqual((self.seen.count, self.seen.longest, self.seen.longestCpu), (1, 0.5, 0.5))


class PartsTests(SynchronousTestCase):
    """What C{make bench-scale} does, with a few dozen sessions."""

    def report(self, part: str) -> str:
        command = [sys.executable, "-m", "benchmarks", part, "--quick"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_scale(self) -> None:
        """Everybody logs in, gets all messages, and comes back, with tickets in the end."""
        report = self.report("scale")
        for row in ("memory, KiB", "message among all", "all come back after a restart"):
            self.assertIn(row, report)
        (tickets,) = (line for line in report.splitlines() if "the same with tickets" in line)
        self.assertTrue(tickets.endswith("100%"), tickets)

    if not sys.platform.startswith("linux"):
        test_scale.skip = "the benchmark needs Linux"  # type: ignore[attr-defined]
