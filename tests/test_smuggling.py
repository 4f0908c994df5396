"""What smuggles stanzas past one parser gets past none of ours."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests import fullparser
from tests.conversation import JULIET, ROMEO, Conversation
from tests.test_fastpath import UNWANTED
from tests.test_splitter import HEADER, crumbs
from tests.tricks import TRICKS, Trick, addressed
from xmpproxy import fastpath
from xmpproxy.fastpath import Run
from xmpproxy.splitter import Splitter
from xmpproxy.stanza import Stanza, spans

BEFORE = b"<presence><status>before</status></presence>"
BEHIND = b"<message><body>smuggled</body></message>"
#: Refused by what they mean, not by how they are written.
_BY_MEANING = "unsupported-stanza-type"


class AtTheSplitter(SynchronousTestCase):
    """Both ways of reading, in reads of all kinds."""

    def test_tricks(self) -> None:
        """Each row."""
        for trick in TRICKS:
            data = trick.to(ROMEO)
            cut = len(data) // 2
            self.check(trick, [data + BEHIND])
            self.check(trick, [data[:cut], data[cut:], BEHIND])
            if len(data) < 1000:
                self.check(trick, list(crumbs(data + BEHIND)))

    def check(self, trick: Trick, reads: list[bytes]) -> None:
        """What passes is what a full parser sees; behind what does not, nothing passes."""
        for unwanted in ((), UNWANTED):
            splitter = Splitter()
            splitter.feed(HEADER)
            pieces = [
                piece
                for read in (BEFORE, *reads)
                for piece in fastpath.read(splitter, read, unwanted)
            ]
            stanzas = [stanza for piece in pieces for stanza in _each(piece)]
            self.assertEqual(stanzas[0].data, BEFORE)
            good = [stanza.fault is None for stanza in stanzas]
            if trick.condition in (None, _BY_MEANING):
                self.assertIsNone(splitter.error, trick.name)
                self.assertEqual(good, [True] * 3, trick.name)
                whole = b"".join((HEADER, BEFORE, *reads))
                self.assertEqual(
                    fullparser.firstLevel(whole, len(stanzas)),
                    [fullparser.tree(stanza.data) for stanza in stanzas],
                )
            elif splitter.error is None:
                # Well-formed but for its namespaces: the stanza is refused, the next is not read.
                self.assertEqual((good, trick.condition), ([True, False, True], "not-well-formed"))
            else:
                self.assertEqual(splitter.error.condition, trick.condition, trick.name)
                passed = [each.data for each in stanzas[1:]]
                before = addressed(trick.before, ROMEO)
                self.assertEqual(passed, [before] if before else [], trick.name)
                self.assertEqual(set(good), {True})


def _each(piece: Stanza) -> list[Stanza]:
    if not isinstance(piece, Run):
        return [piece]
    found = [Stanza.fromBytes(piece.data[begin:end]) for begin, end in spans(piece.data, 0)]
    return [stanza for stanza in found if stanza is not None]


class InASession(Conversation):
    """From a client that is logged in."""

    def test_tricks(self) -> None:
        """The server gets what came before and what is right, and never what is behind a wrong."""
        bystander = self.logsIn("balcony", "nurse")
        for number, trick in enumerate(TRICKS):
            culprit = self.logsIn("balcony", f"mallory{number}")
            culprit.client.sends(BEFORE + trick.to(ROMEO) + BEHIND)
            culprit.server.gets(BEFORE.decode())
            if trick.condition is None:
                culprit.server.getsBytes(trick.to(ROMEO).strip().decode())
                culprit.server.gets(BEHIND.decode())
            else:
                if trick.before:
                    culprit.server.getsBytes(addressed(trick.before, ROMEO).decode())
                culprit.client.getsError(trick.condition)
                culprit.server.getsEnd()
            culprit.client.vanishes()
            culprit.server.ignores = True
            culprit.server.vanishes()
            culprit.server._came.clear()
        bystander.server.sends(f"<message from='{JULIET}'/>")
        bystander.client.gets(f"<message from='{JULIET}'/>")
