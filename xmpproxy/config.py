"""
What can be configured: sections and their keys, as frozen objects.

A section is a model, a key a field of it, spelled kebab-case in the file. To add a key, add a
field; to add a section, add a model and a field of L{Sections}. What one key must be is said by
the field's type; what keys must be together, and what their files must hold, by a check in
L{xmpproxy.configfile}. C{examples} are what a problem line shows for a key that must be there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from twisted.words.protocols.jabber.xmpp_stringprep import nameprep

from xmpproxy import endpoints

#: Where in the document: section, position in a list of sections, key.
Place = tuple[str | int, ...]


def asToml(value: object) -> str:
    """A value as TOML has it, on one line."""
    return json.dumps(value, ensure_ascii=False, default=str)


# What a key can hold. A validator's ValueError says what is wrong, then the mend.


def _domainName(text: str) -> str:
    try:
        name: str = nameprep.prepare(text).removesuffix(".")
    except (UnicodeError, IndexError):  # IndexError: an empty label
        name = ""
    if not name:
        raise ValueError(f"{asToml(text)} is not a domain name; write one such as example.com")
    return name


def _inDirectory(path: Path, info: ValidationInfo) -> Path:
    return info.context / path if info.context else path


def _serverEndpoint(text: str, info: ValidationInfo) -> str:
    return endpoints.parsedServer(endpoints.inDirectory(text, info.context))


def _clientEndpoint(text: str, info: ValidationInfo) -> str:
    return endpoints.parsedClient(endpoints.inDirectory(text, info.context))


def _prefix(text: str) -> str:
    mend = "write plain text and {resource}, with {{ and }} for braces"
    try:
        fields = [part[1:] for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{asToml(text)} has a brace without its other; {mend}") from error
    if any(field != ("resource", "", None) for field in fields):
        raise ValueError(f"{asToml(text)} has a field other than {{resource}}; {mend}")
    return _xmlText(text)


def _xmlText(text: str) -> str:
    if re.search("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text):
        raise ValueError(f"{asToml(text)} has a character that XML forbids; take it out")
    return text


def _pattern(text: str) -> str:
    if not text:
        raise ValueError(f"{asToml(text)} matches no client; write a pattern such as bot-*")
    return text


def _alias(text: str) -> str:
    if not text.strip():
        raise ValueError(f"{asToml(text)} is no name; write one such as phone, or leave alias out")
    return _xmlText(text)


DomainName = Annotated[str, AfterValidator(_domainName)]
#: A path; relative to the directory of the configuration file.
File = Annotated[Path, AfterValidator(_inDirectory)]
ServerEndpoint = Annotated[str, AfterValidator(_serverEndpoint)]
ClientEndpoint = Annotated[str, AfterValidator(_clientEndpoint)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Alias = Annotated[str, AfterValidator(_alias)]
Switch = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, gt=0)]
#: Trees are gone through by recursion, for which Python has room up to 1,000.
Depth = Annotated[int, Field(strict=True, gt=0, le=500)]
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
#: 0: no limit.
CountOrUnlimited = Annotated[int, Field(strict=True, ge=0)]
#: 0: never.
SecondsOrNever = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
TLSMode = Literal["starttls", "direct", "none"]
PlainCopies = Literal["prefix", "self", "off"]


def kebab(name: str) -> str:
    """How a field is spelled in the file."""
    return name.replace("_", "-")


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=kebab,
        validate_by_name=True,
        validate_by_alias=True,
    )


class Listen(_Section):
    """
    Where clients connect to.

    @ivar endpoint: a Twisted server endpoint.
    @ivar tls: how a client gets TLS: by STARTTLS (RFC 6120, section 5), at once (XEP-0368), never.
    @ivar accept_plaintext: whether C{tls = "none"} is accepted beyond loopback.
    @ivar plain_copies: as in L{Mirror}, for this listener's clients; L{None}: as there.
    """

    endpoint: ServerEndpoint = Field(examples=["tcp:5222"])
    tls: TLSMode = "starttls"
    accept_plaintext: Switch = False
    plain_copies: PlainCopies | None = None


class Tls(_Section):
    """
    What clients see of the proxy's TLS.

    @ivar certificate: PEM file, the domain's own certificate first, then the chain; L{None}: a
        self-signed one is made.
    @ivar private_key: PEM file with the key of the certificate.
    """

    certificate: File | None = None
    private_key: File | None = None


class Domain(_Section):
    """
    A domain that is proxied, and its server.

    @ivar name: the domain, prepared by nameprep (RFC 3491).
    @ivar upstream: a Twisted client endpoint; L{None}: by the domain's SRV records.
    @ivar upstream_tls: how the server gives TLS: as L{Listen.tls}.
    @ivar upstream_trust: PEM file of the roots to trust; L{None}: the system's.
    @ivar auth: whether a client's SASL exchange is passed on, or ends here.
    @ivar registration: whether in-band registration (XEP-0077) is passed on.
    @ivar accept_plaintext: whether C{upstream_tls = "none"} is accepted beyond loopback.
    @ivar upstream_resume: whether the proxy keeps by what to log in again, and resumes the stream
        to the server (XEP-0198) when its connection is lost.
    """

    name: DomainName = Field(examples=["example.com"])
    upstream: ClientEndpoint | None = None
    upstream_tls: TLSMode = "starttls"
    upstream_trust: File | None = None
    auth: Literal["auto", "relay", "terminate"] = "auto"
    registration: Switch = False
    accept_plaintext: Switch = False
    upstream_resume: Switch = False


class Client(_Section):
    """
    What is different for some clients.

    @ivar resource: which ones: a shell pattern of their resources (see L{fnmatch}), in which case
        counts.
    @ivar plain_copies: as in L{Mirror}, for these clients; L{None}: as for their listener.
    @ivar alias: stands for their resource in the prefix of what they send.
    """

    resource: Pattern = Field(examples=["bot-*"])
    plain_copies: PlainCopies | None = None
    alias: Alias | None = None


class Mirror(_Section):
    """
    How the clients of an account see what the others send and get.

    @ivar server_carbons: whether a server's own carbons (XEP-0280) are used where it has them.
    @ivar plain_copies: where a client without carbons sees a message that another sent: in the
        window of the person it went to, in a chat with itself, or nowhere.
    @ivar prefix: put before the text of such a message; C{{resource}} is the sender's resource.
    @ivar client: what is different for some clients. Of those whose pattern matches, the first
        that has a key counts for it.
    """

    server_carbons: Literal["auto", "ignore"] = "auto"
    plain_copies: PlainCopies = "prefix"
    prefix: Prefix = "me@{resource}: "
    client: tuple[Client, ...] = ()

    def modeOf(self, resource: str, listen: Listen) -> PlainCopies:
        """
        Where a client sees what the others send, if it has not asked for something else itself.

        @param resource: the resource that its server gave it.
        @param listen: the listener it is connected to.
        """
        chosen = (each.plain_copies for each in self._matching(resource))
        return next(filter(None, chosen), listen.plain_copies or self.plain_copies)

    def nameOf(self, resource: str) -> str:
        """What a client is called where the others see what it sends: by default its resource."""
        aliases = (each.alias for each in self._matching(resource))
        return next(filter(None, aliases), resource)

    def _matching(self, resource: str) -> Iterator[Client]:
        return (each for each in self.client if fnmatchcase(resource, each.resource))


class Limits(_Section):
    """
    What one client may ask of the proxy.

    @ivar stanza_bytes: size of a stanza.
    @ivar login_stanza_bytes: size of a stanza, or of what else is sent, before there is a resource.
    @ivar depth: how deep a stanza's elements nest.
    @ivar attributes: how many attributes an element has.
    @ivar namespaces: how many namespaces a stanza declares.
    @ivar connections: clients at a time; 0: as many as there are descriptors for.
    @ivar connections_per_address: of these from one address; with IPv6 from one /64.
    @ivar logins: connections at a time on which no resource is bound yet,
    @ivar logins_per_address: and of these from one address.
    @ivar tls_seconds: from the beginning of TLS to the end of its handshake.
    @ivar login_seconds: from the connection to the bound resource.
    @ivar sessions_per_account: those that wait for their client count, but make way.
    @ivar failed_logins_per_address: how many may fail within ten minutes before the next ones have
        to wait; after twice as many there are none.
    @ivar failed_logins_per_account: the same, but they only wait, and only strangers do.
    @ivar bytes_per_second: how much is read of it; 0: as much as its server takes.
    @ivar queue_bytes: copies that wait for a slow client.
    @ivar all_queues_bytes: all that waits for anybody, of all sessions together.
    @ivar connects: how many streams to one domain's server are being opened at the same time.
    """

    stanza_bytes: Count = 262144
    login_stanza_bytes: Count = 16384
    depth: Depth = 200
    attributes: Count = 256
    namespaces: Count = 8192
    connections: CountOrUnlimited = 0
    connections_per_address: Count = 256
    logins: Count = 1000
    logins_per_address: Count = 32
    tls_seconds: Seconds = 20.0
    login_seconds: Seconds = 60.0
    sessions_per_account: Count = 50
    failed_logins_per_address: Count = 20
    failed_logins_per_account: Count = 10
    bytes_per_second: CountOrUnlimited = 1048576
    queue_bytes: Count = 1048576
    all_queues_bytes: Count = 536870912
    connects: Count = 100


class StreamManagement(_Section):
    """
    What becomes of clients that are gone, or may be.

    @ivar idle_seconds: how long a client or server may be silent before it is asked for a sign of
        life; 0: as long as it likes.
    @ivar resume_seconds: how long a session waits for a client that has lost its stream; 0: not.
    @ivar resume_sessions: how many sessions wait at most,
    @ivar resume_bytes: and with how much that their clients have not acknowledged, in all.
    @ivar upstream_unacked: how many stanzas of the server's a client may leave unacknowledged.
    """

    idle_seconds: SecondsOrNever = 300.0
    resume_seconds: SecondsOrNever = 300.0
    resume_sessions: Count = 10000
    resume_bytes: Count = 268435456
    upstream_unacked: Count = 2000


class Sections(_Section):
    """All that a configuration file can hold."""

    listen: tuple[Listen, ...] = ()
    tls: Tls = Tls()
    domain: tuple[Domain, ...] = ()
    mirror: Mirror = Mirror()
    limits: Limits = Limits()
    stream_management: StreamManagement = StreamManagement()


class Config(Sections):
    """
    A configuration: its sections, and where they come from.

    @ivar directory: what relative paths are relative to.
    @ivar file: the file's name as it was given, for messages; empty: the command line's flags.
    """

    directory: Path = Path()
    file: str = ""

    def where(self, *place: str | int) -> str:
        """
        What to call a key in a message to the operator.

        @param place: as in C{where("listen", 0, "endpoint")}.
        @return: as in C{xmpproxy.toml: listen[0].endpoint}, or C{--listen}.
        """
        return named(self.file, place)


#: The flags of the simple case, with the key each stands for and its help.
FLAGS: Mapping[str, tuple[Place, str]] = {
    "domain": (("domain", 0, "name"), "The domain to proxy."),
    "upstream": (
        ("domain", 0, "upstream"),
        "The domain's server, a Twisted client endpoint. [default: by the domain's SRV records]",
    ),
    "upstream-tls": (
        ("domain", 0, "upstream-tls"),
        "TLS to the server: starttls, direct, or none on loopback. [default: starttls]",
    ),
    "upstream-trust": (
        ("domain", 0, "upstream-trust"),
        "PEM file of roots to trust for the server. [default: the system's]",
    ),
    "auth": (
        ("domain", 0, "auth"),
        "Who logs in to the server: relay (the client), terminate (the proxy), or auto. "
        "[default: auto]",
    ),
    "listen": (
        ("listen", 0, "endpoint"),
        "Where clients connect to, a Twisted server endpoint. [default: tcp:5222]",
    ),
    "listen-tls": (
        ("listen", 0, "tls"),
        "TLS to clients: starttls, direct, or none on loopback. [default: starttls]",
    ),
    "certificate": (
        ("tls", "certificate"),
        "PEM file of the certificate that clients see. [default: a self-signed one is made]",
    ),
    "private-key": (("tls", "private-key"), "PEM file of the certificate's private key."),
    "plain-copies": (
        ("mirror", "plain-copies"),
        "Where clients without carbons see what the others sent: prefix (in the window of whom "
        "it went to), self, or off. [default: prefix]",
    ),
}


def named(file: str, place: Place) -> str:
    """
    What to call a key in a message to the operator.

    @param file: as in L{Config}.
    @return: the key with its file, or the flag that stands for it.
    """
    if file:
        return f"{file}: {keyed(place)}"
    flags = (f"--{flag}" for flag, (meant, _) in FLAGS.items() if meant == place)
    return next(flags, keyed(place))


def keyed(place: Place) -> str:
    """A key or section as the file has it: C{listen[0].endpoint}."""
    key = ""
    for step in place:
        if isinstance(step, int):
            key += f"[{step}]"
        else:
            # A key with odd characters is written as TOML has it, for one line's sake.
            key += "." * bool(key) + (step if re.fullmatch(r"[\w-]+", step) else asToml(step))
    return key
