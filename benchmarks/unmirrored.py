"""
The proxy without its mirror: every message is passed on and shown to nobody else. What it takes
less than the proxy itself is what the mirror costs. C{python -m benchmarks.unmirrored} takes what
C{twistd} takes.
"""

from __future__ import annotations

from unittest.mock import patch

from twisted.scripts.twistd import run

from xmpproxy import tap
from xmpproxy.handlers import CHAIN
from xmpproxy.handlers.mirroring import Mirroring
from xmpproxy.session import Chain

if __name__ == "__main__":
    links = [link for link in CHAIN.links if link is not Mirroring]
    with patch.object(tap, "CHAIN", Chain(links)):
        run()
