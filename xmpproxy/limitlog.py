"""One line a minute in the log for each limit and failure, however many strangers cause it."""

from __future__ import annotations

from collections import Counter

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from xmpproxy.config import Limits

log = Logger()

#: Seconds between lines on the same limit.
MINUTE = 60.0
#: How many of those who ran into a limit are told apart.
MOST = 100


class LimitLog(Service):
    """
    Says what was refused because of a limit: the first at once, all that comes in the minute after
    that in one line. What is yet to be said when it stops is said then.
    """

    def __init__(self, limits: Limits, clock: IReactorTime) -> None:
        self._limits = limits
        self._clock = clock
        self._since: dict[tuple[str, str], Counter[str]] = {}  # the lines that were written
        self._waiting: dict[tuple[str, str], IDelayedCall] = {}

    def refused(self, limit: str, what: str, who: str) -> None:
        """
        Something was refused.

        @param limit: the key of C{[limits]}.
        @param what: what was refused, such as C{"connection"}.
        @param who: such as C{"from 192.0.2.1"}.
        """
        value = getattr(self._limits, limit.replace("-", "_"))
        self._add(f"refused {{}} {{}}: limits {limit} = {value:g}", what, who)

    def failed(self, what: str, why: str, who: str) -> None:
        """
        Something has failed, for which a stranger can be to blame.

        @param what: what has, such as C{"TLS connection"}.
        @param why: one of not too many reasons.
        @param who: such as C{"from 192.0.2.1"}.
        """
        self._add(f"failed {{}} {{}}: {why}", what, who)

    def paused(self, why: str) -> None:
        """
        No more connections are accepted for now.

        @param why: such as C{"limits connections = 100"}.
        """
        self._add("accepting paused {}: {}; those who are connected go on", "time", why)

    def _add(self, line: str, what: str, who: str) -> None:
        key = (line, what)
        since = self._since.get(key)
        if since is None:
            self._write(key, Counter({who: 1}))
        else:
            since[who if who in since or len(since) < MOST else ""] += 1

    def _write(self, key: tuple[str, str], counts: Counter[str]) -> None:
        line, what = key
        count = counts.total()
        rest = "+" * bool(counts.pop("", 0))
        ((who, most),) = counts.most_common(1)
        if len(counts) > 1:
            who = f"{who} ({most}) and {len(counts) - 1}{rest} more"
        log.warn("{line}", line=line.format(f"{count} {what}{'s' * (count > 1)}", who), count=count)
        if self.running:
            self._since[key] = Counter()
            self._waiting[key] = self._clock.callLater(MINUTE, self._minuteIsOver, key)

    def _minuteIsOver(self, key: tuple[str, str]) -> None:
        del self._waiting[key]
        counts = self._since.pop(key)
        if counts:
            self._write(key, counts)

    def stopService(self) -> None:
        """Say what is yet to be said."""
        super().stopService()
        for key, call in list(self._waiting.items()):
            call.cancel()
            self._minuteIsOver(key)
