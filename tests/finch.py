"""finch, driven in a terminal: libpurple, as in Pidgin, which knows no Message Carbons."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape

from tests.terminal import COLUMNS, ROWS, Terminal, linesIn
from xmpproxy.demo.scenes import Line

_ACCOUNTS = """\
<?xml version='1.0' encoding='UTF-8' ?>
<account version='1.0'>
  <account>
    <protocol>prpl-jabber</protocol>
    <name>{jid}</name>
    <password>{password}</password>
    <alias>me</alias>
    <statuses>
      <status type='available' name='Available' active='true'><attributes/></status>
    </statuses>
    <settings>
      <setting name='connect_server' type='string'>{host}</setting>
      <setting name='port' type='int'>{port}</setting>
      <setting name='connection_security' type='string'>require_tls</setting>
    </settings>
    <settings ui='gnt-purple'>
      <setting name='auto-login' type='bool'>1</setting>
    </settings>
  </account>
</account>
"""

# Where there is no STUN server, libpurple asks DNS for the domain's.
_PREFERENCES = f"""\
<?xml version='1.0' encoding='UTF-8' ?>
<pref version='1' name='/'>
  <pref name='purple'>
    <pref name='network'>
      <pref name='stun_server' type='string' value='127.0.0.1'/>
      <pref name='map_ports' type='bool' value='0'/>
    </pref>
  </pref>
  <pref name='finch'>
    <pref name='conversations'>
      <pref name='timestamps' type='bool' value='0'/>
      <pref name='size'>
        <pref name='width' type='int' value='{COLUMNS - 10}'/>
        <pref name='height' type='int' value='{ROWS - 10}'/>
      </pref>
    </pref>
  </pref>
</pref>
"""

_NEXT_WINDOW = "C-n"
_SEND_IM = "C-t"
_KEYS = """\
[GntWM::binding]
c-n = window-next
[buddylist::menu]
c-t = send-im
"""

_ENVIRONMENT = {
    # Nobody's session bus, and no search for plug-ins of GStreamer.
    "DBUS_SESSION_BUS_ADDRESS": "disabled:",
    "GST_PLUGIN_SYSTEM_PATH": "",
}

_BUDDIES = "Buddy List"
_QUESTION = "New Instant Message"
_TITLE = re.compile(r"┤(?P<title>[^├]+)├")


class Finch:
    """One session of finch.

    @param host: where to connect to.
    @param port: where to connect to.
    @param jid: the account's JID, with the resource to ask for.
    @param password: its password.
    @param certificate: PEM file of the certificate that the other side must have. That it is for
        the JID's domain is no use to libpurple, which wants one for C{host}, or one that it knows.
    """

    def __init__(self, host: str, port: int, jid: str, password: str, certificate: Path) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="finch-"))
        self._terminal = Terminal(self._home)
        purple = self._home / ".purple"
        known = purple / "certificates" / "x509" / "tls_peers"
        known.mkdir(parents=True)
        shutil.copy(certificate, known / host)
        account = {"host": host, "port": str(port), "jid": jid, "password": password}
        texts = {name: escape(value) for name, value in account.items()}
        (purple / "accounts.xml").write_text(_ACCOUNTS.format(**texts))
        (purple / "prefs.xml").write_text(_PREFERENCES)
        (self._home / ".gntrc").write_text(_KEYS)

    async def start(self) -> None:
        """Start finch, which logs in then. It does not show when it has: see who gets presence."""
        await self._terminal.start(["finch"], _ENVIRONMENT)
        await self._terminal.untilText(_BUDDIES)

    async def say(self, to: str, *texts: str) -> None:
        """Send messages, back to back, in the window of a conversation; if there is none, open one.

        @param to: the bare JID of the other side. What finch makes the address is its own affair:
            where the window was opened by a message, it is the full JID that this came from.
        """
        if not [name for name in await self._windows() if _isWith(to, name)]:
            await self._bringUp(_BUDDIES.__eq__)
            await self._terminal.press(_SEND_IM)
            await self._terminal.untilText(_QUESTION)
            await self._terminal.type(to)
            await self._terminal.press("Tab", "Enter")
        await self._talkTo(to)
        for text in texts:
            await self._terminal.type(text)
            await self._terminal.press("Enter")

    async def expect(self, peer: str, lines: Sequence[Line]) -> None:
        """Wait until the window of a conversation shows some lines, and each as often as here.

        @param peer: the bare JID of the other side.
        """
        await self._talkTo(peer)
        await self._terminal.until(
            lambda rows: Counter(lines) <= Counter(_lines(rows)) or None,
            f"{', '.join(map(str, lines))} in the window with {peer}",
        )

    async def conversations(self) -> dict[str, list[Line]]:
        """What each conversation's window shows, by its title: the JID of the other side."""
        shown = {}
        for name in await self._windows():
            if name != _BUDDIES:
                await self._bringUp(name.__eq__)
                shown[name] = await self._terminal.still(_lines, f"conversation with {name}")
        return shown

    async def close(self) -> None:
        """End finch."""
        await self._terminal.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    async def _windows(self) -> list[str]:
        return await self._terminal.still(_windows, "a list of windows")

    async def _talkTo(self, peer: str) -> None:
        """Wait for a window with someone, and bring it up."""
        what = f"a window with {peer}"
        isWith = partial(_isWith, peer)
        await self._terminal.until(lambda rows: any(map(isWith, _windows(rows))) or None, what)
        await self._bringUp(isWith)

    async def _bringUp(self, wanted: Callable[[str], bool]) -> None:
        """Go through the windows until a wanted one is on top."""
        first = current = await self._terminal.still(_current, "a window")
        while not wanted(current):
            await self._terminal.press(_NEXT_WINDOW)
            await self._terminal.until(partial(_otherThan, current), "the next window")
            current = await self._terminal.still(_current, "a window")
            assert current != first, "none of the windows is the wanted one"


def _isWith(peer: str, name: str) -> bool:
    """Whether a window is for a conversation with someone, or with one of his clients."""
    return name.partition("/")[0] == peer


def _windows(rows: list[str]) -> list[str]:
    """The windows, from the list at the bottom of the screen."""
    return [_name(entry) for entry in rows[-1].split("│") if entry.strip()]


def _current(rows: list[str]) -> str | None:
    """The title of the window on top; all windows begin in the left upper corner."""
    title = _TITLE.search(rows[0])
    return _name(title["title"]) if title else None


def _otherThan(last: str, rows: list[str]) -> str | None:
    """The title of the window on top, unless it is the last one."""
    title = _current(rows)
    return None if title == last else title


def _name(title: str) -> str:
    """What a window is about: the title without the own account."""
    return title.partition(" (")[0].strip()


def _lines(rows: list[str]) -> list[Line]:
    """The lines in the window on top, above the one that is for typing."""
    end = next(index for index, row in enumerate(rows) if row.startswith("└"))
    return linesIn(row.strip("│ ▒") for row in rows[1 : end - 1])
