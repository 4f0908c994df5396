"""An XMPP proxy that shows the whole conversation on every client of an account."""

from __future__ import annotations

__version__ = "0.1.0"
