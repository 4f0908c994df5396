"""Text of others, in the log and in windows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import xmpproxy
from xmpproxy.shown import MOST_LOGGED, MOST_NAMED, MOST_TEXT, legible, shown, shownText
from xmpproxy.stanza import Stanza

#: What the functions may add behind what is cut.
_MORE = 19


class InTheLog(SynchronousTestCase):
    """What is logged of others' words."""

    def test_ordinary(self) -> None:
        """Ordinary addresses are shown as they are."""
        for address in ("alice@example.com/Desk.4db06f06", "192.0.2.1", "a+b@x.y/{resource}"):
            self.assertEqual(shown(address), address)

    def test_escaped(self) -> None:
        """What could be taken for something else is not shown as it is."""
        for text, escaped in {
            "alice@x/a: ended": r"alice@x/a:\x20ended",
            "a\nb\r": r"a\nb\r",
            "a\u202eb": r"a\u202eb",
            "a\u200bb": r"a\u200bb",
            "\u0430lice": r"\u0430lice",
            "\x1b[2K": r"\x1b[2K",
            "a\u2028b\x85": r"a\u2028b\x85",
            "a\\nb": r"a\\nb",
            "😀": r"\U0001f600",
            "\ud800": r"\ud800",
        }.items():
            self.assertEqual(shown(text), escaped)
            self.assertEqual(shownText(text), escaped.replace(r"\x20", " "))

    def test_long(self) -> None:
        """The longest addresses are cut, and can still be told apart."""
        one, other = ("x" * 1023 + "@example.com/" + "y" * 1022 + end for end in "ab")
        self.assertNotEqual(shown(one), shown(other))
        self.assertEqual(len(shown(one)), MOST_LOGGED + _MORE)

    @given(st.text(), st.text())
    def test_anything(self, one: str, other: str) -> None:
        """One line of ASCII, one word if it is one, and never the same of two."""
        for show in (shown, shownText):
            self.assertTrue(show(one).isascii() and (show(one).isprintable()))
            self.assertLessEqual(len(show(one * 100)), MOST_TEXT + _MORE)
            self.assertEqual(show(one) == show(other), one == other)
        self.assertNotIn(" ", shown(one))

    def test_stanza(self) -> None:
        """What is shown of a stanza is short, and says nothing that is not so."""
        children = tuple(("urn:x", f"child{number}") for number in range(1000))
        stanza = Stanza(b"", "m\u202e", "", {"type": "x' [body]>\n"}, children)
        self.assertTrue(repr(stanza).startswith(r"<m\u202e type='x'\x20[body]>\n' [child0, "))
        self.assertTrue(repr(stanza).endswith("child9, ...]>"))
        self.assertEqual(repr(Stanza(b"", "iq", "", {}, ())), "<iq type=None []>")


class InWindows(SynchronousTestCase):
    """What people see of a resource."""

    def test_legible(self) -> None:
        """What can be read stays; what cannot be seen, or turns the text around it, does not."""
        for name, seen in {
            "desk": "desk",
            "Büro 1": "Büro 1",
            "телефон": "телефон",
            "a\u202eb": "a\ufffdb",
            "a\u2066b\u200b": "a\ufffdb\ufffd",
            "a\nb\tc\u2028": "a\ufffdb\ufffdc\ufffd",
            "x" * MOST_NAMED: "x" * MOST_NAMED,
            "x" * (MOST_NAMED + 1): "x" * (MOST_NAMED - 1) + "…",
        }.items():
            self.assertEqual(legible(name), seen)


def _calls() -> Iterator[tuple[str, ast.Call]]:
    """All calls of a logger in the package."""
    package = Path(xmpproxy.__file__).parent
    for path in (*package.glob("*.py"), *package.glob("handlers/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                if owner.split(".")[-1] in ("log", "_log"):
                    yield f"{path.name}:{node.lineno}", node


class Calls(SynchronousTestCase):
    """How the package logs."""

    #: What others may have written, and what it must go through. `address` has gone through it.
    CHECKED = frozenset({"jid", "client", "why", "text", "sender", "error"})

    def test_format(self) -> None:
        """Nobody's text is ever a format."""
        calls = list(_calls())
        self.assertGreater(len(calls), 25)
        for where, call in calls:
            with self.subTest(where):
                self.assertIsInstance(call.args[0], ast.Constant, where)

    def test_shown(self) -> None:
        """What others have written is escaped."""
        for where, call in _calls():
            for keyword in call.keywords:
                value = ast.unparse(keyword.value)
                if keyword.arg in self.CHECKED and where.split(":")[0] not in self.OWN:
                    with self.subTest(f"{where}: {value}"):
                        self.assertRegex(value, r"^(shown|shownText)\(|address$", where)

    #: Where only what the operator or the system says is logged.
    OWN = frozenset({"connect.py", "downstreamtls.py", "lastinglog.py", "polling.py"})
