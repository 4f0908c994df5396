"""From two fresh streams to a bound resource: SASL and resource binding, client to server."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Protocol
from xml.sax.saxutils import quoteattr

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.error import StreamError
from twisted.words.xish import domish

from xmpproxy import features, jid, ns, refusals
from xmpproxy.account import Accounts
from xmpproxy.admission import FAILED_LOGINS
from xmpproxy.attempts import Attempts
from xmpproxy.authentication import Relay, Terminate
from xmpproxy.computing import Compute
from xmpproxy.downstream import Downstream, DownstreamOwner
from xmpproxy.reconnection import Reconnector
from xmpproxy.resumption import Resumable, Resumables
from xmpproxy.shown import shown, shownText
from xmpproxy.stanza import Stanza
from xmpproxy.stanza import parse as parseElement
from xmpproxy.streammanagement import Enable, Failed, Refused, Resume, parse
from xmpproxy.upstream import Upstream, UpstreamFailed, UpstreamOwner, Upstreams
from xmpproxy.xmlstream import LOGIN, couple

log = Logger()

#: Seconds in which a server has to have handled what came on a stream that is to be resumed.
SETTLE_SECONDS = 10.0
#: How many elements of stream management a client may send in vain.
MOST_REFUSED = 10

_HANGS = (
    "the server did not go on with a login; it is overloaded or hangs: see its log, or restart it"
)


class Starting(DownstreamOwner, UpstreamOwner, Protocol):
    """A session that takes over both streams."""

    def start(self, bindResult: Stanza, reconnector: Reconnector | None) -> None:
        """
        @param bindResult: the server's answer to the client, which has not been passed on.
        @param reconnector: by what to go back to the server; L{None} if that is not possible.
        """


#: Makes what goes on with the two streams once the server has bound a resource; gets its full JID,
#: as the server wrote it, and what the server has to offer.
Bound = Callable[[Downstream, Upstream, str, features.Offers], Starting]


class Login:
    """Owns both streams until a resource is bound."""

    def __init__(
        self,
        downstream: Downstream,
        upstreams: Upstreams,
        bound: Bound,
        accounts: Accounts,
        resumables: Resumables,
        compute: Compute,
    ) -> None:
        self._downstream = downstream
        self._upstreams = upstreams
        self._domain = upstreams.domain
        self._bound = bound
        self._compute = compute
        self._upstream: Upstream | None = None
        self._sasl: Relay | Terminate | None = None
        self._reconnector: Reconnector | None = None
        self._features: Stanza | None = None  # of the server, after SASL
        self._started = False  # the client's stream after SASL
        self._binding: str | None = None  # id of the request that the server has to answer
        self._offers = features.Offers()
        self._accounts = accounts
        self._resumables = resumables
        failures = downstream.authenticator.factory.admission.failures
        self._attempts = Attempts(self._domain.name, failures, downstream.authenticator.origin)
        self._waiting: IDelayedCall | None = None  # before an attempt to log in goes on
        self._resume: tuple[Resume, str] | None = None  # what the client wants, in which version
        self._settling: Deferred[None] | None = None  # until the earlier session can be resumed
        self._refused = 0
        self._unasked: Stanza | None = None  # a bind result that the client has not asked for
        self._over = False  # what becomes of the server's stream is not the client's business
        self._begun = False  # the client has begun to authenticate
        self._asked = False  # it is the server that has to say something
        self._pipelined: list[Stanza] = []
        self._opening: Deferred[None] | None = None

    async def _open(self) -> None:
        upstream, offered = await self._upstreams.open(self._downstream.authenticator.origin.name)
        self._opening = None
        self._upstream = upstream
        upstream.authenticator.owner = self
        couple(self._downstream, upstream)
        way = self._domain.auth
        if way == "auto":
            way = "terminate" if features.bindsChannel(offered.element) else "relay"
        both = self._downstream, upstream
        if way == "terminate":
            self._sasl = Terminate(*both, offered, self._succeeded, self._compute)
        else:
            self._sasl = Relay(*both, offered, self._succeeded)
        registration = self._domain.registration and features.hasFeature(
            offered.element, ns.REGISTER_FEATURE, "register"
        )
        self._downstream.send(features.beforeLogin(self._sasl.mechanisms, registration))
        self._readOn()

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
        self._over = True
        line = self._upstreams.outage.failed(why, self._downstream.clock.seconds())
        if line is not None:
            log.warn(
                "{client}: no stream to the server of {domain} ({upstream}): {why}",
                client=self._downstream.address,
                domain=self._domain.name,
                upstream=self._domain.upstream or "by DNS SRV",
                why=shownText(line),
            )
        told = refusals.forClient(error, self._begun) if error else None
        self._downstream.closeStream(
            told or StreamError("remote-connection-failed", text="the server cannot be reached")
        )

    def _succeeded(self) -> None:
        """SASL is done: both streams begin anew."""
        assert self._upstream is not None and self._sasl is not None
        self._attempts.succeeded()
        if self._domain.upstream_resume:
            self._reconnector = self._reconnectorOf(self._sasl)
        self._sasl = None
        self._asked = True
        self._pipelined = []  # belongs to a stream that is over
        self._downstream.resume(LOGIN)
        self._downstream.reset()
        self._upstream.restart()

    def _reconnectorOf(self, way: Relay | Terminate) -> Reconnector | None:
        if way.keys is not None:
            return Reconnector(self._upstreams, way.keys)
        if isinstance(way, Relay):
            why = 'the clients log in themselves; to let the proxy do it write auth = "terminate"'
        else:
            why = "the server offers no SCRAM, without which the proxy would have to keep passwords"
        self._upstreams.complain(why)
        return None

    def _offerBinding(self) -> None:
        if self._started and self._features is not None:
            offered = self._features.element
            self._offers = features.offers(offered)
            self._downstream.send(features.afterLogin(offered))

    # DownstreamOwner

    def downstreamStarted(self) -> None:
        """The client began a stream: it waits for features, of which the server has to tell."""
        if self._upstream is None:
            # Nothing that a client could say now would be handled.
            self._downstream.pause(LOGIN)
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
            if (
                self._upstream is None
                or self._binding is not None
                or self._waiting is not None
                or self._pipelined
                or self._isTooSoon(stanza)
            ):
                # Sent without waiting for features, or for an answer.
                self._pipelined.extend(stanzas[index:])
                self._downstream.pause(LOGIN)
                return
            self._fromClient(stanza)

    def _isTooSoon(self, stanza: Stanza) -> bool:
        """Whether there was no answer yet: of two attempts at once, which failed is not known."""
        return (
            self._sasl is not None and stanza.namespace == ns.SASL and not self._sasl.takes(stanza)
        )

    def _readOn(self) -> None:
        """What the client has sent too soon may come now."""
        self._downstream.resume(LOGIN)
        pipelined, self._pipelined = self._pipelined, []
        self.downstreamStanzas(pipelined)

    def _fromClient(self, stanza: Stanza) -> None:
        assert self._upstream is not None
        if stanza.fault is not None:
            self._downstream.authenticator.refuseStanza(stanza)
        elif self._sasl is not None and stanza.namespace == ns.SASL:
            if self._mayTry(stanza):
                self._try(stanza)
        elif self._sasl is not None and self._registers(stanza):
            self._upstream.send(stanza)
        elif self._sasl is None and self._started and self._binds(stanza):
            if self._unasked is not None:
                answer = _answering(stanza, self._unasked)
                self._start(answer, _boundJid(answer, self._domain.name), [], [])
            else:
                self._bind(stanza)
        elif self._sasl is None and self._started and stanza.namespace in ns.STREAM_MANAGEMENT:
            self._manages(stanza)
        else:
            self._downstream.authenticator.refuseStanza(stanza)

    # Failed logins

    def _mayTry(self, stanza: Stanza) -> bool:
        """Whether an element of SASL may go on now."""
        seconds = self._attempts.wait(stanza)
        if seconds is None:
            # Not "not-authorized": a client would ask for another password.
            self._downstream.write(_LATER)
            self._downstream.authenticator.exceeds(FAILED_LOGINS, "login")
            return False
        if seconds:
            # There are not more of these calls than [limits] has logins.
            self._waiting = self._downstream.clock.callLater(seconds, self._hasWaited, stanza)
            self._downstream.pause(LOGIN)
        return not seconds

    def _try(self, stanza: Stanza) -> None:
        assert self._sasl is not None
        self._begun = True
        self._sasl.fromClient(stanza)

    def _hasWaited(self, stanza: Stanza) -> None:
        self._waiting = None
        if self._sasl is None or self._downstream.closing:
            return
        self._try(stanza)
        self._readOn()

    # Resource binding

    def _bind(self, request: Stanza) -> None:
        assert self._upstream is not None
        self._binding = request.id
        self._pipelined = []
        self._asked = True
        self._downstream.pause(LOGIN)
        self._upstream.send(request)

    # Resumption (XEP-0198, section 5)

    def _manages(self, stanza: Stanza) -> None:
        """An element of stream management. Requests and answers mean nothing yet."""
        try:
            element = parse(stanza)
            if isinstance(element, Enable):
                raise Refused("unexpected-request")
            if isinstance(element, Resume):
                self._downstream.former = element
                if self._unasked is not None or self._resumables.find(element.previd) is None:
                    raise self._resumables.refusal(element.previd)
                # Whose the client is, the server alone can say.
                self._resume = (element, stanza.namespace)
                self._bind(_bindRequest())
        except Refused as refused:
            self._refuse(refused.failed, stanza.namespace)
        except StreamError as error:
            self._downstream.authenticator.refuse(error)

    def _refuse(self, failed: Failed, namespace: str) -> None:
        self._refused += 1
        if self._refused > MOST_REFUSED:
            self._downstream.authenticator.refuse(StreamError("policy-violation", text="log in"))
        else:
            self._downstream.write(failed.written(namespace))

    def _takesOver(self, resume: Resume, bareJid: str) -> bool:
        """Have the client's earlier session part with its stream, if it is the client's."""
        session = self._resumables.find(resume.previd)
        if session is None or session.bareJid != bareJid:
            return False
        self._settling = session.whenAway()
        self._settling.addTimeout(SETTLE_SECONDS, self._downstream.clock)
        self._settling.addCallbacks(self._settled, self._unsettled, (session,))
        return True

    def _settled(self, result: None, session: Resumable) -> None:
        """The earlier session has handled all of its earlier stream."""
        assert self._resume is not None
        self._settling = None
        if self._downstream.closing:
            return
        resume, namespace = self._resume
        if self._resumables.find(resume.previd) is not session:
            self._goOn(self._resumables.refusal(resume.previd))
        elif not session.away:  # another client was quicker
            self._takesOver(resume, session.bareJid)
        else:
            try:
                session.resume(self._downstream, resume, namespace)
            except Refused as refused:
                self._goOn(refused)
            else:
                self._goOn(None)

    def _unsettled(self, failure: Failure) -> None:
        """That takes long, or the client is gone."""
        self._settling = None
        if not self._downstream.closing:
            self._goOn(Refused("remote-server-timeout"))

    def _goOn(self, refused: Refused | None) -> None:
        """The client has its earlier session again, or may bind a resource."""
        assert self._resume is not None and self._upstream is not None
        (_, namespace), self._resume = self._resume, None
        pipelined, self._pipelined = self._pipelined, []
        self._binding = None
        if refused is not None:
            self._refuse(refused.failed, namespace)
            self._downstream.resume(LOGIN)
            self.downstreamStanzas(pipelined)
            return
        self._over = True
        self._upstream.closeStream()
        if pipelined:
            self._downstream.authenticator.stanzasReceived(pipelined)

    def _registers(self, stanza: Stanza) -> bool:
        return (
            self._domain.registration
            and stanza.name == "iq"
            and stanza.children == ((ns.REGISTER, "query"),)
        )

    def _binds(self, stanza: Stanza) -> bool:
        return (
            (stanza.namespace, stanza.name, stanza.type) == (ns.CLIENT, "iq", "set")
            and bool(stanza.id)
            and stanza.has(ns.BIND, "bind")
        )

    def overdue(self) -> bool:
        """See L{DownstreamOwner}."""
        owed = self._sasl is not None and self._sasl.owed
        if not (self._asked or owed or self._opening is not None):
            return False
        self._lose(_HANGS, None)
        return True

    def downstreamLost(self, outcome: str) -> None:
        """The client is gone."""
        self._over = True
        self._attempts.end()
        if self._opening is not None:
            self._opening.cancel()
        if self._settling is not None:
            self._settling.cancel()
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._sasl is not None:
            self._sasl.stop()
        if self._upstream is not None:
            self._upstream.closeStream()
        limitLog = self._downstream.authenticator.factory.limitLog
        limitLog.left(outcome, self._downstream.address)

    # UpstreamOwner

    def upstreamFeatures(self, offered: Stanza) -> None:
        """The server's features after SASL."""
        if self._sasl is None:
            self._asked = False
            self._features = offered
            self._offerBinding()

    def upstreamStanzas(self, stanzas: list[Stanza]) -> None:
        """The server sent first-level elements."""
        self._asked = False
        for index, stanza in enumerate(stanzas):
            if stanza.fault is not None:
                continue
            if self._sasl is not None and stanza.namespace == ns.SASL:
                if stanza.name == "failure":
                    self._attempts.failed(stanza)
                self._sasl.fromServer(stanza)
                if self._sasl is None:
                    return  # what is behind the success belongs to a stream that is over
            elif self._binding is not None and stanza.name == "iq" and stanza.id == self._binding:
                self._answered(stanza, stanzas[index + 1 :])
                return
            elif self._sasl is not None and stanza.name == "iq":
                self._downstream.send(stanza)  # in-band registration
        if self._pipelined and self._sasl is not None and self._waiting is None:
            self._readOn()

    def _answered(self, answer: Stanza, rest: list[Stanza]) -> None:
        """The server answered a request to bind a resource."""
        if answer.type == "result":
            try:
                bound = _boundJid(answer, self._domain.name)
            except ValueError as e:
                assert self._upstream is not None
                self.upstreamLost(str(e), None)
                self._upstream.closeStream()
                return
            if self._resume is None:
                pipelined, self._pipelined = self._pipelined, []
                self._start(answer, bound, rest, pipelined)
                return
            self._unasked = answer
            if self._takesOver(self._resume[0], jid.bare(bound)):
                return  # nothing is read of the client before that is settled
        pipelined, self._pipelined = self._pipelined, []
        self._binding = None
        if self._resume is not None:
            (_, namespace), self._resume = self._resume, None
            self._refuse(Failed("item-not-found"), namespace)
        else:
            self._downstream.send(answer)
        self._downstream.resume(LOGIN)
        self.downstreamStanzas(pipelined)

    def _start(
        self, answer: Stanza, bound: str, rest: list[Stanza], pipelined: list[Stanza]
    ) -> None:
        """The client has a resource, unless its account has too many."""
        assert self._upstream is not None
        self._binding = None
        again = self._upstreams.outage.over(self._downstream.clock.seconds())
        if again is not None:
            log.info("the server of {domain} {again}", domain=self._domain.name, again=again)
        account = bound.partition("/")[0]
        most = self._downstream.limits.sessions_per_account
        if self._accounts.live(account) >= most and not self._resumables.makeWay(account):
            self._tooMany(answer, account)
            return
        session = self._bound(self._downstream, self._upstream, bound, self._offers)
        session.start(answer, self._reconnector)
        if rest:
            session.upstreamStanzas(rest)
        if pipelined:
            session.downstreamStanzas(pipelined)

    def _tooMany(self, answer: Stanza, account: str) -> None:
        """An account has too many sessions (RFC 6120, section 7.6.2.1)."""
        assert self._upstream is not None
        factory = self._downstream.authenticator.factory
        factory.limitLog.refused("sessions-per-account", "session", f"of {shown(account)}")
        self._downstream.write(
            f"<iq type='error' id={quoteattr(answer.id or '')}><error type='wait'>"
            f"<resource-constraint xmlns='{ns.STANZA_ERRORS}'/></error></iq>".encode()
        )
        # What the server has bound already is given back.
        self._over = True
        self._downstream.closeStream(StreamError("resource-constraint", text="too many sessions"))
        self._upstream.closeStream()

    def upstreamLost(self, why: str, error: Stanza | None) -> None:
        """The server is gone."""
        if self._sasl is not None:
            self._sasl.stop()
            self._sasl = None  # which has a method of this object
        if not self._over:
            self._lose(why, error)

    def upstreamVanished(self, why: str) -> bool:
        """So is its connection."""
        self.upstreamLost(why, None)
        return False


_LATER = (
    f"<failure xmlns='{ns.SASL}'><temporary-auth-failure/>"
    f"<text xml:lang='en'>{FAILED_LOGINS.text}</text></failure>"
).encode()


def _bindRequest() -> Stanza:
    """A request of ours for a resource, whatever it be called."""
    iq = domish.Element((ns.CLIENT, "iq"))
    iq["type"] = "set"
    iq["id"] = secrets.token_hex(8)
    iq.addElement((ns.BIND, "bind"))
    return Stanza.fromElement(iq)


def _answering(request: Stanza, answer: Stanza) -> Stanza:
    """The same answer, to another request."""
    element = parseElement(answer.data)
    element["id"] = request.id or ""
    return Stanza.fromElement(element)


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
    local, host, resource = jid.split(text)
    if not (local and resource and jid.isDomain(host, domain)):
        raise ValueError(f"the server bound {text}, which is no session of {domain}")
    return text  # what it allows in the rest is its own business
