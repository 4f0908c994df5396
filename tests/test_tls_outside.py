"""TLS with clients, as programs from elsewhere see it: OpenSSL's own client, and SSLyze."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from unittest import SkipTest

from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.certificates import Authority
from tests.test_tap import TWISTD, TwistdTestCase
from xmpproxy import config
from xmpproxy.admission import Admission
from xmpproxy.downstream import Downstream, DownstreamFactory, DownstreamOwner
from xmpproxy.downstreamtls import ServerTLS
from xmpproxy.lab.server import freePort
from xmpproxy.limitlog import LimitLog

ROOT = Path(__file__).parents[1]
AUTHORITY = Authority()
GOOD = AUTHORITY.issue("example.com")


def found(program: str) -> str:
    """Where a program is; where it is not, the test is skipped, or fails if it must not be."""
    path = shutil.which(program, path=f"{ROOT / '.venv-scan' / 'bin'}:{os.environ['PATH']}")
    if path is None:
        if os.environ.get("XMPPROXY_REQUIRE_SERVERS") == "1":
            raise AssertionError(f"{program} is not installed")
        raise SkipTest(f"{program} is not installed")
    return path


class Program(ProcessProtocol):
    """
    A program that runs.

    @ivar said: what it has said so far, on both streams.
    """

    def __init__(self, *command: str) -> None:
        self.said = ""
        self._ended: Deferred[None] = Deferred()
        self.process = reactor.spawnProcess(self, command[0], command, env=os.environ)

    def outReceived(self, data: bytes) -> None:
        self.said += data.decode(errors="replace")

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self._ended.callback(None)

    async def ends(self) -> str:
        """What it has said by its end."""
        await self._ended
        return self.said


class Outside(TestCase):
    """Two listeners of one proxy."""

    timeout = 20

    async def setUp(self) -> None:  # type: ignore[override]
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.authority = AUTHORITY.write(self.directory / "ca.pem")
        self.tls = ServerTLS(GOOD.chain, GOOD.key, ["example.com"])
        self.direct = await self.listen("direct")
        self.starttls = await self.listen("starttls")

    async def listen(self, tls: config.TLSMode) -> str:
        """@return: address and port."""

        def login(downstream: Downstream, domain: str) -> DownstreamOwner:
            raise NotImplementedError

        endpoint = "tcp:0:interface=127.0.0.1"
        listen = config.Listen(endpoint=endpoint, tls=tls)
        limits = config.Limits()
        factory = DownstreamFactory(
            listen,
            limits,
            {"example.com"},
            self.tls,
            login,
            Admission(limits, reactor.seconds),
            LimitLog(limits, reactor),
            reactor,
        )
        port = await serverFromString(reactor, endpoint).listen(factory)

        async def stop() -> None:
            await port.stopListening()
            await factory.streams.whenNone()

        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        return f"127.0.0.1:{port.getHost().port}"


class OpenSSLTests(Outside):
    """C{openssl s_client}."""

    async def connects(self, *arguments: str, address: str = "", says: str = "<bye/>") -> str:
        """
        @param says: what the client sends: what ends the stream.
        @return: what it tells of the connection.
        """
        client = Program(
            *(found("openssl"), "s_client", "-connect", address or self.direct),
            *("-CAfile", str(self.authority), *arguments),
        )
        client.process.write(f"{says}\n".encode())
        return await client.ends()

    async def test_versions(self) -> None:
        """TLS 1.2 and 1.3, nothing older."""
        for version in ("TLSv1.2", "TLSv1.3"):
            said = await self.connects(f"-{version.lower().replace('v', '').replace('.', '_')}")
            self.assertIn(f"New, {version}, Cipher is ", said)
            self.assertIn("Verify return code: 0 (ok)", said)
            self.assertIn("Compression: NONE", said)
        for version in ("-tls1", "-tls1_1"):
            said = await self.connects(version, "-cipher", "DEFAULT@SECLEVEL=0")
            self.assertIn("alert protocol version", said)

    async def test_starttls(self) -> None:
        """The same behind STARTTLS."""
        said = await self.connects(
            "-starttls", "xmpp", "-xmpphost", "example.com", address=self.starttls
        )
        self.assertIn("New, TLSv1.3, Cipher is ", said)
        self.assertIn("Verify return code: 0 (ok)", said)

    async def test_unknownName(self) -> None:
        """There is one certificate for all names."""
        for name in ("nobody.example", "a" * 63 + ".example", "-"):
            self.assertIn("New, TLSv1.3", await self.connects("-servername", name))

    async def test_comesAgain(self) -> None:
        """With its ticket, until there are other keys for tickets."""
        for version in ("-tls1_2", "-tls1_3"):
            session = str(self.directory / f"session{version}")
            first = await self.connects(version, "-sess_out", session)
            self.assertRegex(first, "(?m)^New, ")
            again = await self.connects(version, "-sess_in", session)
            self.assertRegex(again, "(?m)^Reused, ")
            for _ in range(2):
                self.tls.renewTickets()
                again = await self.connects(version, "-sess_in", session)
                self.assertRegex(again, "(?m)^New, ")
            later = str(self.directory / f"later{version}")
            await self.connects(version, "-sess_out", later)
            again = await self.connects(version, "-sess_in", later)
            self.assertRegex(again, "(?m)^Reused, ")

    async def test_noEarlyData(self) -> None:
        """What could be replayed is not asked for (RFC 8446, section 8)."""
        self.assertIn("Max Early Data: 0\n", await self.connects("-tls1_3"))

    async def test_noRenegotiation(self) -> None:
        """TLS 1.3 has none, TLS 1.2 gets none."""
        said = await self.connects("-tls1_2", says="R")
        self.assertRegex(said, r"RENEGOTIATING\n.*:no renegotiation:")


async def scan(authority: Path, *arguments: str) -> tuple[str, list[str]]:
    """
    Run C{sslyze}, which tries every version, cipher suite and group, and the attacks that are
    known, and compares what it finds with Mozilla's "intermediate" configuration. On loopback it
    cannot say what public authorities, their logs and OCSP make of the certificate.

    @return: what it says, and what of that Mozilla advises against.
    """
    options = ("--mozilla_config=intermediate", "--early_data", "--resum", "--sni=example.com")
    said = await Program(
        found("sslyze"), *options, f"--certinfo_ca_file={authority}", *arguments
    ).ends()
    _, compared, findings = said.partition("COMPLIANCE")
    assert compared, said
    return said, re.findall(r"(?m)^        \* (.+)", findings)


class SSLyzeTests(Outside):
    """As OpenSSL comes."""

    async def assertGood(self, *arguments: str) -> None:
        said, findings = await scan(self.authority, *arguments)
        # X448 and P-521, which Python cannot have OpenSSL do without
        self.assertEqual(len(findings), 1, said)
        self.assertTrue(findings[0].startswith("tls_curves: "), said)
        self.assertEqual(set(re.findall(r"'(\w+)'", findings[0])), {"X448", "secp521r1"})
        for line in (
            "OK - Compression disabled",
            "OK - Not vulnerable to OpenSSL CCS injection",
            "OK - Not vulnerable to Heartbleed",
            "OK - Not vulnerable, RSA cipher suites not supported",
            "Client Renegotiation DoS Attack:   OK - Not vulnerable",
            "TLS_FALLBACK_SCSV:                 OK - Supported",
            "With TLS Tickets: OK - Supported",
        ):
            self.assertIn(line, said)
        self.assertRegex(said, r"TLS 1.3 Early Data:\s+Not Supported")

    async def test_direct(self) -> None:
        await self.assertGood(self.direct)

    async def test_starttls(self) -> None:
        await self.assertGood("--starttls=xmpp", "--xmpp_to=example.com", self.starttls)


class GroupsTests(TwistdTestCase):
    """Where C{docs/openssl.cnf} is the configuration of OpenSSL, nothing at all is found."""

    async def test_scan(self) -> None:
        authority = AUTHORITY.write(self.directory / "ca.pem")
        key = rsa.generate_private_key(65537, 2048)
        AUTHORITY.issue("example.com", key=key).write(self.directory)
        address = f"127.0.0.1:{freePort()}"
        _, port = address.split(":")
        self.configure(
            f'[[listen]]\nendpoint = "tcp:{port}:interface=127.0.0.1"\ntls = "direct"\n'
            '[[domain]]\nname = "example.com"\n'
            '[tls]\ncertificate = "server.pem"\nprivate-key = "server.key"\n'
        )
        process, _ = self.spawn(
            (sys.executable, *TWISTD, "-n", "xmpproxy", "-c", "xmpproxy.toml"),
            env={"OPENSSL_CONF": str(ROOT / "docs" / "openssl.cnf")},
        )
        await process.listening
        said, findings = await scan(authority, address)
        self.assertEqual(findings, [])
        self.assertIn("OK - Compliant", said)
