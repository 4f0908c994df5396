"""
Tests for L{xmpproxy.downstreamtls}.
"""

from __future__ import annotations

import hashlib
import stat

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from tests.certificates import Authority
from tests.handshakes import (
    AUTHORITY,
    GOOD,
    Plainly,
    TemporaryCase,
    Trip,
    nothing,
    only,
)
from xmpproxy import config
from xmpproxy.certificates import CertificateError
from xmpproxy.downstreamtls import ServerTLS, serverContextFactory
from xmpproxy.upstreamtls import UpstreamTLS


class ServerTests(TemporaryCase):
    """Our side of TLS with clients."""

    def test_oldClient(self) -> None:
        for version, good in (
            (SSL.TLS1_1_VERSION, False),
            (SSL.TLS1_2_VERSION, True),
            (SSL.TLS1_3_VERSION, True),
        ):
            trip = Trip(Plainly(only(version)), ServerTLS(GOOD.chain, GOOD.key))
            self.assertEqual(trip.server.completed, good, version)
            self.assertEqual(trip.client.completed, good, version)

    def test_weakCiphers(self) -> None:
        """Nothing without forward secrecy and authenticated encryption."""
        for cipher, good in (
            (b"ECDHE-ECDSA-AES128-GCM-SHA256", True),
            (b"ECDHE-ECDSA-CHACHA20-POLY1305", True),
            (b"ECDHE-ECDSA-AES128-SHA", False),
            (b"ECDHE-ECDSA-AES256-SHA384", False),
        ):

            def configure(context: SSL.Context, cipher: bytes = cipher) -> None:
                context.set_max_proto_version(SSL.TLS1_2_VERSION)
                context.set_cipher_list(cipher)

            trip = Trip(Plainly(configure), ServerTLS(GOOD.chain, GOOD.key))
            self.assertEqual(trip.server.completed, good, cipher)

    def test_tickets(self) -> None:
        """A client that comes again resumes, though we keep nothing."""
        server = ServerTLS(GOOD.chain, GOOD.key)
        client = Plainly(only(SSL.TLS1_2_VERSION))
        first = Trip(client, server)
        client.session = first.client.connection.get_session()
        again = Trip(client, server)
        self.assertTrue(again.client.completed)
        self.assertEqual(again.client.connection.master_key(), first.client.connection.master_key())

    def test_protocolName(self) -> None:
        for offered, chosen in (([b"h2", b"xmpp-client"], b"xmpp-client"), ([b"h2"], b"")):

            def configure(context: SSL.Context, offered: list[bytes] = offered) -> None:
                context.set_alpn_protos(offered)

            trip = Trip(Plainly(configure), ServerTLS(GOOD.chain, GOOD.key))
            self.assertTrue(trip.client.completed)
            self.assertEqual(trip.client.connection.get_alpn_proto_negotiated(), chosen)


class FilesTests(TemporaryCase):
    """Where our own certificate comes from."""

    def made(self, *domains: str) -> ServerTLS:
        return serverContextFactory(config.Tls(), self.directory, domains)

    def test_configured(self) -> None:
        between = Authority("intermediate CA", below=AUTHORITY)
        certificate, key = between.issue("example.com").write(self.directory)
        warnings = self.events("warn")
        server = serverContextFactory(
            config.Tls(certificate=certificate, private_key=key), self.directory, ["example.com"]
        )
        upstream = UpstreamTLS("example.com", self.trust)
        trip = Trip(upstream, server)
        upstream.verifyPeer(trip.client.connection)
        self.assertEqual(warnings, [])
        self.assertFalse((self.directory / "xmpproxy-self-signed.pem").exists())

    def test_configuredButNoGood(self) -> None:
        for identity, domain, words in (
            (GOOD, "example.org", "names example.com, not example.org"),
            (AUTHORITY.issue("example.com", fromDay=-9, untilDay=-1), "example.com", "expired"),
        ):
            certificate, key = identity.write(self.directory)
            warnings = self.events("warn")
            serverContextFactory(
                config.Tls(certificate=certificate, private_key=key), self.directory, [domain]
            )
            self.assertEqual(len(warnings), 1)
            self.assertIn(words, warnings[0]["text"])

    def test_unusable(self) -> None:
        certificate, key = GOOD.write(self.directory)
        _, another = AUTHORITY.issue("example.com").write(self.directory, "another")
        absent = self.directory / "absent.pem"
        for pair in ((certificate, another), (key, key), (certificate, certificate), (absent, key)):
            tls = config.Tls(certificate=pair[0], private_key=pair[1])
            error = self.assertRaises(
                CertificateError, serverContextFactory, tls, self.directory, ["example.com"]
            )
            self.assertIn(str(pair[0]), error.text)
            self.assertIn(str(pair[1]), error.text)

    def test_selfSigned(self) -> None:
        """Good for the domains, once it is trusted."""
        logged = self.events("info")
        warnings = self.events("warn")
        server = self.made("example.com", "bücher.example", "127.0.0.1")
        path = self.directory / "xmpproxy-self-signed.pem"
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual({one.name for one in self.directory.iterdir()}, {"ca.pem", path.name})
        for domain in ("example.com", "bücher.example", "127.0.0.1"):
            upstream = UpstreamTLS(domain, path)
            trip = Trip(upstream, server)
            self.assertTrue(trip.client.completed)
            upstream.verifyPeer(trip.client.connection)
        self.assertEqual([event["fingerprint"] for event in logged], [server.fingerprint])
        digest = hashlib.sha256(server.certificate.public_bytes(Encoding.DER)).hexdigest()
        self.assertEqual(server.fingerprint.replace(":", "").lower(), digest)
        self.assertEqual(warnings, [])

    def test_selfSignedIsKept(self) -> None:
        self.assertEqual(self.made("example.com").fingerprint, self.made("example.com").fingerprint)

    def test_selfSignedForOthers(self) -> None:
        """A domain that was configured later."""
        first = self.made("example.com")
        warnings = self.events("warn")
        self.assertEqual(self.made("example.com", "example.org").fingerprint, first.fingerprint)
        self.assertEqual(len(warnings), 1)
        self.assertIn("not example.org", warnings[0]["text"])

    def test_selfSignedCannotBeKept(self) -> None:
        self.directory = self.trust / "not-a-directory"
        warnings = self.events("warn")
        server = self.made("example.com")
        self.assertEqual(len(warnings), 1)
        self.assertIn(str(self.directory), warnings[0]["path"])
        self.assertTrue(Trip(Plainly(nothing), server).client.completed)

    def test_selfSignedDamaged(self) -> None:
        path = self.directory / "xmpproxy-self-signed.pem"
        path.write_bytes(b"")
        error = self.assertRaises(CertificateError, self.made, "example.com")
        self.assertIn(str(path), error.text)
