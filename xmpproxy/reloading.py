"""
Files that are read again while the proxy runs, when the process gets SIGHUP.

Sessions go on; connections that come afterwards get what the files say. A file that cannot be used
changes nothing, and the log says why.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from xmpproxy.certificates import CertificateError

_log = Logger()


class Reader(Protocol):
    """Has read files, and can do so again."""

    def read(self) -> Callable[[], None]:
        """
        Read them; called in a thread.

        @return: takes what was read into use; called in the reactor's thread.
        @raise CertificateError: they cannot be used.
        """


class Reloading(Service):
    """Listens for SIGHUP while it runs, if it was started where signals arrive."""

    def __init__(
        self,
        readers: Sequence[Reader],
        reactor: Any,
        inThread: Callable[[Callable[[], Callable[[], None]]], Deferred[Callable[[], None]]]
        | None = None,
    ) -> None:
        """
        @param readers: what is to be read, in that order.
        @param reactor: provides C{IReactorFromThreads}.
        @param inThread: calls a function in a thread; L{None}: in one of the reactor's.
        """
        self._readers = readers
        self._reactor = reactor
        self._inThread = inThread or deferToThread
        self._oneAtATime = DeferredLock()
        self._before: Any = None
        self._terminal = False

    def privilegedStartService(self) -> None:
        """
        Listen from now on: who sees in the log that the proxy listens may send the signal. Twisted
        itself leaves it alone.
        """
        super().privilegedStartService()
        if threading.current_thread() is threading.main_thread():
            self._terminal = _hasTerminal()
            self._before = signal.signal(signal.SIGHUP, self._hungUp)

    def stopService(self) -> None:
        """Be stopped: SIGHUP is what it was."""
        super().stopService()
        if self._before is not None:
            signal.signal(signal.SIGHUP, self._before)
            self._before = None

    def _hungUp(self, *_: object) -> None:
        if self._terminal and not _hasTerminal():
            # What the signal was made for: the terminal in which we were started is gone.
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._reactor.callFromThread(self.reload)

    def reload(self) -> Deferred[list[str]]:
        """
        Read everything again.

        @return: fires when that is done, with a line for each file that cannot be used.
        """
        return self._oneAtATime.run(lambda: Deferred.fromCoroutine(self._readAll()))

    async def _readAll(self) -> list[str]:
        problems: list[str] = []
        for reader in self._readers:
            try:
                use = await self._inThread(reader.read)
                if self.running:
                    use()
            except CertificateError as error:
                problems.append(str(error))
                _log.error("{problem} (the old one stays in use)", problem=str(error))
            except Exception:
                problems.append("not read again because of an error; see the log")
                _log.failure("not read again")
        if not problems:
            _log.info("certificates and keys are read again")
        return problems


def _hasTerminal() -> bool:
    """Whether the process has a controlling terminal, and that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
