"""Every message on every client: shows a session's messages to its siblings."""

from __future__ import annotations

from typing import ClassVar

from twisted.logger import Logger
from twisted.python.failure import Failure

from xmpproxy import carbons, ns
from xmpproxy.barrier import Barrier
from xmpproxy.carbons import Direction, Forged
from xmpproxy.chain import Wants
from xmpproxy.jid import belongs, isAccount
from xmpproxy.mirror import Mirror
from xmpproxy.session import Link
from xmpproxy.shown import shown, shownText
from xmpproxy.stanza import Stanza

log = Logger()

#: The server's carbons, marks for it, and what it may have stored while no session was there.
_ALWAYS_HEEDED = frozenset({ns.CARBONS, ns.DELAY})


class Mirroring(Link):
    """Tells the account's mirror of every message, and turns the server's carbons into copies."""

    fromClient: ClassVar[Wants] = {"message": None}
    fromServer: ClassVar[Wants] = {"message": None}

    _late = False  # the server owes an answer for long, and the log says so
    _barrier: Barrier | None = None  # before there is anything to wait for

    def connectionInitialized(self) -> None:
        """Pings to this session's server tell when a message can come no more."""
        self.parent.seat.await_ = self._await

    def heeds(self, name: str) -> frozenset[str] | None:
        """Little, while there is nobody to whom a message would have to be shown."""
        seat = self.parent.seat
        mirror = self._mirror
        if seat.owed or (len(mirror.seats) > 1 and not mirror.served):
            return None
        return _ALWAYS_HEEDED

    @property
    def _mirror(self) -> Mirror:
        assert self.parent.account is not None, "stanzas meet the chain once a session is ready"
        return self.parent.account.mirror

    def _await(self, credit: int) -> None:
        if self._barrier is None:
            self._barrier = Barrier(
                self.parent.questions.ping,
                self.parent.clock,
                self._passed,
                self._overdue,
                lambda: self.parent.readSince,
                self.parent.flush,
            )
        self._barrier.wait(credit)
        if self.parent.seat.outbox.waiting > self.parent.output.most:
            self._barrier.hurry()

    def _passed(self, credit: int) -> None:
        self._late = False
        self._mirror.passed(self.parent.seat, credit)

    def _overdue(self) -> None:
        if not self._late:
            self._late = True
            log.warn("{jid}: the server takes long to answer a ping", jid=shown(self.parent.jid))
        self._mirror.overdue(self.parent.seat)

    def connectionLost(self, reason: Failure) -> None:
        """The server sends nothing more: what its client is still owed are copies."""
        if self._barrier is not None:
            self._barrier.finish()
            self._barrier = None  # which has methods of this object
        super().connectionLost(reason)

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """A message that the client sends. It is written to the server before any copy of it."""
        seat = self.parent.seat
        if stanza.type == "error" and self._answersCopy(stanza):
            return None  # of which nobody knows whom it would go to
        self._mirror.sent(seat, stanza)
        if carbons.isPrivate(stanza) and not seat.served:
            return carbons.hinted(stanza)
        return stanza

    def _answersCopy(self, error: Stanza) -> bool:
        """Whether an error is the answer to a copy (XEP-0280, section 10.3). Carbons have no id."""
        seat = self.parent.seat
        to = error.attributes.get("to")
        carbon = seat.carbons and not seat.served and to is not None and isAccount(to, seat.account)
        return carbon or self.parent.ids.made(error.id) or seat.wasShown(to, error.id)

    def serverStanza(self, stanza: Stanza) -> Stanza | None:
        """A message for the client."""
        if carbons.isCarbon(stanza):
            self._carbon(stanza)
        elif carbons.isPrivate(stanza):
            self.parent.sendClient(carbons.withoutPrivate(stanza).data)
        else:
            self._mirror.received(self.parent.seat, stanza)
        return None

    def _carbon(self, stanza: Stanza) -> None:
        """The server's copy of what another session got or sent."""
        seat = self.parent.seat
        try:
            direction, message = carbons.unwrap(stanza, seat.account, seat.canonical)
        except Forged as e:
            sender = shown(stanza.attributes.get("from", "nobody"))
            self.parent.warn("dropped", "carbon", f"from {sender}: {shownText(str(e))}")
            return
        to = message.attributes.get("to", seat.account)
        if direction is Direction.SENT and belongs(to, seat.account):
            return  # written to oneself: it comes as received, too
        self._mirror.carbon(seat, stanza, direction, message)
