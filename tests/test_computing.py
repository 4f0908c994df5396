"""Tests for L{xmpproxy.computing}: what runs in threads, and what is dropped."""

from __future__ import annotations

import os
import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.threads import Threads
from xmpproxy.computing import MOST, Computing


class ComputingTests(SynchronousTestCase):
    """Which job is begun when."""

    def setUp(self) -> None:
        self.threads = Threads()
        self.done: list[bytes] = []

    def job(self, argument: bytes) -> bytes:
        self.done.append(argument)
        if not argument:
            raise ValueError("nothing to do")
        return argument.upper()

    def test_inOrder(self) -> None:
        """A few at a time, in the order in which they came; each gets its own result."""
        compute = Computing(self.threads, 2)
        results = [compute(self.job, each) for each in (b"a", b"b", b"c")]
        self.assertEqual(len(self.threads.jobs), 2)
        self.threads.work()
        self.assertEqual(len(self.threads.jobs), 2)
        self.threads.work()
        self.threads.work()
        self.assertEqual([self.successResultOf(each) for each in results], [b"A", b"B", b"C"])
        self.assertEqual(self.done, [b"a", b"b", b"c"])

    def test_failure(self) -> None:
        """Whoever asked is told, and the next has its turn."""
        compute = Computing(self.threads, 1)
        failing, next = compute(self.job, b""), compute(self.job, b"a")
        self.threads.work()
        self.failureResultOf(failing, ValueError)
        self.threads.work()
        self.assertEqual(self.successResultOf(next), b"A")

    def test_cancelledBefore(self) -> None:
        """What nobody wants any more before its turn is not begun."""
        compute = Computing(self.threads, 1)
        first, second, third = (compute(self.job, each) for each in (b"a", b"b", b"c"))
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.threads.work()
        self.threads.work()
        self.assertEqual((self.successResultOf(first), self.done), (b"A", [b"a", b"c"]))
        self.assertEqual(self.successResultOf(third), b"C")

    def test_cancelledMeanwhile(self) -> None:
        """A thread goes on until it is done: only then another may."""
        for argument in (b"a", b""):
            compute = Computing(self.threads, 1)
            cancelled, next = compute(self.job, argument), compute(self.job, b"b")
            cancelled.cancel()
            self.failureResultOf(cancelled, CancelledError)
            self.assertEqual(len(self.threads.jobs), 1)
            self.threads.work()
            self.threads.work()
            self.assertEqual(self.successResultOf(next), b"B")

    def test_most(self) -> None:
        """One processor is left for the reactor, and a thread of it for others."""
        for processors, most in ((None, 1), (1, 1), (2, 1), (4, 3), (64, MOST)):
            self.patch(os, "cpu_count", lambda processors=processors: processors)
            threads = Threads()
            compute = Computing(threads)
            for _ in range(20):
                compute(self.job, b"a")
            self.assertEqual(len(threads.jobs), most, processors)


class ThreadTests(TestCase):
    """Twisted's own."""

    async def test_another(self) -> None:
        """The reactor's thread is not the one that computes."""
        found: list[Any] = []

        def job(argument: bytes) -> bytes:
            found.append(threading.current_thread())
            return argument

        self.assertEqual(await Computing(reactor)(job, b"a"), b"a")
        self.assertNotIn(threading.current_thread(), found)
        self.assertEqual(len(found), 1)
