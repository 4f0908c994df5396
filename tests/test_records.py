"""Tests for L{xmpproxy.records}: OpenSSL at both ends, the network in between by hand."""

from __future__ import annotations

import gc
import ssl
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.test.proto_helpers import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import Authority, selfSigned
from tests.handshakes import goodHello, hello
from xmpproxy.coders import FAILURES, Coder, OpenSSLCoder, StandardCoder, TooManyAnswers
from xmpproxy.downstreamtls import ServerTLS
from xmpproxy.records import ANSWERS, SecureTransport
from xmpproxy.transport import Transport
from xmpproxy.upstreamtls import UpstreamTLS

AUTHORITY = Authority()
GOOD = AUTHORITY.issue("example.com")
SERVER = ServerTLS(GOOD.chain, GOOD.key)


class End:
    """
    One end of a connection.

    @ivar came: the texts that came.
    @ivar completed: how often the handshake was completed.
    @ivar aborts: whether it drops the connection when something comes.
    @ivar wire: what it writes to, and whether it would close that.
    """

    def __init__(self, coder: Coder) -> None:
        self.came: list[bytes] = []
        self.completed = 0
        self.aborts = False
        self.wire = StringTransport()
        self.tls = SecureTransport(
            Transport(self.wire), coder, self.textReceived, self.handshakeCompleted
        )
        self.tls.start()

    def textReceived(self, text: bytes) -> None:
        self.came.append(text)
        if self.aborts:
            self.tls.abortConnection()

    def handshakeCompleted(self) -> None:
        self.completed += 1

    def takeSent(self) -> bytes:
        """What it has sent since this was asked last."""
        sent = cast(bytes, self.wire.value())
        self.wire.clear()
        return sent

    def loses(self, reason: Exception | None = None) -> BaseException | None:
        """Its connection is gone. Why, as it has it."""
        return self.tls.connectionLost(Failure(reason or ConnectionDone())).value


class Case(SynchronousTestCase):
    """With a client's and a server's end."""

    def setUp(self) -> None:
        self.upstream = UpstreamTLS("example.com", AUTHORITY.write(Path(self.mktemp())))

    def ends(self, server: ServerTLS = SERVER) -> tuple[End, End]:
        """Both, before the handshake."""
        return End(OpenSSLCoder(self.upstream.connection())), End(server.coder())

    def joined(self) -> tuple[End, End]:
        """Both, after it."""
        client, server = self.ends()
        self.settle(client, server)
        self.assertEqual((client.completed, server.completed), (1, 1))
        return client, server

    def settle(self, client: End, server: End) -> None:
        """Deliver everything."""
        while True:
            up, down = client.takeSent(), server.takeSent()
            if not up and not down:
                return
            server.tls.dataReceived(up)
            client.tls.dataReceived(down)


class TextTests(Case):
    """What is written at one end comes out at the other."""

    def test_bothWays(self) -> None:
        client, server = self.joined()
        client.tls.write(b"up")
        server.tls.write(b"down")
        client.tls.write(b"")
        client.tls.write(b"again")
        self.settle(client, server)
        self.assertEqual((server.came, client.came), ([b"up", b"again"], [b"down"]))
        self.assertEqual((client.completed, server.completed), (1, 1))

    def test_sizes(self) -> None:
        """To the byte, around the size of a record."""
        client, server = self.joined()
        for size in (1, 2**14 - 1, 2**14, 2**14 + 1, 2**15, 2**15 + 1, 300_000):
            text = (bytes(range(251)) * (size // 251 + 1))[:size]
            client.tls.write(text)
            self.settle(client, server)
            self.assertEqual(b"".join(server.came), text)
            self.assertLessEqual(max(len(each) for each in server.came), 2**14)
            server.came.clear()

    def test_oldVersion(self) -> None:
        """TLS 1.2."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        connection = SSL.Connection(context)
        connection.set_connect_state()
        client, server = End(OpenSSLCoder(connection)), End(SERVER.coder())
        self.settle(client, server)
        self.assertEqual(connection.get_protocol_version(), SSL.TLS1_2_VERSION)
        client.tls.write(b"up")
        server.tls.write(b"down")
        self.settle(client, server)
        self.assertEqual((server.came, client.came), ([b"up"], [b"down"]))

    @settings(max_examples=50)
    @given(
        st.lists(st.binary(min_size=1, max_size=20_000), max_size=6),
        st.lists(st.integers(1, 20_000), max_size=30),
    )
    def test_cuts(self, texts: list[bytes], cuts: list[int]) -> None:
        """However the network cuts what is sent, the handshake too."""
        client, server = self.ends()
        left = list(reversed(cuts))

        def deliver(sender: End, receiver: End) -> bool:
            data = sender.takeSent()
            at = 0
            while at < len(data):
                size = left.pop() if left else 1 if len(data) < 5000 else 4000
                receiver.tls.dataReceived(data[at : at + size])
                at += size
            return bool(data)

        while deliver(client, server) | deliver(server, client):
            pass
        for text in texts:
            client.tls.write(text)
        deliver(client, server)
        self.assertEqual(b"".join(server.came), b"".join(texts))

    def test_early(self) -> None:
        """What is written before the handshake is completed is sent after it."""
        client, server = self.ends()
        client.tls.write(b"one")
        server.tls.write(b"two")
        client.tls._handshakeCompleted = lambda: client.tls.write(b"more")
        self.settle(client, server)
        self.assertEqual((server.came, client.came), ([b"one", b"more"], [b"two"]))

    def test_together(self) -> None:
        """Text that comes with the end of the handshake."""
        client, server = self.ends()
        server.tls.dataReceived(client.takeSent())
        client.tls.dataReceived(server.takeSent())
        client.tls.write(b"at once")
        server.tls.dataReceived(client.takeSent())
        self.assertEqual((server.completed, server.came), (1, [b"at once"]))


class EndTests(Case):
    """Ends of all kinds."""

    def test_inOrder(self) -> None:
        """Who closes waits for the other's goodbye; both close the connection then."""
        for turn in (1, -1):
            first, second = self.joined()[::turn]
            first.tls.write(b"last words")
            first.tls.loseConnection()
            first.tls.write(b"not sent")
            self.assertFalse(first.wire.disconnecting)
            second.tls.dataReceived(first.takeSent())
            self.assertEqual(second.came, [b"last words"])
            self.assertTrue(second.wire.disconnecting)
            second.tls.write(b"not sent")
            first.tls.dataReceived(second.takeSent())
            self.assertTrue(first.wire.disconnecting)
            self.assertEqual((first.came, first.takeSent()), ([], b""))
            for end in (first, second):
                self.assertIsInstance(end.loses(), ConnectionDone)

    def test_textAfterGoodbye(self) -> None:
        """Who has closed still hears what the other says before it does so, too."""
        client, server = self.joined()
        client.tls.loseConnection()
        client.tls.loseConnection()
        server.tls.write(b"wait")
        client.tls.dataReceived(server.takeSent())
        self.assertEqual(client.came, [b"wait"])
        self.assertFalse(client.wire.disconnecting)

    def test_cutOff(self) -> None:
        """An end of the connection without goodbye is none in order: anybody can do that."""
        client, server = self.joined()
        server.tls.write(b"half")
        data = server.takeSent()
        client.tls.dataReceived(data[:-1])
        self.assertIsInstance(client.loses(), ConnectionLost)
        self.assertEqual(client.came, [])
        server.tls.loseConnection()
        self.assertIsInstance(server.loses(), ConnectionLost)

    def test_abort(self) -> None:
        """Nothing is sent or taken any more, not even what came with the last that was."""
        client, server = self.joined()
        server.tls.write(b"one")
        server.tls.write(b"two")
        client.aborts = True
        client.tls.dataReceived(server.takeSent())
        self.assertEqual(client.came, [b"one"])
        self.assertTrue(client.wire.disconnected)
        client.tls.write(b"no")
        self.assertEqual(client.takeSent(), b"")
        self.assertIsInstance(client.loses(ConnectionAborted()), ConnectionAborted)

    def test_earlyEnd(self) -> None:
        """Where there is no TLS to close yet, the connection is dropped."""
        client, server = self.ends()
        server.tls.dataReceived(client.takeSent())
        for end in (client, server):
            end.tls.loseConnection()
            self.assertTrue(end.wire.disconnected)

    def test_earlyEndWithText(self) -> None:
        """Unless something is to be said before."""
        client, server = self.ends()
        server.tls.write(b"go away")
        server.tls.loseConnection()
        self.assertFalse(server.wire.disconnecting)
        self.settle(client, server)
        self.assertEqual(client.came, [b"go away"])
        self.assertTrue(client.wire.disconnecting)
        self.assertTrue(server.wire.disconnecting)

    def test_refusedInHandshake(self) -> None:
        """Who is told that the handshake is completed may close at once, in order."""
        client, server = self.ends()
        client.tls._handshakeCompleted = client.tls.loseConnection
        self.settle(client, server)
        self.assertTrue(client.wire.disconnecting)
        self.assertFalse(client.wire.disconnected)
        self.assertIsInstance(server.loses(), ConnectionDone)

    def test_badCertificate(self) -> None:
        """The other end is told, and the reason kept."""
        bad = selfSigned("example.com")
        client, server = self.ends(server=ServerTLS(bad.chain, bad.key))
        self.settle(client, server)
        self.assertEqual(client.completed, 0)
        for end in (client, server):
            self.assertTrue(end.wire.disconnecting)
            self.assertIsInstance(end.loses(), FAILURES)

    def test_noTLS(self) -> None:
        """It is refused at its first bytes, without waiting for a record's worth of them."""
        for data in (b"HTTP/1.1 400 Bad Request\r\n", b"<stream:stream>", b"\x16\x03\x01\xff\xff"):
            for end in self.ends():
                for at in range(len(data)):
                    end.tls.dataReceived(data[at : at + 1])
                self.assertTrue(end.wire.disconnecting, data)
                self.assertIsInstance(end.loses(), FAILURES)

    def test_damaged(self) -> None:
        """A record that somebody has changed, and what follows, is not read."""
        client, server = self.joined()
        server.tls.write(b"one")
        good = server.takeSent()
        server.tls.write(b"two")
        bad = bytearray(server.takeSent())
        bad[-1] ^= 1
        server.tls.write(b"three")
        client.tls.dataReceived(good + bytes(bad) + server.takeSent())
        self.assertEqual(client.came, [b"one"])
        self.assertTrue(client.wire.disconnecting)
        self.assertNotEqual(client.takeSent(), b"")
        client.tls.write(b"no")
        client.tls.dataReceived(good)
        self.assertEqual((client.takeSent(), client.came), (b"", [b"one"]))
        self.assertIsInstance(client.loses(), SSL.Error)

    def test_tooLong(self) -> None:
        """A record longer than any may be."""
        client, _ = self.joined()
        client.tls.dataReceived(b"\x17\x03\x03\xff\xff")
        self.assertTrue(client.wire.disconnecting)
        self.assertIsInstance(client.loses(), SSL.Error)

    def test_forgotten(self) -> None:
        """What is lost is freed at once, whatever the reason."""

        def losing(prepare: Callable[[End, End], object]) -> weakref.ref[End]:
            client, server = self.joined()
            prepare(client, server)
            client.loses()
            return weakref.ref(client)

        gc.disable()
        self.addCleanup(gc.enable)
        for prepare in (
            lambda client, server: None,
            lambda client, server: client.tls.loseConnection(),
            lambda client, server: client.tls.dataReceived(b"\x17\x03\x03\xff\xff"),
        ):
            self.assertIsNone(losing(prepare)())

    def test_coderForgotten(self) -> None:
        """Whoever keeps a connection that is gone keeps nothing of OpenSSL's."""
        client, server = self.joined()
        client.tls.loseConnection()
        self.settle(client, server)
        kept: list[weakref.ref[Any]] = [
            weakref.ref(cast(OpenSSLCoder, client.tls._coder).connection),
            weakref.ref(cast(StandardCoder, server.tls._coder)._object),
        ]
        for end in (client, server):
            end.loses()
            self.assertIsNone(kept.pop(0)())
            end.tls.write(b"late")
            end.tls.loseConnection()
            end.tls.dataReceived(b"later")
            self.assertEqual(end.came, [])


#: What OpenSSL says of an old version, each of its own versions something else.
OLD = "UNSUPPORTED_PROTOCOL|UNKNOWN_PROTOCOL|VERSION_TOO_LOW"


class HostileTests(Case):
    """Who is no friend gets little work done."""

    def refused(self, end: End) -> str:
        """It is about to close the connection. Why."""
        self.assertTrue(end.wire.disconnecting)
        error = end.loses()
        assert isinstance(error, ssl.SSLError)
        return str(error.reason)

    def test_oldVersions(self) -> None:
        """TLS 1.2 is the oldest that there is."""
        for version in (0x0300, 0x0301, 0x0302):
            _, server = self.ends()
            server.tls.dataReceived(hello(version))
            self.assertEqual(server.takeSent()[5:6], b"\2")  # a fatal alert
            self.assertRegex(self.refused(server), OLD)
        _, server = self.ends()
        server.tls.dataReceived(b"\x80\x1c\1\0\2\0\3\0\0\0\x10\1\0\x80" + bytes(16))  # SSL 2
        self.assertRegex(self.refused(server), OLD)
        _, server = self.ends()
        server.tls.dataReceived(goodHello())
        self.assertFalse(server.wire.disconnecting)

    def test_crumbs(self) -> None:
        """A handshake in records of a byte each; OpenSSL is not asked for each of them."""

        class Counted(StandardCoder):
            times = 0

            def shakeHands(self) -> bool:
                self.times += 1
                return super().shakeHands()

        client, _ = self.ends()
        coder = Counted(SERVER._context)
        server = End(coder)
        message = client.takeSent()[5:]
        crumbs = b"".join(b"\x16\3\1\0\1" + message[at : at + 1] for at in range(len(message)))
        server.tls.dataReceived(crumbs[:-3])
        server.tls.dataReceived(crumbs[-3:])
        self.assertLess(coder.times, 10)
        self.settle(client, server)
        self.assertEqual((client.completed, server.completed), (1, 1))

    def test_size(self) -> None:
        """A handshake's message that is larger than any is refused as soon as it says so."""
        for size, good in ((131_396, True), (131_397, False)):
            _, server = self.ends()
            content = b"\1" + size.to_bytes(3) + bytes(1000)
            server.tls.dataReceived(b"\x16\3\1" + len(content).to_bytes(2) + content)
            if good:
                self.assertFalse(server.wire.disconnecting)
            else:
                self.assertEqual(self.refused(server), "EXCESSIVE_MESSAGE_SIZE")

    def test_floods(self) -> None:
        """Alerts that say little, and records that say nothing, end it soon, with one answer."""
        for record in (b"\x15\3\3\0\2\1\x5a", b"\x14\3\3\0\1\1", b"\x16\3\3\0\0"):
            client, server = self.ends()
            server.tls.dataReceived(client.takeSent())
            server.takeSent()
            server.tls.dataReceived(100 * record)
            self.assertLess(len(server.takeSent()), 50)
            self.refused(server)

    def test_renegotiation(self) -> None:
        """It is refused, by both sides; what was agreed upon stays."""
        for asking in ("client", "server"):
            contexts = SSL.Context(SSL.TLS_CLIENT_METHOD), SSL.Context(SSL.TLS_SERVER_METHOD)
            context = contexts[asking == "server"]
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            context.use_certificate(GOOD.certificate)
            context.use_privatekey(GOOD.key)
            connection = SSL.Connection(context)
            one, other = self.ends()
            if asking == "client":
                connection.set_connect_state()
                one = End(OpenSSLCoder(connection))
            else:
                connection.set_accept_state()
                one, other = End(OpenSSLCoder(connection)), one
            self.settle(one, other)
            self.assertEqual((one.completed, other.completed), (1, 1))
            finished = connection.get_finished()
            connection.renegotiate()
            one.tls.write(b"then")
            asked = one.takeSent()
            self.assertEqual(asked[0], 22)
            other.tls.dataReceived(asked)
            self.assertLess(len(other.takeSent()), 50)
            self.assertEqual((other.completed, connection.get_finished()), (1, finished))

    def test_answers(self) -> None:
        """Who asks TLS itself for answers gets so many, and no more."""

        class Asked(StandardCoder):
            """Takes every text for a question."""

            answer = b""

            def decode(self) -> bytes:
                self.answer = super().decode() and b"answer"
                return b""

            def pending(self) -> bytes:
                answer, self.answer = self.answer, b""
                return super().pending() + answer

        client, _ = self.ends()
        server = End(Asked(SERVER._context))
        self.settle(client, server)
        self.assertEqual(server.completed, 1)
        for _ in range(ANSWERS):
            client.tls.write(b"question")
            server.tls.dataReceived(client.takeSent())
        self.assertEqual(server.takeSent(), ANSWERS * b"answer")
        self.assertFalse(server.wire.disconnecting)
        client.tls.write(b"question")
        server.tls.dataReceived(client.takeSent())
        self.assertTrue(server.wire.disconnecting)
        self.assertIsInstance(server.loses(), TooManyAnswers)


class ProducerTests(Case):
    """These are the connection's matter."""

    def test_passedOn(self) -> None:
        client, _ = self.joined()
        producer = cast(IPushProducer, client)
        client.tls.registerProducer(producer, True)
        self.assertIs(client.wire.producer, producer)
        client.tls.unregisterProducer()
        self.assertIsNone(client.wire.producer)
        client.tls.pauseProducing()
        self.assertEqual(client.wire.producerState, "paused")
        client.tls.resumeProducing()
        self.assertEqual(client.wire.producerState, "producing")
        self.assertEqual(client.tls.getPeer(), client.wire.getPeer())
