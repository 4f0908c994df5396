"""Looks every so often whether the peers of all sessions are still there."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from xmpproxy.account import Accounts, Session
from xmpproxy.silence import Patience

log = Logger()

#: How many sessions are looked at in one turn of the reactor.
_PORTION = 100


class KeepAlive(Service):
    """Looks at the sessions of all accounts, while it runs."""

    def __init__(self, idleSeconds: float, accounts: Accounts, clock: IReactorTime) -> None:
        """
        @param idleSeconds: how long a peer may be silent; 0: as long as it likes.
        """
        self._patience = Patience(idleSeconds)
        self._accounts = accounts
        self._clock = clock
        self._next: IDelayedCall | None = None

    def startService(self) -> None:
        """Begin to look."""
        super().startService()
        self._rest()

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _rest(self) -> None:
        if self._patience.seconds:
            self._next = self._clock.callLater(self._patience.interval, self._look)

    def _look(self) -> None:
        self._lookAt(self._accounts.sessions())

    def _lookAt(self, sessions: list[Session]) -> None:
        portion = sessions[:_PORTION]
        del sessions[:_PORTION]
        # Thousands may have to be asked at once; nobody is to wait for that.
        if sessions:
            self._next = self._clock.callLater(0, self._lookAt, sessions)
        else:
            self._rest()
        for session in portion:
            try:
                session.look(self._patience)
            except Exception:
                log.failure("cannot look at a session")
