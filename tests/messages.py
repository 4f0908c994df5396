"""Messages for tests, as they come out of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

from xmpproxy import ns
from xmpproxy.splitter import Splitter
from xmpproxy.stanza import Stanza

RECEIPT_REQUEST = f"<request xmlns='{ns.RECEIPTS}'/>"
MARKABLE = f"<markable xmlns='{ns.CHAT_MARKERS}'/>"
ACTIVE = f"<active xmlns='{ns.CHAT_STATES}'/>"
PRIVATE = f"<private xmlns='{ns.CARBONS}'/>"
ENCRYPTION = f"<encryption xmlns='{ns.ENCRYPTION}' namespace='{ns.OMEMO[0]}'/>"

_HEADER = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}'>".encode()


def stanza(xml: str | bytes) -> Stanza:
    """The one stanza that these bytes are, cut out of a stream."""
    splitter = Splitter()
    data = xml.encode() if isinstance(xml, str) else xml
    [found] = splitter.feed(_HEADER + data)
    assert splitter.error is None and found.fault is None
    return found


def message(body: str | None = "hello", *payload: str, **attributes: str | None) -> Stanza:
    """
    A message with a body, if there is one, and other children behind it.

    @param attributes: C{from_} for C{from}; L{None} for an attribute that is not there.
    """
    given = {name.rstrip("_"): value for name, value in attributes.items()}
    children = "" if body is None else f"<body>{escape(body)}</body>"
    return stanza(f"<message{written(given)}>{children}{''.join(payload)}</message>")


def written(attributes: Mapping[str, str | None]) -> str:
    """Attributes as they stand in a start tag."""
    return "".join(
        f" {name}={quoteattr(value)}" for name, value in attributes.items() if value is not None
    )
