"""Real XMPP servers on loopback, for the tests and for ``xmpproxy demo``.

Four kinds: Prosody, ejabberd and jabberd2 as Debian packages them, and pyjabber from PyPI. Each lab
has free ports of its own, a directory of its own and a certificate authority of its own, so any
number of them run side by side; no root is needed to run one, only to install the packages.

::

    from xmpproxy import lab

    with lab.start("prosody") as server:
        ...  # alice, bob, carol, ... at server.domain, password "secret", on server.port
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from xmpproxy.lab import ejabberd, jabberd2, prosody, pyjabber
from xmpproxy.lab.server import DOMAIN, PASSWORD, USERS, LabError, Server

__all__ = [
    "DOMAIN",
    "KINDS",
    "PASSWORD",
    "USERS",
    "LabError",
    "Server",
    "available",
    "restart",
    "start",
]


class _Kind(Protocol):
    """What a module of this package says about one kind of server."""

    @property
    def missing(self) -> Callable[[], str | None]: ...

    @property
    def launch(self) -> Callable[[Server], None]: ...


_kinds: dict[str, _Kind] = {
    "prosody": prosody,
    "ejabberd": ejabberd,
    "jabberd2": jabberd2,
    "pyjabber": pyjabber,
}
KINDS = tuple(_kinds)


def available(kind: str) -> str | None:
    """Say whether a server can be started here.

    @param kind: one of L{KINDS}.
    @return: L{None} if it can, else a sentence with the reason and the mend.
    """
    return _kinds[kind].missing()


def start(
    kind: str,
    directory: Path | None = None,
    *,
    users: Sequence[str] = USERS,
    carbons: bool = True,
    archive: bool = False,
) -> Server:
    """Start a server and wait until it answers clients; this blocks, for ejabberd about 3 seconds.

    The server ends when the calling thread does, however that ends.

    @param kind: one of L{KINDS}.
    @param directory: an existing, empty directory for everything the server writes; L{None} for a
        temporary one that goes with the server.
    @param users: the accounts' names (letters and digits), all with the password L{PASSWORD}.
    @param carbons: offer Message Carbons (XEP-0280), on a server that knows them.
    @param archive: keep a message archive (XEP-0313), on a server that knows one.
    @raise LabError: it cannot be started here, or did not come up; the text holds its log's tail.
    """
    reason = available(kind)
    if reason is not None:
        raise LabError(reason)
    server = Server(kind, directory, users, carbons, archive)
    try:
        _kinds[kind].launch(server)
    except BaseException:
        server.stop()
        raise
    return server


def restart(server: Server) -> None:
    """Stop a server and start it again, where it was and with what it has stored; this blocks.

    @param server: one that was started with a directory of its own.
    @raise LabError: it did not come up.
    """
    server.stop()
    server.begin()
    try:
        _kinds[server.kind].launch(server)
    except BaseException:
        server.stop()
        raise
