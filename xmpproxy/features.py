"""
What a client may see of the server's stream features (RFC 6120, section 4.3.2).

Only features we know are passed on: a proxy between breaks many, and of an unknown one nobody can
tell. Left out on purpose:

- SASL EXTERNAL: it would assert the proxy's own TLS certificate, not the client's;
- SASL mechanisms with channel binding (C{-PLUS}) and XEP-0440: they bind to the other stream's TLS;
- compression, SASL2 (XEP-0388), C{jabber:iq:auth} (XEP-0078): negotiations we would have to join;
- entity capabilities (XEP-0115, XEP-0390): hashes of answers to disco#info, which the proxy changes
  where it does the carbons; that is not known yet at this point;
- stream management (XEP-0198) and client state indication (XEP-0352): it is ours that is offered,
  whatever the server has;
- in-band registration (XEP-0077) unless configured: a server limits it by address, which is ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from twisted.words.xish import domish

from xmpproxy import ns

_NOT_RELAYED = frozenset({"EXTERNAL"})
_AFTER_LOGIN = (
    (ns.ROSTER_VERSIONING, "ver"),
    (ns.PRE_APPROVAL, "sub"),
)


def mechanisms(features: domish.Element) -> tuple[str, ...]:
    """The SASL mechanisms that a server's features list, in its order."""
    return tuple(
        str(mechanism).strip()
        for offered in features.elements(ns.SASL, "mechanisms")
        for mechanism in offered.elements(ns.SASL, "mechanism")
    )


def channelBindings(features: domish.Element) -> tuple[str, ...] | None:
    """The channel-binding types that a server lists (XEP-0440), L{None} if it lists none."""
    for listed in features.elements(ns.CHANNEL_BINDING, "sasl-channel-binding"):
        return tuple(str(binding.getAttribute("type", "")) for binding in listed.elements())
    return None


def bindsChannel(features: domish.Element) -> bool:
    """Whether the server knows channel binding, so that a client's login cannot be relayed."""
    return channelBindings(features) is not None or any(
        mechanism.endswith("-PLUS") for mechanism in mechanisms(features)
    )


def relayable(offered: Iterable[str]) -> tuple[str, ...]:
    """Of the server's mechanisms those that work between client and server through us."""
    return tuple(
        mechanism
        for mechanism in offered
        if mechanism not in _NOT_RELAYED and not mechanism.endswith("-PLUS")
    )


def hasFeature(features: domish.Element, namespace: str, name: str) -> bool:
    """Whether a feature is among the server's."""
    return any(True for _ in features.elements(namespace, name))


def beforeTLS() -> domish.Element:
    """Features of a stream on which TLS has to come first (RFC 6120, section 5.3.1)."""
    element = domish.Element((ns.STREAMS, "features"))
    element.addElement((ns.TLS, "starttls")).addElement("required")
    return element


def beforeLogin(offered: Iterable[str], registration: bool) -> domish.Element:
    """Features of a stream on which SASL is next, with the mechanisms to offer."""
    element = domish.Element((ns.STREAMS, "features"))
    listed = element.addElement((ns.SASL, "mechanisms"))
    for mechanism in offered:
        listed.addElement("mechanism", content=mechanism)
    if registration:
        element.addElement((ns.REGISTER_FEATURE, "register"))
    return element


def afterLogin(features: domish.Element) -> domish.Element:
    """
    Features of a stream on which resource binding is next.

    @param features: the server's.
    """
    element = domish.Element((ns.STREAMS, "features"))
    element.addElement((ns.BIND, "bind")).addElement("required")
    # Old clients look for it and wait for its answer, so it is there whatever the server has.
    element.addElement((ns.SESSION, "session")).addElement("optional")
    for namespace, name in _AFTER_LOGIN:
        if hasFeature(features, namespace, name):
            element.addElement((namespace, name))
    element.addElement((ns.CSI, "csi"))
    for namespace in ns.STREAM_MANAGEMENT:
        element.addElement((namespace, "sm"))
    return element


@dataclass(frozen=True, slots=True)
class Offers:
    """
    What of a server's features after SASL concerns the proxy itself.

    @ivar session: whether the server itself answers the session iq of RFC 3921.
    @ivar management: the namespace of its stream management (XEP-0198), if it has that.
    """

    session: bool = False
    management: str | None = None


def offers(features: domish.Element) -> Offers:
    """
    What a server has to offer.

    @param features: those after SASL.
    """
    spoken = (each for each in ns.STREAM_MANAGEMENT if hasFeature(features, each, "sm"))
    return Offers(hasFeature(features, ns.SESSION, "session"), next(spoken, None))
