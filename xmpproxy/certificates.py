"""
Certificates: whom they are for, how long they are good, and ours that nobody else has signed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import service_identity
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
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

_XMPP_ADDR = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5")  # RFC 6120, section 13.7.1.4


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


def checkDates(certificate: x509.Certificate) -> None:
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


def checkName(certificate: x509.Certificate, domain: str) -> None:
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
    address = addressOf(domain)
    if address is not None:
        return [IPAddress_ID(address)]
    name = asciiOf(domain)
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


def commonName(name: x509.Name) -> str:
    """The part of a distinguished name that people know, for messages."""
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return repr(str(common[0].value)) if common else repr(name.rfc4514_string())


def addressOf(domain: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The domain if it is an IP address (RFC 7622, section 3.2.1)."""
    try:
        return ipaddress.ip_address(domain.strip("[]"))
    except ValueError:
        return None


def asciiOf(domain: str) -> str:
    """A domain as DNS and certificates write it."""
    return domain.encode("idna").decode("ascii")


def issueToSelf(key: ec.EllipticCurvePrivateKey, domains: Sequence[str]) -> x509.Certificate:
    names: list[x509.GeneralName] = []
    for domain in domains:
        address = addressOf(domain)
        names.append(x509.DNSName(asciiOf(domain)) if address is None else x509.IPAddress(address))
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
