"""Tests for L{xmpproxy.silence}."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.silence import ANSWER_SECONDS, Patience, Verdict

WAIT, PROBE, GONE = Verdict.WAIT, Verdict.PROBE, Verdict.GONE


class Line:
    """
    A connection.

    @ivar left: what C{unsent} tells, one call after the other; then nothing is left.
    """

    def __init__(self, *left: int) -> None:
        self.left = list(left)

    def unsent(self) -> int:
        return self.left.pop(0) if self.left else 0


class Stream:
    quiet = 0
    backlog = 0

    def __init__(self, *left: int) -> None:
        self.transport = Line(*left)


class PatienceTests(SynchronousTestCase):
    def verdicts(self, patience: Patience, stream: Stream, looks: int) -> list[Verdict]:
        return [patience.judge(stream) for _ in range(looks)]

    def test_default(self) -> None:
        """After 5 minutes, and half a minute at most, it is asked; a minute later it is gone."""
        patience = Patience(300)
        self.assertEqual(patience.interval, 30)
        self.assertEqual(self.verdicts(patience, Stream(), 13), [*[WAIT] * 10, PROBE, WAIT, GONE])

    def test_slowLine(self) -> None:
        """While what it is sent gets less, it may not have got the question."""
        stream = Stream(5_000, 4_000, 3_000, 3_000)
        patience = Patience(300)
        self.verdicts(patience, stream, 11)
        self.assertEqual(self.verdicts(patience, stream, 4), [WAIT, WAIT, WAIT, GONE])

    def test_deadLine(self) -> None:
        """The question alone stays as it is."""
        for left in ((0, 150), (150, 150), (0, 0)):
            stream = Stream(*left)
            patience = Patience(300)
            self.verdicts(patience, stream, 11)
            self.assertEqual(self.verdicts(patience, stream, 2), [WAIT, GONE])

    @example(300.0, [], 0.0)
    @example(300.0, [0.9], 0.0)
    @given(
        st.floats(0.5, 100_000),
        st.lists(st.floats(0, 0.99), max_size=5),
        st.floats(0, 1, exclude_max=True),
    )
    def test_times(self, seconds: float, gaps: list[float], phase: float) -> None:
        """
        Whenever something comes: it is asked after so much silence, not sooner and hardly later,
        once; and given up when the time to answer is over, not sooner and hardly later.
        """
        patience = Patience(seconds)
        answer = min(seconds, ANSWER_SECONDS)
        interval = patience.interval
        self.assertLessEqual(interval, 30)
        self.assertLessEqual(interval * 2, answer * 1.0001)
        slack = interval * 1.0001
        stream = Stream()
        heard, comes = 0.0, 0.0
        arrivals = []
        for gap in gaps:
            comes += gap * (seconds + answer)
            arrivals.append(comes)
        now = (phase - 1) * interval  # so that the first look is at any time from the start
        asked = None
        while True:
            now += interval
            while arrivals and arrivals[0] <= now:
                heard = arrivals.pop(0)
                stream.quiet = 0
                asked = None
            verdict = patience.judge(stream)
            silent = now - heard
            if verdict is PROBE:
                self.assertIsNone(asked)
                self.assertGreaterEqual(silent, seconds * 0.9999)
                self.assertLessEqual(silent, seconds + slack)
                asked = now
            elif verdict is GONE:
                assert asked is not None
                self.assertGreaterEqual(now - asked, answer * 0.9999)
                self.assertLessEqual(now - asked, answer + slack)
                self.assertEqual(arrivals, [])
                break
            else:
                self.assertLess(silent, seconds + answer + 2 * slack)
