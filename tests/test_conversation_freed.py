"""What is over is freed at once, by reference counting alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

from tests.conversation import BINDING, ROMEO, Client, Conversation, Server, Window
from xmpproxy import ns


class WithoutCollector(Conversation):
    """With the garbage collector at rest."""

    def setUp(self) -> None:
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)


class Freed(WithoutCollector):
    """A session and all its parts, however it ends."""

    def parts(self, window: Window) -> dict[str, weakref.ref[Any]]:
        """What belongs to a session alone."""
        (session,) = (
            session
            for account in self.accounts
            for session in account.sessions
            if session.jid == window.jid  # type: ignore[attr-defined]
        )
        parts: dict[str, Any] = {"session": session, "seat": session.seat}  # type: ignore[attr-defined]
        parts |= {type(link).__name__: link for link in session._links}  # type: ignore[attr-defined]
        for name in ("_downstream", "_upstream"):
            stream = getattr(session, name)
            parts[name] = stream
            parts[f"{name} authenticator"] = stream.authenticator
            parts[f"{name} splitter"] = stream.stream
            parts[f"{name} transport"] = stream.transport
        return {name: weakref.ref(part) for name, part in parts.items()}

    def freed(self, end: Callable[[Window], None]) -> None:
        """Log in twice, relay and show something, end one session, look what is left of it."""
        window, sibling = self.logsIn("home"), self.logsIn("work")
        line = "<message to='romeo@example.net' type='chat' id='1'><body>bye</body></message>"
        window.client.sends(line)
        window.server.gets(line)
        sibling.client.gets("<message from='*' to='*' type='chat' id='*'>*</message>")
        window.client.sends("<presence/><message><bo")
        window.server.gets("<presence/>")
        window.server.sends("<presence/><message><bo")
        window.client.gets("<presence/>")
        window.client.sends("dy/></message><inactive xmlns='urn:xmpp:csi:0'/><message><bo")
        window.server.gets("<message><body/></message>")
        window.server.sends(f"dy/></message><presence from='{ROMEO}'/><message><bo")
        window.client.gets("<message><body/></message>")
        parts = self.parts(window)
        end(window)
        self.network.settle()
        for peer in (window.client, window.server):
            peer.vanishes()
            peer._came.clear()
        self.assertEqual([name for name, part in parts.items() if part() is not None], [])

    def test_clientCloses(self) -> None:
        """The client closes its stream in order."""

        def end(window: Window) -> None:
            window.client.sends("dy/></message>")
            window.client.closes()
            window.server.closes()

        self.freed(end)

    def test_clientVanishes(self) -> None:
        """The client's connection breaks; the server closes its stream."""

        def end(window: Window) -> None:
            window.client.vanishes()
            window.server.closes()

        self.freed(end)

    def test_serverVanishes(self) -> None:
        """The server's connection breaks."""
        self.freed(lambda window: window.server.vanishes())

    def test_bothVanish(self) -> None:
        """Nobody is there any more."""

        def end(window: Window) -> None:
            window.client.vanishes()
            window.server.vanishes()

        self.freed(end)

    def test_clientMisbehaves(self) -> None:
        """The client is refused."""
        self.freed(lambda window: window.client.sends("</message>"))

    def test_serverMisbehaves(self) -> None:
        """The server sends what is not allowed."""
        self.freed(lambda window: window.server.sends("</message>"))


class LoginFreed(WithoutCollector):
    """An attempt to log in, wherever it ends."""

    def freed(self, client: Client, server: Server) -> None:
        """The client vanishes; the server closes. Look what is left."""
        (downstream,), (upstream,) = self.factory.streams, self.upstreams.streams
        parts = {
            "login": downstream.authenticator.owner,
            "downstream": downstream,
            "downstream transport": downstream.transport,
            "downstream authenticator": downstream.authenticator,
            "upstream": upstream,
            "upstream authenticator": upstream.authenticator,
        }
        left = {name: weakref.ref(part) for name, part in parts.items()}
        del downstream, upstream, parts
        client.vanishes()
        server.closes()
        self.network.settle()
        for peer in (client, server):
            peer.vanishes()
            peer._came.clear()
        self.assertEqual([name for name, part in left.items() if part() is not None], [])

    def test_beforeLogin(self) -> None:
        """The client has seen what it could log in with."""
        self.freed(*self.meets())

    def test_challenged(self) -> None:
        """The client and the server are in the midst of SASL."""
        client, server = self.meets()
        client.sends(f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'/>")
        server.gets(f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'/>")
        self.freed(client, server)

    def test_beforeBinding(self) -> None:
        """The client has logged in, and asks for no resource."""
        client, server = self.authenticates()
        client.gets(BINDING)
        self.freed(client, server)

    def test_binding(self) -> None:
        """The server has yet to bind the resource."""
        client, server = self.authenticates()
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.gets(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        self.freed(client, server)
