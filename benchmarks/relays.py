"""
The base lines: Twisted's port forwarder, which looks at no byte, and the same with each stanza
parsed and serialised by domish. C{python -m benchmarks.relays KIND ENDPOINT PORT}: listens on an
endpoint, forwards to a port of 127.0.0.1.
"""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.protocols.portforward import Proxy, ProxyClient, ProxyClientFactory, ProxyFactory
from twisted.protocols.portforward import ProxyServer as Splice
from twisted.words.xish import domish

_STREAMS = "http://etherx.jabber.org/streams"
_HEADER = (
    f"<stream:stream to='example.com' version='1.0' xmlns='jabber:client' "
    f"xmlns:stream='{_STREAMS}'>"
).encode()


class _Parsing(Proxy):
    """What comes in on one side leaves on the other as domish writes it."""

    def connectionMade(self) -> None:
        self.restart()
        super().connectionMade()

    def restart(self) -> None:
        """A new stream begins here, and on the other side."""
        stream = self._stream = domish.elementStream()
        stream.DocumentStartEvent = lambda root: self._write(_HEADER)
        stream.ElementEvent = self._relay
        stream.DocumentEndEvent = lambda: self._write(b"</stream:stream>")

    def dataReceived(self, data: bytes) -> None:
        self._stream.parse(data)

    def _relay(self, element: domish.Element) -> None:
        text = element.toXml(
            prefixes={_STREAMS: "stream"}, defaultUri="jabber:client", prefixesInScope=["stream"]
        )
        self._write(text.encode())
        if element.name == "success":
            assert isinstance(self.peer, _Parsing)
            self.restart()
            self.peer.restart()

    def _write(self, data: bytes) -> None:
        assert self.peer is not None and self.peer.transport is not None
        self.peer.transport.write(data)


class _DomishClient(_Parsing, ProxyClient):
    pass


class _DomishClientFactory(ProxyClientFactory):
    protocol = _DomishClient


class Domish(_Parsing, Splice):
    """The downstream side of a relay on domish."""

    clientProtocolFactory = _DomishClientFactory


def main(kind: str, endpoint: str, port: str) -> None:
    """Relay until killed."""
    factory = ProxyFactory("127.0.0.1", int(port))
    factory.protocol = {"splice": Splice, "domish": Domish}[kind]
    serverFromString(reactor, endpoint).listen(factory)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
