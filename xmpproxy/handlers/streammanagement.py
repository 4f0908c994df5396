"""
Stream management (XEP-0198) on both of a session's streams, each by itself.

What a peer is told to be handled is what the other peer has said to be handled: so the proxy never
is the only one to have a stanza. docs/reliability.rst has the promise.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import ClassVar

from twisted.internet.defer import Deferred, succeed
from twisted.words.protocols.jabber.error import StreamError

from xmpproxy import ns
from xmpproxy.attendance import Attendance
from xmpproxy.chain import Wants
from xmpproxy.ledger import Ledger
from xmpproxy.leg import Leg
from xmpproxy.management import Management
from xmpproxy.outstanding import Outstanding
from xmpproxy.session import Link, Session
from xmpproxy.stanza import Stanza
from xmpproxy.streammanagement import (
    Answer,
    AskPolicy,
    Element,
    Enable,
    Enabled,
    Failed,
    Refused,
    Request,
    Resume,
    Resumed,
    parse,
)

#: A client is asked after so many stanzas or bytes, or when this many seconds have passed.
ASK_STANZAS = 10
ASK_BYTES = 16384
ASK_SECONDS = 2.0

#: What every client is sent first.
_BIND_RESULT = 1


class StreamManagement(Link, Management):
    """Counts on both streams, and tells each peer what it may forget."""

    fromClient: ClassVar[Wants] = dict.fromkeys(ns.STREAM_MANAGEMENT)
    fromServer: ClassVar[Wants] = dict.fromkeys(ns.STREAM_MANAGEMENT)

    def __init__(self) -> None:
        super().__init__()
        self._client: Attendance | None = None
        self._server: Leg | None = None
        self._up = Ledger()  # the client's stanzas
        self._down = Ledger()  # the server's
        self._clientAsks = self._serverAsks = False
        self._pinging = False
        self._askAgain = False
        self._enabling: Deferred[None] | None = None
        self._previd: str | None = None  # by what the server's stream can be resumed,
        self._most = 0.0  # for so many seconds,
        self._told = 0  # and with so many of its stanzas handled
        self._sentBefore = 0  # the server counts what we send after <enable/>
        self._waiting: tuple[Deferred[None], ...] = ()

    # With the server

    def connectionInitialized(self) -> None:
        """The session begins."""
        self.parent.management = self

    def prepare(self) -> Deferred[None] | None:
        """Enable it with the server, where that has it."""
        namespace = self.parent.offers.management
        if namespace is None:
            self._complain("the server has no stream management")
            return None
        self._enabling = Deferred()
        session = self.parent
        self._sentBefore = session.toServer
        if session.reconnector is None:
            session.sayServer(Enable().written(namespace))
        else:
            seconds = math.ceil(session.resumables.seconds)
            session.sayServer(Enable(True, seconds).written(namespace))
            session.flushUpstream()
            session.outstanding = Outstanding(session.toServer, session.output.most // 2)
        return self._enabling

    def serverStanza(self, stanza: Stanza) -> Stanza | None:
        """One of the server's elements. What it says wrong concerns nobody but ourselves."""
        if stanza.name == "r":  # much of what comes
            self._serverAsks = True
            return None
        try:
            element = parse(stanza)
            if isinstance(element, Answer) and self._server is not None:
                self._server.asking = False
                self._handled(self._server.acknowledged(element.h, self.parent.toServer))
        except (Refused, StreamError) as error:
            self.parent.giveUpServer(f"stream management: {error}")
            return None
        match element:
            case Enabled() | Failed() if self._enabling is not None:
                if isinstance(element, Enabled):
                    came = self.parent.cameFromServer
                    self._server = Leg(stanza.namespace, came, self._sentBefore)
                    self._previd, self._most = element.id, element.max or math.inf
                if self._previd is None:
                    self.parent.outstanding = None
                    self._complain("the server lets nobody resume its stream")
                enabling, self._enabling = self._enabling, None
                enabling.callback(None)
        return None

    def _complain(self, why: str) -> None:
        if self.parent.reconnector is not None:
            self.parent.reconnector.upstreams.complain(why)

    def serverTurn(self) -> None:
        """All that a read from the server has brought is on its way."""
        session = self.parent
        if self._server is not None:
            if self._client is not None:
                self._down.mark(session.output.count, session.passedOn)
            if self._serverAsks:
                self._serverAsks = False
                self._answerServer(self._server)
        if self._client is not None:
            self._client.hold()

    def _answerServer(self, server: Leg) -> None:
        self._lookAtClient()
        self.parent.sayServer(server.answer(self._down.handled))
        self.parent.flushUpstream()

    def _lookAtClient(self) -> None:
        """One without stream management cannot say what it has handled."""
        session = self.parent
        if self._client is None and self._isPlain and session.clientTakes:
            # It is enough that the system has taken it.
            self._down.acknowledge(session.output.count)
            self._down.mark(session.output.count, session.passedOn)

    @property
    def _isPlain(self) -> bool:
        """
        Whether the client does without. If it does not, C{<enable/>} is the first that it sends,
        and what it is sent before that is as precious as anything else.
        """
        return bool(self.parent.fromClient) or self.unhandled > self.parent.mostUnhandled // 2

    def farewell(self) -> None:
        """The session ends: tell the server the last that is known."""
        if self._server is not None:
            self._answerServer(self._server)

    def farewellClient(self) -> None:
        """The same for the client, unless it knows."""
        client = self._client
        if client is not None and client.leg.h(self._up.handled) != client.leg.told:
            self._answerClient()

    @property
    def unhandled(self) -> int:
        """How many of the server's stanzas the client has not handled, if the server counts."""
        return 0 if self._server is None else self.parent.fromServer - self._down.handled

    @property
    def kept(self) -> int:
        """How many bytes are kept that the client has not handled."""
        return 0 if self._client is None else self._client.keeps.size

    def expire(self, why: str) -> None:
        """The client is away: wait for it no longer."""
        if self._client is not None:
            self._client.expire(why)

    @property
    def serverCounts(self) -> bool:
        """Whether the server has stream management."""
        return self._server is not None

    def ended(self) -> None:
        """The session is over: nobody can come back to it."""
        if self._client is not None:
            serverGone = self.xmlstream is None
            self._client.end(self._up.handled, leaves=serverGone and self._server is None)
        self._waitIsOver()

    def disownHandlerParent(self, parent: Session) -> None:
        """Both streams are gone. Who sees to the client knows the session, and would keep it."""
        self._client = None
        super().disownHandlerParent(parent)

    # With the client

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """One of the client's elements."""
        try:
            self._fromClient(stanza.namespace, parse(stanza))
        except Refused as refused:
            self.parent.sayClient(refused.failed.written(stanza.namespace))
        except StreamError as error:
            self.parent.refuse(error)
        return None

    def _fromClient(self, namespace: str, element: Element) -> None:
        match element:
            case Enable():
                self._enable(namespace, element)
            case Resume():
                raise Refused("unexpected-request")
            case Request():
                self._clientAsks = True
            case Answer(h) if self._client is not None:
                self._acknowledged(self._client, h)
                self._down.mark(self.parent.output.count, self.parent.passedOn)
                self._client.acknowledged()
                if self._askWhenIdle:
                    self._client.askLater(ASK_SECONDS)

    def _acknowledged(self, client: Attendance, h: int) -> None:
        """The client has handled so many, which may be an impossible number."""
        before = client.leg.settled
        after = client.leg.acknowledged(h, before + client.keeps.count)
        client.leg.asking = False
        client.policy.answered()
        client.keeps.acknowledge(after - before)
        self._down.acknowledge(after)

    def _enable(self, namespace: str, enable: Enable) -> None:
        if self._client is not None:
            raise Refused("unexpected-request")
        session = self.parent
        session.flush()
        seconds = session.resumables.seconds if enable.resume else 0
        if enable.max is not None:
            seconds = min(seconds, enable.max)
        client = Attendance(session, self, seconds, AskPolicy(ASK_STANZAS, ASK_BYTES))
        max = int(seconds) if client.id is not None else None
        session.sayClient(Enabled(client.id, max).written(namespace))
        # What was on its way to the client went before that, and the client does not count it.
        client.leg = Leg(namespace, session.fromClient, session.output.count)
        self._client = client
        self._up.handled = session.fromClient
        self._up.acknowledge(session.toServer)
        if session.output.count == _BIND_RESULT:
            self._down.acknowledge(_BIND_RESULT)
        self._down.mark(session.output.count, session.passedOn)
        former = session.clientStream.former
        if former is not None:
            for message in session.resumables.inherit(former, session.seat.account):
                session.sendClient(message)
        if self.unhandled:  # any <a/> that comes behind it says that it has arrived
            session.sayClient(self._request(client))

    def clientTurn(self) -> None:
        """All that a read from the client has brought is on its way."""
        if self._client is None:
            self._clientAsks = False  # means nothing before <enable/>
            return
        self._up.mark(self.parent.toServer, self.parent.fromClient)
        if self._clientAsks:
            self._clientAsks = False
            self._answerClient()
            self._askServer()

    def _answerClient(self) -> None:
        assert self._client is not None
        self.parent.sayClient(self._client.leg.answer(self._up.handled))
        self.parent.flushDownstream()

    def sending(self, data: bytes, count: int) -> bytes:
        """
        Stanzas are written to the client.

        @param count: how many.
        @return: what is to be written behind them.
        """
        client = self._client
        if client is None:
            return b""
        client.keeps.add(data, count, self.parent.clock.seconds())
        client.policy.sent(count, len(data))
        if client.policy.due and not self.parent.away:
            return self._request(client)
        client.askLater(ASK_SECONDS)
        return b""

    def wrote(self) -> None:
        """That is done."""
        if self._client is not None:
            self._client.wrote()

    def leave(self) -> bool:
        """The client's stream is lost."""
        if self._client is None or self._client.id is None:
            return False
        self._client.leave()
        return True

    def _request(self, client: Attendance) -> bytes:
        client.policy.asked()
        return client.leg.request()

    def askClient(self) -> None:
        """Nothing more was sent for a while."""
        if self._client is not None and self._askWhenIdle:
            self.parent.sayClient(self._request(self._client))
            self.parent.flushDownstream()

    @property
    def _askWhenIdle(self) -> bool:
        client = self._client
        return client is not None and bool(client.keeps.count) and client.policy.dueWhenIdle

    # Signs of life

    def probeClient(self) -> bool:
        """Have the client answer, if its stream has stream management."""
        if self._client is None:
            return False
        self.parent.sayClient(self._request(self._client))
        return True

    def probeServer(self) -> bool:
        """The same for the server."""
        if self._server is None:
            return False
        self.parent.sayServer(self._server.request())
        self.parent.flushUpstream()
        return True

    # What the server has handled

    def _askServer(self) -> None:
        """Find out what the server has handled, unless it is all: without XEP-0198 by a ping."""
        session = self.parent
        if self._up.handled >= session.fromClient or session.ended:
            return
        if self._pinging or session.reconnecting or (self._server and self._server.asking):
            self._askAgain = True
            return
        self._askAgain = False
        if self._server is not None:
            session.sayServer(self._server.request())
        else:
            self._pinging = True
            session.questions.ping(lambda: self._pinged(sent))
            sent = session.toServer
        session.flushUpstream()

    def _pinged(self, sent: int) -> None:
        self._pinging = False
        self._handled(sent)

    def _handled(self, sent: int) -> None:
        """The server has handled what it was sent first."""
        before = self._up.handled
        self._up.acknowledge(sent)
        outstanding = self.parent.outstanding
        if outstanding is not None:
            outstanding.acknowledge(sent)
            self.parent.holdClient(outstanding.full)
            if outstanding.due and self._mayAskServer:
                self.parent.sayServer(self._requestServer())
        if self._client is None:
            return
        if self._up.handled != before and not self.parent.away:
            self._answerClient()
        if self._askAgain:
            self._askServer()
        if self._up.handled >= self.parent.fromClient:
            self._waitIsOver()

    def _waitIsOver(self) -> None:
        waiting, self._waiting = self._waiting, ()
        for each in waiting:
            each.callback(None)

    def whenHandled(self) -> Deferred[None]:
        """Fires when the server has handled all that the client has sent, or all is over."""
        if self._up.handled >= self.parent.fromClient or self.parent.ended:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting += (waiting,)
        self._askServer()
        self.parent.hurry()
        return waiting

    # A server whose connection is lost, and that is resumed

    @property
    def serverWaits(self) -> float:
        """See L{Management}."""
        if self._previd is None or self.parent.outstanding is None:
            return 0.0
        return min(self._most, self.parent.resumables.seconds)

    @property
    def _mayAskServer(self) -> bool:
        server = self._server
        return server is not None and not server.asking and not self.parent.reconnecting

    def _requestServer(self) -> bytes:
        assert self._server is not None and self.parent.outstanding is not None
        self.parent.outstanding.asked()
        return self._server.request()

    def sendingServer(self, data: bytes) -> bytes:
        """See L{Management}."""
        session = self.parent
        outstanding = session.outstanding
        assert outstanding is not None
        outstanding.add(data, session.toServer)
        session.holdClient(outstanding.full)
        return self._requestServer() if outstanding.due and self._mayAskServer else b""

    def resumption(self) -> bytes:
        """
        What the client has not handled, the server is to keep. It sends that again, though most of
        it is here; but if this proxy were killed, nobody else would have it.
        """
        assert self._server is not None and self._previd is not None
        self._lookAtClient()
        self._told = self._down.handled
        return Resume(self._previd, self._server.h(self._told)).written(self._server.namespace)

    def serverResumed(self, h: int) -> int:
        """See L{Management}."""
        session, server, outstanding = self.parent, self._server, self.parent.outstanding
        assert server is not None and outstanding is not None
        handled = server.acknowledged(h, session.toServer)
        server.asking = False
        outstanding.acknowledge(handled)
        again = outstanding.rest()
        if again:
            session.sayServer(again + self._requestServer())
        self._handled(handled)
        return server.unheard(self._told, session.fromServer)

    def serverHandled(self, h: int) -> None:
        """See L{Management}."""
        if self._server is not None:
            with suppress(StreamError):
                self._up.acknowledge(self._server.acknowledged(h, self.parent.toServer))

    # Resumption

    def resumed(self, resume: Resume, namespace: str) -> list[bytes]:
        """
        The client comes back.

        @return: what it is told, and sent again.
        @raise Refused: its C{h} cannot be.
        """
        client = self._client
        assert client is not None
        try:
            self._acknowledged(client, resume.h)
        except StreamError:
            raise Refused("bad-request") from None
        client.leg.namespace = namespace
        told = Resumed(resume.previd, client.leg.h(self._up.handled)).written(namespace)
        again = client.keeps.delayed(self.parent.domain)
        return [told, *again, self._request(client)] if again else [told]
