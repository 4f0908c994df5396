from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred, execute
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from xmpproxy.certificates import CertificateError
from xmpproxy.reloading import Reloading


class FakeReader:
    """
    @ivar error: why it cannot read, if it cannot.
    @ivar did: what it has done.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.did: list[str] = []

    def read(self) -> Callable[[], None]:
        self.did.append("read")
        if self.error is not None:
            raise self.error
        return lambda: self.did.append("used")


class ReloadingTests(SynchronousTestCase):
    """What is read, and what becomes of problems."""

    def setUp(self) -> None:
        self.events: list[LogEvent] = []

        @implementer(ILogObserver)
        def note(event: LogEvent) -> None:
            if event["log_namespace"] == "xmpproxy.reloading":
                self.events.append(event)

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)

    def reloading(self, *readers: FakeReader) -> Reloading:
        reloading = Reloading(readers, None, execute)
        reloading.startService()
        self.addCleanup(reloading.stopService)
        return reloading

    def test_all(self) -> None:
        readers = FakeReader(), FakeReader()
        reloading = self.reloading(*readers)
        for times in (1, 2):
            self.assertEqual(self.successResultOf(reloading.reload()), [])
            for reader in readers:
                self.assertEqual(reader.did, times * ["read", "used"])
        lines = [formatEvent(event) for event in self.events]
        self.assertEqual(lines, 2 * ["certificates and keys are read again"])

    def test_problems(self) -> None:
        """The others are read all the same."""
        bad = FakeReader(CertificateError("a.pem is no good", "write a better one"))
        good = FakeReader()
        problems = self.successResultOf(self.reloading(bad, bad, good).reload())
        self.assertEqual(problems, 2 * ["a.pem is no good; write a better one"])
        self.assertEqual((bad.did, good.did), (["read", "read"], ["read", "used"]))
        self.assertEqual(
            [(event["log_level"].name, formatEvent(event)) for event in self.events],
            2 * [("error", "a.pem is no good; write a better one (the old one stays in use)")],
        )

    def test_defect(self) -> None:
        """The same for what nobody has thought of."""
        bad, good = FakeReader(ZeroDivisionError()), FakeReader()
        problems = self.successResultOf(self.reloading(bad, good).reload())
        self.assertEqual(problems, ["not read again because of an error; see the log"])
        self.assertEqual(good.did, ["read", "used"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def slow(self) -> tuple[Reloading, FakeReader, list[Deferred[Callable[[], None]]]]:
        """One that reads for as long as it pleases the test."""
        reader = FakeReader()
        reading: list[Deferred[Callable[[], None]]] = []

        def inThread(read: Callable[[], Callable[[], None]]) -> Deferred[Callable[[], None]]:
            reading.append(Deferred())
            return reading[-1]

        reloading = Reloading([reader], None, inThread)
        reloading.startService()
        return reloading, reader, reading

    def test_oneAtATime(self) -> None:
        """What is read later is also used later."""
        reloading, reader, reading = self.slow()
        first, second = reloading.reload(), reloading.reload()
        self.assertEqual(len(reading), 1)
        reading[0].callback(lambda: reader.did.append("first"))
        self.successResultOf(first)
        self.assertNoResult(second)
        reading[1].callback(lambda: reader.did.append("second"))
        self.successResultOf(second)
        self.assertEqual(reader.did, ["first", "second"])
        reloading.stopService()

    def test_stopped(self) -> None:
        """What comes too late is not used."""
        reloading, reader, reading = self.slow()
        reloaded = reloading.reload()
        reloading.stopService()
        reading[0].callback(lambda: reader.did.append("used"))
        self.successResultOf(reloaded)
        self.assertEqual(reader.did, [])


class SignalTests(TestCase):
    """SIGHUP."""

    timeout = 60

    async def test_signal(self) -> None:
        """It is ours while the service runs; the files are read in a thread."""
        before = signal.getsignal(signal.SIGHUP)
        used: Deferred[None] = Deferred()
        threads = []

        class Reader:
            def read(self) -> Callable[[], None]:
                threads.append(threading.current_thread())
                return lambda: used.callback(None)

        reloading = Reloading([Reader()], reactor)
        reloading.privilegedStartService()
        reloading.startService()
        self.addCleanup(reloading.stopService)
        os.kill(os.getpid(), signal.SIGHUP)
        await used
        self.assertNotEqual(threads, [threading.main_thread()])
        reloading.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)

    def test_elsewhere(self) -> None:
        """Where no signals arrive none are listened for."""
        before = signal.getsignal(signal.SIGHUP)
        reloading = Reloading([], reactor)
        thread = threading.Thread(target=reloading.privilegedStartService)
        thread.start()
        thread.join()
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)
        reloading.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)
