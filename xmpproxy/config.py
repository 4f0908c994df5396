"""
The configuration: TOML, or flags for the simple case, to frozen objects.

A section is a model, a key a field of it, spelled kebab-case in the file. To add a key, add a
field; to add a section, add a model and a field of L{Sections}. What one key must be is said by
the field's type; what keys must be together, and what their files must hold, by a check (see
C{_CHECKS}). C{examples} are what a problem line shows for a key that must be there.

Every problem is found in one run, as one line that names the file, the key and the mend.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from twisted.words.protocols.jabber.xmpp_stringprep import nameprep

from xmpproxy import endpoints
from xmpproxy.certificates import CertificateError
from xmpproxy.jid import preparedDomain
from xmpproxy.pem import readCertificates, readKey, readPair

#: Where in the document: section, position in a list of sections, key.
Place = tuple[str | int, ...]


class ConfigError(Exception):
    """
    The configuration cannot be used.

    @ivar problems: all that is wrong with it, a line each: where, what, and the mend.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


# What a key can hold. A validator's ValueError says what is wrong, then the mend.


def _domainName(text: str) -> str:
    try:
        name: str = nameprep.prepare(text).removesuffix(".")
    except (UnicodeError, IndexError):  # IndexError: an empty label
        name = ""
    if not name:
        raise ValueError(f"{_show(text)} is not a domain name; write one such as example.com")
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
        raise ValueError(f"{_show(text)} has a brace without its other; {mend}") from error
    if any(field != ("resource", "", None) for field in fields):
        raise ValueError(f"{_show(text)} has a field other than {{resource}}; {mend}")
    return _xmlText(text)


def _xmlText(text: str) -> str:
    if re.search("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text):
        raise ValueError(f"{_show(text)} has a character that XML forbids; take it out")
    return text


def _pattern(text: str) -> str:
    if not text:
        raise ValueError(f"{_show(text)} matches no client; write a pattern such as bot-*")
    return text


def _alias(text: str) -> str:
    if not text.strip():
        raise ValueError(f"{_show(text)} is no name; write one such as phone, or leave alias out")
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


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=_kebab,
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
        return _where(self.file, place)


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


def load(path: str | Path) -> Config:
    """
    Read and check a configuration file.

    @raise ConfigError: with every problem it has.
    """
    file = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError as error:
        raise ConfigError([f"{file}: no such file; name the configuration file"]) from error
    except OSError as error:
        mend = "let the user that starts xmpproxy read it"
        raise ConfigError([f"{file}: cannot be read ({error.strerror}); {mend}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{file}: is not UTF-8; save it as UTF-8"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file}: is not TOML: {error}; mend it there"]) from error
    return _checked(document, Path(path).absolute().parent, file)


def fromFlags(flags: Mapping[str, str | None]) -> Config:
    """
    The configuration of the simple case: one domain, one listener.

    @param flags: values by the names in L{FLAGS}; L{None}, or not there: not given.
    @raise ConfigError: with every problem it has.
    """
    document: dict[str, Any] = {"listen": [{"endpoint": "tcp:5222"}], "domain": [{}]}
    for flag, (place, _) in FLAGS.items():
        if (value := flags.get(flag)) is not None:
            section, *position, key = place
            node = document.setdefault(str(section), {})
            (node[0] if position else node)[key] = value
    return _checked(document, Path.cwd(), "")


# Checking a document.


class _Problem(NamedTuple):
    """
    @ivar place: the key to blame.
    @ivar text: what is wrong, and the mend.
    @ivar others: the other keys it follows from: where one of them has a problem of its own,
        nobody can know whether this is one.
    """

    place: Place
    text: str
    others: tuple[Place, ...] = ()


def _checked(document: dict[str, Any], directory: Path, file: str) -> Config:
    problems: list[_Problem] = []
    broken: set[Place] = set()
    sections = None
    # What is broken is repaired as well as can be, so that the checks see the rest of the document.
    # Repairing a section can bring up its keys: hence more than one round.
    for _ in range(3):
        try:
            sections = Sections.model_validate(
                document, by_alias=True, by_name=False, context=directory
            )
            break
        except ValidationError as error:
            found = error.errors(include_url=False)
        if not problems:
            problems = [_Problem(each["loc"], _wording(each, file)) for each in found]
        for each in found:
            broken.add(each["loc"])
            _repair(document, each["loc"])
    if sections is not None:
        for check in _CHECKS:
            for problem in check(sections):
                if not any(_within(place, broken) for place in (problem.place, *problem.others)):
                    problems.append(problem)
    if problems or sections is None:
        lines = [f"{_where(file, place)}: {text}" for place, text, _ in problems]
        raise ConfigError([line.replace("\n", "\\n") for line in lines])
    return Config(
        **{name: getattr(sections, name) for name in Sections.model_fields},
        directory=directory,
        file=file,
    )


def _within(place: Place, places: set[Place]) -> bool:
    return any(place[:end] in places for end in range(1, len(place) + 1))


def _repair(document: Any, place: Place) -> None:
    node = document
    for step in place[:-1]:
        node = node[step]
    key, field = place[-1], _keys(place[:-1]).get(str(place[-1]))
    if isinstance(key, int):
        node[key] = {}
    elif field is not None and field.is_required():
        node[key] = _example(field)
    else:
        node.pop(key, None)


def _keys(place: Place) -> dict[str, FieldInfo]:
    """The fields, by their keys, of the section at a place."""
    model: type[BaseModel] | None = Sections
    for step in place:
        if isinstance(step, str):
            model = _model(_fields(model)[step].annotation)
    return _fields(model)


def _fields(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    return {_kebab(name): field for name, field in model.model_fields.items()} if model else {}


def _example(field: FieldInfo) -> Any:
    assert field.examples, "a key without a default has an example"
    return field.examples[0]


def _model(annotation: Any) -> type[BaseModel] | None:
    """The section in C{Section}, C{Section | None} or C{tuple[Section, ...]}."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model, get_args(annotation))), None)


# Wording.


def _show(value: object) -> str:
    """A value as TOML has it, on one line."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _where(file: str, place: Place) -> str:
    """What to call a key: with its file, or the flag that stands for it."""
    if file:
        return f"{file}: {_key(place)}"
    flags = (f"--{flag}" for flag, (meant, _) in FLAGS.items() if meant == place)
    return next(flags, _key(place))


def _key(place: Place) -> str:
    key = ""
    for step in place:
        if isinstance(step, int):
            key += f"[{step}]"
        else:
            # A key with odd characters is written as TOML has it, for one line's sake.
            key += "." * bool(key) + (step if re.fullmatch(r"[\w-]+", step) else _show(step))
    return key


def _wording(error: ErrorDetails, file: str) -> str:
    """What is wrong, and the mend, of what pydantic found."""
    place, value, context = error["loc"], error["input"], error.get("ctx", {})
    key = str(place[-1])
    known = _keys(place[:-1])
    match error["type"]:
        case "missing":
            example = _example(known[key])
            write = f"{key} = {_show(example)}" if file else f"{_where(file, place)} {example}"
            return f"missing; write for example {write}"
        case "extra_forbidden":
            near = get_close_matches(key.replace("_", "-").lower(), known, 1)
            mend = f"did you mean {near[0]}?" if near else f"the keys here are {', '.join(known)}"
            return f"unknown key; {mend}"
        case "value_error":
            return str(context["error"])
        case "literal_error":
            choices: list[str] = re.findall("'([^']*)'", context["expected"])
            near = get_close_matches(str(value).lower(), choices, 1)
            mend = f"did you mean {_show(near[0])}?" if near else "write one of these"
            return f"must be {_listed(map(_show, choices))}, not {_show(value)}; {mend}"
        case "string_type" | "path_type":
            return f"must be a string, not {_show(value)}; put it in quotes"
        case "bool_type":
            return f"must be true or false, not {_show(value)}; write one of them, without quotes"
        case "int_type":
            return f"must be a whole number, not {_show(value)}; write digits only, without quotes"
        case "float_type" | "finite_number":
            return f"must be a number, not {_show(value)}; write digits, without quotes"
        case "greater_than":
            return f"must be more than 0, not {value}; the default is {known[key].default}"
        case "less_than_equal":
            most = error["ctx"]["le"]
            return f"must be {most} at most, not {value}; the default is {known[key].default}"
        case "greater_than_equal":
            return f"must be 0 or more, not {value}; the default is {known[key].default}"
        case "tuple_type":
            return f"must be a list of sections; write [[{_key(place)}]], in double brackets"
        case "model_type" if isinstance(place[-1], int):
            return f"must be a section; write [[{_key(place[:-1])}]] and its keys below"
        case "model_type":
            return f"must be one section; write [{key}], in single brackets"
    return f"{error['msg']}; see docs/xmpproxy.example.toml"


def _listed(words: Iterator[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"


# The checks.


def _checkListen(sections: Sections) -> Iterator[_Problem]:
    if not sections.listen:
        yield _Problem(("listen",), 'missing; write [[listen]] and endpoint = "tcp:5222"')
    taken: list[tuple[Place, endpoints.Address]] = []
    for index, listen in enumerate(sections.listen):
        place: Place = ("listen", index)
        key: Place = (*place, "endpoint")
        address = endpoints.listensAt(listen.endpoint)
        if (
            listen.tls == "none"
            and not listen.accept_plaintext
            and not (address and address.isLoopback())
        ):
            yield _Problem(
                (*place, "tls"),
                f'"none" sends passwords in the clear, and {listen.endpoint} is not on loopback; '
                'write "starttls", or add :interface=127.0.0.1 to the endpoint, '
                "or accept the risk with accept-plaintext = true in the configuration file",
                (key, (*place, "accept-plaintext")),
            )
        if address:
            for other, at in taken:
                if address.clashesWith(at):
                    yield _Problem(
                        key,
                        f"{listen.endpoint} is taken by {_key(other)}; "
                        "write another port or another interface",
                        (other,),
                    )
                    break
            taken.append((key, address))


def _checkDomain(sections: Sections) -> Iterator[_Problem]:
    if not sections.domain:
        yield _Problem(("domain",), 'missing; write [[domain]] and name = "example.com"')
    seen: dict[str, Place] = {}
    for index, domain in enumerate(sections.domain):
        place: Place = ("domain", index)
        key: Place = (*place, "name")
        first = seen.setdefault(preparedDomain(domain.name), key)
        if first != key:
            yield _Problem(
                key,
                f"{domain.name} is {_key(first)} already; keep one of the two",
                (first,),
            )
        if domain.upstream_tls == "none" and not domain.accept_plaintext:
            address = endpoints.connectsTo(domain.upstream) if domain.upstream else None
            if not (address and address.isLoopback()):
                yield _Problem(
                    (*place, "upstream-tls"),
                    '"none" sends passwords in the clear, and '
                    f"{domain.upstream or 'what DNS names'} is not on loopback; "
                    'write "starttls", or an upstream on 127.0.0.1, '
                    "or accept the risk with accept-plaintext = true in the configuration file",
                    ((*place, "upstream"), (*place, "accept-plaintext")),
                )
        if domain.upstream_resume and domain.auth == "relay":
            yield _Problem(
                (*place, "upstream-resume"),
                'the proxy cannot log in again where clients do that themselves (auth = "relay"); '
                'write auth = "terminate", or "auto", or leave upstream-resume out',
                ((*place, "auth"),),
            )
        yield from _problemsOf(
            readCertificates, [domain.upstream_trust], (*place, "upstream-trust")
        )


def _checkTls(sections: Sections) -> Iterator[_Problem]:
    files = {"certificate": sections.tls.certificate, "private-key": sections.tls.private_key}
    pair = {key: path for key, path in files.items() if path}
    if len(pair) == 1:
        (there,) = pair
        (absent,) = files.keys() - pair
        yield _Problem(
            ("tls", absent),
            f"missing beside {there}; write both, or neither for a self-signed certificate",
            (("tls", there),),
        )
    certificate, key = files.values()
    problems = [
        *_problemsOf(readCertificates, [certificate], ("tls", "certificate")),
        *_problemsOf(readKey, [key], ("tls", "private-key")),
    ]
    yield from problems or _problemsOf(
        readPair, [certificate, key], ("tls", "private-key"), ("tls", "certificate")
    )


_CHECKS: tuple[Callable[[Sections], Iterator[_Problem]], ...] = (
    _checkListen,
    _checkTls,
    _checkDomain,
)


def _problemsOf(
    read: Callable[..., object], paths: Sequence[Path | None], place: Place, *with_: Place
) -> Iterator[_Problem]:
    """The problem, if there is one, of the files that keys name."""
    if None not in paths:
        try:
            read(*paths)
        except CertificateError as error:
            yield _Problem(place, str(error), with_)
