"""
Accepting connections, which pauses while there is no room for another: then they wait in the
system's queue, and those who are connected notice nothing.

Twisted's ports, when descriptors run out, accept connections to close them, with two lines in the
log for each, or try again in each turn of the reactor. So here a port's socket has nothing to
accept while accepting pauses.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime
from twisted.logger import Logger

from xmpproxy import descriptors
from xmpproxy.admission import Admission
from xmpproxy.limitlog import LimitLog

log = Logger()

#: Seconds after which it is tried again, at the latest.
RETRY_SECONDS = 1.0

#: What C{accept} says when the system has no room (accept(2)).
_OUT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Accepting(Service):
    """
    Has all listeners pause and go on together.

    @ivar paused: whether they do.
    @ivar descriptors: how many streams may use; known when this is started.
    """

    def __init__(
        self,
        admission: Admission,
        limitLog: LimitLog,
        upstreams: Callable[[], int],
        clock: IReactorTime,
    ) -> None:
        """
        @param upstreams: how many streams to servers there are.
        """
        self.paused = False
        self.descriptors: float = math.inf
        self._admission = admission
        self._limitLog = limitLog
        self._upstreams = upstreams
        self._clock = clock
        self._ports: list[Any] = []
        self._failed = False  # the system has no room, though we thought that there was some
        self._retry: IDelayedCall | None = None
        admission.freed = self._freed

    def privilegedStartService(self) -> None:
        """Raise the soft limit of descriptors, and say how far that goes."""
        super().privilegedStartService()
        before, after = descriptors.raiseLimit()
        self.descriptors = descriptors.forStreams(after)
        sessions = int(self.descriptors // 2)
        raised = f" (raised from {before})" if after != before else ""
        log.info(
            "file descriptors: {after}{raised}; sessions at most: {sessions}",
            after=after,
            raised=raised,
            sessions=sessions,
        )
        wanted = self._admission.limits.connections
        if wanted > sessions:
            log.warn(
                "limits connections = {wanted}, but there are descriptors for {sessions}; raise "
                "their hard limit (systemd's LimitNOFILE, ulimit -Hn)",
                wanted=wanted,
                sessions=sessions,
            )

    def add(self, port: IListeningPort) -> None:
        """There is another listener."""
        listening: Any = port
        if isinstance(getattr(port, "socket", None), socket.socket):  # Twisted's own, of any kind
            listening.socket = _Socket(listening.socket, self)
            self._ports.append(listening)

    def mayAccept(self) -> bool:
        """Whether another connection can be accepted now. If not, all listeners pause."""
        if not self.paused:
            why = self._full()
            if why is not None:
                self._pause(why)
        return not self.paused

    def _full(self) -> str | None:
        return self._admission.full(self._upstreams(), self.descriptors)

    def failed(self, error: OSError) -> None:
        """The system cannot accept a connection."""
        self._failed = True
        self._pause(os.strerror(error.errno or 0))

    def _pause(self, why: str) -> None:
        self.paused = True
        for port in self._ports:
            port.stopReading()
        self._limitLog.paused(why)
        self._retryLater()

    def _retryLater(self) -> None:
        self._retry = self._clock.callLater(RETRY_SECONDS, self._tryAgain)

    def _tryAgain(self) -> None:
        self._failed = False
        self._retry = None
        if self._full() is None:
            self._goOn()
        else:
            self._retryLater()

    def _freed(self) -> None:
        if self.paused and not self._failed and self._retry is not None and self._full() is None:
            self._retry.cancel()
            self._retry = None
            self._goOn()

    def _goOn(self) -> None:
        self.paused = False
        for port in self._ports:
            if port.connected and not port.disconnecting:
                port.startReading()

    def stopService(self) -> None:
        """Accept no more: the listeners are about to be closed."""
        super().stopService()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None


class _Socket:
    """A listening socket."""

    def __init__(self, listening: socket.socket, accepting: Accepting) -> None:
        self._socket = listening
        self._accepting = accepting

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def accept(self) -> tuple[socket.socket, Any]:
        """
        Accept a connection.

        @raise BlockingIOError: there is none, or no room.
        """
        if self._accepting.mayAccept():
            try:
                return self._socket.accept()
            except OSError as error:
                if error.errno not in _OUT:
                    raise
                self._accepting.failed(error)
        raise BlockingIOError(errno.EWOULDBLOCK, "accepting pauses")
