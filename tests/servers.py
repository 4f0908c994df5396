"""What tests against real servers share: servers started once, clients, and the proxy before them.

Where a server cannot run, its tests are skipped with the reason, or fail if the environment says
C{XMPPROXY_REQUIRE_SERVERS=1}. C{XMPPROXY_SERVERS=none} skips them all.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import MappingProxyType
from unittest import SkipTest

from twisted.internet import defer, reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectionRefusedError, ProcessDone
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.linkrelay import LinkRelay, Place
from tests.rawclient import RawClient
from tests.slixclient import SlixClient
from tests.smclient import SmClient
from xmpproxy import lab
from xmpproxy.lab.server import freePort

PROXY_SECONDS = 30.0
_POLL_SECONDS = 0.05
#: A busy machine may take long to pass on what was written.
_LOG_SECONDS = 30.0

# The words before the reason of every skip; the CI gate looks for them.
SKIPPED = "no real server"

Table = Mapping[str, str | int | float | bool]
_EMPTY: Table = MappingProxyType({})

# Accounts for tests that want to be the first to use one.
_STRANGERS = tuple(f"p{number}" for number in range(160))

_servers: dict[tuple[str, bool, bool], lab.Server] = {}
_met: defaultdict[lab.Server, Iterator[int]] = defaultdict(count)


def requireServer(kind: str) -> None:
    """Skip a test, or fail it where servers are required, if a server of the lab cannot run here.

    @raise SkipTest: it cannot, and is not required.
    """
    if os.environ.get("XMPPROXY_SERVERS") == "none":
        raise SkipTest(f"{SKIPPED}: XMPPROXY_SERVERS=none")
    reason = lab.available(kind)
    if reason is not None:
        if os.environ.get("XMPPROXY_REQUIRE_SERVERS") == "1":
            raise AssertionError(f"{SKIPPED}: {reason}")
        raise SkipTest(f"{SKIPPED}: {reason}")


def realServer(kind: str, carbons: bool = True, archive: bool = False) -> lab.Server:
    """A server of the lab, started by the first test that asks and stopped at the process's end.

    @raise SkipTest: it cannot run here, and is not required.
    """
    requireServer(kind)
    variant = (kind, carbons, archive)
    if variant not in _servers:
        users = (*lab.USERS, *_STRANGERS)
        _servers[variant] = lab.start(kind, users=users, carbons=carbons, archive=archive)
    return _servers[variant]


def onServers(
    *kinds: str, withoutCarbons: Sequence[str] = ()
) -> Callable[[type[ServerCase]], None]:
    """Make a class of tests into one class for each of these servers, named after both.

    @param kinds: with all that they offer.
    @param withoutCarbons: with their Message Carbons switched off.
    """
    variants = [(kind, True) for kind in kinds] + [(kind, False) for kind in withoutCarbons]

    def decorate(tests: type[ServerCase]) -> None:
        for kind, carbons in variants:
            name = f"{tests.__name__}_{kind}" + ("" if carbons else "_withoutCarbons")
            body = {
                "kind": kind,
                "carbons": carbons,
                "__module__": tests.__module__,
                "__qualname__": name,
            }
            setattr(sys.modules[tests.__module__], name, type(name, (tests,), body))

    return decorate


class ServerCase(TestCase):
    """A test that uses a real server.

    @cvar kind: which one (L{lab.KINDS}).
    @cvar carbons: whether it offers Message Carbons, if it can.
    @cvar archive: whether it keeps a message archive, if it can.
    """

    kind: str
    carbons = True
    archive = False

    def setUp(self) -> None:
        self.server = realServer(self.kind, self.carbons, self.archive)

    def stranger(self) -> str:
        """The name of an account that nobody has used: the server keeps nothing of it."""
        return _STRANGERS[next(_met[self.server])]

    def rawClient(
        self, user: str, resource: str | None = None, at: Place | None = None
    ) -> RawClient:
        """A raw client that is closed with the test.

        @param user: the account's name.
        @param at: the proxy or relay to connect to, or L{None} for the server itself.
        """
        place = at or self.server
        jid = f"{user}@{self.server.domain}"
        password = self.server.users[user]
        client = RawClient(place.host, place.port, jid, password, resource, place.trust)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    def slixClient(
        self,
        user: str,
        resource: str | None = None,
        at: Place | None = None,
        resumes: bool = False,
    ) -> SlixClient:
        """A slixmpp client that is closed with the test; parameters as for L{rawClient}.

        @param resumes: it has stream management (XEP-0198), and reconnects.
        """
        place = at or self.server
        jid = f"{user}@{self.server.domain}" + (f"/{resource}" if resource else "")
        password = self.server.users[user]
        client = SlixClient(place.host, place.port, jid, password, place.trust, resumes)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    def smClient(self, user: str, resource: str | None = None, at: Place | None = None) -> SmClient:
        """A client with stream management that is closed with the test; parameters as above."""
        place = at or self.server
        jid = f"{user}@{self.server.domain}"
        password = self.server.users[user]
        client = SmClient(place.host, place.port, jid, password, resource, place.trust)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    def successor(self, client: SmClient, at: Place | None = None) -> SmClient:
        """A client that goes on where another one is, and is closed with the test."""
        successor = client.successor(at or self.server)
        self.addCleanup(lambda: Deferred.fromCoroutine(successor.close()))
        return successor

    async def relayFor(self, place: Place) -> LinkRelay:
        """Start a relay before a place; it is stopped with the test."""
        relay = LinkRelay(place)
        await relay.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(relay.stop()))
        return relay

    async def proxyFor(
        self,
        server: lab.Server,
        *,
        listen: Table | Sequence[Table] = _EMPTY,
        domain: Table = _EMPTY,
        mirror: Table = _EMPTY,
        limits: Table = _EMPTY,
        streamManagement: Table = _EMPTY,
        descriptors: Table = _EMPTY,
    ) -> Proxy:
        """Start the proxy before a server; the test stops it at its end and checks how it ends.

        Every parameter holds entries of the configuration file's table of that name.

        @param listen: one table, or several; C{{tcp}} in an endpoint stands for a free port.
        @param descriptors: no table, but how many the process may have: C{soft} and C{hard}.
        """
        listeners = [listen] if isinstance(listen, Mapping) else listen
        tables = {
            "domain": domain,
            "mirror": mirror,
            "limits": limits,
            "stream-management": streamManagement,
        }
        proxy = Proxy(server, listeners, tables, descriptors)
        self.addCleanup(lambda: Deferred.fromCoroutine(proxy.stop()))
        await proxy.start()
        return proxy


class Proxy(ProcessProtocol):
    """A proxy in a process of its own, started as an operator would.

    @ivar host: the address it listens on.
    @ivar ports: its ports, in the order of the listeners.
    @ivar port: the first of them.
    @ivar trust: PEM file of the authority that signed its certificate.
    @ivar config: its configuration file.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        server: lab.Server,
        listen: Sequence[Table],
        tables: Mapping[str, Table],
        descriptors: Table = _EMPTY,
    ) -> None:
        self._descriptors = descriptors
        self.ports = [freePort() for _ in listen]
        self.port = self.ports[0]
        self.trust = server.trust
        self._output = b""
        self._more: Deferred[None] | None = None  # output that is waited for
        self._started = False
        self._ended: Deferred[None] = Deferred()
        self._status: Failure | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="xmpproxy-"))
        self.config = self._directory / "xmpproxy.toml"
        direct = tables["domain"].get("upstream-tls") == "direct"
        lines: list[str] = []
        for port, table in zip(self.ports, listen, strict=True):
            endpoint = str(table.get("endpoint", "{tcp}"))
            tcp = f"tcp:{port}:interface={self.host}"
            lines += _toml("[[listen]]", {**table, "endpoint": endpoint.format(tcp=tcp)})
        certificate = {"certificate": str(server.certificate), "private-key": str(server.key)}
        lines += _toml("[tls]", certificate)
        upstream = {
            "name": server.domain,
            "upstream": f"tcp:{server.host}:{server.tlsPort if direct else server.port}",
            "upstream-trust": str(server.trust),
        }
        lines += _toml("[[domain]]", {**upstream, **tables["domain"]})
        for name in ("mirror", "limits", "stream-management"):
            lines += _toml(f"[{name}]", tables[name])
        self.config.write_text("\n".join(lines) + "\n")

    @property
    def pid(self) -> int:
        """The process."""
        assert self.transport is not None
        pid: int = self.transport.pid
        return pid

    @property
    def log(self) -> str:
        """All that has been read so far of what the proxy writes."""
        return self._output.decode(errors="replace")

    async def logs(self, text: str) -> None:
        """Wait until the proxy has written something: what it sends to others may come sooner.

        @raise AssertionError: it does not.
        """
        while text not in self.log:
            self._more = Deferred()
            try:
                await self._more.addTimeout(_LOG_SECONDS, reactor)
            except defer.TimeoutError:
                raise AssertionError(f"{text!r} is not in the log:\n{self.log}") from None

    async def start(self) -> None:
        """Start the process, again if it was killed, and wait until it listens on all its ports."""
        self._started = True
        self._status, self._ended = None, Deferred()
        twistd = str(Path(sys.executable).with_name("twistd"))
        program = [twistd, "-n", "--pidfile=", "xmpproxy", "--config", str(self.config)]
        if self._descriptors:
            limited = 'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$0" "$@"'
            program = ["/bin/sh", "-c", limited.format_map(self._descriptors), *program]
        root = str(Path(__file__).parent.parent)
        reactor.spawnProcess(
            self,
            program[0],
            program,
            env={**os.environ, "PYTHONPATH": root},
            path=str(self._directory),
        )
        deadline = reactor.seconds() + PROXY_SECONDS
        for port in self.ports:
            while not await self._listens(port):
                if self._status is not None or reactor.seconds() > deadline:
                    raise AssertionError(f"the proxy did not come up:\n{self.log}")
                await deferLater(reactor, _POLL_SECONDS)

    async def stop(self) -> None:
        """End the process with SIGTERM.

        @raise AssertionError: it ended otherwise than with exit status 0.
        """
        if self._started:
            if self._status is None:
                assert self.transport is not None
                self.transport.signalProcess("TERM")
                await self._ended
            assert self._status is not None
            if self._status.check(ProcessDone) is None:
                raise AssertionError(f"{self._status.getErrorMessage()}\n{self.log}")
        shutil.rmtree(self._directory, ignore_errors=True)

    async def kill(self) -> None:
        """End the process as a crash would."""
        assert self.transport is not None
        self.transport.signalProcess("KILL")
        await self._ended
        self._started = False

    async def _listens(self, port: int) -> bool:
        try:
            connection = await connectProtocol(
                HostnameEndpoint(reactor, self.host, port), Protocol()
            )
        except ConnectionRefusedError:
            return False
        assert connection.transport is not None
        connection.transport.abortConnection()
        return True

    def outReceived(self, data: bytes) -> None:
        self._output += data
        more, self._more = self._more, None
        if more is not None:
            more.callback(None)

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self._status = reason
        self._ended.callback(None)


def _toml(header: str, table: Table) -> list[str]:
    return [header, *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
