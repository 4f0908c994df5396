from __future__ import annotations

import errno
import io

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from xmpproxy.accepting import Accepting
from xmpproxy.admission import Admission
from xmpproxy.config import Config, Domain, Listen
from xmpproxy.interfaces import IStoppableFactory
from xmpproxy.limitlog import LimitLog
from xmpproxy.service import STOP_SECONDS, ProxyService, StartRefused


@implementer(IListeningPort)
class FakePort:
    listening = True

    def startListening(self) -> None:
        raise NotImplementedError

    def stopListening(self) -> Deferred[None]:
        self.listening = False
        return succeed(None)

    def getHost(self) -> IAddress:
        raise NotImplementedError


@implementer(IStreamServerEndpoint)
class FakeEndpoint:
    """
    @ivar error: why it cannot listen, if it cannot.
    @ivar factory: what it listens with, once it does.
    """

    factory: object = None

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.port = FakePort()

    def listen(self, factory: object) -> Deferred[IListeningPort]:
        if self.error:
            return fail(self.error)
        self.factory = factory
        return succeed(self.port)


@implementer(IStoppableFactory)
class FakeFactory(ServerFactory):
    """
    @ivar closing: what L{shutdown} returned.
    """

    protocol = Protocol

    def __init__(self) -> None:
        self.closing: list[Deferred[None]] = []

    def shutdown(self) -> Deferred[None]:
        self.closing.append(Deferred())
        return self.closing[-1]


class ProxyServiceTests(SynchronousTestCase):
    def serve(
        self, *errors: Exception | None, factory: FakeFactory | None = None
    ) -> tuple[ProxyService, list[FakeEndpoint], list[FakeFactory]]:
        """A service with an endpoint for each of the errors, L{None} for one that can listen."""
        endpoints = [FakeEndpoint(error) for error in errors]
        factories = [factory or FakeFactory() for _ in errors]
        config = Config(
            listen=tuple(Listen(endpoint=f"tcp:{5222 + index}") for index in range(len(errors))),
            domain=(Domain(name="example.com"),),
            file="xmpproxy.toml",
        )
        self.clock = Clock()
        self.stderr = io.StringIO()
        listeners = list(zip(config.listen, endpoints, factories, strict=True))
        admission = Admission(config.limits, self.clock.seconds)
        limitLog = LimitLog(config.limits, self.clock)
        accepting = Accepting(admission, limitLog, lambda: 0, self.clock)
        service = ProxyService(config, self.clock, listeners, accepting, self.stderr)
        return service, endpoints, factories

    def start(self, service: ProxyService) -> None:
        service.privilegedStartService()
        service.startService()

    def test_bindsWithPrivileges(self) -> None:
        """All listeners are bound before privileges are dropped, and only once."""
        service, endpoints, factories = self.serve(None, None)
        service.privilegedStartService()
        self.assertEqual([one.factory for one in endpoints], factories)
        for endpoint in endpoints:
            endpoint.error = AssertionError("bound again")
        service.startService()
        self.assertTrue(service.running)

    def test_terminalIsLetGo(self) -> None:
        """A daemon that is started holds on to the terminal no more."""
        service, _, _ = self.serve(None)
        service.privilegedStartService()
        self.assertFalse(self.stderr.closed)
        service.startService()
        self.assertTrue(self.stderr.closed)

    def test_refused(self) -> None:
        """All that cannot be bound is named, and what is bound let go."""
        inUse = CannotListenError("", 5222, OSError(errno.EADDRINUSE, "Address in use"))
        forbidden = PermissionError(errno.EACCES, "Permission denied")
        locked = CannotListenError(None, "a.sock", "Cannot acquire lock")
        service, endpoints, _ = self.serve(inUse, None, forbidden, locked)
        lines = [
            "xmpproxy.toml: listen[0].endpoint: tcp:5222: Address in use; "
            "stop what listens there, or write another port",
            "xmpproxy.toml: listen[2].endpoint: tcp:5224: Permission denied; "
            "start as root with twistd's --uid and --gid, or write a port above 1023",
            "xmpproxy.toml: listen[3].endpoint: tcp:5225: Cannot acquire lock; "
            "stop what uses it, or write another endpoint",
        ]
        refused = self.assertRaises(StartRefused, service.privilegedStartService)
        self.assertEqual(str(refused).split("\n"), lines)
        self.assertEqual(self.stderr.getvalue().splitlines(), lines)
        self.assertFalse(endpoints[1].port.listening)

    def test_refusedByTwistd(self) -> None:
        """What twistd cleans up after, and the interpreter shows no traceback of."""
        refused = StartRefused(["it is in use"])
        self.assertIsInstance(refused, Exception)
        self.assertIsInstance(refused, SystemExit)
        self.assertEqual(refused.code, 1)
        self.assertEqual(str(refused), "it is in use")

    def test_stop(self) -> None:
        """It is stopped when all streams are closed."""
        service, endpoints, factories = self.serve(None, None)
        self.start(service)
        stopping = service.stopService()
        self.assertEqual([one.port.listening for one in endpoints], [False, False])
        factories[0].closing[0].callback(None)
        self.assertNoResult(stopping)
        factories[1].closing[0].callback(None)
        self.successResultOf(stopping)
        self.assertFalse(service.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopIsBounded(self) -> None:
        """A client that does not go does not keep the proxy."""
        service, _, _ = self.serve(None)
        self.start(service)
        stopping = service.stopService()
        self.clock.advance(STOP_SECONDS - 0.1)
        self.assertNoResult(stopping)
        self.clock.advance(0.1)
        self.successResultOf(stopping)

    def test_stopFails(self) -> None:
        """What goes wrong with one listener is logged, and the others are waited for."""
        service, _, factories = self.serve(None, None)
        self.start(service)
        stopping = service.stopService()
        factories[0].closing[0].errback(ZeroDivisionError())
        self.assertNoResult(stopping)
        factories[1].closing[0].callback(None)
        self.successResultOf(stopping)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_sharedFactory(self) -> None:
        """A factory that serves several listeners is shut down once."""
        factory = FakeFactory()
        service, _, _ = self.serve(None, None, factory=factory)
        self.start(service)
        service.stopService()
        self.assertEqual(len(factory.closing), 1)
