"""Conversations of clients that are too many, too slow, or guess passwords."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory

from tests.conversation import (
    BINDING,
    DOMAIN,
    JULIET,
    PLAIN,
    PROCEED,
    ROMEO,
    STARTTLS,
    STARTTLS_REQUIRED,
    SUCCESS,
    Client,
    Conversation,
    Server,
    bound,
    failure,
    features,
    plain,
)
from tests.test_conversation_tls import Secure
from xmpproxy import config, ns
from xmpproxy.admission import accountKey

BALCONY, ELSEWHERE, HEATH = "192.0.2.1", "198.51.100.7", "203.0.113.9"
ABORT = f"<abort xmlns='{ns.SASL}'/>"


class Admission(Conversation):
    """A bystander is logged in, and sends and receives throughout, in order."""

    def setUp(self) -> None:
        super().setUp()
        self.bystander = self.logsIn("bystander")
        self.said = 0

    def chats(self) -> None:
        """The bystander sends and receives."""
        self.said += 1
        client, server, jid = self.bystander
        sent = f"<message to='{ROMEO}' type='headline' id='s{self.said}'/>"
        client.sends(sent)
        server.getsBytes(sent)
        received = f"<message from='{ROMEO}' to='{jid}' type='headline' id='r{self.said}'/>"
        server.sends(received)
        client.getsBytes(received)

    def tearDown(self) -> None:
        self.chats()
        super().tearDown()

    def isRefused(self, client: Client, text: str) -> None:
        """A connection is closed at once, with the reason."""
        client.getsHeader()
        client.gets(
            f"<stream:error><policy-violation xmlns='{ns.STREAM_ERRORS}'/>"
            f"<text xmlns='{ns.STREAM_ERRORS}'>{text}</text></stream:error>"
        )
        client.isLeft()
        self.chats()

    def logged(self, part: str) -> int:
        """How many lines have this part."""
        return sum(part in line for line in self.log)


class ConnectionsPerAddress(Admission):
    """Three, with the bystander."""

    limits: ClassVar = config.Limits(connections_per_address=3, login_seconds=300)

    def test_oneTooMany(self) -> None:
        """It is closed at once; others come in, and it does when one has left."""
        second = self.logsIn("second")
        third = self.client()
        for _ in range(5):
            self.isRefused(self.client(), "too many connections from your address")
        self.assertEqual(self.logged("limits connections-per-address = 3"), 1)
        self.client(ELSEWHERE).getsNothing()
        third.hangsUp()
        third.losesConnection()
        self.client().getsNothing()
        second.client.closes()
        second.client.isLeft()
        second.server.getsEnd()
        self.network.wait(60)
        second.server.losesConnection()
        self.assertLogged("refused 4 connections from 192.0.2.1: limits connections-per-address")

    def test_networks(self) -> None:
        """With IPv6 a /64 is one address."""
        for index in range(3):
            self.client(f"2001:db8::{index}").getsNothing()
        self.isRefused(self.client("2001:db8::4"), "too many connections from your address")
        self.client("2001:db8:0:1::").getsNothing()
        self.assertLogged("refused 1 connection from 2001:db8::/64")

    def test_sockets(self) -> None:
        """There is no limit where there is no address."""
        for _ in range(10):
            self.assertIsNotNone(self.factory.buildProtocol(UNIXAddress("c2s.sock")))
            self.client("").getsNothing()


class LoginsPerAddress(Admission):
    """Two at a time."""

    limits: ClassVar = config.Limits(logins_per_address=2)

    def test_oneTooMany(self) -> None:
        """It is closed at once; when one of the two has logged in the next may."""
        client, server = self.authenticates()
        client.gets(BINDING)
        other = self.client()
        self.isRefused(self.client(), "too many logins at a time from your address")
        self.assertLogged("refused 1 connection from 192.0.2.1: limits logins-per-address = 2")
        self.client(ELSEWHERE).getsNothing()
        client.sends(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.gets(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.sends(bound(f"{JULIET}/desk"))
        server.answersDisco()
        client.gets(bound(f"{JULIET}/desk"))
        self.client().getsNothing()
        self.isRefused(self.client(), "too many logins at a time from your address")
        other.hangsUp()
        other.losesConnection()
        self.client().getsNothing()


class BehindBalancer(Admission):
    """A load balancer says by the PROXY protocol where clients are."""

    limits: ClassVar = config.Limits(connections_per_address=2, logins_per_address=2)

    def setUp(self) -> None:
        super().setUp()
        self.factory = self.listener(config.Listen(endpoint="haproxy:tcp:5222", tls="none"))
        self.balancer: Any = HAProxyWrappingFactory(self.factory)

    def client(self, host: str = BALCONY) -> Client:
        if not hasattr(self, "balancer"):
            return super().client(host)
        client = self._played(Client)
        stream = self.balancer.buildProtocol(IPv4Address("TCP", "10.0.0.1", 50000))
        self.network.connect(client, stream, "10.0.0.1")
        return client

    def connects(self, header: str) -> Client:
        client = self.client()
        client.sends(f"PROXY {header}\r\n{client.header()}")
        return client

    def test_realAddress(self) -> None:
        """It is theirs that counts."""
        here = "TCP4 192.0.2.9 10.0.0.1 50000 5222"
        for _ in range(2):
            self.connects(here).getsHeader(from_=DOMAIN)
            self.server().getsHeader()
        refused = self.connects(here)
        refused.getsHeader()
        refused.gets(
            f"<stream:error><policy-violation xmlns='{ns.STREAM_ERRORS}'/>"
            f"<text xmlns='{ns.STREAM_ERRORS}'>too many connections from your "
            "address</text></stream:error>"
        )
        refused.isLeft()
        self.assertLogged("from 192.0.2.9: limits connections-per-address = 2")
        self.connects("TCP4 192.0.2.8 10.0.0.1 50000 5222").getsHeader(from_=DOMAIN)
        self.server().getsHeader()

    def test_nobody(self) -> None:
        """Where the balancer does not know there is no limit."""
        for _ in range(5):
            self.connects("UNKNOWN ::1 ::1 0 0").getsHeader(from_=DOMAIN)
            self.server().getsHeader()

    def test_silent(self) -> None:
        """Who says nothing is there, too."""
        for _ in range(5):
            self.client().getsNothing()
        self.assertEqual(self.admission.logins, 5)


class DirectTLS(Secure):
    """With TLS from the first byte nothing can be said to whom it is refused."""

    listen: ClassVar = config.Listen(endpoint="tcp:5223", tls="direct")
    limits: ClassVar = config.Limits(connections_per_address=2)

    def test_oneTooMany(self) -> None:
        """It is closed at once."""
        for _ in range(2):
            self.client().getsNothing()
        self.client().losesConnection()
        self.assertLogged("refused 1 connection from 192.0.2.1: limits connections-per-address = 2")

    def test_balancer(self) -> None:
        """As soon as it is known where it comes from."""
        factory = self.listener(config.Listen(endpoint="haproxy:tcp:5223", tls="direct"))
        for _ in range(2):
            self.client(ELSEWHERE).getsNothing()
        client = self._played(Client)
        stream: Any = HAProxyWrappingFactory(factory).buildProtocol(
            IPv4Address("TCP", "10.0.0.1", 50000)
        )
        self.network.connect(client, stream, "10.0.0.1")
        client.sends(f"PROXY TCP4 {ELSEWHERE} 10.0.0.1 50000 5222\r\n\x16\x03\x01")
        client.losesConnection()
        self.assertLogged(f"{ELSEWHERE}: limits connections-per-address = 2")

    def test_silence(self) -> None:
        """It has its time for TLS, from the beginning."""
        client = self.client()
        self.network.wait(19.5)
        client.getsNothing()
        self.network.wait(0.5)
        client.losesConnection()


class TLSTime(Secure):
    """A client begins TLS, and takes its time."""

    def begins(self, after: int = 0) -> Client:
        client = self.client()
        client.opens()
        client.getsHeader()
        client.gets(features(STARTTLS_REQUIRED))
        self.network.wait(after)
        client.sends(STARTTLS)
        client.gets(PROCEED)
        return client

    def test_tooLong(self) -> None:
        """The connection is dropped, and all that do so are one line in the log."""
        clients = [self.begins() for _ in range(3)]
        self.network.wait(19.5)
        for client in clients:
            client.getsNothing()
        self.network.wait(0.5)
        for client in clients:
            client.losesConnection()
        lines = [line for line in self.log if "tls-seconds" in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("TLS handshake from 192.0.2.1: limits tls-seconds = 20", lines[0])

    def test_inTime(self) -> None:
        """After that the time to log in goes on."""
        client = self.begins(after=10)
        self.network.wait(19)
        client.startsTLS(self.clientTLS())
        client.getsHeader()
        server = self.server()
        server.opens(features(STARTTLS))
        server.gets(STARTTLS)
        server.startsTLS(self.serverTLS())
        server.opens(features(PLAIN))
        client.gets(features(PLAIN))
        self.network.wait(30.5)
        client.getsNothing()
        self.network.wait(0.5)
        client.getsError("connection-timeout")
        server.getsEnd()

    def test_loginTime(self) -> None:
        """Which is not longer for that."""
        client = self.begins(after=50)
        self.network.wait(10)
        client.losesConnection()
        self.assertLogged("TLS handshake from 192.0.2.1: limits login-seconds = 60")


class LoginTime(Admission):
    """A client takes its time."""

    def test_login(self) -> None:
        """It is told, and all that do so are one line in the log."""
        clients = [self.meets() for _ in range(3)]
        self.network.wait(60)
        for client, server in clients:
            client.getsError("connection-timeout")
            server.getsEnd()
            server.hangsUp()
            server.losesConnection()
        self.assertEqual(self.logged("limits login-seconds = 60"), 1)


class SessionsPerAccount(Admission):
    """Two, with the bystander's, which stays."""

    limits: ClassVar = config.Limits(sessions_per_account=2)

    def binds(self, user: str = "juliet") -> tuple[Client, Server]:
        """A client asks for a resource, and the server gives it one."""
        client, server = self.authenticates(user)
        client.gets(BINDING)
        client.sends(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.gets(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'/></iq>")
        server.sends(bound(f"{user}@{DOMAIN}/another"))
        return client, server

    def isRefused_(self, client: Client, server: Server) -> None:
        """It gets no resource, and the server has it back."""
        client.gets(
            "<iq type='error' id='bind'><error type='wait'>"
            f"<resource-constraint xmlns='{ns.STANZA_ERRORS}'/></error></iq>"
        )
        client.getsError("resource-constraint")
        server.getsEnd()
        server.hangsUp()
        server.losesConnection()
        self.assertNotLogged("no stream to the server")

    def test_oneTooMany(self) -> None:
        """It is refused; others are not, and when one has ended it is not."""
        window = self.logsIn("second")
        self.isRefused_(*self.binds())
        self.assertLogged(f"refused 1 session of {JULIET}: limits sessions-per-account = 2")
        self.chats()
        nurse = self.logsIn("kitchen", "nurse")
        window.client.closes()
        window.client.isLeft()
        window.server.getsEnd()
        self.logsIn("third")
        nurse.client.getsNothing()

    def test_name(self) -> None:
        """It is logged like any other name that others have chosen."""
        self.logsIn("hall", "grégoire")
        self.logsIn("cell", "grégoire")
        self.isRefused_(*self.binds("grégoire"))
        self.assertLogged(rf"refused 1 session of gr\xe9goire@{DOMAIN}: limits")

    def test_notReady(self) -> None:
        """Those that are not ready yet count."""
        client, server = self.binds()
        server.getsDisco()
        self.isRefused_(*self.binds())
        client.getsNothing()
        server.hangsUp()
        client.getsError("reset")
        server.losesConnection()

    def test_waiting(self) -> None:
        """One that waits for its client makes way: its client may be the very one that comes."""
        window = self.logsIn("second")
        enabled = f"<enable xmlns='{ns.STREAM_MANAGEMENT[0]}' resume='true'/>"
        window.client.sends(enabled)
        window.client.gets(
            f"<enabled xmlns='{ns.STREAM_MANAGEMENT[0]}' id='*' resume='true' max='300'/>"
        )
        window.client.vanishes()
        window.server.getsNothing()
        self.logsIn("third")
        window.server.getsEnd()
        self.assertLogged("ended: another session of the account needs the room")
        self.isRefused_(*self.binds())


class FailedLogins(Admission):
    """Four of an address are free, two of an account."""

    limits: ClassVar = config.Limits(failed_logins_per_address=4, failed_logins_per_account=2)

    def setUp(self) -> None:
        super().setUp()
        self.user = 0

    def tries(self, client: Client, server: Server, user: str | None = None) -> None:
        """A client has a wrong password, and hears that at once."""
        if user is None:  # another one each time
            self.user += 1
            user = f"nobody{self.user}"
        client.sends(plain("opensesame", user))
        self.fails(client, server, user)

    def fails(self, client: Client, server: Server, user: str) -> None:
        server.gets(plain("opensesame", user))
        server.sends(failure("not-authorized"))
        client.gets(failure("not-authorized"))

    def waits(self, client: Client, server: Server, user: str, seconds: int) -> None:
        """A login has to wait."""
        client.sends(plain("opensesame", user) + " ")
        self.network.wait(seconds - 0.5)
        server.getsNothing()
        self.chats()
        self.network.wait(0.5)
        self.fails(client, server, user)

    def meetsFrom(self, host: str) -> tuple[Client, Server]:
        client = self.client(host)
        client.opens()
        client.getsHeader()
        server = self.server()
        server.opens(features(PLAIN))
        client.gets(features(PLAIN))
        return client, server

    def test_address(self) -> None:
        """Free, then slower, then in vain, in this connection and any other from there."""
        client, server = self.meetsFrom(ELSEWHERE)
        another, upstream = self.meetsFrom(ELSEWHERE)
        for _ in range(4):
            self.tries(client, server)
        for seconds in (1, 2, 4, 8):
            self.waits(client, server, f"other{seconds}", seconds)
        for one in (client, another):
            one.sends(plain("opensesame", "another"))
            one.gets(failure("temporary-auth-failure", "too many failed logins from your address"))
            one.getsError("policy-violation")
        for each in (server, upstream):
            each.getsEnd()
            each.hangsUp()
            each.losesConnection()
        self.isRefused(self.client(ELSEWHERE), "too many failed logins from your address")
        self.assertLogged("refused 1 login from 198.51.100.7: limits failed-logins-per-address")
        self.assertLogged("refused 1 connection from 198.51.100.7: limits failed-logins-per-addr")
        self.logsIn("chamber")
        self.network.wait(200)
        self.client(ELSEWHERE).getsNothing()

    def test_account(self) -> None:
        """Strangers wait; who has logged in to it from there before does not."""
        client, server = self.meetsFrom(ELSEWHERE)
        for _ in range(2):
            self.tries(client, server, "juliet")
        self.waits(*self.meetsFrom(HEATH), "Juliet", 1)
        self.tries(client, server, "nurse")
        self.logsIn("chamber")  # from where the bystander is

    def test_success(self) -> None:
        """What is right waits as long, for nobody can know; and then nothing is lost."""
        client, server = self.meetsFrom(ELSEWHERE)
        for _ in range(2):
            self.tries(client, server, "juliet")
        client.sends(plain())
        server.getsNothing()
        self.network.wait(1)
        server.gets(plain())
        server.succeeds()
        client.gets(SUCCESS)
        client.opens()
        client.getsHeader()
        server.opens(features())
        client.gets(BINDING)
        again, upstream = self.meetsFrom(ELSEWHERE)
        self.tries(again, upstream, "juliet")

    def test_clientLeaves(self) -> None:
        """While it waits."""
        client, server = self.meetsFrom(ELSEWHERE)
        for _ in range(2):
            self.tries(client, server, "juliet")
        client.sends(plain("opensesame"))
        client.hangsUp()
        server.getsNothing()
        self.network.wait(1)
        server.gets(plain("opensesame"))
        client.losesConnection()
        server.getsEnd()

    def test_serverLeaves(self) -> None:
        """While the client waits."""
        client, server = self.meetsFrom(ELSEWHERE)
        for _ in range(2):
            self.tries(client, server, "juliet")
        client.sends(plain("opensesame"))
        server.hangsUp()
        client.getsError("remote-connection-failed")
        server.losesConnection()
        self.network.wait(1)

    def test_noInitialResponse(self) -> None:
        """It is the first message that names the account, whatever carries it (RFC 4422)."""
        client, server = self.meetsFrom(ELSEWHERE)
        for _ in range(2):
            self.tries(client, server, "juliet")
        message = plain("opensesame").partition(">")[2].partition("<")[0]
        begins = f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'/>"
        client.sends(begins)
        server.gets(begins)
        server.sends(f"<challenge xmlns='{ns.SASL}'/>")
        client.gets(f"<challenge xmlns='{ns.SASL}'/>")
        response = f"<response xmlns='{ns.SASL}'>{message}</response>"
        client.sends(response)
        server.getsNothing()
        self.network.wait(1)
        server.gets(response)
        server.sends(failure("not-authorized"))
        client.gets(failure("not-authorized"))

    def test_pipelined(self) -> None:
        """One attempt at a time: the next goes on when there is an answer to the last."""
        client, server = self.meetsFrom(ELSEWHERE)
        client.sends("".join(plain("opensesame", user) for user in ("juliet", "romeo", "nurse")))
        for user in ("juliet", "romeo", "nurse"):
            self.fails(client, server, user)
        client.sends(plain("opensesame", "juliet") + plain("opensesame", "juliet"))
        self.fails(client, server, "juliet")
        server.getsNothing()
        self.network.wait(1)
        self.fails(client, server, "juliet")

    def test_pipelinedAbort(self) -> None:
        """It does not make one answer that of another attempt."""
        client, server = self.meetsFrom(ELSEWHERE)
        client.sends(f"{plain()}{ABORT}{plain('opensesame', 'nurse')}")
        server.gets(plain())
        server.getsNothing()
        server.sends(failure("not-authorized"))
        client.gets(failure("not-authorized"))
        server.gets(ABORT)
        server.getsNothing()
        server.sends(failure("aborted"))
        client.gets(failure("aborted"))
        self.fails(client, server, "nurse")

    def test_pipelinedSuccess(self) -> None:
        """What is behind an attempt that succeeds is not read: it belonged to that stream."""
        client, server = self.meetsFrom(ELSEWHERE)
        client.sends(plain() + plain("opensesame", "nurse"))
        server.gets(plain())
        server.succeeds()
        client.gets(SUCCESS)
        client.opens()
        client.getsHeader()
        server.opens(features())
        client.gets(BINDING)
        failures = self.admission.failures
        self.assertFalse(failures._homes.has(accountKey(DOMAIN, "nurse"), ELSEWHERE))

    def test_parallel(self) -> None:
        """Once there are too many, attempts of an address at once count as if all had failed."""
        client, server = self.meetsFrom(ELSEWHERE)
        others = [self.meetsFrom(ELSEWHERE) for _ in range(4)]
        last, upstream = self.meetsFrom(ELSEWHERE)
        for _ in range(4):
            self.tries(client, server)
        for index, (each, _) in enumerate(others):
            each.sends(plain("opensesame", f"other{index}"))
        last.sends(plain("opensesame", "last"))
        last.gets(failure("temporary-auth-failure", "too many failed logins from your address"))
        last.getsError("policy-violation")
        upstream.getsEnd()
        upstream.hangsUp()
        upstream.losesConnection()
        for index, more in enumerate((1, 1, 2, 4)):
            self.network.wait(more)
            self.fails(*others[index], f"other{index}")

    def test_parallelOver(self) -> None:
        """Attempts that have come to an end do not count, whatever end."""
        client, server = self.meetsFrom(ELSEWHERE)
        for _ in range(4):
            self.tries(client, server)
        for _ in range(5):
            another, upstream = self.meetsFrom(ELSEWHERE)
            another.sends(plain("opensesame", "other"))
            another.hangsUp()
            self.network.wait(1)
            upstream.gets(plain("opensesame", "other"))
            another.losesConnection()
            upstream.getsEnd()
            upstream.hangsUp()
            upstream.losesConnection()
        self.waits(client, server, "another", 1)

    def test_whose(self) -> None:
        """An attempt is counted for whom it was, whatever was said behind it at once."""
        self.admission.failures.succeeded(ELSEWHERE, accountKey(DOMAIN, "nurse"))  # is at home
        client, server = self.meetsFrom(ELSEWHERE)
        client.sends(plain("opensesame") + plain("opensesame", "nurse"))
        self.fails(client, server, "juliet")
        self.fails(client, server, "nurse")
        client.sends(plain("opensesame") + plain("opensesame", "nurse"))
        self.fails(client, server, "juliet")
        self.fails(client, server, "nurse")
        self.assertEqual(self.admission.failures.wait(HEATH, accountKey(DOMAIN, "juliet")), 1)

    def test_silentClient(self) -> None:
        """A client that does not go on is to blame, not the server."""
        client, server = self.meetsFrom(ELSEWHERE)
        client.sends(f"<auth xmlns='{ns.SASL}' mechanism='X-NONE'/>")
        client.gets(failure("invalid-mechanism"))
        self.network.wait(60)
        client.getsError("connection-timeout")
        server.getsEnd()
        server.hangsUp()
        server.losesConnection()
        self.assertNotLogged("it is overloaded or hangs")

    def test_noGuesses(self) -> None:
        """What says nothing about a password is free."""
        client, server = self.meetsFrom(ELSEWHERE)
        for condition in 10 * ("aborted", "temporary-auth-failure"):
            client.sends(plain())
            server.gets(plain())
            server.sends(failure(condition))
            client.gets(failure(condition))


class FailedTerminated(FailedLogins):
    """The same where the proxy logs in itself."""

    domain: ClassVar = config.Domain(
        name=DOMAIN, upstream="tcp:127.0.0.1:15222", upstream_tls="none", auth="terminate"
    )

    def test_pipelinedAbort(self) -> None:
        """It goes to the server at once: what the proxy computes may be spared."""
        client, server = self.meetsFrom(ELSEWHERE)
        client.sends(f"{plain()}{2 * ABORT}{plain('opensesame', 'nurse')}")
        server.gets(plain())
        server.gets(ABORT)
        server.sends(failure("not-authorized"))
        client.gets(failure("not-authorized"))
        server.getsNothing()
        server.sends(failure("aborted"))
        client.gets(failure("aborted"))  # the second is answered by the proxy
        self.fails(client, server, "nurse")

    def test_noInitialResponse(self) -> None:
        client, server = self.meetsFrom(ELSEWHERE)
        for _ in range(2):
            self.tries(client, server, "juliet")
        message = plain("opensesame").partition(">")[2].partition("<")[0]
        client.sends(f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'/>")
        client.gets(f"<challenge xmlns='{ns.SASL}'/>")
        client.sends(f"<response xmlns='{ns.SASL}'>{message}</response>")
        server.getsNothing()
        self.network.wait(1)
        self.fails(client, server, "juliet")
