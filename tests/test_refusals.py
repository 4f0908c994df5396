"""What a server's stream error means."""

from __future__ import annotations

from typing import cast

from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.error import StreamError

from xmpproxy import ns
from xmpproxy.refusals import explained, forClient
from xmpproxy.stanza import Stanza

STREAM_CONDITIONS = [
    "bad-format",
    "bad-namespace-prefix",
    "conflict",
    "connection-timeout",
    "host-gone",
    "host-unknown",
    "improper-addressing",
    "internal-server-error",
    "invalid-from",
    "invalid-namespace",
    "invalid-xml",
    "not-authorized",
    "not-well-formed",
    "policy-violation",
    "remote-connection-failed",
    "reset",
    "resource-constraint",
    "restricted-xml",
    "see-other-host",
    "system-shutdown",
    "undefined-condition",
    "unsupported-encoding",
    "unsupported-feature",
    "unsupported-stanza-type",
    "unsupported-version",
]


def error(condition: str, text: str = "", inside: str = "") -> Stanza:
    """A stream error."""
    told = StreamError(condition, text=text or None).getElement()
    if inside:
        next(told.elements()).addContent(inside)
    return Stanza.fromElement(told)


class Explaining(SynchronousTestCase):
    """What the operator reads."""

    def test_table(self) -> None:
        """Condition, text, and what can be done about it."""
        for condition, mend in (
            ("policy-violation", "exempt the address"),
            ("resource-constraint", "overloaded"),
            ("system-shutdown", "come back by themselves"),
            ("host-unknown", "correct upstream"),
            ("host-gone", "correct upstream"),
            ("internal-server-error", "see the server's log"),
            ("remote-connection-failed", "see the server's log"),
            ("connection-timeout", "overloaded"),
        ):
            said = explained(error(condition, "so it is"))
            self.assertTrue(said.startswith(f"{condition} (so it is); "), said)
            self.assertIn(mend, said)

    def test_elsewhere(self) -> None:
        """Where the server wants to be reached is what matters."""
        said = explained(error("see-other-host", inside="[2001:db8::1]:9222"))
        self.assertIn("see-other-host ([2001:db8::1]:9222); set upstream to that host", said)

    def test_others(self) -> None:
        """What needs no mend, or is no condition at all."""
        self.assertEqual(explained(error("conflict")), "conflict")
        empty = Stanza.fromElement(StreamError("reset").getElement())
        empty.element.children.clear()
        self.assertEqual(explained(empty), "undefined-condition")


class Telling(SynchronousTestCase):
    """What the client gets."""

    def condition(self, condition: str, begun: bool) -> str:
        """What becomes of an error with this condition."""
        told = forClient(error(condition, "so it is"), begun)
        if isinstance(told, StreamError):
            return cast(str, told.condition)
        return cast(
            str, next(each.name for each in told.element.elements() if each.uri == ns.STREAM_ERRORS)
        )

    def test_itsOwn(self) -> None:
        """Once it has begun to authenticate it may be meant: but it is never sent past us."""
        for condition in STREAM_CONDITIONS:
            told = "reset" if condition == "see-other-host" else condition
            self.assertEqual(self.condition(condition, begun=True), told)

    def test_notItsOwn(self) -> None:
        """Before that nothing that makes it give up: all it is told makes it try again."""
        again = {
            "internal-server-error",
            "remote-connection-failed",
            "reset",
            "resource-constraint",
            "system-shutdown",
        }
        for condition in STREAM_CONDITIONS:
            told = self.condition(condition, begun=False)
            self.assertIn(told, again)
            if condition in again:
                self.assertEqual(told, condition)
