"""
C{twistd xmpproxy}: its options, and the service they ask for.

The only place where concrete parts are put together.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, TextIO

from twisted.application.internet import TimerService
from twisted.application.service import IService
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python import usage

from xmpproxy.accepting import Accepting
from xmpproxy.account import Accounts
from xmpproxy.admission import Admission
from xmpproxy.certificates import CertificateError
from xmpproxy.computing import Computing
from xmpproxy.config import FLAGS, Config
from xmpproxy.configfile import ConfigError, fromFlags, load
from xmpproxy.connect import clientEndpoint
from xmpproxy.downstream import Downstream, DownstreamFactory
from xmpproxy.downstreamtls import TICKET_KEY_SECONDS, ServerTLS, serverContextFactory
from xmpproxy.endpoints import withBacklog
from xmpproxy.features import Offers
from xmpproxy.garbage import Garbage
from xmpproxy.handlers import CHAIN
from xmpproxy.ids import copyIds
from xmpproxy.keepalive import KeepAlive
from xmpproxy.lastinglog import LastingLog
from xmpproxy.limitlog import LimitLog
from xmpproxy.login import Login
from xmpproxy.polling import LeanPolling
from xmpproxy.proxyprotocol import serverEndpoint
from xmpproxy.queues import Queues
from xmpproxy.reloading import Reader, Reloading
from xmpproxy.resumption import Resumables
from xmpproxy.service import Listener, ProxyService
from xmpproxy.session import Session
from xmpproxy.upstream import Upstream, Upstreams
from xmpproxy.upstreamtls import UpstreamTLS

_log = Logger()


class Options(usage.Options):
    """
    The options of C{twistd xmpproxy}.

    @ivar config: the configuration they say, once they are parsed.
    """

    longdesc = (
        "An XMPP proxy that shows the whole conversation on every client of an account. "
        "Takes a configuration file, or, for one domain and one listener, flags."
    )
    optParameters: ClassVar = [
        ["config", "c", None, "Configuration file, in TOML; excludes all other flags."],
        *([flag, None, None, help] for flag, (_, help) in FLAGS.items()),
    ]
    config: Config

    def postOptions(self) -> None:
        """
        Read and check the configuration.

        @raise usage.UsageError: the flags do not go together.
        @raise SystemExit: with every problem that the configuration has, a line each. Not a usage
            error, for which twistd would print all flags before what matters.
        """
        flags = {flag: self[flag] for flag in FLAGS if self[flag] is not None}
        if self["config"] is None and not flags:
            raise usage.UsageError("name a configuration file with --config, or use --domain")
        if self["config"] is not None and flags:
            names = ", ".join(f"--{flag}" for flag in flags)
            raise usage.UsageError(f"--config excludes {names}; write the like into the file")
        try:
            self.config = fromFlags(flags) if flags else load(self["config"])
        except ConfigError as error:
            raise SystemExit(str(error)) from error


def makeService(options: Options) -> IService:
    """The service that twistd is to run."""
    return serviceOf(options.config)


def serviceOf(config: Config) -> IService:
    """The service that a configuration describes."""
    from twisted.internet import reactor

    _endWithZero(reactor)
    try:
        clientTLS, serverTLS = buildTLS(config)
    except CertificateError as error:
        raise SystemExit(f"{config.where('tls', 'certificate')}: {error}") from error
    upstreams = buildUpstreams(config, reactor, serverTLS)
    accounts = Accounts(copyIds())
    resumables = Resumables(config.stream_management, reactor)
    queues = Queues(config.limits.all_queues_bytes, accounts.sessions, reactor)
    admission = Admission(config.limits, reactor.seconds)
    limitLog = LimitLog(config.limits, reactor)
    listeners = buildListeners(
        config, reactor, clientTLS, upstreams, accounts, resumables, queues, admission, limitLog
    )

    def streams() -> int:
        return sum(len(each.streams) for each in upstreams.values())

    accepting = Accepting(admission, limitLog, streams, reactor)
    service = ProxyService(config, reactor, listeners, accepting, _stderr())
    limitLog.setServiceParent(service)
    idleSeconds = config.stream_management.idle_seconds
    KeepAlive(idleSeconds, accounts, reactor).setServiceParent(service)
    resumables.setServiceParent(service)
    for each in upstreams.values():
        each.setServiceParent(service)
    readers: list[Reader] = [*serverTLS.values()]
    if clientTLS is not None:
        readers.insert(0, clientTLS)
        TimerService(TICKET_KEY_SECONDS, clientTLS.renewTickets).setServiceParent(service)
    Reloading(readers, reactor).setServiceParent(service)
    LeanPolling(reactor).setServiceParent(service)
    LastingLog(reactor).setServiceParent(service)
    Garbage(streams).setServiceParent(service)
    return service


def buildTLS(config: Config) -> tuple[ServerTLS | None, Mapping[str, UpstreamTLS]]:
    """
    Our side of TLS with clients, if any have it, and with the servers, by domain.

    @raise CertificateError: a file cannot be used.
    """
    domains = {domain.name: domain for domain in config.domain}
    upstream = {
        name: UpstreamTLS(name, domain.upstream_trust, direct=domain.upstream_tls == "direct")
        for name, domain in domains.items()
    }
    if all(listen.tls == "none" for listen in config.listen):
        return None, upstream
    return serverContextFactory(config.tls, config.directory, list(domains)), upstream


def buildUpstreams(
    config: Config, reactor: Any, tls: Mapping[str, UpstreamTLS]
) -> Mapping[str, Upstreams]:
    """What connects to the servers, by domain."""
    return {
        domain.name: Upstreams(
            domain,
            clientEndpoint(reactor, domain),
            tls[domain.name],
            config.limits,
            reactor,
        )
        for domain in config.domain
    }


def buildListeners(
    config: Config,
    reactor: Any,
    tls: ServerTLS | None,
    upstreams: Mapping[str, Upstreams],
    accounts: Accounts,
    resumables: Resumables,
    queues: Queues,
    admission: Admission,
    limitLog: LimitLog,
) -> Sequence[Listener]:
    """What serves the clients: one for each of C{config.listen}, in that order."""
    compute = Computing(reactor)

    def login(downstream: Downstream, domain: str) -> Login:
        return Login(downstream, upstreams[domain], bound, accounts, resumables, compute)

    def bound(downstream: Downstream, upstream: Upstream, jid: str, offers: Offers) -> Session:
        return Session(
            downstream,
            upstream,
            jid,
            offers,
            CHAIN,
            accounts,
            resumables,
            queues,
            config.mirror,
            config.stream_management,
        )

    return [
        (
            listen,
            serverEndpoint(reactor, withBacklog(listen.endpoint)),
            DownstreamFactory(
                listen,
                config.limits,
                frozenset(upstreams),
                tls,
                login,
                admission,
                limitLog,
                reactor,
            ),
        )
        for listen in config.listen
    ]


def _stderr() -> TextIO | None:
    """Standard error as it is now, to be kept through becoming a daemon."""
    try:
        return open(os.dup(sys.stderr.fileno()), "w")
    except (OSError, ValueError):  # there is none
        return None


def _endWithZero(reactor: Any) -> None:
    """Make SIGTERM end with exit code 0. By itself twistd dies of it in the end."""

    def stop() -> None:
        with suppress(ReactorNotRunning):  # a second SIGTERM
            reactor.stop()

    def terminate(*_: object) -> None:
        _log.info("Received SIGTERM, shutting down.")
        reactor.callFromThread(stop)

    def listen() -> None:
        signal.signal(signal.SIGTERM, terminate)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    # The reactor installs a handler of its own as it starts: a signal waits until ours is there.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    reactor.callWhenRunning(listen)
