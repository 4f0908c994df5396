"""
The server behind the proxy as a process of its own, for thousands of sessions.
C{python -m benchmarks.router PORT} is the sink, which also routes messages to full
JIDs, and closes its side of a stream.
"""

from __future__ import annotations

import re
import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import react

from benchmarks import subjects
from benchmarks.sink import Sink, SinkStream

_MESSAGE = re.compile(rb"<message to='([^']+)'.*?</message>")


class RouterStream(SinkStream):
    """The stream of one session. Its messages begin with C{to}, and are never cut in two."""

    def dataReceived(self, data: bytes) -> None:
        if b"<message" in data:
            for message in _MESSAGE.finditer(data):
                receiver = self.factory.streams.get(message[1].decode())
                if receiver is not None:
                    receiver.transport.write(message[0])
        super().dataReceived(data)
        if b"</stream:stream>" in data:
            self.transport.write(b"</stream:stream>")
            self.transport.loseConnection()


class Router(Sink):
    """The server."""

    protocol = RouterStream


if __name__ == "__main__":
    subjects.raiseLimits()
    subjects.pin(1)

    async def serve(_: IReactorCore) -> None:
        endpoint = TCP4ServerEndpoint(reactor, int(sys.argv[1]), 4096, "127.0.0.1")
        await endpoint.listen(Router())
        await Deferred()

    react(lambda reactor: Deferred.fromCoroutine(serve(reactor)))
