from __future__ import annotations

import errno
import json
import os
import pwd
import re
import socket
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import Authority, selfSigned
from xmpproxy.config import (
    FLAGS,
    Client,
    Config,
    Domain,
    Limits,
    Listen,
    Mirror,
    Sections,
    StreamManagement,
    Tls,
)
from xmpproxy.configfile import ConfigError, fromFlags, load

LISTEN = '[[listen]]\nendpoint = "tcp:5222"\n'
DOMAIN = '[[domain]]\nname = "example.com"\n'


class ConfigTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.path = self.directory / "xmpproxy.toml"

    def load(self, text: str) -> Config:
        self.path.write_text(text, encoding="utf-8")
        return load(self.path)

    def problems(self, text: str) -> list[str]:
        """What is wrong with a file, each line without the file's name."""
        error = self.assertRaises(ConfigError, self.load, text)
        return self.withoutFile(error)

    def withoutFile(self, error: ConfigError) -> list[str]:
        start = f"{self.path}: "
        lines = str(error).split("\n")
        self.assertEqual(tuple(lines), error.problems)
        for line in lines:
            self.assertTrue(line.startswith(start), line)
        return [line.removeprefix(start) for line in lines]

    def assertProblem(self, text: str, problem: str) -> None:
        self.assertEqual(self.problems(text), [problem])


class WhatIsRightTests(ConfigTestCase):
    def test_defaults(self) -> None:
        self.assertEqual(
            self.load(LISTEN + DOMAIN),
            Config(
                listen=(
                    Listen(
                        endpoint="tcp:5222",
                        tls="starttls",
                        accept_plaintext=False,
                        plain_copies=None,
                    ),
                ),
                tls=Tls(certificate=None, private_key=None),
                domain=(
                    Domain(
                        name="example.com",
                        upstream=None,
                        upstream_tls="starttls",
                        upstream_trust=None,
                        auth="auto",
                        registration=False,
                        accept_plaintext=False,
                        upstream_resume=False,
                    ),
                ),
                mirror=Mirror(
                    server_carbons="auto",
                    plain_copies="prefix",
                    prefix="me@{resource}: ",
                    client=(),
                ),
                limits=Limits(
                    stanza_bytes=262144,
                    login_stanza_bytes=16384,
                    depth=200,
                    attributes=256,
                    namespaces=8192,
                    login_seconds=60.0,
                    bytes_per_second=1048576,
                    queue_bytes=1048576,
                    all_queues_bytes=536870912,
                ),
                stream_management=StreamManagement(idle_seconds=300.0),
                directory=self.directory,
                file=str(self.path),
            ),
        )

    def test_everything(self) -> None:
        """Every key is taken, and relative paths are relative to the file."""
        authority = Authority()
        authority.issue("example.com").write(self.directory)
        authority.write(self.directory / "ca.pem")
        config = self.load(
            """
            [[listen]]
            endpoint = "haproxy:tcp:5223"
            tls = "direct"
            plain-copies = "self"
            [[listen]]
            endpoint = "tcp6:5222:interface=2001\\\\:db8\\\\:\\\\:1"
            tls = "none"
            accept-plaintext = true
            [tls]
            certificate = "server.pem"
            private-key = "server.key"
            [[domain]]
            name = "example.com"
            upstream = "tcp:127.0.0.1:15222"
            upstream-tls = "none"
            upstream-trust = "ca.pem"
            auth = "terminate"
            registration = true
            upstream-resume = true
            [[domain]]
            name = "example.org"
            [mirror]
            server-carbons = "ignore"
            plain-copies = "off"
            prefix = "{{{resource}}} "
            [[mirror.client]]
            resource = "bot-*"
            plain-copies = "self"
            [[mirror.client]]
            resource = "*"
            alias = "<{mobile}>"
            [limits]
            stanza-bytes = 10000
            depth = 5
            login-seconds = 0.5
            bytes-per-second = 0
            queue-bytes = 1
            all-queues-bytes = 2
            [stream-management]
            idle-seconds = 0
            """
        )
        self.assertEqual([one.endpoint[:5] for one in config.listen], ["hapro", "tcp6:"])
        self.assertEqual(config.tls.certificate, self.directory / "server.pem")
        self.assertEqual(config.tls.private_key, self.directory / "server.key")
        self.assertEqual(config.domain[0].upstream_trust, self.directory / "ca.pem")
        self.assertEqual(config.mirror.prefix.format(resource="home"), "{home} ")
        self.assertEqual(
            config.mirror.client,
            (
                Client(resource="bot-*", plain_copies="self", alias=None),
                Client(resource="*", plain_copies=None, alias="<{mobile}>"),
            ),
        )
        self.assertEqual(config.limits.login_seconds, 0.5)
        self.assertEqual(config.limits.bytes_per_second, 0)
        self.assertEqual(config.stream_management.idle_seconds, 0)

    def test_modes(self) -> None:
        """What is said of a client counts before its listener, and that before the rest."""
        bots = Client(resource="bot-*", plain_copies="off")
        mirror = Mirror(plain_copies="prefix", client=(bots,))
        listen, quiet = Listen(endpoint="tcp:1"), Listen(endpoint="tcp:2", plain_copies="self")
        for resource, at, mode in (
            ("home", listen, "prefix"),
            ("home", quiet, "self"),
            ("bot-7", listen, "off"),
            ("bot-7", quiet, "off"),
            ("Bot-7", listen, "prefix"),  # resources differ in case (RFC 7622, section 3.4)
            ("a-bot-7", listen, "prefix"),
            ("bot-7\nx", listen, "off"),
        ):
            self.assertEqual(mirror.modeOf(resource, at), mode, resource)

    def test_firstClientCounts(self) -> None:
        """For each key it is the first that matches and has it."""
        mirror = Mirror(
            client=(
                Client(resource="bot-1", alias="one"),
                Client(resource="bot-?", alias="bot", plain_copies="off"),
                Client(resource="*", alias="any", plain_copies="self"),
            )
        )
        listen = Listen(endpoint="tcp:1")
        for resource, name, mode in (
            ("bot-1", "one", "off"),
            ("bot-2", "bot", "off"),
            ("bot-10", "any", "self"),
        ):
            self.assertEqual(mirror.nameOf(resource), name)
            self.assertEqual(mirror.modeOf(resource, listen), mode)

    def test_namesOfClients(self) -> None:
        """Without an alias it is the resource, whatever that looks like."""
        mirror = Mirror(client=(Client(resource="bot-*", plain_copies="off"),))
        for resource in ("home", "bot-1", "[a-z]*", ""):
            self.assertEqual(mirror.nameOf(resource), resource)

    def test_names(self) -> None:
        """Domain names are prepared (RFC 3491), and lose the dot at their end (RFC 7622)."""
        config = self.load(LISTEN + '[[domain]]\nname = "BÜCHER。Example."')
        self.assertEqual(config.domain[0].name, "bücher.example")

    def test_unixPath(self) -> None:
        """A UNIX socket's path is relative to the file, as all paths are."""
        config = self.load(
            '[[listen]]\nendpoint = "haproxy:unix:c2s.sock:mode=600"\ntls = "none"\n'
            '[[domain]]\nname = "a"\nupstream = "unix:/run/s.sock"\nupstream-tls = "none"'
        )
        self.assertEqual(
            config.listen[0].endpoint, f"haproxy:unix:{self.directory}/c2s.sock:mode=600"
        )
        self.assertEqual(config.domain[0].upstream, "unix:/run/s.sock")

    def test_loopback(self) -> None:
        for endpoint in (
            "tcp:5222:interface=127.3.2.1",
            "tcp:5222:interface=localhost",
            "tcp6:5222:interface=\\\\:\\\\:1",
            "haproxy:tcp:5222:interface=127.0.0.1",
            "unix:/run/c2s.sock",
        ):
            self.load(f'[[listen]]\nendpoint = "{endpoint}"\ntls = "none"\n' + DOMAIN)
        for endpoint in ("tcp:127.0.0.1:5222", "tcp:localhost:5222", "tcp:host=\\\\:\\\\:1:port=1"):
            self.load(LISTEN + f'{DOMAIN}upstream = "{endpoint}"\nupstream-tls = "none"')

    def test_apart(self) -> None:
        """Listeners that one machine can have side by side."""
        endpoints = [
            "tcp:5222:interface=127.0.0.1",
            "tcp:5222:interface=127.0.0.2",
            "tcp6:5222:interface=\\\\:\\\\:1",
            "tcp:5223",
            "tcp:0",
            "tcp:0",
            "unix:a",
            "unix:b",
        ]
        self.load("".join(f'[[listen]]\nendpoint = "{one}"\n' for one in endpoints) + DOMAIN)

    def test_opensNothing(self) -> None:
        """A port that is in use is no problem of the configuration."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.load(f'[[listen]]\nendpoint = "tcp:{port}:interface=127.0.0.1"\n' + DOMAIN)

    def test_frozen(self) -> None:
        config = self.load(LISTEN + DOMAIN)
        self.assertRaises(ValidationError, setattr, config.domain[0], "name", "example.org")

    def test_where(self) -> None:
        config = self.load(LISTEN + DOMAIN)
        self.assertEqual(config.where("listen", 0, "endpoint"), f"{self.path}: listen[0].endpoint")


class WhatIsWrongTests(ConfigTestCase):
    def test_allAtOnce(self) -> None:
        """Every problem is named in one run, those behind another one included."""
        self.assertEqual(
            self.problems(
                """
                [[listen]]
                endpoint = "tcp:5222"
                tls = "startls"
                [[listen]]
                endpoint = "tcp:5222"
                plain-copies = false
                [tls]
                certificate = "nope.pem"
                [[domain]]
                upstream-tsl = "none"
                [[domain]]
                name = "example.com"
                upstream-tls = "none"
                [limits]
                depth = "deep"
                """
            ),
            [
                'listen[0].tls: must be "starttls", "direct" or "none", not "startls"; '
                'did you mean "starttls"?',
                'listen[1].plain-copies: must be "prefix", "self" or "off", not false; '
                "write one of these",
                'domain[0].name: missing; write for example name = "example.com"',
                "domain[0].upstream-tsl: unknown key; did you mean upstream-tls?",
                'limits.depth: must be a whole number, not "deep"; '
                "write digits only, without quotes",
                "listen[1].endpoint: tcp:5222 is taken by listen[0].endpoint; "
                "write another port or another interface",
                "tls.private-key: missing beside certificate; write both, "
                "or neither for a self-signed certificate",
                f"tls.certificate: no such file: {self.directory}/nope.pem; "
                "write the path of one, relative to the configuration file",
                'domain[1].upstream-tls: "none" sends passwords in the clear, and what DNS names '
                'is not on loopback; write "starttls", or an upstream on 127.0.0.1, or accept the '
                "risk with accept-plaintext = true in the configuration file",
            ],
        )

    def test_noConsequences(self) -> None:
        """What only follows from another problem is not one."""
        for text, place in (
            ('[[listen]]\nendpoint = 1\ntls = "none"\n' + DOMAIN, "listen[0].endpoint"),
            (
                LISTEN + 'tls = "none"\naccept-plaintext = "yes"\n' + DOMAIN,
                "listen[0].accept-plaintext",
            ),
            (LISTEN + DOMAIN + "[tls]\ncertificate = 1\nprivate-key = 2", "tls.certificate"),
            (LISTEN + 'domain = "example.com"', "listen[0].domain"),
            (LISTEN + '[domain]\nname = "example.com"', "domain"),
            ("domain = [1, 2]\n" + LISTEN, "domain[0]"),
            (LISTEN + '[[domain]]\nname = "a/b"\n[[domain]]\nname = "a/b"', "domain[0].name"),
        ):
            places = [line.partition(": ")[0] for line in self.problems(text)]
            self.assertIn(place, places)
            self.assertLessEqual(len(places), 2, places)
            self.assertEqual(len(places), len(set(places)))

    def test_sections(self) -> None:
        self.assertEqual(
            self.problems(""),
            [
                'listen: missing; write [[listen]] and endpoint = "tcp:5222"',
                'domain: missing; write [[domain]] and name = "example.com"',
            ],
        )
        self.assertProblem(
            '[listen]\nendpoint = "tcp:5222"\n' + DOMAIN,
            "listen: must be a list of sections; write [[listen]], in double brackets",
        )
        self.assertProblem(
            LISTEN + DOMAIN + "[[tls]]",
            "tls: must be one section; write [tls], in single brackets",
        )
        self.assertProblem(
            "domain = [1]\n" + LISTEN,
            "domain[0]: must be a section; write [[domain]] and its keys below",
        )

    def test_unknownKeys(self) -> None:
        self.assertProblem(
            LISTEN + "accept_plaintext = true\n" + DOMAIN,
            "listen[0].accept_plaintext: unknown key; did you mean accept-plaintext?",
        )
        self.assertProblem(
            LISTEN + DOMAIN + '[mirror]\n"x\\ny" = 1',
            'mirror."x\\ny": unknown key; '
            "the keys here are server-carbons, plain-copies, prefix, client",
        )
        for key in ("directory", "file"):  # what Config knows, but no file can say
            (problem,) = self.problems(f'{key} = "/"\n' + LISTEN + DOMAIN)
            self.assertIn("unknown key", problem)

    def test_types(self) -> None:
        for key, value, problem in (
            (
                "depth",
                "true",
                "must be a whole number, not true; write digits only, without quotes",
            ),
            ("depth", "1.5", "must be a whole number, not 1.5; write digits only, without quotes"),
            ("depth", "0", "must be more than 0, not 0; the default is 200"),
            ("depth", "501", "must be 500 at most, not 501; the default is 200"),
            ("login-seconds", "-1", "must be more than 0, not -1; the default is 60.0"),
            ("login-seconds", "nan", "must be a number, not NaN; write digits, without quotes"),
            (
                "login-seconds",
                "inf",
                "must be a number, not Infinity; write digits, without quotes",
            ),
            ("login-seconds", '"1"', 'must be a number, not "1"; write digits, without quotes'),
        ):
            self.assertProblem(
                LISTEN + DOMAIN + f"[limits]\n{key} = {value}", f"limits.{key}: {problem}"
            )
        self.assertProblem(
            LISTEN + DOMAIN + "[stream-management]\nidle-seconds = -1",
            "stream-management.idle-seconds: must be 0 or more, not -1; the default is 300.0",
        )
        self.assertProblem(
            LISTEN + DOMAIN + "registration = 1",
            "domain[0].registration: must be true or false, not 1; "
            "write one of them, without quotes",
        )
        self.assertProblem(
            LISTEN + DOMAIN + "upstream-trust = 2026-01-01",
            'domain[0].upstream-trust: must be a string, not "2026-01-01"; put it in quotes',
        )

    def test_domainName(self) -> None:
        for name in ("", ".", "a..b", "a b", "user@example.com", "example.com/x", "-a", "[::1]"):
            self.assertProblem(
                LISTEN + f'[[domain]]\nname = "{name}"',
                f'domain[0].name: "{name}" is not a domain name; write one such as example.com',
            )

    def test_sameDomain(self) -> None:
        self.assertProblem(
            LISTEN + DOMAIN + '[[domain]]\nname = "Example.COM."',
            "domain[1].name: example.com is domain[0].name already; keep one of the two",
        )
        self.assertProblem(
            LISTEN + '[[domain]]\nname = "xn--mnchen-3ya.example"\n'
            '[[domain]]\nname = "münchen.example"',
            "domain[1].name: münchen.example is domain[0].name already; keep one of the two",
        )

    def test_endpoints(self) -> None:
        for endpoint, problem in (
            ("5222", "'5222' is not a Twisted server endpoint (Unknown endpoint type: '5222')"),
            ("tcp", "'tcp' is not a Twisted server endpoint"),
            ("haproxy:nope:1", "is not a Twisted server endpoint (Unknown endpoint type: 'nope')"),
            ("tcp:5222:colour=red", "is not a Twisted server endpoint;"),
            ("tcp:65536", "tcp:65536 has no possible port; write one from 0 to 65535"),
            ("haproxy:tcp:-1", "haproxy:tcp:-1 has no possible port"),
            ("ssl:5223:privateKey=/nope", "No such file or directory"),
            ("systemd:domain=INET:index=0", "systemd passed no such socket as systemd:domain"),
            ("systemd:domain=INET:name=c2s", "start xmpproxy by its .socket unit"),
            ("haproxy:systemd:domain=INET:index=0", "systemd passed no such socket"),
        ):
            (found,) = self.problems(f'[[listen]]\nendpoint = "{endpoint}"\n' + DOMAIN)
            self.assertTrue(found.startswith("listen[0].endpoint: "), found)
            self.assertIn(problem, found)
        for endpoint, problem in (
            ("tcp:5222", "is not a Twisted client endpoint; write one such as tcp:127.0.0.1:5222"),
            ("tcp:example.com:x", "is not a Twisted client endpoint"),
            ("tcp:example.com:0", "has no possible port; write one from 1 to 65535"),
        ):
            (found,) = self.problems(LISTEN + DOMAIN + f'upstream = "{endpoint}"')
            self.assertTrue(found.startswith("domain[0].upstream: "), found)
            self.assertIn(problem, found)

    def test_samePort(self) -> None:
        for one, other in (
            ("tcp:5222", "haproxy:tcp:5222:interface=127.0.0.1"),
            ("tcp:5222:interface=127.0.0.1", "tcp:5222:interface=localhost"),
            ("tcp6:5222", "tcp:5222"),
            ("unix:a.sock", "unix:a.sock:mode=600"),
        ):
            (problem,) = self.problems(
                f'[[listen]]\nendpoint = "{one}"\n[[listen]]\nendpoint = "{other}"\n' + DOMAIN
            )
            self.assertTrue(problem.startswith("listen[1].endpoint: "), problem)
            self.assertTrue(
                problem.endswith(
                    "is taken by listen[0].endpoint; write another port or another interface"
                ),
                problem,
            )

    def test_plaintext(self) -> None:
        """TLS is not done without where others can listen in, unless the risk is accepted."""
        for endpoint in ("tcp:5222", "tcp:5222:interface=10.0.0.1", "tcp6:5222", "haproxy:tcp:1"):
            text = f'[[listen]]\nendpoint = "{endpoint}"\ntls = "none"\n'
            (problem,) = self.problems(text + DOMAIN)
            self.assertTrue(
                problem.startswith('listen[0].tls: "none" sends passwords in the clear, and '),
                problem,
            )
            self.load(text + "accept-plaintext = true\n" + DOMAIN)
        for upstream in ("", 'upstream = "tcp:10.0.0.1:5222"\n', 'upstream = "tls:localhost:1"\n'):
            text = LISTEN + DOMAIN + 'upstream-tls = "none"\n' + upstream
            (problem,) = self.problems(text)
            self.assertTrue(
                problem.startswith('domain[0].upstream-tls: "none" sends passwords in the clear'),
                problem,
            )
            self.load(text + "accept-plaintext = true\n")

    def test_upstreamResume(self) -> None:
        """Who is to log in again must have done so the first time."""
        for auth, right in (("relay", False), ("terminate", True), ("auto", True)):
            text = LISTEN + DOMAIN + f'upstream-resume = true\nauth = "{auth}"\n'
            if right:
                self.assertTrue(self.load(text).domain[0].upstream_resume)
            else:
                (problem,) = self.problems(text)
                self.assertTrue(problem.startswith("domain[0].upstream-resume: the proxy cannot"))

    def test_client(self) -> None:
        """Sections within a section are called by their whole name."""
        for text, problem in (
            ("", 'resource: missing; write for example resource = "bot-*"'),
            ('resource = ""', 'resource: "" matches no client; write a pattern such as bot-*'),
            ("resource = 7", "resource: must be a string, not 7; put it in quotes"),
            ('resource = "a"\nalais = "b"', "alais: unknown key; did you mean alias?"),
            (
                'resource = "a"\nplain-copies = "none"',
                'plain-copies: must be "prefix", "self" or "off", not "none"; write one of these',
            ),
            (
                'resource = "a"\nalias = " "',
                'alias: " " is no name; write one such as phone, or leave alias out',
            ),
            (
                'resource = "a"\nalias = "\\u001b[1m"',
                'alias: "\\u001b[1m" has a character that XML forbids; take it out',
            ),
        ):
            self.assertProblem(
                LISTEN + DOMAIN + f"[[mirror.client]]\n{text}", f"mirror.client[0].{problem}"
            )
        self.assertProblem(
            LISTEN + DOMAIN + '[mirror.client]\nresource = "a"',
            "mirror.client: must be a list of sections; "
            "write [[mirror.client]], in double brackets",
        )
        self.assertProblem(
            LISTEN + DOMAIN + "[mirror]\nclient = [1]",
            "mirror.client[0]: must be a section; write [[mirror.client]] and its keys below",
        )

    def test_prefix(self) -> None:
        for prefix, problem in (
            ("{}", "has a field other than {resource}"),
            ("{user}: ", "has a field other than {resource}"),
            ("{resource.__class__}", "has a field other than {resource}"),
            ("{resource!r}", "has a field other than {resource}"),
            ("{resource:>9999999999}", "has a field other than {resource}"),
            ("{resource", "has a brace without its other"),
            ("\\u0007", "has a character that XML forbids"),
        ):
            (found,) = self.problems(LISTEN + DOMAIN + f'[mirror]\nprefix = "{prefix}"')
            self.assertTrue(found.startswith("mirror.prefix: "), found)
            self.assertIn(problem, found)

    def tls(self, certificate: str, key: str) -> list[str]:
        return self.problems(
            LISTEN + DOMAIN + f'[tls]\ncertificate = "{certificate}"\nprivate-key = "{key}"'
        )

    def test_certificates(self) -> None:
        certificate, key = (path.name for path in selfSigned("a").write(self.directory, "a"))
        _, other = (path.name for path in selfSigned("b").write(self.directory, "b"))
        locked = selfSigned("c").key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        (self.directory / "locked.key").write_bytes(locked)
        at = self.directory
        self.assertEqual(
            self.tls(certificate, other),
            [
                f"tls.private-key: {at}/b.key is not the key of {at}/a.pem; write the file of its "
                "key (and the domain's own certificate must be the first in its file)"
            ],
        )
        self.assertEqual(
            self.tls(key, certificate),
            [
                f"tls.certificate: {at}/a.key holds no PEM certificate; write a file that does",
                f"tls.private-key: {at}/a.pem holds no PEM private key; write a file that does",
            ],
        )
        self.assertEqual(
            self.tls(certificate, "locked.key"),
            [
                f"tls.private-key: {at}/locked.key is encrypted; "
                "take the passphrase off with openssl pkey"
            ],
        )
        self.assertEqual(
            self.tls(".", key),
            [f"tls.certificate: {at} is not a file; write the path of one"],
        )
        self.assertProblem(
            LISTEN + DOMAIN + f'[tls]\nprivate-key = "{key}"',
            "tls.certificate: missing beside private-key; write both, "
            "or neither for a self-signed certificate",
        )
        self.assertProblem(
            LISTEN + DOMAIN + f'upstream-trust = "{key}"',
            f"domain[0].upstream-trust: {at}/a.key holds no PEM certificate; "
            "write a file that does",
        )

    def test_unreadable(self) -> None:
        certificate, key = selfSigned("a").write(self.directory, "a")

        def refuse(path: Path, flags: int) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

        self.patch(os, "open", refuse)  # who runs the tests may be allowed to read all
        user = pwd.getpwuid(os.geteuid()).pw_name
        mend = f"cannot be read (Permission denied); let the user {user} read it"
        self.assertEqual(
            self.tls(certificate.name, key.name),
            [f"tls.certificate: {certificate} {mend}", f"tls.private-key: {key} {mend}"],
        )

    def test_file(self) -> None:
        """The file itself can be missing, or no TOML."""
        error = self.assertRaises(ConfigError, load, self.path)
        self.assertEqual(self.withoutFile(error), ["no such file; name the configuration file"])
        error = self.assertRaises(ConfigError, load, self.directory)
        self.assertIn("cannot be read (Is a directory); ", str(error))
        (problem,) = self.problems("[[listen]\n")
        self.assertTrue(problem.startswith("is not TOML: "), problem)
        self.assertIn("line 1", problem)
        self.path.write_bytes(b"\xff")
        error = self.assertRaises(ConfigError, load, self.path)
        self.assertEqual(self.withoutFile(error), ["is not UTF-8; save it as UTF-8"])


class FlagsTests(SynchronousTestCase):
    def problems(self, flags: dict[str, str | None]) -> tuple[str, ...]:
        return self.assertRaises(ConfigError, fromFlags, flags).problems  # type: ignore[no-any-return]

    def test_few(self) -> None:
        config = fromFlags({"domain": "Example.com", "upstream": None})
        self.assertEqual(
            config,
            Config(
                listen=(Listen(endpoint="tcp:5222"),),
                domain=(Domain(name="example.com"),),
                directory=Path.cwd(),
            ),
        )
        self.assertEqual(config.where("listen", 0, "endpoint"), "--listen")

    def test_all(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        certificate, key = selfSigned("example.com").write(directory)
        config = fromFlags(
            {
                "domain": "example.com",
                "upstream": "tcp:127.0.0.1:15222",
                "upstream-tls": "none",
                "upstream-trust": str(certificate),
                "auth": "terminate",
                "listen": "tcp:5223",
                "listen-tls": "direct",
                "certificate": str(certificate),
                "private-key": str(key),
                "plain-copies": "off",
            }
        )
        self.assertEqual(
            config,
            Config(
                listen=(Listen(endpoint="tcp:5223", tls="direct"),),
                tls=Tls(certificate=certificate, private_key=key),
                domain=(
                    Domain(
                        name="example.com",
                        upstream="tcp:127.0.0.1:15222",
                        upstream_tls="none",
                        upstream_trust=certificate,
                        auth="terminate",
                    ),
                ),
                mirror=Mirror(plain_copies="off"),
                directory=Path.cwd(),
            ),
        )

    def test_problems(self) -> None:
        """A problem names the flag."""
        self.assertEqual(
            self.problems({"upstream-tls": "startls", "listen-tls": "none"}),
            (
                "--domain: missing; write for example --domain example.com",
                '--upstream-tls: must be "starttls", "direct" or "none", not "startls"; '
                'did you mean "starttls"?',
                '--listen-tls: "none" sends passwords in the clear, and tcp:5222 is not on '
                'loopback; write "starttls", or add :interface=127.0.0.1 to the endpoint, or '
                "accept the risk with accept-plaintext = true in the configuration file",
            ),
        )

    def test_everyFlag(self) -> None:
        """Every flag reaches its key: nonsense for all of them is a problem of each."""
        problems = self.problems({flag: "\0" for flag in FLAGS})
        self.assertEqual(
            sorted(line.partition(": ")[0] for line in problems),
            sorted(f"--{flag}" for flag in FLAGS),
        )


def keysOf(model: type[BaseModel]) -> set[str]:
    return {name.replace("_", "-") for name in model.model_fields}


class ExampleTests(ConfigTestCase):
    """The example has every key, and is right."""

    example = Path(__file__).parents[1] / "docs" / "xmpproxy.example.toml"

    def test_asItIs(self) -> None:
        config = self.load(self.example.read_text())
        self.assertEqual(
            config.model_copy(update={"directory": Path(), "file": ""}),
            Config(listen=(Listen(endpoint="tcp:5222"),), domain=(Domain(name="example.com"),)),
        )

    def test_everyKey(self) -> None:
        commentedOut = re.compile(r"^#(?=[a-z-]+ = |\[\[)", re.MULTILINE)
        text = commentedOut.sub("", self.example.read_text())
        authority = Authority()
        certificate, key = authority.issue("example.com").write(self.directory)
        certificate.rename(self.directory / "fullchain.pem")
        key.rename(self.directory / "privkey.pem")
        authority.write(self.directory / "ca.pem")
        config = self.load(text)
        self.assertEqual(config.domain[0].upstream, "tcp:127.0.0.1:15222")
        for section in (
            config.listen[0],
            config.tls,
            config.domain[0],
            config.mirror,
            config.mirror.client[0],
            config.limits,
            config.stream_management,
        ):
            self.assertEqual(
                {name.replace("_", "-") for name in section.model_fields_set},
                keysOf(type(section)),
            )


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=20)
sections: dict[str, type[BaseModel]] = {
    "listen": Listen,
    "tls": Tls,
    "domain": Domain,
    "mirror": Mirror,
    "limits": Limits,
    "stream-management": StreamManagement,
}
words = st.sampled_from(
    ["tcp:0", "unix:x", "tcp:127.0.0.1:1", "example.org", "starttls", "none", "auto", "a.toml", "."]
)
plain = st.one_of(words, texts, st.booleans(), st.integers(-2, 10**6), st.floats(0, 1))
values = st.one_of(plain, st.lists(plain, max_size=2), st.dictionaries(texts, plain, max_size=1))


def sectionOf(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """A section with keys that it has and, now and then, one that it has not."""
    fields = {name.replace("_", "-"): field for name, field in model.model_fields.items()}
    required = {
        key: st.sampled_from(field.examples or []) | words
        for key, field in fields.items()
        if field.is_required()
    }
    optional = {
        key: st.lists(sectionOf(Client), max_size=3) | values if key == "client" else words | values
        for key in fields
        if key not in required
    }
    right = st.fixed_dictionaries(required, optional=optional)
    wrong = st.dictionaries(st.sampled_from(sorted(fields)) | texts, values, max_size=5)
    return right | right | wrong


def documents() -> st.SearchStrategy[dict[str, Any]]:
    lists = {
        key: st.lists(sectionOf(sections[key]), min_size=1, max_size=3)
        for key in ("listen", "domain")
    }
    singles = {key: sectionOf(sections[key]) for key in sections if key not in lists}
    right = st.fixed_dictionaries({**lists}, optional=singles)
    wrong = st.fixed_dictionaries({}, optional={key: values for key in [*sections, "nonsense"]})
    return right | st.builds(lambda one, other: one | other, right, wrong)


class AnyDocumentTests(ConfigTestCase):
    def test_knowsTheSections(self) -> None:
        fields = {name.replace("_", "-") for name in Sections.model_fields}
        self.assertEqual(sections.keys(), fields)

    @settings(deadline=None, max_examples=150)
    @given(documents())
    def test_neverFails(self, document: dict[str, Any]) -> None:
        """Whatever a file holds: it is loaded, or refused with one line for each problem."""
        text = "\n".join(f"{key} = {toml(value)}" for key, value in document.items())
        try:
            self.load(text)
        except ConfigError as error:
            lines = self.withoutFile(error)
            self.assertEqual(len(lines), len(error.problems))
            for line in lines:
                self.assertRegex(line, r"^.+: .+(; .+|\?)$")
