"""Programs for terminals, in tests: tmux is the screen, and the hands on the keyboard."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from unittest import SkipTest

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure

from xmpproxy.demo.scenes import Line

T = TypeVar("T")

COLUMNS = 200
ROWS = 60

# How long a program may take to show what it is to show.
SECONDS = 30.0
_POLL_SECONDS = 0.05

# The words before the reason of every skip; the CI gate looks for them.
MISSING = "no real client"

# Who says something is shown as C{me}, or as a JID, of which we want the localpart.
_SAID = re.compile(r"(?P<user>[^ @:]+)(?:@[^ :]+)?: (?P<text>.*)")

# The program stays on the screen when it has ended, so that its end can be seen.
_SETTINGS = """
set -g status off
set -g remain-on-exit on
set -g default-terminal screen
"""


def requirePrograms(*names: str) -> None:
    """Skip a test, or fail it where real servers and clients are required, without these programs.

    @param names: programs, each in the Debian package of its name.
    @raise SkipTest: one is missing, and is not required.
    """
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        reason = f"{MISSING}: as root, apt-get install {' '.join(missing)}"
        if os.environ.get("XMPPROXY_REQUIRE_SERVERS") == "1":
            raise AssertionError(reason)
        raise SkipTest(reason)


def linesIn(rows: Iterable[str]) -> list[Line]:
    """The lines of a conversation, each shown as C{who: text}, and by whom they are.

    @param rows: rows of the screen. What is no such line counts as one of nobody's.
    """
    lines = []
    for row in filter(None, rows):
        said = _SAID.fullmatch(row)
        lines.append(Line(said["user"], said["text"]) if said else Line("", row))
    return lines


class Terminal:
    """A terminal of L{COLUMNS} and L{ROWS} with one program in it, on a tmux server of its own.

    @param home: the program's home directory, and the place of the tmux server's socket. The
        program sees nothing else of the environment: no desktop, no configuration of the tester's.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._socket = home / "tmux"
        self._server = _Server()
        self._pid: int | None = None
        self._environment = {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PATH": os.environ.get("PATH", os.defpath),
            "TMPDIR": str(home),
        }

    async def start(self, program: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the tmux server, and the program.

        @param program: the program and its arguments.
        @param environment: variables for it, beside the few that every program needs.
        """
        settings = self._home / "tmux.conf"
        settings.write_text(_SETTINGS)
        # With -D the server is a child of ours: it ends with us, and the program with it.
        server = ["tmux", "-D", "-u", "-f", str(settings), "-S", str(self._socket)]
        variables = {**self._environment, **environment}
        self._server.start(_guarded("TERM", server), variables, str(self._home))
        size = ("-x", str(COLUMNS), "-y", str(ROWS))
        session = ("new-session", "-d", "-P", "-F", "#{pane_pid}", *size, "--")
        command = (*session, *_guarded("KILL", program))
        self._pid = int(await self._poll(lambda: self._try(*command), "a tmux server"))

    async def press(self, *keys: str) -> None:
        """Press keys, as tmux names them: C{"Enter"}, C{"C-n"}."""
        await self._tmux("send-keys", "--", *keys)

    async def type(self, text: str) -> None:
        """Type a text."""
        # A semicolon at the end would be tmux's own.
        typed = text[:-1] + r"\;" if text.endswith(";") else text
        await self._tmux("send-keys", "-l", "--", typed)

    async def screen(self) -> list[str]:
        """What the screen shows, a string for each row, without the spaces at its end."""
        return (await self._tmux("capture-pane", "-p")).removesuffix("\n").split("\n")

    async def until(self, see: Callable[[list[str]], T | None], what: str) -> T:
        """Look at the screen until there is something to see.

        @param see: what is seen of a screen, if anything.
        @param what: what is waited for.
        @raise AssertionError: it was not seen for L{SECONDS}, or the program has ended.
        """

        async def look() -> T | None:
            rows = await self.screen()
            seen = see(rows)
            if seen is None and await self._ended():
                raise AssertionError(f"it ended instead of showing {what}:\n{_picture(rows)}")
            return seen

        try:
            return await self._poll(look, what)
        except _InVain as vain:
            raise AssertionError(f"{vain}:\n{_picture(await self.screen())}") from None

    async def still(self, see: Callable[[list[str]], T | None], what: str) -> T:
        """As L{until}, but see the same twice: a program may be caught while it draws."""
        before: T | None = None

        def same(rows: list[str]) -> T | None:
            nonlocal before
            last, before = before, see(rows)
            return before if before == last else None

        return await self.until(same, what)

    async def untilText(self, text: str) -> None:
        """Look at the screen until it shows a text."""
        await self.until(lambda rows: any(text in row for row in rows) or None, repr(text))

    async def stop(self) -> None:
        """End the program, then the tmux server, and wait for both.

        @raise AssertionError: the program had to be killed.
        """
        try:
            if self._pid is not None and not _hasEnded(self._pid):
                # It is for us to end it: without its terminal, profanity would run on for ever.
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGTERM)
                await self._poll(self._ended, "its end")
        except _InVain:
            assert self._pid is not None
            os.kill(self._pid, signal.SIGKILL)
            raise
        finally:
            await self._server.stop()

    async def _ended(self) -> bool | None:
        return (self._pid is not None and _hasEnded(self._pid)) or None

    async def _tmux(self, *command: str) -> str:
        """Have the server do something; returns what it says."""
        output, errors, status = await self._call(*command)
        if status != 0:
            raise AssertionError(f"tmux {' '.join(command)}: {errors.decode()}")
        return output.decode()

    async def _try(self, *command: str) -> str | None:
        """As L{_tmux}, but L{None} if that fails, as it does until the server is up."""
        output, _, status = await self._call(*command)
        return output.decode() if status == 0 else None

    async def _call(self, *command: str) -> tuple[bytes, bytes, int]:
        # With -N it starts no server by itself.
        arguments = ["-N", "-S", str(self._socket), *command]
        result: tuple[bytes, bytes, int]
        result = await getProcessOutputAndValue(_found("tmux"), arguments, self._environment)
        return result

    @staticmethod
    async def _poll(look: Callable[[], Awaitable[T | None]], what: str) -> T:
        """Look until there is something to see."""
        deadline = reactor.seconds() + SECONDS
        while (seen := await look()) is None:
            if reactor.seconds() > deadline:
                raise _InVain(f"not to be seen in {SECONDS} s: {what}")
            await deferLater(reactor, _POLL_SECONDS)
        return seen


class _InVain(AssertionError):
    """What was waited for did not come."""


class _Server(ProcessProtocol):
    """The tmux server, which is a child of ours and no daemon."""

    def __init__(self) -> None:
        self._ended: Deferred[None] | None = None

    def start(self, command: Sequence[str], environment: Mapping[str, str], directory: str) -> None:
        self._ended = Deferred()
        reactor.spawnProcess(self, command[0], command, env=environment, path=directory)

    async def stop(self) -> None:
        """End the server, unless it was never started."""
        if self._ended is not None:
            if self.transport is not None and self.transport.pid is not None:
                # tmux misses the end of its child at times; this has it look.
                self.transport.signalProcess(signal.SIGCHLD)
                self.transport.signalProcess("TERM")
            await self._ended

    def processEnded(self, reason: Failure) -> None:
        assert self._ended is not None
        self._ended.callback(None)


def _hasEnded(pid: int) -> bool:
    """Whether a process has ended, be it that its parent has not noticed yet."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] in "XZ"


def _guarded(signalName: str, command: Sequence[str]) -> list[str]:
    """The command, such that it gets a signal when its parent ends, however that ends."""
    setpriv = shutil.which("setpriv")
    guard = [setpriv, "--pdeathsig", signalName, "--"] if setpriv else []
    return [*guard, _found(command[0]), *command[1:]]


def _found(program: str) -> str:
    found = shutil.which(program)
    assert found is not None, f"{program} is not installed"
    return found


def _picture(rows: Sequence[str]) -> str:
    """A screen to show in a report: what is on it, without its empty rows."""
    return "\n".join(f"  {row}" for row in rows if row.strip())
