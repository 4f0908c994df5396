"""How what was measured is shown to people."""

from __future__ import annotations

import os
import platform
import pyexpat
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from OpenSSL import SSL

import xmpproxy
from benchmarks import regimes


def about(repeats: int) -> list[str]:
    """
    What was measured, and where.

    @param repeats: of how many runs the costs are the lowest.
    """
    cpuinfo = Path("/proc/cpuinfo").read_text()
    named = re.search(r"^model name\s+: (.*)$", cpuinfo, re.MULTILINE)
    model = named[1] if named else platform.machine()
    packages = ", ".join(f"{name} {version(name)}" for name in ("twisted", "pyopenssl", "wokkel"))
    openssl = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()
    return [
        f"xmpproxy {xmpproxy.__version__}, {datetime.now(UTC):%Y-%m-%d}",
        f"Python {platform.python_version()}, {packages}, {openssl}, {pyexpat.EXPAT_VERSION}",
        f"Linux {platform.release()}, {os.cpu_count()} x {model}",
        f"Stanzas of {regimes.SIZE} bytes. CPU times of the process in user and kernel mode, "
        f"the lowest of {repeats} interleaved runs",
    ]


def limit(goal: float | None) -> str:
    """What stands in the column of goals."""
    return "" if goal is None else f"<= {goal:g}"


def verdict(value: float, goal: float) -> str:
    """Whether a goal is met."""
    return "met" if value <= goal else "missed"


def table(
    heading: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]
) -> list[str]:
    """The lines of a table, after an empty one."""
    return [
        "",
        _row(heading, columns),
        *(_row(f"  {name}", cells) for name, cells in rows),
    ]


def _row(name: str, cells: Iterable[str]) -> str:
    return (f"{name:46}" + "".join(f"{cell:>13}" for cell in cells)).rstrip()
