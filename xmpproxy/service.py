"""
The service that twistd runs: binds every listener before privileges are dropped, and sends
everybody off when it stops.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import partial
from typing import Any, TextIO

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from xmpproxy.accepting import Accepting
from xmpproxy.config import Config, Listen
from xmpproxy.interfaces import IStoppableFactory

#: How long stopping may take, in seconds: what starts and stops services grows impatient after 5.
STOP_SECONDS = 4

_OTHER = "stop what uses it, or write another endpoint"
_MENDS = {
    errno.EADDRINUSE: "stop what listens there, or write another port",
    errno.EACCES: "start as root with twistd's --uid and --gid, or write a port above 1023",
    errno.EADDRNOTAVAIL: "write an interface that this machine has",
    errno.ENOENT: "make its directory",
}


#: What is configured, where it listens, what serves those who connect.
Listener = tuple[Listen, IStreamServerEndpoint, IStoppableFactory]


class StartRefused(SystemExit, Exception):
    """
    Not every listener could be bound.

    An L{Exception}, so that twistd removes its pid file and, as a daemon, reports to the process
    that started it; a L{SystemExit}, so that the interpreter ends without a traceback.

    @ivar code: the exit code.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.code = 1


class ProxyService(MultiService):
    """
    Listens for clients, from L{privilegedStartService} to L{stopService}.

    @param listeners: one for each of C{config.listen}, in that order.
    @param accepting: sees to how many connections there are.
    @param stderr: where to say why the start is refused: as a daemon it has no standard error
        of its own any more. Closed once started.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: IReactorTime,
        listeners: Sequence[Listener],
        accepting: Accepting,
        stderr: TextIO | None = None,
    ) -> None:
        super().__init__()
        self._config = config
        self._reactor = reactor
        self._listeners = listeners
        self._accepting = accepting
        accepting.setServiceParent(self)
        self._stderr = stderr
        self._ports: list[IListeningPort] = []

    def privilegedStartService(self) -> None:
        """
        Bind every listener.

        @raise StartRefused: with a line for each that cannot be bound.
        """
        super().privilegedStartService()
        problems: list[str] = []
        for index, (listen, endpoint, factory) in enumerate(self._listeners):
            where = self._config.where("listen", index, "endpoint")
            listening = maybeDeferred(endpoint.listen, factory)
            listening.addCallback(self._listening, listen)
            listening.addErrback(partial(self._refused, f"{where}: {listen.endpoint}", problems))
        if problems:
            for port in self._ports:
                port.stopListening()
            raise StartRefused(problems)

    def _listening(self, port: IListeningPort, listen: Listen) -> None:
        self._ports.append(port)
        self._accepting.add(port)
        self._log.info(
            "listening on {endpoint} (TLS: {tls})", endpoint=listen.endpoint, tls=listen.tls
        )

    def _refused(self, what: str, problems: list[str], failure: Failure) -> None:
        problem = f"{what}: {_reason(failure.value)}"
        problems.append(problem)
        self._log.critical("{problem}", problem=problem)
        if self._stderr:
            print(problem, file=self._stderr, flush=True)

    def startService(self) -> None:
        """Be started: nothing can be refused any more."""
        super().startService()
        if self._stderr:
            self._stderr.close()
            self._stderr = None

    def stopService(self) -> Deferred[Any]:
        """
        Listen no more, and close all streams.

        @return: fires when that is done, L{STOP_SECONDS} later at the latest.
        """
        factories = dict.fromkeys(factory for _, _, factory in self._listeners)
        stopping = DeferredList(
            [
                maybeDeferred(super().stopService),
                *(maybeDeferred(port.stopListening) for port in self._ports),
                *(maybeDeferred(factory.shutdown) for factory in factories),
            ],
            consumeErrors=True,
        )
        stopping.addTimeout(STOP_SECONDS, self._reactor)
        return stopping.addCallback(self._stopped)

    def _stopped(self, results: Sequence[tuple[bool, Any]]) -> None:
        for succeeded, failure in results:
            if not succeeded and failure.check(CancelledError):
                self._log.warn("not all streams closed in {seconds} s", seconds=STOP_SECONDS)
            elif not succeeded:
                self._log.failure("did not stop as it should", failure=failure)


def _reason(error: BaseException | None) -> str:
    """Why a listener cannot be bound, and the mend."""
    if isinstance(error, CannotListenError):
        error = error.socketError
    if isinstance(error, OSError):
        return f"{error.strerror}; {_MENDS.get(error.errno or 0, _OTHER)}"
    return f"{error}; {_OTHER}"
