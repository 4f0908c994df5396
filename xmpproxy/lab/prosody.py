"""Prosody, as Debian packages it."""

from __future__ import annotations

import shutil

from xmpproxy.lab.server import Server, freePort


def missing() -> str | None:
    """Why Prosody cannot run here, or L{None}."""
    if shutil.which("prosody") is None:
        return "prosody is not installed (python -m xmpproxy.lab install prosody)"
    return None


def launch(server: Server) -> None:
    """Write the configuration and the accounts, start Prosody, wait until it answers."""
    server.tlsPort = server.tlsPort or freePort()
    modules = [*(["carbons"] if server.carbons else []), *(["mam"] if server.archive else [])]
    config = server.write("prosody.cfg.lua", modules=", ".join(f'"{name}"' for name in modules))
    accounts = server.directory / "data" / server.domain.replace(".", "%2e") / "accounts"
    accounts.mkdir(parents=True, exist_ok=True)
    for name, password in server.users.items():
        # mod_auth_internal_hashed replaces the password by its hash at the first login.
        (accounts / f"{name}.dat").write_text(f'return {{ ["password"] = "{password}" }};\n')
    server.spawn("prosody", "prosody", "-F", "--config", str(config))
    server.awaitStream()
