"""
How text that others have written is shown: in the log, and to people in their clients.

It may have line breaks in it, characters that turn the direction of writing or are not seen at all,
letters that look like others, and the words of another line of the log.
"""

from __future__ import annotations

import codecs
import re
from hashlib import sha256

#: How much of a word, and of a text, the log shows, in characters.
MOST_LOGGED = 300
MOST_TEXT = 1000
#: How many digits of a hash come behind what is cut.
_DIGITS = 16
#: How many characters of a name a person is shown.
MOST_NAMED = 64

# Python finds a codec in a file. There may be no descriptor left for that when it is needed first.
codecs.lookup("unicode_escape")

_PLAIN = re.compile(r"[!-\[\]-~]+")


def shown(word: str) -> str:
    """
    An address, or what else is one word, for the log: ASCII without spaces. Two words never look
    the same. One that is long is cut, with something behind it by which to tell it from others.
    """
    if len(word) <= MOST_LOGGED and _PLAIN.fullmatch(word):
        return word
    return _escaped(word, MOST_LOGGED, r"\x20")


def shownText(text: str) -> str:
    """The same for a text, which belongs at the end of a line. It may have spaces in it."""
    return _escaped(text, MOST_TEXT, " ")


def _escaped(text: str, most: int, space: str) -> str:
    escaped = text[: most + 1].encode("unicode_escape").decode("ascii").replace(" ", space)
    if len(escaped) <= most:
        return escaped
    digest = sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
    return f"{escaped[:most]}...{digest}"


def legible(name: str) -> str:
    """
    A name, for people. In place of what cannot be seen, and what would turn the direction of the
    text around it, there is U+FFFD.
    """
    if len(name) > MOST_NAMED:
        name = name[: MOST_NAMED - 1] + "…"
    if name.isprintable():
        return name
    return "".join(each if each.isprintable() else "\ufffd" for each in name)
