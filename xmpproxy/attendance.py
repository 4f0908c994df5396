"""
A client with stream management (XEP-0198), from C{<enable/>} to the end of its session: whether it
is there, whether it may come back, and how much it may leave unacknowledged.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from xmpproxy.downstream import Downstream
from xmpproxy.leftover import Leftover
from xmpproxy.leg import Leg
from xmpproxy.management import Management
from xmpproxy.queues import GRAIN
from xmpproxy.returned import returned
from xmpproxy.session import Session
from xmpproxy.shown import shown
from xmpproxy.streammanagement import AskPolicy, Resume
from xmpproxy.unacknowledged import Unacknowledged

log = Logger()

#: Seconds that a client gets to acknowledge something while nothing more is read for it.
ACKNOWLEDGE_SECONDS = 60.0


class Attendance:
    """
    Sees to one client.

    @ivar leg: its stream. Set that at once.
    @ivar policy: when it is asked what it has handled.
    @ivar keeps: what was sent to it and is not acknowledged.
    @ivar id: by what it may resume the session; L{None} if it may not.
    """

    __slots__ = (
        "_asking",
        "_management",
        "_seconds",
        "_session",
        "_waiting",
        "id",
        "keeps",
        "leg",
        "policy",
    )

    leg: Leg

    def __init__(
        self, session: Session, management: Management, seconds: float, policy: AskPolicy
    ) -> None:
        """
        @param seconds: how long the session waits for it; 0: it may not come back.
        """
        self.policy = policy
        self.keeps = Unacknowledged()
        self._session = session
        self._management = management
        self._seconds = seconds
        self._asking: IDelayedCall | None = None  # it, what it has handled
        self._waiting: IDelayedCall | None = None  # for it to acknowledge
        self.id = session.resumables.add(self) if seconds else None

    def end(self, handled: int, leaves: bool) -> None:
        """
        The session is over.

        @param handled: how many of the session's stanzas from the client are handled.
        @param leaves: whether nobody else has what the client has not acknowledged.
        """
        if self.id is not None:
            resumables = self._session.resumables
            resumables.discard(self.id, self.leg.h(handled))
            if leaves and self.keeps.count:
                leftover = Leftover(self.bareJid, self.leg, self.keeps)
                resumables.leave(self.id, leftover)
        self._stopWaiting()
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None  # a call still knows us

    # What it does not acknowledge

    def wrote(self) -> None:
        """Something was written to it, or would have been."""
        session = self._session
        size = self.keeps.size
        if size > session.counted + GRAIN:
            session.count()
        if not session.away:
            if size > session.output.most:
                session.tooMuch(f"more than {session.output.most} bytes were not acknowledged")
        elif size > session.output.most:
            self.expire("too much to keep")
        else:
            session.resumables.keep(self, size)

    def hold(self) -> None:
        """Read no more from the server while too much is not acknowledged."""
        session = self._session
        if session.full or session.ended or not self._isTooMuch():
            return
        if session.away:
            self.expire("too much to keep")
        else:
            session.setFull(True)
            self._waiting = session.clock.callLater(
                ACKNOWLEDGE_SECONDS, session.tooMuch, "acknowledge what you are sent"
            )

    def acknowledged(self) -> None:
        """It has acknowledged something: read on."""
        session = self._session
        if session.full and not session.away and not self._isTooMuch():
            self._stopWaiting()
            session.setFull(False)

    def _isTooMuch(self) -> bool:
        session = self._session
        return (
            self._management.unhandled >= session.mostUnhandled
            or self.keeps.size > session.output.most // 2
        )

    def askLater(self, seconds: float) -> None:
        """Have it asked what it has handled."""
        session = self._session
        if self._asking is None and not session.away and not session.ended:
            self._asking = session.clock.callLater(seconds, self._ask)

    def _ask(self) -> None:
        self._asking = None
        self._management.askClient()

    def _stopWaiting(self) -> None:
        if self._waiting is not None and self._waiting.active():
            self._waiting.cancel()
        self._waiting = None

    # Resumption (section 5): see L{xmpproxy.resumption.Resumable}

    @property
    def bareJid(self) -> str:
        """Whose the session is."""
        return self._session.seat.account

    @property
    def away(self) -> bool:
        """Whether its stream was lost."""
        return self._session.away

    def leave(self) -> None:
        """Its stream is lost. The server does not notice, and the siblings neither."""
        session = self._session
        seconds = self._seconds
        if session.full:  # nothing is read from the server, which does not wait for ever
            seconds = min(seconds, ACKNOWLEDGE_SECONDS)
        log.info(
            "{jid}: lost its client, {client}; it may come back within {seconds:.0f} s",
            jid=shown(session.jid),
            client=session.clientStream.address,
            seconds=seconds,
        )
        self._stopWaiting()
        assert self.id is not None, "it may come back"
        session.resumables.wait(self.id, seconds)
        session.goOnAlone()
        if session.away:
            session.resumables.keep(self, self.keeps.size)
            self.hold()

    def whenAway(self) -> Deferred[None]:
        """Part with the old stream, if it is there; fires when all that came on it is handled."""
        if not self._session.away and not self._session.ended:
            self._session.dismiss()
            self.leave()
        return self._management.whenHandled()

    def resume(self, downstream: Downstream, resume: Resume, namespace: str) -> None:
        """Go on with a new stream."""
        session = self._session
        told = self._management.resumed(resume, namespace)
        session.resumables.back(self)
        session.goOnWith(downstream, b"".join(told))
        session.setFull(False)
        self.hold()

    def expire(self, why: str) -> None:
        """Wait for it no longer. What the server does not keep is returned to who sent it."""
        session = self._session
        if session.away:
            if not self._management.serverCounts:
                for error in returned(self.keeps.rest(), session.jid, messages=session.isAlone):
                    session.send(error)
            session.giveUpClient(why)
