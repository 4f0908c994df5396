"""Attempts to log in on one stream: for whom each is, and how long it has to wait. Pure."""

from __future__ import annotations

from xmpproxy.admission import Failures, Origin, accountKey
from xmpproxy.sasl import userName
from xmpproxy.stanza import Stanza

#: Failures of SASL that say nothing about a password (RFC 6120, section 6.5).
_NO_GUESSES = frozenset(
    {
        "aborted",
        "encryption-required",
        "incorrect-encoding",
        "invalid-mechanism",
        "malformed-request",
        "mechanism-too-weak",
        "temporary-auth-failure",
    }
)


class Attempts:
    """The attempts of one client, one at a time."""

    __slots__ = ("_account", "_domain", "_failures", "_mechanism", "_origin", "_underWay")

    def __init__(self, domain: str, failures: Failures, origin: Origin) -> None:
        """
        @param domain: of the accounts.
        @param failures: of all clients.
        @param origin: where this one is.
        """
        self._domain = domain
        self._failures = failures
        self._origin = origin
        self._mechanism: str | None = None  # while it is not known for whom the attempt is
        self._account: int | None = None  # whom it is for
        self._underWay = False

    def wait(self, stanza: Stanza) -> float | None:
        """
        The client sends an element of SASL.

        @return: seconds to wait before it goes on; L{None} for ever. With the message that says for
            whom it is, or that may do so, an attempt waits where too many have failed.
        """
        if stanza.name == "auth":
            self._mechanism = stanza.attributes.get("mechanism", "")
            self._account = None
        text = str(stanza.element) if self._mechanism is not None else ""
        if stanza.name not in ("auth", "response") or not text:
            return 0.0
        assert self._mechanism is not None
        name = userName(self._mechanism, text)
        if name is not None:
            self._account = accountKey(self._domain, name)
            self._mechanism = None
        self.end()
        others = self._origin.attempts
        seconds = self._failures.wait(self._origin.name, self._account, others)
        if seconds is not None:
            self._underWay = True
            self._origin.attempts += 1
        return seconds

    def succeeded(self) -> None:
        """The server takes the client for whom it says it is."""
        self._failures.succeeded(self._origin.name, self._account)
        self.end()

    def failed(self, failure: Stanza) -> None:
        """The server has refused an attempt."""
        self.end()
        if all(name not in _NO_GUESSES for _, name in failure.children):
            self._failures.failed(self._origin.name, self._account)

    def end(self) -> None:
        """No attempt is under way."""
        if self._underWay:
            self._underWay = False
            self._origin.attempts -= 1
