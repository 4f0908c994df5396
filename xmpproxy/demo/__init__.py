"""
C{xmpproxy demo}: the same conversation on every client, with a real server and real clients.

It starts a server of L{xmpproxy.lab} and the proxy on loopback, and has clients play scenes
through them. It is a demonstration and an acceptance test at once: what it prints is what the
clients received, and it succeeds only if every window showed every line once and in order.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from xmpproxy import lab
from xmpproxy.demo.errors import DemoError

#: About how long each server takes to start, in seconds.
_SECONDS = {"pyjabber": 2, "prosody": 1, "ejabberd": 5, "jabberd2": 1}
_USERS = ("alice", "bob", "carol")


def main(argv: Sequence[str]) -> int:
    """
    Run the command.

    @param argv: its arguments.
    @return: the exit code: 0 if every window showed the whole conversation, 1 if not, 2 if
        something is not installed (or, by C{argparse}, for a wrong argument), 130 if interrupted.
    """
    options = _parser().parse_args(argv)
    missing = lab.available(options.server)
    if missing is None and importlib.util.find_spec("slixmpp") is None:
        missing = "slixmpp is not installed (pip install 'xmpproxy[demo]')"
    if missing is not None:
        print(f"xmpproxy demo: {missing}", file=sys.stderr)
        return 2
    _endInOrder()
    directory = Path(tempfile.mkdtemp(prefix="xmpproxy-demo-"))
    code = 1
    try:
        code = 0 if _run(options.server, directory, options.keep) else 1
    except KeyboardInterrupt:
        print("\nxmpproxy demo: interrupted", file=sys.stderr)
        code = 130
    except (DemoError, lab.LabError) as error:
        print(f"\nxmpproxy demo: {error}", file=sys.stderr)
    finally:
        if code == 1:
            print(f"The logs are in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return code


def _run(kind: str, directory: Path, keep: bool) -> bool:
    from xmpproxy.demo.play import perform  # needs slixmpp

    # What the clients have to say goes to a file; the windows are for the conversation.
    logging.basicConfig(filename=directory / "clients.log", level=logging.DEBUG, force=True)
    print(f"Starting {kind} (about {_SECONDS[kind]} s) ...", flush=True)
    home = directory / kind
    home.mkdir()
    with lab.start(kind, home, users=_USERS) as server:
        return asyncio.run(perform(server, directory, keep))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xmpproxy demo",
        description="Start an XMPP server and the proxy, both on loopback only, and have clients "
        "play a conversation through them. Prints what the clients' windows show, and succeeds "
        "if every window shows the whole conversation.",
    )
    parser.add_argument(
        "--server",
        choices=("pyjabber", "prosody", "ejabberd", "jabberd2"),
        default="pyjabber",
        help="the server: pyjabber, which pip installs, or one of Debian's, which "
        '"python -m xmpproxy.lab install SERVER" installs (default: %(default)s)',
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave everything running for your own clients, and say how to connect them, "
        "until Ctrl-C",
    )
    return parser


def _endInOrder() -> None:
    """Have every request to end this process mean what Ctrl-C means, so that nothing is left."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    # A shell starts its background jobs deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
