"""
The server behind the proxy: the least that can be logged in to.

Plain TCP, SASL PLAIN with any password, resource binding; every iq gets an empty result, presence
is ignored, messages are counted and dropped. It has no carbons, so the proxy does them. Only to
accounts whose name begins with L{SERVED} it says that it has; the benchmark makes them. To those
whose name begins with L{MANAGED} it offers stream management.
"""

from __future__ import annotations

import base64
import re

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol

from benchmarks.tally import Acknowledging, Tally
from xmpproxy.streammanagement import Enabled

DOMAIN = "example.com"
#: What the names of accounts begin with for which the server has carbons.
SERVED = "served"
#: The same for stream management (XEP-0198).
MANAGED = "managed"

_BEGIN = re.compile(rb"<(?:stream:stream|auth|iq|enable) ")
_WHOLE = re.compile(
    rb"<(?:(?P<header>stream:stream )[^>]*"
    rb"|(?P<enable>enable )[^>]*"
    rb"|auth [^>]*>(?P<auth>[^<]*)</auth"
    rb"|iq (?P<iq>[^>]*)>(?P<payload>.*?)</iq)>"
)
_ID = re.compile(rb"id=['\"]([^'\"]+)")
_RESOURCE = re.compile(rb"<resource>([^<]+)</resource>")

_HEADER = (
    f"<stream:stream from='{DOMAIN}' id='sink' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'><stream:features>%b</stream:features>"
).encode()
_MECHANISMS = (
    b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>"
    b"</mechanisms>"
)
_BIND = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
_MANAGEMENT = b"<sm xmlns='urn:xmpp:sm:3'/>"
_BOUND = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%b</jid></bind>"
_FEATURES = (
    b"<query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:xmpp:carbons:2'/>"
    b"</query>"
)
_SUCCESS = b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"


class SinkStream(Protocol):
    """
    The stream of one session.

    @ivar tally: of the messages that came in.
    @ivar management: the part that it has in stream management, if that is enabled.
    """

    factory: Sink
    transport: ITCPTransport

    def __init__(self) -> None:
        self.tally = Tally()
        self.management: Acknowledging | None = None
        self._rest = b""
        self._user = b""

    def connectionMade(self) -> None:
        # What is measured should not wait for acknowledgements.
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        self.tally.feed(data)
        if self.management is not None:
            self.transport.write(self.management.feed(data))
        data = self._rest + data
        handled = 0
        for match in _WHOLE.finditer(data):
            handled = match.end()
            self._answer(match)
        begun = _BEGIN.search(data, handled)
        self._rest = data[begun.start() if begun else max(handled, data.rfind(b"<")) :]

    def _answer(self, match: re.Match[bytes]) -> None:
        if match["header"]:
            self.transport.write(_HEADER % self._features())
        elif match["auth"]:
            self._user = base64.b64decode(match["auth"]).split(b"\0")[1]
            self.transport.write(_SUCCESS)
        elif match["enable"]:
            self.management = Acknowledging()
            self.management.feed(match.string[match.end() :])
            self.transport.write(Enabled().written())
        else:
            id = _ID.search(match["iq"])
            assert id is not None
            self.transport.write(
                b"<iq type='result' id='%b'>%b</iq>" % (id[1], self._result(match["payload"]))
            )

    def _features(self) -> bytes:
        if self._user.startswith(MANAGED.encode()):
            return _BIND + _MANAGEMENT
        return _BIND if self._user else _MECHANISMS

    def _result(self, payload: bytes) -> bytes:
        resource = _RESOURCE.search(payload)
        if resource is None:
            served = self._user.startswith(SERVED.encode())
            return _FEATURES if served and b"disco#info" in payload else b""
        jid = b"%b@%b/%b" % (self._user, DOMAIN.encode(), resource[1])
        self.factory.streams[jid.decode()] = self
        return _BOUND % jid


class Sink(Factory[SinkStream]):
    """
    The server.

    @ivar streams: the stream of each full JID that was bound.
    """

    protocol = SinkStream
    noisy = False

    def __init__(self) -> None:
        self.streams: dict[str, SinkStream] = {}
