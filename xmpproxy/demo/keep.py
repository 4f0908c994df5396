"""What is left running for one's own clients, and how to use it."""

from __future__ import annotations

import shlex
from pathlib import Path

from xmpproxy.demo.client import Client
from xmpproxy.demo.proxy import Proxy
from xmpproxy.demo.scenes import Line
from xmpproxy.lab import PASSWORD, Server

_DIRECTIONS = """
Everything is still running. Connect your own clients, two or more at the same time:

  JID         alice@{domain}, with any resource
  password    {password}
  server      {proxy.host}, port {proxy.port}; set it by hand, as DNS knows nothing of it
  security    STARTTLS; accept the certificate, or have the client trust
              {server.trust}

In profanity, for example:

  /connect alice@{domain}/home server {proxy.host} port {proxy.port} tls trust

Try this:

  - Write to bob@{domain} from one client. Your other clients show the line in the window of
    Bob: as yours if they know carbons, else as "me@RESOURCE: ...". Bob is here and answers
    every line with an echo, which all your clients show.
  - Log in as carol@{domain}, with the same password, and write to alice@{domain}, or to the
    full JID of one client. All clients of Alice show it.
  - Do the same on {server.host}, port {server.port}: that is {server.kind} without the proxy.

The proxy was started with
  {command}
Logs: {logs}

Ctrl-C stops everything and removes what it wrote."""


def echo(client: Client, domain: str) -> None:
    """Have a client answer every message with its own words."""

    def answer(line: Line) -> None:
        if line.who != "me":
            client.say(f"{line.who}@{domain}", f"Echo: {line.text}")

    client.show = answer


def directions(server: Server, proxy: Proxy, logs: Path) -> str:
    """
    How to connect one's own clients, and what to try.

    @param logs: the directory of all logs.
    """
    return _DIRECTIONS.format(
        server=server,
        domain=server.domain,
        password=PASSWORD,
        proxy=proxy,
        command=shlex.join(proxy.command),
        logs=logs,
    )
