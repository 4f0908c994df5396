"""Thousands of clients in one process, as light as they can be: Python's ssl on raw epoll."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from benchmarks.sink import DOMAIN
from benchmarks.words import AUTH, FEATURES, HEADER, STARTTLS

_READ = 65536
_BIND = (
    "<iq type='set' id='asked'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
    "<resource>{}</resource></bind></iq>"
)
#: Once this is answered, the presence is handled.
_AVAILABLE = b"<presence/><iq type='get' id='asked'><ping xmlns='urn:xmpp:ping'/></iq>"
_ASKED = b"asked"
#: Each message has this once.
_END = b"</body>"
#: After how many seconds somebody tries again who could not log in.
_AGAIN = 1.0
#: How many addresses of loopback clients connect from: each has ports for some.
_ADDRESSES = 8


class Member:
    """
    One client.

    @ivar jid: its full JID.
    @ivar ready: whether it is logged in.
    @ivar session: what TLS can be resumed with, once there has been any.
    """

    __slots__ = (
        "_flood",
        "_found",
        "_incoming",
        "_outgoing",
        "_read",
        "_script",
        "_shaken",
        "_socket",
        "_tls",
        "_unsent",
        "crowd",
        "jid",
        "number",
        "ready",
        "resource",
        "session",
        "user",
    )

    def __init__(self, crowd: Crowd, user: str, resource: str, number: int) -> None:
        """
        @param number: of all that there are.
        """
        self.crowd = crowd
        self.user = user
        self.resource = resource
        self.number = number
        self.jid = f"{user}@{DOMAIN}/{resource}"
        self.ready = False
        self.session: ssl.SSLSession | None = None
        self._socket: socket.socket | None = None
        self._tls: ssl.SSLObject | None = None
        self._flood = self._unsent = b""

    def connect(self) -> None:
        """Connect, and log in."""
        self.ready = False
        self._tls = None
        self._shaken = False
        self._read = b""
        self._script = self._logIn()
        made = self._socket = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        made.bind((f"127.0.0.{2 + self.number % _ADDRESSES}", 0))
        error = made.connect_ex(("127.0.0.1", self.crowd.port))
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, "cannot connect")
        self.crowd.watch(made.fileno(), self, select.EPOLLOUT)

    def _logIn(self) -> Generator[bytes, None, None]:
        """Say what is to be said; yields what is waited for."""
        self.write(HEADER)
        yield FEATURES
        self.write(STARTTLS)
        yield b"<proceed"
        self._startTLS()
        self.write(HEADER)
        yield FEATURES
        self.write(AUTH % b64encode(f"\0{self.user}\0secret".encode()))
        yield b"<success"
        self.write(HEADER)
        yield FEATURES
        self.write(_BIND.format(self.resource).encode())
        yield _ASKED
        self.write(_AVAILABLE)
        yield _ASKED

    def _startTLS(self) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self.crowd.context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=DOMAIN, session=self.session
        )
        self._found = b""  # the handshake

    def write(self, data: bytes) -> None:
        """Send bytes, of which there are never so many that the system does not take them."""
        assert self._socket is not None
        if self._tls is not None:
            if not self._shaken:
                self._shake()
                if not self._shaken:
                    self._read = data  # until the handshake is done
                    return
            self._tls.write(data)
            data = self._outgoing.read()
        self._socket.send(data)

    def _shake(self) -> None:
        assert self._tls is not None and self._socket is not None
        try:
            self._tls.do_handshake()
            self._shaken = True
            if self._tls.session_reused:
                self.crowd.resumed += 1
        except ssl.SSLWantReadError:
            pass
        data = self._outgoing.read()
        if data:
            self._socket.send(data)

    def event(self, event: int) -> None:
        """Something can be done."""
        assert self._socket is not None
        try:
            if self._flood:
                if event & select.EPOLLOUT:
                    self._floodOn()
                if not event & select.EPOLLIN:
                    return
            elif event & select.EPOLLOUT:
                self.crowd.watch(self._socket.fileno(), self, select.EPOLLIN)
                self._found = next(self._script)
                return
            data = self._socket.recv(_READ)
        except ConnectionError:
            data = b""
        except BlockingIOError:
            return
        if not data:
            self.crowd.lost(self)
            return
        try:
            self._received(data if self._tls is None else self._decoded(data))
        except (ssl.SSLError, ConnectionError):
            self.crowd.lost(self)

    def flood(self, data: bytes) -> None:
        """Send something again and again, as fast as it is taken."""
        assert self._socket is not None
        self._flood = data
        self.crowd.watch(self._socket.fileno(), self, select.EPOLLIN | select.EPOLLOUT)

    def _floodOn(self) -> None:
        assert self._tls is not None and self._socket is not None
        if not self._unsent:
            self._tls.write(self._flood)
            self._unsent = self._outgoing.read()
        self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def _decoded(self, data: bytes) -> bytes:
        assert self._tls is not None
        self._incoming.write(data)
        if not self._shaken:
            self._shake()
            if not self._shaken:
                return b""
            waiting, self._read = self._read, b""
            self.write(waiting)
        texts = []
        try:
            while text := self._tls.read(_READ):
                texts.append(text)
        except ssl.SSLWantReadError:
            return b"".join(texts)
        raise ConnectionResetError("the proxy has said goodbye")

    def _received(self, text: bytes) -> None:
        if self.ready:
            text = self._read + text
            self.crowd.arrived += text.count(_END)
            self._read = text[1 - len(_END) :]
            return
        if self._tls is not None and not self._shaken:
            return
        self._read += text
        if self._found in self._read:
            self._read = b""
            try:
                self._found = next(self._script)
            except StopIteration:
                assert self._tls is not None
                self.ready = True
                self.session = self._tls.session if self.crowd.tickets else None
                self.crowd.loggedIn(self)

    def close(self) -> None:
        """Close the connection, without a word."""
        self._flood = self._unsent = b""
        if self._socket is not None:
            self.crowd.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = self._tls = None


class Crowd:
    """
    The clients of one port.

    @ivar members: all of them.
    @ivar tickets: whether they keep what TLS can be resumed with.
    @ivar arrived: how many messages have come to them.
    @ivar resumed: how many handshakes were resumptions.
    @ivar failures: how often somebody lost the connection who was not logged in.
    @ivar online: how many are logged in.
    """

    def __init__(self, port: int, authority: Path) -> None:
        """
        @param port: on 127.0.0.1.
        @param authority: the certificate of who signed the one that is shown there.
        """
        self.port = port
        self.members: list[Member] = []
        self.tickets = False
        self.arrived = self.resumed = self.failures = self.online = 0
        self.context = ssl.create_default_context(cafile=authority)
        self._epoll = select.epoll()
        self._watched: dict[int, Member] = {}
        self._coming: deque[Member] = deque()
        self._again: deque[tuple[float, Member]] = deque()
        self._under_way = self._at_once = 0

    def add(self, sessions: int, accounts: int, name: str) -> None:
        """
        Have members, evenly spread over accounts.

        @param name: what the accounts' names begin with.
        """
        for number in range(sessions):
            user = f"{name}{number % accounts}"
            self.members.append(Member(self, user, f"{number}", number))

    def logIn(self, atOnce: int, seconds: float, most: int | None = None) -> None:
        """
        Log in everybody who is not.

        @param atOnce: how many at a time.
        @param seconds: for all.
        @param most: only the first so many.
        @raise TimeoutError: that was not enough.
        """
        self._at_once = atOnce
        self._coming.extend(each for each in self.members[:most] if not each.ready)
        self._more()
        self.run(lambda: not self._coming and not self._under_way, seconds)

    def _more(self) -> None:
        while self._coming and self._under_way < self._at_once:
            self._under_way += 1
            self._coming.popleft().connect()

    def loggedIn(self, member: Member) -> None:
        """Somebody is."""
        self.online += 1
        self._under_way -= 1
        self._more()

    def lost(self, member: Member) -> None:
        """Somebody's connection is gone."""
        member.close()
        if member.ready:
            self.online -= 1
            member.ready = False
        else:
            self.failures += 1
            self._again.append((time.monotonic() + _AGAIN, member))

    def vanish(self) -> None:
        """All connections break."""
        for member in self.members:
            member.close()
            member.ready = False
        self.online = 0

    def watch(self, descriptor: int, member: Member, events: int) -> None:
        """Have a member told of events."""
        if descriptor in self._watched:
            self._epoll.modify(descriptor, events)
        else:
            self._watched[descriptor] = member
            self._epoll.register(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        """Tell it no more."""
        del self._watched[descriptor]
        self._epoll.unregister(descriptor)

    def run(self, done: Callable[[], bool], seconds: float) -> None:
        """
        Have everybody react to what comes.

        @raise TimeoutError: it is not done in time.
        """
        deadline = time.monotonic() + seconds
        while not done():
            now = time.monotonic()
            if now > deadline:
                raise TimeoutError(f"{self.online} of {len(self.members)} are online")
            while self._again and self._again[0][0] <= now:
                self._again.popleft()[1].connect()
            for descriptor, event in self._epoll.poll(0.1, 256):
                member = self._watched.get(descriptor)
                if member is not None:
                    member.event(event)

    def exchange(self, messages: Sequence[tuple[Member, bytes]], shown: int) -> None:
        """
        Have messages sent, all at the same time, and wait until all have arrived.

        @param shown: on how many clients each arrives.
        """
        self.arrived = 0
        for sender, message in messages:
            sender.write(message)
        self.run(lambda: self.arrived >= shown * len(messages), 60)
