"""Sessions that a client can come back to after its stream was lost (XEP-0198, section 5)."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from xmpproxy.config import StreamManagement
from xmpproxy.deadlines import Deadlines
from xmpproxy.downstream import Downstream
from xmpproxy.leftover import Leftover
from xmpproxy.streammanagement import Refused, Resume

#: How many sessions are remembered when they are over, for clients that come too late.
REMEMBERED = 10000


class Resumable(Protocol):
    """A session, as who wants to resume it sees it."""

    @property
    def id(self) -> str | None:
        """By what it was added."""

    @property
    def away(self) -> bool:
        """Whether its client's stream was lost."""

    @property
    def bareJid(self) -> str:
        """Whose it is."""

    def whenAway(self) -> Deferred[None]:
        """
        Part with the old stream, if it is still there.

        @return: fires when all that came on it is handled.
        """

    def resume(self, downstream: Downstream, resume: Resume, namespace: str) -> None:
        """
        Go on with a new stream.

        @raise Refused: its C{h} cannot be.
        """

    def expire(self, why: str) -> None:
        """Wait for the client no longer."""


class Resumables(Service):
    """
    Those of the whole process. Of sessions whose client is away, only so many and so many bytes are
    kept; with more sessions the one that has been away longest ends; with more bytes the one that
    has kept any longest. Once this has stopped there are none. What sessions that are over have
    left counts among those bytes, and goes first.

    @ivar seconds: for how long each is kept; 0: not at all.
    """

    def __init__(self, config: StreamManagement, clock: IReactorTime) -> None:
        self.seconds = config.resume_seconds
        self._mostAway = config.resume_sessions
        self._mostBytes = config.resume_bytes
        self._sessions: dict[str, Resumable] = {}
        self._over: dict[str, int] = {}  # with what of the client's was handled
        # These are ordered: the first of a dictionary from which many were taken is far to find.
        self._away: OrderedDict[Resumable, int] = OrderedDict()  # with the bytes that each keeps
        self._keeping: OrderedDict[Resumable, None] = OrderedDict()  # those that keep any
        self._left: OrderedDict[str, Leftover] = OrderedDict()
        self._bytes = 0
        self._deadlines = Deadlines(clock, self._timeIsOver)  # of both

    def add(self, session: Resumable) -> str:
        """
        A session can be resumed from now on.

        @return: the id by which; it cannot be guessed.
        """
        id = secrets.token_urlsafe(18)
        self._sessions[id] = session
        return id

    def find(self, id: str) -> Resumable | None:
        """The session with this id."""
        return self._sessions.get(id)

    def discard(self, id: str, h: int) -> None:
        """
        A session has ended.

        @param h: how many stanzas of its client's were handled.
        """
        session = self._sessions.pop(id, None)
        if session is not None:
            self.back(session)
            self._over[id] = h
            if len(self._over) > REMEMBERED:
                del self._over[next(iter(self._over))]

    def leave(self, id: str, leftover: Leftover) -> None:
        """A session that has ended leaves something, for who wants to resume it."""
        self._left[id] = leftover
        self._deadlines.set(id, self.seconds)
        self._bytes += leftover.size
        self._keepTo("no room to keep it")

    def forget(self, id: str) -> Leftover | None:
        """
        Nobody asks for it any more.

        @return: it, if it was still there.
        """
        leftover = self._left.pop(id, None)
        if leftover is not None:
            self._bytes -= leftover.size
            self._deadlines.cancel(id)
        return leftover

    def inherit(self, resume: Resume, bareJid: str) -> Iterable[bytes]:
        """
        The messages that are left to a client which could not resume its session.

        @param bareJid: whose client it is.
        """
        leftover = self._left.get(resume.previd)
        if leftover is None or leftover.bareJid != bareJid:
            return ()
        self.forget(resume.previd)
        return leftover.messages(resume.h)

    def refusal(self, id: str) -> Refused:
        """What a client gets that wants a session that is not there: C{h}, if it has been."""
        return Refused("item-not-found", self._over.get(id))

    def wait(self, id: str, seconds: float) -> None:
        """A session ends in so many seconds, unless its client is C{back}."""
        self._deadlines.set(id, seconds)

    def _timeIsOver(self, id: str) -> None:
        session = self._sessions.get(id)
        if session is None:
            self.forget(id)
        else:
            self.back(session)
            session.expire("not resumed")

    def keep(self, session: Resumable, bytes: int) -> None:
        """
        A session's client is away.

        @param bytes: how much is kept for it. Called again when that has changed.
        """
        self._bytes += bytes - self._away.get(session, 0)
        self._away[session] = bytes
        if bytes:
            self._keeping[session] = None
        else:
            self._keeping.pop(session, None)
        self._keepTo("no room to keep it")

    def _keepTo(self, why: str) -> None:
        while self._left and self._bytes > self._mostBytes:
            self.forget(next(iter(self._left)))
        while (many := len(self._away) > self._mostAway) or self._bytes > self._mostBytes:
            oldest = next(iter(self._away if many else self._keeping))
            self.back(oldest)
            oldest.expire(why)

    def makeWay(self, bareJid: str) -> bool:
        """
        End the session of an account whose client has been away longest.

        @return: whether there was one.
        """
        for session in self._away:  # the one that is away longest comes first
            if session.bareJid == bareJid:
                self.back(session)
                session.expire("another session of the account needs the room")
                return True
        return False

    def stopService(self) -> None:
        """The proxy ends: so do the sessions whose clients are away, be it now or soon."""
        super().stopService()
        self._mostAway = 0
        for id in list(self._left):
            self.forget(id)
        self._keepTo("shutdown")

    def back(self, session: Resumable) -> None:
        """A session's client is there again, or never will be."""
        self._bytes -= self._away.pop(session, 0)
        self._keeping.pop(session, None)
        if session.id is not None:
            self._deadlines.cancel(session.id)
