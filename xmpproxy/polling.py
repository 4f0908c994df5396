"""
Leaner and shorter turns of the epoll reactor.

Twisted's own gives each event a logging context and asks each connection again for its number: 3 to
9 µs, which is much where a stanza costs 20. Here what is simply ready to be read is read; all else
is left to Twisted. That takes attributes of Twisted's that are not public: all of it is here, and
where they are not as expected, the reactor stays as it is.

A turn ends after some milliseconds, whatever else is ready: who was passed over comes first in the
next. And who sends what takes long, such as hundreds of messages for many siblings in one read, is
read in smaller portions. So nobody waits longer than all others take for one portion each.
"""

from __future__ import annotations

from collections.abc import Callable
from select import EPOLLIN
from time import perf_counter
from typing import Any

from twisted.application.service import Service
from twisted.internet import tcp
from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger
from twisted.python.log import callWithLogger

log = Logger()

#: Events that one turn takes at most. More wait for the next, which follows at once.
MOST = 256

#: Seconds after which a turn begins nothing more.
LONG = 0.008

#: Seconds that reading from one connection should take. After more, or much less, the next portion
#: is smaller, or larger again; and likewise how many connections are accepted at a time.
_READ = 0.003
#: Bytes of a portion, at least and at most. (A record of TLS has up to 16 KiB, and is read as one.)
_LEAST = 4096
_WHOLE = tcp.Connection.bufferSize


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

    portions: dict[int, int] = {}  # bytes, by descriptor, of those who are read in small ones
    turns: dict[int, int] = {}  # by descriptor: who comes first, if not all can
    number = 0

    def turn(timeout: float | None) -> None:
        nonlocal number
        events = poll(timeout, MOST)
        if turns:
            events.sort(key=lambda event: turns.get(event[0], number))
        now = perf_counter()
        end = now + LONG
        for at, (descriptor, event) in enumerate(events):
            if now > end:
                for each, _ in events[at:]:
                    turns.setdefault(each, number)
                    number += 1
                for each, _ in events[:at]:
                    turns[each] = number
                    number += 1
                return
            selectable = selectables.get(descriptor)
            if selectable is None:
                continue  # closed by what came before
            if event != EPOLLIN:
                callWithLogger(selectable, other, selectable, descriptor, event)
                now = perf_counter()
                continue
            try:
                if descriptor in portions:
                    why = _readPortion(selectable, portions[descriptor])
                else:
                    why = selectable.doRead()
            except Exception as error:
                log.failure("Unhandled Error")
                why = error
            if why:
                disconnect(selectable, why, True)
            began, now = now, perf_counter()
            if now - began > _READ or descriptor in portions:
                _adapt(portions, selectable, descriptor, now - began)
        turns.clear()

    return turn


def _readPortion(connection: tcp.Connection, size: int) -> Any:
    connection.bufferSize = size
    try:
        return connection.doRead()
    finally:
        del connection.bufferSize  # which is also how much may wait to be written


def _adapt(portions: dict[int, int], selectable: object, descriptor: int, seconds: float) -> None:
    """
    Choose how much is read from there the next time.

    @param seconds: what it took this time.
    """
    if isinstance(selectable, tcp.Connection):
        size = portions.get(descriptor, _WHOLE)
        if seconds > _READ:
            portions[descriptor] = max(_LEAST, size // 4)
        elif seconds < _READ / 4 and size < _WHOLE:
            portions[descriptor] = 2 * size
        if portions.get(descriptor) == _WHOLE:
            del portions[descriptor]
    elif isinstance(selectable, tcp.Port) and seconds > _READ:
        # Twisted accepts 20 more connections at a time whenever there were as many as could be.
        selectable.numberAccepts = max(1, selectable.numberAccepts // 4)
