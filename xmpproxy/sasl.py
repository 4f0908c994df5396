"""
SASL (RFC 6120, section 6): what a client sends with PLAIN, and logging in to the server.

SCRAM is scramp's (MIT-0, one small package with monthly releases): messages, nonces, SASLprep. Here
is what XMPP adds: which mechanism, which channel binding, which condition tells a failure; and the
proof, which scramp makes of a password only: to log in again its keys are enough.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from scramp import ScramClient, ScramException

from xmpproxy import jid

_BASE64 = re.compile("[A-Za-z0-9+/]*={0,2}")

#: What we log in with, best first (RFC 5802, RFC 7677); each with C{-PLUS} before any without.
_SCRAM = ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1")
#: What Python calls their hashes.
_HASHES = {"SHA-512": "sha512", "SHA-256": "sha256", "SHA-1": "sha1"}

#: Channel bindings, best first (RFC 9266, RFC 5929).
_BINDINGS = ("tls-exporter", "tls-unique", "tls-server-end-point")

#: What a server means that lists no types (XEP-0440): RFC 5802's default, also with TLS 1.3, where
#: RFC 9266 would have C{tls-exporter}. Measured: ejabberd 23.01 lists none and takes only this one
#: there. It learned C{tls-exporter} together with the list, as other servers did.
_UNLISTED_BINDING = "tls-unique"

#: More would let a server keep a processor busy: 100,000 take about 0.03 s (SHA-512: 0.07 s), and
#: other logins wait for that.
MAX_ITERATIONS = 1_000_000

#: Of a user name (RFC 7622, section 3.3.1) or a password. To prepare a long one keeps the reactor.
MOST_BYTES = 1023


class SaslError(Exception):
    """
    The SASL exchange cannot go on.

    @ivar condition: a condition of RFC 6120, section 6.5, such as C{"malformed-request"}.
    @ivar text: what happened, for people; never a password.
    """

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(f"{condition}: {text}")
        self.condition = condition
        self.text = text


@dataclass(frozen=True, slots=True)
class PlainCredentials:
    """
    What a client logs in with.

    @ivar authzid: whom the client wants to act as; empty for itself.
    @ivar authcid: the user name.
    @ivar password: never part of C{repr}.
    """

    authzid: str
    authcid: str
    password: str = field(repr=False)

    def checkAuthzid(self, domain: str) -> None:
        """
        Accept to act for oneself only.

        @param domain: the domain that the client's stream is addressed to.
        @raise SaslError: C{invalid-authzid} (RFC 6120, section 6.3.8).
        """
        if not self.authzid or jid.same(self.authzid, f"{self.authcid}@{domain}"):
            return
        raise SaslError("invalid-authzid", "only the client's own bare JID can be asked for")


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """
    By what the same user can log in to the same server again, without the password (RFC 5802,
    section 3): as long as neither that nor the salt changes. Never part of C{repr}.

    @ivar authcid: the user name.
    @ivar hash: of the mechanism, as in its name: C{"SHA-256"}.
    @ivar salt: what the server has salted the password with,
    @ivar iterations: and how often it has hashed it.
    @ivar clientKey: proves that we are the user,
    @ivar serverKey: and that the server is the server.
    """

    authcid: str = field(repr=False)
    hash: str
    salt: bytes = field(repr=False)
    iterations: int
    clientKey: bytes = field(repr=False)
    serverKey: bytes = field(repr=False)

    @classmethod
    def derived(
        cls, authcid: str, hash: str, password: bytes, salt: bytes, iterations: int
    ) -> ScramKeys:
        """The keys of a password. This is what takes time."""
        name = _HASHES[hash]
        salted = hashlib.pbkdf2_hmac(name, password, salt, iterations)
        client, server = (hmac.digest(salted, key, name) for key in (b"Client Key", b"Server Key"))
        return cls(authcid, hash, salt, iterations, client, server)

    def proof(self, message: bytes) -> bytes:
        """What proves that we have the client's key."""
        name = _HASHES[self.hash]
        stored = hashlib.new(name, self.clientKey).digest()
        signature = hmac.digest(stored, message, name)
        return bytes(a ^ b for a, b in zip(self.clientKey, signature, strict=True))

    def signature(self, message: bytes) -> bytes:
        """What proves that the server has the server's key."""
        return hmac.digest(self.serverKey, message, _HASHES[self.hash])


def decode(text: str) -> bytes:
    """
    The bytes that an element of the SASL exchange carries.

    @param text: the element's content; C{"="} stands for none (RFC 6120, section 6.4.2).
    @raise SaslError: C{incorrect-encoding}.
    """
    if text == "=":
        return b""
    try:
        return b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error is one
        reason = str(error) if isinstance(error, binascii.Error) else "not ASCII"
        raise SaslError("incorrect-encoding", f"not base64: {reason}") from None


def isEncoded(text: str) -> bool:
    """Whether it is base64 that can be read in one way only. White space changes nothing."""
    return _BASE64.fullmatch("".join(text.split())) is not None


def encode(data: bytes) -> str:
    """The content of an C{<auth/>} or C{<response/>} element that carries C{data}."""
    return b64encode(data).decode("ascii")


def parsePlain(initial: bytes) -> PlainCredentials:
    """
    Read the one message of PLAIN (RFC 4616).

    @param initial: the initial response, decoded.
    @raise SaslError: C{malformed-request}.
    """
    try:
        authzid, authcid, password = initial.decode("utf-8").split("\0")
    except ValueError:  # UnicodeDecodeError is one
        raise SaslError("malformed-request", "not a message of PLAIN (RFC 4616)") from None
    if not authcid or not password:
        raise SaslError("malformed-request", "user name or password is empty")
    if max(len(each.encode()) for each in (authcid, password)) > MOST_BYTES:
        raise SaslError(
            "malformed-request", f"user name or password has more than {MOST_BYTES} bytes"
        )
    return PlainCredentials(authzid, authcid, password)


def userName(mechanism: str, text: str) -> str | None:
    """
    Who wants to log in, as far as a first message of PLAIN (RFC 4616) or SCRAM (RFC 5802) says. It
    is read as leniently as any server might read it.

    @param text: the message as the element of the SASL exchange carries it.
    @return: the user name as it came; L{None} if there is none, or with another mechanism.
    """
    try:
        message = b64decode(text.rstrip("=") + "===").decode("utf-8", "replace")
    except ValueError:
        return None
    if mechanism == "PLAIN":
        name = message.partition("\0")[2].partition("\0")[0]
    elif mechanism.startswith("SCRAM-"):
        attributes = message.split(",")[2:]  # behind the gs2 header
        names = (each[2:] for each in attributes if each.startswith("n="))
        name = next(names, "").replace("=2C", ",").replace("=3D", "=")
    else:
        return None
    return name or None


class Mechanism(Protocol):
    """
    One SASL exchange, ours being the initiating side. Used once, by one thread at a time; shares
    nothing with others, so C{respond} may be called in a thread (it computes SCRAM's iterations).

    @ivar keys: by what to log in again, once this has succeeded; L{None} if there is no such thing.
    """

    name: str
    keys: ScramKeys | None

    def initialResponse(self) -> bytes:
        """What goes with C{<auth/>}; never empty."""

    def respond(self, challenge: bytes) -> bytes:
        """
        The response to a challenge; an empty one is an empty C{<response/>}.

        @raise SaslError: the challenge is not one that this mechanism can meet; abort.
        """

    def finish(self, additional: bytes | None) -> None:
        """
        The server reports success.

        @param additional: what C{<success/>} carries, L{None} for nothing.
        @raise SaslError: the server has not proved that it knows the password: not to be trusted.
        """


def choose(
    offered: Collection[str],
    credentials: PlainCredentials,
    bindings: Mapping[str, bytes],
    advertised: Collection[str] | None,
    *,
    secure: bool,
    attempted: Collection[str] = (),
) -> Mechanism | None:
    """
    The best way to log in: SCRAM with channel binding, SCRAM, PLAIN.

    SCRAM without binding carries the gs2 flag C{y} when we could bind and the server offers no
    C{-PLUS} (RFC 5802, section 6), so that a server which did offer it learns that somebody between
    took it away; C{n} when there is nothing to bind to, or no type that both know.

    A failed login does not say whether the password or the binding was wrong. So one that failed
    with C{-PLUS} is never tried again without: the failure is told to the client.

    @param offered: the names in the server's C{<mechanisms/>}.
    @param credentials: whom to log in.
    @param bindings: channel-binding data of the connection by type, empty without TLS.
    @param advertised: the types that the server lists (XEP-0440); L{None} if it lists none.
    @param secure: whether a password may go over this connection as it is.
    @param attempted: names that this server has refused as C{invalid-mechanism} and the like.
    @return: L{None} if nothing offered will do.
    @raise SaslError: C{not-authorized} if SASLprep (RFC 4013) forbids user name or password.
    """
    usable = [name for name in offered if name not in attempted]
    chosen = _chooseScram(_SCRAM, offered, usable, bindings, advertised)
    if chosen is not None:
        name, flag, data = chosen
        if name.endswith("-PLUS") or not any(each.endswith("-PLUS") for each in attempted):
            return _Scram(name, credentials, flag, data)
    if any(name.endswith("-PLUS") for name in attempted):
        return None
    if "PLAIN" in usable and secure:
        return _Plain(credentials)
    return None


def chooseAgain(
    offered: Collection[str],
    keys: ScramKeys,
    bindings: Mapping[str, bytes],
    advertised: Collection[str] | None,
) -> Mechanism | None:
    """
    The best way to log in again. Parameters are those of L{choose}.

    @param keys: from the first time. If they are not good any more, C{respond} raises L{SaslError}.
    """
    chosen = _chooseScram((f"SCRAM-{keys.hash}",), offered, offered, bindings, advertised)
    if chosen is None:
        return None
    name, flag, data = chosen
    return _Scram(name, PlainCredentials("", keys.authcid, ""), flag, data, keys)


def _chooseScram(
    names: Collection[str],
    offered: Collection[str],
    usable: Collection[str],
    bindings: Mapping[str, bytes],
    advertised: Collection[str] | None,
) -> tuple[str, str, bytes] | None:
    """The mechanism, the gs2 flag, and what is bound."""
    serverBinds = any(name.endswith("-PLUS") for name in offered)
    listed = (_UNLISTED_BINDING,) if advertised is None else advertised
    kind = next((kind for kind in _BINDINGS if kind in listed and kind in bindings), None)
    if kind is not None:
        for name in names:
            if f"{name}-PLUS" in usable:
                return f"{name}-PLUS", kind, bindings[kind]
    for name in names:
        if name in usable:
            return name, "y" if bindings and not serverBinds else "n", b""
    return None


class _Plain:
    """PLAIN (RFC 4616). The password goes as it came: SASLprep is the server's part."""

    name = "PLAIN"
    keys: ScramKeys | None = None

    def __init__(self, credentials: PlainCredentials) -> None:
        self._message = f"\0{credentials.authcid}\0{credentials.password}".encode()

    def initialResponse(self) -> bytes:
        return self._message

    def respond(self, challenge: bytes) -> bytes:
        raise SaslError("temporary-auth-failure", "the server answers PLAIN with a challenge")

    def finish(self, additional: bytes | None) -> None:
        """PLAIN proves nothing about the server; its certificate has."""


class _Scram:
    """SCRAM (RFC 5802)."""

    def __init__(
        self,
        name: str,
        credentials: PlainCredentials,
        flag: str,
        binding: bytes = b"",
        keys: ScramKeys | None = None,
    ) -> None:
        """
        @param flag: the gs2 flag: C{"y"}, C{"n"}, or the type of the channel binding.
        @param binding: its data.
        @param keys: what to use instead of a password.
        """
        self.name = name
        self.keys = keys
        self._binding = binding
        self._first = ""
        self._signature: bytes | None = None
        self._verified = False
        try:
            self._client = _client(name, credentials, flag, binding)
        except ScramException as error:
            raise SaslError("not-authorized", f"user name or password: {error.args[0]}") from None
        self._authcid = credentials.authcid
        self._password = bytes(self._client.password)

    def initialResponse(self) -> bytes:
        self._first = self._client.get_client_first()
        return self._first.encode()

    def respond(self, challenge: bytes) -> bytes:
        if self._signature is not None:
            # RFC 6120 has the signature ride on <success/>; some servers send it as a challenge
            self._verify(challenge)
            return b""
        try:
            text = challenge.decode()
            self._client.set_server_first(text)
            return self._final(text).encode()
        except (ScramException, ValueError) as error:
            raise _unusable(error) from None

    def _final(self, challenge: str) -> str:
        """The response (RFC 5802, section 3) to a challenge that scramp has checked."""
        said = _attributes(challenge)
        salt, iterations = b64decode(said["s"]), int(said["i"])
        if iterations > MAX_ITERATIONS:
            raise ScramException(f"{iterations} iterations are over {MAX_ITERATIONS}")
        if self.keys is None:
            hash = self.name.removeprefix("SCRAM-").removesuffix("-PLUS")
            self.keys = ScramKeys.derived(self._authcid, hash, self._password, salt, iterations)
            self._password = b""
        elif (self.keys.salt, self.keys.iterations) != (salt, iterations):
            raise ScramException("the password has changed, or its salt")
        *header, bare = self._first.split(",", 2)
        binding = encode(f"{','.join(header)},".encode() + self._binding)
        final = f"c={binding},r={said['r']}"
        message = f"{bare},{challenge},{final}".encode()
        self._signature = self.keys.signature(message)
        return f"{final},p={encode(self.keys.proof(message))}"

    def finish(self, additional: bytes | None) -> None:
        if additional:
            self._verify(additional)
        elif not self._verified:
            raise SaslError("temporary-auth-failure", "success without the server's signature")

    def _verify(self, message: bytes) -> None:
        try:
            said = _attributes(message.decode())
            if "e" in said:
                raise ScramException(f"the server has an error: {said['e']}")
            signature = b64decode(said.get("v", ""))
            if self._signature is None or not hmac.compare_digest(signature, self._signature):
                raise ScramException("the server's signature does not match")
        except (ScramException, ValueError) as error:
            raise _unusable(error) from None
        self._verified = True


def _attributes(message: str) -> dict[str, str]:
    return dict(each.split("=", 1) for each in message.split(",") if "=" in each)


def _client(name: str, credentials: PlainCredentials, flag: str, binding: bytes) -> ScramClient:
    """
    scramp's client for one exchange.

    scramp 1.5 lists the binding types that C{ssl.SSLSocket} can provide and refuses
    C{tls-exporter}, though the data is ours: made as C{tls-unique}, the type is named afterwards.
    Data given to a mechanism without C{-PLUS} is not used; it asks for the flag C{y}.
    """
    channel = None if flag == "n" else ("tls-unique", binding or b"unused")
    client = ScramClient([name], credentials.authcid, credentials.password, channel)
    if name.endswith("-PLUS"):
        client.cb.name.cb_name = flag
    return client


def _unusable(error: Exception) -> SaslError:
    """The server's part of the exchange will not do; the client may well try again later."""
    reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
    return SaslError("temporary-auth-failure", f"SCRAM with the server: {reason}")
