"""profanity, driven in a terminal: a client that knows Message Carbons, and enables them."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from OpenSSL.crypto import FILETYPE_PEM, load_certificate

from tests.terminal import Terminal, linesIn
from xmpproxy.demo.scenes import Line

_ACCOUNTS = """\
[account]
enabled=true
jid={jid}
server={host}
port={port}
tls.policy=force
password={password}
resource={resource}
presence.last=online
presence.login=online
"""

_SETTINGS = """\
[connection]
account=account
carbons=true
tls.certpath={authorities}

[ui]
roster=false
splash=false
time.chat=off
time.console=off
wrap=false
"""

_CONSOLE = 1
# The windows are listed in the last corner: "[1]-2-[3]", the current one in dashes.
_TABS = re.compile(r"(?:\W\d+\W)+$")
_TAB = re.compile(r"\W(\d+)\W")
# What profanity itself puts between lines: where the new ones begin, and who is there.
_OWN = re.compile(r"-+|\S+ is online")


class Profanity:
    """One session of profanity.

    @param host: where to connect to.
    @param port: where to connect to.
    @param jid: the account's JID, with the resource to ask for; in lower case, as profanity
        makes it.
    @param password: its password.
    @param trust: PEM file of the authority that must have signed the certificate for the JID's
        domain.
    """

    def __init__(self, host: str, port: int, jid: str, password: str, trust: Path) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="profanity-"))
        self._terminal = Terminal(self._home)
        authorities = self._home / "authorities"
        authorities.mkdir()
        # OpenSSL finds an authority by the hash of its name.
        hashed = load_certificate(FILETYPE_PEM, trust.read_bytes()).subject_name_hash()
        shutil.copy(trust, authorities / f"{hashed:08x}.0")
        self._account, _, resource = jid.partition("/")
        accounts = self._home / ".local" / "share" / "profanity" / "accounts"
        accounts.parent.mkdir(parents=True)
        accounts.write_text(
            _ACCOUNTS.format(
                jid=self._account, resource=resource, host=host, port=port, password=password
            )
        )
        settings = self._home / ".config" / "profanity" / "profrc"
        settings.parent.mkdir(parents=True)
        settings.write_text(_SETTINGS.format(authorities=authorities))

    async def start(self) -> None:
        """Start profanity, log in, and wait until the server has handled all that this sends."""
        await self._terminal.start(["profanity"], {"DBUS_SESSION_BUS_ADDRESS": "disabled:"})
        await self._terminal.untilText("logged in successfully")
        # Its own ping needs what it may not know yet: that the server answers one.
        await self._enter(f"/disco info {self._account}")
        await self._terminal.untilText("Service discovery ")

    async def say(self, to: str, *texts: str) -> None:
        """Send messages, back to back, in the window of a conversation; if there is none, open one.

        @param to: the bare JID of the other side.
        """
        for text in texts:
            await self._enter(f"/msg {to} {text}")

    async def expect(self, peer: str, lines: Sequence[Line]) -> None:
        """Wait until the window of a conversation shows some lines, and each as often as here.

        @param peer: the bare JID of the other side.
        """
        wanted = Counter(lines)
        await self._terminal.until(lambda rows: _windows(rows) or None, f"a window with {peer}")
        await self._enter(f"/win {peer}")
        await self._terminal.until(
            lambda rows: (_title(rows) == peer and wanted <= Counter(_lines(rows))) or None,
            f"{', '.join(map(str, lines))} in the window with {peer}",
        )

    async def conversations(self) -> dict[str, list[Line]]:
        """What each conversation's window shows, by its title: the JID of the other side."""
        shown = {}
        for number in await self._terminal.still(_windows, "a list of windows"):
            await self._enter(f"/win {number}")
            await self._terminal.until(partial(_isCurrent, number), f"window {number}")
            rows = await self._terminal.still(lambda rows: rows, f"an end of window {number}")
            shown[_title(rows)] = _lines(rows)
        return shown

    async def close(self) -> None:
        """End profanity."""
        await self._terminal.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    async def _enter(self, text: str) -> None:
        await self._terminal.type(text)
        await self._terminal.press("Enter")


def _windows(rows: list[str]) -> list[int]:
    """The numbers of all windows but the console."""
    return [number for number in map(int, _TAB.findall(_tabs(rows))) if number != _CONSOLE]


def _isCurrent(number: int, rows: list[str]) -> bool | None:
    return f"-{number}-" in _tabs(rows) or None


def _tabs(rows: list[str]) -> str:
    tabs = _TABS.search(rows[-2])
    return tabs[0] if tabs else ""


def _title(rows: list[str]) -> str:
    return rows[0].split()[0]


def _lines(rows: list[str]) -> list[Line]:
    """The lines between the title, and the status and what is typed."""
    return linesIn(row for row in rows[1:-2] if not _OWN.fullmatch(row))
