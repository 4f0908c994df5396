"""What fuzzers look at: what they found before, and what Hypothesis finds in little time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests import fuzzing
from tests import xmlstrategies as xml
from tests.test_splitter import modest
from tests.tricks import TRICKS
from xmpproxy import ns


class Corpus(SynchronousTestCase):
    """Inputs that broke something once, and some to begin with."""

    def test_corpus(self) -> None:
        """Each at each target: what is nothing to one target breaks nothing there."""
        found = sorted(path for path in fuzzing.CORPUS.glob("*/*") if path.is_file())
        self.assertGreater(len(found), 10)
        for path in found:
            self.assertIn(path.parent.name, fuzzing.TARGETS)
            for name, target in fuzzing.TARGETS.items():
                with self.subTest(file=path.name, target=name):
                    target(path.read_bytes())

    def test_tricks(self) -> None:
        """What smugglers do, both ways."""
        for trick in TRICKS:
            data = trick.to("romeo@example.net")
            if len(data) < 5000:
                fuzzing.client(data)
                fuzzing.server(data)


_anything = st.one_of(xml.soups(), xml.wounded(), st.binary(max_size=40))


class Hypotheses(SynchronousTestCase):
    """Streams that no honest peer sends, and some that one might."""

    @modest
    @given(_anything)
    def test_client(self, data: bytes) -> None:
        """What a client sends."""
        fuzzing.client(data)

    @modest
    @given(_anything)
    def test_server(self, data: bytes) -> None:
        """What a server passes on."""
        fuzzing.server(data)

    @modest
    @given(xml.headers(), _anything)
    def test_stream(self, header: xml.Header, data: bytes) -> None:
        """Behind any header."""
        fuzzing.stream(header.data + data + header.end)

    @modest
    @given(st.lists(xml.tameStanzas(), max_size=3).map(b"".join))
    def test_stanza(self, inside: bytes) -> None:
        """What becomes of a message."""
        fuzzing.stanza(b"<message from='juliet@example.com'>%b</message>" % inside)

    @modest
    @given(
        st.sampled_from(("r", "a", "enable", "enabled", "resume", "resumed", "failed", "x")),
        st.dictionaries(
            st.sampled_from(("h", "max", "id", "previd", "resume", "location")),
            st.text("0123456789+- \ttrue\u0663x", max_size=12),
        ),
    )
    def test_management(self, name: str, attributes: dict[str, str]) -> None:
        """Elements of stream management."""
        written = "".join(f" {key}='{value}'" for key, value in attributes.items())
        for namespace in ns.STREAM_MANAGEMENT:
            fuzzing.management(f"<{name} xmlns='{namespace}'{written}/>".encode())

    @modest
    @given(
        st.one_of(st.binary(), st.text().map(str.encode), st.from_regex(rb"[rsivem=,NONCE0-9]+"))
    )
    def test_login(self, data: bytes) -> None:
        """SASL."""
        fuzzing.login(data)
        fuzzing.login(b"r=NONCE" + data)
