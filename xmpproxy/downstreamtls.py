"""
TLS with clients: what we show them, and how they come again.

TLS 1.2 and 1.3 without compression and renegotiation, with one context for all connections.
"""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.logger import Logger

from xmpproxy import config
from xmpproxy.certificates import CertificateError, checkDates, checkName, issueToSelf
from xmpproxy.coders import ALPN, StandardCoder

log = Logger()

#: Mozilla's "intermediate" list for TLS 1.2, less those that need Diffie-Hellman parameters; the
#: suites of TLS 1.3 are all in it.
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

_SELF_SIGNED = "xmpproxy-self-signed.pem"


class ServerTLS:
    """
    Our side of TLS with clients.

    @ivar certificate: what we show.
    @ivar fingerprint: its SHA-256 fingerprint, as in C{"0A:1B:..."}.
    """

    def __init__(
        self,
        chain: Sequence[x509.Certificate],
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    ) -> None:
        """
        @param chain: our certificate, and those that lead from it to a root.
        @raise ssl.SSLError: the key is not that of the certificate, or too weak.
        """
        self.certificate = chain[0]
        self.fingerprint = self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        context = self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # there is no compression to begin with
        context.set_ciphers(_CIPHERS)
        context.set_alpn_protocols([ALPN])  # named to clients that ask; nothing depends on it
        context.num_tickets = 1  # to come again with; clients open one connection at a time
        _loadChain(context, chain, key)

    def coder(self) -> StandardCoder:
        """A new end of TLS, about to shake hands."""
        return StandardCoder(self._context)


def _loadChain(
    context: ssl.SSLContext,
    chain: Sequence[x509.Certificate],
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> None:
    """C{ssl} reads nothing but files: this one is of no use to who may find it."""
    password = secrets.token_bytes(32)
    pem = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)
    ) + b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name, password=password)


def serverContextFactory(tls: config.Tls, directory: Path, domains: Sequence[str]) -> ServerTLS:
    """
    Our side of TLS with clients. Without a configured certificate, a self-signed one is made and
    kept for the next start.

    @param tls: the configured files.
    @param directory: where the self-signed certificate is kept.
    @param domains: the names that the certificate ought to have.
    @raise CertificateError: a file cannot be used; the text names it.
    """
    if tls.certificate is None:
        server = _selfSigned(directory / _SELF_SIGNED, domains)
        log.info(
            "clients see a self-signed certificate, SHA-256 fingerprint {fingerprint}",
            fingerprint=server.fingerprint,
        )
    else:
        server = _load(tls.certificate, tls.private_key or tls.certificate)
    try:
        checkDates(server.certificate)
        for domain in domains:
            checkName(server.certificate, domain)
    except CertificateError as error:
        log.warn("clients may refuse our certificate: it {text}", text=error.text)
    return server


def _load(certificate: Path, privateKey: Path) -> ServerTLS:
    """Read PEM files."""
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
        key = load_pem_private_key(privateKey.read_bytes(), None)
        return ServerTLS(chain, cast(rsa.RSAPrivateKey, key))
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, ssl.SSLError) as error:
        raise CertificateError(
            f"{certificate} and {privateKey} are no certificate with its key: {error}",
            "name PEM files that belong together, the key without pass phrase",
        ) from None


def _selfSigned(path: Path, domains: Sequence[str]) -> ServerTLS:
    """The certificate in C{path}, made if there is none. Delete the file to have another made."""
    if path.exists():
        return _load(path, path)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issueToSelf(key, domains)
    pem = certificate.public_bytes(Encoding.PEM) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    try:
        _writeSecret(path, pem)
    except OSError as error:
        log.warn(
            "{path} cannot be written ({reason}): the next start will have another certificate",
            path=str(path),
            reason=error.strerror,
        )
    return ServerTLS([certificate], key)


def _writeSecret(path: Path, data: bytes) -> None:
    """Write a file that only we can read: whole, or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
