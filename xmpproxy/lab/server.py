"""One running server: its directory, its ports, its processes, and how they end."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import signal
import socket
import string
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from types import TracebackType

from xmpproxy.lab import certificates

DOMAIN = "example.com"
PASSWORD = "secret"
USERS = ("alice", "bob", "carol", "dave", *(f"u{number}" for number in range(40)))

START_SECONDS = 60.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05

# No XML declaration: pyjabber refuses one on a restarted stream, and nobody needs one.
_STREAM_HEADER = (
    f"<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client'"
    " xmlns:stream='http://etherx.jabber.org/streams'>"
).encode()


class LabError(Exception):
    """A server cannot be started here, or did not come up."""


class Server:
    """A server of the lab, on loopback.

    @ivar kind: which server it is.
    @ivar domain: the domain it serves.
    @ivar host: the address it listens on, as a string.
    @ivar port: its client port, with STARTTLS offered and not required (pyjabber requires it).
    @ivar tlsPort: its client port with direct TLS (XEP-0368), or L{None}.
    @ivar trust: PEM file of the authority that signed its certificate.
    @ivar certificate: PEM file of its certificate, for L{domain}.
    @ivar key: PEM file of the certificate's private key.
    @ivar users: the accounts, names to passwords.
    @ivar carbons: whether Message Carbons were asked for.
    @ivar archive: whether a message archive was asked for.
    @ivar directory: everything that the server writes.
    """

    domain = DOMAIN
    host = "127.0.0.1"

    def __init__(
        self,
        kind: str,
        directory: Path | None,
        users: Sequence[str],
        carbons: bool,
        archive: bool,
    ) -> None:
        for name in users:
            # The names go unescaped into file names, SQL schemas and Erlang terms.
            if not (name.isascii() and name.isalnum() and name.islower()):
                raise ValueError(f"account name {name!r}: use lower-case letters and digits")
        self.kind = kind
        self.users: Mapping[str, str] = dict.fromkeys(users, PASSWORD)
        self.carbons = carbons
        self.archive = archive
        self._temporary = directory is None
        self.directory = (
            Path(tempfile.mkdtemp(prefix=f"xmpproxy-{kind}-"))
            if directory is None
            else directory.absolute()
        )
        self.port = freePort()
        self.tlsPort: int | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self.begin()
        certificates.make(self.directory, self.domain)
        self.trust = self.directory / "ca.pem"
        self.certificate = self.directory / "cert.pem"
        self.key = self.directory / "key.pem"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pids(self) -> list[int]:
        """The process ids of the server's own processes."""
        return [process.pid for process in self._processes]

    def stop(self) -> None:
        """End the server's processes and wait for them. Does nothing the second time."""
        atexit.unregister(self.stop)
        while self._processes:
            process = self._processes.pop()
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            # What the process left behind in its group, and itself if it did not listen.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def log(self, lines: int = 40) -> str:
        """The last lines of each of the server's log files."""
        tails = []
        for path in sorted(self.directory.rglob("*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            tails.append("\n".join([f"--- {path}", *tail]))
        return "\n".join(tails)

    # What follows is for the modules that launch a kind of server.

    def begin(self) -> None:
        """It is to be launched, for the first time or again."""
        self._deadline = time.monotonic() + START_SECONDS
        atexit.register(self.stop)

    def write(self, name: str, template: str = "", **values: object) -> Path:
        """Fill in a template of C{data/} (by default of the same name) and write it.

        Every template may use C{$directory}, C{$domain}, C{$port}, C{$tlsPort}.
        """
        text = resources.files("xmpproxy.lab").joinpath("data", template or name).read_text()
        filled = string.Template(text).substitute(
            values,
            directory=self.directory,
            domain=self.domain,
            port=self.port,
            tlsPort=self.tlsPort,
        )
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(filled)
        return path

    def spawn(self, name: str, *command: str, env: Mapping[str, str] = {}) -> Path:
        """Start one process, in a group of its own, that ends when this one does.

        @return: the file that gets what the process writes.
        """
        # PR_SET_PDEATHSIG, without Python code between fork and exec.
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
        log = self.directory / f"{name}.log"
        home = str(self.directory)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**os.environ, "HOME": home, "TMPDIR": home, **env},
                start_new_session=True,
            )
        self._processes.append(process)
        return log

    def awaitText(self, log: Path, text: str) -> None:
        """Wait until a log file contains a text."""
        while text not in log.read_text(errors="replace"):
            self._pause(f"{text!r} in {log.name}")

    def awaitStream(self) -> None:
        """Wait until the server answers a stream header with its features (RFC 6120 4.3.2)."""
        while not self._answers():
            self._pause(f"stream features on port {self.port}")

    def _answers(self) -> bool:
        received = b""
        try:
            with socket.create_connection((self.host, self.port), timeout=5.0) as connection:
                connection.sendall(_STREAM_HEADER)
                while b"features>" not in received:
                    chunk = connection.recv(4096)
                    if not chunk:
                        return False
                    received += chunk
                connection.sendall(b"</stream:stream>")
        except OSError:
            return False
        return True

    def _pause(self, what: str) -> None:
        dead = [process for process in self._processes if process.poll() is not None]
        if dead or time.monotonic() > self._deadline:
            why = f"exit status {dead[0].returncode}" if dead else f"no {what} in time"
            raise LabError(f"{self.kind} did not come up: {why}\n{self.log()}")
        time.sleep(_POLL_SECONDS)


def freePort() -> int:
    """A TCP port of 127.0.0.1 that nothing uses.

    It is chosen below the range that the kernel gives to outgoing connections, and at random, so
    that nobody else is likely to take it before the server does.
    """
    while True:
        port = random.SystemRandom().randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind((Server.host, port))
            except OSError:
                continue
            return port
