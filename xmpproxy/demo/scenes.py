"""
What is said in the demo, what every window must show of it, and whether it did.

Nothing here knows a network: only who says what, and what that is in each window.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: A resource that a server has made up, too long for a window.
_MADE_UP = re.compile(r"\b([0-9a-f]{4})[0-9a-f]{4}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def short(text: str) -> str:
    """A text to show, with made-up resources cut to their beginning."""
    return _MADE_UP.sub(r"\1..", text)


class Line(NamedTuple):
    """
    A line as a window shows it.

    @ivar who: the writer as far as the window can tell: C{"me"}, or the name of a correspondent.
    @ivar text: the text.
    """

    who: str
    text: str

    def __str__(self) -> str:
        return short(f"{self.who}: {self.text}")


@dataclass(frozen=True)
class Window:
    """
    The window of one client.

    @ivar name: what we call it, and the resource that its client asks for.
    @ivar user: whose client it is.
    @ivar carbons: whether the client knows Message Carbons (XEP-0280).
    @ivar priority: of its presence.
    """

    name: str
    user: str
    carbons: bool = False
    priority: int = 0


class Say(NamedTuple):
    """
    One client sends messages, back to back.

    @ivar speaker: the name of its window.
    @ivar to: a user, for the bare JID; or the name of a window, for its client's full JID.
    @ivar texts: the messages.
    """

    speaker: str
    to: str
    texts: tuple[str, ...]


class Scene(NamedTuple):
    """
    @ivar title: what it is about.
    @ivar windows: the windows that are open.
    @ivar says: what is said; each when every window has shown what was said before.
    """

    title: str
    windows: tuple[Window, ...]
    says: tuple[Say, ...]


HOME = Window("home", "alice")
WORK = Window("work", "alice")
PHONE = Window("phone", "alice", carbons=True, priority=5)
BOB = Window("bob", "bob")

SCENES = (
    Scene(
        "One client of Alice, in and out",
        (HOME, BOB),
        (
            Say("home", "bob", ("Hello Bob.",)),
            Say("bob", "alice", ("Hello Alice!",)),
            Say("bob", "home", ("Lunch at one?",)),
            Say("home", "bob", ("Yes, gladly.",)),
        ),
    ),
    Scene(
        "Two clients, outgoing: what one sends, the other shows",
        (HOME, WORK, BOB),
        (
            Say("home", "bob", ("I am still at home.",)),
            Say("work", "bob", ("And now at work.",)),
            Say("home", "bob", ("Did I leave the light on?",)),
            Say("work", "bob", ("Three", "quick", "lines.")),
        ),
    ),
    Scene(
        "Two clients, incoming: what anybody sends to one, both show",
        (HOME, WORK, BOB),
        (
            Say("bob", "alice", ("This is for Alice.",)),
            Say("bob", "home", ("This is for home only.",)),
            Say("bob", "work", ("This is for work only.",)),
            Say("bob", "alice", ("Knock.", "Knock.", "Anybody there?")),
        ),
    ),
    Scene(
        "Three clients, everything; the phone knows carbons and has the highest priority",
        (HOME, WORK, PHONE, BOB),
        (
            Say("bob", "alice", ("Where are you?",)),
            Say("phone", "bob", ("On the train.",)),
            Say("bob", "work", ("Not at work?",)),
            Say("home", "bob", ("No, this is home.",)),
            Say("bob", "phone", ("So who has the phone?",)),
            Say("work", "bob", ("Me.", "Me.", "Me again.")),
            Say("bob", "alice", ("See", "you", "at", "one!")),
        ),
    ),
)


def due(say: Say, window: Window, speaker: Window, resources: Mapping[str, str]) -> list[Line]:
    """
    The lines that a window must show of what is said.

    @param speaker: the window where it is said.
    @param resources: those that clients have got from the server, by the names of the windows.
    """
    if window == speaker or (window.user == speaker.user and window.carbons):
        who, prefix = "me", ""
    elif window.user == speaker.user:
        # A client that knows no carbons can show it only as a line of the correspondent.
        who, prefix = say.to, f"me@{resources[speaker.name]}: "
    else:
        who, prefix = speaker.user, ""
    return [Line(who, prefix + text) for text in say.texts]


def problems(name: str, expected: Sequence[Line], shown: Sequence[Line]) -> Iterator[str]:
    """
    What is wrong with a window, a sentence each; nothing if it showed every line once, in order.

    @param name: the window's name.
    @param expected: the lines it has to show.
    @param shown: the lines it showed.
    """
    wanted, got = Counter(expected), Counter(shown)
    for line in wanted | got:
        if not wanted[line]:
            yield f'{name} shows "{line}", which nobody said'
        elif got[line] > wanted[line]:
            yield f'{name} shows "{line}" {_times(got[line])} instead of {_times(wanted[line])}'
        elif not got[line]:
            yield f'{name} misses "{line}"'
        elif got[line] < wanted[line]:
            yield f'{name} shows "{line}" only {_times(got[line])} of {wanted[line]}'
    both = wanted & got
    for due, line in zip(_within(both, expected), _within(both, shown), strict=True):
        if line != due:
            yield f'{name} shows "{line}" before "{due}"'
            break


def _within(budget: Counter[Line], lines: Sequence[Line]) -> Iterator[Line]:
    """The lines as long as the budget has them: without those too many."""
    left = budget.copy()
    for line in lines:
        if left[line]:
            left[line] -= 1
            yield line


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
