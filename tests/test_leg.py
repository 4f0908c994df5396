"""Tests of L{xmpproxy.leg}: one stream since stream management was enabled on it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.error import StreamError

from xmpproxy import ns
from xmpproxy.leg import Leg
from xmpproxy.streammanagement import MODULUS, Answer, Request

SM, SM2 = ns.STREAM_MANAGEMENT


class LegTests(SynchronousTestCase):
    """Numbers of a session, and those of the stream."""

    def test_handled(self) -> None:
        """What came before does not count; it may be handled later than that was enabled."""
        leg = Leg(SM, came=10, sent=0)
        self.assertEqual([leg.h(each) for each in (0, 9, 10, 11, 15)], [0, 0, 0, 1, 5])
        self.assertEqual(leg.answer(12), Answer(2).written(SM))

    def test_unheard(self) -> None:
        """What the peer sends again when it is told less than has come; never what came before."""
        leg = Leg(SM, came=10, sent=0)
        self.assertEqual([leg.unheard(each, 15) for each in (0, 10, 11, 15)], [5, 5, 4, 0])

    @given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
    def test_unheardIsTheRest(self, came: int, more: int, handled: int) -> None:
        """It is what has come since then, less what is told."""
        leg = Leg(SM, came, sent=0)
        handled = min(handled, came + more)
        self.assertEqual(leg.unheard(handled, came + more) + leg.h(handled), more)

    def test_modulus(self) -> None:
        """The counter begins anew."""
        leg = Leg(SM, came=10, sent=0)
        self.assertEqual(leg.h(10 + MODULUS - 1), MODULUS - 1)
        self.assertEqual(leg.h(10 + MODULUS), 0)
        self.assertEqual(leg.h(15 + 3 * MODULUS), 5)

    def test_request(self) -> None:
        """In the version that is spoken. The peer owes an answer."""
        leg = Leg(SM2, 0, 0)
        self.assertFalse(leg.asking)
        self.assertEqual(leg.request(), Request().written(SM2))
        self.assertTrue(leg.asking)
        self.assertEqual(leg.answer(0), Answer(0).written(SM2))

    def test_acknowledged(self) -> None:
        """Of what was sent on the session, what was sent before included."""
        leg = Leg(SM, came=0, sent=7)
        self.assertEqual(leg.acknowledged(0, 7), 7)
        self.assertEqual(leg.acknowledged(2, 10), 9)
        self.assertEqual(leg.acknowledged(2, 12), 9)
        self.assertEqual(leg.acknowledged(5, 12), 12)

    def test_impossible(self) -> None:
        """Nothing is changed by what cannot be."""
        leg = Leg(SM, came=0, sent=7)
        leg.acknowledged(2, 10)
        for h in (1, 4, MODULUS - 1):
            self.assertRaises(StreamError, leg.acknowledged, h, 10)
            self.assertEqual(leg.acknowledged(2, 10), 9)

    @given(st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 2**31))), st.integers(0, 99))
    def test_any(self, steps: list[tuple[int, int]], before: int) -> None:
        """However much was sent, and whatever part of it is acknowledged."""
        leg = Leg(SM, came=0, sent=before)
        sent = acknowledged = 0
        for more, part in steps:
            sent += more
            acknowledged = min(sent, acknowledged + part)
            if sent - acknowledged < MODULUS:
                h = acknowledged % MODULUS
                self.assertEqual(leg.acknowledged(h, before + sent), before + acknowledged)
            else:
                break  # more than can be told apart
