"""From two fresh streams to a bound resource: SASL and resource binding, client to server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.jabber import jid
from twisted.words.protocols.jabber.error import StreamError

from xmpproxy import features, ns
from xmpproxy.authentication import Relay, Terminate
from xmpproxy.downstream import Downstream, DownstreamOwner
from xmpproxy.stanza import Stanza
from xmpproxy.upstream import Upstream, UpstreamFailed, UpstreamOwner, Upstreams

log = Logger()


class Starting(DownstreamOwner, UpstreamOwner, Protocol):
    """A session that takes over both streams."""

    def start(self, bindResult: Stanza) -> None:
        """
        @param bindResult: the server's answer to the client, which has not been passed on.
        """


#: Makes what goes on with the two streams once the server has bound a resource; gets its full JID,
#: as the server wrote it, and whether the server itself answers the session iq of RFC 3921.
Bound = Callable[[Downstream, Upstream, str, bool], Starting]


class Login:
    """Owns both streams until a resource is bound."""

    def __init__(self, downstream: Downstream, upstreams: Upstreams, bound: Bound) -> None:
        self._downstream = downstream
        self._upstreams = upstreams
        self._domain = upstreams.domain
        self._bound = bound
        self._upstream: Upstream | None = None
        self._sasl: Relay | Terminate | None = None
        self._features: Stanza | None = None  # of the server, after SASL
        self._started = False  # the client's stream after SASL
        self._binding: str | None = None  # id of the request that the server has to answer
        self._session = False
        self._pipelined: list[Stanza] = []
        self._opening: Deferred[None] | None = None

    async def _open(self) -> None:
        upstream, offered = await self._upstreams.open()
        self._opening = None
        self._upstream = upstream
        upstream.authenticator.owner = self
        way = self._domain.auth
        if way == "auto":
            way = "terminate" if features.bindsChannel(offered.element) else "relay"
        make = Terminate if way == "terminate" else Relay
        self._sasl = make(self._downstream, upstream, offered, self._succeeded)
        registration = self._domain.registration and features.hasFeature(
            offered.element, ns.REGISTER_FEATURE, "register"
        )
        self._downstream.send(features.beforeLogin(self._sasl.mechanisms, registration))
        self._downstream.transport.resumeProducing()
        pipelined, self._pipelined = self._pipelined, []
        self.downstreamStanzas(pipelined)

    def _failed(self, failure: Failure) -> None:
        self._opening = None
        if failure.check(CancelledError):
            return
        if failure.check(UpstreamFailed):
            self._lose(str(failure.value), None)
        else:
            log.failure("cannot open an upstream", failure=failure)
            self._lose("internal error", None)

    def _lose(self, why: str, error: Stanza | None) -> None:
        log.warn(
            "{client}: no stream to the server of {domain} ({upstream}): {why}",
            client=self._downstream.address,
            domain=self._domain.name,
            upstream=self._domain.upstream or "by DNS SRV",
            why=why,
        )
        self._downstream.closeStream(
            error or StreamError("remote-connection-failed", text="the server cannot be reached")
        )

    def _succeeded(self) -> None:
        """SASL is done: both streams begin anew."""
        assert self._upstream is not None
        self._sasl = None
        self._downstream.reset()
        self._upstream.restart()

    def _offerBinding(self) -> None:
        if self._started and self._features is not None:
            offered = self._features.element
            self._session = features.hasFeature(offered, ns.SESSION, "session")
            self._downstream.send(features.afterLogin(offered))

    # DownstreamOwner

    def downstreamStarted(self) -> None:
        """The client began a stream: it waits for features, of which the server has to tell."""
        if self._upstream is None:
            # Nothing that a client could say now would be handled.
            self._downstream.transport.pauseProducing()
            self._opening = Deferred.fromCoroutine(self._open())
            self._opening.addErrback(self._failed)
        else:
            self._started = True
            self._offerBinding()

    def downstreamStanzas(self, stanzas: list[Stanza]) -> None:
        """The client sent first-level elements."""
        for index, stanza in enumerate(stanzas):
            if self._downstream.closing:
                return
            if self._upstream is None or self._binding is not None:
                # Sent without waiting for features, or for the answer to the bind request.
                self._pipelined.extend(stanzas[index:])
                return
            self._fromClient(stanza)

    def _fromClient(self, stanza: Stanza) -> None:
        assert self._upstream is not None
        if stanza.fault is not None:
            self._downstream.authenticator.refuseStanza(stanza)
        elif self._sasl is not None and stanza.namespace == ns.SASL:
            self._sasl.fromClient(stanza)
        elif self._sasl is not None and self._registers(stanza):
            self._upstream.send(stanza)
        elif self._sasl is None and self._started and self._binds(stanza):
            self._binding = stanza.id
            self._pipelined = []
            self._downstream.transport.pauseProducing()
            self._upstream.send(stanza)
        else:
            self._downstream.authenticator.refuseStanza(stanza)

    def _registers(self, stanza: Stanza) -> bool:
        return (
            self._domain.registration and stanza.name == "iq" and stanza.has(ns.REGISTER, "query")
        )

    def _binds(self, stanza: Stanza) -> bool:
        return (
            (stanza.namespace, stanza.name, stanza.type) == (ns.CLIENT, "iq", "set")
            and bool(stanza.id)
            and stanza.has(ns.BIND, "bind")
        )

    def downstreamLost(self, outcome: str) -> None:
        """The client is gone."""
        if self._opening is not None:
            self._opening.cancel()
        if self._upstream is not None:
            self._upstream.closeStream()
        log.info(
            "{client}: left before login: {outcome}",
            client=self._downstream.address,
            outcome=outcome,
        )

    # UpstreamOwner

    def upstreamFeatures(self, offered: Stanza) -> None:
        """The server's features after SASL."""
        if self._sasl is None:
            self._features = offered
            self._offerBinding()

    def upstreamStanzas(self, stanzas: list[Stanza]) -> None:
        """The server sent first-level elements."""
        for index, stanza in enumerate(stanzas):
            if stanza.fault is not None:
                continue
            if self._sasl is not None and stanza.namespace == ns.SASL:
                self._sasl.fromServer(stanza)
                if self._sasl is None:
                    return  # what is behind the success belongs to a stream that is over
            elif self._binding is not None and stanza.name == "iq" and stanza.id == self._binding:
                self._answered(stanza, stanzas[index + 1 :])
                return
            elif self._sasl is not None and stanza.name == "iq":
                self._downstream.send(stanza)  # in-band registration

    def _answered(self, answer: Stanza, rest: list[Stanza]) -> None:
        """The server answered a request to bind a resource."""
        pipelined = self._pipelined
        self._binding = None
        if answer.type != "result":
            self._downstream.send(answer)
            self._downstream.transport.resumeProducing()
            self.downstreamStanzas(pipelined)
            return
        try:
            bound = _boundJid(answer, self._domain.name)
        except ValueError as e:
            assert self._upstream is not None
            self.upstreamLost(str(e), None)
            self._upstream.closeStream()
            return
        assert self._upstream is not None
        session = self._bound(self._downstream, self._upstream, bound, self._session)
        session.start(answer)
        if rest:
            session.upstreamStanzas(rest)
        if pipelined:
            session.downstreamStanzas(pipelined)

    def upstreamLost(self, why: str, error: Stanza | None) -> None:
        """The server is gone."""
        self._lose(why, error)


def _boundJid(answer: Stanza, domain: str) -> str:
    """The full JID in the answer to a bind request, if it can be true."""
    text = next(
        (
            str(element)
            for bind in answer.element.elements(ns.BIND, "bind")
            for element in bind.elements(ns.BIND, "jid")
        ),
        "",
    )
    if not text:
        raise ValueError("the server bound no resource")
    try:
        bound = jid.JID(text)
    except (jid.InvalidFormat, UnicodeError, IndexError):  # what its stringprep raises
        raise ValueError(f"the server bound {text!r}, which is no JID") from None
    if bound.host != domain or not bound.user or not bound.resource:
        raise ValueError(f"the server bound {text!r}, which is no session of {domain}")
    return text
