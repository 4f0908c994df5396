"""
Plain copies: what a client that knows no carbons is shown of its siblings' conversations.

An incoming message is shown as it came, less requests to confirm it. Of a sent one the copy is made
anew, of what a person reads and nothing else:

- every body, with the prefix in front: behind C{/me} (XEP-0245) if the text begins with that;
- subject and thread; the link to a file (XEP-0066); the text in HTML (XEP-0071), prefixed as well;
- which line it corrects (XEP-0308), if the client was shown a copy of that.

What is no text of a person gets no copy: see L{isLine}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from xml.sax.saxutils import escape

from twisted.words.xish import domish

from xmpproxy import ns
from xmpproxy.jid import bare, belongs, resourceOf
from xmpproxy.stanza import Stanza, parse, quoted, serialize

#: Requests that only the session which got the message itself should answer.
REQUESTS = frozenset({(ns.RECEIPTS, "request"), (ns.CHAT_MARKERS, "markable")})

_ENCRYPTED = frozenset(
    {
        (ns.ENCRYPTION, "encryption"),
        (ns.OPENPGP, "openpgp"),
        (ns.OPENPGP_LEGACY, "x"),
        *((namespace, "encrypted") for namespace in ns.OMEMO),
    }
)
_BODY = (ns.CLIENT, "body")
_SUBJECT = (ns.CLIENT, "subject")
_THREAD = (ns.CLIENT, "thread")
_HTML = (ns.XHTML_IM, "html")
_LINK = (ns.OOB, "x")
_FALLBACK = (ns.FALLBACK, "fallback")
_STANZA_ID = (ns.STANZA_IDS, "stanza-id")

#: Where there may be text.
_TEXTS = frozenset({_BODY, _HTML, _LINK})
#: What is said of another line is none itself, whatever text comes with it for old clients.
_ABOUT_OTHERS = frozenset(
    {
        (ns.REACTIONS, "reactions"),
        (ns.FASTENING, "apply-to"),
        *((namespace, "retract") for namespace in ns.RETRACTION),
    }
)
#: What clients tell each other by themselves. Text may come with it, but not in its place.
_SIGNALS = frozenset(
    {
        (ns.RECEIPTS, "received"),
        *((ns.CHAT_MARKERS, name) for name in ("received", "displayed", "acknowledged")),
        *((ns.CHAT_STATES, name) for name in ("composing", "paused", "inactive", "gone")),
    }
)
_SIGNALLING = frozenset({namespace for namespace, _ in _ABOUT_OTHERS | _SIGNALS})

#: What cannot be copied without a look at the tree.
_COMPLEX = _ABOUT_OTHERS | _ENCRYPTED | {_SUBJECT, _HTML, _LINK, _FALLBACK}
#: A message whose body has the shape that nearly all have, behind simple elements. Nothing that
#: this steps over can hide a `<`, so what it finds is a child of the message. Here and in the next:
#: what no client writes so is left to the tree.
_QUOTED = rb"(?:'[^']*'|\"[^\"]*\")"
_START = rb"<message(?:\s[^>'\"]*(?:" + _QUOTED + rb"[^>'\"]*)*)?>"
_BEFORE = rb"(?:<[^<>!]*/>|<[^<>!]*>[^<]*</[^<>]*>)*?"
_SIMPLE_BODY = re.compile(
    rb"(" + _START + rb")" + _BEFORE + rb"<body( xml:lang=" + _QUOTED + rb")?>([^<]+)</body>"
)
#: A thread of that shape, from behind the start tag.
_SIMPLE_THREAD = re.compile(_BEFORE + rb"(<thread(?: parent=" + _QUOTED + rb")?>[^<]*</thread>)")

#: Invisible at the end of plain text: the sender's client knows OTR. Others must not answer that.
_OTR_TAG = re.compile(r" \t  \t\t\t\t \t \t \t  (?:[ \t]{8})*")
_OTR_TAG_BEGIN = b" \t  \t\t\t\t \t \t \t  "

#: Elements of XHTML that text can stand in as a line of its own.
_BLOCKS = frozenset(
    {"address", "blockquote", "dd", "div", "dl", "dt", "li", "ol", "p", "pre", "ul"}
    | {f"h{level}" for level in range(1, 7)}
)


def encrypted(message: Stanza) -> bool:
    """
    Whether the text is for one client only, or no text at all: it gets no plain copy. What is only
    signed (XEP-0027) can be read by everybody.
    """
    if not _ENCRYPTED.isdisjoint(message.children):
        return True
    if b"?OTR" not in message.data:
        return False
    return any(text.lstrip().startswith("?OTR") for text in _texts(message.element))


def isLine(message: Stanza) -> bool:
    """
    Whether a sent message is something to read: text, formatted text, or a link to a file.

    It is none if it is encrypted, or says something of another message (reactions, retractions), or
    if its only text is what an old client is shown in place of a read marker, a receipt or the like
    (XEP-0428). Other such texts are for clients like those that get plain copies: replies, files.
    """
    return _simple(message) is not None or (
        _mayBeLine(message) and _saysSomething(message, message.element)
    )


def corrects(message: Stanza) -> str | None:
    """The id of the message that this one corrects (XEP-0308), if it does."""
    if (ns.CORRECTION, "replace") not in message.children:
        return None
    replace = next(message.element.elements(ns.CORRECTION, "replace"))
    id: str | None = replace.getAttribute("id")
    return id


def received(message: Stanza, to: str) -> bytes:
    """
    The copy of an incoming message: the message itself, without requests to confirm it.

    @param to: full JID of the session that gets the copy.
    """
    return message.without(REQUESTS).withAttributes({"to": to})


def sent(
    message: Stanza,
    to: str,
    sender: str,
    mode: str,
    prefix: str,
    id: str,
    replaces: str | None = None,
) -> bytes | None:
    """
    The copy of a message that another session sent, or L{None} if there is nothing to show.

    @param to: full JID of the session that gets the copy.
    @param sender: full JID of the session that sent the message.
    @param mode: C{"prefix"}: in the window of the person it was sent to, its text prefixed;
        C{"self"}: as a message from the sending session; C{"off"}: not at all.
    @param prefix: what the text begins with in that window; C{{resource}} stands for the sender's.
    @param id: the id of the copy.
    @param replaces: the id of the copy that the session was shown of what this message corrects. If
        there is none, the correction is shown as a line of its own.
    """
    recipient = message.attributes.get("to")
    if mode == "off" or recipient is None:
        return None
    if mode == "self":
        author, prefix = sender, ""
    else:
        # The window of a person belongs to the bare JID; that of somebody met in a chat room to
        # the full one (XEP-0045, section 7.5).
        room = message.has(ns.MUC_USER, "x")
        author = recipient if room else bare(recipient)
        prefix = prefix.format(resource=resourceOf(sender))
    simple = _simple(message)
    if simple is not None:
        bodyLanguage, text, thread = simple
        content = f"<body{bodyLanguage}>{_prefixed(text, _escaped(prefix))}</body>{thread}"
    elif _mayBeLine(message):
        tree = parse(message.data)  # one of our own, to put the prefix into
        if not _saysSomething(message, tree):
            return None
        content = "".join(_content(tree, prefix))
    else:
        return None
    language = message.attributes.get("xml:lang")
    written = "" if language is None else f" xml:lang={quoted(language)}"
    if replaces is not None:
        content += f"<replace xmlns='{ns.CORRECTION}' id={quoted(replaces)}/>"
    return (
        f"<message from={quoted(author)} to={quoted(to)} type='chat' id={quoted(id)}"
        f"{written}>{content}</message>"
    ).encode()


def withoutForged(message: Stanza, account: str, stamped: bool) -> Stanza:
    """
    A message less all ids of the account's archive (XEP-0359) that its sender only claims: itself
    if there are none. Ids of other archives stay.

    A server that stamps messages should remove such ids, but Prosody 0.12 leaves them and puts its
    own behind them. What it does not archive it does not stamp: a forged id that is the only one
    cannot be told from a true one.

    @param account: the bare JID of the account.
    @param stamped: whether the server says that it stamps what it archives.
    """
    count = message.children.count(_STANZA_ID)
    if not count or (stamped and count == 1):
        return message
    tree = message.element
    claimed = [
        each for each in tree.elements(*_STANZA_ID) if belongs(each.getAttribute("by", ""), account)
    ]
    forged = set(claimed[:-1] if stamped else claimed)
    if not forged:
        return message
    # Not the tree itself: it stays what the message was.
    rest = domish.Element((tree.uri, tree.name), attribs=tree.attributes)
    rest.children = [each for each in tree.children if each not in forged]
    return Stanza.fromElement(rest)


def _simple(message: Stanza) -> tuple[str, str, str] | None:
    """
    Of a message whose text can be taken as it is written: the language attribute of the body, its
    text, and the thread. All escaped as they came, and declaring all they need.
    """
    children = message.children
    if not _COMPLEX.isdisjoint(children) or children.count(_BODY) != 1:
        return None
    data = message.data
    found = _SIMPLE_BODY.match(data)
    if found is None or b"?OTR" in data or _OTR_TAG_BEGIN in data:
        return None
    language, text = found.group(2, 3)
    if b"&#" in text[:5]:  # perhaps a "/me " in disguise
        return None
    thread = b""
    if _THREAD in children:
        foundThread = _SIMPLE_THREAD.match(data, found.end(1))
        if foundThread is None or children.count(_THREAD) != 1:
            return None
        thread = foundThread[1]
    return (language or b"").decode(), text.decode(), thread.decode()


def _mayBeLine(message: Stanza) -> bool:
    """What can be said without a look at the text."""
    children = message.children
    return (
        not _TEXTS.isdisjoint(children)
        and _ABOUT_OTHERS.isdisjoint(children)
        and not encrypted(message)
    )


def _saysSomething(message: Stanza, tree: domish.Element) -> bool:
    """Whether there is text that does not only stand in place of something else."""
    if _FALLBACK in message.children and _standsForSignal(message, tree):
        return False
    return any(_texts(tree)) or bool(_link(tree))


def _standsForSignal(message: Stanza, tree: domish.Element) -> bool:
    signals = not _SIGNALS.isdisjoint(message.children)
    text = next(_texts(tree), "").rstrip()
    for fallback in tree.elements(*_FALLBACK):
        meant = fallback.getAttribute("for")  # the first drafts of the XEP did not say
        if (signals if meant is None else meant in _SIGNALLING) and _covers(fallback, text):
            return True
    return False


def _covers(fallback: domish.Element, text: str) -> bool:
    """Whether no text is left without the one that stands for something (XEP-0428)."""
    parts = list(fallback.elements())
    if not parts:
        return True
    return any(
        (part.uri, part.name) == (ns.FALLBACK, "body")
        and _number(part.getAttribute("start"), 0) <= 0
        and _number(part.getAttribute("end"), len(text)) >= len(text)
        for part in parts
    )


def _number(value: str | None, default: int) -> int:
    try:
        return default if value is None else int(value)
    except ValueError:
        return default


def _texts(tree: domish.Element) -> Iterator[str]:
    """All that is written in a message, plain and in HTML."""
    for body in tree.elements(*_BODY):
        yield _text(body)
    for html in tree.elements(*_HTML):
        for body in html.elements(ns.XHTML, "body"):
            yield _text(body)


def _text(element: domish.Element) -> str:
    """The text of an element and all in it."""
    parts: list[str] = []
    _gather(element, parts)
    return _OTR_TAG.sub("", "".join(parts))


def _gather(element: domish.Element, parts: list[str]) -> None:
    for child in element.children:
        if isinstance(child, str):
            parts.append(child)
        else:
            _gather(child, parts)


def _link(tree: domish.Element) -> str:
    """The address of the first file that a message links to, C{""} if there is none."""
    for link in tree.elements(*_LINK):
        for url in link.elements(ns.OOB, "url"):
            if address := _text(url).strip():
                return address
    return ""


def _content(tree: domish.Element, prefix: str) -> Iterator[str]:
    """What is inside of the copy. Changes the tree."""
    bodies = [body for body in tree.elements(*_BODY) if _text(body)]
    for body in bodies:
        yield _written(body, _prefixed(_text(body), prefix))
    if not bodies and (address := _link(tree)):
        yield f"<body>{_escaped(prefix + address)}</body>"
    for subject in tree.elements(*_SUBJECT):
        yield _written(subject, _text(subject))
    for thread in islice(tree.elements(*_THREAD), 1):
        yield _written(thread, _text(thread))
    for html in tree.elements(*_HTML):
        for body in html.elements(ns.XHTML, "body"):
            _putPrefix(body, prefix)
        yield _OTR_TAG.sub("", serialize(html).decode())
    for link in tree.elements(*_LINK):
        yield serialize(link).decode()


def _written(element: domish.Element, text: str) -> str:
    """A child of the message with other text, and those of its attributes that mean something."""
    attributes = "".join(
        f" {name}={quoted(element.attributes[key])}"
        for key, name in (((ns.XML, "lang"), "xml:lang"), ("parent", "parent"))
        if key in element.attributes
    )
    return f"<{element.name}{attributes}>{_escaped(text)}</{element.name}>"


def _escaped(text: str) -> str:
    return escape(text, {"\r": "&#13;"})


def _prefixed(text: str, prefix: str) -> str:
    if text.startswith("/me "):
        return f"/me {prefix}{text[4:]}"
    return prefix + text


def _putPrefix(body: domish.Element, prefix: str) -> None:
    """Put the prefix in front of formatted text: into its first paragraph, if it begins so."""
    first = _firstText(body)
    if first is not None:
        element, place = first
        if element.children[place].startswith("/me "):
            element.children[place] = _prefixed(element.children[place], prefix)
            return
    block: domish.Element | None = body
    while block is not None:
        body, block = block, _leadingBlock(block)
    body.children.insert(0, prefix)


def _firstText(element: domish.Element) -> tuple[domish.Element, int] | None:
    """Where the first text is that is more than white space: its element, and which child."""
    for place, child in enumerate(element.children):
        if not isinstance(child, str):
            found = _firstText(child)
            if found is not None:
                return found
        elif child.strip():
            return element, place
    return None


def _leadingBlock(element: domish.Element) -> domish.Element | None:
    for child in element.children:
        if not isinstance(child, str):
            return child if child.uri == ns.XHTML and child.name in _BLOCKS else None
        if child.strip():
            return None
    return None
