from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import Authority, selfSigned
from xmpproxy import pem
from xmpproxy.certificates import CertificateError
from xmpproxy.pem import readCertificates, readKey, readPair

AUTHORITY = Authority()
GOOD = Authority("below", below=AUTHORITY).issue("example.com")


class PEMTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.certificate, self.key = GOOD.write(self.directory)

    def refused(self, read: Callable[..., object], *paths: Path) -> str:
        return str(self.assertRaises(CertificateError, read, *paths))

    def test_pair(self) -> None:
        chain, key = readPair(self.certificate, self.key)
        self.assertEqual(chain, GOOD.chain)
        self.assertEqual(key.public_key(), GOOD.key.public_key())

    def test_oneFile(self) -> None:
        """Certificate, chain and key together."""
        both = self.directory / "both.pem"
        both.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())
        self.assertEqual(readPair(both, both)[0], GOOD.chain)

    def test_apart(self) -> None:
        _, another = selfSigned("example.com").write(self.directory, "another")
        self.assertEqual(
            self.refused(readPair, self.certificate, another),
            f"{another} is not the key of {self.certificate}; write the file of its key"
            " (and the domain's own certificate must be the first in its file)",
        )

    def test_garbage(self) -> None:
        """Nothing, something else, and what is cut off or changed."""
        path = self.directory / "garbage.pem"
        good = self.certificate.read_bytes()
        for data in (b"", b"\0\xff" * 999, good[:100], good[:40] + b"AAAA" + good[44:]):
            path.write_bytes(data)
            self.assertEqual(
                self.refused(readCertificates, path),
                f"{path} holds no PEM certificate; write a file that does",
                data,
            )
        good = self.key.read_bytes()
        at = len(good) // 2
        for data in (b"", b"\0\xff" * 999, good[:-100], good[:at] + b"AAAA" + good[at + 4 :]):
            path.write_bytes(data)
            self.assertEqual(
                self.refused(readKey, path),
                f"{path} holds no PEM private key; write a file that does",
                data,
            )

    def test_size(self) -> None:
        """Just small enough, and just too large."""
        good = self.certificate.read_bytes()
        self.certificate.write_bytes(good + b"\n" * (pem.MOST - len(good)))
        self.assertEqual(readCertificates(self.certificate), GOOD.chain)
        self.certificate.write_bytes(good + b"\n" * (pem.MOST - len(good) + 1))
        self.assertEqual(
            self.refused(readCertificates, self.certificate),
            f"{self.certificate} has more than 1048576 bytes; write a PEM file",
        )

    def test_noFile(self) -> None:
        """A pipe into which nobody writes is not waited for."""
        pipe = self.directory / "pipe"
        os.mkfifo(pipe)
        for path in (pipe, self.directory, Path(os.devnull)):
            text = f"{path} is not a file; write the path of one"
            self.assertEqual(self.refused(readCertificates, path), text)

    def test_absent(self) -> None:
        path = self.directory / "absent.pem"
        text = f"no such file: {path}; write the path of one, relative to the configuration file"
        self.assertEqual(self.refused(readKey, path), text)

    def test_forbidden(self) -> None:
        """Who may not read is named: it need not be who started the proxy."""

        def refuse(path: Path, flags: int) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

        self.patch(os, "open", refuse)  # who runs the tests may be allowed to read all
        for user, name in ((0, "root"), (4242424, "4242424")):
            self.patch(os, "geteuid", lambda user=user: user)
            text = f"{self.key} cannot be read (Permission denied); let the user {name} read it"
            self.assertEqual(self.refused(readKey, self.key), text)
