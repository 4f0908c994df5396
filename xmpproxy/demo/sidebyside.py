"""Windows side by side, as text."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple, TextIO

from xmpproxy.demo.scenes import Line, short

#: Columns in all where there is no terminal to ask, and the least for one window.
_COLUMNS = 100
_LEAST = 12

_DRAWN = "│─┼"
_ASCII = "|-+"

_BOLD = "1"
_OWN = "32"  # green
_PLAIN = ""


class Style(NamedTuple):
    """
    How to print.

    @ivar columns: the width of the page, in characters.
    @ivar colour: whether colours are welcome.
    @ivar lines: the characters for lines down, across, and where they meet.
    """

    columns: int = _COLUMNS
    colour: bool = False
    lines: str = _ASCII


def styleFor(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Style:
    """The style that suits where the text goes. For C{NO_COLOR} see U{https://no-color.org}."""
    terminal = stream.isatty() and environ.get("TERM") != "dumb"
    lines = _DRAWN
    try:
        lines.encode(stream.encoding)
    except UnicodeEncodeError:
        lines = _ASCII
    return Style(
        shutil.get_terminal_size((_COLUMNS, 0)).columns,
        terminal and not environ.get("NO_COLOR"),
        lines,
    )


class SideBySide:
    """
    Windows side by side: each line is printed as soon as all windows have their line beside it.

    @param titles: what to print above each window, by name.
    @param style: how to print.
    @param write: prints one line of text.
    """

    def __init__(self, titles: Mapping[str, str], style: Style, write: Callable[[str], None]):
        self._style = style
        self._write = write
        gaps = 3 * (len(titles) - 1)
        self._width = max((style.columns - gaps) // len(titles), _LEAST)
        self._waiting: dict[str, list[Line]] = {name: [] for name in titles}
        self._row([(short(title), _BOLD) for title in titles.values()])
        _, dash, cross = tuple(style.lines)
        self._write(f"{dash}{cross}{dash}".join(dash * self._width for _ in titles))

    def show(self, name: str, line: Line) -> None:
        """A window shows one more line."""
        self._waiting[name].append(line)
        while all(self._waiting.values()):
            self._lines([lines.pop(0) for lines in self._waiting.values()])

    def close(self) -> None:
        """Print what has nothing beside it in some window."""
        for lines in zip_longest(*self._waiting.values()):
            self._lines(lines)
        for waiting in self._waiting.values():
            waiting.clear()

    def _lines(self, lines: Sequence[Line | None]) -> None:
        self._row(
            [
                (str(line), _OWN if line.who == "me" else _PLAIN) if line else ("", _PLAIN)
                for line in lines
            ]
        )

    def _row(self, cells: Sequence[tuple[str, str]]) -> None:
        wrapped = [textwrap.wrap(text, self._width, subsequent_indent="  ") for text, _ in cells]
        for pieces in zip_longest(*wrapped, fillvalue=""):
            painted = [
                self._paint(piece, colour) + " " * (self._width - len(piece))
                for piece, (_, colour) in zip(pieces, cells, strict=True)
            ]
            self._write(f" {self._style.lines[0]} ".join(painted).rstrip())

    def _paint(self, text: str, colour: str) -> str:
        if not (text and colour and self._style.colour):
            return text
        return f"\x1b[{colour}m{text}\x1b[0m"
