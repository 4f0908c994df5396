"""
Reading the configuration: TOML, or flags for the simple case, to a L{Config}.

Every problem is found in one run, as one line that names the file, the key and the mend.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from xmpproxy import endpoints
from xmpproxy.certificates import CertificateError
from xmpproxy.config import FLAGS, Config, Place, Sections, asToml, kebab, keyed, named
from xmpproxy.jid import preparedDomain
from xmpproxy.pem import readCertificates, readKey, readPair


class ConfigError(Exception):
    """
    The configuration cannot be used.

    @ivar problems: all that is wrong with it, a line each: where, what, and the mend.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


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
        lines = [f"{named(file, place)}: {text}" for place, text, _ in problems]
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
    return {kebab(name): field for name, field in model.model_fields.items()} if model else {}


def _example(field: FieldInfo) -> Any:
    assert field.examples, "a key without a default has an example"
    return field.examples[0]


def _model(annotation: Any) -> type[BaseModel] | None:
    """The section in C{Section}, C{Section | None} or C{tuple[Section, ...]}."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model, get_args(annotation))), None)


# Wording.


def _wording(error: ErrorDetails, file: str) -> str:
    """What is wrong, and the mend, of what pydantic found."""
    place, value, context = error["loc"], error["input"], error.get("ctx", {})
    key = str(place[-1])
    known = _keys(place[:-1])
    match error["type"]:
        case "missing":
            example = _example(known[key])
            write = f"{key} = {asToml(example)}" if file else f"{named(file, place)} {example}"
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
            mend = f"did you mean {asToml(near[0])}?" if near else "write one of these"
            return f"must be {_listed(map(asToml, choices))}, not {asToml(value)}; {mend}"
        case "string_type" | "path_type":
            return f"must be a string, not {asToml(value)}; put it in quotes"
        case "bool_type":
            return f"must be true or false, not {asToml(value)}; write one of them, without quotes"
        case "int_type":
            return f"must be a whole number, not {asToml(value)}; write digits only, without quotes"
        case "float_type" | "finite_number":
            return f"must be a number, not {asToml(value)}; write digits, without quotes"
        case "greater_than":
            return f"must be more than 0, not {value}; the default is {known[key].default}"
        case "less_than_equal":
            most = error["ctx"]["le"]
            return f"must be {most} at most, not {value}; the default is {known[key].default}"
        case "greater_than_equal":
            return f"must be 0 or more, not {value}; the default is {known[key].default}"
        case "tuple_type":
            return f"must be a list of sections; write [[{keyed(place)}]], in double brackets"
        case "model_type" if isinstance(place[-1], int):
            return f"must be a section; write [[{keyed(place[:-1])}]] and its keys below"
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
                        f"{listen.endpoint} is taken by {keyed(other)}; "
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
                f"{domain.name} is {keyed(first)} already; keep one of the two",
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
