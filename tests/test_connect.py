"""Tests for L{xmpproxy.connect}, with a reactor and name servers in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionRefusedError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DNSServerError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from xmpproxy import config
from xmpproxy.connect import UnreachableError, clientEndpoint, inOrder


@implementer(IHostResolution)
class Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Done before anybody could."""


@implementer(IHostnameResolver)
class Hosts:
    """Knows C{example.com} and what is below; each host has its own name for an address."""

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        if hostName.endswith("example.com"):
            resolutionReceiver.addressResolved(IPv4Address("TCP", hostName, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


class Reactor(MemoryReactorClock):
    """Connections succeed and fail as told."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver: IHostnameResolver = Hosts()

    @property
    def attempts(self) -> list[tuple[str, int]]:
        """Where connections were tried, in order."""
        return [(attempt[0], attempt[1]) for attempt in self.tcpClients]

    def fail(self, error: Exception) -> None:
        """The last attempt fails."""
        factory: ClientFactory = self.tcpClients[-1][2]
        factory.clientConnectionFailed(self.connectors[-1], Failure(error))
        self.advance(1)  # the host could have another address

    def succeed(self) -> None:
        """The last attempt succeeds."""
        factory: ClientFactory = self.tcpClients[-1][2]
        protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5222))
        assert protocol is not None
        protocol.makeConnection(StringTransport())


class Names:
    """Name servers with one answer."""

    def __init__(self, answer: Deferred[Any]) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def lookupService(self, name: str, timeout: Sequence[int] | None = None) -> Deferred[Any]:
        self.asked.append(name)
        return self.answer


def srv(priority: int, weight: int, target: str | bytes, port: int = 5222) -> dns.Record_SRV:
    return dns.Record_SRV(priority, weight, port, target)


def answering(*records: dns.Record_SRV) -> Names:
    headers = [dns.RRHeader(type=dns.SRV, payload=record) for record in records]
    return Names(succeed((headers, [], [])))


class ConnectCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.factory = Factory.forProtocol(Protocol)

    def connect(self, domain: config.Domain, names: Names | None = None) -> Deferred[IProtocol]:
        endpoint = clientEndpoint(self.reactor, domain, names)
        verifyObject(IStreamClientEndpoint, endpoint)
        return endpoint.connect(self.factory)

    def assertConnected(self, connecting: Deferred[IProtocol]) -> None:
        self.assertNoResult(connecting)
        self.reactor.succeed()
        self.assertIsInstance(self.successResultOf(connecting), Protocol)


class ConfiguredTests(ConnectCase):
    """C{upstream} is set."""

    def test_connects(self) -> None:
        domain = config.Domain(name="example.com", upstream="tcp:127.0.0.1:15222")
        connecting = self.connect(domain)
        self.assertEqual(self.reactor.attempts, [("127.0.0.1", 15222)])
        self.assertEqual(self.reactor.tcpClients[0][3], 15)
        self.assertConnected(connecting)

    def test_ownTimeout(self) -> None:
        text = "tcp:host=127.0.0.1:port=15222:timeout=3"
        self.connect(config.Domain(name="example.com", upstream=text))
        self.assertEqual(self.reactor.tcpClients[0][3], 3)

    def test_socket(self) -> None:
        self.connect(config.Domain(name="example.com", upstream="unix:/run/xmpp"))
        self.assertEqual(self.reactor.unixClients[0][0], "/run/xmpp")

    def test_fails(self) -> None:
        for error, words in (
            (ConnectionRefusedError(), "refused"),
            (TCPTimedOutError(), "timed out"),
            (TimeoutError(), "no answer"),
        ):
            domain = config.Domain(name="example.com", upstream="tcp:127.0.0.1:15222")
            connecting = self.connect(domain)
            self.reactor.fail(error)
            failure = self.failureResultOf(connecting, UnreachableError)
            self.assertIn("no connection to tcp:127.0.0.1:15222: ", failure.value.text)
            self.assertIn(words, failure.value.text.lower())
            self.assertIn("correct upstream", str(failure.value))

    def test_cancelled(self) -> None:
        connecting = self.connect(config.Domain(name="example.com", upstream="tcp:127.0.0.1:1"))
        connecting.cancel()
        self.failureResultOf(connecting, ConnectingCancelledError)


class DiscoveredTests(ConnectCase):
    """C{upstream} is not set: DNS decides."""

    def test_records(self) -> None:
        names = answering(
            srv(20, 0, "c.example.com"),
            srv(10, 0, "a.example.com", 15222),
            srv(15, 9, "b.example.com"),
        )
        connecting = self.connect(config.Domain(name="example.com"), names)
        self.assertEqual(names.asked, ["_xmpp-client._tcp.example.com"])
        self.assertEqual(self.reactor.attempts, [("a.example.com", 15222)])
        self.assertEqual(self.reactor.tcpClients[0][3], 15)
        self.reactor.fail(ConnectionRefusedError())
        self.assertEqual(self.reactor.attempts[1:], [("b.example.com", 5222)])
        self.reactor.fail(TimeoutError())
        self.assertEqual(self.reactor.attempts[2:], [("c.example.com", 5222)])
        self.assertConnected(connecting)

    def test_allFail(self) -> None:
        """Each is named; the domain itself is not tried when it has records (RFC 6120, 3.2.1)."""
        names = answering(
            srv(0, 0, "a.example.com"),
            srv(1, 0, "b.example.com", 1),
            srv(2, 0, "absent.example.org"),
        )
        connecting = self.connect(config.Domain(name="example.com"), names)
        self.reactor.fail(ConnectionRefusedError())
        self.reactor.fail(TimeoutError())
        error = self.failureResultOf(connecting, UnreachableError).value
        self.assertRegex(
            error.text,
            "^no connection to the server of example.com: a.example.com:5222: .*refused.*, "
            "b.example.com:1: no answer, absent.example.org:5222: .*no results for hostname",
        )
        self.assertIn("_xmpp-client._tcp.example.com", error.mend)
        self.assertEqual(len(self.reactor.attempts), 2)

    def test_direct(self) -> None:
        names = answering(srv(0, 0, "a.example.com", 443))
        domain = config.Domain(name="example.com", upstream_tls="direct")
        connecting = self.connect(domain, names)
        self.assertEqual(names.asked, ["_xmpps-client._tcp.example.com"])
        self.assertEqual(self.reactor.attempts, [("a.example.com", 443)])
        self.assertConnected(connecting)

    def test_noRecords(self) -> None:
        """Also when DNS does not know the name, or nobody answers."""
        alias = dns.RRHeader(type=dns.CNAME, payload=dns.Record_CNAME("elsewhere.example.com"))
        plain = config.Domain(name="example.com"), 5222
        direct = config.Domain(name="example.com", upstream_tls="direct"), 5223
        for domain, port in (plain, direct):
            answers: list[Deferred[Any]] = [
                succeed(([], [], [])),
                succeed(([alias], [], [])),
                fail(DNSNameError()),
                fail(DNSServerError()),
                fail(DNSQueryTimeoutError(None)),
            ]
            for answer in answers:
                connecting = self.connect(domain, Names(answer))
                self.assertEqual(self.reactor.attempts.pop(), ("example.com", port))
                self.assertConnected(connecting)

    def test_noService(self) -> None:
        for root in (b".", b""):
            connecting = self.connect(
                config.Domain(name="example.com"), answering(srv(0, 0, root, 0))
            )
            error = self.failureResultOf(connecting, UnreachableError).value
            self.assertIn("_xmpp-client._tcp.example.com says that there is no", error.text)
        self.assertEqual(self.reactor.attempts, [])

    def test_internationalName(self) -> None:
        names = answering(srv(0, 0, "a.example.com"))
        self.connect(config.Domain(name="bücher.example"), names)
        self.assertEqual(names.asked, ["_xmpp-client._tcp.xn--bcher-kva.example"])

    def test_cancelled(self) -> None:
        """Whoever waits no longer wants no further host."""
        names = answering(srv(0, 0, "a.example.com"), srv(1, 0, "b.example.com"))
        connecting = self.connect(config.Domain(name="example.com"), names)
        connecting.cancel()
        self.failureResultOf(connecting, ConnectingCancelledError)
        self.assertEqual(self.reactor.attempts, [("a.example.com", 5222)])
        looking = self.connect(config.Domain(name="example.com"), Names(Deferred()))
        looking.cancel()
        self.failureResultOf(looking, CancelledError)


records = st.builds(
    srv, st.integers(0, 3), st.integers(0, 100), st.sampled_from(["a", "b", "c", "d"])
)


class OrderTests(SynchronousTestCase):
    """RFC 2782."""

    @given(st.lists(records), st.randoms(use_true_random=False))
    def test_priority(self, given: list[dns.Record_SRV], random: Random) -> None:
        ordered = inOrder(given, random)
        self.assertEqual(sorted(map(repr, ordered)), sorted(map(repr, given)))
        priorities = [record.priority for record in ordered]
        self.assertEqual(priorities, sorted(priorities))

    def test_weight(self) -> None:
        """Three tickets of four; none, and still there."""
        random = Random(4)
        given = [srv(0, 0, "never"), srv(0, 300, "often"), srv(0, 100, "seldom"), srv(1, 9, "last")]
        orders = [[str(one.target) for one in inOrder(given, random)] for _ in range(4000)]
        first = Counter(order[0] for order in orders)
        self.assertTrue(2850 < first["often"] < 3150, first)
        self.assertTrue(850 < first["seldom"] < 1150, first)
        self.assertTrue(0 < first["never"] < 50, first)
        self.assertEqual({order[-1] for order in orders}, {"last"})
