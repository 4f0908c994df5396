"""The demo itself: a proxy before a server, clients that talk through it, and what they show."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from xmpproxy.demo.client import Client
from xmpproxy.demo.errors import DemoError
from xmpproxy.demo.keep import directions, echo
from xmpproxy.demo.proxy import Proxy
from xmpproxy.demo.scenes import BOB, SCENES, Line, Scene, Window, due, problems
from xmpproxy.demo.sidebyside import SideBySide, styleFor
from xmpproxy.lab import Server

T = TypeVar("T")

#: Seconds that windows may take to show a line.
_PATIENCE = 10.0
#: Seconds between lines on a terminal, so that a reader can follow.
_READING_SECONDS = 0.3

_say = partial(print, flush=True)


async def perform(server: Server, logs: Path, keep: bool) -> bool:
    """
    Start the proxy, play all scenes, stop the proxy.

    @param server: the server, with the accounts alice, bob and carol.
    @param logs: the directory for the proxy's log.
    @param keep: leave everything running, until this is cancelled.
    @return: whether every window showed the whole conversation.
    @raise DemoError: something broke.
    """
    trouble: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def notice(what: str) -> None:
        if not trouble.done():
            trouble.set_result(what)

    proxy = Proxy(server, logs / "proxy.log", notice)
    play = Play(server, proxy, notice)
    try:
        _say("Starting the proxy (about 2 s) ...")
        await _unless(trouble, proxy.start())
        found = [await _unless(trouble, play.scene(scene)) for scene in SCENES]
        _say()
        if any(found):
            _say("The windows do not show the whole conversation:")
            _say("\n".join(f"  - {problem}" for scene in found for problem in scene))
        else:
            _say("Every window showed the whole conversation, each line once and in order.")
        if keep:
            await play.dismissAllBut(BOB)
            echo(play.clients[BOB.name], server.domain)
            _say(directions(server, proxy, logs))
            with suppress(asyncio.CancelledError):
                await _unless(trouble, asyncio.Event().wait())
            _say("\nStopping everything ...")
    finally:
        await play.close()
        await proxy.stop()
    return not any(found)


class Play:
    """
    The clients, and the scenes that they play. Bob's is connected to the server itself, all others
    to the proxy.

    @ivar clients: those that are logged in, by the names of their windows.
    """

    def __init__(self, server: Server, proxy: Proxy, trouble: Callable[[str], None]) -> None:
        """
        @param trouble: called with a sentence if a client loses its connection.
        """
        self.clients: dict[str, Client] = {}
        self._server = server
        self._proxy = proxy
        self._trouble = trouble
        self._changed = asyncio.Event()

    async def scene(self, scene: Scene) -> list[str]:
        """
        Play a scene, and print its windows meanwhile.

        @return: what is wrong with the windows.
        """
        for window in scene.windows:
            if window.name not in self.clients:
                await self._login(window)
        windows = {window.name: window for window in scene.windows}
        resources = {name: client.jid.partition("/")[2] for name, client in self.clients.items()}
        expected: dict[str, list[Line]] = {name: [] for name in windows}
        shown: dict[str, list[Line]] = {name: [] for name in windows}
        _say(f"\n{scene.title}\n")
        page = SideBySide(
            {name: _title(window, resources[name]) for name, window in windows.items()},
            styleFor(sys.stdout),
            _say,
        )

        def show(name: str, line: Line) -> None:
            shown[name].append(line)
            page.show(name, line)
            self._changed.set()

        for name in windows:
            self.clients[name].show = partial(show, name)
        try:
            for say in scene.says:
                for name, window in windows.items():
                    expected[name] += due(say, window, windows[say.speaker], resources)
                for text in say.texts:
                    self.clients[say.speaker].say(self._address(say.to), text)
                if not await self._until(
                    lambda: all(len(shown[name]) >= len(expected[name]) for name in windows)
                ):
                    break
                if sys.stdout.isatty():
                    await asyncio.sleep(_READING_SECONDS)
            else:
                # After the first round the proxy has got all that the server will send; after the
                # second the clients have got all that the proxy made of that. No line comes late.
                for _ in range(2):
                    await asyncio.gather(*(self.clients[name].sync() for name in windows))
        finally:
            page.close()
        return [text for name in windows for text in problems(name, expected[name], shown[name])]

    async def dismissAllBut(self, window: Window) -> None:
        """Log all clients out but one."""
        for name in self.clients.keys() - {window.name}:
            await self.clients.pop(name).close()

    async def close(self) -> None:
        """Log all clients out."""
        await asyncio.gather(*(client.close() for client in self.clients.values()))

    async def _login(self, window: Window) -> None:
        server = self._server
        place = server if window is BOB else self._proxy
        client = Client(
            window, server.domain, server.users[window.user], server.trust, self._trouble
        )
        self.clients[window.name] = client
        await client.login(place.host, place.port)

    def _address(self, to: str) -> str:
        """The JID of a user, or the full JID of a client."""
        return f"{to}@{self._server.domain}" if to in self._server.users else self.clients[to].jid

    async def _until(self, done: Callable[[], bool]) -> bool:
        """Wait for a condition that lines can bring about. Says whether they did."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while not done():
                    self._changed.clear()
                    await self._changed.wait()
        return done()


async def _unless(trouble: asyncio.Future[str], work: Coroutine[Any, Any, T]) -> T:
    """Do something, and give up when there is trouble."""
    task = asyncio.create_task(work)
    first: set[asyncio.Future[Any]] = {task, trouble}
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise DemoError(trouble.result())
        return await task
    finally:
        task.cancel()


def _title(window: Window, resource: str) -> str:
    return f"{window.name} ({window.user}/{resource}{', carbons' * window.carbons})"
