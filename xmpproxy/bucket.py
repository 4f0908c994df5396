"""How much may come in how much time: a token bucket."""

from __future__ import annotations

#: How many seconds' worth may come at once from who was silent before ...
BURST_SECONDS = 4.0
#: ... and how many bytes at least: as much as one read may bring.
BURST_BYTES = 65536


class Bucket:
    """
    A token bucket, as one number: when it will be full again.

    It is asked after a read, when the bytes have come already: so the next read has to wait until
    there is room for what they were too many. A clock that is set back costs one burst's time at
    most.
    """

    __slots__ = ("_burst", "_full", "_rate")

    def __init__(self, bytesPerSecond: float) -> None:
        self._rate = bytesPerSecond
        self._burst = max(BURST_SECONDS, BURST_BYTES / bytesPerSecond)
        self._full = 0.0

    def take(self, count: int, now: float) -> float:
        """
        So many bytes have come.

        @param now: in seconds.
        @return: seconds to wait until more may be read, often 0.
        """
        full = min(max(self._full, now), now + self._burst) + count / self._rate
        self._full = full
        return max(0.0, full - now - self._burst)
