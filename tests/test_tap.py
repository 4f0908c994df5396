from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL.crypto import X509
from twisted.application.internet import TimerService
from twisted.application.service import IServiceCollection
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.certificates import Authority, selfSigned
from xmpproxy import tap
from xmpproxy.config import FLAGS
from xmpproxy.configfile import fromFlags, load
from xmpproxy.downstreamtls import ServerTLS
from xmpproxy.lab.server import freePort
from xmpproxy.tap import Options

ROOT = Path(__file__).parents[1]
TAC = str(ROOT / "xmpproxy.tac")
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")
DOMAIN = '[[domain]]\nname = "example.com"\n'
GOOD = '[[listen]]\nendpoint = "tcp:0:interface=127.0.0.1"\ntls = "none"\n' + DOMAIN


class OptionsTests(SynchronousTestCase):
    def parse(self, *arguments: str) -> Options:
        options = Options()
        options.parseOptions(arguments)
        return options

    def refused(self, *arguments: str) -> str:
        return str(self.assertRaises(UsageError, self.parse, *arguments))

    def test_file(self) -> None:
        path = self.mktemp()
        Path(path).write_text(GOOD)
        self.assertEqual(self.parse("--config", path).config, load(path))
        self.assertEqual(self.parse("-c", path).config, load(path))

    def test_flags(self) -> None:
        self.assertEqual(
            self.parse("--domain", "example.com", "--upstream-tls=direct").config,
            fromFlags({"domain": "example.com", "upstream-tls": "direct"}),
        )

    def test_both(self) -> None:
        self.assertEqual(
            self.refused("--config=x", "--listen=tcp:1", "--domain=a"),
            "--config excludes --domain, --listen; write the like into the file",
        )

    def test_neither(self) -> None:
        self.assertEqual(self.refused(), "name a configuration file with --config, or use --domain")

    def test_problems(self) -> None:
        error = self.assertRaises(SystemExit, self.parse, "--config=nope.toml")
        self.assertEqual(str(error), "nope.toml: no such file; name the configuration file")
        error = self.assertRaises(SystemExit, self.parse, "--domain=a b", "--listen=5222")
        self.assertEqual(
            str(error).partition("(")[0], "--listen: '5222' is not a Twisted server endpoint "
        )


class TicketTests(SynchronousTestCase):
    def test_keys(self) -> None:
        """The keys of TLS tickets change twice a day."""
        self.patch(tap, "_endWithZero", lambda reactor: None)
        self.patch(tap, "_stderr", lambda: None)
        changes = []
        self.patch(ServerTLS, "renewTickets", lambda tls: changes.append(tls))
        certificate, key = selfSigned("a").write(Path(self.mktemp()).parent, "a")
        flags = {"domain": "a", "certificate": str(certificate), "private-key": str(key)}
        service = IServiceCollection(tap.serviceOf(fromFlags(flags)))
        (timer,) = (each for each in service if isinstance(each, TimerService))
        timer.clock = Clock()
        timer.startService()
        self.addCleanup(timer.stopService)
        before = len(changes)
        timer.clock.pump(24 * [3600])
        self.assertEqual(len(changes), before + 2)


class Process(ProcessProtocol):
    """
    A twistd that is to run.

    @ivar listening: fires when it says that it listens.
    @ivar ended: fires with its exit code, or with why it has none.
    """

    output = b""

    def __init__(self) -> None:
        self.listening: Deferred[None] = Deferred()
        self.ended: Deferred[int] = Deferred()
        self._awaited: list[tuple[bytes, Deferred[None]]] = []

    def says(self, text: str) -> Deferred[None]:
        """Fires when that is in what it says from now on."""
        self.output = b""
        self._awaited.append((text.encode(), Deferred()))
        return self._awaited[-1][1]

    def outReceived(self, data: bytes) -> None:
        self.output += data
        while self._awaited and self._awaited[0][0] in self.output:
            self._awaited.pop(0)[1].callback(None)
        if b"listening on" in self.output and not self.listening.called:
            self.listening.callback(None)

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        if not self.listening.called:
            self.listening.errback(AssertionError(self.output.decode()))
        code = getattr(reason.value, "exitCode", None)
        if code is None:
            self.ended.errback(reason)
        else:
            self.ended.callback(code)


@implementer(IReadDescriptor)
class Exit:
    """
    Notices when a process ends that is not our child.

    @ivar seen: fires then.
    """

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)
        self.seen: Deferred[None] = Deferred()
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "exit"

    def doRead(self) -> None:
        self.connectionLost()
        self.seen.callback(None)

    def connectionLost(self, reason: object = None) -> None:
        reactor.removeReader(self)
        os.close(self._descriptor)


class TwistdTestCase(TestCase):
    """Runs the real twistd, in a directory of its own with a configuration file."""

    timeout = 60

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.pidFile = self.directory / "twistd.pid"

    def configure(self, text: str) -> None:
        (self.directory / "xmpproxy.toml").write_text(text)

    def environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), **changes}

    async def twistd(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """
        Run twistd to its end.

        @return: exit code, standard output, standard error. As all who hold these open must have
            ended by then, no daemon is left either.
        """
        out, err, code = await getProcessOutputAndValue(
            sys.executable,
            (*TWISTD, *arguments),
            env=self.environment(environment),
            path=str(self.directory),
        )
        return code, out.decode(), err.decode()

    def spawn(self, command: tuple[str, ...], **options: Any) -> tuple[Process, Any]:
        """Start a process that goes on, and make sure that it will not outlive the test."""
        process = Process()
        options["env"] = self.environment(options.get("env", {}))
        transport = reactor.spawnProcess(
            process, command[0], command, path=str(self.directory), **options
        )

        def end() -> Deferred[None]:
            process.ended.addBoth(lambda _: None)
            if transport.pid is not None:
                transport.signalProcess("KILL")
            return process.ended  # type: ignore[return-value]

        self.addCleanup(end)
        return process, transport


class HelpTests(TwistdTestCase):
    async def test_listed(self) -> None:
        code, out, _ = await self.twistd("--help")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"(?m)^ +xmpproxy +\w")

    async def test_flags(self) -> None:
        """Every flag is listed with its help."""
        code, out, _ = await self.twistd("xmpproxy", "--help")
        self.assertEqual(code, 0)
        together = "".join(out.split())  # lines are wrapped, at hyphens too
        for flag, (_, help) in FLAGS.items():
            self.assertIn(f"--{flag}={help}".replace(" ", ""), together)
        self.assertIn("-c,--config=Configurationfile,inTOML", together)


class RefusalTests(TwistdTestCase):
    """The start is refused: one line for each problem, no traceback, nothing left running."""

    async def assertRefused(self, *lines: str) -> None:
        """By the plugin, in the foreground and as a daemon, and by the .tac."""
        plugin = ("xmpproxy", "--config", "xmpproxy.toml")
        for arguments in ("--nodaemon", *plugin), plugin, ("--nodaemon", "--python", TAC):
            code, out, err = await self.twistd(*arguments)
            self.assertEqual((code, err.splitlines()), (1, list(lines)))
            self.assertNotIn("Traceback", out)
        left = {path.name for path in self.directory.iterdir()} - {"xmpproxy.toml"}
        self.assertEqual({name for name in left if not name.endswith((".pem", ".key"))}, set())

    async def test_unknownKey(self) -> None:
        self.configure(GOOD + "upstream-tsl = 1")
        await self.assertRefused(
            "xmpproxy.toml: domain[0].upstream-tsl: unknown key; did you mean upstream-tls?"
        )

    async def test_missingFile(self) -> None:
        await self.assertRefused("xmpproxy.toml: no such file; name the configuration file")

    async def test_two(self) -> None:
        """Two listeners on one port, and no domain."""
        self.configure('[[listen]]\nendpoint = "tcp:1"\n' * 2)
        await self.assertRefused(
            "xmpproxy.toml: listen[1].endpoint: tcp:1 is taken by listen[0].endpoint; "
            "write another port or another interface",
            'xmpproxy.toml: domain: missing; write [[domain]] and name = "example.com"',
        )

    async def test_plaintext(self) -> None:
        self.configure('[[listen]]\nendpoint = "tcp:0:interface=0.0.0.0"\ntls = "none"\n' + DOMAIN)
        await self.assertRefused(
            'xmpproxy.toml: listen[0].tls: "none" sends passwords in the clear, and '
            'tcp:0:interface=0.0.0.0 is not on loopback; write "starttls", or add '
            ":interface=127.0.0.1 to the endpoint, or accept the risk with "
            "accept-plaintext = true in the configuration file"
        )

    async def test_otherKey(self) -> None:
        certificate, _ = selfSigned("a").write(self.directory, "a")
        _, key = selfSigned("b").write(self.directory, "b")
        self.configure(GOOD + '[tls]\ncertificate = "a.pem"\nprivate-key = "b.key"')
        await self.assertRefused(
            f"xmpproxy.toml: tls.private-key: {key} is not the key of {certificate}; write the "
            "file of its key (and the domain's own certificate must be the first in its file)"
        )

    async def test_weakKey(self) -> None:
        """What only OpenSSL finds wrong."""
        identity = Authority().issue("a", key=rsa.generate_private_key(65537, 1024))
        identity.write(self.directory, "a")
        listen = GOOD.replace('"none"', '"direct"')
        self.configure(listen + '[tls]\ncertificate = "a.pem"\nprivate-key = "a.key"')
        await self.assertRefused(
            "xmpproxy.toml: tls.certificate: OpenSSL refuses the certificate or its key: ee key too"
            " small; get another"
        )

    async def test_flag(self) -> None:
        code, out, err = await self.twistd("-n", "xmpproxy", "--domain", "a", "--auth", "none")
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(
            err.splitlines(),
            ['--auth: must be "auto", "relay" or "terminate", not "none"; write one of these'],
        )


class Visitor(Protocol):
    """
    A client that only says hello.

    @ivar answered: fires when the proxy has answered.
    @ivar certificate: what that shows.
    """

    def __init__(self) -> None:
        self.answered: Deferred[None] = Deferred()
        self.certificate: x509.Certificate | None = None
        self._came = b""

    def hello(self) -> Deferred[None]:
        assert self.transport is not None
        self.transport.write(
            b"<stream:stream to='example.org' version='1.0' xmlns='jabber:client'"
            b" xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        return self.answered

    def dataReceived(self, data: bytes) -> None:
        self._came += data
        shown: X509 = self.transport.getPeerCertificate()  # type: ignore[union-attr]
        self.certificate = shown.to_cryptography()
        if not self.answered.called and b"host-unknown" in self._came:
            self.answered.callback(None)


class HangUpTests(TwistdTestCase):
    """SIGHUP."""

    COMMAND = (sys.executable, *TWISTD, "-n", "xmpproxy", "-c", "xmpproxy.toml")

    async def visit(self) -> Visitor:
        options = CertificateOptions(verify=False)
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.port)
        visitor = Visitor()
        await connectProtocol(wrapClientTLS(options, endpoint), visitor)
        return visitor

    async def test_certificate(self) -> None:
        """Who comes sees the new one, if it is good; who is there goes on."""
        self.port = freePort()
        self.configure(
            f'[[listen]]\nendpoint = "tcp:{self.port}:interface=127.0.0.1"\ntls = "direct"\n'
            '[tls]\ncertificate = "a.pem"\nprivate-key = "a.key"\n'
            '[[domain]]\nname = "example.com"\nupstream-trust = "b.pem"\n'
        )
        first, second = selfSigned("example.com"), selfSigned("example.com")
        certificate, _ = first.write(self.directory, "a")
        trust, _ = second.write(self.directory, "b")
        process, transport = self.spawn(self.COMMAND)
        await process.listening
        early = await self.visit()
        second.write(self.directory, "a")
        read = process.says("certificates and keys are read again")
        transport.signalProcess("HUP")
        await read
        self.assertIn(f"clients see the certificate in {certificate}".encode(), process.output)
        late = await self.visit()
        await gatherResults([early.hello(), late.hello()])
        self.assertEqual(early.certificate, first.certificate)
        self.assertEqual(late.certificate, second.certificate)
        certificate.write_bytes(b"no good")
        trust.unlink()
        read = process.says(f"no such file: {trust}; write the path of one")
        transport.signalProcess("HUP")
        await read
        problem = f"{certificate} holds no PEM certificate; write a file that does"
        self.assertIn(f"{problem} (the old one stays in use)".encode(), process.output)
        later = await self.visit()
        await later.hello()
        self.assertEqual(later.certificate, second.certificate)
        transport.signalProcess("TERM")
        self.assertEqual(await process.ended, 0)

    async def test_terminal(self) -> None:
        """In a terminal that is closed it ends."""
        self.configure(GOOD)
        process, transport = self.spawn(self.COMMAND, usePTY=True)
        await process.listening
        transport.loseConnection()
        self.assertEqual(await process.ended, 0)
        self.assertFalse(self.pidFile.exists())


class PortInUseTests(TwistdTestCase):
    def setUp(self) -> None:
        super().setUp()
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        self.endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        self.configure(f'{GOOD}[[listen]]\nendpoint = "{self.endpoint}"\ntls = "none"\n')
        self.line = (
            f"xmpproxy.toml: listen[1].endpoint: {self.endpoint}: Address already in use; "
            "stop what listens there, or write another port"
        )

    def assertRefused(self, code: int, log: str) -> None:
        self.assertEqual(code, 1)
        self.assertEqual(log.count(self.line), 1)
        self.assertNotIn("Traceback", log)
        self.assertFalse(self.pidFile.exists())

    async def test_foreground(self) -> None:
        code, out, err = await self.twistd("--nodaemon", "xmpproxy", "--config", "xmpproxy.toml")
        self.assertEqual(err.splitlines(), [self.line])
        self.assertRefused(code, out)

    async def test_daemon(self) -> None:
        code, _, err = await self.twistd("xmpproxy", "--config", "xmpproxy.toml")
        self.assertEqual(err.splitlines()[0], self.line)
        self.assertRefused(code, (self.directory / "twistd.log").read_text())

    async def test_tac(self) -> None:
        code, out, err = await self.twistd("--nodaemon", "--python", TAC)
        self.assertEqual(err.splitlines(), [self.line])
        self.assertRefused(code, out)

    async def test_tacDaemon(self) -> None:
        (self.directory / "xmpproxy.toml").rename(self.directory / "other.toml")
        code, _, err = await self.twistd("--python", TAC, XMPPROXY_CONFIG="other.toml")
        self.line = self.line.replace("xmpproxy.toml", "other.toml")
        self.assertEqual(err.splitlines()[0], self.line)
        self.assertRefused(code, (self.directory / "twistd.log").read_text())

    async def test_flags(self) -> None:
        code, _, err = await self.twistd(
            *("--nodaemon", "xmpproxy", "--domain", "a"),
            *("--listen", self.endpoint, "--listen-tls", "none"),
        )
        self.assertEqual(code, 1)
        self.assertEqual(
            err.splitlines(),
            [
                f"--listen: {self.endpoint}: Address already in use; "
                "stop what listens there, or write another port"
            ],
        )


class RunTests(TwistdTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.configure(GOOD)

    async def assertStops(self, process: Process, transport: Any) -> None:
        await process.listening
        self.assertTrue(self.pidFile.exists())
        transport.signalProcess("TERM")
        self.assertEqual(await process.ended, 0)
        self.assertFalse(self.pidFile.exists())
        self.assertNotIn(b"Traceback", process.output)

    async def test_foreground(self) -> None:
        """SIGTERM ends it with exit code 0."""
        command = (sys.executable, *TWISTD, "-n", "xmpproxy", "-c", "xmpproxy.toml")
        await self.assertStops(*self.spawn(command))

    async def test_tac(self) -> None:
        await self.assertStops(*self.spawn((sys.executable, *TWISTD, "-n", "-y", TAC)))

    async def test_systemd(self) -> None:
        """A socket that systemd opened is taken, behind the PROXY protocol too."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.configure(
                GOOD.replace("tcp:0:", "haproxy:systemd:domain=INET:name=c2s:").replace(
                    ":interface=127.0.0.1", ""
                )
            )
            command = ("/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", sys.executable)
            process, transport = self.spawn(
                (*command, *TWISTD, "-n", "xmpproxy", "-c", "xmpproxy.toml"),
                env={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "c2s"},
                childFDs={0: "w", 1: "r", 2: "r", 3: listener.fileno()},
            )
        await self.assertStops(process, transport)

    async def test_daemon(self) -> None:
        """As a daemon it lets go of the terminal, and cleans up when it ends."""
        code, out, err = await self.twistd("xmpproxy", "--config", "xmpproxy.toml")
        self.assertEqual((code, out, err), (0, "", ""))
        pid = int(self.pidFile.read_text())
        ended = Exit(pid).seen
        os.kill(pid, signal.SIGTERM)
        await ended
        self.assertFalse(self.pidFile.exists())
        log = (self.directory / "twistd.log").read_text()
        self.assertNotIn("Traceback", log)
        self.assertIsNotNone(re.search("Server Shut Down", log))
