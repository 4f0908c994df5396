"""Clients that are inactive at times (XEP-0352), through the proxy on real servers."""

from __future__ import annotations

from twisted.words.xish.domish import Element

from tests.rawclient import RawClient, bodyOf
from tests.servers import ServerCase, onServers
from xmpproxy import ns

INACTIVE = f"<inactive xmlns='{ns.CSI}'/>"
ACTIVE = f"<active xmlns='{ns.CSI}'/>"

SHOWS = ("away", "xa", "dnd")


@onServers("prosody", "ejabberd", "jabberd2", withoutCarbons=("prosody", "ejabberd"))
class ClientState(ServerCase):
    """Two clients of an account, of which one is inactive, and somebody who writes to it."""

    async def meets(self) -> None:
        """They log in. Who writes sends presence to each client, too: nobody has subscribed."""
        proxy = await self.proxyFor(self.server)
        user, friend = self.stranger(), self.stranger()
        self.phone = self.rawClient(user, "phone", proxy)
        self.desk = self.rawClient(user, "desk", proxy)
        self.friend = self.rawClient(friend, "friend")
        for client in (self.phone, self.desk, self.friend):
            await client.login()
        assert self.phone.features is not None
        offered = [(each.uri, each.name) for each in self.phone.features.elements()]
        self.assertEqual(offered.count((ns.CSI, "csi")), 1)
        self.phone.send(INACTIVE)
        await self.phone.sync()
        for client in (self.phone, self.desk):
            client.received.clear()

    def shows(self, *shows: str) -> None:
        """The friend shows all of them these, one after the other."""
        for client in (self.phone, self.desk):
            to = client.jid.full()
            for show in shows:
                self.friend.send(f"<presence to='{to}'><show>{show}</show></presence>")

    def types(self) -> None:
        """The friend begins, stops, and has written something."""
        account = self.phone.jid.userhost()
        for state in ("composing", "paused"):
            self.friend.send(
                f"<message to='{account}' type='chat'><{state} xmlns='{ns.CHAT_STATES}'/></message>"
            )
        self.friend.say(account, "Wherefore")

    def told(self, client: RawClient) -> list[str]:
        """What a client was told of the friend, in this order."""
        return [
            _said(each)
            for each in client.received
            if each.getAttribute("from") == self.friend.jid.full() and each.name != "iq"
        ]

    async def test_inactive(self) -> None:
        """The latest of all that can wait comes before the message, and only that."""
        await self.meets()
        self.shows(*SHOWS)
        self.types()
        for client in (self.phone, self.desk):
            await client.expectBodies("Wherefore")
        self.assertEqual(self.told(self.phone), ["dnd", "paused", "Wherefore"])
        self.assertEqual(self.told(self.desk), [*SHOWS, "composing", "paused", "Wherefore"])

    async def test_active(self) -> None:
        """A client that is active again is told of the friend, and of everything from then on."""
        await self.meets()
        self.shows("chat")
        self.phone.send(ACTIVE)
        await self.phone.expect(lambda each: _said(each) == "chat")
        self.phone.received.clear()
        self.shows(*SHOWS)
        self.types()
        await self.phone.expectBodies("Wherefore")
        self.assertEqual(self.told(self.phone), [*SHOWS, "composing", "paused", "Wherefore"])


def _said(element: Element) -> str:
    """The text or the chat state of a message, or what presence shows."""
    body = bodyOf(element)
    if body is not None:
        return body
    for child in element.elements():
        if child.name == "show":
            return str(child)
        if child.uri == ns.CHAT_STATES:
            return str(child.name)
    return ""
