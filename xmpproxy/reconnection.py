"""
The way back to a server whose connection was lost: from a new connection to C{<resumed/>}
(XEP-0198, section 5), the proxy being the initiating entity.

The proxy logs in by itself, with keys that it keeps of the session's login (L{sasl.ScramKeys}).
What the server refuses is the end; a server that is not reached is tried again for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.error import StreamError

from xmpproxy import features, ns, sasl
from xmpproxy.stanza import Stanza
from xmpproxy.streammanagement import Failed, Refused, Resumed, parse
from xmpproxy.upstream import Upstream, UpstreamFailed, Upstreams
from xmpproxy.upstreamtls import channelBindings

log = Logger()

#: Seconds from a stream that is ready for SASL to C{<resumed/>}.
LOGIN_SECONDS = 30.0
#: Seconds before the second try at most, and half as many at least; each further one waits twice as
#: long,
FIRST_DELAY = 1.0
#: up to this.
LONGEST_DELAY = 30.0
#: Where a connection has not lasted for so many seconds, the first try is not prompt.
STEADY_SECONDS = 60.0


def delays(random: Random, *, prompt: bool) -> Iterator[float]:
    """
    Seconds to wait before each try: longer and longer, and not for all sessions alike.

    @param prompt: whether the first is made at once.
    """
    if prompt:
        yield 0.0
    longest = FIRST_DELAY
    while True:
        yield random.uniform(longest / 2, longest)
        longest = min(2 * longest, LONGEST_DELAY)


class Resuming(Protocol):
    """A session without a server."""

    def resumption(self) -> bytes:
        """The C{<resume/>}."""

    def upstreamResumed(self, upstream: Upstream, h: int, rest: list[Stanza]) -> None:
        """
        The server has resumed the stream. Own it at once.

        @param h: how many stanzas it had handled.
        @param rest: what came behind that.
        """

    def upstreamNotResumed(
        self, why: str, error: Stanza | StreamError | None, h: int | None
    ) -> None:
        """
        It will not, or nobody knows.

        @param error: the stream error that says so, if there is one.
        @param h: how many stanzas it had handled, if it has said that.
        """


class Reconnector:
    """By what one session may go back to its server."""

    __slots__ = ("_keys", "_since", "upstreams")

    def __init__(self, upstreams: Upstreams, keys: sasl.ScramKeys) -> None:
        """
        @param upstreams: connects to the server.
        @param keys: of the session's login.
        """
        self.upstreams = upstreams
        self._keys = keys
        self._since: float | None = None  # when the session had its server again

    def begin(self, session: Resuming, address: str, seconds: float) -> Reconnection | None:
        """
        The connection was lost.

        @param address: where the session's client is.
        @param seconds: how long to try.
        @return: what is to be started; L{None} if the proxy ends.
        """
        upstreams = self.upstreams
        if upstreams.stopped or seconds <= 0:
            return None
        now, since = upstreams.clock.seconds(), self._since
        prompt = since is None or now - since >= STEADY_SECONDS
        return Reconnection(
            upstreams, self._keys, session, address, seconds, delays(Random(), prompt=prompt)
        )

    def succeeded(self) -> None:
        """The session has its server again."""
        self._since = self.upstreams.clock.seconds()


class Reconnection:
    """From the loss of one connection to the resumption on another, or the end."""

    def __init__(
        self,
        upstreams: Upstreams,
        keys: sasl.ScramKeys,
        session: Resuming,
        address: str,
        seconds: float,
        delays: Iterator[float],
    ) -> None:
        self._address = address
        self._upstreams = upstreams
        self._keys = keys
        self._session = session
        self._seconds = seconds
        self._delays = delays
        self._why = ""  # the last try has failed
        self._upstream: Upstream | None = None
        self._mechanism: sasl.Mechanism | None = None
        self._asked = False  # to resume
        self._opening: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None  # until the next try, or the end of this one
        self._deadline: IDelayedCall | None = None

    def start(self) -> None:
        """Try."""
        clock = self._upstreams.clock
        self._upstreams.reconnections.add(self)
        self._deadline = clock.callLater(self._seconds, self._tooLate)
        self._wait()

    def hurry(self) -> None:
        """Try now: the server is said to be there."""
        if self._opening is None and self._upstream is None:
            self._stopTimer()
            self._try()

    def stop(self) -> None:
        """The proxy ends."""
        self.giveUp("shutdown", StreamError("system-shutdown"))

    def _wait(self) -> None:
        delay = next(self._delays)
        if delay:
            self._timer = self._upstreams.clock.callLater(delay, self._try)
        else:
            self._try()

    def _try(self) -> None:
        self._timer = None
        self._opening = Deferred.fromCoroutine(self._open())
        self._opening.addErrback(self._failed)

    async def _open(self) -> None:
        upstream, offered = await self._upstreams.open(self._address)
        self._opening = None
        self._upstream = upstream
        self._timer = self._upstreams.clock.callLater(LOGIN_SECONDS, self._again, "no answer")
        upstream.authenticator.owner = self
        self._authenticate(upstream, offered)

    def _failed(self, failure: Failure) -> None:
        self._opening = None
        if failure.check(CancelledError):
            return
        error = failure.value
        if isinstance(error, UpstreamFailed) and error.unreachable:
            self._again(str(error))
            return
        if not isinstance(error, UpstreamFailed):
            log.failure("cannot reconnect", failure=failure)
        self.giveUp(str(error))

    def _again(self, why: str) -> None:
        """This try has come to nothing. Where its connection is still there it may be too late."""
        self._why = why
        upstream = self._letGo()
        if upstream is not None:
            upstream.drop()
        self._wait()

    def _tooLate(self) -> None:
        self._deadline = None
        self.giveUp(f"not resumed within {self._seconds:.0f} s: {self._why or 'no answer'}")

    def giveUp(
        self, why: str, error: Stanza | StreamError | None = None, h: int | None = None
    ) -> None:
        """Try no more. Parameters are those of L{Resuming.upstreamNotResumed}, which is told."""
        upstream = self._end()
        if upstream is not None:
            upstream.closeStream()
            upstream.disconnect()
        self._session.upstreamNotResumed(why, error, h)

    def _end(self) -> Upstream | None:
        self._upstreams.reconnections.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        return self._letGo()

    def _letGo(self) -> Upstream | None:
        """This try is over."""
        self._stopTimer()
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        self._mechanism = None
        self._asked = False
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.authenticator.owner = None
        return upstream

    def _stopTimer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    # Logging in

    def _authenticate(self, upstream: Upstream, offered: Stanza) -> None:
        connection = upstream.connection
        mechanism = sasl.chooseAgain(
            features.mechanisms(offered.element),
            self._keys,
            {} if connection is None else channelBindings(connection),
            features.channelBindings(offered.element),
        )
        if mechanism is None:
            self.giveUp(f"the server does not offer SCRAM-{self._keys.hash} any more")
            return
        self._mechanism = mechanism
        initial = sasl.encode(mechanism.initialResponse())
        upstream.write(
            f"<auth xmlns='{ns.SASL}' mechanism='{mechanism.name}'>{initial}</auth>".encode()
        )

    def _negotiate(self, upstream: Upstream, mechanism: sasl.Mechanism, stanza: Stanza) -> None:
        text = str(stanza.element)
        try:
            if stanza.name == "challenge":
                response = sasl.encode(mechanism.respond(sasl.decode(text)))
                upstream.write(f"<response xmlns='{ns.SASL}'>{response}</response>".encode())
            elif stanza.name == "success":
                mechanism.finish(sasl.decode(text) if text else None)
                self._mechanism = None
                upstream.restart()
            elif stanza.name == "failure":
                condition = next((name for _, name in stanza.children), "no condition")
                self.giveUp(f"the server refuses the login: {condition}")
        except sasl.SaslError as e:
            self.giveUp(str(e))

    # UpstreamOwner

    def upstreamFeatures(self, offered: Stanza) -> None:
        """The server's features, after SASL."""
        if self._upstream is not None and self._mechanism is None and not self._asked:
            self._asked = True
            self._upstream.write(self._session.resumption())

    def upstreamStanzas(self, stanzas: list[Stanza]) -> None:
        """The server's answers."""
        for index, stanza in enumerate(stanzas):
            upstream = self._upstream
            if upstream is None:
                return
            if stanza.fault is not None:
                continue
            if stanza.namespace == ns.SASL and self._mechanism is not None:
                self._negotiate(upstream, self._mechanism, stanza)
                if self._mechanism is None:
                    return  # what is behind the success belongs to a stream that is over
            elif (
                self._asked
                and stanza.namespace in ns.STREAM_MANAGEMENT
                and self._answered(upstream, stanza, stanzas[index + 1 :])
            ):
                return

    def _answered(self, upstream: Upstream, stanza: Stanza, rest: list[Stanza]) -> bool:
        """Whether that was the answer to C{<resume/>}."""
        try:
            element = parse(stanza)
        except (Refused, StreamError) as error:
            self.giveUp(f"stream management: {error}")
            return True
        if isinstance(element, Failed):
            self.giveUp(f"the server does not resume: {element.condition}", h=element.h)
            return True
        if isinstance(element, Resumed):
            self._end()
            self._session.upstreamResumed(upstream, element.h, rest)
            return True
        return False

    def upstreamLost(self, why: str, error: Stanza | None) -> None:
        """The server has closed the stream."""
        self.giveUp(why, error)

    def upstreamVanished(self, why: str) -> bool:
        """This connection is lost, too."""
        self._again(why)
        return True
