"""Tests of L{xmpproxy.lastinglog}."""

from __future__ import annotations

import errno
import io
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import FileLogObserver, ILogObserver, LogEvent, Logger, LogPublisher
from twisted.python.logfile import LogFile
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from xmpproxy.lastinglog import TELL_SECONDS, LastingFile, LastingLog


class File(io.StringIO):
    """
    A file on a disk.

    @ivar room: how many characters it has room for.
    """

    room = 1000

    def write(self, text: str) -> int:
        written = super().write(text[: self.room])
        self.room -= written
        if written < len(text):
            raise OSError(errno.ENOSPC, "No space left on device")
        return written


class LastingFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[tuple[int, str]] = []
        self.disk = File()
        self.file = self.lasting(self.disk)

    def lasting(self, file: Any) -> LastingFile:
        return LastingFile(
            file, self.clock.seconds, lambda lost, why: self.told.append((lost, str(why)))
        )

    def test_ordinary(self) -> None:
        """Line by line, and nothing to tell."""
        for line in ("one\n", "two\n"):
            self.file.write(line)
            self.file.flush()
        self.assertEqual((self.disk.getvalue(), self.told), ("one\ntwo\n", []))

    def test_full(self) -> None:
        """What there is no room for is lost; what comes after that is a line of its own."""
        self.disk.room = 6
        for line in ("one\n", "two\n", "three\n"):
            self.file.write(line)
        self.assertEqual(self.told, [])
        self.disk.room = 1000
        self.file.write("four\n")
        self.assertEqual(self.disk.getvalue(), "one\ntw\nfour\n")
        self.assertEqual(self.told, [(2, "[Errno 28] No space left on device")])

    def test_onceAMinute(self) -> None:
        """However often there is room and none, it is told once a minute; no line is forgotten."""
        for _ in range(10):
            self.disk.room = 0
            self.file.write("lost\n")
            self.disk.room = 1000
            self.file.write("written\n")
        self.assertEqual([lost for lost, _ in self.told], [1])
        self.clock.advance(TELL_SECONDS)
        self.file.write("written\n")
        self.assertEqual([lost for lost, _ in self.told], [1, 9])
        self.clock.advance(TELL_SECONDS)
        self.file.write("written\n")
        self.assertEqual(len(self.told), 2)

    def test_rotated(self) -> None:
        """A log file that could not be opened anew when it was rotated is, as soon as it can."""
        directory = self.mktemp()
        os.mkdir(directory)
        rotated = LogFile("x.log", directory, rotateLength=5)
        file = self.lasting(rotated)
        file.write("before\n")
        opens = rotated._openFile
        rotated._openFile = self.cannotOpen  # type: ignore[method-assign]
        for _ in range(3):
            file.write("lost\n")
        rotated._openFile = opens  # type: ignore[method-assign]
        file.write("lost, and opens it\n")
        file.write("after\n")
        self.assertEqual(Path(directory, "x.log").read_text(), "\nafter\n")
        self.assertEqual(Path(directory, "x.log.1").read_text(), "before\n")
        self.assertEqual([lost for lost, _ in self.told], [4])

    def cannotOpen(self) -> None:
        raise OSError(errno.EMFILE, "Too many open files")


class LastingLogTests(SynchronousTestCase):
    def test_service(self) -> None:
        """It finds the observers that write to files, and tells in the log itself."""
        disk = File()
        events: list[LogEvent] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            events.append(event)

        observer = FileLogObserver(disk, lambda event: f"{event['log_format']}\n")
        publisher = LogPublisher(observer, observe)
        service = LastingLog(Clock(), publisher)
        service.startService()
        log = Logger("x", observer=publisher)
        disk.room = 0
        log.info("lost")
        disk.room = 1000
        log.info("written")
        self.assertEqual(len(events), 2)
        self.assertEqual(disk.getvalue(), "\nwritten\n")
        service.stopService()
        self.assertIs(observer._outFile, disk)


#: Logs so many lines, and asks before each ten of them for how large files may become.
_PROGRAM = """
import sys
from twisted.internet import reactor
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver
from twisted.python.logfile import LogFile
from xmpproxy.lastinglog import LastingLog
file = LogFile.fromFullPath(sys.argv[1]) if len(sys.argv) > 1 else sys.stdout
globalLogBeginner.beginLoggingTo([textFileLogObserver(file)])
LastingLog(reactor).startService()
log = Logger()
for number in range(40):
    if number % 10 == 0:
        sys.__stderr__.write("go on?\\n")
        sys.stdin.readline()
    log.info("line {number} " + 50 * "-", number=number)
"""


class FullDisk(SynchronousTestCase):
    """A process of which no file may become larger than a test says."""

    def logged(self, *arguments: str, stdout: Any = subprocess.DEVNULL) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            text=True,
        ) as process:
            assert process.stderr is not None and process.stdin is not None
            unlimited = resource.RLIM_INFINITY
            for most in (unlimited, 1500, 1500, unlimited):
                self.assertEqual(process.stderr.readline(), "go on?\n")
                _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, hard))
                process.stdin.write("\n")
                process.stdin.flush()
            self.assertEqual(process.stderr.read(), "")
        self.assertEqual(process.returncode, 0)

    def check(self, path: Path) -> None:
        """All lines but those in the middle are there, and one that says so."""
        text = path.read_text()
        for number in (*range(10), *range(30, 40)):
            self.assertRegex(text, rf"(?m)^\S+ \[__main__#info\] line {number} -+$")
        self.assertNotIn("line 25", text)
        self.assertEqual(text.count("could not be written"), 1)
        self.assertIn("File too large", text)

    def test_file(self) -> None:
        """C{twistd --logfile}"""
        path = Path(self.mktemp())
        self.logged(str(path))
        self.check(path)

    def test_standardOutput(self) -> None:
        """Standard output that goes to a file"""
        path = Path(self.mktemp())
        with path.open("a") as file:
            self.logged(stdout=file)
        self.check(path)

    if not hasattr(resource, "prlimit"):
        skip = "only Linux has prlimit"
