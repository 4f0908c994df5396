"""How many descriptors this process may have, and how many of them are for streams."""

from __future__ import annotations

import resource
from contextlib import suppress

#: Descriptors for all that is no stream: listeners, logs, DNS, threads.
SPARE = 64


def raiseLimit() -> tuple[int, int]:
    """
    Raise the soft limit to the hard one, which takes no privileges.

    @return: the soft limit before and after. Where there is none, a very large number.
    """
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems take less than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    after, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _number(before), _number(after)


def _number(limit: int) -> int:
    return 2**31 if limit == resource.RLIM_INFINITY else limit


def forStreams(limit: int) -> int:
    """
    How many descriptors streams may use: two for one session at least.

    @param limit: the soft limit.
    """
    return max(2, limit - SPARE)
