"""Conversations about one client's choice: by the operator, and by the client (XEP-0050)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, get_args

from twisted.words.xish.domish import Element

from tests.conversation import DOMAIN, JULIET, ROMEO, Conversation, Window
from tests.test_conversation_mirror import (
    ORCHARD,
    body,
    carbon,
    disco,
    discovered,
    message,
    wantsCarbons,
)
from xmpproxy import config, ns
from xmpproxy.handlers.commands import LABELS, NAME, NODE

OURS = f"<item jid='{JULIET}' node='{NODE}' name='{NAME}'/>"


def command(payload: str = "", type: str = "set", to: str = JULIET, **attributes: str) -> str:
    """A client's request."""
    wanted = {"node": NODE} | attributes
    written = "".join(f" {name}='{value}'" for name, value in wanted.items())
    address = f" to='{to}'" if to else ""
    return (
        f"<iq type='{type}' id='x'{address}>"
        f"<command xmlns='{ns.COMMANDS}'{written}>{payload}</command></iq>"
    )


def filledIn(*values: str, var: str = "mode", type: str = "submit") -> str:
    """A form that was filled in."""
    written = "".join(f"<value>{value}</value>" for value in values)
    return f"<x xmlns='{ns.DATA_FORMS}' type='{type}'><field var='{var}'>{written}</field></x>"


def step(jid: str, status: str, inside: str, session: str = "*") -> str:
    """An answer of the command."""
    return (
        f"<iq type='result' id='x' from='{JULIET}' to='{jid}'><command xmlns='{ns.COMMANDS}' "
        f"node='{NODE}' sessionid='{session}' status='{status}' xml:lang='en'>{inside}</command>"
        "</iq>"
    )


def completed(jid: str, session: str = "*") -> str:
    """The answer when a choice was made, whatever it says."""
    return step(jid, "completed", "<note type='info'>*</note>", session)


def refused(jid: str, condition: str) -> str:
    """The error of a request that cannot be followed."""
    return (
        f"<iq type='error' id='x' from='{JULIET}' to='{jid}'><error type='modify' code='400'>"
        f"<bad-request xmlns='{ns.STANZA_ERRORS}'/><{condition} xmlns='{ns.COMMANDS}'/>"
        "</error></iq>"
    )


def commands(type: str = "get", to: str = JULIET, node: str = ns.COMMANDS) -> str:
    """A client asks for the list of commands."""
    address = f" to='{to}'" if to else ""
    return f"<iq type='{type}' id='l'{address}><query xmlns='{ns.DISCO_ITEMS}' node='{node}'/></iq>"


def listing(*items: str) -> str:
    """A list of commands."""
    return f"<query xmlns='{ns.DISCO_ITEMS}' node='{ns.COMMANDS}'>{''.join(items)}</query>"


class Choice(Conversation):
    """A client chooses."""

    def setUp(self) -> None:
        super().setUp()
        self.balcony, self.chamber = self.logsIn("balcony"), self.logsIn("chamber")

    def chooses(self, mode: str) -> None:
        """The one in the chamber."""
        self.chamber.client.sends(command(filledIn(mode)))
        self.chamber.client.gets(completed(self.chamber.jid))

    def isShown(self, from_: str, text: str, window: Window | None = None) -> None:
        """What the one on the balcony says."""
        self.says()
        window = window or self.chamber
        window.client.gets(message(body(text), from_, window.jid, id="*"))

    def says(self) -> None:
        """The one on the balcony, to Romeo."""
        self.balcony.client.sends(message(body("Good night"), to=ORCHARD))
        self.balcony.server.gets(message(body("Good night"), to=ORCHARD))

    def test_form(self) -> None:
        """It is asked for, filled in, and answered by a note. The server hears nothing of it."""
        self.chamber.client.sends(command(action="execute"))
        answer = self.chamber.client.gets(
            step(
                self.chamber.jid,
                "executing",
                "<actions execute='complete'><complete/></actions>"
                f"<x xmlns='{ns.DATA_FORMS}' type='form'>*</x>",
            )
        )
        form = next(answer.firstChildElement().elements(ns.DATA_FORMS, "x"))
        self.assertEqual(str(form.title), NAME)
        instructions = [str(each) for each in form.elements(ns.DATA_FORMS, "instructions")]
        self.assertIn("until this client logs out", instructions[-1])
        self.assertTrue(instructions[-1].endswith(f"Without one it is: {LABELS['prefix']}."))
        kind, choice = form.elements(ns.DATA_FORMS, "field")
        self.assertEqual(
            (kind["var"], kind["type"], str(kind.value)), ("FORM_TYPE", "hidden", NODE)
        )
        self.assertEqual((choice["var"], choice["type"]), ("mode", "list-single"))
        self.assertEqual(str(choice.value), "prefix")
        self.assertEqual(
            {str(each.value): each["label"] for each in choice.elements(ns.DATA_FORMS, "option")},
            LABELS,
        )
        session = answer.command["sessionid"]
        self.assertTrue(session)
        self.chamber.client.sends(command(filledIn("off"), action="complete", sessionid=session))
        done = self.chamber.client.gets(completed(self.chamber.jid, session))
        self.assertIn(LABELS["off"], str(done.command.note))
        self.chamber.server.getsNothing()
        self.says()
        self.chamber.client.getsNothing()
        self.assertLogged(self.chamber.jid, "chosen", "off")

    def test_currentChoice(self) -> None:
        """The form shows what holds now, and still says what would without it."""
        self.chooses("off")
        self.chamber.client.sends(command())
        answer = self.chamber.client.gets(step(self.chamber.jid, "executing", "*"))
        form = next(answer.firstChildElement().elements(ns.DATA_FORMS, "x"))
        _, choice = form.elements(ns.DATA_FORMS, "field")
        self.assertEqual(str(choice.value), "off")
        self.assertIn(f"Without one it is: {LABELS['prefix']}.", form.toXml())

    def test_everyMode(self) -> None:
        """Each of them holds at once, and another one can be chosen."""
        self.assertEqual(tuple(LABELS), get_args(config.PlainCopies))
        self.isShown(ROMEO, "me@balcony: Good night")
        self.chooses("self")
        self.isShown(self.balcony.jid, "Good night")
        self.chooses("off")
        self.says()
        self.chamber.client.getsNothing()
        self.chooses("prefix")
        self.isShown(ROMEO, "me@balcony: Good night")

    def test_ofOneSession(self) -> None:
        """Nobody else's windows change, nor those of the client's next session."""
        closet = self.logsIn("closet")
        self.chooses("off")
        self.isShown(ROMEO, "me@balcony: Good night", closet)
        self.chamber.client.closes()
        self.chamber.client.isLeft()
        self.chamber.server.getsEnd()
        self.chamber.server.closes()
        self.chamber.server.losesConnection()
        self.chamber = self.logsIn("chamber")
        self.isShown(ROMEO, "me@balcony: Good night")
        closet.client.gets(message(body("me@balcony: Good night"), ROMEO, closet.jid, id="*"))

    def test_incomingIsShown(self) -> None:
        """The choice is about what was sent. What comes in is shown to all."""
        self.chooses("off")
        self.balcony.server.sends(message(body("She speaks"), ORCHARD, self.balcony.jid))
        self.balcony.client.gets(message(body("She speaks"), ORCHARD, self.balcony.jid))
        self.chamber.server.answersPing()
        self.chamber.client.gets(message(body("She speaks"), ORCHARD, self.chamber.jid))

    def test_carbons(self) -> None:
        """They do not depend on it."""
        self.chooses("off")
        wantsCarbons(self.chamber)
        self.says()
        inner = message(body("Good night"), self.balcony.jid, ORCHARD)
        self.chamber.client.gets(carbon("sent", inner, self.chamber.jid))

    def test_actions(self) -> None:
        """All that can mean "do it", and ways to write it: without `to`, prefixed, as CDATA."""
        for request in (
            command(filledIn("self"), action="execute"),
            command(filledIn("self"), action="next"),
            command(filledIn("self"), action="complete"),
            command(filledIn("self"), to=""),
            command(filledIn("<![CDATA[self]]>")),
            command(filledIn("self", type="cancel")),  # section 3.5.1: take it for a submit
            f"<iq type='set' id='x' xmlns:c='{ns.COMMANDS}' xmlns:d='{ns.DATA_FORMS}'>"
            f"<c:command node='{NODE}'><d:x type='submit'><d:field var='mode'>"
            "<d:value>self</d:value></d:field></d:x></c:command></iq>",
        ):
            self.chooses("off")
            self.chamber.client.sends(request)
            self.chamber.client.gets(completed(self.chamber.jid))
            self.isShown(self.balcony.jid, "Good night")

    def test_session(self) -> None:
        """Each request says all: a session that nobody began is as good as any."""
        session = "&lt;&quot;&amp;&apos;>"
        self.chamber.client.sends(command(filledIn("off"), sessionid=session))
        self.chamber.client.gets(completed(self.chamber.jid, session))
        ids = set()
        for _ in range(2):
            self.chamber.client.sends(command())
            answer = self.chamber.client.gets(step(self.chamber.jid, "executing", "*"))
            ids.add(answer.command["sessionid"])
        self.assertEqual(len(ids), 2)

    def test_cancel(self) -> None:
        """Nothing changes, whatever is in the form."""
        self.chamber.client.sends(command(filledIn("off"), action="cancel", sessionid="s"))
        self.chamber.client.gets(step(self.chamber.jid, "canceled", "", "s"))
        self.isShown(ROMEO, "me@balcony: Good night")

    def test_badRequests(self) -> None:
        """They are refused, and nothing changes."""
        for request, condition in (
            (command(filledIn("loud")), "bad-payload"),
            (command(filledIn("Off")), "bad-payload"),
            (command(filledIn("off", "self")), "bad-payload"),
            (command(filledIn()), "bad-payload"),
            (command(filledIn("off", var="colour")), "bad-payload"),
            (command(filledIn("off") + filledIn("off")), "bad-payload"),
            (command(f"<x xmlns='{ns.DATA_FORMS}'/>"), "bad-payload"),
            (command(action="complete"), "bad-payload"),
            (command("<x xmlns='urn:example'/>", action="next"), "bad-payload"),
            (command(filledIn("off"), action="prev"), "bad-action"),
            (command(filledIn("off"), action="dance"), "malformed-action"),
            (command(filledIn("off"), action=""), "malformed-action"),
        ):
            self.chamber.client.sends(request)
            self.chamber.client.gets(refused(self.chamber.jid, condition))
        self.isShown(ROMEO, "me@balcony: Good night")

    def test_notOurs(self) -> None:
        """Another's command, another command, and what is no request go to the server untouched."""
        for request in (
            command(node="urn:example"),
            command(to=DOMAIN),
            command(to=ROMEO),
            command(to=self.balcony.jid),
            command(to=self.chamber.jid),
            command(type="get"),
            command(type="result"),
            f"<iq type='set' id='x'><command xmlns='{ns.COMMANDS}'/></iq>",
            f"<iq type='set' id='x'><query xmlns='{ns.COMMANDS}' node='{NODE}'/></iq>",
            f"<iq type='set'><command xmlns='{ns.COMMANDS}' node='{NODE}'/></iq>",
        ):
            self.chamber.client.sends(request)
            self.chamber.server.getsBytes(request)

    def test_strangers(self) -> None:
        """Nobody else can choose for a client: what comes from the server is passed to it."""
        request = command(filledIn("off")).replace("<iq", f"<iq from='{ORCHARD}'")
        self.chamber.server.sends(request)
        self.chamber.client.getsBytes(request)
        self.isShown(ROMEO, "me@balcony: Good night")

    def test_asDocumented(self) -> None:
        """What README.rst gives to scripts works."""
        readme = (Path(__file__).parent.parent / "README.rst").read_text()
        (example,) = re.findall(r"<iq type='set'.*?</iq>", readme, re.DOTALL)
        self.chamber.client.sends(example.replace("id='1'", "id='x'"))
        self.chamber.client.gets(completed(self.chamber.jid))
        self.says()
        self.chamber.client.getsNothing()


CARBONS = (ns.CARBONS, ns.CARBONS_RULES)


class Asking(Conversation):
    """
    A client looks for the command.

    @cvar carbons: whether the server has carbons.
    """

    carbons = False

    def setUp(self) -> None:
        super().setUp()
        self.window = self.logsIn("balcony", carbons=self.carbons)

    def asks(self, question: str, answer: str, shown: str | None = None) -> None:
        """The client asks, the server answers, the client is shown something else perhaps."""
        self.window.client.sends(question)
        self.window.server.getsBytes(question)
        self.window.server.sends(answer)
        if shown is None:
            self.window.client.getsBytes(answer)
        else:
            self.window.client.gets(shown)

    def asksForList(self, question: str | None = None) -> Element:
        """The client asks for the list; the proxy asks the server, in its own name."""
        self.window.client.sends(question or commands())
        return self.window.server.gets(commands().replace("id='l'", "id='*'"))

    def getsList(self, *items: str) -> None:
        """It gets the answer."""
        self.window.client.gets(
            f"<iq type='result' id='l' from='{JULIET}' to='{self.window.jid}'>"
            f"{listing(*items)}</iq>"
        )

    def answers(self, asked: Element, answer: str, type: str = "result") -> None:
        """The server answers the proxy's question."""
        self.window.server.sends(
            f"<iq type='{type}' id='{asked['id']}' from='{JULIET}'>{answer}</iq>"
        )


class ServersCarbons(Asking):
    """The server has carbons."""

    carbons = True

    def test_feature(self) -> None:
        """Its answers stay its own: the list tells of the command."""
        self.asks(disco(JULIET), discovered("urn:xmpp:ping", from_=JULIET))
        self.answers(self.asksForList(), listing())
        self.getsList(OURS)


class Discovery(Asking):
    """The server has no carbons."""

    def test_feature(self) -> None:
        """The account has commands, whether the server says so or not."""
        for to in (JULIET, ""):
            self.asks(
                disco(to),
                discovered("urn:xmpp:ping", from_=JULIET),
                discovered("urn:xmpp:ping", *CARBONS, ns.COMMANDS, from_=JULIET),
            )
            self.asks(
                disco(to),
                discovered(ns.COMMANDS, "urn:xmpp:ping", from_=JULIET),
                discovered(ns.COMMANDS, "urn:xmpp:ping", *CARBONS, from_=JULIET),
            )

    def test_featureOfOthers(self) -> None:
        """Everybody else speaks for themselves."""
        for to in (ROMEO, self.window.jid):
            self.asks(disco(to), discovered(from_=to))

    def test_twoQuestionsAtOnce(self) -> None:
        """Each address's answer is its own."""
        self.window.client.sends(disco(JULIET).replace("'d'", "'1'"))
        self.window.client.sends(disco(DOMAIN).replace("'d'", "'2'"))
        self.window.server.gets(disco(JULIET).replace("'d'", "'1'"))
        self.window.server.gets(disco(DOMAIN).replace("'d'", "'2'"))
        ofServer = discovered(from_=DOMAIN).replace("'d'", "'2'")
        self.window.server.sends(ofServer)
        self.window.client.gets(discovered(*CARBONS, from_=DOMAIN).replace("'d'", "'2'"))
        self.window.server.sends(discovered(from_=JULIET).replace("'d'", "'1'"))
        self.window.client.gets(
            discovered(*CARBONS, ns.COMMANDS, from_=JULIET).replace("'d'", "'1'")
        )

    def test_list(self) -> None:
        """Ours is one of those that the server has."""
        theirs = f"<item jid='{JULIET}' node='urn:example' name='&lt;Their&apos;s>'/>"
        for question in (commands(), commands(to="")):
            asked = self.asksForList(question)
            self.window.client.getsNothing()
            self.answers(asked, listing(theirs))
            self.getsList(theirs, OURS)

    def test_listOfTwoProxies(self) -> None:
        """The one that the client is connected to lists it, and answers."""
        self.answers(self.asksForList(), listing(OURS))
        self.getsList(OURS)

    def test_listOfNone(self) -> None:
        """The server has none, does not know what that is, or says nothing that makes sense."""
        error = f"<error type='cancel'><item-not-found xmlns='{ns.STANZA_ERRORS}'/></error>"
        for answer, type in (
            (listing(), "result"),
            (listing() + error, "error"),
            (error, "error"),
            ("", "result"),
            ("<query xmlns='urn:example'/>", "result"),
        ):
            self.answers(self.asksForList(), answer, type)
            self.getsList(OURS)

    def test_listThatNeverComes(self) -> None:
        """A server that does not answer costs no more than a few questions' memory."""
        asked = [self.asksForList() for _ in range(64)]
        self.window.client.sends(commands())
        self.window.server.getsBytes(commands())
        self.answers(asked[0], "")
        self.getsList(OURS)
        self.asksForList()

    def test_otherLists(self) -> None:
        """What is not the list of the account's commands goes to the server."""
        for question in (
            commands(to=DOMAIN),
            commands(to=ROMEO),
            commands(to=self.window.jid),
            commands(node=NODE),
            commands(type="set"),
            f"<iq type='get' id='l' to='{JULIET}'><query xmlns='{ns.DISCO_ITEMS}'/></iq>",
        ):
            self.window.client.sends(question)
            self.window.server.getsBytes(question)

    def test_information(self) -> None:
        """What the command is (section 2.2), the proxy knows."""
        self.window.client.sends(disco(JULIET, NODE))
        self.window.client.gets(
            f"<iq type='result' id='d' from='{JULIET}' to='{self.window.jid}'>"
            f"<query xmlns='{ns.DISCO_INFO}' node='{NODE}'>"
            f"<identity category='automation' type='command-node' name='{NAME}'/>"
            f"<feature var='{ns.COMMANDS}'/><feature var='{ns.DATA_FORMS}'/></query></iq>"
        )
        self.window.server.getsNothing()

    def test_otherNodes(self) -> None:
        """Of other nodes, and other addresses, it does not."""
        self.asks(disco(JULIET, "urn:x"), discovered(from_=JULIET, node="urn:x"))
        self.asks(disco(DOMAIN, NODE), discovered(from_=DOMAIN, node=NODE))


class OperatorsChoice(Conversation):
    """What the configuration says of clients, by their resources."""

    mirror: ClassVar = config.Mirror(
        prefix="[{resource} {{}}] ",
        client=(
            config.Client(resource="bot-*", plain_copies="off", alias="{<robot>}"),
            config.Client(resource="balcony", alias="home"),
        ),
    )

    def test_mode(self) -> None:
        """It counts for those clients, and not for others."""
        balcony, bot, chamber = (self.logsIn(each) for each in ("balcony", "bot-1", "chamber"))
        balcony.client.sends(message(body("Good night"), to=ORCHARD))
        balcony.server.gets(message(body("Good night"), to=ORCHARD))
        chamber.client.gets(message(body("[home {}] Good night"), ROMEO, chamber.jid, id="*"))
        bot.client.getsNothing()

    def test_clientsWordIsLast(self) -> None:
        """A client may choose otherwise, and is told what is configured for it."""
        balcony, bot = self.logsIn("balcony"), self.logsIn("bot-1")
        bot.client.sends(command())
        answer = bot.client.gets(step(bot.jid, "executing", "*"))
        self.assertIn(f"Without one it is: {LABELS['off']}.", answer.toXml())
        bot.client.sends(command(filledIn("prefix")))
        bot.client.gets(completed(bot.jid))
        balcony.client.sends(message(body("Good night"), to=ORCHARD))
        balcony.server.gets(message(body("Good night"), to=ORCHARD))
        bot.client.gets(message(body("[home {}] Good night"), ROMEO, bot.jid, id="*"))

    def test_alias(self) -> None:
        """It is text, whatever is in it."""
        balcony, bot = self.logsIn("balcony"), self.logsIn("bot-1")
        bot.client.sends(message(body("Beep"), to=ORCHARD))
        bot.server.gets(message(body("Beep"), to=ORCHARD))
        balcony.client.gets(message(body("[{&lt;robot>} {}] Beep"), ROMEO, balcony.jid, id="*"))

    def test_resourceWithBraces(self) -> None:
        """So is a resource."""
        balcony, odd = self.logsIn("balcony"), self.logsIn("{0}{resource}}")
        odd.client.sends(message(body("O"), to=ORCHARD))
        odd.server.gets(message(body("O"), to=ORCHARD))
        balcony.client.gets(message(body("[{0}{resource}} {}] O"), ROMEO, balcony.jid, id="*"))

    def test_aliasElsewhere(self) -> None:
        """A client that is not at the proxy has its alias, too: the server tells its resource."""
        window = self.logsIn("balcony", carbons=True)
        for resource, name in (("bot-9", "{&lt;robot>}"), ("mobile", "mobile")):
            inner = message(body("Beep"), f"{JULIET}/{resource}", ORCHARD, id="m1")
            window.server.sends(carbon("sent", inner, window.jid))
            window.client.gets(message(body(f"[{name} {{}}] Beep"), ROMEO, window.jid, id="*"))


class OperatorsChoiceOfSelf(Conversation):
    """Copies come from the session that spoke, in whose name an alias has no place."""

    mirror: ClassVar = config.Mirror(
        client=(config.Client(resource="*", plain_copies="self", alias="phone"),)
    )

    def test_sender(self) -> None:
        """It can be answered."""
        balcony, chamber = self.logsIn("balcony"), self.logsIn("chamber")
        balcony.client.sends(message(body("Good night"), to=ORCHARD))
        balcony.server.gets(message(body("Good night"), to=ORCHARD))
        chamber.client.gets(message(body("Good night"), balcony.jid, chamber.jid, id="*"))


class OperatorsChoiceOverListener(Conversation):
    """A listener has a mode of its own; what is said of a client counts before that."""

    listen: ClassVar = config.Listen(
        endpoint="tcp:5222:interface=127.0.0.1", tls="none", plain_copies="off"
    )
    mirror: ClassVar = config.Mirror(
        client=(config.Client(resource="cha*", plain_copies="prefix"),)
    )

    def test_order(self) -> None:
        balcony, chamber, closet = (self.logsIn(each) for each in ("balcony", "chamber", "closet"))
        balcony.client.sends(message(body("Good night"), to=ORCHARD))
        balcony.server.gets(message(body("Good night"), to=ORCHARD))
        chamber.client.gets(message(body("me@balcony: Good night"), ROMEO, chamber.jid, id="*"))
        closet.client.getsNothing()
