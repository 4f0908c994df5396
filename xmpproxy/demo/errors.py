"""What can go wrong besides a wrong line."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on; the text says why."""
