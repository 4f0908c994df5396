"""The processes that are measured, each on loopback and on one core."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.client import Tls
from xmpproxy.lab.server import freePort

#: The sink's domain; queue-bytes is raised because a burst may be more than a client has read.
_CONFIG = """\
[[listen]]
endpoint = "tcp:{port}:interface=127.0.0.1"
[tls]
certificate = "cert.pem"
private-key = "key.pem"
[[domain]]
name = "example.com"
upstream = "tcp:127.0.0.1:{upstream}"
upstream-tls = "none"
[limits]
queue-bytes = 16777216
"""
_ROOT = Path(__file__).parent.parent
_START_SECONDS = 20
_CORES = sorted(os.sched_getaffinity(0))


class Subject:
    """
    A process that clients connect to.

    @ivar port: where, on 127.0.0.1.
    @ivar tls: how.
    """

    def __init__(
        self, command: Sequence[str], port: int, tls: Tls, directory: Path, root: Path = _ROOT
    ) -> None:
        """
        Start it.

        @param directory: where its files are, its output among them.
        @param root: where the code is that it runs.
        """
        self.port = port
        self.tls = tls
        self._output = directory / f"{port}.log"
        with self._output.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env={**os.environ, "PYTHONPATH": str(root)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        # The clock of a process's CPU time, see clock_getcpuclockid(3).
        self._clock = (~self._process.pid << 3) | 2
        pin(self._process.pid, 0)

    def waitUntilListening(self) -> None:
        """
        Return when clients can connect.

        @raise RuntimeError: it does not start.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it does not start:\n{self._output.read_text()}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    @property
    def cpu(self) -> float:
        """The CPU time that it has had, in seconds, the kernel's work for it included."""
        return time.clock_gettime(self._clock)

    @property
    def memory(self) -> int:
        """Its resident memory, in KiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        resident = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        assert resident is not None
        return int(resident[1])

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()


def raiseLimits() -> None:
    """Allow this process and those that it starts as many open files as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def pin(pid: int, core: int) -> None:
    """
    Keep a process on one core, as far as there are as many.

    @param pid: 0 for this one.
    @param core: its number among those that we may use.
    """
    os.sched_setaffinity(pid, {_CORES[core % len(_CORES)]})


def proxy(directory: Path, upstream: int, *, mirror: bool = True, root: Path = _ROOT) -> Subject:
    """
    The proxy itself, as C{twistd} runs it.

    @param mirror: whether it mirrors messages, see L{benchmarks.unmirrored}.
    @param root: where its code is, if that is not the one at hand.
    """
    port = freePort()
    config = directory / f"{port}.toml"
    config.write_text(_CONFIG.format(port=port, upstream=upstream))
    twistd = [str(Path(sys.executable).with_name("twistd"))]
    if not mirror:
        twistd = [sys.executable, "-m", "benchmarks.unmirrored"]
    command = [*twistd, "-n", "--pidfile=", "xmpproxy", "--config", config.name]
    return Subject(command, port, "starttls", directory, root)


def relay(kind: str, directory: Path, upstream: int, tls: bool = True) -> Subject:
    """A base line, see L{benchmarks.relays}."""
    port = freePort()
    endpoint = f"tcp:{port}:interface=127.0.0.1"
    if tls:
        endpoint = f"ssl:{port}:privateKey=key.pem:certKey=cert.pem:interface=127.0.0.1"
    command = [sys.executable, "-m", "benchmarks.relays", kind, endpoint, str(upstream)]
    return Subject(command, port, "direct" if tls else "none", directory)
