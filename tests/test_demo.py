"""The demo: what it expects of windows, how it prints them, and all of it with real servers."""

from __future__ import annotations

import contextlib  # not a name of it: Trial reads a module's "suppress"
import io
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.servers import requireServer
from xmpproxy import demo, lab
from xmpproxy.demo.scenes import BOB, HOME, PHONE, SCENES, WORK, Line, Say, due, problems, short
from xmpproxy.demo.sidebyside import SideBySide, Style, styleFor

HI, HOW, FINE = Line("bob", "Hi"), Line("bob", "How are you?"), Line("me", "Fine")

lines = st.lists(st.sampled_from([HI, HOW, FINE]), max_size=6)


class ProblemsTests(SynchronousTestCase):
    def wrong(self, expected: list[Line], shown: list[Line]) -> list[str]:
        return list(problems("work", expected, shown))

    def test_right(self) -> None:
        self.assertEqual(self.wrong([HI, HOW, HI], [HI, HOW, HI]), [])

    def test_missed(self) -> None:
        self.assertEqual(
            self.wrong([HI, HOW, FINE], [HI, FINE]), ['work misses "bob: How are you?"']
        )

    def test_twice(self) -> None:
        self.assertEqual(
            self.wrong([HI, FINE], [HI, HI, FINE]), ['work shows "bob: Hi" twice instead of once']
        )

    def test_onlyOneOfTwo(self) -> None:
        """Two equal lines are two."""
        self.assertEqual(
            self.wrong([HI, HI, FINE], [HI, FINE]), ['work shows "bob: Hi" only once of 2']
        )

    def test_order(self) -> None:
        self.assertEqual(
            self.wrong([HI, HOW, FINE], [HI, FINE, HOW]),
            ['work shows "me: Fine" before "bob: How are you?"'],
        )

    def test_unknown(self) -> None:
        """Also a line whose writer is not the right one."""
        self.assertEqual(
            self.wrong([FINE], [Line("bob", "Fine")]),
            ['work misses "me: Fine"', 'work shows "bob: Fine", which nobody said'],
        )

    def test_several(self) -> None:
        """One fault does not hide another."""
        self.assertEqual(
            self.wrong([HI, HOW, FINE], [FINE, FINE, HI]),
            [
                'work misses "bob: How are you?"',
                'work shows "me: Fine" twice instead of once',
                'work shows "me: Fine" before "bob: Hi"',
            ],
        )

    @settings(deadline=None)
    @given(lines, lines)
    def test_rightIsEqual(self, expected: list[Line], shown: list[Line]) -> None:
        """Nothing is wrong if and only if the window shows exactly the lines it has to."""
        self.assertEqual(not self.wrong(expected, shown), expected == shown)


class DueTests(SynchronousTestCase):
    resources: ClassVar = {"home": "h1", "work": "w1", "phone": "p1", "bob": "b1"}

    def test_outgoing(self) -> None:
        say = Say("home", "bob", ("Hi", "Bob"))
        for window, expected in (
            (HOME, [Line("me", "Hi"), Line("me", "Bob")]),
            (WORK, [Line("bob", "me@h1: Hi"), Line("bob", "me@h1: Bob")]),
            (PHONE, [Line("me", "Hi"), Line("me", "Bob")]),
            (BOB, [Line("alice", "Hi"), Line("alice", "Bob")]),
        ):
            self.assertEqual(due(say, window, HOME, self.resources), expected)

    def test_incoming(self) -> None:
        """Whomever it is for, every client of Alice shows it."""
        for to in ("alice", "home", "phone"):
            say = Say("bob", to, ("Hi",))
            self.assertEqual(due(say, BOB, BOB, self.resources), [Line("me", "Hi")])
            for window in (HOME, WORK, PHONE):
                self.assertEqual(due(say, window, BOB, self.resources), [Line("bob", "Hi")])

    def test_scenes(self) -> None:
        """One client; two, outgoing; two, incoming; and in every scene only who is there speaks."""
        clients = [{window.name for window in scene.windows} - {"bob"} for scene in SCENES]
        self.assertEqual(clients[:3], [{"home"}, {"home", "work"}, {"home", "work"}])
        self.assertEqual({say.speaker for say in SCENES[1].says}, {"home", "work"})
        self.assertEqual({say.to for say in SCENES[2].says}, {"alice", "home", "work"})
        for scene, present in zip(SCENES, clients, strict=True):
            for say in scene.says:
                self.assertIn(say.speaker, present | {"bob"})
                self.assertIn(say.to, present | {"alice"} if say.speaker == "bob" else {"bob"})

    def test_short(self) -> None:
        text = "me@3f2504e0-4f89-41d3-9a0c-0305e82c3301: Hi"
        self.assertEqual(short(text), "me@3f25..: Hi")
        self.assertEqual(short("me@home: Hi"), "me@home: Hi")


class SideBySideTests(SynchronousTestCase):
    def page(self, *names: str, style: Style | None = None) -> SideBySide:
        """A page whose windows are titled like their names."""
        self.printed: list[str] = []
        titles = {name: name for name in names}
        page = SideBySide(titles, style or Style(columns=28), self.printed.append)
        self.head = list(self.printed)
        self.printed.clear()
        return page

    def test_head(self) -> None:
        self.page("home", "work")
        self.assertEqual(
            self.head,
            [
                "home         | work",
                "-------------+-------------",
            ],
        )

    def test_live(self) -> None:
        """A line is printed as soon as every window has one beside it."""
        page = self.page("home", "work")
        page.show("home", HI)
        page.show("home", FINE)
        self.assertEqual(self.printed, [])
        page.show("work", HI)
        self.assertEqual(self.printed, ["bob: Hi      | bob: Hi"])
        page.show("work", FINE)
        self.assertEqual(self.printed[1:], ["me: Fine     | me: Fine"])

    def test_close(self) -> None:
        """What some window lacks is printed at the end, once."""
        page = self.page("home", "work")
        page.show("work", HI)
        page.show("work", FINE)
        page.close()
        page.close()
        self.assertEqual(self.printed, ["             | bob: Hi", "             | me: Fine"])

    def test_wrap(self) -> None:
        page = self.page("home", "work")
        page.show("home", Line("bob", "How is it going?"))
        page.show("work", HI)
        self.assertEqual(self.printed, ["bob: How is  | bob: Hi", "  it going?  |"])

    @settings(deadline=None)
    @given(
        st.integers(1, 4),
        st.integers(60, 200),
        st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126)), max_size=4),
    )
    def test_fits(self, windows: int, columns: int, texts: list[str]) -> None:
        """Nothing is wider than the page, whatever is said, and nothing of it is lost."""
        names = [f"window{number}" for number in range(windows)]
        page = self.page(*names, style=Style(columns))
        for text in texts:
            for name in names:
                page.show(name, Line("bob", text))
        for printed in [*self.head, *self.printed]:
            self.assertLessEqual(len(printed), columns)
        shown = Counter("".join(self.printed).replace("|", "").replace(" ", ""))
        said = Counter("".join(f"bob:{text}" for text in texts).replace("|", "").replace(" ", ""))
        self.assertEqual(shown, Counter({each: said[each] * windows for each in said}))

    def test_colour(self) -> None:
        """Own lines have a colour of their own where colours are welcome."""
        page = self.page("home", "work", style=Style(28, colour=True, lines="│─┼"))
        self.assertEqual(
            self.head,
            [
                "\x1b[1mhome\x1b[0m         │ \x1b[1mwork\x1b[0m",
                "─────────────┼─────────────",
            ],
        )
        page.show("home", FINE)
        page.show("work", HI)
        self.assertEqual(self.printed, ["\x1b[32mme: Fine\x1b[0m     │ bob: Hi"])


class _Stream(io.TextIOWrapper):
    """A stream that may be a terminal."""

    def __init__(self, encoding: str, terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


class StyleTests(SynchronousTestCase):
    def test_colour(self) -> None:
        """Colours are for a terminal that has some, of somebody who wants them."""
        terminal = _Stream("utf-8", True)
        self.assertTrue(styleFor(terminal, {"TERM": "xterm"}).colour)
        self.assertFalse(styleFor(terminal, {"TERM": "dumb"}).colour)
        self.assertFalse(styleFor(terminal, {"TERM": "xterm", "NO_COLOR": "1"}).colour)
        self.assertFalse(styleFor(_Stream("utf-8", False), {"TERM": "xterm"}).colour)

    def test_lines(self) -> None:
        self.assertEqual(styleFor(_Stream("utf-8", False), {}).lines, "│─┼")
        self.assertEqual(styleFor(_Stream("ascii", True), {}).lines, "|-+")

    def test_columns(self) -> None:
        """The terminal's own, which may be said by the environment."""
        self.patch(os, "environ", {**os.environ, "COLUMNS": "77"})
        self.assertEqual(styleFor(_Stream("utf-8", True)).columns, 77)


class MissingTests(SynchronousTestCase):
    def test_server(self) -> None:
        """A server that is not installed: the command that installs it, and a code of its own."""
        reason = "prosody is not installed (python -m xmpproxy.lab install prosody)"
        self.patch(lab, "available", {"prosody": reason}.get)
        printed = io.StringIO()
        self.patch(sys, "stderr", printed)
        self.assertEqual(demo.main(["--server", "prosody"]), 2)
        self.assertEqual(printed.getvalue(), f"xmpproxy demo: {reason}\n")


class _Demo(ProcessProtocol):
    """
    The demo in a process of its own.

    @ivar output: all that it has printed so far.
    @ivar ended: fires with its exit status.
    """

    def __init__(self, directory: Path, program: str, arguments: Sequence[str]) -> None:
        """
        @param directory: for its temporary files.
        @param program: in Python.
        """
        self.output = ""
        self.ended: Deferred[int | None] = Deferred()
        self._awaited = ""
        self._printed: Deferred[bool] = Deferred()
        root = str(Path(__file__).parent.parent)
        environment = {**os.environ, "PYTHONPATH": root, "TMPDIR": str(directory)}
        command = [sys.executable, "-c", program, *arguments]
        reactor.spawnProcess(self, command[0], command, environment)

    def prints(self, text: str) -> Deferred[bool]:
        """Fires with C{True} once it has printed a text, with C{False} if it ends before."""
        self._awaited = text
        self._look()
        return self._printed

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        assert self.transport is not None
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess(number)

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode(errors="replace")
        self._look()

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        if not self._printed.called:
            self._printed.callback(False)
        self.ended.callback(getattr(reason.value, "exitCode", None))

    def _look(self) -> None:
        if self._awaited and self._awaited in self.output and not self._printed.called:
            self._printed.callback(True)


_DEMO = "import sys; from xmpproxy.demo import main; sys.exit(main(sys.argv[1:]))"

#: Only the scene of outgoing messages, and all clients connected to the server itself.
_WITHOUT_PROXY = f"""
from xmpproxy.demo import play

class Play(play.Play):
    def __init__(self, server, proxy, trouble):
        super().__init__(server, server, trouble)

play.Play, play.SCENES, play._PATIENCE = Play, play.SCENES[1:2], 2.0
{_DEMO}
"""


class PlayTests(TestCase):
    """All of it, each time with a server of its own."""

    def start(self, program: str, *arguments: str) -> _Demo:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        process = _Demo(self.directory, program, arguments)

        def end() -> Deferred[int | None]:
            process.signal(signal.SIGTERM)
            return process.ended

        self.addCleanup(end)
        return process

    def assertNothingLeft(self) -> None:
        """It has removed its files, and ended its processes, which all name one of the files."""
        self.assertEqual(list(self.directory.iterdir()), [])
        self.assertEqual(self.processes(), [])

    def processes(self) -> list[str]:
        """The command lines of all processes that name the demo's files."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found.append(path.read_text(errors="replace").replace("\0", " "))
        return [command for command in found if str(self.directory) in command]

    async def play(self, kind: str) -> None:
        """Every window shows everything; then it waits for one's own clients, and ends in order."""
        requireServer(kind)
        process = self.start(_DEMO, "--server", kind, "--keep")
        kept = await process.prints("Ctrl-C stops everything")
        self.assertTrue(kept, process.output)
        for scene in SCENES:
            self.assertIn(scene.title, process.output)
        self.assertIn("Every window showed the whole conversation", process.output)
        self.assertGreaterEqual(len(self.processes()), 2)
        process.signal(signal.SIGINT)
        self.assertEqual(await process.ended, 0, process.output)
        self.assertNothingLeft()

    async def test_pyjabber(self) -> None:
        await self.play("pyjabber")

    async def test_prosody(self) -> None:
        await self.play("prosody")

    async def test_ejabberd(self) -> None:
        await self.play("ejabberd")

    async def test_jabberd2(self) -> None:
        await self.play("jabberd2")

    async def test_withoutProxy(self) -> None:
        """It fails where windows lack lines, says which, and where the logs are."""
        requireServer("pyjabber")
        process = self.start(_WITHOUT_PROXY)
        status = await process.ended
        self.assertEqual(status, 1, process.output)
        self.assertNotIn("Every window showed", process.output)
        self.assertRegex(process.output, r'- work misses "bob: me@\w+\.\.: I am still at home\."')
        self.assertNotIn("home misses", process.output)
        (logs,) = self.directory.iterdir()
        self.assertIn(f"The logs are in {logs}\n", process.output)
        self.assertLessEqual({"clients.log", "proxy.log"}, {path.name for path in logs.iterdir()})
        self.assertEqual(self.processes(), [])

    async def test_interrupted(self) -> None:
        """Whatever it is doing: told to end, it leaves nothing."""
        requireServer("pyjabber")
        for sign, number in (
            ("Starting pyjabber", signal.SIGINT),
            ("Starting the proxy", signal.SIGTERM),
            (SCENES[0].title, signal.SIGHUP),
        ):
            process = self.start(_DEMO)
            self.assertTrue(await process.prints(sign), process.output)
            process.signal(number)
            self.assertEqual(await process.ended, 130, process.output)
            self.assertNothingLeft()
