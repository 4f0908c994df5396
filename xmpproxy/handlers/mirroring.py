"""Every message on every client: shows a session's messages to its siblings."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from twisted.logger import Logger
from twisted.python.failure import Failure

from xmpproxy import carbons, ns
from xmpproxy.barrier import Barrier
from xmpproxy.carbons import Direction, Forged
from xmpproxy.mirror import Credit, Line, Mirror
from xmpproxy.session import Link, Wants
from xmpproxy.stanza import Stanza

log = Logger()


class Mirroring(Link):
    """Tells the account's mirror of every message, and turns the server's carbons into copies."""

    fromClient: ClassVar[Wants] = {"message": None}
    fromServer: ClassVar[Wants] = {"message": None}

    _late = False  # the server owes an answer for long, and the log says so

    def connectionInitialized(self) -> None:
        """Pings to this session's server tell when a message can come no more."""
        self._barrier: Barrier[Credit] = Barrier(
            self._ping,
            self.parent.clock,
            self._passed,
            self._overdue,
            lambda: self.parent.readSince,
            self.parent.flush,
        )
        self.parent.seat.await_ = self._await

    @property
    def _mirror(self) -> Mirror:
        assert self.parent.account is not None, "stanzas meet the chain once a session is ready"
        return self.parent.account.mirror

    def _await(self, credit: Credit) -> None:
        self._barrier.wait(credit)
        if self.parent.seat.outbox.waiting > self.parent.queueBytes:
            self._barrier.hurry()

    def _ping(self, answered: Callable[[], None]) -> None:
        self.parent.ask("get", f"<ping xmlns='{ns.PING}'/>", lambda _: answered())

    def _passed(self, credits: list[Credit]) -> None:
        self._late = False
        if credits:
            self._mirror.passed(self.parent.seat, credits)

    def _overdue(self, credits: list[Credit]) -> None:
        if not self._late:
            self._late = True
            log.warn("{jid}: the server takes long to answer a ping", jid=self.parent.jid)
        self._mirror.overdue(self.parent.seat, credits)

    def connectionLost(self, reason: Failure) -> None:
        """The server sends nothing more: what its client is still owed are copies."""
        self._barrier.finish()
        super().connectionLost(reason)

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """A message that the client sends. It is written to the server before any copy of it."""
        seat = self.parent.seat
        if stanza.type == "error" and (
            self.parent.ids.made(stanza.id) or seat.wasShown(stanza.attributes.get("to"), stanza.id)
        ):
            return None  # answers a copy, of which its sender knows nothing
        self._mirror.sent(seat, stanza)
        return stanza if seat.served else carbons.withoutPrivate(stanza)

    def serverStanza(self, stanza: Stanza) -> Stanza | None:
        """A message for the client."""
        if carbons.isCarbon(stanza):
            self._carbon(stanza)
        else:
            self._mirror.received(self.parent.seat, stanza)
        return None

    def _carbon(self, stanza: Stanza) -> None:
        """The server's copy of what another session got or sent."""
        seat = self.parent.seat
        try:
            direction, message = carbons.unwrap(stanza, seat.account)
        except Forged as e:
            log.warn(
                "{jid}: dropped a carbon from {sender!r}: {why}",
                jid=seat.jid,
                sender=stanza.attributes.get("from"),
                why=str(e),
            )
            return
        to = message.attributes.get("to", seat.account)
        if direction is Direction.SENT and carbons.belongs(to, seat.account):
            return  # written to oneself: it comes as received, too
        sender = message.attributes.get("from", seat.account)
        if seat.carbons:
            seat.copied += 1
            seat.outbox.put(stanza.data)
        else:
            seat.show(Line(message, direction, sender, self.parent.ids.make()))
