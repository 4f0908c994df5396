"""A bar chart of ratios, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2
from typing import NamedTuple
from xml.sax.saxutils import escape

#: Where the bars begin, how wide the longest two are, and what is left for their numbers.
_LEFT, _WIDTH, _NUMBERS = 250, 480, 40
_BAR, _GAP, _TOP = 13, 10, 60
_COLOURS = ("#3b6fb6", "#b9b9b9", "#d08c3f")
#: Bars end here: the axis goes from one over this to this, one doubling as wide as another.
_MOST = 16


class Group(NamedTuple):
    """
    Bars that belong together.

    @ivar ratios: by whose they are.
    @ivar goal: what the first may be at most.
    """

    name: str
    ratios: Mapping[str, float]
    goal: float


def draw(title: str, groups: Sequence[Group]) -> str:
    """
    Draw bars from 1 to the ratio: to the left what is less, to the right what is more.

    @return: an SVG document.
    """
    parts = [_text(_LEFT, 20, title, "start", ' font-weight="bold"')]
    names = list(dict.fromkeys(name for group in groups for name in group.ratios))
    for index, name in enumerate(names):
        left = _LEFT + index * 120
        parts.append(_rectangle(left, 30, 10, 10, _COLOURS[index]))
        parts.append(_text(left + 15, 39, name, "start"))
    top = _TOP
    for group in groups:
        height = _BAR * len(group.ratios)
        parts.append(_text(_LEFT - _NUMBERS, top + height / 2 + 4, group.name, "end"))
        for index, (name, ratio) in enumerate(group.ratios.items()):
            y = top + index * _BAR
            ends = sorted((_x(1), _x(ratio)))
            colour = _COLOURS[names.index(name)]
            parts.append(_rectangle(ends[0], y, ends[1] - ends[0], _BAR - 2, colour))
            side = "start" if ratio >= 1 else "end"
            parts.append(_text(_x(ratio) + (4 if ratio >= 1 else -4), y + 10, f"{ratio:.2g}", side))
        parts.append(_rectangle(_x(group.goal) - 1, top - 2, 2, _BAR + 2, "#c02020"))
        top += height + _GAP
    parts.append(_rectangle(_x(1) - 0.5, _TOP - 6, 1, top - _TOP, "#000000"))
    for power in range(-int(log2(_MOST)), int(log2(_MOST)) + 1):
        label = f"{2**power}" if power >= 0 else f"1/{2**-power}"
        parts.append(_text(_x(2.0**power), top + 10, label, "middle", ' fill="#666666"'))
    width, height = _LEFT + _WIDTH + _NUMBERS, top + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11">\n{_rectangle(0, 0, width, height, "#ffffff")}\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _x(ratio: float) -> float:
    doublings = log2(min(max(ratio, 1 / _MOST), _MOST))
    return _LEFT + _WIDTH * (doublings / log2(_MOST) + 1) / 2


def _rectangle(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}"/>'


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
