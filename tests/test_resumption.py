"""Tests of L{xmpproxy.resumption}: which sessions are kept, and for how much."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy import resumption
from xmpproxy.config import StreamManagement
from xmpproxy.downstream import Downstream
from xmpproxy.leftover import Leftover
from xmpproxy.leg import Leg
from xmpproxy.resumption import Resumables
from xmpproxy.streammanagement import Resume
from xmpproxy.unacknowledged import Unacknowledged


class Session:
    """
    One that can be resumed.

    @ivar why: why it was given up.
    """

    bareJid = "juliet@example.com"
    why: str | None = None
    away = True

    def __init__(self, resumables: Resumables) -> None:
        self._resumables = resumables
        self.id = resumables.add(self)

    def whenAway(self) -> Deferred[None]:
        """It is away."""
        return succeed(None)

    def resume(self, downstream: Downstream, resume: Resume, namespace: str) -> None:
        """Nobody comes."""

    def expire(self, why: str) -> None:
        """As a session does."""
        assert self.why is None, "once is enough"
        self.why = why
        self._resumables.discard(self.id, 7)


class Resumption(SynchronousTestCase):
    def make(self, sessions: int = 3, bytes: int = 100, count: int = 5) -> list[Session]:
        """So many sessions, with room for these."""
        config = StreamManagement(resume_sessions=sessions, resume_bytes=bytes)
        self.clock = Clock()
        self.resumables = Resumables(config, self.clock)
        return [Session(self.resumables) for _ in range(count)]

    def gone(self, sessions: list[Session]) -> list[int]:
        """Which of them were given up."""
        return [at for at, session in enumerate(sessions) if session.why is not None]

    def test_ids(self) -> None:
        """Nobody can guess one: 144 bits."""
        sessions = self.make(count=100)
        self.assertEqual(len({each.id for each in sessions}), 100)
        self.assertEqual({len(each.id) for each in sessions}, {24})

    def test_find(self) -> None:
        """Until it has ended."""
        first, second, *_ = self.make()
        self.assertIs(self.resumables.find(first.id), first)
        self.resumables.discard(first.id, 3)
        self.resumables.discard(first.id, 4)
        self.resumables.discard("another", 5)
        self.assertIsNone(self.resumables.find(first.id))
        self.assertIs(self.resumables.find(second.id), second)
        self.assertEqual(self.resumables.refusal(first.id).failed.h, 3)
        self.assertIsNone(self.resumables.refusal("another").failed.h)

    def test_remembered(self) -> None:
        """Of sessions that are over, the latest are known."""
        self.patch(resumption, "REMEMBERED", 2)
        sessions = self.make()
        for h, each in enumerate(sessions):
            self.resumables.discard(each.id, h)
        known = [self.resumables.refusal(each.id).failed.h for each in sessions]
        self.assertEqual(known, [None, None, None, 3, 4])

    def test_sessions(self) -> None:
        """The one that has been away longest ends; news of another does not make it younger."""
        sessions = self.make()
        for each in (0, 1, 2, 0):
            self.resumables.keep(sessions[each], 1)
        self.assertEqual(self.gone(sessions), [])
        self.resumables.keep(sessions[3], 0)
        self.assertEqual(self.gone(sessions), [0])
        self.assertEqual(sessions[0].why, "no room to keep it")
        self.resumables.back(sessions[1])
        self.resumables.keep(sessions[4], 0)
        self.assertEqual(self.gone(sessions), [0])
        self.resumables.keep(sessions[1], 0)
        self.assertEqual(self.gone(sessions), [0, 2])

    def test_bytes(self) -> None:
        """The same, of those that keep anything."""
        sessions = self.make()
        self.resumables.keep(sessions[0], 0)
        self.resumables.keep(sessions[1], 60)
        self.resumables.keep(sessions[2], 40)
        self.assertEqual(self.gone(sessions), [])
        self.resumables.keep(sessions[2], 41)
        self.assertEqual(self.gone(sessions), [1])
        self.resumables.keep(sessions[2], 101)
        self.assertEqual(self.gone(sessions), [1, 2])

    def test_left(self) -> None:
        """What is left goes before anything that is kept, the oldest first."""
        sessions = self.make()
        for number, each in enumerate(sessions[:3]):
            self.leaves(each, f"<message id='{number}'/>".ljust(30))
        self.assertEqual(self.left(sessions[0], "romeo@example.net"), 0)
        self.assertEqual(self.left(sessions[0]), 1)
        self.assertEqual(self.left(sessions[0]), 0)
        self.resumables.keep(sessions[3], 70)
        self.assertEqual([self.left(sessions[1]), self.left(sessions[2])], [0, 1])
        self.resumables.keep(sessions[3], 100)
        self.assertEqual(self.gone(sessions), [])

    def leaves(self, session: Session, what: str) -> None:
        """A session is over, and leaves something."""
        keeps = Unacknowledged()
        keeps.add(what.encode())
        self.resumables.discard(session.id, 0)
        self.resumables.leave(session.id, Leftover(Session.bareJid, Leg("", 0, 0), keeps))

    def left(self, session: Session, bareJid: str = Session.bareJid) -> int:
        """How many messages an account's client gets that wants to resume this one."""
        return len(list(self.resumables.inherit(Resume(session.id, 0), bareJid)))

    def test_firstToKeep(self) -> None:
        """Who keeps nothing is not the one that has kept something longest, whatever it did."""
        sessions = self.make(sessions=5)
        for at, bytes in [(0, 0), (1, 30), (2, 0), (3, 30), (1, 41), (2, 30), (3, 0), (3, 1)]:
            self.resumables.keep(sessions[at], bytes)
        self.assertEqual(self.gone(sessions), [1])
        self.resumables.back(sessions[2])
        self.resumables.keep(sessions[2], 40)
        self.resumables.keep(sessions[4], 60)
        self.assertEqual(self.gone(sessions), [1, 3])

    def test_timeIsOver(self) -> None:
        """Sessions end when their clients have not come in time, each in its own."""
        sessions = self.make(sessions=5)
        for at, seconds in enumerate((300, 60, 300, 10, 300)):
            self.resumables.wait(sessions[at].id, seconds)
            self.resumables.keep(sessions[at], 0)
        self.resumables.back(sessions[4])
        for seconds, gone in [(59, [3]), (1, [1, 3]), (239, [1, 3]), (1, [0, 1, 2, 3])]:
            self.clock.advance(seconds)
            self.assertEqual(self.gone(sessions), gone)
        self.assertEqual({each.why for each in sessions[:4]}, {"not resumed"})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_leftForSoLong(self) -> None:
        """What is left is kept as long as a session."""
        one, other, *_ = self.make()
        self.resumables.wait(one.id, 60)
        self.leaves(one, "<message/>")
        self.clock.advance(299)
        self.leaves(other, "<message/>")
        self.clock.advance(1)
        self.assertEqual([self.left(one), self.left(other)], [0, 1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_none(self) -> None:
        """There may be no room at all."""
        (session,) = self.make(count=1)
        self.resumables.keep(session, 101)
        self.assertEqual(session.why, "no room to keep it")

    def test_stops(self) -> None:
        """Who is away when the proxy ends, or after that."""
        sessions = self.make()
        self.resumables.startService()
        self.resumables.keep(sessions[0], 0)
        self.resumables.keep(sessions[1], 7)
        self.resumables.back(sessions[1])
        self.resumables.stopService()
        self.assertEqual(self.gone(sessions), [0])
        self.assertEqual(sessions[0].why, "shutdown")
        self.resumables.keep(sessions[1], 7)
        self.assertEqual(self.gone(sessions), [0, 1])

    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 60))))
    def test_any(self, happens: list[tuple[int, int]]) -> None:
        """There is never more than may be, and nobody ends while there is room."""
        sessions = self.make(count=10)
        away: dict[int, int] = {}
        for at, bytes in happens:
            if sessions[at].why is not None:
                continue
            if bytes < 0:
                self.resumables.back(sessions[at])
                away.pop(at, None)
                continue
            self.resumables.keep(sessions[at], bytes)
            away[at] = bytes
            fits = len(away) <= 3 and sum(away.values()) <= 100
            left = {each: away[each] for each in away if sessions[each].why is None}
            self.assertEqual(left == away, fits)
            self.assertTrue(len(left) <= 3 and sum(left.values()) <= 100)
            away = left
