"""
Twisted endpoint strings: whether one is understood, and where it would listen or connect to.

Nothing here opens anything.
"""

from __future__ import annotations

import os
import re
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    clientFromString,
    serverFromString,
)
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.protocol import Factory
from zope.interface import implementer

#: How many connections may wait to be accepted, as far as the system allows. After a restart
#: thousands come at once, and who finds no place tries again after one second, three, seven ...
BACKLOG = 4096


class Address(NamedTuple):
    """
    @ivar host: an IP address or a host name; the path of a UNIX socket.
    @ivar port: L{None} for a UNIX socket.
    """

    host: str
    port: int | None

    def isLoopback(self) -> bool:
        """Whether nobody beyond this machine reaches it."""
        if self.port is None or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def clashesWith(self, other: Address) -> bool:
        """Whether this machine cannot listen at both."""
        if self.port != other.port or self.port == 0:  # 0: whichever port is free
            return False
        hosts = {self.host, other.host}
        if len(hosts) == 1 or "::" in hosts:  # "::" takes IPv4 too
            return True
        return "0.0.0.0" in hosts and not any(":" in host for host in hosts)


@implementer(IReactorPluggableNameResolver)
class _Paper:
    """What an endpoint takes for a reactor: notes the address, and opens nothing."""

    # A tls: endpoint wants to find these there.
    nameResolver = installNameResolver = None
    address: Address | None = None

    def listenTCP(self, port: int, *_: object, interface: str = "", **__: object) -> None:
        host = {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(interface, interface)
        self.address = Address(host, port)

    listenSSL = listenTCP

    def connectTCP(self, host: str, port: int, *_: object, **__: object) -> None:
        self.address = Address(host, port)

    connectSSL = connectTCP

    def listenUNIX(self, path: str, *_: object, **__: object) -> None:
        self.address = Address(path, None)

    connectUNIX = listenUNIX


def parsedServer(text: str) -> str:
    """
    Make sure that a server endpoint is understood.

    @return: the endpoint string as it was.
    @raise ValueError: it is not; says why, and the mend.
    """
    try:
        serverFromString(_Paper(), text)
        address = listensAt(text)
    except (LookupError, AttributeError) as error:
        if _kind(text)[0] == "systemd":
            raise ValueError(
                f"systemd passed no such socket as {text}; start xmpproxy by its .socket unit"
            ) from error
        raise _notUnderstood("server", text, "tcp:5222", error) from error
    except Exception as error:
        raise _notUnderstood("server", text, "tcp:5222", error) from error
    _checkPort(text, address, 0)
    return text


def parsedClient(text: str) -> str:
    """The same for a client endpoint."""
    try:
        clientFromString(_Paper(), text)
        address = connectsTo(text)
    except Exception as error:
        raise _notUnderstood("client", text, "tcp:127.0.0.1:5222", error) from error
    _checkPort(text, address, 1)
    return text


def _notUnderstood(kind: str, text: str, example: str, error: Exception) -> ValueError:
    # The text of a TypeError or a KeyError is for programmers.
    why = f" ({error})" if isinstance(error, (ValueError, OSError)) else ""
    return ValueError(
        f"{text!r} is not a Twisted {kind} endpoint{why}; write one such as {example}"
    )


def _checkPort(text: str, address: Address | None, lowest: int) -> None:
    if address and address.port is not None and not lowest <= address.port <= 65535:
        raise ValueError(f"{text} has no possible port; write one from {lowest} to 65535")


def listensAt(text: str) -> Address | None:
    """
    Where a server endpoint would listen.

    @param text: an endpoint string that L{parsedServer} took.
    @return: L{None} where only the endpoint knows.
    """
    kind, text = _kind(text)
    paper = _Paper()
    endpoint = serverFromString(paper, text)
    if isinstance(endpoint, AdoptedStreamServerEndpoint):
        return _boundTo(endpoint.fileno)
    if kind in ("tcp", "tcp6", "ssl", "unix"):
        endpoint.listen(Factory())
    return paper.address


def connectsTo(text: str) -> Address | None:
    """
    Where a client endpoint would connect to.

    @param text: an endpoint string that L{parsedClient} took.
    @return: L{None} where only the endpoint knows.
    """
    paper = _Paper()
    endpoint = clientFromString(paper, text)
    if _kind(text)[0] in ("tcp", "ssl", "unix"):
        endpoint.connect(Factory())
    return paper.address


def inDirectory(text: str, directory: Path | None) -> str:
    """
    Make the path of a UNIX socket's endpoint absolute.

    @param directory: what the path is relative to; L{None}: leave it as it is.
    """
    found = re.match(r"((?:haproxy:)*unix:)((?:\\.|[^\\:=])+)(:|$)", text)
    if not found or directory is None:
        return text
    path = re.sub(r"\\(.)", r"\1", found[2])
    absolute = re.sub(r"([\\:=])", r"\\\1", str(directory / path))
    return found[1] + absolute + text[found.end(2) :]


def isBalanced(text: str) -> bool:
    """Whether a server endpoint takes the PROXY protocol, by which a balancer says who connects."""
    return text.startswith("haproxy:")


def withBacklog(text: str) -> str:
    """
    A server endpoint that thousands may connect to at once; Twisted's own have room for 50.

    @param text: an endpoint string; one that says how many, or that takes no number, is left as it
        is.
    """
    if _kind(text)[0] not in ("tcp", "tcp6", "ssl", "unix") or ":backlog=" in text:
        return text
    return f"{text}:backlog={BACKLOG}"


def _kind(text: str) -> tuple[str, str]:
    """The kind of an endpoint, and its string, without the PROXY protocol around it."""
    plain = re.sub("^(haproxy:)+", "", text)
    return plain.partition(":")[0], plain


def _boundTo(descriptor: int) -> Address | None:
    """Where a listening socket that was passed to us is bound to."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as passed:
            name = passed.getsockname()
    except OSError:
        return None
    return Address(name[0], name[1]) if isinstance(name, tuple) else Address(str(name), None)
