"""
Addresses: their parts, and whether two are one (RFC 6122).

Their parts are prepared by nodeprep, nameprep and resourceprep, as Prosody, ejabberd and jabberd2
do it. By PRECIS (RFC 7622) C{straße} and C{strasse} would be two, which those servers take for one.
There are servers that follow neither: what is one here may be two accounts there. So this is good
enough to tell whether a message goes to its own sender, but not to say who a client is: that is the
server's part, see L{xmpproxy.handlers.binding}.

What cannot be prepared is taken as it is written: it is equal to itself alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from encodings import idna
from functools import lru_cache

from twisted.words.protocols.jabber.xmpp_stringprep import nameprep, nodeprep, resourceprep

#: Bytes that each part of an address has at most.
MOST_BYTES = 1023

_LONGEST_BARE = 2 * MOST_BYTES + 1

#: How many comparisons are remembered.
_REMEMBERED = 1024

#: Of ASCII, only upper case is changed by nodeprep and nameprep; an A-label is not that simple.
_SIMPLE_LOCAL = re.compile(r"[!#-%(-.0-9;=?A-Z\[-~]+")
_SIMPLE_DOMAIN = re.compile(r"(?!.*[xX][nN]--)[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*")
_SIMPLE_RESOURCE = re.compile(r"[ -~]+")


def split(address: str) -> tuple[str, str, str]:
    """Localpart, domainpart and resourcepart, each empty if there is none (RFC 7622, 3.1)."""
    bareJid, _, resource = address.partition("/")
    local, at, domain = bareJid.partition("@")
    return (local, domain, resource) if at else ("", bareJid, resource)


def bare(address: str) -> str:
    """The address without its resourcepart."""
    return address.partition("/")[0]


def resourceOf(address: str) -> str:
    """The resourcepart. There may be `/` and `@` in it."""
    return address.partition("/")[2]


def prepared(address: str) -> str:
    """The spelling that all spellings of an address have in common."""
    bareJid, slash, resource = address.partition("/")
    local, domain, _ = split(bareJid)
    if not domain or bareJid[0] == "@" or (slash and not resource):
        return address  # which is no address
    domain = preparedDomain(domain)
    if local:
        domain = f"{_within(_local, local)}@{domain}"
    return f"{domain}/{_within(_resource, resource)}" if resource else domain


def preparedDomain(domain: str) -> str:
    """The same for a domain: with U-labels, and without the dot that may be at its end."""
    return _within(_domain, domain)


def same(one: str, other: str) -> bool:
    """Whether two addresses are two spellings of one."""
    return one == other or prepared(one) == prepared(other)


def belongs(address: str, account: str) -> bool:
    """
    Whether an address is the account's own, bare or full.

    @param account: the bare JID.
    """
    own = bare(address)
    return own == account or (len(own) <= _LONGEST_BARE and _areOne(own, account))


def isAccount(address: str, account: str) -> bool:
    """The same of bare addresses only."""
    return "/" not in address and belongs(address, account)


def isDomain(address: str, domain: str) -> bool:
    """Whether an address is that of a domain itself."""
    if address == domain:
        return True
    named = "@" in address or "/" in address
    return not named and preparedDomain(address) == preparedDomain(domain)


@lru_cache(_REMEMBERED)
def _areOne(one: str, other: str) -> bool:
    """The same of two bare addresses that may have to be prepared."""
    # The domain first: strangers have another, and the rest of their addresses costs more.
    domain = preparedDomain(split(one)[1])
    return domain == preparedDomain(split(other)[1]) and prepared(one) == prepared(other)


def _within(prepare: Callable[[str], str], part: str) -> str:
    """A part of an address, prepared. One that is too long is none."""
    if len(part) > MOST_BYTES:
        return part
    done = prepare(part)
    return done if done and len(done.encode(errors="replace")) <= MOST_BYTES else part


def _local(local: str) -> str:
    if _SIMPLE_LOCAL.fullmatch(local):
        return local.lower()
    try:
        return str(nodeprep.prepare(local))
    except UnicodeError:
        return local


def _domain(domain: str) -> str:
    if _SIMPLE_DOMAIN.fullmatch(domain):
        return domain.lower()
    try:
        labels = str(nameprep.prepare(domain)).removesuffix(".").split(".")
    except (UnicodeError, IndexError):  # IndexError: an empty label
        return domain
    return ".".join(_uLabel(label) for label in labels)


def _uLabel(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return idna.ToUnicode(label)
    except UnicodeError:
        return label


def _resource(resource: str) -> str:
    if _SIMPLE_RESOURCE.fullmatch(resource):
        return resource
    try:
        return str(resourceprep.prepare(resource))
    except UnicodeError:
        return resource
