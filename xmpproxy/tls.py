"""
TLS: our certificate towards clients, the server's certificate towards us, channel bindings.

All that knows OpenSSL is here and in L{xmpproxy.coders}. Both sides speak TLS 1.2 and 1.3,
without compression and renegotiation, each with one context for all its connections.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import ssl
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

import service_identity
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
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import (
    DNS_ID,
    SRV_ID,
    DNSPattern,
    IPAddress_ID,
    ServiceID,
    SRVPattern,
    verify_service_identity,
)
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from xmpproxy import config
from xmpproxy.coders import StandardCoder

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol

log = Logger()

#: Mozilla's "intermediate" list for TLS 1.2, less those that need Diffie-Hellman parameters; the
#: suites of TLS 1.3 are all in it.
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

_ALPN = "xmpp-client"  # XEP-0368
_XMPP_ADDR = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5")  # RFC 6120, section 13.7.1.4
_SELF_SIGNED = "xmpproxy-self-signed.pem"


class CertificateError(Exception):
    """
    A certificate or its key will not do.

    @ivar text: what is wrong with which.
    @ivar mend: what to do about it.
    """

    def __init__(self, text: str, mend: str) -> None:
        super().__init__(f"{text}; {mend}")
        self.text = text
        self.mend = mend


# Towards clients


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
        context.set_alpn_protocols([_ALPN])  # named to clients that ask; nothing depends on it
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
        _checkDates(server.certificate)
        for domain in domains:
            _checkName(server.certificate, domain)
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
    certificate = _issueToSelf(key, domains)
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


def _issueToSelf(key: ec.EllipticCurvePrivateKey, domains: Sequence[str]) -> x509.Certificate:
    names: list[x509.GeneralName] = []
    for domain in domains:
        address = _address(domain)
        names.append(x509.DNSName(_ascii(domain)) if address is None else x509.IPAddress(address))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "xmpproxy, self-signed")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


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


# Towards the server


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
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        self._context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # idle, it holds some 34 KiB less
        self._context.set_verify(SSL.VERIFY_PEER, self._verifyCertificate)
        if trust is None:
            self._context.set_default_verify_paths()
        else:
            self._trust(trust)
        if direct:
            self._context.set_alpn_protos([_ALPN.encode()])
        self._refused: WeakKeyDictionary[SSL.Connection, tuple[int, X509]] = WeakKeyDictionary()

    def _trust(self, trust: Path) -> None:
        try:
            self._context.load_verify_locations(str(trust))
        except SSL.Error:
            raise CertificateError(
                f"{trust} cannot be read or holds no certificate", "name a PEM file"
            ) from None
        store = self._context.get_cert_store()
        assert store is not None
        store.set_flags(X509StoreFlags.PARTIAL_CHAIN)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See L{IOpenSSLClientConnectionCreator}: for whatever has TLS from Twisted."""
        return self.connection()

    def connection(self) -> SSL.Connection:
        """A new connection, about to shake hands."""
        connection = SSL.Connection(self._context)
        connection.set_connect_state()
        if _address(self.domain) is None:
            connection.set_tlsext_host_name(_ascii(self.domain).encode())
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
            _checkName(certificate, self.domain)
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
    name = _commonName(certificate.subject)
    issuer = _commonName(certificate.issuer)
    whose = f"the certificate {name} that the server of {domain} shows"
    if code in (_CODES.ERR_CERT_HAS_EXPIRED, _CODES.ERR_CERT_NOT_YET_VALID):
        try:
            _checkDates(certificate)
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


# Certificates


def _checkDates(certificate: x509.Certificate) -> None:
    """@raise CertificateError: not valid now."""
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        raise CertificateError(
            f"has expired on {certificate.not_valid_after_utc:%Y-%m-%d}", "renew it on the server"
        )
    if certificate.not_valid_before_utc > now:
        raise CertificateError(
            f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}",
            "look at the clocks of the server and of this machine",
        )


def _checkName(certificate: x509.Certificate, domain: str) -> None:
    """@raise CertificateError: the certificate is not for the domain."""
    mend = f"have the server show a certificate for {domain}"
    try:
        patterns = extract_patterns(certificate)
    except (service_identity.CertificateError, ValueError, IndexError) as error:
        raise CertificateError(f"has a name that cannot be one: {error}", mend) from None
    for reference in _references(domain):
        with suppress(service_identity.VerificationError, service_identity.CertificateError):
            verify_service_identity(patterns, obligatory_ids=[reference], optional_ids=[])
            return
    if _hasXmppAddr(certificate, domain):
        return
    names = [_patternText(one) for one in patterns if isinstance(one, (DNSPattern, SRVPattern))]
    shown = ", ".join(names[:5]) or "no host"
    raise CertificateError(f"names {shown}, not {domain}", mend)


def _references(domain: str) -> list[ServiceID]:
    """The identities, one of which a certificate for the domain must have."""
    address = _address(domain)
    if address is not None:
        return [IPAddress_ID(address)]
    name = _ascii(domain)
    return [DNS_ID(name), SRV_ID(f"_xmpp-client.{name}")]


def _patternText(pattern: DNSPattern | SRVPattern) -> str:
    if isinstance(pattern, SRVPattern):
        return f"_{pattern.name_pattern.decode()}.{pattern.dns_pattern.pattern.decode()}"
    return pattern.pattern.decode()


def _hasXmppAddr(certificate: x509.Certificate, domain: str) -> bool:
    """Whether one of its XmppAddr names is the domain; compared as the UTF8String it must be."""
    text = domain.encode()
    wanted = bytes([0x0C, len(text)]) + text if len(text) < 128 else None
    with suppress(x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        for name in names.get_values_for_type(x509.OtherName):
            if name.type_id == _XMPP_ADDR and name.value == wanted:
                return True
    return False


def _commonName(name: x509.Name) -> str:
    """The part of a distinguished name that people know, for messages."""
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return repr(str(common[0].value)) if common else repr(name.rfc4514_string())


def _address(domain: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The domain if it is an IP address (RFC 7622, section 3.2.1)."""
    try:
        return ipaddress.ip_address(domain.strip("[]"))
    except ValueError:
        return None


def _ascii(domain: str) -> str:
    """A domain as DNS and certificates write it."""
    return domain.encode("idna").decode("ascii")


# Channel bindings


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
