"""What one client is sent, in order, with places kept for what may still come."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile


class Slot:
    """
    A place in an output.

    @ivar data: what is sent there; L{None} while that is open.
    @ivar came: of one that is reserved, how much had come by then: see L{Outbox.came}.
    """

    __slots__ = ("came", "data")

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data
        self.came = 0


class Outbox:
    """
    What one client is sent, in order.

    @ivar write: what sends to the client.
    @ivar waiting: bytes that wait behind an open slot.
    @ivar came: how many stanzas have come that are sent here. Whoever wants to know C{passed}
        keeps that up to date.
    """

    __slots__ = ("_slots", "came", "waiting", "write")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write
        self._slots: list[Slot] = []  # an empty deque takes ten times as much
        self.waiting = 0
        self.came = 0

    @property
    def empty(self) -> bool:
        """Whether nothing waits, not even for what may still come."""
        return not self._slots

    @property
    def passed(self) -> int:
        """How many of what has come do not wait for anything."""
        # What is first is always an open slot.
        return self._slots[0].came if self._slots else self.came

    def append(self, data: bytes) -> None:
        """Send a line, behind all others."""
        if self._slots:
            self._slots.append(Slot(data))
            self.waiting += len(data)
        else:
            self.write(data)

    def reserve(self, slot: Slot) -> None:
        """Keep the place of a line, behind all others."""
        slot.came = self.came
        self._slots.append(slot)

    def put(self, data: bytes) -> None:
        """Send what is no line: behind what has come, before what has yet to come."""
        slots = self._slots
        if slots:
            toCome = sum(1 for _ in takewhile(lambda slot: not slot.data, reversed(slots)))
            if toCome < len(slots):
                slots.insert(len(slots) - toCome, Slot(data))
                self.waiting += len(data)
                return
        self.write(data)

    def fill(self, slot: Slot, data: bytes) -> None:
        """Put C{data} into an open slot, C{b""} for nothing, and send what need not wait now."""
        slot.data = data
        self.waiting += len(data)
        slots = self._slots
        ready = 0
        for each in slots:
            if each.data is None:
                break
            ready += 1
            self.waiting -= len(each.data)
            if each.data:
                self.write(each.data)
        del slots[:ready]
