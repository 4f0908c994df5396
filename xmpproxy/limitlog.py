"""One line a minute in the log for what strangers cause, however many do, and however often."""

from __future__ import annotations

from collections import Counter

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from xmpproxy.config import Limits

log = Logger()

#: Seconds between lines on the same limit.
MINUTE = 60.0
#: How many of those who ran into a limit are told apart, and of the sessions that have lines.
MOST = 100

#: A line, what is counted in it, and whether it is a warning.
_Key = tuple[str, str, bool]


class LimitLog(Service):
    """
    Says what was refused because of a limit, and who never logged in: the first at once, all that
    comes in the minute after that in one line. What is yet to be said when it stops is said then.
    """

    def __init__(self, limits: Limits, clock: IReactorTime) -> None:
        self._limits = limits
        self._clock = clock
        self._since: dict[_Key, Counter[str]] = {}  # the lines that were written
        self._waiting: dict[_Key, IDelayedCall] = {}

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

    def inSession(self, jid: str, done: str, what: str, which: str) -> None:
        """
        Something has come to a session that goes no further. Anybody who knows a JID can send as
        much of that as the servers take.

        @param jid: the session's, as it is shown.
        @param done: what was done to it, such as C{"dropped"}.
        @param what: what it is, such as C{"stanza"}.
        @param which: more of that, and why; anything.
        """
        line = f"{jid.replace('{', '{{').replace('}', '}}')}: {done} {{}} {{}}"
        if len(self._since) >= MOST and not any(line == each for each, *_ in self._since):
            line, which = f"{done} {{}} {{}}", f"of {jid}"
        self._add(line, what, which)

    def paused(self, why: str) -> None:
        """
        No more connections are accepted for now.

        @param why: such as C{"limits connections = 100"}.
        """
        self._add("accepting paused {}: {}; those who are connected go on", "time", why)

    def left(self, why: str, address: str) -> None:
        """
        A client has left, or was left, before it had a resource.

        @param why: one of not too many reasons.
        @param address: where it was.
        """
        line = f"{{}} left before login, {{}}: {why}"
        self._add(line, "client", f"from {address}", warns=False)

    def objected(self, condition: str, text: str, address: str) -> None:
        """
        A client has said before it had a resource what nobody may say.

        @param condition: the stream error's.
        @param text: what was wrong; anything.
        @param address: where it is.
        """
        who = f"{text}, from {address}"
        self._add(f"refused {{}}: {condition}, {{}}", "client", who, warns=False)

    def _add(self, line: str, what: str, who: str, *, warns: bool = True) -> None:
        key = (line, what, warns)
        since = self._since.get(key)
        if since is None:
            self._write(key, Counter({who: 1}))
        else:
            since[who if who in since or len(since) < MOST else ""] += 1

    def _write(self, key: _Key, counts: Counter[str]) -> None:
        line, what, warns = key
        count = counts.total()
        rest = "+" * bool(counts.pop("", 0))
        ((who, most),) = counts.most_common(1)
        if len(counts) > 1:
            who = f"{who} ({most}) and {len(counts) - 1}{rest} more"
        text = line.format(f"{count} {what}{'s' * (count > 1)}", who)
        if warns:
            log.warn("{line}", line=text, count=count)
        else:
            log.info("{line}", line=text, count=count)
        if self.running:
            self._since[key] = Counter()
            self._waiting[key] = self._clock.callLater(MINUTE, self._minuteIsOver, key)

    def _minuteIsOver(self, key: _Key) -> None:
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
