"""Ids of stanzas that the proxy itself makes."""

from __future__ import annotations

import itertools
import secrets

#: What ids of copies begin with, in every proxy.
_COPY = "xmpproxy-copy."


class Ids:
    """Makes ids that no peer can guess, and knows them again."""

    __slots__ = ("_numbers", "_token")

    def __init__(self, token: str | None = None) -> None:
        """
        @param token: what all of them begin with; by default random.
        """
        self._token = token or secrets.token_urlsafe(12)
        self._numbers = itertools.count()

    def make(self) -> str:
        """A fresh id."""
        return f"{self._token}.{next(self._numbers):x}"

    def made(self, id: str | None) -> bool:
        """Whether an id is one of these."""
        return id is not None and id.startswith(f"{self._token}.")


def copyIds() -> Ids:
    """Makes ids for copies."""
    return Ids(_COPY + secrets.token_urlsafe(12))


def ofCopy(id: str | None) -> bool:
    """Whether an id is that of a copy which a proxy made, be it this one or another."""
    return id is not None and id.startswith(_COPY)
