"""
TLS with servers: whom we trust, why we do not, and what a login can be bound to.

TLS 1.2 and 1.3 without compression and renegotiation, with one context for all connections of a
domain.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.python.failure import Failure
from zope.interface import implementer

from xmpproxy.certificates import (
    CertificateError,
    addressOf,
    asciiOf,
    checkDates,
    checkName,
    commonName,
)
from xmpproxy.coders import ALPN
from xmpproxy.pem import readCertificates

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol


@implementer(IOpenSSLClientConnectionCreator)
class UpstreamTLS:
    """
    Our side of TLS with the server of one domain.

    OpenSSL checks the chain and dates; for whom the certificate is, C{verifyPeer} checks, which
    the stream calls once the handshake is completed, before it sends a byte.
    """

    def __init__(self, domain: str, trust: Path | None = None, *, direct: bool = False) -> None:
        """
        @param domain: the domain that the stream is for; not the host that we connect to.
        @param trust: PEM file with the certificates to trust, L{None} for the system's. The
            server's own certificate or that of an intermediate authority will do.
        @param direct: TLS from the first byte (XEP-0368), so C{xmpp-client} is named by ALPN.
        @raise CertificateError: the file cannot be used.
        """
        self.domain = domain
        self._trust = trust
        self._direct = direct
        self._refused: WeakKeyDictionary[SSL.Connection, tuple[int, X509]] = WeakKeyDictionary()
        self._context = self._makeContext()

    def _makeContext(self) -> SSL.Context:
        """@raise CertificateError: the file cannot be used."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # idle, it holds some 34 KiB less
        context.set_verify(SSL.VERIFY_PEER, self._verifyCertificate)
        if self._direct:
            context.set_alpn_protos([ALPN.encode()])
        if self._trust is None:
            context.set_default_verify_paths()
        else:
            store = context.get_cert_store()
            assert store is not None
            for certificate in readCertificates(self._trust):
                store.add_cert(X509.from_cryptography(certificate))
            store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
        return context

    def read(self) -> Callable[[], None]:
        """
        Read again whom to trust. Takes a while, and may be done in a thread.

        @return: takes that into use, for the connections to come.
        @raise CertificateError: the file cannot be used.
        """
        context = self._makeContext()

        def use() -> None:
            self._context = context

        return use

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See L{IOpenSSLClientConnectionCreator}: for whatever has TLS from Twisted."""
        return self.connection()

    def connection(self) -> SSL.Connection:
        """A new connection, about to shake hands."""
        connection = SSL.Connection(self._context)
        connection.set_connect_state()
        if addressOf(self.domain) is None:
            connection.set_tlsext_host_name(asciiOf(self.domain).encode())
        return connection

    def _verifyCertificate(
        self, connection: SSL.Connection, certificate: X509, code: int, depth: int, ok: int
    ) -> bool:
        """Called by OpenSSL for each certificate of the chain: keep why it says no."""
        if not ok:
            self._refused.setdefault(connection, (code, certificate))
        return bool(ok)

    def verifyPeer(self, connection: SSL.Connection) -> None:
        """
        Check that the server's certificate is for our domain (RFC 6120, section 13.7.2): DNS-ID,
        SRV-ID for C{_xmpp-client}, or XmppAddr.

        @param connection: with the handshake completed.
        @raise CertificateError: it is for somebody else.
        """
        certificate = connection.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            raise CertificateError("the server shows no certificate", "configure one there")
        try:
            checkName(certificate, self.domain)
        except CertificateError as error:
            raise CertificateError(f"the server's certificate {error.text}", error.mend) from None

    def explain(self, reason: Failure, connection: SSL.Connection | None) -> str:
        """
        Why the TLS handshake failed, in one sentence with the mend.

        @param reason: what C{connectionLost} got, or a L{CertificateError}.
        @param connection: the one that failed, if it came to one.
        """
        if connection is not None and connection in self._refused:
            code, certificate = self._refused[connection]
            return str(_refusal(self.domain, code, certificate.to_cryptography()))
        if isinstance(reason.value, SSL.Error):
            return _tlsError(reason.value)
        if reason.check(ConnectionClosed):
            return "the server closed the connection during the TLS handshake; see its log"
        return reason.getErrorMessage()


_CODES = SSL.X509VerificationCodes

#: Codes of OpenSSL that pyOpenSSL has no names for.
_TOO_WEAK = (66, 67, 68)


def _refusal(domain: str, code: int, certificate: x509.Certificate) -> CertificateError:
    """Why OpenSSL refused a certificate of the chain that the server sent."""
    name = commonName(certificate.subject)
    issuer = commonName(certificate.issuer)
    whose = f"the certificate {name} that the server of {domain} shows"
    if code in (_CODES.ERR_CERT_HAS_EXPIRED, _CODES.ERR_CERT_NOT_YET_VALID):
        try:
            checkDates(certificate)
        except CertificateError as error:
            return CertificateError(f"{whose} {error.text}", error.mend)
    if code == _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return CertificateError(
            f"{whose} is self-signed", "set upstream-trust to a file with that certificate"
        )
    if code in (
        _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN,
        _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT,
        _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
    ):
        return CertificateError(
            f"{whose} has the unknown issuer {issuer}",
            "set upstream-trust to a file with the issuer's certificate, or, if that is a public"
            " one, have the server send its whole chain",
        )
    if code in _TOO_WEAK:
        return CertificateError(
            f"{whose} has a key or signature that is too weak", "renew it on the server"
        )
    described = next(
        (key for key, value in vars(_CODES).items() if value == code), f"OpenSSL error {code}"
    )
    words = described.removeprefix("ERR_").replace("_", " ").lower()
    return CertificateError(f"{whose} is not valid: {words}", "renew it on the server")


def _tlsError(error: SSL.Error) -> str:
    """What OpenSSL or an alert from the server says."""
    queue = error.args[0] if error.args else []
    reason = queue[-1][-1] if queue and isinstance(queue, list) else "no reason given"
    if reason in ("wrong version number", "record layer failure", "packet length too long"):
        return "the server does not speak TLS here; look at upstream and upstream-tls"
    if "protocol version" in reason or reason == "unsupported protocol":
        return "the server speaks no TLS newer than 1.1; have it offer TLS 1.2 or 1.3"
    return f"TLS with the server failed: {reason}; see the server's log"


def channelBindings(connection: SSL.Connection) -> dict[str, bytes]:
    """
    The channel-binding data of a connection to a server, by type: C{tls-exporter} (RFC 9266, TLS
    1.3), C{tls-server-end-point} and C{tls-unique} (RFC 5929).

    C{tls-unique} is the Finished message that we sent: we never resume a session, so it is the
    first of the connection. RFC 9266 leaves it undefined for TLS 1.3; it is given there too, as
    ejabberd 23.01 binds to it and to nothing else. It covers the server's certificate and key
    share, like that of TLS 1.2. Prefer another where the server lists another.

    @param connection: with the handshake completed.
    """
    bindings = {}
    if connection.get_protocol_version() >= SSL.TLS1_3_VERSION:
        label = b"EXPORTER-Channel-Binding"
        bindings["tls-exporter"] = connection.export_keying_material(label, 32, b"")
    finished = connection.get_finished()
    if finished:
        bindings["tls-unique"] = finished
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is not None:
        with suppress(UnsupportedAlgorithm):
            algorithm = certificate.signature_hash_algorithm
            if isinstance(algorithm, (hashes.MD5, hashes.SHA1)):
                algorithm = hashes.SHA256()
            if algorithm is not None:  # undefined for signatures without one, such as Ed25519
                bindings["tls-server-end-point"] = certificate.fingerprint(algorithm)
    return bindings
