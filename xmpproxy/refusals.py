"""
What a server's stream error means (RFC 6120, section 4.9.3): what the operator can do about it, and
what the client is told.

A client has connected to us, not to the server. Told that its host is unknown, or that it violated
a policy which our address did, it might give up for good where it should wait and try again.
"""

from __future__ import annotations

from twisted.words.protocols.jabber.error import StreamError

from xmpproxy import ns
from xmpproxy.stanza import Stanza

_LIMITED = (
    "if it limits what this machine's address may do (connection rates, fail2ban), exempt the "
    "address from that"
)
_STOPPED = "it is being stopped or restarted; clients come back by themselves"
_NOT_SERVED = "correct upstream, or have the server serve the domain"

#: What the operator can do, by condition.
_MENDS = {
    "connection-timeout": "it found the login too slow; see whether this machine is overloaded",
    "host-gone": _NOT_SERVED,
    "host-unknown": _NOT_SERVED,
    "internal-server-error": "see the server's log",
    "policy-violation": _LIMITED,
    "remote-connection-failed": "see the server's log: it misses something it depends on",
    "resource-constraint": f"it is overloaded, or full; {_LIMITED}",
    "see-other-host": "set upstream to that host, if the domain's server is there now",
    "system-shutdown": _STOPPED,
}

#: True of the client's own connection as well, though it has done nothing yet.
_OF_ANYBODY = frozenset(
    {
        "internal-server-error",
        "remote-connection-failed",
        "reset",
        "resource-constraint",
        "system-shutdown",
    }
)


def explained(error: Stanza) -> str:
    """
    What a server's stream error says, for the operator.

    @return: condition and text, then the mend where there is one.
    """
    condition, text = _read(error)
    said = f"{condition} ({text})" if text else condition
    mend = _MENDS.get(condition)
    return f"{said}; {mend}" if mend else said


def forClient(error: Stanza, begun: bool) -> Stanza | StreamError:
    """
    What a client is told.

    @param error: what the server said.
    @param begun: whether the client has begun to authenticate: then it may be meant.
    """
    condition = _read(error)[0]
    if condition == "see-other-host":
        # It would go there, past us.
        return StreamError("reset", text="the server is moving")
    if begun or condition in _OF_ANYBODY:
        return error
    return StreamError("remote-connection-failed", text=f"the server says: {condition}")


def _read(error: Stanza) -> tuple[str, str]:
    """Condition and text."""
    condition = text = ""
    for child in error.element.elements():
        if child.uri != ns.STREAM_ERRORS:
            continue
        if child.name == "text":
            text = str(child)
        elif not condition:
            condition = child.name
            if condition == "see-other-host":
                text = str(child)
    return condition or "undefined-condition", text
