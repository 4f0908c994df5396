"""Installs the Debian packages that the lab's servers come from."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xmpproxy.lab import KINDS, LabError, available

_POLICY = Path("/usr/sbin/policy-rc.d")
_SYSTEMD = Path("/run/systemd/system")


def install(kinds: Sequence[str]) -> None:
    """Install what is missing of some servers, saying so first; nothing if all are there.

    The packages' own services, which would take the standard ports, are neither started nor left to
    start with the machine.

    @param kinds: of L{xmpproxy.lab.KINDS}; pyjabber comes with pip, so here it can only be there.
    @raise LabError: a server is still missing; the text says what to do.
    """
    missing = [kind for kind in kinds if available(kind) is not None]
    packages = [kind for kind in missing if kind != "pyjabber"]
    if packages:
        installPackages(packages)
    reasons = [reason for kind in missing if (reason := available(kind)) is not None]
    if reasons:
        raise LabError("; ".join(reasons))


def installPackages(packages: Sequence[str]) -> None:
    """Install Debian packages, saying so first. Their services stay off.

    @raise LabError: that cannot be done here; the text says what to do.
    """
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if shutil.which("apt-get") is None:
        raise LabError(f"no apt-get here; install by hand: {' '.join(packages)}")
    if os.geteuid() != 0:
        raise LabError(f"missing: {' '.join(packages)}. As root: {' '.join(command)}")
    print(f"Installing {', '.join(packages)} with apt-get (services stay off).", flush=True)
    # Erlang brings a port mapper that listens on every address.
    new = packages if shutil.which("erl") else [*packages, "erlang-base"]
    with _servicesOff():
        _run("apt-get", "update", "-qq")
        _run(command[0], "-qq", "-o", "DPkg::Lock::Timeout=300", *command[1:])
    if _SYSTEMD.is_dir() and (units := _units(new)):
        _run("systemctl", "disable", "--now", *units)


@contextmanager
def _servicesOff() -> Iterator[None]:
    """Have Debian's maintainer scripts start no service, as containers do anyway."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _units(packages: Sequence[str]) -> list[str]:
    """The systemd units that some packages brought, if they are installed."""
    listing = subprocess.run(
        ["dpkg", "-L", *packages], check=False, capture_output=True, text=True
    ).stdout.splitlines()
    paths = [Path(line) for line in listing if "/systemd/system/" in line]
    return [path.name for path in paths if path.suffix in (".service", ".socket")]


def _run(*command: str) -> None:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    environment = {**os.environ, "PATH": path, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}")


def main(arguments: Sequence[str]) -> int:
    """The command C{python -m xmpproxy.lab}; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m xmpproxy.lab")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("install", help="install what servers need, with apt-get")
    command.add_argument("kinds", nargs="+", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    try:
        install(parser.parse_args(arguments).kinds)
    except LabError as error:
        print(f"xmpproxy.lab: {error}", file=sys.stderr)
        return 1
    return 0
