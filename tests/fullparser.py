"""A full parser to compare with: libxml2, which shares nothing with expat, and knows namespaces."""

from __future__ import annotations

from typing import Any

from lxml import etree

from xmpproxy import ns

_PLAIN = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}'>".encode()
#: It goes on behind errors, for some are none to us: that a namespace name is no URI (an IRI
#: confuses nobody), and that an C{xml:id} is no name.
_OPTIONS: dict[str, Any] = {
    "recover": True,
    "resolve_entities": False,
    "no_network": True,
    "huge_tree": True,
}
_HARMLESS = (etree.ErrorTypes.WAR_NS_URI, etree.ErrorTypes.DTD_XMLID_VALUE)

#: An element: its name, its attributes, and the text and elements in it.
Tree = tuple[str, tuple[tuple[str, str], ...], tuple[object, ...]]


def _tree(element: etree._Element) -> Tree:
    content: list[object] = [element.text] if element.text else []
    for child in element:
        content.append(_tree(child))
        if child.tail:
            content.append(child.tail)
    attributes = {str(name): str(value) for name, value in element.attrib.items()}
    return str(element.tag), tuple(sorted(attributes.items())), tuple(content)


def parse(stream: bytes) -> list[Tree] | None:
    """
    The first-level elements of a whole stream, or L{None} if it is not namespace-well-formed.
    """
    parser = etree.XMLParser(**_OPTIONS)
    root = etree.fromstring(stream, parser)
    errors = parser.error_log.filter_from_errors()
    if root is None or any(error.type not in _HARMLESS for error in errors):
        return None
    return [_tree(child) for child in root]


def tree(data: bytes) -> Tree | None:
    """One stanza, as the stream of another connection has it; L{None} if it is none."""
    found = parse(_PLAIN + data + b"</stream:stream>")
    return found[0] if found is not None and len(found) == 1 else None


def firstLevel(stream: bytes, count: int) -> list[Tree]:
    """
    The first first-level elements of a stream that may go on, and may break behind them.

    @param count: how many at most.
    """
    parser = etree.XMLPullParser(("start", "end"), **_OPTIONS)
    parser.feed(stream)
    found: list[Tree] = []
    depth = 0
    for event, element in parser.read_events():
        depth += 1 if event == "start" else -1
        if event == "end" and depth == 1 and len(found) < count:
            found.append(_tree(element))
    return found
