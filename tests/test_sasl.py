"""Tests for L{xmpproxy.sasl}: PLAIN as clients send it, SCRAM against scramp's server side."""

from __future__ import annotations

import traceback
from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramException, ScramMechanism
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy import sasl
from xmpproxy.sasl import (
    Mechanism,
    PlainCredentials,
    SaslError,
    ScramKeys,
    choose,
    chooseAgain,
    decode,
    encode,
    parsePlain,
)

ALICE = PlainCredentials("", "alice", "Tr0ub4dor,=&3")
TLS13 = {"tls-exporter": b"exporter", "tls-unique": b"finished", "tls-server-end-point": b"hash"}
EVERYTHING = [
    f"SCRAM-SHA-{size}{plus}" for size in ("1", "256", "512") for plus in ("", "-PLUS")
] + ["PLAIN", "EXTERNAL", "DIGEST-MD5"]
#: User names, as far as that matters here.
_NAMES = st.characters(codec="utf-8", exclude_characters="\0")


class ServerSide:
    """scramp's server, to log in to."""

    def __init__(
        self,
        name: str,
        *,
        password: str = ALICE.password,
        iterations: int = 4096,
        salt: bytes | None = None,
        binding: tuple[str, bytes] | None = None,
    ) -> None:
        mechanism = ScramMechanism(name)
        known = mechanism.make_auth_info(password, iteration_count=iterations, salt=salt)
        self._kind, data = binding or ("tls-unique", b"")
        self._server = mechanism.make_server(
            lambda user: known if user == ALICE.authcid else None,
            channel_binding=binding and ("tls-unique", data),
        )

    def challenge(self, initial: bytes) -> bytes:
        # scramp's parser refuses tls-exporter, so that name is put in place behind it
        self._server.set_client_first(initial.decode().replace(self._kind, "tls-unique"))
        if self._server.gs2_header.cb_name is not None:
            self._server.gs2_header.cb_name.cb_name = self._kind
        first: str = self._server.get_server_first()
        return first.encode()

    def success(self, response: bytes) -> bytes:
        self._server.set_client_final(response.decode())
        final: str = self._server.get_server_final()
        return final.encode()


def chosen(
    offered: list[str],
    bindings: dict[str, bytes] | None = None,
    advertised: list[str] | None = None,
) -> Mechanism:
    mechanism = choose(offered, ALICE, bindings or {}, advertised, secure=True)
    assert mechanism is not None
    return mechanism


def login(mechanism: Mechanism, server: ServerSide) -> None:
    response = mechanism.respond(server.challenge(mechanism.initialResponse()))
    mechanism.finish(server.success(response))


class DecodeTests(SynchronousTestCase):
    """Base64 as RFC 6120 wants it."""

    def test_emptyIsAnEqualsSign(self) -> None:
        self.assertEqual(decode("="), b"")

    def test_bad(self) -> None:
        for text in ("YQ", "YQ==\n", "Y Q==", "YQ==YQ==", "é", "==", "<"):
            error = self.assertRaises(SaslError, decode, text)
            self.assertEqual(error.condition, "incorrect-encoding", text)

    @given(st.binary())
    def test_roundTrip(self, data: bytes) -> None:
        self.assertEqual(decode(encode(data)), data)


class PlainTests(SynchronousTestCase):
    """The message of PLAIN, read and written."""

    def test_parts(self) -> None:
        credentials = parsePlain("alice@example.com\0alice\0pässword".encode())
        self.assertEqual(credentials.authzid, "alice@example.com")
        self.assertEqual(credentials.authcid, "alice")
        self.assertEqual(credentials.password, "pässword")

    def test_malformed(self) -> None:
        for initial in (b"", b"a", b"\0a", b"\0\0x", b"\0a\0", b"\0a\0b\0c", b"\0a\0\xff"):
            error = self.assertRaises(SaslError, parsePlain, initial)
            self.assertEqual(error.condition, "malformed-request", initial)

    def test_long(self) -> None:
        """What takes long to prepare is refused before that."""
        most = sasl.MOST_BYTES
        for user, password, fits in (
            (b"a" * most, b"x" * most, True),
            (b"a" * (most + 1), b"x", False),
            (b"a", b"x" * (most + 1), False),
            (b"a", "é".encode() * 512, False),
        ):
            message = b"\0" + user + b"\0" + password
            if fits:
                self.assertEqual(parsePlain(message).password.encode(), password)
            else:
                error = self.assertRaises(SaslError, parsePlain, message)
                self.assertEqual(error.condition, "malformed-request")

    @given(st.binary())
    def test_anything(self, initial: bytes) -> None:
        """Nothing but credentials or a SaslError comes out, and credentials survive the trip."""
        try:
            credentials = parsePlain(initial)
        except SaslError:
            return
        again = sasl._Plain(credentials).initialResponse()
        self.assertEqual(parsePlain(again).password, credentials.password)

    def test_authzid(self) -> None:
        for authzid in ("", "alice@example.com", "Alice@EXAMPLE.com"):
            PlainCredentials(authzid, "alice", "x").checkAuthzid("example.com")
        for authzid in (
            "bob@example.com",
            "alice@example.org",
            "alice@example.com/r",
            "a",
            "@",
            "a@.",
        ):
            credentials = PlainCredentials(authzid, "alice", "x")
            error = self.assertRaises(SaslError, credentials.checkAuthzid, "example.com")
            self.assertEqual(error.condition, "invalid-authzid", authzid)

    def test_login(self) -> None:
        mechanism = chosen(["PLAIN", "DIGEST-MD5", "EXTERNAL"])
        self.assertEqual(mechanism.name, "PLAIN")
        self.assertEqual(mechanism.initialResponse(), b"\0alice\0" + ALICE.password.encode())
        mechanism.finish(None)
        self.assertRaises(SaslError, mechanism.respond, b"")

    def test_neverInTheClear(self) -> None:
        self.assertIsNone(choose(["PLAIN"], ALICE, {}, None, secure=False))


class UserNameTests(SynchronousTestCase):
    """Whom a login is for."""

    @given(st.text(_NAMES, min_size=1), st.text(_NAMES))
    def test_ours(self, name: str, authzid: str) -> None:
        """What we say ourselves is understood."""
        message = sasl.encode(f"{authzid}\0{name}\0secret".encode())
        self.assertEqual(sasl.userName("PLAIN", message), name)
        written = name.replace("=", "=3D").replace(",", "=2C")
        for header in ("n,,", "y,,", "n,a=juliet,", "p=tls-unique,,"):
            message = sasl.encode(f"{header}n={written},r=abc".encode())
            self.assertEqual(sasl.userName("SCRAM-SHA-256", message), name)

    def test_lenient(self) -> None:
        """What a server might take is taken."""
        message = sasl.encode(b"\0juliet\0secret!")
        for text in (
            message,
            message.rstrip("="),
            f" {message[:5]}\n{message[5:]} ",
            f"{message}==",
        ):
            self.assertEqual(sasl.userName("PLAIN", text), "juliet")
        extended = sasl.encode(b"n,,m=ext,n=juliet,r=abc")
        self.assertEqual(sasl.userName("SCRAM-SHA-1", extended), "juliet")

    def test_nobody(self) -> None:
        """Nobody is named."""
        for mechanism, message in (
            ("PLAIN", b""),
            ("PLAIN", b"juliet"),
            ("PLAIN", b"\0\0secret"),
            ("SCRAM-SHA-1", b"n,,r=abc"),
            ("SCRAM-SHA-1", b"n=juliet"),
            ("DIGEST-MD5", b'username="juliet"'),
        ):
            self.assertIsNone(sasl.userName(mechanism, sasl.encode(message)))
        self.assertIsNone(sasl.userName("PLAIN", "=" * 5))

    @given(st.sampled_from(["PLAIN", "SCRAM-SHA-1"]), st.text())
    def test_anything(self, mechanism: str, text: str) -> None:
        """Nothing else happens."""
        sasl.userName(mechanism, text)


class ChooseTests(SynchronousTestCase):
    """Which mechanism, which binding, which gs2 flag."""

    def test_order(self) -> None:
        offered = set(EVERYTHING)
        names: list[str] = []
        while True:
            mechanism = choose(offered, ALICE, TLS13, ["tls-exporter"], secure=True)
            if mechanism is None:
                break
            names.append(mechanism.name)
            offered.remove(mechanism.name)
        self.assertEqual(
            names,
            [
                "SCRAM-SHA-512-PLUS",
                "SCRAM-SHA-256-PLUS",
                "SCRAM-SHA-1-PLUS",
                "SCRAM-SHA-512",
                "SCRAM-SHA-256",
                "SCRAM-SHA-1",
                "PLAIN",
            ],
        )

    def test_flag(self) -> None:
        """
        y is a claim that the server cannot bind: only right when it offers no C{-PLUS} at all.
        """
        plain, plus = "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"
        for offered, bindings, advertised, flag in (
            ([plain], {}, None, b"n,,"),
            ([plain], TLS13, None, b"y,,"),
            ([plain], TLS13, ["tls-exporter"], b"y,,"),
            ([plain, plus], {}, None, b"n,,"),
            ([plain, plus], TLS13, ["unheard-of"], b"n,,"),
            ([plain, "SCRAM-SHA3-512-PLUS"], TLS13, None, b"n,,"),
            ([plain, plus], {"tls-unique": b"x"}, None, b"p=tls-unique,,"),
            ([plain, plus], TLS13, None, b"p=tls-unique,,"),
            ([plain, plus], TLS13, ["tls-unique", "tls-exporter"], b"p=tls-exporter,,"),
            ([plain, plus], TLS13, ["tls-server-end-point"], b"p=tls-server-end-point,,"),
        ):
            initial = chosen(offered, bindings, advertised).initialResponse()
            self.assertTrue(initial.startswith(flag + b"n=alice,"), (offered, advertised, initial))

    def test_neverFromBoundToUnbound(self) -> None:
        offered = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"]
        names: list[str] = []
        while True:
            mechanism = choose(offered, ALICE, TLS13, None, secure=True, attempted=names)
            if mechanism is None:
                break
            names.append(mechanism.name)
        self.assertEqual(names, ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"])

    def test_attempted(self) -> None:
        offered = ["SCRAM-SHA-256", "SCRAM-SHA-1"]
        mechanism = choose(offered, ALICE, {}, None, secure=True, attempted=["SCRAM-SHA-256"])
        assert mechanism is not None
        self.assertEqual(mechanism.name, "SCRAM-SHA-1")

    def test_nothingOfUse(self) -> None:
        self.assertIsNone(choose(["EXTERNAL", "DIGEST-MD5"], ALICE, TLS13, None, secure=True))

    def test_saslprepForbids(self) -> None:
        for credentials in (
            PlainCredentials("", "alice", "Tr0ub4dor\x07"),
            PlainCredentials("", "al\u0221ice", "Tr0ub4dor"),
        ):
            error = self.assertRaises(
                SaslError, choose, ["SCRAM-SHA-1"], credentials, {}, None, secure=True
            )
            self.assertEqual(error.condition, "not-authorized")
            self.assertNotIn("Tr0ub4dor", "".join(traceback.format_exception(error)))


class ScramTests(SynchronousTestCase):
    """Whole exchanges with scramp's server side."""

    def test_login(self) -> None:
        for name in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            login(chosen([name]), ServerSide(name))
            login(chosen([name], TLS13), ServerSide(name))  # flag y, the server cannot bind

    def test_bound(self) -> None:
        for kind, data in TLS13.items():
            server = ServerSide("SCRAM-SHA-256-PLUS", binding=(kind, data))
            login(chosen(["SCRAM-SHA-256-PLUS"], TLS13, [kind]), server)

    def test_bindingMismatch(self) -> None:
        """Somebody between has one TLS connection with us and another with the server."""
        for kind in TLS13:
            server = ServerSide("SCRAM-SHA-1-PLUS", binding=(kind, b"another"))
            mechanism = chosen(["SCRAM-SHA-1-PLUS"], TLS13, [kind])
            response = mechanism.respond(server.challenge(mechanism.initialResponse()))
            error = self.assertRaises(ScramException, server.success, response)
            self.assertIn("channel-bindings-dont-match", str(error))

    def test_downgradeIsSeen(self) -> None:
        """Somebody between takes C{-PLUS} out of the offer: a server that binds refuses the y."""
        server = ServerSide("SCRAM-SHA-1", binding=("tls-unique", b"finished"))
        initial = chosen(["SCRAM-SHA-1"], TLS13).initialResponse()
        error = self.assertRaises(ScramException, server.challenge, initial)
        self.assertIn("server-does-support-channel-binding", str(error))

    def test_wrongPassword(self) -> None:
        server = ServerSide("SCRAM-SHA-256", password="another")
        mechanism = chosen(["SCRAM-SHA-256"])
        response = mechanism.respond(server.challenge(mechanism.initialResponse()))
        self.assertRaises(ScramException, server.success, response)

    def test_wrongSignature(self) -> None:
        server = ServerSide("SCRAM-SHA-256")
        mechanism = chosen(["SCRAM-SHA-256"])
        server.success(mechanism.respond(server.challenge(mechanism.initialResponse())))
        wrong = b"v=" + b64encode(bytes(32))
        error = self.assertRaises(SaslError, mechanism.finish, wrong)
        self.assertIn("signature", error.text)

    def test_noSignature(self) -> None:
        """A server that knows no password can still say C{<success/>}."""
        for additional in (None, b"", b"x", b"\xff", b"e=other-error"):
            server = ServerSide("SCRAM-SHA-256")
            mechanism = chosen(["SCRAM-SHA-256"])
            self.assertRaises(SaslError, mechanism.finish, additional)
            mechanism.respond(server.challenge(mechanism.initialResponse()))
            self.assertRaises(SaslError, mechanism.finish, additional)

    def test_signatureAsChallenge(self) -> None:
        server = ServerSide("SCRAM-SHA-1")
        mechanism = chosen(["SCRAM-SHA-1"])
        response = mechanism.respond(server.challenge(mechanism.initialResponse()))
        self.assertEqual(mechanism.respond(server.success(response)), b"")
        mechanism.finish(None)

    def test_tooManyIterations(self) -> None:
        """Refused before the first is computed."""
        salt = b64encode(bytes(16))
        keys = ScramKeys("alice", "SHA-1", b"", 0, bytes(20), bytes(20))
        self.patch(ScramKeys, "derived", lambda *derivedFrom: keys)
        for count, refused in (
            ("4096", False),
            ("1000000", False),
            ("1000001", True),
            ("1" + 9 * "0", True),
            ("1" + 5000 * "0", True),
        ):
            mechanism = chosen(["SCRAM-SHA-1"])
            nonce = mechanism.initialResponse().rpartition(b"r=")[2]
            challenge = b"r=" + nonce + b"x,s=" + salt + b",i=" + count.encode()
            if refused:
                error = self.assertRaises(SaslError, mechanism.respond, challenge)
                self.assertEqual(error.condition, "temporary-auth-failure")
            else:
                mechanism.respond(challenge)
                self.assertIs(mechanism.keys, keys)

    @given(st.one_of(st.binary(), st.text(alphabet="rsiev=,x1A").map(str.encode)))
    def test_anyChallenge(self, challenge: bytes) -> None:
        mechanism = chosen(["SCRAM-SHA-1"])
        mechanism.initialResponse()
        self.assertRaises(SaslError, mechanism.respond, challenge)


class KeysTests(SynchronousTestCase):
    """Logging in again without the password."""

    salt = 16 * b"s"

    def kept(self, name: str, binding: tuple[str, bytes] | None = None) -> ScramKeys:
        """Those of a login that has succeeded."""
        mechanism = chosen([name], TLS13 if binding else None, binding and [binding[0]])
        login(mechanism, ServerSide(name, salt=self.salt, binding=binding))
        assert mechanism.keys is not None
        return mechanism.keys

    def again(self, keys: ScramKeys, offered: list[str]) -> Mechanism:
        mechanism = chooseAgain(offered, keys, {}, None)
        assert mechanism is not None
        return mechanism

    def test_again(self) -> None:
        """As often as need be, with another nonce each time."""
        for name in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            keys = self.kept(name)
            nonces = set()
            for _ in range(3):
                mechanism = self.again(keys, EVERYTHING)
                self.assertEqual(mechanism.name, name)
                initial = mechanism.initialResponse()
                nonces.add(initial.rpartition(b"r=")[2])
                server = ServerSide(name, salt=self.salt)
                mechanism.finish(server.success(mechanism.respond(server.challenge(initial))))
            self.assertEqual(len(nonces), 3)

    def test_bound(self) -> None:
        """To the TLS of the new connection."""
        name = "SCRAM-SHA-256-PLUS"
        keys = self.kept(name, ("tls-unique", b"finished"))
        another = {"tls-exporter": b"another"}
        mechanism = chooseAgain([name, "SCRAM-SHA-256"], keys, another, ["tls-exporter"])
        assert mechanism is not None
        self.assertEqual(mechanism.name, name)
        login(mechanism, ServerSide(name, salt=self.salt, binding=("tls-exporter", b"another")))

    def test_downgradeIsSeen(self) -> None:
        """As the first time: the server refuses the y."""
        keys = self.kept("SCRAM-SHA-256-PLUS", ("tls-unique", b"finished"))
        mechanism = chooseAgain(["SCRAM-SHA-256"], keys, TLS13, None)
        assert mechanism is not None
        self.assertTrue(mechanism.initialResponse().startswith(b"y,,"))

    def test_changed(self) -> None:
        """Another salt or number of iterations: the keys are good for nothing."""
        keys = self.kept("SCRAM-SHA-256")
        for server in (
            ServerSide("SCRAM-SHA-256"),
            ServerSide("SCRAM-SHA-256", salt=self.salt, iterations=5000),
        ):
            mechanism = self.again(keys, ["SCRAM-SHA-256"])
            challenge = server.challenge(mechanism.initialResponse())
            error = self.assertRaises(SaslError, mechanism.respond, challenge)
            self.assertIn("changed", error.text)

    def test_anotherPassword(self) -> None:
        """With the same salt: the server refuses the proof."""
        mechanism = self.again(self.kept("SCRAM-SHA-1"), ["SCRAM-SHA-1"])
        server = ServerSide("SCRAM-SHA-1", salt=self.salt, password="another")
        response = mechanism.respond(server.challenge(mechanism.initialResponse()))
        self.assertRaises(ScramException, server.success, response)

    def test_impostor(self) -> None:
        """Who does not know the password is no server of ours."""
        mechanism = self.again(self.kept("SCRAM-SHA-1"), ["SCRAM-SHA-1"])
        server = ServerSide("SCRAM-SHA-1", salt=self.salt)
        server.success(mechanism.respond(server.challenge(mechanism.initialResponse())))
        self.assertRaises(SaslError, mechanism.finish, b"v=" + b64encode(bytes(20)))

    def test_notOffered(self) -> None:
        """Another hash needs other keys, and PLAIN a password."""
        keys = self.kept("SCRAM-SHA-1")
        self.assertIsNone(chooseAgain(["SCRAM-SHA-256", "PLAIN"], keys, {}, None))

    def test_plain(self) -> None:
        """It has none."""
        self.assertIsNone(chosen(["PLAIN"]).keys)

    def test_secret(self) -> None:
        """They show nowhere."""
        keys = self.kept("SCRAM-SHA-1")
        for secret in (keys.clientKey, keys.serverKey, keys.salt):
            self.assertNotIn(repr(secret), repr(keys))


class SecrecyTests(SynchronousTestCase):
    """The password shows nowhere."""

    def test_repr(self) -> None:
        shown = [repr(ALICE), str(ALICE)]
        for name in EVERYTHING:
            mechanism = choose([name], ALICE, TLS13, None, secure=True)
            if mechanism is not None:
                shown += [repr(mechanism), str(mechanism)]
        self.assertEqual(len(shown), 2 + 2 * 7)
        self.assertNotIn(ALICE.password, " ".join(shown))

    def test_exceptions(self) -> None:
        errors = []
        for broken in (b"\0alice\0", b"\0"):
            initial = broken + ALICE.password.encode() + b"\0"
            errors.append(self.assertRaises(SaslError, parsePlain, initial))
        mechanism = chosen(["SCRAM-SHA-1"])
        errors.append(self.assertRaises(SaslError, mechanism.respond, b"\xff"))
        for error in errors:
            self.assertNotIn(ALICE.password, "".join(traceback.format_exception(error)))
            self.assertNotIn(ALICE.password, repr(error))
