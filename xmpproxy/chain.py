"""Which of a session's links see which stanzas, and which stanzas pass unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from xmpproxy import ns
from xmpproxy.fastpath import Unwanted

#: What a link wants to see: names of stanzas, or namespaces of other first-level elements; each
#: with the namespaces of which one must be among the children, or L{None} for all.
Wants = Mapping[str, frozenset[str] | None]

#: For each key of L{Wants} the links that want to see it, by their place in the chain.
Interests = Mapping[str, Sequence[tuple[int, frozenset[str] | None]]]

_STANZAS = ("message", "presence", "iq")
#: Answers that are remembered. There are but a few.
_REMEMBERED = 64


class Seer(Protocol):
    """
    What a chain has to know of a link.

    @cvar fromClient: what it wants to see of what the client sends.
    @cvar fromServer: the same for the server.
    """

    fromClient: ClassVar[Wants]
    fromServer: ClassVar[Wants]

    def heeds(self, name: str) -> frozenset[str] | None:
        """
        What it cannot do without, just now, of stanzas of which C{fromClient} or C{fromServer} says
        that it wants all. Asked before each read.

        @return: namespaces of children, as in L{Wants}; L{None} for all. It may see more of them,
            and errors always.
        """


class Way:
    """
    One way through a chain.

    @ivar interests: who wants to see what.
    """

    def __init__(self, wants: Sequence[Wants]) -> None:
        """
        @param wants: those of the links, in their order.
        """
        keys: set[str] = {*_STANZAS}.union(*wants)
        self.interests: Interests = {
            key: tuple((at, each[key]) for at, each in enumerate(wants) if key in each)
            for key in keys
        }
        # Links that want to see all stanzas of a name, but need not at times.
        self._doubtful = tuple(
            (name, at)
            for name in _STANZAS
            for at, namespaces in self.interests[name]
            if namespaces is None
        )
        self._known: dict[tuple[frozenset[str] | None, ...], Unwanted] = {}

    def unwanted(self, links: Sequence[Seer]) -> Unwanted:
        """
        What nobody wants to see just now.

        @param links: those of one session.
        """
        heeded = tuple([links[at].heeds(name) for name, at in self._doubtful])
        unwanted = self._known.get(heeded)
        if unwanted is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            unwanted = self._known[heeded] = self._unwanted(heeded)
        return unwanted

    def _unwanted(self, heeded: Sequence[frozenset[str] | None]) -> Unwanted:
        found = []
        for name in _STANZAS:
            wanted = [
                namespaces for _, namespaces in self.interests[name] if namespaces is not None
            ]
            doubtful = [
                more for (each, _), more in zip(self._doubtful, heeded, strict=True) if each == name
            ]
            certain = [more for more in doubtful if more is not None]
            exceptions: frozenset[str] = frozenset().union(*wanted, *certain)
            if len(certain) == len(doubtful) and ns.CLIENT not in exceptions:
                found.append((name, exceptions))
        return tuple(found)
