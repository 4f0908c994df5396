"""
Logging on a disk that is full for a while.

Twisted's log publisher lives through a file that cannot be written, so sessions do, too. But nobody
hears that lines are missing; one that was written in part runs into the next; and where a log file
could not be opened anew after it was rotated, nothing is ever written again. So here is what stands
between Twisted's observer and its file. That takes attributes of Twisted's that are not public.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import FileLogObserver, Logger, LogPublisher, globalLogPublisher
from twisted.python.logfile import BaseLogFile

log = Logger()

#: Seconds between two lines that say how many are missing, at least.
TELL_SECONDS = 60.0


class LastingFile:
    """A file of lines, of which some may get lost."""

    def __init__(
        self, file: IO[Any], seconds: Callable[[], float], tell: Callable[[int, Exception], None]
    ) -> None:
        """
        @param file: for text or for bytes.
        @param seconds: tells the time.
        @param tell: called when it can be written again, with how many lines are missing, and why.
        """
        self.file = file
        self._seconds = seconds
        self._tell = tell
        self._told = -TELL_SECONDS
        self._lost = 0
        self._why: Exception | None = None
        self._torn = False

    def write(self, line: Any) -> None:
        """Write it, now or never."""
        try:
            if self._torn:
                self.file.write("\n" if isinstance(line, str) else b"\n")
                self._torn = False
            self.file.write(line)
            self.file.flush()
        except (OSError, ValueError) as error:  # ValueError: it is closed, or cannot be encoded
            self._lost += 1
            self._why = error
            self._torn = True
            self._openAgain()
            return
        if self._why is not None and self._seconds() - self._told >= TELL_SECONDS:
            lost, why = self._lost, self._why
            self._lost, self._why, self._told = 0, None, self._seconds()
            self._tell(lost, why)

    def _openAgain(self) -> None:
        """Twisted's log file stays closed if its successor could not be opened. Try that again."""
        file: Any = self.file
        if isinstance(file, BaseLogFile) and file._file.closed:
            try:
                file._openFile()
            except OSError as error:
                self._why = error

    def flush(self) -> None:
        """That is done."""


class LastingLog(Service):
    """As long as it runs, log files that cannot be written are no more than that."""

    def __init__(self, clock: IReactorTime, publisher: LogPublisher = globalLogPublisher) -> None:
        self._clock = clock
        self._publisher = publisher

    def startService(self) -> None:
        """Begin."""
        super().startService()
        for observer in self._observers():
            file: Any = LastingFile(observer._outFile, self._clock.seconds, _tell)
            observer._outFile = file

    def stopService(self) -> None:
        """Leave it to Twisted again."""
        super().stopService()
        for observer in self._observers():
            if isinstance(observer._outFile, LastingFile):
                observer._outFile = observer._outFile.file

    def _observers(self) -> list[FileLogObserver]:
        observers = getattr(self._publisher, "_observers", [])
        return [each for each in observers if isinstance(each, FileLogObserver)]


def _tell(lost: int, why: Exception) -> None:
    log.warn("{lost} lines of the log could not be written: {why}", lost=lost, why=why)
