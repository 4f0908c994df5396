"""Certificates of all kinds, good and bad, made in memory for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from OpenSSL.crypto import X509, PKey
from twisted.internet.ssl import CertificateOptions

SRV_NAME = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.7")  # RFC 4985
XMPP_ADDR = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5")  # RFC 6120, section 13.7.1.4

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

#: What the key of an authority is for.
_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)

_IA5_STRING, _UTF8_STRING = 0x16, 0x0C


@dataclass(frozen=True)
class Identity:
    """A server's certificate, its key, and the authorities' certificates between it and a root."""

    certificate: x509.Certificate
    key: Key
    between: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> list[x509.Certificate]:
        """What the server shows."""
        return [self.certificate, *self.between]

    def options(self) -> CertificateOptions:
        """A server's TLS that shows it, by Twisted."""
        return CertificateOptions(
            privateKey=PKey.from_cryptography_key(self.key),
            certificate=X509.from_cryptography(self.certificate),
            extraCertChain=[X509.from_cryptography(each) for each in self.between],
            acceptableProtocols=[b"xmpp-client"],
        )

    def write(self, directory: Path, name: str = "server") -> tuple[Path, Path]:
        """
        Write the chain as C{name.pem} and the key as C{name.key}.

        @return: the paths of both.
        """
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        certificate.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in self.chain))
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, key


class Authority:
    """
    A certificate authority: a root, or one below another.

    @ivar certificate: its own; what C{upstream-trust} is to hold.
    """

    def __init__(
        self,
        name: str = "test CA",
        *,
        below: Authority | None = None,
        fromDay: float = -1,
        untilDay: float = 90,
    ) -> None:
        """
        @param fromDay: when the certificate begins to be valid, in days from now.
        @param untilDay: when it ends.
        """
        self._key: Key = ec.generate_private_key(ec.SECP256R1())
        issuer = below.certificate.subject if below else _named(name)
        signer = below._key if below else self._key
        self.certificate: x509.Certificate = (
            _unsigned(_named(name), issuer, self._key, fromDay, untilDay)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_SIGNS, critical=True)
            .add_extension(_signedBy(signer), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(signer, hashes.SHA256())
        )
        self._between: tuple[x509.Certificate, ...] = ()
        if below:
            self._between = (self.certificate, *below._between)

    def issue(
        self,
        *dnsNames: str,
        srvNames: Sequence[str] = (),
        xmppAddresses: Sequence[str] = (),
        fromDay: float = -1,
        untilDay: float = 90,
        algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
        key: Key | None = None,
    ) -> Identity:
        """
        Make a server's certificate.

        @param dnsNames: hosts and wildcards that it is for.
        @param srvNames: such as C{_xmpp-client.example.com}.
        @param xmppAddresses: domains, as RFC 3920 had them.
        @param fromDay: when it begins to be valid, in days from now.
        @param untilDay: when it ends.
        @param algorithm: of the signature, SHA-256 if none is given.
        @param key: the server's, a new one if none is given.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        issuer = self.certificate.subject
        certificate = _unsigned(_named(*dnsNames[:1]), issuer, key, fromDay, untilDay)
        certificate = _with(certificate, dnsNames, srvNames, xmppAddresses).add_extension(
            _signedBy(self._key), critical=False
        )
        signed = certificate.sign(self._key, algorithm or hashes.SHA256())
        return Identity(signed, key, self._between)

    def write(self, path: Path) -> Path:
        """
        Write the authority's own certificate as PEM.

        @return: the path.
        """
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return path


def selfSigned(*dnsNames: str) -> Identity:
    """A server's certificate that no authority issued."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _named(*dnsNames[:1])
    certificate = _with(_unsigned(name, name, key, -1, 90), dnsNames)
    return Identity(certificate.sign(key, hashes.SHA256()), key)


def _named(name: str = "server") -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _unsigned(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    fromDay: float,
    untilDay: float,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=fromDay))
        .not_valid_after(now + timedelta(days=untilDay))
    )


def _signedBy(key: Key) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _with(
    certificate: x509.CertificateBuilder,
    dnsNames: Sequence[str],
    srvNames: Sequence[str] = (),
    xmppAddresses: Sequence[str] = (),
) -> x509.CertificateBuilder:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dnsNames]
    names += [x509.OtherName(SRV_NAME, _string(_IA5_STRING, name)) for name in srvNames]
    names += [x509.OtherName(XMPP_ADDR, _string(_UTF8_STRING, name)) for name in xmppAddresses]
    if not names:
        return certificate
    return certificate.add_extension(x509.SubjectAlternativeName(names), critical=False)


def _string(tag: int, text: str) -> bytes:
    """A short string in DER."""
    data = text.encode()
    assert len(data) < 128
    return bytes([tag, len(data)]) + data
