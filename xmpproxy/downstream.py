"""
The stream from a client: we are the receiving entity (RFC 6120).

Stream headers and STARTTLS are handled here; from SASL to resource binding it is
L{xmpproxy.login}'s, after that L{xmpproxy.session}'s.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from typing import Protocol
from xml.sax.saxutils import quoteattr

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol as ConnectionProtocol
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.jabber import xmlstream
from twisted.words.protocols.jabber.error import StreamError
from zope.interface import implementer

from xmpproxy import endpoints, features, ns
from xmpproxy.admission import LOCAL, Admission, Origin, Refusal, origin
from xmpproxy.bucket import Bucket
from xmpproxy.config import Limits, Listen
from xmpproxy.downstreamtls import ServerTLS, whyFailed
from xmpproxy.interfaces import IStoppableFactory
from xmpproxy.jid import preparedDomain, split
from xmpproxy.limitlog import LimitLog
from xmpproxy.shown import shown, shownText
from xmpproxy.splitter import StreamHeader
from xmpproxy.stanza import Stanza, shortened
from xmpproxy.streammanagement import Resume
from xmpproxy.xmlstream import RATE, OpenStreams, Reading, StanzaStream

log = Logger()

#: What may come of a client that has not logged in, in bytes per second. A login is some KB.
LOGIN_BYTES_PER_SECOND = 16384

_STANZAS = frozenset({"message", "presence", "iq"})


class DownstreamOwner(Protocol):
    """Who is told of what comes from the client once it may log in."""

    def downstreamStarted(self) -> None:
        """The client began a stream: over TLS first, and another after SASL."""

    def downstreamStanzas(self, stanzas: list[Stanza]) -> None:
        """The client sent first-level elements."""

    def overdue(self) -> bool:
        """
        The login takes too long.

        @return: whether that was seen to; if not, the client is to blame.
        """

    def downstreamLost(self, outcome: str) -> None:
        """
        The stream is closed, by whomever, for a reason in a word or two. Called once.
        """


class Downstream(StanzaStream):
    """
    The stream itself. It is read no faster than it may, and, as long as nobody else sees to that,
    only while the client reads what it gets.

    @ivar former: the stream that the client has tried to resume, if it has.
    """

    authenticator: DownstreamAuthenticator

    def __init__(
        self, authenticator: DownstreamAuthenticator, limits: Limits, clock: IReactorTime
    ) -> None:
        rate = limits.bytes_per_second
        self._bucket = Bucket(min(rate, LOGIN_BYTES_PER_SECOND)) if rate else None
        self._readOn: IDelayedCall | None = None
        self.former: Resume | None = None
        super().__init__(authenticator, limits, clock)

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the connection."""
        if self._bucket is not None:
            wait = self._bucket.take(len(data), self.clock.seconds())
            if wait and self._readOn is None:
                self.pause(RATE)
                self._readOn = self.clock.callLater(wait, self._waited)
        super().dataReceived(data)

    def _waited(self) -> None:
        self._readOn = None
        self.resume(RATE)

    def _waitNoMore(self) -> None:
        if self._readOn is not None:
            self._readOn.cancel()
            self._waited()

    def loggedIn(self) -> None:
        """More may come from now on, and who has the stream now sees to whether that is read."""
        rate = self.limits.bytes_per_second
        self._bucket = Bucket(rate) if rate else None
        if self.stream is not None:
            self.stream.allow(self.limits.stanza_bytes)
        self._waitNoMore()
        self.unregisterProducer()
        self.resume()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._waitNoMore()
        super().connectionLost(reason)

    @property
    def address(self) -> str:
        """Where the client is, for people. Behind a load balancer that is known late."""
        host = getattr(self.transport.getPeer(), "host", None)
        return "a local socket" if host is None else shown(str(host))

    def textReceived(self, data: bytes) -> None:
        if self.closing:
            return
        if data[:1] == b"\x16" and self.stream is not None and self.stream.pristine:
            # A TLS handshake where STARTTLS is expected. Some clients try that first: they take a
            # silent close as a no, and come back.
            self.disconnect()
            return
        super().textReceived(data)

    def sendHeader(self) -> None:
        authenticator = self.authenticator
        header = (
            f"<?xml version='1.0'?><stream:stream id='{secrets.token_hex(16)}' version='1.0' "
            f"xml:lang='en' xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}'"
        )
        if authenticator.domain is not None:
            header += f" from={quoteattr(authenticator.domain)}"
        if authenticator.client is not None:
            header += f" to={quoteattr(authenticator.client)}"
        self.write(header.encode() + b">")
        self._headerSent = True

    def handshakeCompleted(self) -> None:
        """TLS is up."""
        self.authenticator.handshakeCompleted()


class _BehindBalancer(Downstream):
    """The same, where a load balancer says where the client is: by the PROXY protocol."""

    _balancer: IAddress | None = None  # until that is said

    def connectionMade(self) -> None:
        self._balancer = self.transport.getPeer()
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if self._balancer is not None:
            peer = self.transport.getPeer()
            # Still the same: what the balancer itself wants to know, or it does not know, either.
            address = LOCAL if peer == self._balancer else _originOf(peer)
            self._balancer = None
            self.authenticator.comesFrom(address)
        if not self.closing:
            super().dataReceived(data)


class _Refused(ConnectionProtocol):
    """A connection that is closed at once."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(_REFUSED.format(refusal=self._refusal).encode())
        self.transport.loseConnection()


#: All that such a client is told, which is no more work than to close.
_REFUSED = (
    f"<?xml version='1.0'?><stream:stream id='refused' version='1.0' xml:lang='en' "
    f"xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAMS}'><stream:error>"
    f"<{{refusal.condition}} xmlns='{ns.STREAM_ERRORS}'/>"
    f"<text xmlns='{ns.STREAM_ERRORS}'>{{refusal.text}}</text></stream:error></stream:stream>"
)


def _originOf(peer: IAddress | None) -> str:
    return origin(getattr(peer, "host", None))


class DownstreamAuthenticator(xmlstream.ListenAuthenticator):
    """
    Leads a client to the point where it may log in.

    @ivar domain: the domain that the client asked for, if we serve it.
    @ivar client: what the client called itself in its stream header. Proves nothing.
    @ivar owner: who is told of everything once the client may log in.
    @ivar origin: where the client is.
    """

    xmlstream: Downstream
    origin: Origin

    def __init__(self, factory: DownstreamFactory, address: str) -> None:
        """
        @param address: where the client is, as far as that is known yet.
        """
        super().__init__()
        self.factory = factory
        self._address = address
        self.domain: str | None = None
        self.client: str | None = None
        self.owner: DownstreamOwner | None = None
        self._tls = factory.listen.tls
        self._secured = self._tls == "none"
        self._deadline: IDelayedCall | None = None
        self._until: float | None = None  # when it will be, while TLS has a sooner one
        self._loggingIn = True

    def connectionMade(self) -> None:
        stream = self.xmlstream
        stream.transport.registerProducer(Reading(stream), True)
        self.factory.streams.add(stream)
        self.origin = self.factory.admission.enter(self._address)
        seconds = stream.limits.login_seconds
        self._deadline = stream.clock.callLater(seconds, self._tooLate)
        if self._tls == "direct":
            self._startTLS()

    def comesFrom(self, address: str) -> None:
        """
        It is known where the client is.

        @param address: see L{origin}.
        """
        admission = self.factory.admission
        admission.loggedIn(self.origin)
        admission.leave(self.origin)
        refusal = admission.refusal(address)
        self.origin = admission.enter(address)
        if refusal is None:
            return
        if self._tls == "direct":
            self.xmlstream.closing = True
            self.xmlstream.transport.abortConnection()  # nothing can be said before TLS
        self.exceeds(refusal, "connection")

    def _startTLS(self) -> None:
        assert self.factory.tls is not None and self._deadline is not None
        stream = self.xmlstream
        self._until = self._deadline.getTime()
        left = self._until - stream.clock.seconds()
        self._deadline.reset(min(stream.limits.tls_seconds, left))
        self._secured = True
        stream.startTLS(self.factory.tls.coder())

    def handshakeCompleted(self) -> None:
        """TLS is up."""
        until, self._until = self._until, None
        if self._deadline is not None and until is not None:
            self._deadline.reset(max(0.0, until - self.xmlstream.clock.seconds()))

    def loggedIn(self) -> None:
        """The client has bound a resource: it may take its time now, and may say more."""
        self._stopWaiting()
        self.xmlstream.loggedIn()

    def _stopWaiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._loggingIn:
            self._loggingIn = False
            self.factory.admission.loggedIn(self.origin)

    def _tooLate(self) -> None:
        self._deadline = None
        if self._until is not None:
            limit = "tls-seconds"
            if self.xmlstream.clock.seconds() >= self._until:
                limit = "login-seconds"
            self.factory.limitLog.refused(limit, "TLS handshake", f"from {self.origin.name}")
            self.xmlstream.transport.abortConnection()  # nothing can be said
        elif self.owner is None or not self.owner.overdue():
            self.exceeds(Refusal("login-seconds", "connection-timeout", "log in sooner"), "login")

    def exceeds(self, refusal: Refusal, what: str) -> None:
        """
        Close because of a limit.

        @param what: what is refused.
        """
        self.factory.limitLog.refused(refusal.limit, what, f"from {self.origin.name}")
        self.xmlstream.closeStream(StreamError(refusal.condition, text=refusal.text))
        self._end(refusal.condition)

    def refuse(self, error: StreamError) -> None:
        """Close with a stream error."""
        text = error.text or ""
        if self._loggingIn:
            who = self.xmlstream.address
            self.factory.limitLog.objected(error.condition, shownText(text), who)
        else:
            log.info(
                "{client}: refused: {condition}, {text}",
                client=self.xmlstream.address,
                condition=error.condition,
                text=shownText(text),
            )
        self.xmlstream.closeStream(error)
        self._end(error.condition)

    def refuseStanza(self, stanza: Stanza) -> None:
        """Close because of an element that may not come now (sections 4.9.3.12 and 4.9.3.24)."""
        if stanza.fault is not None:
            self.refuse(StreamError("not-well-formed", text=stanza.fault))
        elif stanza.namespace == ns.CLIENT and stanza.name in _STANZAS:
            self.refuse(StreamError("not-authorized", text="log in and bind a resource first"))
        elif (stanza.namespace, stanza.name) == (ns.STREAMS, "error"):
            self.streamEnded()  # the client closes, and has said why
        else:
            text = f"<{shortened(stanza.name)}/> means nothing here"
            self.refuse(StreamError("unsupported-stanza-type", text=text))

    def streamStarted(self, header: StreamHeader) -> None:
        self.client = header.attributes.get("from")
        error = self._objection(header)
        if error is not None:
            self.refuse(error)
            return
        self.xmlstream.sendHeader()
        if not self._secured:
            self.xmlstream.send(features.beforeTLS())
        else:
            if self.owner is None:
                assert self.domain is not None
                self.owner = self.factory.login(self.xmlstream, self.domain)
            self.owner.downstreamStarted()

    def _objection(self, header: StreamHeader) -> StreamError | None:
        """What is wrong with a stream header (RFC 6120, sections 4.7 and 4.8)."""
        if header.name != "stream" or header.namespace != ns.STREAMS:
            return StreamError("invalid-namespace", text=f"not a stream of {ns.STREAMS}")
        if header.defaultNamespace != ns.CLIENT:
            return StreamError("invalid-namespace", text=f"the content is not {ns.CLIENT}")
        to = header.attributes.get("to")
        domain = self.factory.domainOf(to) if to else None
        if domain is not None and self.domain in (None, domain):
            self.domain = domain
        major = header.attributes.get("version", "0").partition(".")[0]
        if not (major.isascii() and major.isdigit() and int(major[:9]) >= 1):
            return StreamError("unsupported-version", text="XMPP 1.0 is what is spoken here")
        if not to:
            return StreamError("improper-addressing", text="the stream header has no 'to'")
        if domain is None or domain != self.domain:
            return StreamError("host-unknown", text="this domain is not served here")
        return None

    def stanzasReceived(self, stanzas: list[Stanza]) -> None:
        if self.xmlstream.closing:
            return  # sent with a header that was refused
        if self.owner is not None:
            self.owner.downstreamStanzas(stanzas)
            return
        # Before TLS. What is behind <starttls/> in the clear is never looked at (section 5.3.1).
        first = stanzas[0]
        stream = self.xmlstream
        if (first.namespace, first.name) == (ns.TLS, "starttls"):
            stream.write(f"<proceed xmlns='{ns.TLS}'/>".encode())
            stream.reset()
            self._startTLS()
        elif first.namespace == ns.SASL:
            stream.write(f"<failure xmlns='{ns.SASL}'><encryption-required/></failure>".encode())
            self.streamEnded()
        else:
            self.refuseStanza(first)

    def streamFault(self, error: StreamError) -> None:
        if not self.xmlstream.closing:
            self.refuse(error)

    def streamEnded(self) -> None:
        self.xmlstream.closeStream()
        self._end("closed")

    def connectionLost(self, reason: Failure) -> None:
        self._stopWaiting()
        stream = self.xmlstream
        self.factory.streams.discard(stream)
        self.factory.admission.leave(self.origin)
        why = stream.tls and whyFailed(reason, stream.tls.completed)
        if why:
            self.factory.limitLog.failed("TLS connection", why, f"from {self.origin.name}")
        self._end("connection lost")

    def _end(self, outcome: str) -> None:
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.downstreamLost(outcome)

    def shutdown(self) -> None:
        """The proxy ends."""
        self._end("shutdown")  # which may have more to say
        self.xmlstream.closeStream(StreamError("system-shutdown"))


@implementer(IStoppableFactory)
class DownstreamFactory(ServerFactory):
    """
    Makes the streams of one listener.

    @ivar streams: those that are open.
    @ivar admission: who may connect.
    @ivar limitLog: says who may not.
    """

    noisy = False

    def __init__(
        self,
        listen: Listen,
        limits: Limits,
        domains: Collection[str],
        tls: ServerTLS | None,
        login: Callable[[Downstream, str], DownstreamOwner],
        admission: Admission,
        limitLog: LimitLog,
        clock: IReactorTime,
    ) -> None:
        """
        @param domains: the domains that are served.
        @param tls: our side of TLS, where there is any.
        @param login: makes the owner of a stream on which a client of a domain may log in.
        """
        self.listen = listen
        self.tls = tls
        self.login = login
        self.admission = admission
        self.limitLog = limitLog
        self._balanced = endpoints.isBalanced(listen.endpoint)
        self._stream = _BehindBalancer if self._balanced else Downstream
        self.streams = OpenStreams[Downstream]()
        self._limits = limits
        self._domains = {preparedDomain(domain): domain for domain in domains}
        self._clock = clock

    def buildProtocol(self, addr: IAddress | None) -> Downstream | _Refused | None:
        """
        Make the stream of a connection.

        @return: what refuses it, if there are too many; L{None} where that cannot be said, since
            TLS comes first.
        """
        address = LOCAL if self._balanced else _originOf(addr)
        refusal = self.admission.refusal(address)
        if refusal is not None:
            self.limitLog.refused(refusal.limit, "connection", f"from {address}")
            return None if self.listen.tls == "direct" else _Refused(refusal)
        authenticator = DownstreamAuthenticator(self, address)
        stream = self._stream(authenticator, self._limits, self._clock)
        stream.factory = self
        return stream

    def domainOf(self, to: str) -> str | None:
        """The domain that a stream header is addressed to, if it is served."""
        return self._domains.get(preparedDomain(split(to)[1]))

    def shutdown(self) -> Deferred[None]:
        """
        Tell every client that the proxy ends, and close (RFC 6120, section 4.9.3.20).

        @return: fires when all connections are gone.
        """
        for stream in self.streams:
            stream.authenticator.shutdown()
        return self.streams.end(self._clock)
