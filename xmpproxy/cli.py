"""
The C{xmpproxy} command.

Its tools are commands of their own: a command is a module with C{main(argv) -> int}, imported only
when it is called for. To add one, add a line to L{COMMANDS}.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module

from xmpproxy import __version__

#: The commands: the module of each, and its help.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("xmpproxy.demo", "show what the proxy does, with a server and clients of its own"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a command.

    @param argv: the command and its arguments; L{None}: those of the process.
    @return: the exit code: the command's own, or 2 where there is no such command.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    if name == "--version":
        print(f"xmpproxy {__version__}")
        return 0
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, 1)
        mend = f"did you mean {near[0]}?" if near else "see xmpproxy --help"
        print(f"xmpproxy: no command {name!r}; {mend}", file=sys.stderr)
        return 2
    code: int = import_module(COMMANDS[name][0]).main(rest)
    return code


def _usage() -> str:
    lines = ["Usage: xmpproxy [--help | --version] COMMAND ...", "", "Commands:"]
    lines += [f"    {name:<12}{help}" for name, (_, help) in COMMANDS.items()]
    lines += ["", "The proxy itself is started by twistd: see twistd xmpproxy --help."]
    return "\n".join(lines)
