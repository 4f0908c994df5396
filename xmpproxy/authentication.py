"""
Logging in (RFC 6120, section 6), in one of two ways.

I{Relay}: client and server negotiate with each other, and we look on. I{Terminate}: the client
gives us its password over TLS, and we negotiate with the server. The second is needed where the
server knows channel binding: a client's binding would be to our TLS, not to the server's, and one
that could bind but does not must be refused by a server that offers it (RFC 5802, section 6).
"""

from __future__ import annotations

from collections.abc import Callable
from xml.sax.saxutils import escape

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from xmpproxy import features, ns, sasl
from xmpproxy.computing import Compute
from xmpproxy.downstream import Downstream
from xmpproxy.shown import shownText
from xmpproxy.stanza import Stanza
from xmpproxy.upstream import Upstream
from xmpproxy.upstreamtls import channelBindings

log = Logger()


def _failure(condition: str, text: str = "") -> bytes:
    inner = f"<text xml:lang='en'>{escape(shownText(text))}</text>" if text else ""
    return f"<failure xmlns='{ns.SASL}'><{condition}/>{inner}</failure>".encode()


class Relay:
    """
    SASL between client and server, untouched.

    @ivar mechanisms: what the client is offered.
    @ivar keys: L{None}: how to log in is the client's secret.
    @ivar owed: how many answers the server owes.
    """

    keys: sasl.ScramKeys | None = None

    def __init__(
        self,
        downstream: Downstream,
        upstream: Upstream,
        offered: Stanza,
        succeeded: Callable[[], None],
    ) -> None:
        self.mechanisms = features.relayable(features.mechanisms(offered.element))
        self.owed = 0
        self._downstream = downstream
        self._upstream = upstream
        self._succeeded = succeeded

    def fromClient(self, stanza: Stanza) -> None:
        """The client sent an element of SASL."""
        if stanza.name == "auth" and stanza.attributes.get("mechanism") not in self.mechanisms:
            self._downstream.write(_failure("invalid-mechanism"))
        elif stanza.children or not sasl.isEncoded(str(stanza.element)):
            # Servers differ in what they make of that, and we could not say for whom it is.
            self._downstream.write(_failure("incorrect-encoding"))
        else:
            self.owed += 1
            self._upstream.send(stanza)

    def takes(self, stanza: Stanza) -> bool:
        """Whether an element may come now, or only when what came before it is answered."""
        return not self.owed

    def fromServer(self, stanza: Stanza) -> None:
        """The server sent an element of SASL."""
        self.owed = max(0, self.owed - 1)
        self._downstream.send(stanza)
        if stanza.name == "success":
            self._succeeded()

    def stop(self) -> None:
        """Client or server is gone."""


class Terminate:
    """
    SASL with the client by PLAIN, and with the server by the best mechanism there is.

    @ivar mechanisms: what the client is offered.
    @ivar keys: by what we can log in again, once the client is logged in; L{None}: not at all.
    @ivar owed: how many answers the server owes.
    """

    mechanisms = ("PLAIN",)
    keys: sasl.ScramKeys | None = None

    def __init__(
        self,
        downstream: Downstream,
        upstream: Upstream,
        offered: Stanza,
        succeeded: Callable[[], None],
        compute: Compute,
    ) -> None:
        self._downstream = downstream
        self._upstream = upstream
        self._offered = features.mechanisms(offered.element)
        self._listed = features.channelBindings(offered.element)
        self._succeeded = succeeded
        self._compute = compute
        self.owed = 0
        self._responding: Deferred[bytes] | None = None  # until the server has our response
        self._challenged = False  # PLAIN without initial response: the client is to send it
        self._mechanism: sasl.Mechanism | None = None
        self._aborting = False

    def fromClient(self, stanza: Stanza) -> None:
        """The client sent an element of SASL."""
        text = str(stanza.element)
        if self._mechanism is not None:
            # An abort. The server's answer decides, and comes soon. It may be that to the abort.
            self._aborting = True
            self._drop()
            self._say(stanza.data)
            return
        if stanza.name == "auth" and stanza.attributes.get("mechanism") != "PLAIN":
            self._downstream.write(_failure("invalid-mechanism"))
        elif stanza.name == "auth" and not text:
            self._challenged = True
            self._downstream.write(f"<challenge xmlns='{ns.SASL}'/>".encode())
        elif stanza.name == "auth" or (stanza.name == "response" and self._challenged):
            self._challenged = False
            self._begin(text)
        elif stanza.name == "abort":
            self._challenged = False
            self._downstream.write(_failure("aborted"))
        else:
            self._downstream.write(_failure("malformed-request"))

    def _begin(self, text: str) -> None:
        connection = self._upstream.connection
        try:
            credentials = sasl.parsePlain(sasl.decode(text))
            credentials.checkAuthzid(self._upstream.authenticator.domain.name)
            mechanism = sasl.choose(
                self._offered,
                credentials,
                {} if connection is None else channelBindings(connection),
                self._listed,
                secure=True,  # or the configuration says that it is on loopback, or accepted
            )
            if mechanism is None:
                raise sasl.SaslError("temporary-auth-failure", self._nothingToUse())
            initial = sasl.encode(mechanism.initialResponse())
        except sasl.SaslError as e:
            self._give(e)
            return
        self._mechanism = mechanism
        self._aborting = False
        self._say(f"<auth xmlns='{ns.SASL}' mechanism='{mechanism.name}'>{initial}</auth>".encode())

    def _say(self, data: bytes) -> None:
        """Send the server something that it will answer."""
        self.owed += 1
        self._upstream.write(data)

    def takes(self, stanza: Stanza) -> bool:
        """Whether an element may come now, or only when what came before it is answered."""
        if stanza.name == "abort" and not self._aborting:
            return True
        return self._mechanism is None and not self.owed

    def _nothingToUse(self) -> str:
        text = f"the server offers none of the mechanisms we know: {', '.join(self._offered)}"
        log.warn("login at the server given up: {text}", text=shownText(text))
        return text

    def fromServer(self, stanza: Stanza) -> None:
        """The server sent an element of SASL."""
        last = (ns.SASL, "aborted") in stanza.children
        self.owed = 0 if last else max(0, self.owed - 1)
        mechanism = self._mechanism
        if mechanism is None:
            return
        try:
            if stanza.name == "failure":
                self.stop()
                self._downstream.send(stanza)
            elif self._responding is not None:
                raise sasl.SaslError(
                    "temporary-auth-failure", "the server does not wait for the response"
                )
            elif stanza.name == "challenge":
                challenge = sasl.decode(str(stanza.element))
                self._responding = self._compute(mechanism.respond, challenge)
                self._responding.addCallbacks(self._respond, self._cannotRespond)
            elif stanza.name == "success":
                text = str(stanza.element)
                mechanism.finish(sasl.decode(text) if text else None)
                self._mechanism = None
                self.keys = mechanism.keys
                self._downstream.write(f"<success xmlns='{ns.SASL}'/>".encode())
                self._succeeded()
        except sasl.SaslError as e:
            self._giveUp(e)

    def _respond(self, response: bytes) -> None:
        """Our response to the server's challenge is there."""
        self._responding = None
        self._say(f"<response xmlns='{ns.SASL}'>{sasl.encode(response)}</response>".encode())

    def _cannotRespond(self, failure: Failure) -> None:
        """There is none, or nobody wants it any more."""
        if failure.check(CancelledError):
            return
        error = failure.value
        if not isinstance(error, sasl.SaslError):
            log.failure("cannot respond to a challenge", failure=failure)
            error = sasl.SaslError("temporary-auth-failure", "internal error")
        self._giveUp(error)

    def stop(self) -> None:
        """Client or server is gone, or the server has decided. Nobody wants a response any more."""
        self._drop()
        self._responding = None
        self._mechanism = None

    def _drop(self) -> None:
        if self._responding is not None:
            self._responding.cancel()

    def _giveUp(self, error: sasl.SaslError) -> None:
        """The server does not know the password's secrets, or breaks the mechanism's rules."""
        log.warn("login at the server given up: {error}", error=shownText(str(error)))
        self._give(error)
        self._upstream.closeStream()

    def _give(self, error: sasl.SaslError) -> None:
        self.stop()
        self._downstream.write(_failure(error.condition, error.text))
