"""
"Has the server handled everything up to here?", asked by ping (XEP-0199).

A server handles a stream in order (RFC 6120, section 10.1), so when it answers a ping, everything
that it had routed to this stream when it got the ping has been sent before the answer.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds after which what waits is reported as overdue.
PATIENCE = 5.0
#: The same while the server owes an answer for longer than that already.
IMPATIENCE = 0.25
#: Seconds of reading the stream after which an answer is not expected any more.
GIVE_UP = 60.0


class Barrier:
    """
    Tells when the server has handled what it had accepted before a certain moment. Moments have
    numbers that grow.

    One ping is in flight at a time; it serves all moments before it was sent.
    """

    __slots__ = (
        "_asked",
        "_clock",
        "_late",
        "_next",
        "_overdue",
        "_passed",
        "_ping",
        "_readSince",
        "_since",
        "_timer",
        "_woken",
    )

    def __init__(
        self,
        ping: Callable[[Callable[[], None]], None],
        clock: IReactorTime,
        passed: Callable[[int], None],
        overdue: Callable[[], None],
        readSince: Callable[[], float] = lambda: 0.0,
        woken: Callable[[], None] = lambda: None,
    ) -> None:
        """
        @param ping: sends a ping on the stream in question, and calls its argument when the
            answer is there, be it a result or an error.
        @param passed: called with the last moment whose wait is over, and that of all before it.
        @param overdue: called when the answer takes long. The wait goes on.
        @param readSince: the time, in seconds of C{clock}, since which the stream has been read
            without a pause; infinity in a pause. An answer that we do not read is not missing.
        @param woken: called after any of this was done because of the time, not by a caller.
        """
        self._ping = ping
        self._clock = clock
        self._passed = passed
        self._overdue = overdue
        self._readSince = readSince
        self._woken = woken
        self._asked: int | None = None  # the ping in flight was sent after this
        self._next: int | None = None  # this came while it was in flight
        self._since = 0.0  # when it was sent
        self._late = False  # its answer takes long, and that was reported
        self._timer: IDelayedCall | None = None

    def wait(self, moment: int) -> None:
        """Have C{passed} called with this or a later moment once all before now is handled."""
        self._next = moment
        if self._asked is None:
            self._ask()
        elif self._late:
            self._lookIn(IMPATIENCE)

    def hurry(self) -> None:
        """Report what waits as overdue now."""
        self._late = True
        self._overdue()

    def finish(self) -> None:
        """The stream has ended: whatever was to come has come, so nothing waits any more."""
        last = self._asked if self._next is None else self._next
        self._asked = self._next = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if last is not None:
            self._passed(last)

    def _ask(self) -> None:
        asked = self._asked = self._next
        self._next = None
        self._since = self._clock.seconds()
        self._late = False
        self._lookIn(PATIENCE)
        self._ping(lambda: self._answered(asked))

    def _answered(self, asked: int | None) -> None:
        if asked is None or asked != self._asked:
            return  # given up before
        self._asked = None
        if self._next is not None:
            self._ask()
        self._passed(asked)

    def _lookIn(self, seconds: float) -> None:
        # One timer serves many pings: an answer does not cancel it, it finds nothing to do.
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._look)
        elif self._timer.getTime() > self._clock.seconds() + seconds:
            self._timer.reset(seconds)

    def _look(self) -> None:
        self._timer = None
        if self._asked is None:
            return
        now = self._clock.seconds()
        age = now - self._since
        if not self._late and age < PATIENCE:
            self._lookIn(PATIENCE - age)
            return
        left = GIVE_UP - (now - max(self._since, self._readSince()))
        if left <= 0:
            self._answered(self._asked)
        else:
            self.hurry()
            self._lookIn(min(left, GIVE_UP))
        self._woken()
