"""The processes that are measured, each on loopback and on one core."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.client import Tls
from xmpproxy.lab.server import freePort

#: The sink's domain; queue-bytes is raised because a burst may be more than a client has read.
_CONFIG = """\
[[listen]]
endpoint = "tcp:{port}:interface=127.0.0.1"
tls = "{tls}"
[tls]
certificate = "cert.pem"
private-key = "key.pem"
[[domain]]
name = "example.com"
upstream = "tcp:127.0.0.1:{upstream}"
upstream-tls = "{upstreamTls}"
upstream-trust = "ca.pem"
[limits]
queue-bytes = 16777216
"""
#: What is in the way of many clients at one address, and by how much it is not.
LIMITS = {
    "bytes-per-second": 0,
    "connections-per-address": 100000,
    "logins": 100000,
    "logins-per-address": 100000,
    "sessions-per-account": 100000,
}
#: Of version 1.0, and of 1.1, which calls the first line's key by the second's.
_XMPP_PROXY = """\
listen = ["127.0.0.1:{port}"]
incoming_listen = ["127.0.0.1:{port}"]
c2s_target = "127.0.0.1:{upstream}"
s2s_target = "127.0.0.1:{upstream}"
proxy = false
max_stanza_size_bytes = 262144
tls_key = "key.pem"
tls_cert = "cert.pem"
"""
_HAPROXY = """\
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen xmpp
    bind 127.0.0.1:{port} ssl crt full.pem
    server sink 127.0.0.1:{upstream}{tls}
"""
_HAPROXY_TLS = " ssl verify required ca-file ca.pem sni str(example.com) verifyhost example.com"
_ROOT = Path(__file__).parent.parent
_START_SECONDS = 20
_CORES = sorted(os.sched_getaffinity(0))


class Process:
    """A process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # See clock_getcpuclockid(3): all threads count.
        self._clock = (~pid << 3) | 2

    @property
    def cpu(self) -> float:
        """The CPU time that it has had, in seconds, the kernel's work for it included."""
        return time.clock_gettime(self._clock)

    @property
    def memory(self) -> int:
        """Its resident memory, in KiB."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        resident = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        assert resident is not None
        return int(resident[1])

    @property
    def descriptors(self) -> int:
        """How many files it has open."""
        return len(os.listdir(f"/proc/{self._pid}/fd"))


class Nothing:
    """No process: clients connect to the server behind."""

    cpu = 0.0
    memory = 0


class Subject(Process):
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
        self._command = command
        self._root = root
        self._output = directory / f"{port}.log"
        self._output.write_bytes(b"")
        self.start()

    def start(self) -> None:
        """Start it again, once it has ended."""
        with self._output.open("ab") as log, pinned():
            self._process = subprocess.Popen(
                self._command,
                cwd=self._output.parent,
                env={**os.environ, "PYTHONPATH": str(self._root)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        super().__init__(self._process.pid)

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

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

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()


def raiseLimits() -> None:
    """Allow this process and those that it starts as many open files as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def pin(core: int) -> None:
    """
    Keep this process on one core, as far as there are as many.

    @param core: its number among those that we may use.
    """
    os.sched_setaffinity(0, {_CORES[core % len(_CORES)]})


@contextmanager
def pinned() -> Iterator[None]:
    """Processes that are started meanwhile stay on the first core, with all their threads."""
    cores = os.sched_getaffinity(0)
    pin(0)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def proxy(
    directory: Path,
    upstream: int,
    *,
    tls: Tls = "starttls",
    upstreamTls: Tls = "none",
    mirror: bool = True,
    pauses: Path | None = None,
    traces: Path | None = None,
    turns: Path | None = None,
    limited: Collection[str] = (),
    root: Path = _ROOT,
) -> Subject:
    """
    The proxy itself, as C{twistd} runs it.

    @param tls: how clients get TLS.
    @param upstreamTls: how the server behind gives it.
    @param mirror: whether it mirrors messages, see L{benchmarks.unmirrored}.
    @param pauses: where to note those of the garbage collector, see L{benchmarks.pauses}.
    @param traces: where to note who takes memory, see L{benchmarks.traces}.
    @param turns: where to note how long the reactor's turns take, see L{benchmarks.turns}.
    @param limited: which limits are not lifted that are in the way of many clients.
    @param root: where its code is, if that is not the one at hand.
    """
    port = freePort()
    config = directory / f"{port}.toml"
    config.write_text(
        _CONFIG.format(port=port, tls=tls, upstream=upstream, upstreamTls=upstreamTls)
        + _unlimited(root, limited)
    )
    twistd = [str(Path(sys.executable).with_name("twistd"))]
    if not mirror:
        twistd = [sys.executable, "-m", "benchmarks.unmirrored"]
    if pauses is not None:
        twistd = [sys.executable, "-m", "benchmarks.pauses", str(pauses)]
    if traces is not None:
        twistd = [sys.executable, "-m", "benchmarks.traces", str(traces)]
    if turns is not None:
        twistd = [sys.executable, "-m", "benchmarks.turns", str(turns)]
    command = [*twistd, "-n", "--pidfile=", "xmpproxy", "--config", config.name]
    return Subject(command, port, tls, directory, root)


def _unlimited(root: Path, limited: Collection[str]) -> str:
    """The limits that are in the way of many clients at one address, if the code knows of them."""
    known = (root / "xmpproxy" / "config.py").read_text()
    return "".join(
        f"{key} = {value}\n"
        for key, value in LIMITS.items()
        if key not in limited and f" {key.replace('-', '_')}: " in known
    )


def router(directory: Path) -> Subject:
    """A server behind the proxy that is a process of its own, see L{benchmarks.router}."""
    port = freePort()
    command = [sys.executable, "-m", "benchmarks.router", f"{port}"]
    return Subject(command, port, "none", directory)


def relay(kind: str, directory: Path, upstream: int, tls: bool = True) -> Subject:
    """A base line, see L{benchmarks.relays}."""
    port = freePort()
    endpoint = f"tcp:{port}:interface=127.0.0.1"
    if tls:
        endpoint = f"ssl:{port}:privateKey=key.pem:certKey=cert.pem:interface=127.0.0.1"
    command = [sys.executable, "-m", "benchmarks.relays", kind, endpoint, str(upstream)]
    return Subject(command, port, "direct" if tls else "none", directory)


def haproxy(program: str, directory: Path, upstream: int, *, upstreamTls: bool = False) -> Subject:
    """
    HAProxy, as C{program}: TLS with clients and then any bytes.

    @param upstreamTls: whether there is TLS with the server behind, too.
    """
    port = freePort()
    config = directory / f"{port}.cfg"
    tls = _HAPROXY_TLS if upstreamTls else ""
    config.write_text(_HAPROXY.format(port=port, upstream=upstream, tls=tls))
    return Subject([program, "-db", "-f", config.name], port, "direct", directory)


def xmppProxy(program: str, directory: Path, upstream: int) -> Subject:
    """The XMPP proxy written in Rust, as C{program}: TLS with clients, none with the server."""
    port = freePort()
    config = directory / f"{port}.toml"
    config.write_text(_XMPP_PROXY.format(port=port, upstream=upstream))
    return Subject([program, config.name], port, "direct", directory)
