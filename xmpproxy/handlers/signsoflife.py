"""Whether client and server are still there (RFC 6120, section 4.6)."""

from __future__ import annotations

from typing import ClassVar
from xml.sax.saxutils import quoteattr

from twisted.logger import Logger

from xmpproxy import ns
from xmpproxy.chain import Wants
from xmpproxy.ids import Ids
from xmpproxy.session import Link
from xmpproxy.shown import shown
from xmpproxy.silence import Patience, Verdict
from xmpproxy.stanza import Stanza

log = Logger()

_NOTHING: frozenset[str] = frozenset()


class SignsOfLife(Link):
    """
    Asks who was silent for long, and gives up who does not answer.

    While one peer does not read, the other is not listened to, and what we would ask does not reach
    the one. How long that may go on is the system's business.
    """

    fromClient: ClassVar[Wants] = {"iq": None}

    def __init__(self) -> None:
        super().__init__()
        self._asked: str | None = None  # the id of what the client has to answer

    def heeds(self, name: str) -> frozenset[str] | None:
        """Only an answer to a question of ours."""
        return _NOTHING if self._asked is None else None

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """An iq: the client's answer, perhaps. An error is as good as a result."""
        if self._asked is None or stanza.id != self._asked:
            return stanza
        if stanza.type not in ("result", "error"):
            return stanza
        self._asked = None
        self.parent.answered()
        return None

    def look(self, patience: Patience) -> None:
        """Time has passed."""
        session = self.parent
        client, server = session.clientStream, self.xmlstream
        if session.reconnecting:
            client.quiet = 0  # what it sends is perhaps not read
            return
        if not session.away:
            if not (client.reading and server.reading):
                client.quiet = server.quiet = 0
                return
            verdict = patience.judge(client)
            if verdict is Verdict.PROBE:
                self._askClient()
            elif verdict is Verdict.GONE:
                log.info("{jid}: the client gives no sign of life", jid=shown(session.jid))
                client.transport.abortConnection()
                return
        elif not server.reading:
            server.quiet = 0
            return
        verdict = patience.judge(server)
        if verdict is Verdict.PROBE:
            self._askServer()
        elif verdict is Verdict.GONE:
            session.loseServer("it gives no sign of life")

    def _askClient(self) -> None:
        session = self.parent
        if session.management.probeClient():
            return
        self._asked = Ids().make()
        session.sendClient(
            f"<iq type='get' id='{self._asked}' from={quoteattr(session.domain)} "
            f"to={quoteattr(session.jid)}><ping xmlns='{ns.PING}'/></iq>".encode()
        )
        session.flush()

    def _askServer(self) -> None:
        session = self.parent
        if not session.management.probeServer():
            session.questions.ping(lambda: None)
            session.flush()
