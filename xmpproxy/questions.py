"""What a session asks the account's server by itself: iqs whose answers no client ever sees."""

from __future__ import annotations

from collections.abc import Callable
from xml.sax.saxutils import quoteattr

from xmpproxy import ns
from xmpproxy.ids import Ids
from xmpproxy.jid import isDomain, same
from xmpproxy.stanza import Stanza


class Questions:
    """
    The questions of one session. Their ids cannot be guessed.

    @ivar open: what to do with the answers that are still to come, by the ids of the questions.
    @ivar answered: how many have come.
    """

    __slots__ = ("_account", "_domain", "_ids", "_jid", "_send", "answered", "open")

    def __init__(self, jid: str, account: str, domain: str, send: Callable[[bytes], None]) -> None:
        """
        @param jid: of the session.
        @param account: its bare JID.
        @param send: sends to the server.
        """
        self.open: dict[str, Callable[[Stanza], None]] = {}
        self.answered = 0
        self._jid = jid
        self._account = account
        self._domain = domain
        self._send = send
        self._ids = Ids()  # of this session alone: clients see the ids of copies

    def ask(
        self, kind: str, payload: str, answered: Callable[[Stanza], None], to: str | None = None
    ) -> str:
        """
        Send an iq to the account's server.

        @param kind: C{"get"}, C{"set"}, or C{"result"} for what the server is to bring back here.
        @param payload: the child element.
        @param to: the account itself, if not the server is meant.
        @param answered: called with the answer, a result or an error.
        @return: by what C{forget} knows the question.
        """
        id = self._ids.make()
        self.open[id] = answered
        if to is None and kind == "get":
            to = self._domain
        address = "" if to is None else f" to={quoteattr(to)}"
        self._send(f"<iq type='{kind}' id='{id}'{address}>{payload}</iq>".encode())
        return id

    def ping(self, answered: Callable[[], None]) -> None:
        """Ping the server (XEP-0199). It has handled all that was sent before when it answers."""
        self.ask("get", f"<ping xmlns='{ns.PING}'/>", lambda _: answered())

    def forget(self, id: str) -> None:
        """Wait no longer for the answer to a question."""
        self.open.pop(id, None)
        if not self.open:
            self.open = {}  # the one that was emptied keeps its size

    def mayAnswer(self, sender: str | None) -> bool:
        """Whether somebody may answer what the server or the account was asked."""
        return (
            sender in (None, self._domain, self._account, self._jid)
            or isDomain(sender, self._domain)
            or same(sender, self._account)
            or same(sender, self._jid)
        )

    def answer(self, stanza: Stanza) -> bool:
        """
        Something has come from the server.

        @return: whether it was the answer to a question.
        """
        if stanza.id not in self.open or stanza.type not in ("result", "error"):
            return False
        if stanza.fault is not None:
            return False
        # What a server leaves out or writes here differs; that nobody else can answer does not.
        if not self.mayAnswer(stanza.attributes.get("from")):
            return False
        self.answered += 1
        answered = self.open[stanza.id]
        self.forget(stanza.id)
        answered(stanza)
        return True

    def close(self) -> None:
        """The session is over: hold nothing that holds it."""
        self.open = {}
        self._send = _unsent


def _unsent(data: bytes) -> None:
    """There is nobody to send to."""
