"""What is logged while a server cannot be had."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.outage import Outage


class Told(SynchronousTestCase):
    """All that happens, but not all the time."""

    def test_sameAgain(self) -> None:
        """Once a minute, with how often it was."""
        outage = Outage()
        self.assertEqual(outage.failed("refused", 100), "refused")
        for second in range(1, 60):
            self.assertIsNone(outage.failed("refused", 100 + second))
        self.assertEqual(
            outage.failed("refused", 160), "refused (and 59 times since the last such line)"
        )
        self.assertEqual(outage.failed("refused", 300), "refused")

    def test_another(self) -> None:
        """Something else is told at once."""
        outage = Outage()
        self.assertEqual(outage.failed("refused", 0), "refused")
        self.assertEqual(outage.failed("no answer", 1), "no answer")
        self.assertIsNone(outage.failed("refused", 2))

    def test_over(self) -> None:
        """The end is told once, with what it was; after that all is new."""
        outage = Outage()
        self.assertIsNone(outage.over(0))
        outage.failed("refused", 100)
        outage.failed("no answer", 120)
        outage.failed("refused", 130)
        self.assertEqual(outage.over(142), "answers again, after 42 s in which 3 logins failed")
        self.assertIsNone(outage.over(143))
        self.assertEqual(outage.failed("refused", 144), "refused")
        self.assertEqual(outage.over(145), "answers again, after 1 s in which 1 logins failed")

    def test_bounded(self) -> None:
        """A server that has a new reason each time fills no memory."""
        outage = Outage()
        for number in range(1000):
            self.assertEqual(outage.failed(f"reason {number}", 0), f"reason {number}")
        self.assertLessEqual(len(outage._told), 20)
