"""ejabberd, as Debian packages it.

It is started as a plain Erlang program, not with ejabberdctl: so it needs neither root nor the user
"ejabberd", and, being no node of a cluster, neither a port for Erlang's distribution nor the port
mapper epmd, which would listen on every address of the machine.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from xmpproxy.lab.server import Server, freePort

_READY = "accounts are registered"


def missing() -> str | None:
    """Why ejabberd cannot run here, or L{None}."""
    if shutil.which("erl") is None or _libraries() is None:
        return "ejabberd is not installed (python -m xmpproxy.lab install ejabberd)"
    return None


def launch(server: Server) -> None:
    """Write the configuration, start ejabberd, register the accounts, wait until it answers."""
    server.tlsPort = server.tlsPort or freePort()
    config = server.write(
        "ejabberd.yml",
        carbons="mod_carboncopy: {}" if server.carbons else "",
        archive="mod_mam: {default: always}" if server.archive else "",
    )
    users = ", ".join(f'{{<<"{name}">>, <<"{word}">>}}' for name, word in server.users.items())
    register = (
        f'[ok = ejabberd_auth:set_password(U, <<"{server.domain}">>, P) || {{U, P}} <- [{users}]],'
        f' io:format("{_READY}~n").'
    )
    log = server.spawn(
        "ejabberd",
        "erl",
        "-noinput",
        # Idle schedulers sleep at once instead of spinning.
        *("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"),
        *("-mnesia", "dir", f'"{server.directory / "mnesia"}"'),
        *("-s", "ejabberd", "-eval", register),
        env={
            "ERL_LIBS": str(_libraries()),
            "ERL_CRASH_DUMP_BYTES": "0",
            "EJABBERD_CONFIG_PATH": str(config),
            "EJABBERD_LOG_PATH": str(server.directory / "ejabberd-own.log"),
        },
    )
    server.awaitText(log, _READY)
    server.awaitStream()


def _libraries() -> Path | None:
    """The directory that holds ejabberd's code; its name depends on the machine's architecture."""
    return next((path.parent for path in Path("/usr/lib").glob("*/ejabberd-*")), None)
