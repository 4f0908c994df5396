"""What the garbage collector looks at, and what it leaves alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.garbage import BLOCKS, LOOKS, THRESHOLDS, Garbage


class FakeCollector:
    """
    What is used of the module L{gc}.

    @ivar did: what it was told to do.
    """

    def __init__(self) -> None:
        self.callbacks: list[Callable[[str, dict[str, int]], None]] = []
        self.thresholds: tuple[int, ...] = (7, 8, 9)
        self.did: list[str] = []

    def get_threshold(self) -> tuple[int, ...]:
        return self.thresholds

    def set_threshold(self, *thresholds: int) -> None:
        self.thresholds = thresholds

    def collect(self) -> None:
        self.did.append("collect")

    def freeze(self) -> None:
        self.did.append("freeze")

    def unfreeze(self) -> None:
        self.did.append("unfreeze")

    def look(self, generation: int = 2) -> list[str]:
        """
        Look at a generation and those that are younger, as by itself.

        @return: what the callbacks did.
        """
        self.did.clear()
        for phase in ("start", "stop"):
            for callback in self.callbacks:
                callback(phase, {"generation": generation, "collected": 0, "uncollectable": 0})
            if phase == "start":
                assert not self.did, "done before it has looked"
        return self.did.copy()


class GarbageTests(SynchronousTestCase):
    """
    The policy.

    @ivar blocks: that are in use.
    @ivar sessions: how many there are.
    """

    def setUp(self) -> None:
        self.collector = FakeCollector()
        self.blocks = 1000
        self.sessions = 0
        self.garbage = Garbage(lambda: self.sessions, self.collector, lambda: self.blocks)
        self.garbage.startService()

    def looks(self) -> list[str]:
        """What is done in as many looks as it takes until the memory is checked."""
        return [done for _ in range(LOOKS) for done in self.collector.look()]

    def test_start(self) -> None:
        """What is there when the service starts is looked at, and then no more."""
        self.assertEqual(self.collector.did, ["collect", "freeze"])
        self.assertEqual(self.collector.thresholds, THRESHOLDS)

    def test_stop(self) -> None:
        """The collector is left as it was."""
        self.collector.did.clear()
        self.garbage.stopService()
        self.assertEqual(self.collector.did, ["unfreeze"])
        self.assertEqual(self.collector.thresholds, (7, 8, 9))
        self.assertEqual(self.collector.callbacks, [])

    def test_oldest(self) -> None:
        """What is left of the oldest generation is looked at no more. The others are let be."""
        self.assertEqual(self.collector.look(0), [])
        self.assertEqual(self.collector.look(1), [])
        self.assertEqual(self.collector.look(2), ["freeze"])

    def test_sessionsExplain(self) -> None:
        """However many sessions there are, never are all objects looked at because of them."""
        for _ in range(10):
            self.sessions += 500
            self.blocks += 500 * BLOCKS
            self.assertEqual(self.looks(), ["freeze"] * LOOKS)

    def test_suspicion(self) -> None:
        """Twice as much as there was, beyond what sessions explain, and all are looked at."""
        self.sessions = 10
        self.blocks = 2000 + 10 * BLOCKS
        self.assertEqual(self.looks(), ["freeze"] * LOOKS)
        self.blocks += 1
        self.assertEqual(self.looks(), ["freeze"] * LOOKS + ["unfreeze"])

    def test_sessionsLeave(self) -> None:
        """What stays when sessions have left is suspicious."""
        self.sessions = 10
        self.blocks = 1000 + 10 * BLOCKS
        self.assertEqual(self.looks(), ["freeze"] * LOOKS)
        self.sessions = 0
        self.assertEqual(self.looks(), ["freeze"] * LOOKS + ["unfreeze"])

    def test_groundless(self) -> None:
        """What the look at all objects leaves is in use: nothing is suspected until it doubles."""
        self.blocks = 5000
        self.looks()
        self.assertEqual(self.collector.look(), ["freeze"])
        self.blocks = 10000
        self.assertEqual(self.looks(), ["freeze"] * LOOKS)
        self.blocks = 10001
        self.assertEqual(self.looks(), ["freeze"] * LOOKS + ["unfreeze"])

    def test_wellFounded(self) -> None:
        """If it was garbage, what is suspicious stays the same."""
        self.blocks = 5000
        self.looks()
        self.blocks = 1000
        self.assertEqual(self.collector.look(), ["freeze"])
        self.blocks = 2001
        self.assertEqual(self.looks(), ["freeze"] * LOOKS + ["unfreeze"])


class Thing:
    """Something that may hold itself."""

    myself: Thing | None = None


class CollectorTests(SynchronousTestCase):
    """The same with the collector of this process."""

    def setUp(self) -> None:
        self.blocks = 1000
        self.garbage = Garbage(lambda: 0, blocks=lambda: self.blocks)

    def test_lateGarbage(self) -> None:
        """What was in use when it was looked at is found when it is suspected, and not before."""
        self.garbage.startService()
        self.addCleanup(self.garbage.stopService)
        thing = Thing()
        thing.myself = thing
        found = weakref.ref(thing)
        gc.collect()
        del thing
        gc.collect()
        self.assertIsNotNone(found())
        self.blocks = 2001
        for _ in range(LOOKS):
            gc.collect()
        self.assertIsNone(found())

    def test_earlyGarbage(self) -> None:
        """What is in use no more when it is first looked at is freed then."""
        self.garbage.startService()
        self.addCleanup(self.garbage.stopService)
        thing = Thing()
        thing.myself = thing
        found = weakref.ref(thing)
        del thing
        gc.collect()
        self.assertIsNone(found())

    def test_restored(self) -> None:
        """The process is left as it was."""
        before = gc.get_threshold(), len(gc.callbacks), gc.get_freeze_count(), gc.isenabled()
        self.garbage.startService()
        gc.collect()
        self.assertNotEqual(gc.get_freeze_count(), 0)
        self.garbage.stopService()
        after = gc.get_threshold(), len(gc.callbacks), gc.get_freeze_count(), gc.isenabled()
        self.assertEqual(after, before)
