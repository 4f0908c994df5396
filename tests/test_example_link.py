"""The example of a link in the documentation works."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from tests.conversation import DOMAIN, ROMEO, Conversation
from xmpproxy.handlers import CHAIN
from xmpproxy.session import Chain


def example(name: str) -> ModuleType:
    """A module of docs/examples, which is no package."""
    path = Path(__file__).parent.parent / "docs" / "examples" / f"{name}.py"
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


AWAY = "<presence><show>away</show></presence>"
BACK = "<presence/>"
MESSAGE = f"<message  from = '{ROMEO}' type=\"chat\"><body>Art thou gone so?</body></message>"
TYPING = (
    f"<message from='{ROMEO}'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
)


def missed(count: int) -> str:
    """What the client is told then."""
    return (
        f"<message from='{DOMAIN}' type='headline'>"
        f"<body>Messages while you were away: {count}</body></message>"
    )


class AwayTests(Conversation):
    """A client whose session has the example in front of all other links."""

    chain: ClassVar = Chain([example("away").Away, *CHAIN.links])

    def setUp(self) -> None:
        super().setUp()
        self.balcony = self.logsIn("balcony")

    def says(self, presence: str) -> None:
        """The client's presence goes to the server as it is."""
        self.balcony.client.sends(presence)
        self.balcony.server.getsBytes(presence)

    def hears(self, message: str) -> None:
        """The server's message goes to the client as it is."""
        self.balcony.server.sends(message)
        self.balcony.client.getsBytes(message)

    def test_away(self) -> None:
        """It is told once, when it comes back, of what came since it went."""
        self.hears(MESSAGE)
        self.says(AWAY)
        self.hears(MESSAGE)
        self.hears(TYPING)
        self.says("<presence><show>xa</show></presence>")
        self.hears(MESSAGE)
        self.balcony.client.getsNothing()
        self.says(BACK)
        self.balcony.client.gets(missed(2))
        self.hears(MESSAGE)
        self.says(AWAY)
        self.says(BACK)
        self.balcony.client.getsNothing()

    def test_otherPresence(self) -> None:
        """What is said to one person, or is no availability, changes nothing."""
        self.says(AWAY)
        self.hears(MESSAGE)
        self.says(f"<presence to='{ROMEO}'/>")
        self.says(f"<presence to='{ROMEO}' type='subscribed'/>")
        self.balcony.client.getsNothing()
        self.says(BACK)
        self.balcony.client.gets(missed(1))

    def test_eachSessionForItself(self) -> None:
        """A sibling has a link of its own."""
        chamber = self.logsIn("chamber")
        self.says(AWAY)
        head = f"<message from='{ROMEO}' to='{self.balcony.jid}' type='chat'>"
        said = f"{head}<body>Art thou gone so?</body></message>"
        self.hears(said)
        chamber.server.answersPing()
        chamber.client.gets(said.replace("balcony", "chamber"))
        chamber.client.sends(BACK)
        chamber.server.gets(BACK)
        chamber.client.getsNothing()
        self.says(BACK)
        self.balcony.client.gets(missed(1))
