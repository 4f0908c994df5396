"""
Who may come in, and how often: connections and logins by address, and failed logins. Pure.
"""

from __future__ import annotations

import math
import stringprep
import unicodedata
from collections.abc import Callable, Hashable
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Generic, NamedTuple, TypeVar

from xmpproxy.config import Limits

#: What comes from no IP address that is known, such as by a UNIX socket. Not limited by address.
LOCAL = "local"
#: What IPv4 addresses begin with where they are written as IPv6 (RFC 4291, section 2.5.5.2).
_MAPPED = bytes(10) + b"\xff\xff"

#: Seconds after which as many failed logins are forgotten as an address or account may have.
WINDOW = 600.0
#: Seconds that a login waits at most because others have failed.
LONGEST_WAIT = 30.0
#: How many addresses, accounts, or pairs of both failed logins are remembered of.
MOST_FAILED = 10000
#: How many accounts are remembered with where they were logged in to from, and how many addresses
#: for each: those in use last.
MOST_ACCOUNTS = 10000
MOST_HOMES = 16
#: No server has accounts with longer names (RFC 7622, section 3.3).
_LONGEST_NAME = 1024


def origin(host: str | None) -> str:
    """
    What counts as one address: with IPv6 a /64, of which a single machine has all.

    @param host: an IP address; L{None} or anything else for none.
    """
    family = AF_INET6 if ":" in (host or "") else AF_INET
    try:
        address = inet_pton(family, (host or "").partition("%")[0])
    except (OSError, ValueError):  # ValueError: a NUL
        return LOCAL
    if family == AF_INET6 and not address.startswith(_MAPPED):
        return f"{inet_ntop(AF_INET6, address[:8] + bytes(8))}/64"
    return inet_ntop(AF_INET, address[-4:])


def accountKey(domain: str, name: str) -> int:
    """
    What stands for an account here: small, however long the name is.

    @param name: as in SASL. Ways to write the same name have the same key, as far as they are
        likely: nothing but counting depends on it.
    """
    shown = "".join(each for each in name[:_LONGEST_NAME] if not stringprep.in_table_b1(each))
    prepared = unicodedata.normalize("NFKC", shown).casefold()
    return hash((domain, prepared.removesuffix(f"@{domain}")))


class Refusal(NamedTuple):
    """
    @ivar limit: the key of C{[limits]}.
    @ivar condition: the stream error's (RFC 6120, section 4.9.3).
    @ivar text: for people.
    """

    limit: str
    condition: str
    text: str


_CONNECTIONS = Refusal(
    "connections-per-address", "policy-violation", "too many connections from your address"
)
_LOGINS = Refusal(
    "logins-per-address", "policy-violation", "too many logins at a time from your address"
)
#: Also for those who are connected, when they log in.
FAILED_LOGINS = Refusal(
    "failed-logins-per-address", "policy-violation", "too many failed logins from your address"
)


class Origin:
    """
    One address.

    @ivar name: see L{origin}.
    @ivar connections: how many there are from it,
    @ivar logins: and how many of these have no resource yet.
    @ivar attempts: how many attempts to log in are under way.
    """

    __slots__ = ("attempts", "connections", "logins", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.attempts = 0
        self.connections = 0
        self.logins = 0


class Admission:
    """
    Counts the connections and logins of all listeners.

    @ivar limits: what there may be.
    @ivar connections: how many there are,
    @ivar logins: and how many of these have no resource yet.
    @ivar failures: the logins that failed.
    @ivar freed: called when there is one less.
    """

    def __init__(self, limits: Limits, seconds: Callable[[], float]) -> None:
        """
        @param seconds: what time it is.
        """
        self.limits = limits
        self.connections = 0
        self.logins = 0
        self.failures = Failures(limits, seconds)
        self.freed: Callable[[], None] = _nothing
        self._origins: dict[str, Origin] = {}

    def refusal(self, address: str) -> Refusal | None:
        """
        Why no connection can be had from an address; L{None} if it can.

        @param address: see L{origin}.
        """
        if address == LOCAL:
            return None
        here = self._origins.get(address)
        if here is not None:
            if here.connections >= self.limits.connections_per_address:
                return _CONNECTIONS
            if here.logins >= self.limits.logins_per_address:
                return _LOGINS
        return FAILED_LOGINS if self.failures.inVain(address) else None

    def enter(self, address: str) -> Origin:
        """
        There is another connection.

        @return: what to say for it in C{loggedIn}, if it comes to that, and C{leave}.
        """
        here = self._origins.get(address)
        if here is None:
            here = self._origins[address] = Origin(address)
        here.connections += 1
        here.logins += 1
        self.connections += 1
        self.logins += 1
        return here

    def loggedIn(self, here: Origin) -> None:
        """A connection has a resource now, or is about to leave without one."""
        here.logins -= 1
        self.logins -= 1
        self.freed()

    def leave(self, here: Origin) -> None:
        """A connection is gone. Say C{loggedIn} before."""
        here.connections -= 1
        self.connections -= 1
        if not here.connections:
            del self._origins[here.name]
        self.freed()

    def full(self, upstreams: int, descriptors: float) -> str | None:
        """
        The limit that lets nobody come in for now, whatever the address.

        @param upstreams: how many streams to servers there are.
        @param descriptors: how many descriptors streams may use.
        """
        limits = self.limits
        if 0 < limits.connections <= self.connections:
            return f"limits connections = {limits.connections}"
        if self.logins >= limits.logins:
            return f"limits logins = {limits.logins}"
        # Who is not logged in may be about to open an upstream.
        if self.connections + upstreams + self.logins + 2 > descriptors:
            return "no descriptors are left"
        return None


def _nothing() -> None:
    pass


K = TypeVar("K", bound=Hashable)


class Levels(Generic[K]):
    """What has failed lately, by a key. Only so many keys are remembered, the last that failed."""

    def __init__(self, most: int) -> None:
        """
        @param most: a level is not more than twice this, of which this much is forgotten in
            C{WINDOW}.
        """
        self._most = most
        self._levels: dict[K, tuple[float, float]] = {}  # and when; the oldest comes first

    def __len__(self) -> int:
        return len(self._levels)

    def at(self, key: K, now: float) -> float:
        """The level: how many there were, less what is forgotten."""
        level, then = self._levels.get(key, (0.0, now))
        passed = max(0.0, now - then)  # clocks are set back at times
        return max(0.0, level - passed * self._most / WINDOW)

    def add(self, key: K, now: float) -> None:
        """One more."""
        level = min(self.at(key, now) + 1, 2.0 * self._most)
        self._levels.pop(key, None)
        self._levels[key] = (level, now)
        oldest = next(iter(self._levels))
        if len(self._levels) > MOST_FAILED or not self.at(oldest, now):
            del self._levels[oldest]

    def wait(self, key: K, now: float, longest: float, others: int = 0) -> float:
        """
        Seconds that the next one has to wait: twice as long each time, beyond the most.

        @param others: how many of which nobody knows yet. Beyond the most, they have failed, too.
        """
        beyond = math.ceil(self.at(key, now) - self._most)
        return 0.0 if beyond < 0 else min(longest, 2.0 ** min(beyond + others, 10))

    def isFull(self, key: K, now: float, others: int = 0) -> bool:
        """Whether it is at twice the most, so that there is to be no next one."""
        level = self.at(key, now)
        return level >= self._most and level + others > 2 * self._most - 1


class Homes:
    """Where accounts were logged in to from."""

    def __init__(self) -> None:
        self._homes: dict[int, dict[str, None]] = {}  # each in the order of use
        self._accounts: dict[str, int] = {}  # how many, by address

    def __contains__(self, address: str) -> bool:
        """Whether somebody lives there."""
        return address in self._accounts

    def has(self, account: int, address: str) -> bool:
        """Whether that is an account's."""
        return address in self._homes.get(account, ())

    def add(self, account: int, address: str) -> None:
        """An account was logged in to."""
        homes = self._homes.pop(account, {})
        self._homes[account] = homes
        if address in homes:
            del homes[address]
        else:
            self._accounts[address] = self._accounts.get(address, 0) + 1
        homes[address] = None
        if len(homes) > MOST_HOMES:
            oldest = next(iter(homes))
            del homes[oldest]
            self._forget(oldest)
        if len(self._homes) > MOST_ACCOUNTS:
            for each in self._homes.pop(next(iter(self._homes))):
                self._forget(each)

    def _forget(self, address: str) -> None:
        self._accounts[address] -= 1
        if not self._accounts[address]:
            del self._accounts[address]


class Failures:
    """
    Failed logins.

    Who has logged in to an account from some address is at home there, and a failure then is
    counted for the two of them alone. Other failures are counted for the address and for the
    account. So a stranger is delayed, and an address of strangers refused, while those who are at
    home are neither, whatever anybody tries elsewhere, or on other accounts from where they are.
    """

    def __init__(self, limits: Limits, seconds: Callable[[], float]) -> None:
        """
        @param seconds: what time it is.
        """
        self._seconds = seconds
        self._addresses = Levels[str](limits.failed_logins_per_address)
        self._accounts = Levels[int](limits.failed_logins_per_account)
        self._pairs = Levels[tuple[str, int]](limits.failed_logins_per_account)
        self._homes = Homes()
        self._longest = min(LONGEST_WAIT, limits.login_seconds / 2)

    def wait(self, address: str, account: int | None, others: int = 0) -> float | None:
        """
        How many seconds a login has to wait; L{None}: for ever.

        @param account: see L{accountKey}; L{None} if it is not known.
        @param others: how many attempts from the address are under way besides.
        """
        now = self._seconds()
        if account is None:
            seconds = 0.0
        elif self._homes.has(account, address):
            return self._pairs.wait((address, account), now, self._longest)
        else:
            seconds = self._accounts.wait(account, now, self._longest)
        if address == LOCAL:
            return seconds
        if self._addresses.isFull(address, now, others):
            return None
        return max(seconds, self._addresses.wait(address, now, self._longest, others))

    def inVain(self, address: str) -> bool:
        """Whether all logins from an address wait for ever."""
        return self._addresses.isFull(address, self._seconds()) and address not in self._homes

    def failed(self, address: str, account: int | None) -> None:
        """A login has failed: the password was wrong, or something of the kind."""
        now = self._seconds()
        if account is not None:
            if self._homes.has(account, address):
                self._pairs.add((address, account), now)
                return
            self._accounts.add(account, now)
        if address != LOCAL:
            self._addresses.add(address, now)

    def succeeded(self, address: str, account: int | None) -> None:
        """A login has succeeded."""
        if account is not None:
            self._homes.add(account, address)
