"""
Tests for L{xmpproxy.upstreamtls}.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.certificates import Authority, Identity, selfSigned
from tests.handshakes import (
    AUTHORITY,
    GOOD,
    Peer,
    Plainly,
    TemporaryCase,
    Trip,
    joined,
    nothing,
    only,
    secured,
)
from xmpproxy.certificates import CertificateError
from xmpproxy.downstreamtls import ServerTLS
from xmpproxy.upstreamtls import UpstreamTLS, channelBindings


class ChainTests(TemporaryCase):
    """What the server's certificate must be, and what is said when it is not."""

    def upstream(self, domain: str = "example.com", trust: Path | None = None) -> UpstreamTLS:
        return UpstreamTLS(domain, trust or self.trust)

    def refused(self, identity: Identity, upstream: UpstreamTLS | None = None) -> str:
        """Connect to a server whose certificate is no good; what is said about it."""
        upstream = upstream or self.upstream()
        trip = Trip(upstream, Plainly(nothing, identity))
        self.assertFalse(trip.client.completed)
        assert trip.client.lost is not None
        return upstream.explain(trip.client.lost, trip.client.connection)

    def accepted(self, identity: Identity, upstream: UpstreamTLS | None = None) -> Trip:
        upstream = upstream or self.upstream()
        trip = Trip(upstream, Plainly(nothing, identity))
        self.assertTrue(trip.client.completed, trip.client.lost)
        upstream.verifyPeer(trip.client.connection)
        return trip

    def misnamed(self, identity: Identity, upstream: UpstreamTLS | None = None) -> str:
        """Connect to a server with somebody else's certificate; what is said about it."""
        upstream = upstream or self.upstream()
        trip = Trip(upstream, Plainly(nothing, identity))
        self.assertTrue(trip.client.completed, trip.client.lost)
        error = self.assertRaises(CertificateError, upstream.verifyPeer, trip.client.connection)
        text = upstream.explain(Failure(error), trip.client.connection)
        self.assertEqual(text, f"{error.text}; {error.mend}")
        return text

    def test_interface(self) -> None:
        verifyObject(IOpenSSLClientConnectionCreator, self.upstream())

    def test_good(self) -> None:
        trip = self.accepted(GOOD)
        trip.send(trip.client, b"up")
        trip.send(trip.server, b"down")
        self.assertEqual((trip.server.received, trip.client.received), (b"up", b"down"))
        self.assertEqual(trip.server.connection.get_servername(), b"example.com")

    def test_connectionsAreApart(self) -> None:
        """Connections share a context; one that is refused says nothing about the next."""
        upstream = self.upstream()
        self.refused(selfSigned("example.com"), upstream)
        trip = self.accepted(GOOD, upstream)
        self.assertNotIn(
            "self-signed", upstream.explain(Failure(OSError()), trip.client.connection)
        )

    def test_expired(self) -> None:
        identity = AUTHORITY.issue("example.com", fromDay=-90, untilDay=-1)
        self.assertEqual(
            self.refused(identity),
            "the certificate 'example.com' that the server of example.com shows has expired on"
            f" {identity.certificate.not_valid_after_utc:%Y-%m-%d}; renew it on the server",
        )

    def test_authorityExpired(self) -> None:
        authority = Authority("old CA", below=AUTHORITY, fromDay=-90, untilDay=-1)
        text = self.refused(authority.issue("example.com"))
        self.assertIn("'old CA'", text)
        self.assertIn("has expired on", text)

    def test_notYetValid(self) -> None:
        text = self.refused(AUTHORITY.issue("example.com", fromDay=2))
        self.assertIn("is not valid before", text)
        self.assertIn("clocks", text)

    def test_unknownAuthority(self) -> None:
        stranger = Authority("lab CA")
        text = self.refused(stranger.issue("example.com"))
        self.assertIn("has the unknown issuer 'lab CA'; set upstream-trust", text)

    def test_unknownAuthorityWithItsRoot(self) -> None:
        """The server sends the root along."""
        stranger = Authority("lab CA")
        identity = stranger.issue("example.com")
        withRoot = Identity(identity.certificate, identity.key, (stranger.certificate,))
        self.assertIn("unknown issuer 'lab CA'; set upstream-trust", self.refused(withRoot))

    def test_selfSigned(self) -> None:
        identity = selfSigned("example.com")
        self.assertIn("is self-signed; set upstream-trust", self.refused(identity))
        trust, _ = identity.write(self.directory)
        self.accepted(identity, self.upstream(trust=trust))

    def test_chain(self) -> None:
        """An authority in between comes with the server's certificate, or is trusted itself."""
        between = Authority("intermediate CA", below=AUTHORITY)
        identity = between.issue("example.com")
        self.accepted(identity)
        bare = Identity(identity.certificate, identity.key)
        self.assertIn("unknown issuer 'intermediate CA'", self.refused(bare))
        self.accepted(bare, self.upstream(trust=between.write(self.directory / "between.pem")))

    def test_notAnAuthority(self) -> None:
        """Who has a certificate for a domain cannot issue one for another."""
        leaf = AUTHORITY.issue("example.org")
        forger = Authority("example.org")
        forger.certificate, forger._key = leaf.certificate, leaf.key
        identity = forger.issue("example.com")
        forged = Identity(identity.certificate, identity.key, (leaf.certificate,))
        self.assertRegex(self.refused(forged), "invalid ca")

    def test_weakKey(self) -> None:
        key = rsa.generate_private_key(65537, 1024)
        identity = AUTHORITY.issue("example.com", key=key)
        upstream = self.upstream()
        trip = Trip(upstream, Plainly(nothing, identity))
        assert trip.client.lost is not None
        text = upstream.explain(trip.client.lost, trip.client.connection)
        self.assertIn("too weak; renew it on the server", text)

    def test_systemTrust(self) -> None:
        """Without C{upstream-trust} our test authority is nobody."""
        self.assertIn("unknown issuer", self.refused(GOOD, UpstreamTLS("example.com")))

    def test_wrongName(self) -> None:
        self.assertEqual(
            self.misnamed(AUTHORITY.issue("example.org", "*.example.net")),
            "the server's certificate names example.org, *.example.net, not example.com;"
            " have the server show a certificate for example.com",
        )

    def test_host(self) -> None:
        """For the host that SRV points to, but not for the domain: anybody could have got it."""
        self.misnamed(AUTHORITY.issue("xmpp.example.com", srvNames=["_xmpp-server.example.com"]))

    def test_noName(self) -> None:
        self.assertIn("names no host, not example.com", self.misnamed(AUTHORITY.issue()))

    def test_noNameThatCouldBeOne(self) -> None:
        self.assertIn("cannot be one", self.misnamed(AUTHORITY.issue("*.*.com")))

    def test_wildcard(self) -> None:
        identity = AUTHORITY.issue("*.example.com")
        self.accepted(identity, self.upstream("im.example.com"))
        self.misnamed(identity, self.upstream("a.im.example.com"))
        self.misnamed(identity)

    def test_srvName(self) -> None:
        self.accepted(AUTHORITY.issue(srvNames=["_xmpp-client.example.com"]))
        self.accepted(AUTHORITY.issue("host.example", srvNames=["_xmpp-client.Example.com"]))
        text = self.misnamed(AUTHORITY.issue(srvNames=["_xmpp-client.example.org"]))
        self.assertIn("names _xmpp-client.example.org, not", text)

    def test_xmppAddress(self) -> None:
        self.accepted(AUTHORITY.issue("host.example", xmppAddresses=["example.com"]))
        self.misnamed(AUTHORITY.issue(xmppAddresses=["alice@example.com", "example.org"]))

    def test_internationalName(self) -> None:
        upstream = self.upstream("bücher.example")
        trip = self.accepted(AUTHORITY.issue("xn--bcher-kva.example"), upstream)
        self.assertEqual(trip.server.connection.get_servername(), b"xn--bcher-kva.example")

    def test_address(self) -> None:
        """An address is not sent as a server name (RFC 6066, section 3)."""
        upstream = self.upstream("127.0.0.1")
        trip = Trip(upstream, Plainly(nothing, GOOD))
        self.assertIsNone(trip.server.connection.get_servername())
        error = self.assertRaises(CertificateError, upstream.verifyPeer, trip.client.connection)
        self.assertIn("not 127.0.0.1", error.text)

    def test_directNamesTheProtocol(self) -> None:
        for direct, protocol in ((True, b"xmpp-client"), (False, b"")):
            upstream = UpstreamTLS("example.com", self.trust, direct=direct)
            trip = Trip(upstream, ServerTLS(GOOD.chain, GOOD.key))
            self.assertEqual(trip.client.connection.get_alpn_proto_negotiated(), protocol)

    def test_noRenegotiation(self) -> None:
        """What is bound to the first handshake would not hold for another."""
        upstream = self.upstream()
        trip = Trip(upstream, Plainly(only(SSL.TLS1_2_VERSION), GOOD))
        first = trip.client.connection.get_finished()
        trip.server.connection.renegotiate()
        trip.send(trip.server, b"x")
        trip.send(trip.client, b"y")
        self.assertEqual(trip.client.connection.get_finished(), first)
        self.assertIsNotNone(trip.client.lost)

    def test_newTrust(self) -> None:
        """The file is read again; one that cannot be read changes nothing."""
        upstream = self.upstream()
        before = self.accepted(GOOD, upstream)
        stranger = Authority("lab CA")
        stranger.write(self.trust)
        use = upstream.read()
        self.accepted(GOOD, upstream)
        use()
        self.accepted(stranger.issue("example.com"), upstream)
        self.assertIn("unknown issuer", self.refused(GOOD, upstream))
        before.send(before.client, b"up")
        self.assertEqual(before.server.received, b"up")
        for data in (b"", GOOD.write(self.directory)[1].read_bytes(), b"\n" * (2**20 + 1)):
            self.trust.write_bytes(data)
            error = self.assertRaises(CertificateError, upstream.read)
            self.assertIn(str(self.trust), error.text)
            self.accepted(stranger.issue("example.com"), upstream)

    def test_badTrust(self) -> None:
        for path in (self.directory / "absent.pem", GOOD.write(self.directory)[1]):
            error = self.assertRaises(CertificateError, UpstreamTLS, "example.com", path)
            self.assertIn(str(path), error.text)


class FailureTests(TemporaryCase):
    """TLS that fails for other reasons than the certificate."""

    def explained(self, server: Plainly) -> str:
        upstream = UpstreamTLS("example.com", self.trust)
        trip = Trip(upstream, server)
        self.assertFalse(trip.client.completed)
        assert trip.client.lost is not None
        return upstream.explain(trip.client.lost, trip.client.connection)

    def test_oldServer(self) -> None:
        text = self.explained(Plainly(only(SSL.TLS1_1_VERSION), GOOD))
        self.assertEqual(
            text, "the server speaks no TLS newer than 1.1; have it offer TLS 1.2 or 1.3"
        )

    def test_noCipherInCommon(self) -> None:
        def configure(context: SSL.Context) -> None:
            only(SSL.TLS1_2_VERSION)(context)
            context.set_cipher_list(b"AECDH-NULL-SHA:@SECLEVEL=0")

        text = self.explained(Plainly(configure, GOOD))
        self.assertRegex(
            text, "^TLS with the server failed: .*handshake failure; see the server's log$"
        )

    def test_notTLS(self) -> None:
        for answer in (b"<stream:error><bad-format/></stream:error>", b"HTTP/1.1 400 Bad Request"):
            self.assertIn("does not speak TLS here", self.afterwards(answer))

    def test_closed(self) -> None:
        text = self.afterwards(b"")
        self.assertIn("closed the connection during the TLS handshake", text)

    def afterwards(self, answer: bytes) -> str:
        """What is said of a server without TLS that answers so, and closes the connection."""
        upstream = UpstreamTLS("example.com", self.trust)
        client, server = Peer(), Protocol()
        pump = joined(secured(client, upstream, isClient=True), server)
        assert server.transport is not None
        server.transport.write(answer)
        server.transport.loseConnection()
        pump.flush()
        assert client.lost is not None
        return upstream.explain(client.lost, client.connection)


class BindingTests(TemporaryCase):
    """Channel bindings, as both ends compute them."""

    def bound(self, version: int, identity: Identity = GOOD) -> tuple[dict[str, bytes], Trip]:
        upstream = UpstreamTLS("example.com", self.trust)
        trip = Trip(upstream, Plainly(only(version), identity))
        upstream.verifyPeer(trip.client.connection)
        return channelBindings(trip.client.connection), trip

    def test_tls13(self) -> None:
        bindings, trip = self.bound(SSL.TLS1_3_VERSION)
        label = b"EXPORTER-Channel-Binding"
        exported = trip.server.connection.export_keying_material(label, 32, b"")
        finished = trip.server.connection.get_peer_finished()
        certificate = GOOD.certificate.fingerprint(hashes.SHA256())
        self.assertEqual(
            bindings,
            {
                "tls-exporter": exported,
                "tls-unique": finished,
                "tls-server-end-point": certificate,
            },
        )

    def test_tls12(self) -> None:
        bindings, trip = self.bound(SSL.TLS1_2_VERSION)
        finished = trip.server.connection.get_peer_finished()
        certificate = GOOD.certificate.fingerprint(hashes.SHA256())
        self.assertEqual(bindings, {"tls-unique": finished, "tls-server-end-point": certificate})

    def test_eachConnectionItsOwn(self) -> None:
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            first, again = self.bound(version)[0], self.bound(version)[0]
            self.assertEqual(first.pop("tls-server-end-point"), again.pop("tls-server-end-point"))
            for kind, data in first.items():
                self.assertNotEqual(data, again[kind], kind)

    def test_hashOfTheSignature(self) -> None:
        """RFC 5929, section 4.1."""
        for signed, algorithm in (
            (hashes.SHA384(), hashes.SHA384()),
            (hashes.SHA512(), hashes.SHA512()),
        ):
            identity = AUTHORITY.issue("example.com", algorithm=signed)
            bindings, _ = self.bound(SSL.TLS1_3_VERSION, identity)
            expected = identity.certificate.fingerprint(algorithm)
            self.assertEqual(bindings["tls-server-end-point"], expected)

    def test_hashesThatNobodySignsWith(self) -> None:
        """MD5 and SHA-1 stand for SHA-256; without a hash there is no such binding."""
        for signed, expected in (
            (hashes.MD5(), b"sha256"),
            (hashes.SHA1(), b"sha256"),
            (None, None),  # Ed25519
        ):
            certificate = SimpleNamespace(
                signature_hash_algorithm=signed, fingerprint=lambda used: used.name.encode()
            )
            connection = SimpleNamespace(
                get_protocol_version=lambda: SSL.TLS1_2_VERSION,
                get_finished=lambda: b"finished",
                get_peer_certificate=lambda as_cryptography, shown=certificate: shown,
            )
            bindings = channelBindings(cast(SSL.Connection, connection))
            self.assertEqual(bindings.get("tls-server-end-point"), expected)
