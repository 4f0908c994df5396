"""
A leaner turn of the epoll reactor.

Twisted's own gives each event a logging context and asks each connection again for its number: 3 to
9 µs, which is much where a stanza costs 20. Here what is simply ready to be read is read; all else
is left to Twisted. That takes attributes of Twisted's that are not public: all of it is here, and
where they are not as expected, the reactor stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from select import EPOLLIN
from typing import Any

from twisted.application.service import Service
from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger
from twisted.python.log import callWithLogger

log = Logger()

#: Events that one turn takes at most. More wait for the next, which follows at once.
MOST = 512


class LeanPolling(Service):
    """As long as it runs, turns of the reactor are leaner, if it is Twisted's epoll reactor."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def startService(self) -> None:
        """Take over."""
        super().startService()
        if type(self._reactor) is EPollReactor:
            vars(self._reactor)["doIteration"] = turnOf(self._reactor)

    def stopService(self) -> None:
        """Give back."""
        super().stopService()
        vars(self._reactor).pop("doIteration", None)


def turnOf(reactor: Any) -> Callable[[float | None], None]:
    """
    What does the same as C{reactor.doIteration}.

    @param reactor: an L{EPollReactor}.
    """
    try:
        poll, selectables = reactor._poller.poll, reactor._selectables
        other, disconnect = reactor._doReadOrWrite, reactor._disconnectSelectable
    except AttributeError as error:
        log.debug("this Twisted has another epoll reactor: {error}", error=error)
        ordinary: Callable[[float | None], None] = reactor.doIteration
        return ordinary

    def turn(timeout: float | None) -> None:
        for descriptor, event in poll(timeout, MOST):
            selectable = selectables.get(descriptor)
            if selectable is None:
                continue  # closed by what came before
            if event != EPOLLIN:
                callWithLogger(selectable, other, selectable, descriptor, event)
                continue
            try:
                why = selectable.doRead()
            except Exception as error:
                log.failure("Unhandled Error")
                why = error
            if why:
                disconnect(selectable, why, True)

    return turn
