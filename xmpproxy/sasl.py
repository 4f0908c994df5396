"""
SASL (RFC 6120, section 6): what a client sends with PLAIN, and logging in to the server.

SCRAM is scramp's (MIT-0, one small package with monthly releases): messages, proofs, SASLprep. Here
is only what XMPP adds: which mechanism, which channel binding, which condition tells a failure.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from scramp import ScramClient, ScramException
from twisted.words.protocols.jabber.jid import JID, InvalidFormat

#: What we log in with, best first (RFC 5802, RFC 7677); each with C{-PLUS} before any without.
_SCRAM = ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1")

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
        if not self.authzid:
            return
        try:
            if JID(self.authzid) == JID(tuple=(self.authcid, domain, None)):
                return
        except (InvalidFormat, UnicodeError, IndexError):  # what its stringprep raises
            pass
        raise SaslError("invalid-authzid", "only the client's own bare JID can be asked for")


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


class Mechanism(Protocol):
    """
    One SASL exchange, ours being the initiating side. Used once, by one thread at a time; shares
    nothing with others, so C{respond} may be called in a thread (it computes SCRAM's iterations).
    """

    name: str

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
    serverBinds = any(name.endswith("-PLUS") for name in offered)
    usable = [name for name in offered if name not in attempted]
    listed = (_UNLISTED_BINDING,) if advertised is None else advertised
    kind = next((kind for kind in _BINDINGS if kind in listed and kind in bindings), None)
    if kind is not None:
        for name in _SCRAM:
            if f"{name}-PLUS" in usable:
                return _Scram(f"{name}-PLUS", credentials, kind, bindings[kind])
    if any(name.endswith("-PLUS") for name in attempted):
        return None
    for name in _SCRAM:
        if name in usable:
            return _Scram(name, credentials, "y" if bindings and not serverBinds else "n")
    if "PLAIN" in usable and secure:
        return _Plain(credentials)
    return None


class _Plain:
    """PLAIN (RFC 4616). The password goes as it came: SASLprep is the server's part."""

    name = "PLAIN"

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
        self, name: str, credentials: PlainCredentials, flag: str, binding: bytes = b""
    ) -> None:
        """
        @param flag: the gs2 flag: C{"y"}, C{"n"}, or the type of the channel binding.
        @param binding: its data.
        """
        self.name = name
        self._answered = False
        self._verified = False
        try:
            self._client = _client(name, credentials, flag, binding)
        except ScramException as error:
            raise SaslError("not-authorized", f"user name or password: {error.args[0]}") from None

    def initialResponse(self) -> bytes:
        first: str = self._client.get_client_first()
        return first.encode()

    def respond(self, challenge: bytes) -> bytes:
        if self._answered:
            # RFC 6120 has the signature ride on <success/>; some servers send it as a challenge
            self._verify(challenge)
            return b""
        try:
            self._client.set_server_first(challenge.decode())
            iterations = int(self._client.iterations)
            if iterations > MAX_ITERATIONS:
                raise ScramException(f"{iterations} iterations are over {MAX_ITERATIONS}")
            final: str = self._client.get_client_final()
        except (ScramException, UnicodeDecodeError) as error:
            raise _unusable(error) from None
        self._answered = True
        return final.encode()

    def finish(self, additional: bytes | None) -> None:
        if additional:
            self._verify(additional)
        elif not self._verified:
            raise SaslError("temporary-auth-failure", "success without the server's signature")

    def _verify(self, message: bytes) -> None:
        try:
            self._client.set_server_final(message.decode())
        except (ScramException, UnicodeDecodeError) as error:
            raise _unusable(error) from None
        self._verified = True


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
