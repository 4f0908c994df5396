"""Conversations with a server that refuses, hangs, or moves, and what becomes of its clients."""

from __future__ import annotations

from typing import ClassVar

from tests.conversation import (
    BIND,
    BINDING,
    DOMAIN,
    PLAIN,
    Conversation,
    features,
    plain,
)
from xmpproxy import config, ns

ELSEWHERE = f"<see-other-host xmlns='{ns.STREAM_ERRORS}'>xmpp2.example.com</see-other-host>"
LIMITED = (
    f"<policy-violation xmlns='{ns.STREAM_ERRORS}'/>"
    f"<text xmlns='{ns.STREAM_ERRORS}'>Too many failed authentications from this IP</text>"
)


def streamError(payload: str) -> str:
    """The end of a stream."""
    return f"<stream:error>{payload}</stream:error></stream:stream>"


class Refusing(Conversation):
    """Before a client could log in."""

    def refused(self, said: str) -> None:
        """The server opens a stream, says this, and closes; its client may try again."""
        client, server = self.knocks()
        server.sends(server.header() + streamError(said))
        client.getsError("remote-connection-failed")
        server.isLeft()

    def test_banned(self) -> None:
        """It counts the logins that others failed: the operator learns what to do."""
        self.refused(LIMITED)
        self.assertLogged(
            DOMAIN, "policy-violation (Too many failed authentications", "exempt the address"
        )

    def test_elsewhere(self) -> None:
        """Nobody is sent past the proxy."""
        self.refused(ELSEWHERE)
        self.assertLogged(DOMAIN, "see-other-host (xmpp2.example.com); set upstream")

    def test_notServed(self) -> None:
        """The domain is served here: the client is not told that it is unknown."""
        self.refused(f"<host-unknown xmlns='{ns.STREAM_ERRORS}'/>")
        self.assertLogged(DOMAIN, "host-unknown; correct upstream")

    def test_silentEnd(self) -> None:
        """It closes what it has just accepted, as a firewall or a limit does."""
        client, server = self.knocks()
        server.hangsUp()
        client.getsError("remote-connection-failed")
        server.losesConnection()
        self.assertLogged(DOMAIN, "before it said anything", "exempt the address")

    def test_oneLineAMinute(self) -> None:
        """However many ask for it; and one when it is back."""
        self.host.refuses = True
        for _ in range(70):
            client = self.client()
            client.opens()
            client.getsHeader()
            client.getsError("remote-connection-failed")
            self.network.wait(1)
        lines = [line for line in self.log if "no stream to the server" in line]
        self.assertEqual(len(lines), 2)
        self.assertIn("and 59 times", lines[1])
        self.host.refuses = False
        self.logsIn("balcony")
        self.logsIn("chamber")
        back = [line for line in self.log if "answers again" in line]
        self.assertEqual(len(back), 1)
        self.assertIn("in which 70 logins failed", back[0])


class Moving(Conversation):
    """With a session."""

    def test_elsewhere(self) -> None:
        """The client comes back to the proxy, not to where the server points."""
        balcony, chamber = self.logsIn("balcony"), self.logsIn("chamber")
        balcony.server.sends(streamError(ELSEWHERE))
        balcony.client.getsError("reset")
        balcony.server.isLeft()
        self.assertLogged("see-other-host (xmpp2.example.com); set upstream")
        chamber.client.sends("<presence/>")
        chamber.server.gets("<presence/>")

    def test_policy(self) -> None:
        """What a session did is told to its client."""
        balcony = self.logsIn("balcony")
        balcony.server.sends(streamError(LIMITED))
        balcony.client.getsError("policy-violation")
        balcony.server.isLeft()


class Hanging(Conversation):
    """It has the connection, and does nothing more."""

    def test_whileAuthenticating(self) -> None:
        """The client is not blamed."""
        client, server = self.meets()
        client.sends(plain())
        server.gets(plain())
        self.network.wait(60)
        client.getsError("remote-connection-failed")
        server.getsEnd()
        self.assertLogged(DOMAIN, "did not go on with a login", "see its log")

    def test_afterSuccess(self) -> None:
        """Its stream does not begin anew."""
        client, server = self.meets()
        client.sends(plain())
        server.gets(plain())
        server.succeeds()
        client.gets(f"<success xmlns='{ns.SASL}'/>")
        client.opens()
        client.getsHeader()
        server.getsHeader()
        self.network.wait(60)
        client.getsError("remote-connection-failed")
        server.getsEnd()

    def test_whileBinding(self) -> None:
        """It has a request to bind a resource."""
        client, server = self.authenticates()
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='b'>{BIND}</iq>")
        server.gets(f"<iq type='set' id='b'>{BIND}</iq>")
        self.network.wait(60)
        client.getsError("remote-connection-failed")
        server.getsEnd()
        self.assertLogged(DOMAIN, "did not go on with a login")

    def test_clientHangs(self) -> None:
        """If it is the client that has to go on, it is told so."""
        client, server = self.meets()
        self.network.wait(60)
        client.getsError("connection-timeout")
        server.getsEnd()
        self.assertNotLogged("did not go on with a login")


class InTurn(Conversation):
    """Two streams to the server are opened at the same time at most."""

    limits: ClassVar = config.Limits(connects=2)

    def test_waiting(self) -> None:
        """The others are opened one by one, as soon as an earlier one is ready."""
        clients = [self.client() for _ in range(4)]
        for client in clients:
            client.opens()
            client.getsHeader()
        first, second = self.server(), self.server()
        self.assertRaises(AssertionError, self.server)
        first.opens(features(PLAIN))
        clients[0].gets(features(PLAIN))
        third = self.server()
        self.assertRaises(AssertionError, self.server)
        third.opens(features(PLAIN))
        clients[2].gets(features(PLAIN))
        second.opens(features(PLAIN))
        clients[1].gets(features(PLAIN))
        self.server().opens(features(PLAIN))
        clients[3].gets(features(PLAIN))

    def test_unreachable(self) -> None:
        """Who waits for a server that is not there is told at once."""
        self.host.hangs = True
        clients = [self.client() for _ in range(3)]
        for client in clients:
            client.opens()
            client.getsHeader()
        clients[2].getsNothing()
        self.host.fails()
        for client in clients:
            client.getsError("remote-connection-failed")
