"""What is over is freed at once, by reference counting alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

from tests.conversation import (
    BINDING,
    OFFERED_MANAGEMENT,
    ROMEO,
    Client,
    Conversation,
    Server,
    Window,
    bound,
)
from xmpproxy import ns
from xmpproxy.login import Login
from xmpproxy.upstream import Upstream

SM = ns.STREAM_MANAGEMENT[0]


class WithoutCollector(Conversation):
    """With the garbage collector at rest."""

    def setUp(self) -> None:
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

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


class Freed(WithoutCollector):
    """A session and all its parts, however it ends."""

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


class FreedManaged(WithoutCollector):
    """A session with stream management (XEP-0198), of which parts outlive others."""

    def managed(self, end: Callable[[Window, str], None]) -> None:
        """Log in twice, leave something unacknowledged on each stream, end one session."""
        window, _ = self.logsIn("home", managed=True), self.logsIn("work", managed=True)
        window.client.sends(f"<enable xmlns='{SM}' resume='true'/>")
        id = window.client.gets(f"<enabled xmlns='{SM}' id='*' resume='true' max='300'/>")["id"]
        window.client.sends(f"<presence/><r xmlns='{SM}'/>")
        window.client.gets(f"<a xmlns='{SM}' h='0'/>")
        window.server.gets("<presence/>")
        window.server.gets(f"<r xmlns='{SM}'/>")
        window.server.sends(20 * "<presence/>")
        for _ in range(20):
            window.client.gets("<presence/>")
        window.client.gets(f"<r xmlns='{SM}'/>")
        parts = self.parts(window)
        end(window, id)
        self.network.settle()
        for peer in (window.client, window.server):
            peer.vanishes()
            peer._came.clear()
        self.assertEqual([name for name, part in parts.items() if part() is not None], [])

    def test_expires(self) -> None:
        """The client does not come back; the server closes its stream."""

        def end(window: Window, id: str) -> None:
            window.client.vanishes()
            self.network.wait(300)
            window.server.closes()

        self.managed(end)

    def test_serverVanishesWhileAway(self) -> None:
        """The server is lost, too."""

        def end(window: Window, id: str) -> None:
            window.client.vanishes()
            window.server.vanishes()

        self.managed(end)

    def test_serverIsWrongWhileAway(self) -> None:
        """The server says what cannot be."""

        def end(window: Window, id: str) -> None:
            window.client.vanishes()
            window.server.sends(f"<a xmlns='{SM}' h='99'/>")

        self.managed(end)

    def test_clientVanishesForGood(self) -> None:
        """The client cannot come back."""

        def end(window: Window, id: str) -> None:
            window.client.vanishes()
            self.resumables.stopService()
            self.network.settle()
            window.server.closes()

        self.managed(end)

    def test_resumed(self) -> None:
        """The stream before, at once, and that of the new login to the server; then the rest."""

        def end(window: Window, id: str) -> None:
            (old,) = (each for name, each in self.parts(window).items() if name == "_downstream")
            client, server = self.authenticates("juliet")
            client.gets(BINDING)
            client.sends(f"<resume xmlns='{SM}' previd='{id}' h='20'/>")
            request = server.gets("<iq type='set' id='*'>*</iq>")
            server.sends(bound("juliet@example.com/new", request["id"]))
            window.client.getsError("conflict")
            (other,) = (weakref.ref(each) for each in self.upstreams.streams if _isOther(each))
            window.server.acknowledges()
            client.gets(f"<resumed xmlns='{SM}' previd='{id}' h='1'/>")
            server.getsEnd()
            server.closes()
            server.losesConnection()
            self.assertEqual([old(), other()], [None, None])
            client.closes()
            client.isLeft()
            window.server.closes()

        self.managed(end)

    def test_neverEnabled(self) -> None:
        """The server has not said whether stream management is enabled."""
        client, server = self.authenticates("juliet", OFFERED_MANAGEMENT)
        client.gets(BINDING)
        request = f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>"
        client.sends(request)
        server.gets(request)
        server.sends(bound("juliet@example.com/home"))
        server.gets(f"<enable xmlns='{SM}'/>")
        server.answersDisco()
        self.network.wait(3)
        client.gets(bound("juliet@example.com/home"))
        parts = self.parts(Window(client, server, "juliet@example.com/home"))
        client.vanishes()
        server.vanishes()
        server._came.clear()
        self.assertEqual([name for name, part in parts.items() if part() is not None], [])


def _isOther(stream: Upstream) -> bool:
    """Whether a stream to the server belongs to a login."""
    return isinstance(stream.authenticator.owner, Login)
