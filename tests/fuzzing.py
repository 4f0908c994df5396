"""
What hostile bytes are thrown at: each function takes any bytes, and fails if something is not as it
must be. C{python -m tests.fuzz} has a fuzzer find the bytes, C{tests.test_fuzzing} Hypothesis; what
either found is in C{tests/corpus}.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from unittest import mock
from zlib import crc32

from twisted.words.protocols.jabber.error import StreamError

from tests import fullparser
from tests import xmlstrategies as xml
from xmpproxy import carbons, copies, fastpath, features, ns, sasl, streammanagement
from xmpproxy.carbons import Direction, Forged
from xmpproxy.expat import DEFERS
from xmpproxy.fastpath import Run, Unwanted
from xmpproxy.splitter import Splitter
from xmpproxy.stanza import Stanza, spans

CORPUS = Path(__file__).parent / "corpus"
ACCOUNT = "juliet@example.com"
HOME = f"{ACCOUNT}/home"

_UNWANTED: Unwanted = (
    ("message", frozenset({ns.CARBONS, ns.DELAY})),
    ("presence", frozenset()),
    ("iq", frozenset({ns.DISCO_INFO})),
)
#: Small, so that short inputs exceed them: bytes, depth, attributes, namespaces.
_SMALL = (300, 7, 17, 9)


class _Outcome:
    """
    What became of a stream.

    @ivar stanzas: what was cut out of it, runs taken apart.
    """

    def __init__(self, splitter: Splitter, reads: Iterable[bytes], unwanted: Unwanted = ()) -> None:
        self.stanzas: list[Stanza] = []
        for read in reads:
            for piece in fastpath.read(splitter, read, unwanted):
                self.stanzas += _parts(piece) if isinstance(piece, Run) else [piece]
        self.ended = splitter.ended
        self.failed = splitter.error is not None
        self.condition = None if splitter.error is None else splitter.error.condition

    @property
    def good(self) -> list[Stanza]:
        """The stanzas up to the first fault: what a strict peer passes on."""
        faults = [stanza.fault is not None for stanza in self.stanzas]
        return self.stanzas[: faults.index(True)] if True in faults else self.stanzas

    def known(self, limited: bool) -> list[tuple[object, ...]]:
        """All that is known of the stanzas; of bad ones no more than that, if they are limited."""
        return [
            (each.data, each.name, each.namespace, each.attributes, each.children, each.fault)
            if each.fault is None or not limited
            else ()
            for each in self.stanzas
        ]


def _parts(run: Run) -> list[Stanza]:
    found = [Stanza.fromBytes(run.data[begin:end]) for begin, end in spans(run.data, 0)]
    stanzas = [stanza for stanza in found if stanza is not None]
    assert len(stanzas) == run.count, "a run has as many stanzas as it says"
    assert b"".join(stanza.data for stanza in stanzas) == run.data
    return stanzas


def _cuts(data: bytes) -> list[list[bytes]]:
    """Ways to read the same bytes; always the same ones."""
    chance = random.Random(crc32(data))
    places = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(6)))
    some = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    size = max(chance.choice((1, 2, 3, 7)), len(data) // 50)  # many take long
    return [some, [data[at : at + size] for at in range(0, len(data), size)]]


def _read(
    stream: bytes, makes: Callable[[], Splitter], header: bytes = b"", limited: bool = False
) -> _Outcome:
    """
    Read a stream: the outcome is the same however it is cut, and whether runs are made or not.

    @param header: what comes before, in a read of its own.
    @param limited: whether stanzas are dropped because of limits. What else is wrong with one, and
        whether that is known, depends on how much of it there is then.
    """
    whole = _Outcome(makes(), [header, stream])
    for reads in ([stream], *_cuts(stream)):
        for unwanted in ((), _UNWANTED):
            other = _Outcome(makes(), [header, *reads], unwanted)
            if "policy-violation" in (whole.condition, other.condition) or (
                DEFERS and whole.failed
            ):
                # When a limit is noticed depends on what there is of a stanza.
                count = min(len(whole.stanzas), len(other.stanzas))
                assert other.known(limited)[:count] == whole.known(limited)[:count]
            else:
                assert other.known(limited) == whole.known(limited)
                assert (other.ended, other.failed) == (whole.ended, whole.failed)
    return whole


def _agrees(stream: bytes, outcome: _Outcome) -> None:
    """A full parser sees the same stanzas in the same places, and takes each of them."""
    good = outcome.good
    trees = []
    for stanza in outcome.stanzas:
        assert (stanza.fault is None) == bool(stanza.data), "nothing is left of a bad one"
        if stanza.fault is None:
            trees.append(_isStanza(stanza))
    assert fullparser.firstLevel(stream, len(good)) == trees[: len(good)]


def _isStanza(stanza: Stanza) -> fullparser.Tree:
    """Its bytes alone are what it says it is."""
    tree = fullparser.tree(stanza.data)
    assert tree is not None, "it is well-formed, with namespaces"
    assert tree[0] == _clark(stanza.namespace, stanza.name)
    names = [child[0] for child in tree[2] if isinstance(child, tuple)]
    assert names == [_clark(*child) for child in stanza.children]
    written = {name: value for name, value in stanza.attributes.items() if ":" not in name}
    written.pop("xmlns", None)
    assert written == {name: value for name, value in tree[1] if not name.startswith("{")}
    return tree


def _clark(namespace: str, name: str) -> str:
    return f"{{{namespace}}}{name}" if namespace else name


# The targets


def client(data: bytes) -> None:
    """What a client sends behind its header."""
    outcome = _read(data, Splitter, xml.PLAIN.data)
    _agrees(xml.PLAIN.data + data, outcome)
    _read(data, lambda: Splitter(*_SMALL), xml.PLAIN.data, True)


def server(data: bytes) -> None:
    """What a server sends behind its header, strangers' stanzas among it."""
    _agrees(xml.PLAIN.data + data, _read(data, lambda: Splitter(lenient=True), xml.PLAIN.data))
    small = _read(data, lambda: Splitter(*_SMALL, lenient=True), xml.PLAIN.data, True)
    for stanza in small.stanzas:
        assert (stanza.fault is None) == bool(stanza.data)
        assert len(stanza.data) <= _SMALL[0]


def stream(data: bytes) -> None:
    """A whole stream, header and all."""
    outcome = _read(data, Splitter)
    _agrees(data, outcome)


def stanza(data: bytes) -> None:
    """What a stanza becomes: copies, carbons, less than it was."""
    for each in Splitter().feed(xml.PLAIN.data + data):
        if each.fault is None and (each.namespace, each.name) == (ns.CLIENT, "message"):
            _copied(each)


def _copied(message: Stanza) -> None:
    repr(message)
    copies.isLine(message)
    copies.corrects(message)
    changed = [copies.withoutForged(message, ACCOUNT, stamped) for stamped in (True, False)]
    changed += [carbons.withoutPrivate(message)]
    if carbons.isPrivate(message):
        changed.append(carbons.hinted(message))
    for each in changed:
        _isStanza(each)
    for direction in Direction:
        carbons.eligible(message, direction, ACCOUNT)
        wrapped = carbons.wrap(message, direction, ACCOUNT, HOME, HOME)
        carbon = _again(wrapped)
        assert carbon.attributes["to"] == HOME and carbon.attributes["from"] == ACCOUNT
        found = _unwrapped(carbon)
        if found is not None:
            assert found[0] is direction
            inner = _again(carbons.wrap(found[1], direction, ACCOUNT, HOME, HOME))
            assert fullparser.tree(inner.data) == fullparser.tree(carbon.data)
    _unwrapped(message)
    received = _again(copies.received(message, HOME))
    assert received.attributes["to"] == HOME
    assert received.attributes.get("from") == message.attributes.get("from")
    for mode in ("prefix", "self"):
        sent = copies.sent(message, HOME, f"{ACCOUNT}/work", mode, "me@{resource}: ", "id", "<1>")
        if sent is not None:
            copy = _again(sent)
            assert (copy.attributes["to"], copy.attributes["id"]) == (HOME, "id")
            assert copy.type == "chat"


def _again(data: bytes) -> Stanza:
    """One stanza that we have written."""
    splitter = Splitter(2**24)
    [found] = splitter.feed(xml.PLAIN.data + data)
    assert splitter.error is None and found.fault is None
    assert found.data == data
    _isStanza(found)
    return found


def _unwrapped(carbon: Stanza) -> tuple[Direction, Stanza] | None:
    """What is inside of a carbon, by both ways to find it: they agree."""

    def inside() -> tuple[Direction, Stanza] | None:
        try:
            return carbons.unwrap(carbon, ACCOUNT)
        except Forged:
            return None

    found = inside()
    with mock.patch.object(carbons, "_cutOut", return_value=None):
        other = inside()
    assert (found is None) == (other is None)
    if found is None or other is None:
        return None
    _isStanza(found[1])
    assert found[0] is other[0]
    assert fullparser.tree(found[1].data) == fullparser.tree(other[1].data)
    assert found[1].children == other[1].children
    return found


def management(data: bytes) -> None:
    """Elements of stream management."""
    for each in Splitter().feed(xml.PLAIN.data + data):
        if each.fault is None and each.namespace in ns.STREAM_MANAGEMENT:
            try:
                element = streammanagement.parse(each)
            except (streammanagement.Refused, StreamError):
                continue
            [again] = Splitter().feed(xml.PLAIN.data + element.written(each.namespace))
            assert streammanagement.parse(again) == element


def offered(data: bytes) -> None:
    """Stream features of a server."""
    for each in Splitter(lenient=True).feed(xml.PLAIN.data + data):
        if each.fault is None and (each.namespace, each.name) == (ns.STREAMS, "features"):
            tree = each.element
            features.bindsChannel(tree)
            features.channelBindings(tree)
            features.offers(tree)
            mechanisms = features.relayable(features.mechanisms(tree))
            for shown in (features.beforeLogin(mechanisms, True), features.afterLogin(tree)):
                _isStanza(Stanza.fromElement(shown))


def login(data: bytes) -> None:
    """SASL: a client's message of PLAIN, and a server's challenges."""
    text = data.decode("utf-8", "replace")
    with suppress(sasl.SaslError):
        sasl.parsePlain(sasl.decode(text)).checkAuthzid("example.com")
    with suppress(sasl.SaslError):
        sasl.parsePlain(data).checkAuthzid("example.com")
    credentials = sasl.PlainCredentials("", "juliet", "R0m30")
    with mock.patch.object(sasl, "MAX_ITERATIONS", 5000):
        mechanism = sasl.choose(("SCRAM-SHA-256",), credentials, {}, None, secure=False)
        assert mechanism is not None
        nonce = mechanism.initialResponse().rpartition(b"=")[2]
        first, _, final = data.replace(b"NONCE", nonce).partition(b"\n")
        try:
            mechanism.respond(first)
            mechanism.finish(final)
        except sasl.SaslError:
            return
    raise AssertionError("nobody can know the password")


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (client, server, stream, stanza, management, offered, login)
}
