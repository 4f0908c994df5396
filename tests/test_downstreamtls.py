"""
Tests for L{xmpproxy.downstreamtls}.
"""

from __future__ import annotations

import hashlib
import ssl
import stat
import tempfile

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import Authority, selfSigned
from tests.handshakes import (
    AUTHORITY,
    GOOD,
    Plainly,
    Served,
    TemporaryCase,
    Trip,
    nothing,
    only,
)
from xmpproxy import config
from xmpproxy.certificates import CertificateError
from xmpproxy.coders import TooManyAnswers
from xmpproxy.downstreamtls import ServerTLS, serverContextFactory, whyFailed
from xmpproxy.upstreamtls import UpstreamTLS

#: How a key is written that only a passphrase opens.
LOCKED = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"Rosaline"))


def resumed(trip: Trip) -> bool:
    """Whether the client came with a ticket that was good."""
    assert isinstance(trip.server, Served)
    return bool(trip.server.coder._object.session_reused)


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

    def test_newTicketKeys(self) -> None:
        """Old tickets are worth nothing then; who is connected does not notice."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            server = ServerTLS(GOOD.chain, GOOD.key)
            client = Plainly(only(version))
            first = Trip(client, server)
            first.send(first.server, b"x")  # TLS 1.3 gives the ticket with the first record
            client.session = first.client.connection.get_session()
            self.assertTrue(resumed(Trip(client, server)))
            server.renewTickets()
            again = Trip(client, server)
            self.assertTrue(again.client.completed)
            self.assertFalse(resumed(again))
            first.send(first.client, b"up")
            first.send(first.server, b"down")
            self.assertEqual((first.server.received, first.client.received), (b"up", b"xdown"))

    def test_noNewTicketKeys(self) -> None:
        """Where they cannot be made, for want of room, the old ones have to do."""
        server = ServerTLS(GOOD.chain, GOOD.key)
        self.patch(tempfile, "tempdir", "/absent")
        warnings = self.events("warn")
        server.renewTickets()
        self.assertTrue(Trip(Plainly(nothing), server).client.completed)
        self.assertEqual(
            [str(event["error"]) for event in warnings],
            ["no file can be written in /absent (No such file or directory); make room there"],
        )

    def test_protocolName(self) -> None:
        for offered, chosen in (([b"h2", b"xmpp-client"], b"xmpp-client"), ([b"h2"], b"")):

            def configure(context: SSL.Context, offered: list[bytes] = offered) -> None:
                context.set_alpn_protos(offered)

            trip = Trip(Plainly(configure), ServerTLS(GOOD.chain, GOOD.key))
            self.assertTrue(trip.client.completed)
            self.assertEqual(trip.client.connection.get_alpn_proto_negotiated(), chosen)


class FailureTests(SynchronousTestCase):
    """What is said of connections whose TLS has failed."""

    def test_openSSL(self) -> None:
        """The words for an operator, or at least OpenSSL's."""
        for name, words in (
            ("HTTP_REQUEST", "no TLS"),
            ("UNSUPPORTED_PROTOCOL", "no TLS newer than 1.1"),
            ("TLSV1_ALERT_UNKNOWN_CA", "our certificate is not accepted"),
            ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "our certificate is not accepted"),
            ("SSLV3_ALERT_BAD_CERTIFICATE", "our certificate is not accepted"),
            ("BAD_RECORD_TYPE", "bad record type"),
            (None, "no reason given"),
        ):
            error = ssl.SSLError()
            error.reason = name  # type: ignore[assignment]
            for completed in (True, False):
                self.assertEqual(whyFailed(Failure(error), completed), words)

    def test_others(self) -> None:
        """Most connections end without a failure of TLS."""
        left = "left during the handshake"
        for error, early, late in (
            (TooManyAnswers(), "asked for other keys or renegotiation too often", None),
            (ConnectionDone(), left, None),
            (ConnectionLost(), left, None),
            (ConnectionAborted(), None, None),
        ):
            self.assertEqual(whyFailed(Failure(error), False), early)
            if not isinstance(error, TooManyAnswers):
                self.assertEqual(whyFailed(Failure(error), True), late)


class NewFilesTests(TemporaryCase):
    """The certificate is read again."""

    def setUp(self) -> None:
        super().setUp()
        self.files = GOOD.write(self.directory)
        self.server = self.configured()

    def configured(self) -> ServerTLS:
        certificate, key = self.files
        tls = config.Tls(certificate=certificate, private_key=key)
        return serverContextFactory(tls, self.directory, ["example.com"])

    def shown(self) -> object:
        """The certificate that a new client sees."""
        trip = Trip(Plainly(nothing), self.server)
        self.assertTrue(trip.client.completed)
        return trip.client.connection.get_peer_certificate(as_cryptography=True)

    def test_another(self) -> None:
        """Who comes sees the new one; who is there goes on."""
        logged = self.events("info")
        before = Trip(Plainly(nothing), self.server)
        another = AUTHORITY.issue("example.com")
        another.write(self.directory)
        use = self.server.read()
        self.assertEqual(self.shown(), GOOD.certificate)
        use()
        self.assertEqual(self.shown(), another.certificate)
        before.send(before.client, b"up")
        before.send(before.server, b"down")
        self.assertEqual((before.server.received, before.client.received), (b"up", b"down"))
        self.assertEqual([event["fingerprint"] for event in logged], [self.server.fingerprint])
        self.assertEqual(logged[0]["file"], str(self.files[0]))

    def refused(self) -> str:
        """What is said; new clients see what they saw."""
        before = self.shown()
        error = self.assertRaises(CertificateError, self.server.read)
        self.assertEqual(self.shown(), before)
        return str(error)

    def test_broken(self) -> None:
        """Whatever is wrong with the new files, the old certificate stays."""
        certificate, key = self.files
        expired = AUTHORITY.issue("example.com", fromDay=-9, untilDay=-1)
        weak = AUTHORITY.issue("example.com", key=rsa.generate_private_key(65537, 1024))
        for break_, words in (
            (lambda: certificate.write_bytes(b"\0"), f"{certificate} holds no PEM certificate"),
            (lambda: AUTHORITY.issue("example.com").write(self.directory), ""),
            (lambda: key.write_bytes(GOOD.key.private_bytes(*LOCKED)), f"{key} is encrypted"),
            (lambda: GOOD.write(self.directory), ""),
            (lambda: key.write_bytes(b""), f"{key} holds no PEM private key"),
            (lambda: key.unlink(), f"no such file: {key}"),
            (lambda: expired.write(self.directory), f"in {certificate} has expired on"),
            (
                lambda: AUTHORITY.issue("example.org").write(self.directory),
                f"in {certificate} names example.org, not example.com",
            ),
            (lambda: weak.write(self.directory), "ee key too small"),
            (
                lambda: key.write_bytes(selfSigned("x").write(self.directory, "x")[1].read_bytes()),
                f"{key} is not the key of {certificate}",
            ),
        ):
            break_()
            if words:
                self.assertIn(words, self.refused())
            else:
                self.server.read()()

    def test_worseIsNoWorse(self) -> None:
        """Clients refuse what we have, too: then the operator's word counts, and is warned of."""
        AUTHORITY.issue("example.com", fromDay=-9, untilDay=-1).write(self.directory)
        self.server = self.configured()
        other = AUTHORITY.issue("example.org")
        other.write(self.directory)
        warnings = self.events("warn")
        self.server.read()()
        self.assertEqual(self.shown(), other.certificate)
        self.assertIn("names example.org", warnings[0]["text"])

    def test_selfSigned(self) -> None:
        """Nobody renews that: it stays, its file or not."""
        self.server = serverContextFactory(config.Tls(), self.directory, ["example.com"])
        before = self.shown()
        (self.directory / "xmpproxy-self-signed.pem").unlink()
        self.server.read()()
        self.assertEqual(self.shown(), before)


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
        for pair, blamed in (
            ((certificate, another), another),
            ((key, key), key),
            ((certificate, certificate), certificate),
            ((absent, key), absent),
            ((certificate, absent), absent),
        ):
            tls = config.Tls(certificate=pair[0], private_key=pair[1])
            error = self.assertRaises(
                CertificateError, serverContextFactory, tls, self.directory, ["example.com"]
            )
            self.assertIn(str(blamed), error.text)

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
