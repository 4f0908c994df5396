"""What the documents say is there, and readable."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from docutils.core import publish_doctree
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy import config

ROOT = Path(__file__).parent.parent


def _keys() -> set[str]:
    """All keys of the configuration, as they are written."""
    sections = (
        config.Listen,
        config.Tls,
        config.Domain,
        config.Mirror,
        config.Client,
        config.Limits,
        config.StreamManagement,
    )
    keys = {name.replace("_", "-") for section in sections for name in section.model_fields}
    return keys - {"client"}  # a section of its own, within another


class Documents(SynchronousTestCase):
    """README.rst and docs/."""

    def test_readable(self) -> None:
        """Every document is valid reStructuredText."""
        documents = [*ROOT.glob("*.rst"), *ROOT.glob("docs/*.rst")]
        self.assertGreater(len(documents), 2)
        for document in documents:
            settings = {"halt_level": 2, "report_level": 5}
            publish_doctree(document.read_text(), str(document), settings_overrides=settings)

    def test_everyKeyIsDocumented(self) -> None:
        """README.rst and the example name every key of the configuration, and no other."""
        readme = (ROOT / "README.rst").read_text()
        tables = readme[readme.index("``[[listen]]``") : readme.index("Troubleshooting")]
        self.assertEqual(set(re.findall(r"^``([a-z-]+)``", tables, re.MULTILINE)), _keys())
        example = (ROOT / "docs" / "xmpproxy.example.toml").read_text()
        self.assertEqual(set(re.findall(r"^#?([a-z-]+) = ", example, re.MULTILINE)), _keys())

    def test_reliability(self) -> None:
        """What each setting of stream management costs is said."""
        text = (ROOT / "docs" / "reliability.rst").read_text()
        table = re.findall(r"^``([a-z-]+)``  ", text, re.MULTILINE)
        keys = {name.replace("_", "-") for name in config.StreamManagement.model_fields}
        self.assertEqual(set(table), keys | {"queue-bytes"})

    def test_limits(self) -> None:
        """What each limit protects is said."""
        text = (ROOT / "docs" / "limits.rst").read_text()
        rows = re.findall(r"^   \* - (.*)", text, re.MULTILINE)
        table = {word for row in rows for word in re.findall("``([a-z-]+)``", row)}
        keys = {name.replace("_", "-") for name in config.Limits.model_fields}
        self.assertEqual(keys - table, set())

    def test_rooms(self) -> None:
        """The architecture's list of rooms has every file of the package."""
        rooms = (ROOT / "docs" / "architecture.rst").read_text()
        named = set(re.findall(r"``([a-z]+(?:\.py|/))``", rooms))
        package = ROOT / "xmpproxy"
        files = {path.name for path in package.glob("[a-z]*.py")}
        folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
        self.assertEqual((files | folders) - named, set())

    def test_oneWay(self) -> None:
        """Every file imports only from those above it in that list."""
        rooms = (ROOT / "docs" / "architecture.rst").read_text()
        table = rooms[rooms.index("\n====", rooms.index("Every file imports only")) :]
        table = table[: table.index("\n\n")]
        listed = re.findall(r"``([a-z]+)(?:\.py|/)``", table)
        self.assertEqual(len(listed), len(set(listed)), "each once")
        wrong = [
            f"{room} imports {other}"
            for room in listed
            for other in _imported(ROOT / "xmpproxy", room)
            if listed.index(other) > listed.index(room) and (room, other) != ("demo", "lab")
        ]
        self.assertEqual(wrong, [])


def _imported(package: Path, room: str) -> set[str]:
    """The other rooms of the package that a file or folder of it imports from."""
    found: set[str] = set()
    for path in [package / f"{room}.py", *(package / room).glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text() if path.exists() else "")):
            if isinstance(node, ast.ImportFrom) and node.module == "xmpproxy":
                found.update(name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("xmpproxy."):
                found.add(str(node.module).split(".")[1])
    return {name for name in found - {room} if not name.startswith("_")}
