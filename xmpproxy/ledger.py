"""
What of one stream has been handled, told by what is acknowledged of another.

The proxy takes no responsibility for a stanza itself (XEP-0198, section 4): one that came on the
I{incoming} stream is handled when the peer of the I{outgoing} stream has handled what it became
there. Both directions of a session have a ledger of their own: for the client's stanzas, outgoing
is what is sent to the server; for the server's, what is sent to the client.
"""

from __future__ import annotations

from collections import deque

# Kinds of stanzas: in the low bits of a run, and behind them how many there are.
_BOTH = 0  # came, and was passed on
_OUT = 1  # was sent, and stands for none that came
_IN = 2  # came, and nothing was sent for it
_BITS = 2
_KIND = 3


class Ledger:
    """
    Two streams, one ahead of the other.

    @ivar handled: how many incoming stanzas are handled, with all that came before them.
    @ivar unhandled: how many are not.
    @ivar outstanding: how many outgoing stanzas are not acknowledged.
    """

    __slots__ = ("_runs", "handled", "outstanding", "unhandled")

    def __init__(self) -> None:
        self.handled = 0
        self.unhandled = 0
        self.outstanding = 0
        # From the oldest outgoing stanza that is not acknowledged on. No run has its neighbour's
        # kind, and none of _IN comes first or behind one of _OUT, so there are at most two for each
        # outgoing stanza. L{None} for none: a deque is not small.
        self._runs: deque[int] | None = None

    def passed(self, count: int = 1) -> None:
        """
        Stanzas came, and were sent on one for one.

        @param count: how many.
        """
        self.unhandled += count
        self.outstanding += count
        self._append(_BOTH, count)

    def sent(self, count: int = 1) -> None:
        """
        Stanzas were sent that stand for none that came: questions of ours, copies.

        @param count: how many.
        """
        self.outstanding += count
        self._append(_OUT, count)

    def settled(self, count: int = 1) -> None:
        """
        Stanzas came that were answered or dropped here: nothing was sent for them. They are handled
        as soon as all that came before them is.

        @param count: how many.
        """
        if not self.unhandled:
            self.handled += count
            return
        self.unhandled += count
        runs = self._runs
        assert runs
        # What is sent for none need not be waited for.
        ours = runs.pop() if runs[-1] & _KIND == _OUT else None
        self._append(_IN, count)
        if ours is not None:
            runs.append(ours)

    def acknowledged(self, count: int) -> int:
        """
        The oldest outgoing stanzas that were not acknowledged are now.

        @param count: how many, at most C{outstanding}.
        @return: how many incoming ones are handled by that.
        """
        if count > self.outstanding:
            raise ValueError(f"{count} acknowledged, {self.outstanding} sent")
        self.outstanding -= count
        handled = 0
        runs = self._runs
        while runs:
            kind = runs[0] & _KIND
            length = runs[0] >> _BITS
            if kind != _IN:
                if count < length:
                    runs[0] -= count << _BITS
                    handled += count if kind == _BOTH else 0
                    break
                count -= length
            if kind != _OUT:
                handled += length
            runs.popleft()
        else:
            self._runs = None
        self.handled += handled
        self.unhandled -= handled
        return handled

    def _append(self, kind: int, count: int) -> None:
        if not count:
            return
        runs = self._runs
        if runs is None:
            self._runs = deque((count << _BITS | kind,))
        elif runs[-1] & _KIND == kind:
            runs[-1] += count << _BITS
        else:
            runs.append(count << _BITS | kind)
