"""The proxy, in a process of its own, started as an operator would."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable
from pathlib import Path

from xmpproxy.demo.errors import DemoError
from xmpproxy.lab import Server
from xmpproxy.lab.server import freePort

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_LISTENING = b"listening on"


class Proxy:
    """
    C{twistd xmpproxy} before a server.

    @ivar host: where it listens.
    @ivar port: where it listens.
    @ivar command: how it is started.
    """

    host = "127.0.0.1"

    def __init__(self, server: Server, log: Path, trouble: Callable[[str], None]) -> None:
        """
        @param log: the file to write its log to.
        @param trouble: called with a sentence if it ends by itself.
        """
        self.port = freePort()
        beside = os.path.dirname(sys.executable)
        self.command = [
            shutil.which("twistd", path=f"{beside}{os.pathsep}{os.environ.get('PATH')}")
            or "twistd",
            "--nodaemon",
            "--pidfile=",
            "xmpproxy",
            f"--domain={server.domain}",
            f"--upstream=tcp:{server.host}:{server.port}",
            f"--upstream-trust={server.trust}",
            f"--listen=tcp:{self.port}:interface={self.host}",
            f"--certificate={server.certificate}",
            f"--private-key={server.key}",
        ]
        self._log = log
        self._trouble = trouble
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    async def start(self) -> None:
        """
        Start it, and wait until it listens.

        @raise DemoError: it does not.
        """
        # Should this process be killed, the kernel ends that one.
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
        try:
            self._process = await asyncio.create_subprocess_exec(
                *guard,
                *self.command,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                # A Ctrl-C at the terminal is for us; what is to end ends in order.
                start_new_session=True,
            )
        except OSError as error:
            raise DemoError(f"{self.command[0]} cannot be started: {error.strerror}") from error
        self._reading = asyncio.create_task(self._read(self._process))
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._listening.wait()
        except TimeoutError:
            raise DemoError("the proxy does not listen") from None

    async def _read(self, process: Process) -> None:
        """Write its log, line by line, until its end."""
        assert process.stdout is not None
        line = b""
        with self._log.open("wb", buffering=0) as log:
            async for line in process.stdout:
                log.write(line)
                if _LISTENING in line:
                    self._listening.set()
        status, last = await process.wait(), line.decode(errors="replace").rstrip()
        self._trouble(f"the proxy has ended, exit status {status}; its last words: {last}")

    async def stop(self) -> None:
        """End it with SIGTERM, and wait for that. Does nothing if it never started."""
        if self._process is None or self._reading is None:
            return
        if self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        await self._reading
