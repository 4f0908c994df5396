"""A real client library, slixmpp, for tests.

It needs asyncio, so it runs in a process of its own. The upper half is what tests use. The lower
half is the program in that process: it reads commands and writes events, each a JSON object on a
line.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.words.xish.domish import Element

from tests.mailbox import Mailbox
from xmpproxy.stanza import parse

SECONDS = 20.0

Event = dict[str, Any]


class SlixClient:
    """One slixmpp session.

    @param host: where to connect to.
    @param port: where to connect to.
    @param jid: the account's JID, with the resource to ask for, if any.
    @param password: its password.
    @param trust: PEM file of the authority that must have signed the certificate.
    @param resumes: use slixmpp's stream management (XEP-0198), and reconnect whenever the
        connection is lost.

    @ivar jid: once logged in, the full JID that the server gave.
    """

    def __init__(
        self, host: str, port: int, jid: str, password: str, trust: Path, resumes: bool = False
    ) -> None:
        self.jid = jid
        self._process = _Process(lambda: self.jid)
        self._arguments = json.dumps(
            {
                "host": host,
                "port": port,
                "jid": jid,
                "password": password,
                "trust": str(trust),
                "resumes": resumes,
            }
        )

    @property
    def received(self) -> list[Event]:
        """The messages that came, in order.

        Each has C{event} ("message", or "received" or "sent" for a carbon, whose inner message the
        rest then tells), C{from}, C{to}, C{type}, C{id}, C{body}.
        """
        kinds = ("message", "received", "sent")
        return [event for event in self._process.events.received if event["event"] in kinds]

    @property
    def bodies(self) -> list[str]:
        """The bodies of the messages that came, carbons included."""
        return [event["body"] for event in self.received if event["body"]]

    @property
    def messages(self) -> list[Element]:
        """All messages that came, in order, whatever they contain."""
        events = self._process.events.received
        return [parse(event["xml"].encode()) for event in events if event["event"] == "stanza"]

    async def login(self, priority: int | None = 0) -> None:
        """Start the process, connect, log in, and become available.

        @param priority: of the initial presence; L{None} sends none.
        """
        self._process.start(self._arguments)
        bound = await self.expect(lambda event: event["event"] in ("bound", "failed"))
        if bound["event"] == "failed":
            raise AssertionError(f"{self.jid}: {bound}")
        self.jid = bound["jid"]
        if priority is not None:
            self._process.command(do="presence", priority=priority)
        await self.sync()

    def say(self, to: str, body: str, type: str = "chat") -> None:
        """Send a message."""
        self._process.command(do="message", to=to, body=body, type=type)

    async def written(self) -> None:
        """
        Wait until it has written all that it was told to say. What it is told between two
        connections it loses, though it resumes.
        """
        self._process.command(do="flush")
        await self.expect(lambda event: event["event"] == "written")

    def send(self, data: str | bytes) -> None:
        """Send some bytes as they are."""
        text = data.decode() if isinstance(data, bytes) else data
        self._process.command(do="send", data=text)

    async def enableCarbons(self) -> bool:
        """Ask for Message Carbons (XEP-0280); says whether they were granted."""
        return await self._carbons("enable")

    async def disableCarbons(self) -> bool:
        """Ask for no more of them; says whether that was granted."""
        return await self._carbons("disable")

    async def _carbons(self, wish: str) -> bool:
        self._process.command(do="carbons", wish=wish)
        return bool((await self.expect(lambda event: event["event"] == "carbons"))["granted"])

    async def commands(self) -> tuple[list[str], list[str]]:
        """What the own account can do (XEP-0030): its features, and its commands' nodes."""
        self._process.command(do="commands")
        found = await self.expect(lambda event: event["event"] == "commands")
        return found["features"], found["nodes"]

    async def execute(self, node: str, **values: str) -> str:
        """Execute a command of the own account (XEP-0050): ask for its form, and fill that in.

        @param values: of the form's fields.
        @return: the status in the end, or the condition of an error.
        """
        self._process.command(do="execute", node=node, values=values)
        executed = await self.expect(lambda event: event["event"] == "executed")
        return str(executed["status"])

    async def sync(self) -> None:
        """Wait until the server has handled everything sent so far, by a ping (XEP-0199)."""
        self._process.command(do="ping")
        await self.expect(lambda event: event["event"] == "pong")

    async def expect(self, wanted: Callable[[Event], bool], timeout: float = SECONDS) -> Event:
        """Wait for an event; none is handed out twice.

        @param timeout: in seconds, until it is an assertion error that says what came instead.
        """
        return await self._process.events.take(wanted, timeout)

    async def resumed(self) -> None:
        """Wait until it has resumed its stream on another connection."""
        event = await self.expect(lambda event: event["event"] in ("resumed", "bound"))
        if event["event"] == "bound":
            raise AssertionError(f"{self.jid}: not resumed")

    async def expectBodies(self, *bodies: str) -> None:
        """Wait for messages (or carbons) with these bodies, in whatever order."""
        for body in bodies:
            await self.expect(lambda event, body=body: event.get("body") == body)  # type: ignore[misc]

    async def close(self) -> None:
        """Log out and wait for the process's end."""
        await self._process.close()


class _Process(ProcessProtocol):
    """The process that runs slixmpp."""

    def __init__(self, owner: Callable[[], str]) -> None:
        self.events: Mailbox[Event] = Mailbox(owner)
        self._started = False
        self._ended: Deferred[None] = Deferred()
        self._partial = b""
        self._errors = b""

    def start(self, arguments: str) -> None:
        self._started = True
        program = [sys.executable, "-m", "tests.slixclient", arguments]
        root = Path(__file__).parent.parent
        reactor.spawnProcess(self, program[0], program, env=None, path=str(root))

    def command(self, **fields: object) -> None:
        assert self.transport is not None
        self.transport.write(json.dumps(fields).encode() + b"\n")

    async def close(self) -> None:
        if self._started:
            assert self.transport is not None
            self.transport.closeStdin()
            await self._ended

    def outReceived(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self.events.put(json.loads(line))

    def errReceived(self, data: bytes) -> None:
        self._errors += data

    def processEnded(self, reason: Failure) -> None:
        if reason.check(ProcessDone) is None:
            reason = Failure(AssertionError(f"slixmpp: {self._errors.decode(errors='replace')}"))
        self.events.close(reason)
        self._ended.callback(None)


def _report(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


async def _execute(client: Any, node: str, values: dict[str, str]) -> str:
    from slixmpp.exceptions import IqError

    account = client.boundjid.bare
    try:
        first = (await client["xep_0050"].send_command(account, node))["command"]
        form = first["form"]
        form["type"] = "submit"
        form["values"] = values
        last = await client["xep_0050"].send_command(
            account, node, action="complete", payload=form, sessionid=first["sessionid"]
        )
    except IqError as error:
        return str(error.condition)
    return str(last["command"]["status"])


async def _run(host: str, port: int, jid: str, password: str, trust: str, resumes: bool) -> None:
    from slixmpp import ClientXMPP
    from slixmpp.exceptions import IqError, IqTimeout
    from slixmpp.stanza import Message
    from slixmpp.xmlstream.handler import Callback
    from slixmpp.xmlstream.matcher import StanzaPath

    client = ClientXMPP(jid, password)
    client.ca_certs = Path(trust)
    for plugin in "xep_0050", "xep_0199", "xep_0280":
        client.register_plugin(plugin)

    def show(event: str, stanza: Message) -> None:
        _report(
            event,
            **{"from": str(stanza["from"]), "to": str(stanza["to"])},
            type=stanza["type"],
            id=stanza["id"],
            body=stanza["body"],
        )

    def bound(_: object) -> None:
        _report("bound", jid=client.boundjid.full)

    def failed(reason: object) -> None:
        _report("failed", reason=str(reason))

    def reconnect(_: object) -> None:
        client.connect(host, port)

    client.register_handler(
        Callback("all", StanzaPath("message"), lambda stanza: _report("stanza", xml=str(stanza)))
    )
    client.add_event_handler("session_start", bound)
    client.add_event_handler("failed_all_auth", failed)
    client.add_event_handler("message", lambda stanza: show("message", stanza))
    client.add_event_handler(
        "carbon_received", lambda stanza: show("received", stanza["carbon_received"])
    )
    client.add_event_handler("carbon_sent", lambda stanza: show("sent", stanza["carbon_sent"]))
    if resumes:
        client.register_plugin("xep_0198")
        client.add_event_handler("session_resumed", lambda _: _report("resumed"))
        client.add_event_handler("disconnected", reconnect)
    client.connect(host, port)

    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        match json.loads(line):
            case {"do": "presence", "priority": priority}:
                client.send_presence(ppriority=priority)
            case {"do": "message", "to": to, "body": body, "type": type}:
                client.send_message(mto=to, mbody=body, mtype=type)
            case {"do": "send", "data": data}:
                client.send_raw(data)
            case {"do": "flush"}:
                await client.waiting_queue.join()
                _report("written")
            case {"do": "carbons", "wish": wish}:
                try:
                    await getattr(client["xep_0280"], wish)()
                    _report("carbons", granted=True)
                except (IqError, IqTimeout):
                    _report("carbons", granted=False)
            case {"do": "commands"}:
                account = client.boundjid.bare
                info = await client["xep_0030"].get_info(account)
                items = await client["xep_0050"].get_commands(account)
                _report(
                    "commands",
                    features=sorted(info["disco_info"]["features"]),
                    nodes=[node for _, node, _ in items["disco_items"]["items"]],
                )
            case {"do": "execute", "node": node, "values": values}:
                _report("executed", status=await _execute(client, node, values))
            case {"do": "ping"}:
                with suppress(IqError):  # An answer, too.
                    await client["xep_0199"].send_ping(client.boundjid.domain)
                _report("pong")
    client.del_event_handler("disconnected", reconnect)
    await client.disconnect()


if __name__ == "__main__":
    asyncio.run(_run(**json.loads(sys.argv[1])))
