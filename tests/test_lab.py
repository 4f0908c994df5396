"""The lab's servers and the test clients, without the proxy."""

from __future__ import annotations

import contextlib  # not "suppress" from it: that name in a test module means something to trial
import os
import select
import shutil
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from unittest import SkipTest

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from tests.rawclient import AuthenticationFailed, RawClient, message
from tests.rawstream import StreamReader
from tests.servers import ServerCase, onServers, realServer
from xmpproxy import lab
from xmpproxy.lab import install

ROOT = Path(__file__).parent.parent


@onServers(*lab.KINDS)
class EveryServerTests(ServerCase):
    """Clients straight at each server."""

    async def test_rawClients(self) -> None:
        """A message gets from one account to another, and back."""
        alice, bob = self.rawClient("alice", "home"), self.rawClient("bob", "work")
        await alice.login()
        await bob.login()
        alice.say(bob.jid.full(), "how are you?")
        got = await bob.expect(message("how are you?"))
        self.assertEqual(got["from"], alice.jid.full())
        self.assertIn(b"how are you?", bob.rawOf(got))
        bob.say(got["from"], "well")
        await alice.expect(message("well", from_=bob.jid.full()))

    async def test_slixmpp(self) -> None:
        """A real client gets a message from a raw one, and answers."""
        alice, bob = self.rawClient("alice", "home"), self.slixClient("bob", "work")
        await alice.login()
        await bob.login()
        alice.say(bob.jid, "how are you?")
        got = await bob.expect(lambda event: event["event"] == "message")
        self.assertEqual((got["from"], got["body"]), (alice.jid.full(), "how are you?"))
        bob.say(got["from"], "well")
        await alice.expect(message("well", from_=bob.jid))

    async def test_wrongPassword(self) -> None:
        """A wrong password is refused."""
        alice = self.rawClient("alice")
        await alice.connect()
        with self.assertRaises(AuthenticationFailed) as caught:
            await alice.authenticate(password="wrong")
        self.assertEqual(caught.exception.condition, "not-authorized")

    def test_onlyLoopback(self) -> None:
        """None of the server's processes listens on an address that others could reach."""
        listeners = _listeningAddresses(self.server.pids)
        self.assertIn(("127.0.0.1", self.server.port), listeners)
        self.assertEqual({address for address, _ in listeners}, {"127.0.0.1"})


@onServers("prosody", "ejabberd", "jabberd2")
class DebianServerTests(ServerCase):
    """What Debian's servers can and pyjabber cannot."""

    async def test_directTls(self) -> None:
        """TLS without STARTTLS, on the other port."""
        assert self.server.tlsPort is not None
        alice = RawClient(
            self.server.host,
            self.server.tlsPort,
            f"alice@{self.server.domain}",
            lab.PASSWORD,
            trust=self.server.trust,
        )
        await alice.login(tls="direct")
        await alice.close()

    async def test_withoutTls(self) -> None:
        """TLS is not required."""
        alice = self.rawClient("alice", "plain")
        await alice.login(tls="none")
        self.assertEqual(alice.jid.resource, "plain")


@onServers("prosody", "ejabberd")
class ModernServerTests(ServerCase):
    """What Prosody and ejabberd can."""

    async def test_scram(self) -> None:
        """SCRAM, and a second try on the same stream."""
        alice = self.rawClient("alice")
        await alice.connect()
        with self.assertRaises(AuthenticationFailed):
            await alice.authenticate("SCRAM-SHA-1", password="wrong")
        await alice.authenticate("SCRAM-SHA-1")
        await alice.bind()

    async def test_carbons(self) -> None:
        """The server has Message Carbons."""
        phone, desk = self.rawClient("bob", "phone"), self.slixClient("bob", "desk")
        carol = self.rawClient("carol")
        for client in phone, desk, carol:
            await client.login()
        self.assertTrue(await desk.enableCarbons())
        phone.say(carol.jid.full(), "from the phone")
        sent = await desk.expect(lambda event: event["event"] == "sent")
        self.assertEqual(sent["body"], "from the phone")


@onServers(withoutCarbons=("prosody", "ejabberd"))
class NoCarbonsTests(ServerCase):
    """Prosody and ejabberd without their carbons."""

    async def test_carbons(self) -> None:
        """The server refuses to enable Message Carbons."""
        alice = self.rawClient("alice")
        await alice.login()
        self.assertEqual((await alice.enableCarbons())["type"], "error")


@onServers("prosody", "ejabberd")
class ArchiveTests(ServerCase):
    """Prosody and ejabberd with their message archive."""

    archive = True

    async def test_stanzaId(self) -> None:
        """An archived message carries the archive's id (XEP-0359)."""
        alice, bob = self.rawClient("alice"), self.rawClient("bob")
        await alice.login()
        await bob.login()
        alice.say(bob.jid.full(), "keep this")
        got = await bob.expect(message("keep this"))
        ids = [child for child in got.elements() if child.name == "stanza-id"]
        self.assertEqual([child["by"] for child in ids], [bob.jid.userhost()])


class LifeTests(SynchronousTestCase):
    """How labs begin and end. Prosody stands for all: they share this code."""

    def setUp(self) -> None:
        realServer("prosody")

    def test_sideBySide(self) -> None:
        """Two labs of one kind have ports, directories and authorities of their own."""
        with lab.start("prosody") as first, lab.start("prosody") as second:
            self.assertNotEqual(first.port, second.port)
            self.assertNotEqual(first.trust.read_bytes(), second.trust.read_bytes())

    def test_stop(self) -> None:
        """After stop there is no process, no listener and no directory."""
        server = lab.start("prosody")
        (pid,) = server.pids
        server.stop()
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)
        self.assertRaises(
            ConnectionRefusedError, socket.create_connection, (server.host, server.port)
        )
        self.assertFalse(server.directory.exists())
        self.assertEqual(server.pids, [])

    def test_callerKilled(self) -> None:
        """A lab does not outlive the process that started it."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        program = (
            "import sys, pathlib, xmpproxy.lab as lab;"
            f"print(*lab.start('prosody', pathlib.Path({str(directory)!r})).pids, flush=True);"
            "sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        ) as caller:
            assert caller.stdout is not None
            pid = int(caller.stdout.readline())
            process = os.pidfd_open(pid)
            self.addCleanup(os.close, process)
            caller.kill()
        ended, _, _ = select.select([process], [], [], 30)
        self.assertEqual(ended, [process])

    def test_doesNotComeUp(self) -> None:
        """The error holds what the server said."""
        self.patch(lab.prosody, "freePort", lambda: "not a port")
        error = self.assertRaises(lab.LabError, lab.start, "prosody")
        self.assertIn("exit status", str(error))
        self.assertIn("prosody.cfg.lua", str(error))

    def test_names(self) -> None:
        """Account names that would need escaping somewhere are refused."""
        self.assertRaises(ValueError, lab.start, "prosody", users=["o'neill"])


class AvailabilityTests(SynchronousTestCase):
    """What happens where a server cannot run."""

    def setUp(self) -> None:
        self.patch(lab, "available", lambda kind: f"{kind} is not installed")
        self.patch(install, "available", lambda kind: f"{kind} is not installed")
        self.patch(os, "environ", dict(os.environ))
        for name in "XMPPROXY_SERVERS", "XMPPROXY_REQUIRE_SERVERS":
            os.environ.pop(name, None)

    def test_start(self) -> None:
        """It says why it cannot start."""
        error = self.assertRaises(lab.LabError, lab.start, "prosody")
        self.assertEqual(str(error), "prosody is not installed")

    def test_skip(self) -> None:
        """Its tests are skipped, with the reason."""
        error = self.assertRaises(SkipTest, realServer, "prosody")
        self.assertEqual(str(error), "no real server: prosody is not installed")

    def test_require(self) -> None:
        """Its tests fail where servers are required."""
        os.environ["XMPPROXY_REQUIRE_SERVERS"] = "1"
        self.assertRaises(AssertionError, realServer, "prosody")

    def test_none(self) -> None:
        """Nothing is started where the environment says so, available or not."""
        self.patch(lab, "available", lambda kind: None)
        os.environ["XMPPROXY_SERVERS"] = "none"
        error = self.assertRaises(SkipTest, realServer, "prosody")
        self.assertEqual(str(error), "no real server: XMPPROXY_SERVERS=none")

    def test_installWithoutRoot(self) -> None:
        """Who is not root is told what to run."""
        self.patch(os, "geteuid", lambda: 1000)
        self.patch(shutil, "which", lambda name: f"/usr/bin/{name}")
        error = self.assertRaises(lab.LabError, install.install, ["prosody", "jabberd2"])
        self.assertEqual(
            str(error),
            "missing: prosody jabberd2. As root:"
            " apt-get install -y --no-install-recommends prosody jabberd2",
        )


STREAM = (
    b"<?xml version='1.0'?><s:stream xmlns:s='http://etherx.jabber.org/streams'"
    b" xmlns='jabber:client' xml:lang='en'>"
    b"<message to='a@b'><body>&lt;1&gt;</body></message> <presence/>"
    b"<n:iq xmlns:n='jabber:client'><n:x/><y xmlns='urn:y' n:z='1'/></n:iq >\n"
    b"<message><x:unbound x:at='1>\"'/><![CDATA[</']]></message><s:error/></s:stream>"
)


class StreamReaderTests(SynchronousTestCase):
    """The test clients' own reader."""

    @given(st.lists(st.integers(0, len(STREAM))))
    def test_anySplit(self, cuts: list[int]) -> None:
        """However the stream is cut, the same elements come out, with their own bytes."""
        headers: list[Element] = []
        elements: list[Element] = []
        raws: list[bytes] = []
        ends: list[bool] = []

        def onElement(element: Element, raw: bytes) -> None:
            elements.append(element)
            raws.append(raw)

        reader = StreamReader(headers.append, onElement, lambda: ends.append(True))
        edges = [0, *sorted(cuts), len(STREAM)]
        for start, end in pairwise(edges):
            reader.feed(STREAM[start:end])
        self.assertEqual([header.name for header in headers], ["stream"])
        self.assertEqual(ends, [True])
        self.assertEqual(
            raws,
            [
                b"<message to='a@b'><body>&lt;1&gt;</body></message>",
                b"<presence/>",
                b"<n:iq xmlns:n='jabber:client'><n:x/><y xmlns='urn:y' n:z='1'/></n:iq >",
                b"<message><x:unbound x:at='1>\"'/><![CDATA[</']]></message>",
                b"<s:error/>",
            ],
        )
        self.assertEqual(
            [(element.uri, element.name) for element in elements],
            [
                ("jabber:client", "message"),
                ("jabber:client", "presence"),
                ("jabber:client", "iq"),
                ("jabber:client", "message"),
                ("http://etherx.jabber.org/streams", "error"),
            ],
        )
        self.assertEqual(str(elements[0].body), "<1>")
        inner = list(elements[2].elements())
        self.assertEqual([(child.uri, child.name) for child in inner][1], ("urn:y", "y"))
        self.assertEqual(inner[1].attributes, {("jabber:client", "z"): "1"})
        (unbound,) = elements[3].elements()
        self.assertEqual((unbound.uri, unbound.name), ("", "x:unbound"))


def _listeningAddresses(pids: list[int]) -> set[tuple[str, int]]:
    """Where some processes listen, IPv4 and IPv6, from Linux's tables."""
    sockets = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # Closed meanwhile.
                target = os.readlink(descriptor)
                if target.startswith("socket:["):
                    sockets.add(target.removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table, family in ("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                address, port = fields[1].split(":")
                packed = b"".join(
                    bytes.fromhex(address[start : start + 8])[::-1]
                    for start in range(0, len(address), 8)
                )
                found.add((socket.inet_ntop(family, packed), int(port, 16)))
    return found
