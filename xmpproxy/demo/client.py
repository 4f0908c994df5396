"""A real client: slixmpp."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from slixmpp import JID, ClientXMPP
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.stanza import Message

from xmpproxy.demo.errors import DemoError
from xmpproxy.demo.scenes import Line, Window

#: Seconds to wait for an answer; and for the other end to close a stream, too.
_ANSWER_SECONDS = 15.0
_CLOSE_SECONDS = 2.0


class Client:
    """
    A client, and its window.

    @ivar jid: its full JID, once it has logged in.
    @ivar show: called with every line of the window: what comes from the network, and what its
        own user types.
    """

    def __init__(
        self,
        window: Window,
        domain: str,
        password: str,
        trust: Path,
        trouble: Callable[[str], None],
    ) -> None:
        """
        @param trust: PEM file of the authority that must have signed the certificate.
        @param trouble: called with a sentence if the client cannot log in or loses its connection.
        """
        self.jid = f"{window.user}@{domain}/{window.name}"
        self.show: Callable[[Line], None] = lambda line: None
        self._window = window
        self._domain = domain
        self._closing = False
        self._started = asyncio.Event()
        self._xmpp = xmpp = ClientXMPP(self.jid, password)
        xmpp.ca_certs = trust
        xmpp.enable_direct_tls = False
        for plugin in ("xep_0199", "xep_0280"):
            xmpp.register_plugin(plugin)

        def failed(what: str) -> None:
            if not self._closing:
                trouble(f"{window.name} {what}")

        handlers: dict[str, Callable[..., None]] = {
            "session_start": lambda _: self._started.set(),
            "connection_failed": lambda reason: failed(f"cannot connect: {reason}"),
            "failed_all_auth": lambda _: failed("cannot log in"),
            "disconnected": lambda _: failed("lost its connection"),
            "message": self._received,
            "carbon_received": lambda stanza: self._received(stanza["carbon_received"]),
            "carbon_sent": lambda stanza: self._shown("me", stanza["carbon_sent"]),
        }
        for event, handler in handlers.items():
            xmpp.add_event_handler(event, handler)

    async def login(self, host: str, port: int) -> None:
        """Connect, log in and become available; return when the server has handled that."""
        self._xmpp.connect(host, port)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._started.wait()
        except TimeoutError:
            raise DemoError(
                f"{self._window.name} was not logged in within {_ANSWER_SECONDS} s"
            ) from None
        self.jid = self._xmpp.boundjid.full
        self._xmpp.send_presence(ppriority=self._window.priority)
        if self._window.carbons:
            try:
                await self._xmpp.plugin["xep_0280"].enable(timeout=_ANSWER_SECONDS)
            except (IqError, IqTimeout) as error:
                raise DemoError(f"{self._window.name} was refused carbons: {error}") from error
        await self.sync()

    def say(self, to: str, text: str) -> None:
        """Type a line."""
        self._xmpp.send_message(mto=JID(to), mbody=text, mtype="chat")
        self.show(Line("me", text))

    async def sync(self) -> None:
        """Wait until everything is here that is under way now, by a ping (XEP-0199)."""
        try:
            # Some servers answer a ping with an error. That is an answer.
            with suppress(IqError):
                await self._xmpp.plugin["xep_0199"].send_ping(
                    JID(self._domain), timeout=_ANSWER_SECONDS
                )
        except IqTimeout:
            raise DemoError(f"{self._window.name} got no answer to a ping") from None

    async def close(self) -> None:
        """Log out."""
        self._closing = True
        # pyjabber does not notice by itself, and goes on to prefer this client for its priority.
        self._xmpp.send_presence(ptype="unavailable")
        await self._xmpp.disconnect(_CLOSE_SECONDS)

    def _received(self, message: Message) -> None:
        self._shown(message["from"].user, message)

    def _shown(self, who: str, message: Message) -> None:
        if message["type"] == "error":
            self.show(Line(who, f"[error] {message['body']}"))
        elif message["body"]:
            self.show(Line(who, message["body"]))
