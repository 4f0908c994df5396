"""Tests of L{xmpproxy.proxyprotocol}: what Twisted makes of what balancers send."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy.endpoints import withBacklog
from xmpproxy.proxyprotocol import serverEndpoint

BALANCER = IPv4Address("TCP", "10.0.0.1", 50000)
HERE = IPv4Address("TCP", "10.0.0.2", 5222)
CLIENT = IPv4Address("TCP", "192.0.2.9", 40000)
V2 = b"\r\n\r\n\0\r\nQUIT\n"
TCP4 = b"\xc0\0\2\x09\x0a\0\0\2\x9c\x40\x14\x66"


class Stream(Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.lost: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)


class ProxyProtocol(SynchronousTestCase):
    def connects(self, *chunks: bytes, endpoint: str = "haproxy:tcp:5222") -> Stream:
        """The stream of somebody for whom a balancer sends this."""
        reactor: Any = MemoryReactor()
        stream = Stream()
        serverEndpoint(reactor, withBacklog(endpoint)).listen(Factory.forProtocol(lambda: stream))
        ((_, factory, *_),) = reactor.tcpServers or reactor.unixServers
        self.transport = StringTransport(hostAddress=HERE, peerAddress=BALANCER)
        self.protocol = factory.buildProtocol(BALANCER)
        self.protocol.makeConnection(self.transport)
        for chunk in chunks:
            self.protocol.dataReceived(chunk)
        return stream

    def test_unknown(self) -> None:
        """Nothing, or whatever the balancer likes, may be behind it; and it may come in pieces."""
        for header in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN \r\n", b"PROXY UNKNOWN a b c d\r\n"):
            for at in range(len(header) + 8):
                data = header + b"<stream>"
                if at < 8 and header[13:15] != b"\r\n":
                    continue  # Twisted wants so many at once, as balancers send them
                stream = self.connects(data[:at], data[at:])
                self.assertEqual(stream.data, b"<stream>", (header, at))
                self.assertFalse(self.transport.disconnecting)
                assert stream.transport is not None
                self.assertEqual(stream.transport.getPeer(), BALANCER)

    def test_known(self) -> None:
        """Whatever else there is is understood as before."""
        for header in (
            b"PROXY TCP4 192.0.2.9 10.0.0.2 40000 5222\r\n",
            V2 + b"\x21\x11\0\x0c" + TCP4,
        ):
            for endpoint in ("haproxy:tcp:5222", r"haproxy:unix:/run/x\:y.sock"):
                stream = self.connects(header, b"<stream>", b"more", endpoint=endpoint)
                assert stream.transport is not None
                self.assertEqual(stream.transport.getPeer(), CLIENT)
                self.assertEqual(stream.data, b"<stream>more")

    def test_none(self) -> None:
        """Without a header it is nobody."""
        for data in (
            b"<stream xmlns=''>",
            b"PROXY UNKNOWNN\r\n",
            b"PROXY NOBODY\r\n",
            b"PROXY UN\r\n",
        ):
            stream = self.connects(data)
            self.assertEqual(stream.data, b"")
            self.assertTrue(self.transport.disconnecting, data)

    def test_lost(self) -> None:
        """The stream hears of that, also if nothing came."""
        for chunks in ([], [b"PROXY UNK"], [b"PROXY UNKNOWN\r\n"]):
            stream = self.connects(*chunks)
            reason = Failure(connectionDone.value)
            self.protocol.connectionLost(reason)
            self.assertEqual(stream.lost, [reason])

    def test_without(self) -> None:
        """Other endpoints are as they are."""
        stream = self.connects(b"PROXY UNKNOWN\r\n", endpoint="tcp:5222")
        self.assertEqual(stream.data, b"PROXY UNKNOWN\r\n")
