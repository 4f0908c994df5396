"""
Python's garbage collector, kept from looking at thousands of sessions again and again.

What is over is freed by reference counting, sessions too. The collector is for what is left:
objects that hold each other. By itself it looks at all objects whenever a quarter has been added to
them; with thousands of sessions, nothing else happens then for some tenths of a second. So:

- What is left by a look at the oldest generation is I{frozen}. The next such look is about what was
  made since, and takes a few milliseconds, however many sessions there are.
- What was frozen and then dies in a cycle is not found. That should not happen; so all is looked at
  again only if there is much more memory in use than the open sessions explain.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service

#: After how many new objects, less those that are gone, the collector looks at them; after how many
#: such looks at those that were left; after how many of these at all that is not frozen.
THRESHOLDS = (700, 10, 2)

#: How many blocks of memory a session explains. An idle one has about 200.
BLOCKS = 800

#: After how many looks at all that is not frozen it is asked how much memory is in use.
LOOKS = 16


class Garbage(Service):
    """
    Freezes what the collector has looked at, from L{startService} to L{stopService}. This is about
    the whole process, whatever else that does.
    """

    def __init__(
        self,
        sessions: Callable[[], int],
        collector: Any = gc,
        blocks: Callable[[], int] = sys.getallocatedblocks,
    ) -> None:
        """
        @param sessions: tells how many there are.
        @param collector: the module L{gc}, or what acts like it.
        @param blocks: tells how many blocks of memory are in use.
        """
        self._sessions = sessions
        self._collector = collector
        self._blocks = blocks
        self._thresholds = (0, 0, 0)  # what they were before
        self._most = 0  # blocks that sessions need not explain
        self._looks = 0  # since that was checked
        self._all = False  # whether the next look is at everything

    def startService(self) -> None:
        """Freeze what is there."""
        super().startService()
        self._thresholds = self._collector.get_threshold()
        self._collector.set_threshold(*THRESHOLDS)
        self._collector.collect()
        self._collector.freeze()
        self._most = 2 * self._unexplained()
        self._collector.callbacks.append(self._looked)

    def stopService(self) -> None:
        """Leave the collector as it was."""
        super().stopService()
        self._collector.callbacks.remove(self._looked)
        self._collector.unfreeze()
        self._collector.set_threshold(*self._thresholds)

    def _unexplained(self) -> int:
        """How many blocks are in use that are not the sessions'."""
        return self._blocks() - BLOCKS * self._sessions()

    def _looked(self, phase: str, info: Mapping[str, int]) -> None:
        """Called of L{gc.callbacks}, in any thread, and wherever objects are made."""
        if phase != "stop" or info["generation"] != 2:
            return
        self._collector.freeze()
        self._looks += 1
        if self._all:  # what is in use now is no garbage
            self._all = False
            self._looks = 0
            self._most = max(self._most, 2 * self._unexplained())
        elif self._looks >= LOOKS:
            self._looks = 0
            if self._unexplained() > self._most:
                self._all = True
                self._collector.unfreeze()
