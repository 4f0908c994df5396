"""jabberd2, as Debian packages it: a router, a session manager and a client connector."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

from xmpproxy.lab.server import Server, freePort

_PROGRAMS = "/usr/sbin/jabberd2-"


def missing() -> str | None:
    """Why jabberd2 cannot run here, or L{None}."""
    if not os.access(f"{_PROGRAMS}c2s", os.X_OK) or _modules() is None:
        return "jabberd2 is not installed (python -m xmpproxy.lab install jabberd2)"
    return None


def launch(server: Server) -> None:
    """Write the configuration and the accounts, start the three programs, wait for an answer."""
    server.tlsPort = server.tlsPort or freePort()
    _createDatabase(server)
    for name in "router-users.xml", "router-filter.xml":
        server.write(name, f"jabberd2/{name}")
    routerPort = freePort()
    # Each component connects to the router and waits seconds before it tries again: in this order.
    for component, ready in (
        ("router", "listening for incoming connections"),
        ("sm", "ready for sessions"),
        ("c2s", "ready for connections"),
    ):
        config = server.write(
            f"{component}.xml",
            f"jabberd2/{component}.xml",
            routerPort=routerPort,
            modules=_modules(),
        )
        server.spawn(f"{component}-output", f"{_PROGRAMS}{component}", "-c", str(config))
        log = server.directory / f"{component}.log"
        log.touch()
        server.awaitText(log, ready)
    server.awaitStream()


def _modules() -> Path | None:
    """The directory of jabberd2's modules; its name depends on the machine's architecture."""
    return next(Path("/usr/lib").glob("*/jabberd2"), None)


def _createDatabase(server: Server) -> None:
    if (server.directory / "jabberd2.db").exists():
        return
    schema = resources.files("xmpproxy.lab").joinpath("data", "jabberd2", "schema.sql").read_text()
    with closing(sqlite3.connect(server.directory / "jabberd2.db")) as database:
        database.executescript(schema)
        database.executemany(
            "insert into authreg (username, realm, password) values (?, ?, ?)",
            [(name, server.domain, password) for name, password in server.users.items()],
        )
        database.executemany(
            'insert into active ("collection-owner") values (?)',
            [(f"{name}@{server.domain}",) for name in server.users],
        )
        database.commit()
