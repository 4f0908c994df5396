"""What both of a session's streams have in common: Twisted's XML stream, fed by our splitter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.jabber import xmlstream
from twisted.words.protocols.jabber.error import StreamError
from zope.interface import implementer

from xmpproxy import fastpath, ns
from xmpproxy.coders import Coder
from xmpproxy.config import Limits
from xmpproxy.later import later
from xmpproxy.records import SecureTransport
from xmpproxy.splitter import Splitter
from xmpproxy.stanza import Stanza, serialize
from xmpproxy.transport import Transport

log = Logger()

#: Seconds that a peer has to close its side of a connection that we have closed ours of.
CLOSE_SECONDS = 5.0
#: The same when the proxy ends: less than what it has for that.
END_SECONDS = 3.0

# Why a stream is not read: each is one bit.

#: Who is to get what comes does not read.
PEER = 1
#: What comes could not be handled yet, while the client logs in.
LOGIN = 2
#: Too much has come lately.
RATE = 4
#: Who got what came has too much of it to acknowledge.
FULL = 8
#: What has come takes long: the rest of it has to wait for later turns of the reactor.
TURN = 16
#: All but the rate, which counts to the end, and the rest, which then is still handled.
_OTHERS = PEER | LOGIN | FULL

#: Bytes that are handled in one piece, whatever they are, and the most that ever are. With fewer, a
#: long tag would come in too many pieces for the splitter.
_PIECE, _WHOLE = 2048, 65536
#: Seconds that a piece should take. After more, or much less, the next one is smaller, or larger.
_LONG = 0.004

#: What Twisted's class makes anew for each stream. Nobody puts anything into these here.
_NOTHING: Any = MappingProxyType({})
_PREFIXES: Any = MappingProxyType({ns.STREAMS: "stream"})


class StanzaStream(xmlstream.XmlStream):
    """
    An XML stream whose first-level elements come as L{Stanza}s.

    The authenticator, which knows what kind of stream this is, is told: C{streamStarted(header)},
    C{stanzasReceived(stanzas)}, C{streamFault(error)}, C{streamEnded()} and
    C{connectionLost(reason)}.

    @ivar stream: the splitter that reads what comes in; a new one after each C{reset}.
    @ivar unwanted: asked before each read which stanzas nobody wants to see: they come as
        L{fastpath.Run}s. L{None} for no such.
    @ivar closing: whether we have closed our side.
    @ivar paused: why nothing is read; 0 while it is.
    @ivar quiet: how many looks there were since anything came: a byte is enough (L{Patience}).
    @ivar backlog: how much the peer had yet to take at the last of them, if that mattered.
    @ivar transport: what is written to.
    @ivar tls: the same, if that is through TLS.
    """

    stream: Splitter | None
    transport: Any  # a Transport or a SecureTransport, which Twisted's class knows nothing of

    # Few streams ever have their own. With more than 30 attributes each would take 1 KiB more.
    _piece = _WHOLE
    _rest = b""  # what has come, and waits for a later turn

    def __init__(
        self, authenticator: xmlstream.Authenticator, limits: Limits, clock: IReactorTime
    ) -> None:
        self.limits = limits
        self.clock = clock
        # All attributes, also those that are for later: see C{_LATER} of the transport.
        self.unwanted: Callable[[], fastpath.Unwanted] | None = None
        self.tls: SecureTransport | None = None
        self.paused = 0
        self.quiet = 0
        self.backlog = 0
        self.closing = False
        self._headerSent = False
        self._abort: IDelayedCall | None = None
        super().__init__(authenticator)
        self.prefixes = _PREFIXES
        self.features = self.initializers = _NOTHING
        self._eventObservers = self._xpathObservers = self._updateQueue = _NOTHING

    # Whoever observes a stream gets what Twisted's class needs for that. Few do, if any.

    def _getEventAndObservers(self, event: Any) -> Any:
        if self._eventObservers is _NOTHING:
            self._eventObservers, self._xpathObservers, self._updateQueue = {}, {}, []
        return super()._getEventAndObservers(event)

    def dispatch(self, obj: object, event: str | None = None) -> bool:
        """Tell those who observe this stream."""
        return self._eventObservers is not _NOTHING and bool(super().dispatch(obj, event))

    def makeConnection(self, transport: Any) -> None:
        """Begin, on a connection of Twisted's."""
        super().makeConnection(Transport(transport))

    def startTLS(self, coder: Coder) -> None:
        """
        Have TLS from now on.

        @param coder: a new one.
        """
        assert isinstance(self.transport, Transport)
        self.tls = SecureTransport(
            self.transport, coder, self.textReceived, self.handshakeCompleted
        )
        self.transport = self.tls
        self.tls.start()

    def handshakeCompleted(self) -> None:
        """TLS is up."""

    def _initializeStream(self) -> None:
        # The hook of Twisted's class for the parser.
        if self.stream is not None:
            self.stream.close()
        if self._rest:
            self._rest = b""
        self.stream = self.makeSplitter()

    def makeSplitter(self) -> Splitter:
        """What cuts the stream that comes in, before there is a resource."""
        limits = self.limits
        return Splitter(
            limits.login_stanza_bytes,
            limits.depth,
            limits.attributes,
            limits.namespaces,
            key="login-stanza-bytes",
        )

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the connection."""
        self.quiet = 0
        if self.tls is None:
            self.textReceived(data)
        else:
            self.tls.dataReceived(data)

    def textReceived(self, data: bytes) -> None:
        """
        Bytes from the peer. What was read before a C{reset} and is not handled yet is dropped: it
        was sent in the clear, or under an identity that is not valid any more.

        What takes long, such as hundreds of messages to many siblings, is handled piece by piece,
        in several turns of the reactor.
        """
        if self._rest:
            self._rest += data
        elif len(data) <= _PIECE:
            self._handle(data)
        else:
            splitter, size = self.stream, self._piece
            piece = data[:size]
            began = perf_counter()
            self._handle(piece)
            took = perf_counter() - began
            if took > _LONG:
                self._piece = max(_PIECE, int(len(piece) * _LONG / took))
            elif took < _LONG / 4 and self._piece < _WHOLE:
                self._piece *= 2
            if len(data) > size and self.stream is splitter:
                self._rest = data[size:]
                self.pause(TURN)
                later(self.clock, self._goOn)

    def _goOn(self) -> None:
        rest, self._rest = self._rest, b""
        try:
            if rest:
                self.textReceived(rest)
        except Exception:  # what the reactor does where it reads
            log.failure("Unhandled Error")
            self.transport.abortConnection()
        if not self._rest:
            self.resume(TURN)

    def _handle(self, data: bytes) -> None:
        splitter = self.stream
        assert splitter is not None
        known = splitter.header is not None
        if self.unwanted is None:
            stanzas = splitter.feed(data)
        else:
            stanzas = fastpath.read(splitter, data, self.unwanted())
        if not known and splitter.header is not None:
            self.authenticator.streamStarted(splitter.header)
            splitter.forgetHeader()
        if stanzas and self.stream is splitter:
            self.authenticator.stanzasReceived(stanzas)
        if self.stream is splitter:
            if splitter.error is not None:
                self.authenticator.streamFault(splitter.error)
            elif splitter.ended:
                self.authenticator.streamEnded()

    def pause(self, why: int) -> None:
        """
        Read no more.

        @param why: C{PEER}, C{LOGIN}, C{RATE} or C{FULL}. There may be several reasons at once.
        """
        if not self.paused:
            self.transport.pauseProducing()
        self.paused |= why

    def resume(self, why: int = _OTHERS) -> None:
        """
        Read on, unless there are other reasons not to.

        @param why: the reasons that are there no more.
        """
        if self.paused:
            self.paused &= ~why
            if not self.paused:
                self.transport.resumeProducing()

    @property
    def reading(self) -> bool:
        """Whether what comes is read, be it slowly."""
        return not self.paused & _OTHERS

    def write(self, data: bytes) -> None:
        """Send bytes, unless the stream is closed."""
        if not self.closing:
            self.transport.write(data)

    def send(self, obj: object) -> None:
        """Send a L{Stanza}, or what Twisted's class takes, unless the stream is closed."""
        if not self.closing:
            super().send(obj.data if isinstance(obj, Stanza) else obj)

    def closeStream(self, error: StreamError | Stanza | None = None) -> None:
        """
        Close our side, with a stream error first if there is one (RFC 6120, sections 4.4, 4.9).

        @param error: as we found it, or as another server sent it.
        """
        if self.closing:
            return
        last = b""
        if isinstance(error, Stanza):
            last = error.data
        elif error is not None:
            last = serialize(error.getElement())
        if last and not self._headerSent and not self.initiating:
            self.sendHeader()
        if self._headerSent:
            self.write(last + b"</stream:stream>")
        self.closing = True
        self.unregisterProducer()  # a connection with one that is paused would stay open
        self.resume()  # the peer has yet to close its side
        self.abortLater()
        if error is not None or not (self.initiating and self._headerSent):
            self.transport.loseConnection()
        # Else the server closes its side first: data of ours that it has not read yet would be
        # lost if it had sent something that we had not read.

    def unregisterProducer(self) -> None:
        """Part with the producer. A connection that is gone has none any more."""
        if self.stream is not None:
            self.transport.unregisterProducer()

    def disconnect(self) -> None:
        """Close the connection once all is written; drop it if that takes long."""
        self.abortLater()
        self.transport.loseConnection()

    def abortLater(self) -> None:
        """Drop the connection if it is not gone in time."""
        if self._abort is None and self.stream is not None:  # None: the connection is gone
            self._abort = self.clock.callLater(CLOSE_SECONDS, self._abortNow)

    def _abortNow(self) -> None:
        self._abort = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        if self._rest:
            self._piece = len(self._rest)
            self._goOn()
        self.closing = True
        if self.tls is not None:
            reason = self.tls.connectionLost(reason)
        if self._abort is not None:
            self._abort.cancel()
            self._abort = None
        if self.stream is not None:
            self.stream.close()
        super().connectionLost(reason)
        self.authenticator.connectionLost(reason)
        # Each holds the other. Without this, only the garbage collector would free them.
        self.authenticator.xmlstream = None


@implementer(IPushProducer)
class Reading:
    """What comes on a stream, as the producer for where it goes."""

    __slots__ = ("_changed", "_stream")

    def __init__(self, stream: StanzaStream, changed: Callable[[], None] = lambda: None) -> None:
        """
        @param changed: called when the stream is not read any more, or again.
        """
        self._stream = stream
        self._changed = changed

    def pauseProducing(self) -> None:
        """Who is to get it does not read."""
        self._stream.pause(PEER)
        self._changed()

    def resumeProducing(self) -> None:
        """It reads again."""
        self._stream.resume(PEER)
        self._changed()

    def stopProducing(self) -> None:
        """It is gone, of which its protocol tells."""


def couple(one: StanzaStream, other: StanzaStream) -> None:
    """Read each of two streams as fast as the other takes it."""
    for stream, producer in ((one, other), (other, one)):
        stream.unregisterProducer()
        stream.transport.registerProducer(Reading(producer), True)
        producer.resume(PEER)


S = TypeVar("S", bound=StanzaStream)
T = TypeVar("T")


class OpenStreams(Generic[S]):
    """The streams of one kind that are open."""

    def __init__(self) -> None:
        self._streams: set[S] = set()
        self._waiting: list[Deferred[None]] = []

    def __iter__(self) -> Iterator[S]:
        return iter(list(self._streams))

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, stream: S) -> None:
        """It was opened."""
        self._streams.add(stream)

    def discard(self, stream: S) -> None:
        """Its connection is gone."""
        self._streams.discard(stream)
        if not self._streams:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)

    def end(self, clock: IReactorTime) -> Deferred[None]:
        """
        The proxy ends, and has told them all: drop the connections that are not gone in time.

        @return: fires once none is open.
        """
        gone = self.whenNone()
        if not gone.called:
            late = clock.callLater(END_SECONDS, self._drop)

            def over(result: T) -> T:
                if late.active():
                    late.cancel()
                return result

            gone.addBoth(over)
        return gone

    def _drop(self) -> None:
        for stream in self:
            stream.transport.abortConnection()

    def whenNone(self) -> Deferred[None]:
        """Fires once none is open."""
        if not self._streams:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._waiting.append(deferred)
        return deferred
