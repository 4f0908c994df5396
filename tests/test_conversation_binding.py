"""Conversations about a resource: binding (RFC 6120, section 7) and the session iq of RFC 3921."""

from __future__ import annotations

from tests.conversation import (
    BINDING,
    DOMAIN,
    ENABLE,
    JULIET,
    ROMEO,
    Client,
    Conversation,
    Server,
    bound,
)
from xmpproxy import ns

SESSION = f"<session xmlns='{ns.SESSION}'/>"


def request(resource: str | None = "balcony", id: str = "b") -> str:
    """A client's request for a resource."""
    inner = "" if resource is None else f"<resource>{resource}</resource>"
    return f"<iq type='set' id='{id}'><bind xmlns='{ns.BIND}'>{inner}</bind></iq>"


class Binding(Conversation):
    """A client that has authenticated asks for a resource."""

    def setUp(self) -> None:
        super().setUp()
        self.juliet, self.capulets = self.authenticates()
        self.juliet.gets(BINDING)

    def asks(self, asked: str) -> None:
        """The client's request goes to the server as it is."""
        self.juliet.sends(asked)
        self.capulets.getsBytes(asked)

    def test_asAsked(self) -> None:
        """The server gives what the client wants."""
        self.asks(request("balcony"))
        self.capulets.sends(bound(f"{JULIET}/balcony", "b"))
        self.capulets.answersDisco()
        self.juliet.getsBytes(bound(f"{JULIET}/balcony", "b"))
        self.assertLogged(f"{JULIET}/balcony: bound, from 192.0.2.1")

    def test_serversChoice(self) -> None:
        """The client does not care, or the server does not."""
        for asked in (request(None, "b"), request("balcony", "b")):
            with self.subTest(asked):
                self.asks(asked)
                self.capulets.sends(bound(f"{JULIET}/4db06f06", "b"))
                self.capulets.answersDisco()
                self.juliet.getsBytes(bound(f"{JULIET}/4db06f06", "b"))
                self.juliet, self.capulets = self.authenticates()
                self.juliet.gets(BINDING)

    def test_serversAccount(self) -> None:
        """It is the server that says whose session it is, not what the client logged in with."""
        self.asks(request())
        self.capulets.sends(bound(f"j.capulet@{DOMAIN}/balcony", "b"))
        self.capulets.answersDisco()
        self.juliet.gets(bound(f"j.capulet@{DOMAIN}/balcony", "b"))
        self.assertEqual([account.jid for account in self.accounts], [f"j.capulet@{DOMAIN}"])

    def test_conflict(self) -> None:
        """The server refuses; the client tries another one on the same stream."""
        self.asks(request("balcony", "b1"))
        conflict = (
            "<iq type='error' id='b1'><error type='modify'>"
            f"<conflict xmlns='{ns.STANZA_ERRORS}'/></error></iq>"
        )
        self.capulets.sends(conflict)
        self.juliet.getsBytes(conflict)
        self.asks(request("chamber", "b2"))
        self.capulets.sends(bound(f"{JULIET}/chamber", "b2"))
        self.capulets.answersDisco()
        self.juliet.gets(bound(f"{JULIET}/chamber", "b2"))

    def test_behindTheRequest(self) -> None:
        """What the client sends without waiting for the answer goes to the server behind it."""
        presence, roster = (
            "<presence/>",
            "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>",
        )
        self.juliet.sends(request() + presence + roster)
        self.capulets.getsBytes(request())
        self.capulets.getsNothing()
        self.capulets.sends(bound(f"{JULIET}/balcony", "b"))
        self.capulets.answersDisco()
        self.juliet.gets(bound(f"{JULIET}/balcony", "b"))
        self.capulets.getsBytes(presence)
        self.capulets.getsBytes(roster)

    def test_behindTheRequestLater(self) -> None:
        """The same in a packet of its own."""
        self.asks(request())
        self.juliet.sends("<presence/>")
        self.capulets.getsNothing()
        self.capulets.sends(bound(f"{JULIET}/balcony", "b"))
        self.juliet.sends(f"<iq type='set' id='s'>{SESSION}</iq>")
        self.capulets.answersDisco()
        self.juliet.gets(bound(f"{JULIET}/balcony", "b"))
        self.juliet.gets("<iq type='result' id='s'/>")
        self.capulets.getsBytes("<presence/>")

    def test_behindARequestThatFails(self) -> None:
        """There is no resource for what follows."""
        self.juliet.sends(request() + "<presence/>")
        self.capulets.getsBytes(request())
        refusal = (
            "<iq type='error' id='b'><error type='modify'>"
            f"<bad-request xmlns='{ns.STANZA_ERRORS}'/></error></iq>"
        )
        self.capulets.sends(refusal)
        self.juliet.gets(refusal)
        self.juliet.getsError("not-authorized")
        self.capulets.getsEnd()

    def test_behindTheAnswer(self) -> None:
        """What the server sends behind its answer reaches the client behind it."""
        self.asks(request())
        message = f"<message from='{ROMEO}' to='{JULIET}/balcony'><body>But soft</body></message>"
        self.capulets.sends(bound(f"{JULIET}/balcony", "b") + message + "<presence/>")
        self.juliet.getsNothing()
        self.capulets.answersDisco()
        self.juliet.gets(bound(f"{JULIET}/balcony", "b"))
        self.juliet.getsBytes(message)
        self.juliet.getsBytes("<presence/>")

    def test_serverDoesNotAnswer(self) -> None:
        """A server that does not answer the proxy's question keeps no client waiting for long."""
        self.asks(request())
        self.capulets.sends(bound(f"{JULIET}/balcony", "b"))
        self.capulets.getsDisco()
        self.network.wait(2.9)
        self.juliet.getsNothing()
        self.network.wait(0.1)
        self.juliet.gets(bound(f"{JULIET}/balcony", "b"))

    def test_serverAnswersLate(self) -> None:
        """An answer that comes when nobody waits any more is not the client's."""
        self.asks(request())
        self.capulets.sends(bound(f"{JULIET}/balcony", "b"))
        question = self.capulets.getsDisco()
        self.network.wait(3)
        self.juliet.gets(bound(f"{JULIET}/balcony", "b"))
        self.capulets.answers(question)
        self.juliet.getsNothing()

    def test_serverAnswersLateThatItHasCarbons(self) -> None:
        """They are used from then on."""
        self.asks(request())
        self.capulets.sends(bound(f"{JULIET}/balcony", "b"))
        question = self.capulets.getsDisco()
        self.network.wait(3)
        self.juliet.gets(bound(f"{JULIET}/balcony", "b"))
        self.capulets.answers(
            question, f"<query xmlns='{ns.DISCO_INFO}'><feature var='{ns.CARBONS}'/></query>"
        )
        self.capulets.answers(self.capulets.gets(ENABLE))
        self.juliet.getsNothing()

    def test_serverAnswersNonsense(self) -> None:
        """An answer that is no XML with namespaces is an answer without content."""
        self.asks(request())
        self.capulets.sends(bound(f"{JULIET}/balcony", "b"))
        self.capulets.answers(self.capulets.getsDisco(), "<a:b/>")
        self.network.wait(3)
        self.juliet.gets(bound(f"{JULIET}/balcony", "b"))

    def test_somebodyElseAnswers(self) -> None:
        """Only the server can, even if somebody guesses the id."""
        self.asks(request())
        self.capulets.sends(bound(f"{JULIET}/balcony", "b"))
        question = self.capulets.getsDisco()
        forged = f"<iq type='result' from='{ROMEO}/x' id='{question['id']}'/>"
        self.capulets.sends(forged)
        self.juliet.getsNothing()
        self.capulets.answers(question)
        self.juliet.gets(bound(f"{JULIET}/balcony", "b"))
        self.juliet.gets(forged)

    def misbound(self, answer: str) -> None:
        """The client is told that something is wrong with the server, the operator what."""
        self.asks(request())
        self.capulets.sends(answer)
        self.juliet.getsError("remote-connection-failed")
        self.capulets.getsEnd()
        self.assertLogged(f"no stream to the server of {DOMAIN}", "the server bound")
        self.assertEqual(list(self.accounts), [])

    def test_anotherDomain(self) -> None:
        """A server can give what is its own only."""
        self.misbound(bound("juliet@example.net/balcony", "b"))

    def test_subdomain(self) -> None:
        """A server can give what is its own only."""
        self.misbound(bound(f"juliet@verona.{DOMAIN}/balcony", "b"))

    def test_noResource(self) -> None:
        """That would be the account, not a session."""
        self.misbound(bound(JULIET, "b"))

    def test_noAccount(self) -> None:
        """That would be the server."""
        self.misbound(bound(f"{DOMAIN}/balcony", "b"))

    def test_noJid(self) -> None:
        """Something else."""
        self.misbound(bound("", "b"))

    def test_impossibleJid(self) -> None:
        """Something else."""
        self.misbound(bound("@@/", "b"))

    def test_noBind(self) -> None:
        """An answer that says nothing."""
        self.misbound("<iq type='result' id='b'/>")

    def test_emptyResult(self) -> None:
        """Requests of others, and answers to others, are not the answer."""
        self.asks(request())
        self.capulets.sends("<iq type='result' id='other'/>")
        self.capulets.sends("<message id='b'/>")
        self.capulets.sends(bound(f"{JULIET}/balcony", "b"))
        self.capulets.answersDisco()
        self.juliet.gets(bound(f"{JULIET}/balcony", "b"))


class SessionRequest(Conversation):
    """The session iq, which RFC 3921 wanted and old clients still send."""

    def bound(self, offered: str) -> tuple[Client, Server]:
        """A session on a server that offers this."""
        client, server = self.authenticates(offered=offered)
        client.gets(BINDING)
        client.sends(request())
        server.gets(request())
        server.sends(bound(f"{JULIET}/balcony", "b"))
        server.answersDisco()
        client.gets(bound(f"{JULIET}/balcony", "b"))
        return client, server

    def test_serverKnowsIt(self) -> None:
        """The server answers."""
        client, server = self.bound(SESSION)
        client.sends(f"<iq type='set' id='s'>{SESSION}</iq>")
        server.gets(f"<iq type='set' id='s'>{SESSION}</iq>")
        server.sends("<iq type='result' id='s'/>")
        client.gets("<iq type='result' id='s'/>")

    def test_serverDoesNotKnowIt(self) -> None:
        """The proxy answers; the server might not."""
        client, server = self.bound("")
        client.sends(f"<iq type='set' id='s' to='{DOMAIN}'>{SESSION}</iq>")
        client.gets(f"<iq type='result' id='s' from='{DOMAIN}'/>")
        server.getsNothing()


class SameResource(Conversation):
    """Two clients want the same resource."""

    def test_newerWins(self) -> None:
        """The server ends the older session; the newer one is not harmed."""
        older, newer = self.logsIn("balcony"), self.logsIn("balcony")
        error = f"<conflict xmlns='{ns.STREAM_ERRORS}'/>"
        older.server.sends(f"<stream:error>{error}</stream:error></stream:stream>")
        older.client.getsError("conflict")
        older.server.isLeft()
        newer.server.sends(f"<message from='{ROMEO}'><body>Call me but love</body></message>")
        newer.client.gets(f"<message from='{ROMEO}'><body>Call me but love</body></message>")
