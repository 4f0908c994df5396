"""pyjabber, the server that pip installs."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from xmpproxy.lab.server import Server


def missing() -> str | None:
    """Why pyjabber cannot run here, or L{None}."""
    if importlib.util.find_spec("pyjabber") is None or importlib.util.find_spec("greenlet") is None:
        return "pyjabber is not installed (pip install pyjabber greenlet)"
    return None


def launch(server: Server) -> None:
    """Start pyjabber with the accounts, wait until it answers."""
    # pyjabber looks for its certificate under these names.
    shutil.copy(server.certificate, server.directory / f"{server.domain}_cert.pem")
    shutil.copy(server.key, server.directory / f"{server.domain}_key.pem")
    server.spawn(
        "pyjabber",
        sys.executable,
        # -P: this directory holds a module that is called pyjabber, too.
        *("-P", str(Path(__file__).with_name("pyjabberd.py"))),
        *(server.domain, server.host, str(server.port), str(server.directory)),
        *(f"{name}:{password}" for name, password in server.users.items()),
    )
    server.awaitStream()
