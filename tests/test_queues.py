"""Tests of L{xmpproxy.queues}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.queues import Queues

MOST = 1000


class Session:
    """
    One whose queues are what a test says.

    @ivar why: why it had to end.
    """

    counted = 0
    why = ""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting

    def makeRoom(self, text: str) -> None:
        assert not self.why
        self.why = text
        self.waiting = 0


class QueuesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sessions: list[Session] = []
        self.queues = Queues(MOST, lambda: self.sessions, self.clock)

    def wait(self, *waiting: int) -> None:
        """Sessions come, where so much waits."""
        for each in waiting:
            self.sessions.append(Session(each))
            self.queues.count(self.sessions[-1])

    def ended(self) -> list[int]:
        """Let the others have their turn; which ones have ended?"""
        self.clock.advance(0)
        return [index for index, session in enumerate(self.sessions) if session.why]

    def test_below(self) -> None:
        """All that is allowed may wait."""
        self.wait(500, 300, 200)
        self.assertEqual(self.ended(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.queues.total, MOST)

    def test_above(self) -> None:
        """With a byte more, it is over where most waits, and nowhere else."""
        self.wait(300, 400, 200, 101)
        self.assertEqual(self.sessions[1].why, "")  # not in the middle of what it does
        self.assertEqual(self.ended(), [1])
        self.assertIn("all-queues-bytes", self.sessions[1].why)
        self.assertEqual(self.queues.total, 601)

    def test_several(self) -> None:
        """As many end as it takes."""
        self.wait(100, 600, 900, 500, 0)
        self.assertEqual(self.ended(), [1, 2])

    def test_counted(self) -> None:
        """Nobody has to end for what was taken since it was counted."""
        self.wait(600, 400)
        self.sessions[0].waiting = 10
        self.wait(500)
        self.assertEqual(self.ended(), [])
        self.assertEqual(self.queues.total, 910)

    def test_notCounted(self) -> None:
        """What has not been counted yet counts when it matters who has to end."""
        self.sessions.append(Session(900))
        self.wait(600, 401)
        self.sessions[2].waiting = 400
        self.assertEqual(self.ended(), [0])

    def test_notAllTheTime(self) -> None:
        """However close to the limit it is, all are looked at once in a while, not every time."""
        self.wait(500, 501, 499)
        self.assertEqual(self.ended(), [1])
        self.wait(125)
        self.assertEqual(self.ended(), [1])
        self.wait(2)
        self.assertEqual(self.ended(), [0, 1])
        self.sessions[2].waiting = 1
        self.wait(375)
        self.assertEqual(self.ended(), [0, 1])
        self.assertEqual(self.queues.total, 1 + 125 + 2 + 375)
