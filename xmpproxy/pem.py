"""
PEM files: certificates and keys, and what is wrong with a file, in one line.

They are read at the start and, while thousands are online, again. So no file is waited for, and
none read that is larger than any of its kind.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from xmpproxy.certificates import CertificateError

#: Bytes in a file at most. The roots of all public authorities have 220 KiB together.
MOST = 2**20

#: What is used with TLS. OpenSSL may know others, and refuse those that it does not.
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def readCertificates(path: Path) -> list[x509.Certificate]:
    """
    The certificates in a file, at least one.

    @raise CertificateError: there is none, or a damaged one, or the file cannot be read.
    """
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        raise CertificateError(
            f"{path} holds no PEM certificate", "write a file that does"
        ) from None


def readKey(path: Path) -> Key:
    """
    The private key in a file.

    @raise CertificateError: there is none, or none that can be used without a passphrase, or the
        file cannot be read.
    """
    try:
        return cast(Key, load_pem_private_key(_read(path), None))
    except TypeError:
        raise CertificateError(
            f"{path} is encrypted", "take the passphrase off with openssl pkey"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(
            f"{path} holds no PEM private key", "write a file that does"
        ) from None


def readPair(certificate: Path, privateKey: Path) -> tuple[list[x509.Certificate], Key]:
    """
    A certificate, with those that lead from it to a root, and its key.

    @raise CertificateError: as above, or the two do not belong together.
    """
    chain, key = readCertificates(certificate), readKey(privateKey)
    if chain[0].public_key() != key.public_key():
        raise CertificateError(
            f"{privateKey} is not the key of {certificate}",
            "write the file of its key (and the domain's own certificate must be the first in its"
            " file)",
        )
    return chain, key


def _read(path: Path) -> bytes:
    try:
        # A pipe would have us wait for who writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CertificateError(f"{path} is not a file", "write the path of one")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(MOST + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise CertificateError(
            f"no such file: {path}", "write the path of one, relative to the configuration file"
        ) from None
    except OSError as error:
        raise CertificateError(
            f"{path} cannot be read ({error.strerror})", f"let the user {_user()} read it"
        ) from None
    if len(data) > MOST:
        raise CertificateError(f"{path} has more than {MOST} bytes", "write a PEM file")
    return data


def _user() -> str:
    """Whom we run as, which after the start need not be who started us."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
