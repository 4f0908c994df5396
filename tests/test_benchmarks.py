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
        seen = self.seen.wall
        self.assertEqual((seen.count, seen.longest, seen.within(0.999)), (0, 0, 0))

    def test_within(self) -> None:
        """Rounded up, by a tenth at most, but never beyond the longest."""
        for seconds in (*[0.001] * 998, 0.02, 0.05):
            self.turns.cpu.note(seconds)
        self.assertEqual((self.seen.cpu.count, self.seen.cpu.longest), (1000, 0.05))
        for share, seconds in ((0.5, 0.001), (0.998, 0.001), (0.999, 0.02), (1, 0.05)):
            self.assertTrue(seconds <= self.seen.cpu.within(share) <= 1.1 * seconds, share)
        self.assertEqual(self.seen.wall.count, 0)

    def test_extremes(self) -> None:
        for seconds in (0, 1e-9, 1e-6, 1e6):
            self.turns.wall.note(seconds)
        self.assertEqual((self.seen.wall.count, self.seen.wall.within(1)), (4, 1e6))

    def test_cells(self) -> None:
        """What was shown is forgotten."""
        self.turns.cpu.note(1)
        self.turns.wall.note(2)
        self.assertEqual(self.seen.cells(), ["1", "1000.0", "1000.0", "2000.0", "2000.0"])
        self.turns.wall.note(0.5)
        self.assertEqual(self.seen.cells(), ["1", "0.0", "0.0", "500.0", "500.0"])


class PartsTests(SynchronousTestCase):
    """With a few dozen sessions, or for a second."""

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

    def test_flood(self) -> None:
        """Somebody floods, and somebody else's messages come."""
        report = self.report("flood")
        for row in ("tiny messages, to 5 siblings each", "messages of 256 KiB", "logins"):
            self.assertIn(row, report)

    if not sys.platform.startswith("linux"):
        skip = "the benchmark needs Linux"
