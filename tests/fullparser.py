"""
A full parser to compare with: libxml2, which shares nothing with expat, and knows namespaces.

C{lxml} reads C{xmlns:xml} and the like strictly; what it takes for an error in namespaces only, it
reports and goes on, so that has to be asked for.
"""

from __future__ import annotations

from lxml import etree

from xmpproxy import ns

_PLAIN = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}'>".encode()
_BAD_URI = etree.ErrorTypes.WAR_NS_URI
#: An element: its name, its attributes, and the text and elements in it.
Tree = tuple[str, tuple[tuple[str, str], ...], tuple[object, ...]]


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=True, strip_cdata=False
    )


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
    parser = _parser()
    try:
        root = etree.fromstring(stream, parser)
    except etree.XMLSyntaxError:
        return None
    # It takes no IRI for a namespace name. Expat does, and nobody is confused by one.
    serious = (each for each in parser.error_log.filter_from_errors() if each.type != _BAD_URI)
    if any(serious):
        return None
    return [_tree(child) for child in root]


def tree(data: bytes) -> Tree | None:
    """One stanza, as the stream of another connection has it; L{None} if it is none."""
    found = parse(_PLAIN + data + b"</stream:stream>")
    return found[0] if found is not None and len(found) == 1 else None


def tolerant(stream: bytes, count: int) -> list[Tree | None]:
    """
    The first-level elements of a stream that goes on.

    @param count: how many there must be.
    """
    found = parse(stream + b"</stream:stream>")
    return [None] * count if found is None else list(found)
