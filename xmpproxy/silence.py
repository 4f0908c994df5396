"""
How long a peer may be silent, and what that is counted by.

Streams are looked at every so often. Each look counts how many there have been since anything came,
which is all that reading costs: it sets that count to 0. So there is no timer for each session, and
a machine that was asleep takes nobody for gone: that was one look.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Protocol

#: Seconds in which a sign of life has to come; but not more than the peer may be silent.
ANSWER_SECONDS = 60.0
#: Seconds between looks at most ...
_INTERVAL = 30.0
#: ... and how many looks there are at least in the time that a peer may be silent.
_LOOKS = 5


class Verdict(Enum):
    """What to do about a peer."""

    WAIT = "wait"
    PROBE = "ask for a sign of life"
    GONE = "give it up"


class Unsent(Protocol):
    """What is known of a connection."""

    def unsent(self) -> int:
        """How many bytes the peer's system has not acknowledged."""


class Stream(Protocol):
    """
    What is known of a stream.

    @ivar quiet: how many looks there were since anything came.
    @ivar backlog: how much was not acknowledged when that was looked at last.
    """

    quiet: int
    backlog: int

    @property
    def transport(self) -> Unsent:
        """Its connection."""


class Patience:
    """
    How long a peer may be silent.

    @ivar seconds: for so long at least before it is asked for a sign of life.
    @ivar interval: the seconds between looks.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        looks = max(_LOOKS, math.ceil(seconds / _INTERVAL))
        self.interval = seconds / looks
        # Something came between two looks: hence one more.
        self._probe = looks + 1
        answer = looks if seconds <= ANSWER_SECONDS else math.ceil(ANSWER_SECONDS / self.interval)
        self._gone = self._probe + answer

    def judge(self, stream: Stream) -> Verdict:
        """Look at a stream."""
        stream.quiet += 1
        if stream.quiet < self._probe:
            return Verdict.WAIT
        if stream.quiet == self._probe:
            stream.backlog = stream.transport.unsent()
            return Verdict.PROBE
        if stream.quiet < self._gone:
            return Verdict.WAIT
        # What was to be sent before the question may take long on a slow line.
        before, stream.backlog = stream.backlog, stream.transport.unsent()
        return Verdict.WAIT if stream.backlog < before else Verdict.GONE
