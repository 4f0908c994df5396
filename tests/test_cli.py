from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from xmpproxy import __version__, cli


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def test_help(self) -> None:
        for argv in ([], ["--help"], ["-h"]):
            self.out.truncate(0)
            self.assertEqual(cli.main(argv), 0)
            for name, (_, help) in cli.COMMANDS.items():
                self.assertRegex(self.out.getvalue(), rf"(?m)^ +{name} +{help}$")

    def test_version(self) -> None:
        self.assertEqual(cli.main(["--version"]), 0)
        self.assertEqual(self.out.getvalue(), f"xmpproxy {__version__}\n")

    def test_unknown(self) -> None:
        self.assertEqual(cli.main(["dmeo"]), 2)
        self.assertEqual(self.err.getvalue(), "xmpproxy: no command 'dmeo'; did you mean demo?\n")

    def test_command(self) -> None:
        """A command gets the arguments after its name, and its code is the process's."""

        def main(argv: Sequence[str]) -> int:
            print("played", *argv)
            return 3

        module = ModuleType("played")
        module.__dict__["main"] = main
        self.patch(sys, "modules", {**sys.modules, "played": module})
        self.patch(cli, "COMMANDS", {"play": ("played", "play")})
        self.patch(sys, "argv", ["xmpproxy", "play", "--keep", "x"])
        self.assertEqual(cli.main(), 3)
        self.assertEqual(self.out.getvalue(), "played --keep x\n")
