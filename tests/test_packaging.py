from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).parents[1]
#: What a package is built from.
PARTS = [
    *("LICENSE", "MANIFEST.in", "README.rst", "pyproject.toml", "setup.cfg", "xmpproxy.tac"),
    *("docs", "tests", "twisted", "xmpproxy"),
]
#: Says where the plugin, and what it starts, come from.
WHERE = """
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
assert "xmpproxy" in [plugin.tapname for plugin in getPlugins(IServiceMaker)]
import twisted.plugins.xmpproxy_plugin, xmpproxy
print(twisted.plugins.xmpproxy_plugin.__file__)
print(xmpproxy.__file__)
"""


def run(code: str, directory: Path, *arguments: str) -> str:
    """Run Python code in a directory, with nothing of this checkout in reach by its place."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@functools.cache
def source() -> Path:
    """A copy of what a package is built from, with what twistd leaves beside plugins."""
    directory = Path(tempfile.mkdtemp(dir=".")).absolute()
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "_trial_temp*")
            shutil.copytree(ROOT / part, directory / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, directory)
    (directory / "twisted" / "plugins" / "dropin.cache").write_bytes(b"stale")
    return directory


@functools.cache
def built() -> Path:
    """A directory with the source distribution, and the wheel that was built from it."""
    try:
        distribution("build")
    except PackageNotFoundError as error:
        raise SkipTest("needs the package 'build'") from error
    run(
        "import sys; from build.__main__ import main; main(sys.argv[1:])",
        source(),
        *("--no-isolation", "--outdir", "built", "."),
    )
    return source() / "built"


class PackagingTests(SynchronousTestCase):
    def test_wheel(self) -> None:
        """It carries the plugin, and leaves Twisted's own packages to Twisted."""
        (wheel,) = built().glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            (metadata,) = (name for name in names if name.endswith("/METADATA"))
            (commands,) = (name for name in names if name.endswith("/entry_points.txt"))
            self.assertIn("License-Expression: MIT", archive.read(metadata).decode())
            self.assertIn("xmpproxy = xmpproxy.cli:main", archive.read(commands).decode())
        ours = [name for name in names if ".dist-info/" not in name]
        self.assertEqual(
            [name for name in ours if not name.startswith("xmpproxy/")],
            ["twisted/plugins/xmpproxy_plugin.py"],
        )
        self.assertEqual(
            {name for name in ours if name.startswith("xmpproxy/")},
            {
                str(path.relative_to(ROOT))
                for path in (ROOT / "xmpproxy").rglob("*")
                if path.is_file() and "__pycache__" not in path.parts
            },
        )
        self.assertTrue(any(name.endswith("/licenses/LICENSE") for name in names))

    def test_source(self) -> None:
        """It carries all that the tests need, too."""
        (archive,) = built().glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            names = {name.partition("/")[2] for name in opened.getnames()}
        self.assertLessEqual(
            {
                *("LICENSE", "README.rst", "xmpproxy.tac", "docs/xmpproxy.example.toml"),
                *("tests/test_packaging.py", "twisted/plugins/xmpproxy_plugin.py"),
            },
            names,
        )
        for name in ("twisted/__init__.py", "twisted/plugins/__init__.py"):
            self.assertNotIn(name, names)
        self.assertEqual([name for name in names if name.endswith((".cache", ".pyc"))], [])

    def test_installed(self) -> None:
        """twistd finds the plugin of an installed wheel."""
        (wheel,) = built().glob("*.whl")
        site = Path(self.mktemp()).absolute()
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        self.assertPluginIn(site, f"import sys; sys.path.insert(0, {str(site)!r})")

    def test_editable(self) -> None:
        """twistd finds the plugin of an editable install: that puts the checkout on sys.path."""
        built()
        site = Path(self.mktemp()).absolute()
        name = run(
            "from setuptools.build_meta import build_editable; print(build_editable('editable'))",
            source(),
        ).split()[-1]
        with zipfile.ZipFile(source() / "editable" / name) as archive:
            archive.extractall(site)
        (path,) = site.glob("*.pth")
        self.assertEqual(path.read_text().strip(), str(source()))
        # sys.path anew, for this checkout may be installed the same way.
        self.assertPluginIn(
            source(),
            "import site, sys; before = list(sys.path); "
            f"site.addsitedir({str(site)!r}); sys.path.sort(key=before.__contains__)",
        )

    def assertPluginIn(self, directory: Path, prepare: str) -> None:
        """
        @param prepare: puts the package on sys.path.
        """
        elsewhere = Path(self.mktemp())
        elsewhere.mkdir()
        self.assertEqual(
            run(prepare + WHERE, elsewhere).splitlines(),
            [
                str(directory / "twisted" / "plugins" / "xmpproxy_plugin.py"),
                str(directory / "xmpproxy" / "__init__.py"),
            ],
        )
