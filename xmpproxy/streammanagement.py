"""
Stream management (XEP-0198): its elements, its counters, and when to ask.

What a fault gets:

===============================================  ===================================================
C{<enable/>} or C{<resume/>} against the schema  C{<failed/>} with C{bad-request}
one or the other at the wrong time, a second     C{<failed/>} with C{unexpected-request}, which is
C{<enable/>}                                     how the examples of section 3 have it
C{<r/>} or C{<a/>} where it is not enabled       nothing: there is nothing to say
C{previd} of no session, or of another account   C{<failed/>} with C{item-not-found}
resumption where there is none                   C{<failed/>} with C{feature-not-implemented}
C{h} of C{<resume/>} that cannot be              C{<failed/>} with C{bad-request}: a C{<failed/>} is
                                                 what section 6 wants for any fault of a
                                                 C{<resume/>}, and the client can bind a resource
                                                 then; after a stream error it would come back with
                                                 the same C{h}
C{<a/>} without C{h}, or no C{xs:unsignedInt}    stream error C{invalid-xml}
C{h} above what was sent (section 6)             stream error C{undefined-condition} with
                                                 C{<handled-count-too-high/>}
C{h} below what was acknowledged before          stream error C{undefined-condition}: those stanzas
                                                 are gone, nobody can send them again
an element that is not known                     stream error C{unsupported-stanza-type}
===============================================  ===================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from twisted.words.protocols.jabber.error import StreamError
from twisted.words.xish import domish

from xmpproxy import ns
from xmpproxy.stanza import Stanza, quoted

#: The version that is spoken if nobody asks for another one.
CURRENT = ns.STREAM_MANAGEMENT[0]
#: What counters are reckoned modulo (section 4).
MODULUS = 2**32
#: White space that XML Schema ignores around a value.
_WHITE_SPACE = " \t\r\n"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_DIGITS = re.compile("0*([0-9]{1,10})")


# Elements


class Refused(Exception):
    """
    What a client asked for cannot be.

    @ivar failed: the answer.
    """

    def __init__(self, condition: str, h: int | None = None) -> None:
        super().__init__(condition)
        self.failed = Failed(condition, h)


@dataclass(frozen=True, slots=True)
class Enable:
    """
    A client wants stream management (section 3).

    @ivar resume: whether it wants to be able to resume.
    @ivar max: for how long at most, in seconds; L{None} if it does not mind.
    """

    resume: bool = False
    max: int | None = None

    def written(self, namespace: str = CURRENT) -> bytes:
        """The bytes of it."""
        return _element(namespace, "enable", resume=_true(self.resume), max=self.max)


@dataclass(frozen=True, slots=True)
class Enabled:
    """
    It has it (section 3).

    @ivar id: what to resume it by; L{None} if that is not possible.
    @ivar max: for how long, in seconds; L{None} if that is not said.
    """

    id: str | None = None
    max: int | None = None

    def written(self, namespace: str = CURRENT) -> bytes:
        """The bytes of it."""
        resume = _true(self.id is not None)
        return _element(namespace, "enabled", id=self.id, resume=resume, max=self.max)


@dataclass(frozen=True, slots=True)
class Resume:
    """
    A client wants to go on with an earlier stream (section 5).

    @ivar previd: which.
    @ivar h: how many stanzas it has handled there.
    """

    previd: str
    h: int

    def written(self, namespace: str = CURRENT) -> bytes:
        """The bytes of it."""
        return _element(namespace, "resume", previd=self.previd, h=self.h)


@dataclass(frozen=True, slots=True)
class Resumed:
    """
    It may (section 5).

    @ivar previd: the id of the earlier stream.
    @ivar h: how many stanzas the server has handled there.
    """

    previd: str
    h: int

    def written(self, namespace: str = CURRENT) -> bytes:
        """The bytes of it."""
        return _element(namespace, "resumed", previd=self.previd, h=self.h)


@dataclass(frozen=True, slots=True)
class Failed:
    """
    It may not (section 6).

    @ivar condition: the stanza error condition (RFC 6120, section 8.3.3).
    @ivar h: how many stanzas of the earlier stream the server had handled before it gave it up;
        L{None} if it does not know.
    """

    condition: str
    h: int | None = None

    def written(self, namespace: str = CURRENT) -> bytes:
        """The bytes of it."""
        condition = f"<{self.condition} xmlns='{ns.STANZA_ERRORS}'/>"
        return _element(namespace, "failed", condition, h=self.h)


@dataclass(frozen=True, slots=True)
class Request:
    """The peer wants to know what has been handled (section 4)."""

    def written(self, namespace: str = CURRENT) -> bytes:
        """The bytes of it."""
        return _element(namespace, "r")


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What has been handled (section 4).

    @ivar h: how many stanzas.
    """

    h: int

    def written(self, namespace: str = CURRENT) -> bytes:
        """The bytes of it."""
        return _element(namespace, "a", h=self.h)


Element = Enable | Enabled | Resume | Resumed | Failed | Request | Answer


def parse(stanza: Stanza) -> Element:
    """
    What an element of stream management says.

    @param stanza: of one of the namespaces, without fault.
    @raise Refused: it is C{<enable/>} or C{<resume/>}, and against the schema.
    @raise StreamError: it is another one and against the schema, or not known.
    """
    attributes = stanza.attributes
    match stanza.name:
        case "r":
            return Request()
        case "a":
            return Answer(_required(attributes.get("h")))
        case "enable":
            resume = _BOOLEANS.get(attributes.get("resume", "false").strip(_WHITE_SPACE))
            seconds = _positive(attributes.get("max"))
            if resume is None or (seconds is None and "max" in attributes):
                raise Refused("bad-request")
            return Enable(resume, seconds)
        case "enabled":
            resume = _BOOLEANS.get(attributes.get("resume", "false").strip(_WHITE_SPACE))
            id = attributes.get("id") if resume else None
            return Enabled(id, _positive(attributes.get("max")))
        case "resume":
            previd = attributes.get("previd")
            h = _unsigned(attributes.get("h"))
            if previd is None or h is None:
                raise Refused("bad-request")
            return Resume(previd, h)
        case "resumed":
            return Resumed(attributes.get("previd", ""), _required(attributes.get("h")))
        case "failed":
            found = (name for namespace, name in stanza.children if namespace == ns.STANZA_ERRORS)
            condition = next(found, "undefined-condition")
            return Failed(condition, _unsigned(attributes.get("h")))
    raise StreamError("unsupported-stanza-type", text="no element of stream management")


def _element(namespace: str, name: str, content: str = "", **attributes: int | str | None) -> bytes:
    written = "".join(
        f" {key}={quoted(str(value))}" for key, value in attributes.items() if value is not None
    )
    end = f">{content}</{name}>" if content else "/>"
    return f"<{name} xmlns='{namespace}'{written}{end}".encode()


def _true(value: bool) -> str | None:
    return "true" if value else None


def _digits(value: str | None) -> int | None:
    """A number of at most ten digits."""
    found = None if value is None else _DIGITS.fullmatch(value.strip(_WHITE_SPACE))
    return None if found is None else int(found[1])


def _unsigned(value: str | None) -> int | None:
    """An C{xs:unsignedInt}; L{None} if it is none."""
    number = _digits(value)
    return number if number is not None and number < MODULUS else None


def _positive(value: str | None) -> int | None:
    """An C{xs:positiveInteger}, as far as anybody lives to see its end; L{None} if it is none."""
    if value is not None:
        value = value.strip(_WHITE_SPACE).removeprefix("+").lstrip("0")
        if value.isascii() and value.isdigit():
            return int(value) if len(value) <= 10 else MODULUS
    return None


def _required(value: str | None) -> int:
    number = _unsigned(value)
    if number is None:
        raise StreamError("invalid-xml", text="'h' must be a number from 0 to 4294967295")
    return number


# Counters


class Counter:
    """
    How many stanzas were sent on a stream since stream management was enabled, and how many of them
    the peer has acknowledged.

    @ivar sent: how many were sent. Not modulo anything.
    @ivar acknowledged: how many of them are acknowledged.
    """

    __slots__ = ("acknowledged", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0

    @property
    def outstanding(self) -> int:
        """How many are not acknowledged."""
        return self.sent - self.acknowledged

    def since(self, h: int) -> int:
        """
        How many more stanzas a C{h} of the peer's acknowledges than all before it did.

        @param h: from 0 to 2^32-1.
        @raise StreamError: more than were sent, or less than before.
        """
        more = (h - self.acknowledged) % MODULUS
        if more <= self.outstanding:
            return more
        less = MODULUS - more
        # Once the counter has begun anew every h was right at some time.
        if less <= self.acknowledged and (self.sent < MODULUS or less < more):
            before = self.acknowledged % MODULUS
            raise StreamError(
                "undefined-condition",
                text=f"You acknowledged {before} stanzas before, and now {h}.",
            )
        sent = self.sent % MODULUS
        tooHigh = domish.Element((CURRENT, "handled-count-too-high"))
        tooHigh["h"] = str(h)
        tooHigh["send-count"] = str(sent)
        raise StreamError(
            "undefined-condition",
            text=f"You acknowledged {h} stanzas, but I only sent you {sent} so far.",
            appCondition=tooHigh,
        )

    def acknowledge(self, h: int) -> int:
        """
        Take a C{h} of the peer's.

        @return: as L{since} does.
        @raise StreamError: as L{since} does; nothing is changed then.
        """
        more = self.since(h)
        self.acknowledged += more
        return more


# When to ask


class AskPolicy:
    """
    When to ask the peer what it has handled: after so many stanzas or bytes, or when nothing more
    comes for a while. One request is in flight at a time.

    Any C{<a/>} ends the wait. A peer may answer with less than was sent before the request, as this
    proxy does: it is asked again with the next stanzas.

    @ivar asking: whether a request is in flight.
    """

    __slots__ = ("_bytes", "_mostBytes", "_mostStanzas", "_stanzas", "asking")

    def __init__(self, stanzas: int, bytes: int) -> None:
        """
        @param stanzas: ask after so many stanzas,
        @param bytes: or after so many bytes of them.
        """
        self.asking = False
        self._mostStanzas = stanzas
        self._mostBytes = bytes
        self._stanzas = 0  # sent since the last request
        self._bytes = 0

    def sent(self, stanzas: int, bytes: int) -> None:
        """Stanzas were sent."""
        self._stanzas += stanzas
        self._bytes += bytes

    @property
    def due(self) -> bool:
        """Whether to ask now, behind all that was sent."""
        enough = self._stanzas >= self._mostStanzas or self._bytes >= self._mostBytes
        return enough and not self.asking

    @property
    def dueWhenIdle(self) -> bool:
        """Whether to ask when nothing more is sent for a while."""
        return bool(self._stanzas) and not self.asking

    def asked(self) -> None:
        """A request was sent."""
        self.asking = True
        self._stanzas = self._bytes = 0

    def answered(self) -> None:
        """An answer came. Look at L{due} again."""
        self.asking = False
