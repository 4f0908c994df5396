"""
A session: one downstream and one upstream, joined once the server has bound a resource.

Most stanzas pass through as the bytes they are. What the proxy does beyond that is a chain of
L{Link}s; each says what it wants to see, and nothing else meets it. What is sent is gathered and
written at the end of a turn: to the server first, then to clients.

What nobody wants to see comes in L{fastpath.Run}s, many stanzas in one piece. Chain and session say
what that is; the rest is in L{xmpproxy.fastpath}.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.error import StreamError
from twisted.words.protocols.jabber.xmlstream import XMPPHandlerCollection
from wokkel.subprotocols import XMPPHandler
from zope.interface import implementer

from xmpproxy import config, fastpath, ns, refusals
from xmpproxy.account import Account, Accounts
from xmpproxy.chain import Wants, Way
from xmpproxy.downstream import Downstream
from xmpproxy.features import Offers
from xmpproxy.jid import resourceOf
from xmpproxy.management import Management
from xmpproxy.output import Output
from xmpproxy.outstanding import Outstanding
from xmpproxy.questions import Questions
from xmpproxy.queues import GRAIN, Queues
from xmpproxy.reconnection import Reconnection, Reconnector
from xmpproxy.resumption import Resumables
from xmpproxy.seat import Seat
from xmpproxy.shown import shown, shownText
from xmpproxy.silence import Patience
from xmpproxy.stanza import Stanza
from xmpproxy.upstream import Upstream
from xmpproxy.xmlstream import FULL, PEER, Reading

log = Logger()

#: Seconds that a client waits for its bind result at most while links ask the server things.
PREPARE_SECONDS = 3.0

#: The outcome of a stream that was not closed.
VANISHED = "connection lost"


class Link(XMPPHandler):  # type: ignore[misc]  # wokkel has no annotations
    """
    One link of a session's chain.

    As with every wokkel handler C{xmlstream} is the stream to the server, and
    C{connectionInitialized} and C{connectionLost} frame its time.

    @cvar fromClient: what it wants to see of what the client sends.
    @cvar fromServer: the same for the server.
    @ivar parent: the session.
    """

    fromClient: ClassVar[Wants] = {}
    fromServer: ClassVar[Wants] = {}
    parent: Session

    def prepare(self) -> Deferred[None] | None:
        """Ask the server what must be known before the client learns that it has a resource."""
        return None

    def heeds(self, name: str) -> frozenset[str] | None:
        """See L{Seer}."""
        return None

    def look(self, patience: Patience) -> None:
        """Time has passed."""

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """
        A stanza is on its way to the server.

        @return: it or another to go on with, L{None} if it goes no further.
        """
        return stanza

    def serverStanza(self, stanza: Stanza) -> Stanza | None:
        """The same on the way to the client."""
        return stanza


class Chain:
    """Which links there are, and what meets which of them. One object serves all sessions."""

    def __init__(self, links: Sequence[type[Link]]) -> None:
        """
        @param links: in the order in which they meet a stanza, whichever way it goes.
        """
        self.links = tuple(links)
        self.fromClient = Way([link.fromClient for link in links])
        self.fromServer = Way([link.fromServer for link in links])


@implementer(IPushProducer)
class Session(XMPPHandlerCollection):
    """
    The two streams of one client, and its chain.

    @ivar jid: the full JID.
    @ivar domain: its domain.
    @ivar seat: its place in the account's conversation.
    @ivar account: the account, once the session is ready.
    @ivar ids: makes the ids of copies.
    @ivar readSince: since when the server's stream is read, in seconds; infinity while it is not.
    @ivar offers: what the server has to offer.
    @ivar resumables: the sessions that clients may come back to.
    @ivar management: what knows which stanzas are handled.
    @ivar fromClient: how many stanzas of the client's have been seen to.
    @ivar fromServer: how many of the server's.
    @ivar toServer: how many stanzas were sent to the server, or are gathered to be.
    @ivar output: what the client is sent.
    @ivar away: whether the client's stream was lost, and the client may come back.
    @ivar full: whether the client leaves too much unacknowledged.
    @ivar counted: how much waited when that was counted last, see L{Queues}.
    @ivar mostUnhandled: how many of the server's stanzas a client may leave unacknowledged.
    @ivar reconnector: by what to go back to the server; L{None} if that is not possible.
    @ivar questions: what it asks the server by itself.
    @ivar outstanding: what the server may not have, if its stream may be resumed.
    """

    # Beyond 30 attributes each session would have a dictionary of 1.5 KiB.
    __slots__ = (
        "_accounts",
        "_again",
        "_began",
        "_chain",
        "_downstream",
        "_held",
        "_idleSeconds",
        "_links",
        "_outcome",
        "_patience",
        "_preparing",
        "_private",
        "_queues",
        "_reconnection",
        "_serverGone",
        "_serverOutput",
        "_streams",
        "_upstream",
        "account",
        "away",
        "clock",
        "counted",
        "domain",
        "fromClient",
        "fromServer",
        "full",
        "ids",
        "jid",
        "management",
        "mirrorConfig",
        "mostUnhandled",
        "offers",
        "output",
        "outstanding",
        "questions",
        "readSince",
        "reconnector",
        "resumables",
        "seat",
        "toServer",
    )

    def __init__(
        self,
        downstream: Downstream,
        upstream: Upstream,
        jid: str,
        offers: Offers,
        chain: Chain,
        accounts: Accounts,
        resumables: Resumables,
        queues: Queues,
        mirror: config.Mirror,
        streamManagement: config.StreamManagement,
    ) -> None:
        super().__init__()
        self.jid = jid
        self.domain = upstream.authenticator.domain.name
        self.offers = offers
        self.resumables = resumables
        self._queues = queues
        self.counted = 0
        self.management = Management()
        self.away = False
        self.mirrorConfig = mirror
        self.account: Account | None = None
        self.ids = accounts.ids
        self._idleSeconds = streamManagement.idle_seconds
        self.mostUnhandled = streamManagement.upstream_unacked
        self.output = Output(self, downstream.limits.queue_bytes)
        self.clock = upstream.clock
        self._downstream = downstream
        self._upstream = upstream
        self._chain = chain
        self._accounts = accounts
        self._serverOutput: list[bytes] = []
        self.full = False  # the client does not acknowledge as much as it gets
        self.reconnector: Reconnector | None = None
        self.outstanding: Outstanding | None = None
        self._reconnection: Reconnection | None = None  # while there is no stream to the server
        self._again = 0  # stanzas that the server will send again
        self._held: tuple[list[Stanza], list[Stanza]] | None = ([], [])  # until ready
        self._patience: IDelayedCall | None = None
        self._preparing: Deferred[Any] | None = None
        self._streams = 2  # that are not lost
        self._serverGone = False
        self._outcome: str | None = None
        self._began = self.readSince = self.clock.seconds()
        self.fromClient = self.fromServer = self.toServer = 0
        self._private = 0  # of fromClient, answers to questions of ours
        listen = downstream.authenticator.factory.listen
        mode = mirror.modeOf(resourceOf(jid), listen)
        self.seat = Seat(jid, self.output.gather, mode, mirror.prefix, mirror.nameOf)
        self.questions = Questions(jid, self.seat.account, self.domain, self.send)
        for make in chain.links:
            make().setHandlerParent(self)
        self._links: list[Link] = self.handlers

    # Beginning

    def start(self, bindResult: Stanza, reconnector: Reconnector | None = None) -> None:
        """
        Take over both streams. The client gets the server's answer to its bind request when all
        links are prepared: no message meets a session that does not know what to do with it.
        """
        self._accounts.begin(self.seat.account)
        if self.resumables.seconds:
            self.reconnector = reconnector
        self._downstream.authenticator.owner = self
        self._upstream.authenticator.owner = self
        for link in self._links:
            link.makeConnection(self._upstream)
            link.connectionInitialized()
        waiting = [d for d in (link.prepare() for link in self._links) if d is not None]
        self._patience = self.clock.callLater(PREPARE_SECONDS, self._ready, bindResult)
        self._preparing = DeferredList(waiting, consumeErrors=True)
        self._preparing.addCallback(lambda _: self._ready(bindResult))
        self.flush()

    def _ready(self, bindResult: Stanza) -> None:
        if self._held is None or self._outcome is not None:
            return
        fromClient, fromServer = self._held
        self._held = None
        self._stopWaiting()
        self.account = self._accounts.join(self.seat.canonical, self)
        self.account.mirror.join(self.seat)
        log.info(
            "{jid}: bound, from {client}", jid=shown(self.jid), client=self._downstream.address
        )
        self._downstream.authenticator.loggedIn()
        self._upstream.resume()
        self.seat.outbox.put(bindResult.data)
        self._coupleClient()
        self._coupleServer()
        self.upstreamStanzas(fromServer)
        self.downstreamStanzas(fromClient)

    # Each side is read as fast as the other takes it.

    def _coupleClient(self) -> None:
        downstream = self._downstream
        downstream.transport.registerProducer(self, True)
        if self._idleSeconds:
            downstream.transport.timeOut(self._idleSeconds)
        downstream.unwanted = self._unwantedFromClient
        if self.outstanding is not None:
            self.holdClient(self.outstanding.full)

    def _coupleServer(self) -> None:
        upstream = self._upstream
        upstream.unregisterProducer()
        upstream.transport.registerProducer(Reading(self._downstream, self.count), True)
        if self._idleSeconds:
            upstream.transport.timeOut(self._idleSeconds)
        upstream.unwanted = self._unwantedFromServer

    def _stopWaiting(self) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        self._patience = None
        preparing, self._preparing = self._preparing, None
        if preparing is not None:
            preparing.cancel()  # it would hold us until all is answered

    # The fast path

    def _unwantedFromClient(self) -> fastpath.Unwanted:
        return self._chain.fromClient.unwanted(self._links)

    def _unwantedFromServer(self) -> fastpath.Unwanted:
        if self._again:
            return ()  # what comes again is counted one by one
        unwanted = self._chain.fromServer.unwanted(self._links)
        if self.questions.open:  # the answer is for us
            unwanted = tuple(each for each in unwanted if each[0] != "iq")
        if not self.seat.outbox.empty:
            return ()  # what has to wait is counted when it is sent, one by one
        if self.seat.holding is not None:  # one of a run might have to wait
            unwanted = tuple(each for each in unwanted if each[0] == "iq")
        return unwanted

    # A stanza's trip

    def downstreamStanzas(self, stanzas: list[Stanza]) -> None:
        """From the client, through the chain, to the server."""
        if self._held is not None:
            self._held[0].extend(stanzas)
            return
        came = 0
        interests = self._chain.fromClient.interests
        out = self._serverOutput
        for stanza in stanzas:
            if isinstance(stanza, fastpath.Run):
                came += stanza.count
                self.toServer += stanza.count
                out.append(stanza.data)
                continue
            came += 1
            key = stanza.name
            if stanza.namespace != ns.CLIENT:
                key = stanza.namespace
                self.fromClient += came - 1
                came = 0
            wanted = interests.get(key)
            if wanted is None or stanza.fault is not None:
                self.flush()
                self._downstream.authenticator.refuseStanza(stanza)
                return
            for at, namespaces in wanted:
                if namespaces is None or _concerns(stanza, namespaces):
                    passed = self._links[at].clientStanza(stanza)
                    if passed is None:
                        break
                    stanza = passed
            else:
                self.toServer += 1
                out.append(stanza.data)
            if self._outcome is not None:
                return
        self.fromClient += came
        self.management.clientTurn()  # what it asks the server goes with what the client has sent
        self.flush()

    def upstreamStanzas(self, stanzas: list[Stanza]) -> None:
        """From the server, through the chain, to the client."""
        if self._again:
            stanzas = self._withoutSeen(stanzas)
        came = 0
        interests = self._chain.fromServer.interests
        put = self.seat.outbox.put
        asked = self.questions
        for stanza in stanzas:
            if isinstance(stanza, fastpath.Run):
                came += stanza.count
                self.output.count += stanza.count - 1
                put(stanza.data)
                continue
            came += 1
            if asked.open and stanza.name == "iq" and asked.answer(stanza):
                continue
            key = stanza.name
            if stanza.namespace != ns.CLIENT:
                key = stanza.namespace
                self.fromServer += came - 1
                came = 0
            elif self._held is not None:
                came -= 1
                self._held[1].append(stanza)
                continue
            wanted = interests.get(key)
            if wanted is None or stanza.fault is not None:
                self.warn(
                    "dropped", "stanza", f"{stanza!r}: {shownText(stanza.fault or 'no stanza')}"
                )
                continue
            for at, namespaces in wanted:
                if namespaces is None or _concerns(stanza, namespaces):
                    passed = self._links[at].serverStanza(stanza)
                    if passed is None:
                        if self._serverGone:
                            return
                        break
                    stanza = passed
            else:
                put(stanza.data)
        self.fromServer += came
        self.seat.outbox.came = self.fromServer
        if (
            self._held is not None
            and sum(len(held.data) for held in self._held[1]) > self.output.most
        ):
            self._upstream.pause(PEER)  # until ready, though an answer may be behind that
        holding = self.seat.holding
        if holding is not None:
            if self.management.unhandled > self.mostUnhandled // 2:
                holding.flush()  # nothing of that is handled while it is held
            elif holding.waiting > self.counted + GRAIN:
                self.count()
        self.flush()
        self.management.serverTurn()

    def downstreamStarted(self) -> None:
        """A client begins no other stream on this one once its resource is bound."""

    def upstreamFeatures(self, features: Stanza) -> None:
        """Features that come now change nothing any more."""

    def overdue(self) -> bool:
        """See L{DownstreamOwner}."""
        return False

    def _withoutSeen(self, stanzas: list[Stanza]) -> list[Stanza]:
        """Without what the server has sent before the stream was resumed."""
        fresh = []
        for stanza in stanzas:
            if self._again and stanza.namespace == ns.CLIENT:
                self._again -= 1
            else:
                fresh.append(stanza)
        return fresh

    def warn(self, done: str, what: str, which: str) -> None:
        """Log what anybody may cause as often as they like: see L{LimitLog.inSession}."""
        limitLog = self._downstream.authenticator.factory.limitLog
        limitLog.inSession(shown(self.jid), done, what, which)

    # Sending

    def send(self, obj: Stanza | bytes) -> None:
        """Send to the server."""
        if not self._serverOutput and self.account is not None:
            self.account.mark(self)
        self.toServer += 1
        self._serverOutput.append(obj.data if isinstance(obj, Stanza) else obj)

    def sendClient(self, data: bytes) -> None:
        """Send to the client, behind everything that it is owed."""
        self.seat.outbox.put(data)

    def flush(self) -> None:
        """Write everything that was gathered, by this session and for its siblings."""
        self.flushUpstream()
        if self.account is not None:
            self.account.flush()
        self.flushDownstream()

    def flushUpstream(self) -> None:
        """Write to the server what was gathered for it."""
        if self._serverOutput:
            data = b"".join(self._serverOutput)
            self._serverOutput.clear()
            if self.outstanding is not None:
                data += self.management.sendingServer(data)
                if self.outstanding.size > self.counted + GRAIN:
                    self.count()
            self._upstream.write(data)

    def flushDownstream(self) -> None:
        """Write to the client what was gathered for it, unless it is too slow."""
        self.output.flush()
        if self.output.slow:
            self.count()

    def outputGathers(self) -> None:
        """Be flushed at the end of the turn."""
        if self.account is not None:
            self.account.mark(self)

    def writeClient(self, data: bytes, count: int) -> None:
        """Write stanzas to the client."""
        data += self.management.sending(data, count)
        if not self.away:
            self._downstream.write(data)
        self.management.wrote()

    def tooMuch(self, text: str) -> None:
        """
        More waits for the client than is kept.

        @param text: what the client is told.
        """
        log.info("{jid}: too slow: {text}", jid=shown(self.jid), text=shownText(text))
        self.output.drop()
        self._end("too slow")
        self._downstream.closeStream(StreamError("resource-constraint", text=text))
        self._closeUpstream()

    @property
    def waiting(self) -> int:
        """How many bytes wait for client or server; 0 once the session has ended."""
        if self._outcome is not None:
            return 0
        holding = self.seat.holding
        written: int = self._downstream.transport.waiting + self._upstream.transport.waiting
        return (
            written
            + self.output.waiting
            + self.seat.outbox.waiting
            + (0 if holding is None else holding.waiting)
            + self.management.kept
            + (0 if self.outstanding is None else self.outstanding.size)
        )

    def count(self) -> None:
        """More waits, or less."""
        self._queues.count(self)

    def makeRoom(self, text: str) -> None:
        """
        End, for more waits in all sessions than is kept, and most of it here.

        @param text: what the client is told, if it is there.
        """
        if self.away:
            self.management.expire(text)
        else:
            self.tooMuch(text)
        if self._reconnection is not None:
            self._reconnection.giveUp(text)  # or what waits for the server would go on waiting

    def sayServer(self, data: bytes) -> None:
        """Send what is no stanza to the server. Flush after that."""
        if self.outstanding is None:
            self._serverOutput.append(data)
        else:
            self.flushUpstream()  # which are stanzas, to be kept
            self._upstream.write(data)

    def sayClient(self, data: bytes) -> None:
        """Write what is no stanza to the client, behind all that is gathered."""
        if self._outcome is None and not self.away:
            self.output.push()
            self._downstream.write(data)
            self.output.said(len(data))

    @property
    def passedOn(self) -> int:
        """How many of the server's stanzas are written to the client, or gathered."""
        holding = self.seat.holding
        if self._held is not None or (holding is not None and not holding.empty):
            return 0  # some are; how many is not known
        return self.seat.outbox.passed

    @property
    def clientTakes(self) -> bool:
        """Whether the system has taken all that was sent to the client."""
        return self.output.empty and bool(self._downstream.transport.idle)

    @property
    def cameFromServer(self) -> int:
        """How many stanzas the server has sent, those included that wait until all is ready."""
        return self.fromServer + (0 if self._held is None else len(self._held[1]))

    @property
    def ended(self) -> bool:
        """Whether it is over, though the server may not have heard of that."""
        return self._outcome is not None

    # IPushProducer, for the client's transport: it is slow, or not any more

    def pauseProducing(self) -> None:
        """The client does not read: what is for it stays with the server."""
        self.output.slow = True  # which may be said more than once
        self._readOrNot()
        self.count()

    def resumeProducing(self) -> None:
        """It reads again."""
        self.output.readAgain()
        self.flushDownstream()
        self._readOrNot()
        self.count()

    def setFull(self, full: bool) -> None:
        """Whether the client leaves so much unacknowledged that nothing more is to be read."""
        self.full = full
        self._readOrNot()

    def _readOrNot(self) -> None:
        """Read from the server as long as the client takes what comes."""
        if self._reconnection is not None:
            return
        if self.output.slow or self.full:
            if self.readSince != math.inf:
                self.readSince = math.inf
                self._upstream.pause(PEER)
        elif self.readSince == math.inf:
            self.readSince = self.clock.seconds()
            self._upstream.resume(PEER)

    def holdClient(self, full: bool) -> None:
        """Whether the server has so much to acknowledge that nothing more is to be read."""
        if full:
            self._downstream.pause(FULL)
        else:
            self._downstream.resume(FULL)

    def stopProducing(self) -> None:
        """It is gone; C{downstreamLost} tells."""

    # Are they still there?

    @property
    def clientStream(self) -> Downstream:
        """The client's stream, or the last one that it had."""
        return self._downstream

    def look(self, patience: Patience) -> None:
        """Time has passed: look whether client and server are still there."""
        for link in self._links:
            if self._outcome is not None:
                return  # what is closing has a time limit of its own
            link.look(patience)

    def answered(self) -> None:
        """What the client has sent was for us."""
        self._private += 1

    # A client that comes back (XEP-0198, section 5)

    @property
    def isAlone(self) -> bool:
        """Whether the account has no other session."""
        return self.account is None or len(self.account.sessions) == 1

    def dismiss(self) -> None:
        """The client goes on with another stream."""
        old = self._downstream
        old.authenticator.owner = None
        old.unregisterProducer()
        old.closeStream(StreamError("conflict", text="resumed on another stream"))

    def goOnAlone(self) -> None:
        """Go on without the client's stream."""
        self.away = True
        self.output.readAgain()
        self._readOrNot()
        self.flush()

    def goOnWith(self, downstream: Downstream, first: bytes) -> None:
        """
        Go on with a new stream of the client's.

        @param first: what is written to it before all else.
        """
        self.away = False
        self._downstream = downstream
        downstream.authenticator.owner = self
        downstream.authenticator.loggedIn()
        log.info("{jid}: resumed, from {client}", jid=shown(self.jid), client=downstream.address)
        downstream.write(first)
        self._coupleClient()
        if self._reconnection is None:
            self._coupleServer()
        self.seat.release()
        self.flush()

    def giveUpClient(self, why: str) -> None:
        """The client does not come back."""
        self.away = False
        self._lose(why)

    def giveUpServer(self, why: str) -> None:
        """The server says what cannot be."""
        self._upstream.authenticator.giveUp(why)

    # A server whose connection was lost, and that may be resumed (the same)

    @property
    def reconnecting(self) -> bool:
        """Whether there is no stream to the server, and there may be one again."""
        return self._reconnection is not None

    def upstreamVanished(self, why: str) -> bool:
        """
        The server's connection is lost. If its stream may be resumed the session goes on without
        it: siblings notice nothing, and what the client sends waits.
        """
        if self._held is None and self._outcome is None and self.reconnector is not None:
            seconds = self.management.serverWaits
            self._reconnection = self.reconnector.begin(self, self._downstream.address, seconds)
        if self._reconnection is None:
            self.upstreamLost(why, None)
            return False
        log.info("{jid}: lost the server: {why}", jid=shown(self.jid), why=shownText(why))
        self.readSince = math.inf
        self._downstream.resume(PEER)
        self._reconnection.start()
        return True

    def hurry(self) -> None:
        """The server is there, as somebody knows: if we are not, go there now."""
        if self._reconnection is not None:
            self._reconnection.hurry()

    def loseServer(self, why: str) -> None:
        """Take the server's connection for lost."""
        self._upstream.authenticator.takeForLost(why)

    def resumption(self) -> bytes:
        """See L{xmpproxy.reconnection.Resuming}."""
        return self.management.resumption()

    def upstreamResumed(self, upstream: Upstream, h: int, rest: list[Stanza]) -> None:
        """The server is back. It is sent first what it has not got, then whatever comes."""
        assert self.reconnector is not None
        self.flushUpstream()  # which keeps it, to be sent with all that is kept
        self.reconnector.succeeded()
        self._reconnection = None
        self._upstream = upstream
        upstream.authenticator.owner = self
        for link in self._links:
            link.xmlstream = upstream
        if self._outcome is None:
            self._coupleServer()
            if self.output.slow or self.full:
                upstream.pause(PEER)
            else:
                self.readSince = self.clock.seconds()
        try:
            self._again = self.management.serverResumed(h)
        except StreamError as error:
            self.giveUpServer(f"stream management: {error}")
            return
        log.info("{jid}: the server has resumed the stream", jid=shown(self.jid))
        if self._outcome is not None:
            self._closeUpstream()
        self.flush()
        self.upstreamStanzas(rest)

    def upstreamNotResumed(
        self, why: str, error: Stanza | StreamError | None, h: int | None
    ) -> None:
        """The server does not resume the stream."""
        self._reconnection = None
        if h is not None:
            self.management.serverHandled(h)
        self.upstreamLost(why, error)

    # Ending

    def refuse(self, error: StreamError) -> None:
        """Close the client's stream with an error."""
        if self._outcome is None:
            self.flush()
            self._downstream.authenticator.refuse(error)

    def downstreamLost(self, outcome: str) -> None:
        """
        The client is gone. The session stays until the server has closed its stream as well: what
        the server routes to it before that must be known to the siblings. If the client may come
        back, the session goes on without it.
        """
        if outcome != VANISHED or self._outcome is not None or not self.management.leave():
            self._lose(outcome)

    def _lose(self, outcome: str) -> None:
        self._end(outcome)
        self._closeUpstream()
        self._streamLost()

    def _closeUpstream(self) -> None:
        """Part with the server; if it is not there, once it has got what is kept for it."""
        if self._reconnection is None:
            self.management.farewell()
            self._upstream.closeStream()

    def upstreamLost(self, why: str, error: Stanza | StreamError | None) -> None:
        """The server is gone, and sends nothing more."""
        self._serverGone = True
        for link in self._links:
            link.connectionLost(Failure(ConnectionError(why)))
        if self._outcome is None:
            self.output.slow = False  # the transport takes all that waits, and gets time for it
            log.warn("{jid}: the server is gone: {why}", jid=shown(self.jid), why=shownText(why))
            self._end("server gone")
            if isinstance(error, Stanza):
                error = refusals.forClient(error, begun=True)
            self._downstream.closeStream(error or StreamError("reset", text=why))
        if self.away:
            self.away = False
            self._streamLost()
        if self.account is not None:
            account, self.account = self.account, None
            account.mirror.leave(self.seat)
            self._accounts.leave(account, self)
            account.flush()
        self._streamLost()

    def _streamLost(self) -> None:
        """
        One of the streams is gone. With the second, everything that holds this session and is held
        by it lets go: thousands of sessions are freed one by one, not by the garbage collector.
        """
        self._streams -= 1
        if not self._streams:
            self._upstream.authenticator.owner = None
            self.questions.close()
            for link in list(self._links):
                link.disownHandlerParent(self)
            del self.seat, self.output

    def _end(self, outcome: str) -> None:
        if self._outcome is not None:
            return
        self.flush()
        self.management.farewellClient()
        if self._outcome is not None:
            return  # it ended with that
        self._outcome = outcome
        self._accounts.end(self.seat.account)
        self.output.close()
        self.count()
        self._downstream.unwanted = self._upstream.unwanted = None
        self._stopWaiting()
        self.management.ended()
        self._downstream.unregisterProducer()
        self._upstream.unregisterProducer()
        self._upstream.resume()
        log.info(
            "{jid}: ended: {outcome}, from {client}, {seconds:.0f} s, {fromClient} stanzas from "
            "the client, {fromServer} from the server, {copies} copies to it, {shared} of its own",
            jid=shown(self.jid),
            outcome=outcome,
            client=self._downstream.address,
            seconds=self.clock.seconds() - self._began,
            fromClient=self.fromClient - self._private,
            fromServer=self.fromServer - self.questions.answered,
            copies=self.seat.copied,
            shared=self.seat.shared,
        )


def _concerns(stanza: Stanza, namespaces: Iterable[str]) -> bool:
    return any(namespace in namespaces for namespace, _ in stanza.children)
