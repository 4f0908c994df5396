"""
C{python -m benchmarks.install}: get the peers that the benchmark runs beside the proxy, as far as
that can be done here. What cannot be had is named, and left out by the benchmark.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from xmpproxy.lab import LabError, available
from xmpproxy.lab.install import install, installPackages

#: The newest on crates.io, with the dependencies that its author built it with.
_CRATE, _VERSION = "xmpp-proxy", "1.0.0"
_ROOT = Path(sys.prefix) / "peers"


def xmppProxy() -> str | None:
    """The program: one in C{PATH}, else the one that L{main} built."""
    built = _ROOT / "bin" / _CRATE
    return shutil.which(_CRATE) or (str(built) if built.exists() else None)


def haproxy() -> str | None:
    """The program, also where C{PATH} is that of a user who is not root."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")


def versions() -> list[str]:
    """Those of the programs that there are, as they call themselves."""
    rust, hap = xmppProxy(), haproxy()
    said = [_firstLine([hap, "-v"])] if hap is not None else []
    if rust is not None:
        # 1.0 does not say.
        said.append(_firstLine([rust, "-v"]) or f"{_CRATE} {_VERSION}")
    if available("prosody") is None:
        said.append(_firstLine(["dpkg-query", "--show", "prosody"]).replace("\t", " ") or "prosody")
    return [re.sub(r" [\d/]+ - http.*| \(.*", "", each) for each in said]


def _firstLine(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.partition("\n")[0] if done.returncode == 0 else ""


def main() -> None:
    """The command."""
    try:
        install(["prosody"])
        if haproxy() is None:
            installPackages(["haproxy"])
    except LabError as error:
        print(f"benchmarks: {error}")
    if xmppProxy() is None:
        cargo = shutil.which("cargo") or shutil.which("cargo", path=Path.home() / ".cargo" / "bin")
        if cargo is None:
            print("benchmarks: xmpp-proxy is left out, because there is no Rust toolchain (cargo).")
            return
        print("Building xmpp-proxy with cargo, once.", flush=True)
        command = [cargo, "install", "--quiet", _CRATE, "--version", _VERSION]
        command += ["--locked", "--root", str(_ROOT)]
        if subprocess.run(command, check=False).returncode != 0:
            print("benchmarks: xmpp-proxy is left out, because it could not be built.")


if __name__ == "__main__":
    main()
