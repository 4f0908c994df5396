"""
TLS with clients: what we show them, and how they come again.

TLS 1.2 and 1.3 without compression and renegotiation, with one context for all connections.
"""

from __future__ import annotations

import os
import re
import secrets
import ssl
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from twisted.internet.error import ConnectionAborted
from twisted.logger import Logger
from twisted.python.failure import Failure

from xmpproxy import config
from xmpproxy.certificates import CertificateError, checkDates, checkName, issueToSelf
from xmpproxy.coders import ALPN, StandardCoder, TooManyAnswers
from xmpproxy.pem import Key, readPair

log = Logger()

#: Mozilla's "intermediate" list for TLS 1.2, less those that need Diffie-Hellman parameters; the
#: suites of TLS 1.3 are all in it.
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

#: How long the keys of tickets are used, in seconds. A ticket itself is good for two hours.
TICKET_KEY_SECONDS = 12 * 3600

_SELF_SIGNED = "xmpproxy-self-signed.pem"


class ServerTLS:
    """
    Our side of TLS with clients.

    Clients that come again show the ticket they were given, and are spared the signature. OpenSSL
    makes the keys of tickets together with a context, so new keys are a new context. Who is
    connected keeps the old one, and its tickets are worth nothing afterwards.

    @ivar certificate: what we show.
    @ivar fingerprint: its SHA-256 fingerprint, as in C{"0A:1B:..."}.
    """

    def __init__(
        self,
        chain: Sequence[x509.Certificate],
        key: Key,
        domains: Sequence[str] = (),
        files: tuple[Path, Path] | None = None,
    ) -> None:
        """
        @param chain: our certificate, and those that lead from it to a root.
        @param domains: the names that it ought to have.
        @param files: where it and its key were read from, and may be again.
        @raise CertificateError: OpenSSL does not want it.
        """
        self._domains = domains
        self._files = files
        self._context: ssl.SSLContext
        self._chain: Sequence[x509.Certificate]
        self._key: Key
        self._show(_contextOf(chain, key), chain, key)

    def coder(self) -> StandardCoder:
        """A new end of TLS, about to shake hands."""
        return StandardCoder(self._context)

    def renewTickets(self) -> None:
        """Have new keys for tickets. Whoever learns some day what the old ones were reads less."""
        try:
            self._context = _contextOf(self._chain, self._key)
        except CertificateError as error:
            log.warn("the keys of TLS tickets stay as they are: {error}", error=error)

    def read(self) -> Callable[[], None]:
        """
        Read the files again. Takes a while, and may be done in a thread.

        @return: takes what was read into use. The self-signed certificate, which we have made
            and nobody renews, stays.
        @raise CertificateError: there is nothing better than what we have. A certificate that
            clients refuse does not replace one that they accept.
        """
        if self._files is None:
            return self.renewTickets
        file, _ = self._files
        chain, key = readPair(*self._files)
        context = _contextOf(chain, key)
        fault = _fault(chain[0], self._domains)
        if fault is not None and _fault(self.certificate, self._domains) is None:
            raise CertificateError(
                f"the certificate in {file} {fault}", "write one that clients accept"
            )

        def use() -> None:
            self._show(context, chain, key)
            log.info(
                "clients see the certificate in {file} from now on, good until {until}, SHA-256"
                " fingerprint {fingerprint}",
                file=str(file),
                until=f"{self.certificate.not_valid_after_utc:%Y-%m-%d}",
                fingerprint=self.fingerprint,
            )
            self.warn()

        return use

    def _show(self, context: ssl.SSLContext, chain: Sequence[x509.Certificate], key: Key) -> None:
        self._context, self._chain, self._key = context, chain, key
        self.certificate = chain[0]
        self.fingerprint = self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    def warn(self) -> None:
        """Say in the log if clients may refuse the certificate."""
        fault = _fault(self.certificate, self._domains)
        if fault is not None:
            log.warn("clients may refuse our certificate: it {text}", text=fault)


#: What OpenSSL calls things, and what they are called here.
_REASONS = (
    ("(UNSUPPORTED|UNKNOWN)_PROTOCOL|VERSION_TOO_LOW", "no TLS newer than 1.1"),
    (
        "HTTPS?_(PROXY_)?REQUEST|WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG",
        "no TLS",
    ),
    ("NO_SHARED_CIPHER", "no cipher suite in common with us"),
    (
        ".*_ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|(UNSUPPORTED_)?CERTIFICATE(_\\w+)?)",
        "our certificate is not accepted",
    ),
)


def whyFailed(reason: Failure, completed: bool) -> str | None:
    """
    Why a client's TLS failed, in few words, if that is why the connection is gone.

    @param reason: why it is, as C{SecureTransport.connectionLost} has it.
    @param completed: whether the handshake was.
    """
    error = reason.value
    if isinstance(error, ssl.SSLError):
        name = error.reason or "no reason given"
        for pattern, words in _REASONS:
            if re.fullmatch(pattern, name):
                return words
        return name.replace("_", " ").lower()
    if isinstance(error, TooManyAnswers):
        return str(error)
    if completed or reason.check(ConnectionAborted):  # which was us, who know why
        return None
    return "left during the handshake"


def _fault(certificate: x509.Certificate, domains: Sequence[str]) -> str | None:
    """Why clients may refuse a certificate."""
    try:
        checkDates(certificate)
        for domain in domains:
            checkName(certificate, domain)
    except CertificateError as error:
        return error.text
    return None


def _contextOf(chain: Sequence[x509.Certificate], key: Key) -> ssl.SSLContext:
    """@raise CertificateError: OpenSSL does not want them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # All are good; which is the fastest, a phone knows best.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols([ALPN])  # named to clients that ask; nothing depends on it
    context.num_tickets = 1  # to come again with; clients open one connection at a time
    try:
        _loadChain(context, chain, key)
    except ssl.SSLError as error:
        reason = (error.reason or "no reason given").replace("_", " ").lower()
        raise CertificateError(
            f"OpenSSL refuses the certificate or its key: {reason}", "get another"
        ) from None
    except OSError as error:
        raise CertificateError(
            f"no file can be written in {tempfile.gettempdir()} ({error.strerror})",
            "make room there",
        ) from None
    return context


def _loadChain(
    context: ssl.SSLContext,
    chain: Sequence[x509.Certificate],
    key: Key,
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
        server = ServerTLS(*_selfSigned(directory / _SELF_SIGNED, domains), domains)
        log.info(
            "clients see a self-signed certificate, SHA-256 fingerprint {fingerprint}",
            fingerprint=server.fingerprint,
        )
    else:
        files = tls.certificate, tls.private_key or tls.certificate
        server = ServerTLS(*readPair(*files), domains, files)
    server.warn()
    return server


def _selfSigned(path: Path, domains: Sequence[str]) -> tuple[list[x509.Certificate], Key]:
    """The certificate in C{path}, made if there is none. Delete the file to have another made."""
    if path.exists():
        try:
            return readPair(path, path)
        except CertificateError as error:
            raise CertificateError(error.text, "delete it to have another made") from None
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
    return [certificate], key


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
