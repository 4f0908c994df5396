"""
What of one stream has been handled, told by what is acknowledged of another.

The proxy takes no responsibility for a stanza itself (XEP-0198, section 4): one that came on the
I{incoming} stream is handled when the peer of the I{outgoing} stream has handled what it became
there. Both directions of a session have a ledger of their own: for the client's stanzas, outgoing
is what is sent to the server; for the server's, what is sent to the client.
"""

from __future__ import annotations

from collections import deque

#: Marks that are kept. Where they are more, some are left out: less is told, and nothing wrong.
MOST_MARKS = 500


class Ledger:
    """
    Two streams, one ahead of the other. All numbers count from the beginning of the session.

    @ivar handled: how many incoming stanzas are handled. It never grows less.
    @ivar acknowledged: how many outgoing ones are acknowledged.
    """

    __slots__ = ("_marks", "acknowledged", "handled")

    def __init__(self) -> None:
        self.handled = 0
        self.acknowledged = 0
        self._marks: deque[tuple[int, int]] | None = None  # an empty deque is not small

    def mark(self, sent: int, came: int) -> None:
        """
        A turn is over: nothing of the first C{came} incoming stanzas is anywhere but in the first
        C{sent} outgoing ones.
        """
        if sent <= self.acknowledged:
            self.handled = max(self.handled, came)
            return
        marks = self._marks
        if marks is None:
            self._marks = deque(((sent, came),))
            return
        if marks[-1][1] >= came:
            return
        if marks[-1][0] == sent or len(marks) >= MOST_MARKS:
            marks.pop()
        marks.append((sent, came))

    def acknowledge(self, sent: int) -> None:
        """The first C{sent} outgoing stanzas are acknowledged."""
        self.acknowledged = max(self.acknowledged, sent)
        marks = self._marks
        while marks and marks[0][0] <= sent:
            self.handled = marks.popleft()[1]
        if not marks:
            self._marks = None
