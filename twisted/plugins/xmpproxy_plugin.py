"""What makes C{twistd xmpproxy} known to twistd."""

from __future__ import annotations

from twisted.application.service import ServiceMaker

xmpproxy = ServiceMaker(
    "xmpproxy",
    "xmpproxy.tap",
    "An XMPP proxy that shows the whole conversation on every client of an account.",
    "xmpproxy",
)
