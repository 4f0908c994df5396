"""
The stream to the account's own server: we are the initiating entity (RFC 6120).

From the connection to a stream on which SASL can begin: stream headers, STARTTLS, verification of
the certificate. What follows is relayed or done by L{xmpproxy.login} and L{xmpproxy.session},
which own the stream one after the other.
"""

from __future__ import annotations

from typing import Any, Protocol, cast
from xml.sax.saxutils import quoteattr

from OpenSSL import SSL
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.jabber import xmlstream
from twisted.words.protocols.jabber.error import StreamError

from xmpproxy import features, ns, refusals
from xmpproxy.certificates import CertificateError
from xmpproxy.coders import OpenSSLCoder
from xmpproxy.config import Domain, Limits
from xmpproxy.connect import UnreachableError
from xmpproxy.outage import Outage
from xmpproxy.shown import shownText
from xmpproxy.splitter import Splitter, StreamHeader
from xmpproxy.stanza import Stanza, shortened
from xmpproxy.turns import Turns
from xmpproxy.upstreamtls import UpstreamTLS
from xmpproxy.xmlstream import OpenStreams, StanzaStream

log = Logger()

#: The largest stanza that a server may send, in bytes.
STANZA_BYTES = 16 * 1024 * 1024

#: From the connection to features that offer SASL, in seconds.
READY_SECONDS = 30

_SAID_NOTHING = (
    "the server closed the connection before it said anything; if it limits what this machine's "
    "address may do (connection rates, fail2ban), exempt the address from that"
)


class UpstreamFailed(Exception):
    """
    No stream to the server could be had. Says why, for the operator.

    @ivar unreachable: whether there was no connection, or none that lasted: it may be better later.
    """

    def __init__(self, why: str, unreachable: bool = False) -> None:
        super().__init__(why)
        self.unreachable = unreachable


class UpstreamOwner(Protocol):
    """Who is told of what comes from the server once SASL can begin."""

    def upstreamFeatures(self, features: Stanza) -> None:
        """The server sent its stream features."""

    def upstreamStanzas(self, stanzas: list[Stanza]) -> None:
        """The server sent first-level elements that are neither features nor a stream error."""

    def upstreamLost(self, why: str, error: Stanza | None) -> None:
        """
        The stream cannot be used any more. Called once.

        @param error: the server's stream error, if it sent one.
        """

    def upstreamVanished(self, why: str) -> bool:
        """
        The same, but the server has not closed the stream: its connection is lost.

        @return: whether the stream is to be resumed, and so is not closed by us either.
        """


class Reconnecting(Protocol):
    """A session on its way back to its server."""

    def stop(self) -> None:
        """The proxy ends."""


class Upstream(StanzaStream):
    """
    The stream itself.

    @ivar connection: its TLS, if it has any.
    """

    authenticator: UpstreamAuthenticator
    connection: SSL.Connection | None = None

    def makeConnection(self, transport: Any) -> None:
        """Begin. An endpoint's wrapper, which only reports this, would pass on each read."""
        if getattr(getattr(transport, "protocol", None), "_wrappedProtocol", None) is self:
            transport.protocol = self
        super().makeConnection(transport)

    def secure(self, connection: SSL.Connection) -> None:
        """
        Have TLS from now on.

        @param connection: a new one, about to shake hands.
        """
        self.connection = connection
        self.startTLS(OpenSSLCoder(connection))

    def makeSplitter(self) -> Splitter:
        limits = self.limits
        if not self.authenticator.secured:
            return super().makeSplitter()
        # A server has limits of its own, and a long roster is no offence.
        return Splitter(
            max(STANZA_BYTES, limits.stanza_bytes),
            limits.depth,
            limits.attributes,
            limits.namespaces,
            lenient=True,
        )

    def sendHeader(self) -> None:
        # Without an XML declaration: some servers refuse one on a restarted stream.
        self.write(
            f"<stream:stream to={quoteattr(self.authenticator.domain.name)} version='1.0' "
            f"xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}'>".encode()
        )
        self._headerSent = True

    def drop(self) -> None:
        """Drop the connection, and let the server think that it was lost."""
        self.closing = True
        self.transport.abortConnection()

    def restart(self) -> None:
        """Begin anew after SASL (RFC 6120, section 6.4.6). The server's features will follow."""
        self.reset()
        self.sendHeader()

    def handshakeCompleted(self) -> None:
        """TLS is up. Nothing is sent before the certificate is verified."""
        self.authenticator.handshakeCompleted()


class UpstreamAuthenticator(xmlstream.ConnectAuthenticator):
    """
    Gets the stream ready for SASL.

    @ivar ready: fires with the server's features, or L{UpstreamFailed}. L{None} after that.
    @ivar owner: who is told of everything after that.
    @ivar secured: whether it is the server that is spoken to.
    """

    xmlstream: Upstream

    def __init__(
        self, domain: Domain, tlsOptions: UpstreamTLS, streams: OpenStreams[Upstream]
    ) -> None:
        super().__init__(domain.name)
        self.domain = domain
        self.owner: UpstreamOwner | None = None
        self.ready: Deferred[Stanza] | None = Deferred(self._abort)
        self._tlsOptions = tlsOptions
        self._streams = streams
        self.secured = domain.upstream_tls == "none"
        self._proceeding = False
        self._error: Stanza | None = None
        self._lost = False
        self._heard = False  # whether it ever sent a stream header

    def _abort(self, ready: Deferred[Stanza]) -> None:
        self._lost = True
        self.xmlstream.transport.abortConnection()

    def connectionMade(self) -> None:
        self._streams.add(self.xmlstream)
        if self.domain.upstream_tls == "direct":
            self.xmlstream.secure(self._tlsOptions.connection())
        else:
            self.xmlstream.sendHeader()

    def handshakeCompleted(self) -> None:
        connection = self.xmlstream.connection
        assert connection is not None
        try:
            self._tlsOptions.verifyPeer(connection)
        except CertificateError as e:
            self._fail(str(e))
        else:
            self.secured = True
            self.xmlstream.reset()
            self.xmlstream.sendHeader()

    def streamStarted(self, header: StreamHeader) -> None:
        self._heard = True
        if (header.namespace, header.name) != (ns.STREAMS, "stream"):
            self._fail("what answers is no XMPP server; correct upstream")
        elif not header.attributes.get("version", "").startswith("1."):
            self._fail("the server speaks no XMPP 1.0")

    def stanzasReceived(self, stanzas: list[Stanza]) -> None:
        if self._lost:
            return  # sent behind the end of the stream
        splitter = self.xmlstream.stream
        ordinary: list[Stanza] = []
        for stanza in stanzas:
            if stanza.namespace == ns.STREAMS and stanza.fault is None:
                self._pass(ordinary)
                if self._lost or self.xmlstream.stream is not splitter:
                    return  # that was the end of the stream these belong to
                ordinary = []
                if stanza.name == "error":
                    self._error = stanza
                    self.streamEnded()
                    return
                if stanza.name == "features":
                    self._featuresReceived(stanza)
            else:
                ordinary.append(stanza)
        self._pass(ordinary)

    def _pass(self, stanzas: list[Stanza]) -> None:
        if not stanzas:
            return
        if self.owner is not None:
            self.owner.upstreamStanzas(stanzas)
        elif self._proceeding and (stanzas[0].namespace, stanzas[0].name) == (ns.TLS, "proceed"):
            # What came behind <proceed/> in the clear is not looked at: reset() drops it.
            self._proceeding = False
            self.xmlstream.reset()
            self.xmlstream.secure(self._tlsOptions.connection())
        else:
            name = shortened(stanzas[0].name)
            self._fail(f"the server sent <{name}/> where TLS was to begin")

    def _featuresReceived(self, stanza: Stanza) -> None:
        if self.owner is not None:
            self.owner.upstreamFeatures(stanza)
        elif self.secured:
            assert self.ready is not None
            self.ready.callback(stanza)
        elif features.hasFeature(stanza.element, ns.TLS, "starttls"):
            self._proceeding = True
            self.xmlstream.write(f"<starttls xmlns='{ns.TLS}'/>".encode())
        else:
            self._fail(
                "the server offers no STARTTLS; give it a certificate, or set "
                'upstream-tls = "direct" if that port speaks TLS at once'
            )

    def streamFault(self, error: StreamError) -> None:
        self.xmlstream.closeStream(error)
        why = f"the server sent what is not allowed: {error.condition}, {error.text}"
        self._fail(why if self.owner else f"{why}; if that is no XMPP server, correct upstream")

    def streamEnded(self) -> None:
        if self._error is not None:
            self._fail(f"the server closed the stream: {refusals.explained(self._error)}")
        elif self._heard:
            self._fail("the server closed the stream")
        else:
            self._fail(_SAID_NOTHING)

    def giveUp(self, why: str) -> None:
        """Take the server for gone, and close. The owner is told."""
        self._fail(why)

    def takeForLost(self, why: str) -> None:
        """Take the connection for lost. The owner is told."""
        self._fail(why, vanished=True)

    def connectionLost(self, reason: Failure) -> None:
        self._streams.discard(self.xmlstream)
        connection = self.xmlstream.connection
        if connection is not None and not self.secured:
            self._fail(self._tlsOptions.explain(reason, connection), vanished=True)
        else:
            # Else it was closed because of what a bug of ours, or of TLS, has made of what came.
            vanished = reason.check(ConnectionClosed) is not None
            why = reason.getErrorMessage() if self._heard else _SAID_NOTHING
            self._fail(why, vanished=vanished)

    def _fail(self, why: str, *, vanished: bool = False) -> None:
        if self._lost:
            return
        self._lost = True
        owner, self.owner = self.owner, None
        if owner is not None:
            if vanished and owner.upstreamVanished(why):
                self.xmlstream.drop()
                return
            if not vanished:
                owner.upstreamLost(why, self._error)
        elif self.ready is not None and not self.ready.called:
            self.ready.errback(UpstreamFailed(why, vanished))
        self.xmlstream.closeStream()
        self.xmlstream.disconnect()


class Upstreams(Service):
    """
    Opens streams to the server of one domain. As a service it has stopped once all are closed;
    who owns them closes them.

    @ivar domain: the domain and what is configured for it.
    @ivar streams: those that are open.
    @ivar outage: what is known of the server's failures.
    @ivar reconnections: the sessions that are on their way back.
    @ivar stopped: whether no stream is to be opened any more.
    """

    def __init__(
        self,
        domain: Domain,
        endpoint: IStreamClientEndpoint,
        tlsOptions: UpstreamTLS,
        limits: Limits,
        clock: IReactorTime,
    ) -> None:
        self.domain = domain
        self.streams = OpenStreams[Upstream]()
        self.outage = Outage()
        self._turns = Turns(limits.connects)
        self.reconnections: set[Reconnecting] = set()
        self.stopped = False
        self.clock = clock
        self._endpoint = endpoint
        self._tlsOptions = tlsOptions
        self._limits = limits
        self._complaints: set[str] = set()
        self._factory = Factory.forProtocol(self._stream)
        self._factory.noisy = False

    def _stream(self) -> Upstream:
        authenticator = UpstreamAuthenticator(self.domain, self._tlsOptions, self.streams)
        return Upstream(authenticator, self._limits, self.clock)

    def stopService(self) -> Deferred[None]:
        """
        @return: fires when all streams are closed.
        """
        super().stopService()
        self.stopped = True
        for each in list(self.reconnections):
            each.stop()
        return self.streams.end(self.clock)

    def complain(self, why: str) -> None:
        """Tell the operator, once, why the domain's streams cannot be resumed."""
        if why not in self._complaints:
            self._complaints.add(why)
            name = self.domain.name
            log.warn("{domain}: upstream-resume: {why}", domain=name, why=shownText(why))

    async def open(self, address: str) -> tuple[Upstream, Stanza]:
        """
        Connect, in turn.

        @param address: where the client is that wants it.
        @return: a stream on which SASL can begin, and the server's features. Set its owner at once.
        @raise UpstreamFailed: there is no such stream.
        """
        await self._turns.take(address)
        try:
            stream = await self._connect()
            authenticator = stream.authenticator
            assert authenticator.ready is not None
            authenticator.ready.addTimeout(READY_SECONDS, self.clock)
            offered = await authenticator.ready
            authenticator.ready = None
        except TimeoutError:
            raise UpstreamFailed(
                f"the server took the connection, and was not ready for a login in {READY_SECONDS} "
                "s; it is overloaded or hangs: see its log, or restart it",
                unreachable=True,
            ) from None
        finally:
            self._turns.give()
        return stream, offered

    async def _connect(self) -> Upstream:
        # What fails is held by a Deferred, and that by a frame of its traceback. Without the latter
        # nothing is left to the garbage collector, such as the session that wanted the stream.
        try:
            return cast(Upstream, await self._endpoint.connect(self._factory))
        except CancelledError:
            raise
        except UnreachableError as e:
            failed = UpstreamFailed(str(e), unreachable=True)
            # Who waits would wait for the same.
            self._turns.fail(Failure(failed))
            raise failed from e.with_traceback(None)
        except Exception as e:
            why = str(e).rstrip(".")
            raise UpstreamFailed(
                f"cannot connect: {why}; start the server, or correct upstream", unreachable=True
            ) from e.with_traceback(None)
