"""What is logged while a server cannot be had, and many clients ask for it."""

from __future__ import annotations

#: Of the same failure, one line in so many seconds.
EVERY_SECONDS = 60.0
#: How many different failures are told apart.
_MOST_KINDS = 20


class Outage:
    """
    From the first failure to get a stream to a server to the next success. Everything that happens
    is told, but the same again only once a minute.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._failures = 0
        self._told: dict[str, tuple[float, int]] = {}  # what, when, how often not told since

    def failed(self, why: str, now: float) -> str | None:
        """
        Once more there is no stream.

        @param now: in seconds.
        @return: what is to be logged, if anything.
        """
        if self._since is None:
            self._since = now
        self._failures += 1
        told = self._told.get(why)
        if told is None:
            if len(self._told) >= _MOST_KINDS:
                self._told.clear()
            self._told[why] = (now, 0)
            return why
        when, untold = told
        if now - when < EVERY_SECONDS:
            self._told[why] = (when, untold + 1)
            return None
        self._told[why] = (now, 0)
        return f"{why} (and {untold} times since the last such line)" if untold else why

    def over(self, now: float) -> str | None:
        """
        There is a stream.

        @return: what is to be logged, if anything.
        """
        if self._since is None:
            return None
        seconds, failures = now - self._since, self._failures
        self._since = None
        self._failures = 0
        self._told.clear()
        return f"answers again, after {seconds:.0f} s in which {failures} logins failed"
