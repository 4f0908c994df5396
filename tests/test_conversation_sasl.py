"""Conversations about who is there: SASL relayed, and SASL that ends at the proxy."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import ClassVar

from scramp import ScramClient, ScramMechanism

from tests.conversation import (
    BIND,
    BINDING,
    DOMAIN,
    JULIET,
    OFFERED_MANAGEMENT,
    PASSWORD,
    PLAIN,
    SUCCESS,
    Client,
    Conversation,
    Server,
    failure,
    features,
    mechanisms,
    plain,
)
from tests.test_conversation_tls import Secure
from tests.threads import Threads
from xmpproxy import config, ns
from xmpproxy.computing import Computing
from xmpproxy.sasl import ScramKeys

SALT = b64encode(16 * b"s").decode()
ABORT = f"<abort xmlns='{ns.SASL}'/>"
WRONG = failure("not-authorized", "Thou art thyself, though not a Montague")


def sasl(name: str, data: str | None = None, mechanism: str | None = None) -> str:
    """An element of SASL that carries something."""
    attribute = f" mechanism='{mechanism}'" if mechanism else ""
    content = "" if data is None else b64encode(data.encode()).decode()
    return f"<{name} xmlns='{ns.SASL}'{attribute}>{content}</{name}>"


class Relay(Conversation):
    """The server knows no channel binding: client and server negotiate with each other."""

    def test_offer(self) -> None:
        """What the server offers, in its order, less what cannot work through a proxy."""
        self.meets(
            mechanisms("SCRAM-SHA-256", "EXTERNAL", "X-WHATEVER", "PLAIN", "DIGEST-MD5"),
            mechanisms("SCRAM-SHA-256", "X-WHATEVER", "PLAIN", "DIGEST-MD5"),
        )

    def test_nothingElseIsOffered(self) -> None:
        """No other way to log in, no compression, no registration, nothing unknown."""
        self.meets(
            "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
            "<authentication xmlns='urn:xmpp:sasl:2'><mechanism>PLAIN</mechanism></authentication>"
            "<auth xmlns='http://jabber.org/features/iq-auth'/>"
            "<register xmlns='http://jabber.org/features/iq-register'/>"
            "<compression xmlns='http://jabber.org/features/compress'><method>zlib</method>"
            "</compression><address xmlns='http://affinix.com/jabber/address'>::1</address>"
            + PLAIN,
            PLAIN,
        )

    def test_twoNames(self) -> None:
        """Nothing in which a server might read another name than the one we count for."""
        client, server = self.meets()
        for text in ("AGFk<x/>bWluAGd1ZXNz", "<x/>AGFkbWluAGd1ZXNz", "AGE=AGd1ZXNz", "AG!FkAGd1"):
            client.sends(f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'>{text}</auth>")
            client.gets(failure("incorrect-encoding"))
        server.getsNothing()
        folded = f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'>\n AGFkbWlu\n AGd1ZXNz\n</auth>"
        client.sends(folded)
        server.getsBytes(folded)

    def test_challengeAndResponse(self) -> None:
        """SCRAM between client and server: every element passes, byte for byte."""
        client, server = self.meets(mechanisms("SCRAM-SHA-1"))
        juliet = ScramClient(["SCRAM-SHA-1"], "juliet", PASSWORD)
        mechanism = ScramMechanism("SCRAM-SHA-1")
        capulets = mechanism.make_server(lambda user: mechanism.make_auth_info(PASSWORD))

        first = juliet.get_client_first()
        client.sends(sasl("auth", first, "SCRAM-SHA-1"))
        server.getsBytes(sasl("auth", first, "SCRAM-SHA-1"))
        capulets.set_client_first(first)
        challenge = capulets.get_server_first()
        server.sends(sasl("challenge", challenge))
        client.getsBytes(sasl("challenge", challenge))
        juliet.set_server_first(challenge)
        response = juliet.get_client_final()
        client.sends(sasl("response", response))
        server.getsBytes(sasl("response", response))
        capulets.set_client_final(response)
        proof = capulets.get_server_final()
        server.restarts()
        server.sends(sasl("success", proof))
        client.getsBytes(sasl("success", proof))
        juliet.set_server_final(proof)
        client.opens()
        client.getsHeader(from_=DOMAIN)
        server.opens(features(BIND))
        client.gets(BINDING)

    def test_mechanismThatWasNotOffered(self) -> None:
        """The server does not hear of it; the next try is as good as any."""
        client, server = self.meets(mechanisms("EXTERNAL", "PLAIN"), PLAIN)
        for name in ("EXTERNAL", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", ""):
            client.sends(sasl("auth", "juliet", name))
            client.gets(failure("invalid-mechanism"))
        server.getsNothing()
        client.sends(plain())
        server.gets(plain())

    def test_wrongPasswords(self) -> None:
        """Three in a row, then the right one, on one stream; the client gets the server's text."""
        client, server = self.meets()
        for guess in ("Montague", "Capulet", "Rosaline"):
            client.sends(plain(guess))
            server.gets(plain(guess))
            server.sends(WRONG)
            client.gets(WRONG)
        client.sends(plain())
        server.gets(plain())
        server.succeeds()
        server.getsHeader(to=DOMAIN)
        client.gets(SUCCESS)

    def test_serverHasEnough(self) -> None:
        """The server ends the stream after a failure; its reason reaches the client."""
        client, server = self.meets()
        client.sends(plain("Montague"))
        server.gets(plain("Montague"))
        error = f"<policy-violation xmlns='{ns.STREAM_ERRORS}'/>"
        server.sends(f"{WRONG}<stream:error>{error}</stream:error></stream:stream>")
        client.gets(WRONG)
        client.getsError("policy-violation")
        server.isLeft()

    def test_abort(self) -> None:
        """The client thinks better of it."""
        client, server = self.meets(mechanisms("DIGEST-MD5", "PLAIN"))
        client.sends(sasl("auth", None, "DIGEST-MD5"))
        server.gets(sasl("auth", None, "DIGEST-MD5"))
        server.sends(sasl("challenge", 'realm="example.com",nonce="abc"'))
        client.gets(sasl("challenge", 'realm="example.com",nonce="abc"'))
        client.sends(ABORT)
        server.gets(ABORT)
        server.sends(failure("aborted"))
        client.gets(failure("aborted"))

    def test_behindSuccess(self) -> None:
        """What the server sends behind its success, on a stream that is over, is nothing."""
        client, server = self.meets()
        client.sends(plain())
        server.gets(plain())
        server.restarts()
        server.sends(SUCCESS + "<message from='tybalt@example.com'/>" + features(BIND))
        client.gets(SUCCESS)
        client.opens()
        client.getsHeader()
        client.getsNothing()
        server.opens(features(BIND))
        client.gets(BINDING)

    def test_featuresBeforeTheirTime(self) -> None:
        """Features that the server repeats on the first stream are not those of the second."""
        client, server = self.meets()
        client.sends(plain())
        server.gets(plain())
        server.sends(features(PLAIN, "<csi xmlns='urn:xmpp:csi:0'/>"))
        server.succeeds()
        client.gets(SUCCESS)
        client.opens()
        client.getsHeader()
        client.getsNothing()
        server.opens(features(BIND))
        client.gets(BINDING)


class AfterAuthentication(Conversation):
    """What of the server's features a client is shown then."""

    def test_known(self) -> None:
        """Those that a proxy does not break, whatever the server wants to know besides."""
        client, _ = self.authenticates(
            offered="<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>"
            "<sm xmlns='urn:xmpp:sm:3'/><sm xmlns='urn:xmpp:sm:2'/><csi xmlns='urn:xmpp:csi:0'/>"
            "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>"
            "<sub xmlns='urn:xmpp:features:pre-approval'/>"
            "<ver xmlns='urn:xmpp:features:rosterver'/>"
            "<unbind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><x xmlns='urn:example:unknown'/>"
        )
        client.gets(
            features(
                f"<bind xmlns='{ns.BIND}'><required/></bind>"
                f"<session xmlns='{ns.SESSION}'><optional/></session>",
                "<ver xmlns='urn:xmpp:features:rosterver'/>",
                "<sub xmlns='urn:xmpp:features:pre-approval'/>",
                f"<csi xmlns='urn:xmpp:csi:0'/>{OFFERED_MANAGEMENT}",
            )
        )


class Registration(Conversation):
    """In-band registration, where it is configured."""

    domain: ClassVar = config.Domain(
        name=DOMAIN, upstream="tcp:127.0.0.1:15222", upstream_tls="none", registration=True
    )
    offered = "<register xmlns='http://jabber.org/features/iq-register'/>"

    def test_registration(self) -> None:
        """It is between client and server."""
        client, server = self.meets(PLAIN + self.offered)
        request = "<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>"
        client.sends(request)
        server.gets(request)
        answer = (
            "<iq type='result' id='r'><query xmlns='jabber:iq:register'><username/></query></iq>"
        )
        server.sends(answer)
        client.gets(answer)

    def test_nothingElse(self) -> None:
        """Nothing rides on it, such as a login that would not be counted."""
        client, server = self.meets(PLAIN + self.offered)
        client.sends(
            "<iq type='set' id='r'><query xmlns='jabber:iq:register'/>"
            "<query xmlns='jabber:iq:auth'/></iq>"
        )
        client.getsError("not-authorized")
        server.getsEnd()

    def test_onlyIfTheServerHasIt(self) -> None:
        """Nothing is offered that the server does not."""
        self.meets(PLAIN)


class AlwaysRelay(Conversation):
    """The operator wants no passwords."""

    domain: ClassVar = config.Domain(
        name=DOMAIN, upstream="tcp:127.0.0.1:15222", upstream_tls="none", auth="relay"
    )

    def test_offer(self) -> None:
        """Even if the server knows channel binding, which is not offered then."""
        client, server = self.meets(
            mechanisms("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN")
            + "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'/>",
            mechanisms("SCRAM-SHA-1", "PLAIN"),
        )
        client.sends(sasl("auth", "y,,n=juliet,r=abc", "SCRAM-SHA-1"))
        server.gets(sasl("auth", "y,,n=juliet,r=abc", "SCRAM-SHA-1"))


class Scram:
    """The server's side of SCRAM."""

    def __init__(self, name: str = "SCRAM-SHA-1", binding: bytes | None = None) -> None:
        self._name = name
        mechanism = ScramMechanism(name)
        self._known = mechanism.make_auth_info(PASSWORD)
        self.scram = mechanism.make_server(
            self._find, channel_binding=None if binding is None else ("tls-unique", binding)
        )

    def _find(self, user: str) -> object:
        return self._known if user == "juliet" else None

    def challenges(self, server: Server) -> None:
        """The proxy begins, the server challenges it."""
        auth = server.gets(f"<auth xmlns='{ns.SASL}' mechanism='{self._name}'>*</auth>")
        self.scram.set_client_first(b64decode(str(auth)).decode())
        server.sends(sasl("challenge", self.scram.get_server_first()))

    def verifies(self, server: Server) -> None:
        """The proxy responds as it should."""
        response = server.gets(f"<response xmlns='{ns.SASL}'>*</response>")
        self.scram.set_client_final(b64decode(str(response)).decode())

    def succeeds(self, server: Server) -> None:
        """The server proves that it knows the password, too."""
        server.restarts()
        server.sends(sasl("success", self.scram.get_server_final()))


BOTH = mechanisms("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN")


class Terminate(Conversation):
    """The server knows channel binding: the proxy logs in itself, with the client's password."""

    def setUp(self) -> None:
        super().setUp()
        self.juliet, self.capulets = self.meets(BOTH, PLAIN)

    def loggedIn(self) -> None:
        """All the rest of it works, too."""
        self.juliet.gets(SUCCESS)
        self.juliet.opens()
        self.juliet.getsHeader(from_=DOMAIN)
        self.capulets.opens(features(BIND))
        self.juliet.gets(BINDING)

    def test_scram(self) -> None:
        """The client says PLAIN, the server hears SCRAM, and not the password."""
        self.juliet.sends(plain())
        scram = Scram()
        scram.challenges(self.capulets)
        scram.verifies(self.capulets)
        self.juliet.getsNothing()
        scram.succeeds(self.capulets)
        self.loggedIn()

    def test_signatureInAChallenge(self) -> None:
        """Some servers send their proof before the success."""
        self.juliet.sends(plain())
        scram = Scram()
        scram.challenges(self.capulets)
        scram.verifies(self.capulets)
        self.capulets.sends(sasl("challenge", scram.scram.get_server_final()))
        self.capulets.gets(sasl("response"))
        self.capulets.succeeds()
        self.loggedIn()

    def test_abortMeanwhile(self) -> None:
        """The client gives up while the proxy logs in; then it tries again."""
        self.juliet.sends(plain())
        Scram().challenges(self.capulets)
        self.capulets.gets(f"<response xmlns='{ns.SASL}'>*</response>")
        self.juliet.sends(ABORT)
        self.capulets.gets(ABORT)
        self.capulets.sends(failure("aborted"))
        self.juliet.gets(failure("aborted"))
        self.juliet.sends(plain())
        scram = Scram()
        scram.challenges(self.capulets)
        scram.verifies(self.capulets)
        scram.succeeds(self.capulets)
        self.loggedIn()

    def test_withoutInitialResponse(self) -> None:
        """The client wants to be asked for its response (RFC 6120, section 6.4.2)."""
        self.juliet.sends(sasl("auth", None, "PLAIN"))
        self.juliet.gets(sasl("challenge"))
        self.capulets.getsNothing()
        self.juliet.sends(sasl("response", f"\0juliet\0{PASSWORD}"))
        Scram().challenges(self.capulets)
        self.capulets.gets(f"<response xmlns='{ns.SASL}'>*</response>")

    def test_ownName(self) -> None:
        """A client may say whom it wants to act as, if that is itself."""
        self.juliet.sends(sasl("auth", f"{JULIET}\0juliet\0{PASSWORD}", "PLAIN"))
        Scram().challenges(self.capulets)
        self.capulets.gets(f"<response xmlns='{ns.SASL}'>*</response>")

    def test_wrongPasswords(self) -> None:
        """Three in a row, then the right one, on one stream; the client gets the server's text."""
        for guess in ("Montague", "Capulet", "Rosaline"):
            self.juliet.sends(plain(guess))
            Scram().challenges(self.capulets)
            self.capulets.gets(f"<response xmlns='{ns.SASL}'>*</response>")
            self.capulets.sends(WRONG)
            self.juliet.gets(WRONG)
        self.juliet.sends(plain())
        scram = Scram()
        scram.challenges(self.capulets)
        scram.verifies(self.capulets)
        scram.succeeds(self.capulets)
        self.loggedIn()

    def refused(self, auth: str, answer: str) -> None:
        """The server does not hear of it, and another try is possible."""
        self.juliet.sends(auth)
        self.juliet.gets(answer)
        self.capulets.getsNothing()
        self.juliet.sends(plain())
        self.capulets.gets(f"<auth xmlns='{ns.SASL}' mechanism='SCRAM-SHA-1'>*</auth>")

    def test_anotherMechanism(self) -> None:
        """Only PLAIN was offered."""
        self.refused(sasl("auth", "n,,n=juliet", "SCRAM-SHA-1"), failure("invalid-mechanism"))

    def test_abort(self) -> None:
        """The client thinks better of it."""
        self.juliet.sends(sasl("auth", None, "PLAIN"))
        self.juliet.gets(sasl("challenge"))
        self.refused(ABORT, failure("aborted"))

    def test_responseToNothing(self) -> None:
        """Nobody asked."""
        self.refused(sasl("response", f"\0juliet\0{PASSWORD}"), failure("malformed-request"))

    def test_notBase64(self) -> None:
        """The encoding is wrong."""
        self.refused(
            f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'>*?*</auth>", self.told("incorrect-encoding")
        )

    def test_notPlain(self) -> None:
        """The message is wrong."""
        self.refused(sasl("auth", "juliet", "PLAIN"), self.told("malformed-request"))

    def test_emptyPassword(self) -> None:
        """The message is wrong."""
        self.refused(sasl("auth", "\0juliet\0", "PLAIN"), self.told("malformed-request"))

    def test_somebodyElsesName(self) -> None:
        """The server is not asked for somebody else."""
        self.refused(
            sasl("auth", f"nurse@{DOMAIN}\0juliet\0{PASSWORD}", "PLAIN"),
            self.told("invalid-authzid"),
        )

    @staticmethod
    def told(condition: str) -> str:
        """A failure with a text of ours."""
        return f"<failure xmlns='{ns.SASL}'><{condition}/><text xml:lang='en'>*</text></failure>"

    def test_wrongSignature(self) -> None:
        """The server does not know the password: whoever it is, it is not the account's."""
        self.juliet.sends(plain())
        scram = Scram()
        scram.challenges(self.capulets)
        self.capulets.gets(f"<response xmlns='{ns.SASL}'>*</response>")
        self.capulets.sends(sasl("success", "v=" + b64encode(20 * b"x").decode()))
        self.juliet.gets(self.told("temporary-auth-failure"))
        self.capulets.getsEnd()
        self.assertLogged("login at the server given up", "SCRAM")
        self.capulets.closes()
        self.capulets.losesConnection()
        self.juliet.getsError("remote-connection-failed")

    def test_noSignature(self) -> None:
        """A success that proves nothing is none."""
        self.juliet.sends(plain())
        Scram().challenges(self.capulets)
        self.capulets.gets(f"<response xmlns='{ns.SASL}'>*</response>")
        self.capulets.sends(SUCCESS)
        self.juliet.gets(self.told("temporary-auth-failure"))
        self.capulets.getsEnd()
        self.assertLogged("login at the server given up", "signature")

    def test_successAtOnce(self) -> None:
        """Nor is one that comes before the challenge."""
        self.juliet.sends(plain())
        self.capulets.gets(f"<auth xmlns='{ns.SASL}' mechanism='SCRAM-SHA-1'>*</auth>")
        self.capulets.sends(SUCCESS)
        self.juliet.gets(self.told("temporary-auth-failure"))
        self.capulets.getsEnd()

    def test_badChallenge(self) -> None:
        """The server breaks the rules of the mechanism."""
        self.juliet.sends(plain())
        self.capulets.gets(f"<auth xmlns='{ns.SASL}' mechanism='SCRAM-SHA-1'>*</auth>")
        self.capulets.sends(sasl("challenge", f"r=another,s={SALT},i=4096"))
        self.juliet.gets(self.told("temporary-auth-failure"))
        self.capulets.getsEnd()

    def test_costlyChallenge(self) -> None:
        """The server wants more work than is good for the proxy."""
        self.juliet.sends(plain())
        auth = self.capulets.gets(f"<auth xmlns='{ns.SASL}' mechanism='SCRAM-SHA-1'>*</auth>")
        nonce = b64decode(str(auth)).decode().partition("r=")[2]
        self.capulets.sends(sasl("challenge", f"r={nonce}more,s={SALT},i=2000000"))
        self.juliet.gets(self.told("temporary-auth-failure"))
        self.capulets.getsEnd()
        self.assertLogged("2000000 iterations")

    def test_unasked(self) -> None:
        """The server has an opinion on a login that nobody asked for."""
        self.capulets.sends(WRONG + SUCCESS + sasl("challenge", f"r=a,s={SALT},i=4096"))
        self.juliet.getsNothing()
        self.juliet.sends(plain())
        self.capulets.gets(f"<auth xmlns='{ns.SASL}' mechanism='SCRAM-SHA-1'>*</auth>")

    def test_impatience(self) -> None:
        """A second try while the first is under way waits for its turn."""
        self.juliet.sends(plain("Montague"))
        self.capulets.gets(f"<auth xmlns='{ns.SASL}' mechanism='SCRAM-SHA-1'>*</auth>")
        self.juliet.sends(plain())
        self.capulets.getsNothing()
        self.capulets.sends(WRONG)
        self.juliet.gets(WRONG)
        self.capulets.gets(f"<auth xmlns='{ns.SASL}' mechanism='SCRAM-SHA-1'>*</auth>")

    def test_clientLeaves(self) -> None:
        """The server's challenge finds nobody."""
        self.juliet.sends(plain())
        self.capulets.gets(f"<auth xmlns='{ns.SASL}' mechanism='SCRAM-SHA-1'>*</auth>")
        self.juliet.vanishes()
        self.capulets.getsEnd()
        self.capulets.sends(sasl("challenge", f"r=a,s={SALT},i=4096") + WRONG)
        self.capulets.getsNothing()


class Meanwhile(Conversation):
    """What happens while SCRAM's iterations are computed."""

    def setUp(self) -> None:
        super().setUp()
        self.threads = Threads()
        self.compute = Computing(self.threads, 1)
        self.juliet, self.capulets = self.meets(BOTH, PLAIN)
        self.scram = self.challenged()

    def challenged(self) -> Scram:
        """The proxy begins to compute a response."""
        self.juliet.sends(plain())
        scram = Scram()
        scram.challenges(self.capulets)
        self.capulets.getsNothing()
        return scram

    def tearDown(self) -> None:
        """Whoever computes finds nobody who wants to know, or has found somebody."""
        while self.threads.jobs:
            self.work()
        super().tearDown()

    def work(self) -> None:
        """What was asked for first is computed."""
        self.threads.work()
        self.network.settle()

    def loggedIn(self, scram: Scram) -> None:
        """The response is computed, and is right."""
        self.work()
        scram.verifies(self.capulets)
        scram.succeeds(self.capulets)
        self.capulets.getsHeader(to=DOMAIN)
        self.juliet.gets(SUCCESS)

    def test_nothing(self) -> None:
        """The login goes on when that is done."""
        self.loggedIn(self.scram)

    def test_others(self) -> None:
        """Another login is not kept; its own iterations have their turn."""
        nurse, nurses = self.meets(BOTH, PLAIN)
        nurse.sends(plain())
        other = Scram()
        other.challenges(nurses)
        self.loggedIn(self.scram)
        self.work()
        other.verifies(nurses)

    def test_abort(self) -> None:
        """The client thinks better of it, and tries again."""
        self.juliet.sends(ABORT)
        self.capulets.gets(ABORT)
        self.work()
        self.capulets.getsNothing()
        self.capulets.sends(failure("aborted"))
        self.juliet.gets(failure("aborted"))
        self.loggedIn(self.challenged())

    def test_serverRefuses(self) -> None:
        """The server has changed its mind; the client tries again."""
        self.capulets.sends(WRONG)
        self.juliet.gets(WRONG)
        self.work()
        self.capulets.getsNothing()
        self.loggedIn(self.challenged())

    def test_serverDoesNotWait(self) -> None:
        """Nothing can come but a failure, also behind an abort."""
        for aborted in (False, True):
            for sent in (SUCCESS, sasl("challenge", f"r=a,s={SALT},i=4096")):
                if aborted:
                    self.juliet.sends(ABORT)
                    self.capulets.gets(ABORT)
                self.capulets.sends(sent)
                self.juliet.gets(Terminate.told("temporary-auth-failure"))
                self.capulets.getsEnd()
                self.assertLogged("login at the server given up", "does not wait")
                self.work()
                self.juliet.vanishes()
                self.juliet, self.capulets = self.meets(BOTH, PLAIN)
                self.challenged()
        self.juliet.vanishes()
        self.capulets.getsEnd()

    def test_clientLeaves(self) -> None:
        """Nothing more is said."""
        self.juliet.vanishes()
        self.capulets.getsEnd()
        self.work()
        self.capulets.getsNothing()

    def test_serverLeaves(self) -> None:
        """The client hears of that."""
        self.capulets.vanishes()
        self.juliet.getsError("remote-connection-failed")
        self.work()

    def test_leavesTheQueue(self) -> None:
        """For who is gone nothing is computed."""
        nurse, nurses = self.meets(BOTH, PLAIN)
        nurse.sends(plain())
        Scram().challenges(nurses)
        nurse.vanishes()
        nurses.getsEnd()
        self.loggedIn(self.scram)
        self.assertFalse(self.threads.jobs)

    def test_mistake(self) -> None:
        """One of ours costs this login alone."""
        self.patch(ScramKeys, "proof", lambda keys, message: 1 / 0)
        self.work()
        self.juliet.gets(Terminate.told("temporary-auth-failure"))
        self.capulets.getsEnd()
        self.assertLogged("cannot respond to a challenge", "ZeroDivisionError")
        self.flushLoggedErrors(ZeroDivisionError)


class TerminateOtherwise(Conversation):
    """Other servers that know channel binding."""

    def test_listOfBindings(self) -> None:
        """One that says so in XEP-0440's words only."""
        client, server = self.meets(
            mechanisms("SCRAM-SHA-256", "PLAIN")
            + "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>"
            "<channel-binding type='tls-exporter'/></sasl-channel-binding>",
            PLAIN,
        )
        client.sends(plain())
        server.gets(f"<auth xmlns='{ns.SASL}' mechanism='SCRAM-SHA-256'>*</auth>")

    def test_nothingInCommon(self) -> None:
        """One that offers nothing that we know."""
        client, server = self.meets(mechanisms("SCRAM-SHA3-512-PLUS", "EXTERNAL"), PLAIN)
        client.sends(plain())
        client.gets(Terminate.told("temporary-auth-failure"))
        server.getsNothing()
        self.assertLogged("none of the mechanisms we know", "SCRAM-SHA3-512-PLUS")


class AlwaysTerminate(Conversation):
    """The operator wants the best login there is."""

    domain: ClassVar = config.Domain(
        name=DOMAIN, upstream="tcp:127.0.0.1:15222", upstream_tls="none", auth="terminate"
    )

    def test_scram(self) -> None:
        """Even if the server knows no channel binding."""
        client, server = self.meets(mechanisms("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-1"), PLAIN)
        client.sends(plain())
        scram = Scram("SCRAM-SHA-256")
        scram.challenges(server)
        scram.verifies(server)
        scram.succeeds(server)
        server.getsHeader(to=DOMAIN)
        client.gets(SUCCESS)

    def test_plain(self) -> None:
        """The server has nothing better."""
        client, server = self.meets(mechanisms("DIGEST-MD5", "PLAIN"), PLAIN)
        client.sends(plain())
        server.gets(plain())
        server.succeeds()
        server.getsHeader(to=DOMAIN)
        client.gets(SUCCESS)


class Bound(Secure):
    """The proxy's login is bound to its TLS connection."""

    def begin(self) -> tuple[Client, Server, Scram]:
        """The client has sent its password."""
        client, server = self.meets(BOTH, PLAIN)
        client.sends(plain())
        return client, server, Scram("SCRAM-SHA-1-PLUS", server.finished)

    def test_plus(self) -> None:
        """Between proxy and server there is nobody."""
        client, server, scram = self.begin()
        scram.challenges(server)
        scram.verifies(server)
        scram.succeeds(server)
        client.gets(SUCCESS)
        client.opens()
        client.getsHeader()
        server.opens(features(BIND))
        client.gets(BINDING)

    def test_somebodyBetween(self) -> None:
        """The server finds that it speaks with somebody else: its failure reaches the client."""
        client, server, _ = self.begin()
        Scram("SCRAM-SHA-1-PLUS", 12 * b"x").challenges(server)
        server.gets(f"<response xmlns='{ns.SASL}'>*</response>")
        server.sends(failure("not-authorized", "Invalid channel binding"))
        client.gets(failure("not-authorized", "Invalid channel binding"))
