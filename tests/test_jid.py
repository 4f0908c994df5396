"""Addresses: what is one, and what is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy import jid

#: Spellings of one address each: how it is prepared comes first.
SPELLINGS = (
    ("alice@example.com", "Alice@example.com", "ALICE@EXAMPLE.COM", "alice@example.com."),
    # Letters of another width, invisible characters, and a domain with a dot of another width.
    ("alice@example.com", "\uff41lice@example.com", "al\u00adice@example.com"),
    ("alice@example.com", "alice\u200b@example.com", "alice@example\u3002com"),
    # As servers have it; PRECIS would say that there are three.
    ("strasse@example.com", "straße@example.com", "STRASSE@example.com"),
    ("σίσυφοσ@example.com", "Σίσυφος@example.com", "ΣΊΣΥΦΟΣ@example.com"),
    ("å@example.com", "A\u030a@example.com", "\u212b@example.com"),
    ("alice@münchen.example", "alice@MÜNCHEN.example", "alice@xn--mnchen-3ya.example"),
    ("example.com", "EXAMPLE.com", "example.com."),
    # Letters that a regular expression takes for ASCII if it ignores case.
    ("sikh.example", "\u017fi\u212ah.example"),
    # The resource's case counts. There may be anything in it.
    ("alice@example.com/Desk", "Alice@Example.com/Desk", "ALICE@example.com/De\u00adsk"),
    ("alice@example.com/a/b@c", "ALICE@example.com/a/b@c"),
    ("alice@example.com/é", "alice@example.com/e\u0301"),
    ("example.com/a@b", "EXAMPLE.com/a@b"),
    # The longest that there is.
    ("x" * 1023 + "@example.com", "X" * 1023 + "@example.com"),
)

#: Of which no two are one.
APART = (
    "alice@example.com",
    "\u0430lice@example.com",  # Cyrillic
    "a\u04cfice@example.com",
    "al1ce@example.com",
    "al\u0131ce@example.com",  # dotless
    "alice.@example.com",
    "alice@example.com/desk",
    "alice@example.com/Desk",
    "alice@example.com/desk ",
    "alice@example.org",
    "alice@example.com.example.org",
    "alice@example@com",
    "example.com",
    "example.com/alice",
    "example.com/alice@example.com",
    "alice/@example.com",
    # What nodeprep and nameprep forbid is equal to itself alone, whatever the case is.
    'al"ice@example.com',
    'AL"ICE@example.com',
    "al ice@example.com",
    "AL ICE@example.com",
    "alice\u202e@example.com",
    "ALICE\u202e@example.com",
    "\u05d0a\u05d0@example.com",
    "😀a@example.com",  # not in Unicode 3.2
    "😀A@example.com",
    "alice@-example.com",
    "alice@xn--zzzzzz.example",  # no label that has a U-label
    "a" * 1024 + "@example.com",
    "A" * 1024 + "@example.com",
    "\ufdfa" * 300 + "@example.com",  # 5,400 letters, once it is prepared
    "@example.com",
    "alice@",
    "\u00ad@example.com",
    "@",
    "/",
    "",
)


class Spelling(SynchronousTestCase):
    """Two spellings, one address."""

    def test_same(self) -> None:
        """All spellings of an address are prepared to one, and that stays as it is."""
        for first, *others in SPELLINGS:
            for other in (first, *others):
                with self.subTest(other):
                    self.assertEqual(jid.prepared(other), first)
                    self.assertTrue(jid.same(other, first))

    def test_belongs(self) -> None:
        """They belong to one account, with or without a resource, whichever spelling is whose."""
        for first, *others in SPELLINGS:
            if "@" in jid.bare(first):
                for other in others:
                    with self.subTest(other):
                        self.assertTrue(jid.belongs(other, jid.bare(first)))
                        self.assertTrue(jid.belongs(first, jid.bare(other)))
                        self.assertEqual(jid.isAccount(other, jid.bare(first)), "/" not in other)

    def test_apart(self) -> None:
        """What only looks like another, or cannot be prepared, is another."""
        for one in APART:
            for other in APART:
                with self.subTest(one=one[:50], other=other[:50]):
                    self.assertEqual(jid.same(one, other), one is other)
                    if jid.bare(one) != jid.bare(other):
                        self.assertFalse(jid.belongs(one, jid.bare(other)))

    def test_domain(self) -> None:
        """A domain's address, and nothing at it."""
        for address in ("example.com", "EXAMPLE.com.", "example.com."):
            self.assertTrue(jid.isDomain(address, "example.com"))
        for address in ("a@example.com", "example.com/a", "example.org", ""):
            self.assertFalse(jid.isDomain(address, "example.com"))
        self.assertTrue(jid.isDomain("xn--mnchen-3ya.example", "münchen.example"))
        self.assertTrue(jid.isDomain("münchen.example", "xn--mnchen-3ya.example"))

    def test_longLabel(self) -> None:
        """A label that DNS would not have, and that would take long to decode, is left alone."""
        domain = "xn--" + "a" * 1000
        self.assertEqual(jid.preparedDomain(domain), domain)


class Parts(SynchronousTestCase):
    """Where an address is split (RFC 7622, section 3.1)."""

    def test_split(self) -> None:
        """At the first slash, and at the first at-sign before that."""
        for address, parts in {
            "a@b/c": ("a", "b", "c"),
            "a@b": ("a", "b", ""),
            "b": ("", "b", ""),
            "b/c": ("", "b", "c"),
            "b/a@b/c": ("", "b", "a@b/c"),
            "a@b/c/d@e": ("a", "b", "c/d@e"),
            "a@b@c": ("a", "b@c", ""),
            "a@b/": ("a", "b", ""),
        }.items():
            with self.subTest(address):
                self.assertEqual(jid.split(address), parts)
                self.assertEqual(jid.resourceOf(address), parts[2])


_parts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["alice", "Alice", "ß", "ss", "example.com", "xn--mnchen-3ya", "İ", "ﬁ", "\u0345", "ς"]
)
_addresses = st.one_of(
    st.builds("{}@{}".format, _parts, _parts),
    st.builds("{}@{}/{}".format, _parts, _parts, _parts),
    st.text(max_size=12),
)


class Properties(SynchronousTestCase):
    """Whatever an address is."""

    @given(_addresses)
    def test_prepared(self, address: str) -> None:
        """Preparing does not fail, and what is prepared stays as it is."""
        once = jid.prepared(address)
        self.assertEqual(jid.prepared(once), once)
        self.assertTrue(jid.same(address, once))

    @given(_addresses, _addresses)
    def test_apart(self, one: str, other: str) -> None:
        """Two are one if they are prepared to one, and then in every part."""
        self.assertEqual(jid.same(one, other), jid.prepared(one) == jid.prepared(other))
        if jid.same(one, other):
            self.assertTrue(jid.belongs(one, jid.bare(other)))
        self.assertEqual(
            jid.belongs(one, jid.bare(other)), jid.belongs(other, jid.bare(one)), (one, other)
        )

    @given(st.from_regex(r"[a-zA-Z0-9._+-]{1,20}@[a-z0-9]{1,20}\.(com|org)", fullmatch=True))
    def test_case(self, address: str) -> None:
        """An account is not split in two by case."""
        self.assertTrue(jid.same(address.upper(), address.lower()))
