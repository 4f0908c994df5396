"""The account's ad-hoc command (XEP-0050): a client chooses how it is shown what others send."""

from __future__ import annotations

from typing import ClassVar

from twisted.logger import Logger
from twisted.words.protocols.jabber.error import StanzaError
from twisted.words.xish.domish import Element

from xmpproxy import ns
from xmpproxy.chain import Wants
from xmpproxy.iqs import refusal
from xmpproxy.jid import isAccount
from xmpproxy.session import Link
from xmpproxy.shown import shown
from xmpproxy.stanza import Stanza, serialize

log = Logger()

#: The command's node, and the C{FORM_TYPE} of its form (XEP-0068).
NODE = "urn:xmpproxy:plain-copies"
NAME = "Show what my other clients send"

#: The modes of plain copies (L{config.PlainCopies}), in words.
LABELS: dict[str, str] = {
    "prefix": "In the window of the person it was sent to, with a prefix",
    "self": "In a window with myself",
    "off": "Nowhere",
}
_FIELD = "mode"

#: How many lists of commands a client may wait for. For more it gets the server's alone.
_MOST_OPEN = 64


class Commands(Link):
    """
    Answers what a client asks of its own account about the command, and adds the command to those
    that the account has at its server. A choice holds for the session, whatever is configured.

    Each request carries all that is needed to answer it, so no command session is remembered.
    """

    fromClient: ClassVar[Wants] = {"iq": frozenset({ns.COMMANDS, ns.DISCO_INFO, ns.DISCO_ITEMS})}

    def __init__(self) -> None:
        super().__init__()
        self._open = 0

    def connectionInitialized(self) -> None:
        """What is configured is what holds as long as nothing is chosen."""
        self._configured = self.parent.seat.plain[0]

    def clientStanza(self, stanza: Stanza) -> Stanza | None:
        """An iq that is about a command, perhaps."""
        account = self.parent.seat.account
        if not isAccount(stanza.attributes.get("to", account), account) or not stanza.id:
            return stanza
        payload = stanza.element.firstChildElement()
        assert payload is not None, "that is why it came here"
        match stanza.type, payload.uri, payload.name, payload.getAttribute("node"):
            case "set", ns.COMMANDS, "command", node if node == NODE:
                self._execute(stanza, payload)
            case "get", ns.DISCO_INFO, "query", node if node == NODE:
                self._reply(stanza, _information())
            case "get", ns.DISCO_ITEMS, "query", ns.COMMANDS if self._open < _MOST_OPEN:
                self._list(stanza)
            case _:
                return stanza
        return None

    def _list(self, request: Stanza) -> None:
        """Which commands there are (section 2.2)."""

        def answered(listed: Stanza) -> None:
            self._open -= 1
            self._reply(request, self._listing(listed))

        self._open += 1
        query = f"<query xmlns='{ns.DISCO_ITEMS}' node='{ns.COMMANDS}'/>"
        self.parent.questions.ask("get", query, answered, to=self.parent.seat.account)

    def _listing(self, listed: Stanza) -> Element:
        """The server's list with our command in it. An error is a list of none."""
        listing = Element((ns.DISCO_ITEMS, "query"), attribs={"node": ns.COMMANDS})
        if listed.type == "result":
            for query in listed.element.elements(ns.DISCO_ITEMS, "query"):
                for item in query.elements(ns.DISCO_ITEMS, "item"):
                    if item.getAttribute("node") != NODE:  # that of another proxy behind this one
                        listing.addChild(item)
        ours = {"jid": self.parent.seat.account, "node": NODE, "name": NAME}
        listing.addElement("item").attributes.update(ours)
        return listing

    def _execute(self, request: Stanza, command: Element) -> None:
        """A step of the command (sections 2.4 and 3.4). There are two: form and answer."""
        action = command.getAttribute("action", "execute")
        forms = list(command.elements(ns.DATA_FORMS, "x"))
        if action == "cancel":
            self._reply(request, self._step(command, "canceled"))
        elif action == "execute" and not forms:
            form = self._step(command, "executing")
            form.addElement("actions").addElement("complete")
            form.actions["execute"] = "complete"
            form.addChild(self._form())
            self._reply(request, form)
        elif action in ("execute", "next", "complete"):
            mode = _chosen(forms)
            if mode is None:
                self._refuse(request, "bad-payload")
            else:
                self._choose(mode)
                done = self._step(command, "completed")
                text = f"What your other clients send is now shown here: {LABELS[mode]}."
                done.addElement("note", content=text)["type"] = "info"
                self._reply(request, done)
        else:
            self._refuse(request, "bad-action" if action == "prev" else "malformed-action")

    def _choose(self, mode: str) -> None:
        seat = self.parent.seat
        seat.plain = (mode, seat.plain[1])
        log.info("{jid}: has chosen plain copies: {mode}", jid=shown(seat.jid), mode=mode)

    def _step(self, command: Element, status: str) -> Element:
        session = command.getAttribute("sessionid") or self.parent.ids.make()
        step = Element((ns.COMMANDS, "command"))
        step.attributes.update({"node": NODE, "sessionid": session, "status": status})
        step.attributes[ns.XML, "lang"] = "en"
        return step

    def _form(self) -> Element:
        """The form to choose with (XEP-0004, section 3)."""
        form = Element((ns.DATA_FORMS, "x"), attribs={"type": "form"})
        form.addElement("title", content=NAME)
        for line in (
            "Where this client shows messages that your other clients send. While it has Message "
            "Carbons enabled, it shows them as it likes.",
            "Your choice holds until this client logs out. "
            f"Without one it is: {LABELS[self._configured]}.",
        ):
            form.addElement("instructions", content=line)
        kind = form.addElement("field")
        kind.attributes.update({"var": "FORM_TYPE", "type": "hidden"})
        kind.addElement("value", content=NODE)
        choice = form.addElement("field")
        choice.attributes.update({"var": _FIELD, "type": "list-single", "label": "Show them"})
        choice.addElement("required")
        choice.addElement("value", content=self.parent.seat.plain[0])
        for mode, label in LABELS.items():
            option = choice.addElement("option")
            option["label"] = label
            option.addElement("value", content=mode)
        return form

    def _reply(self, request: Stanza, payload: Element) -> None:
        seat = self.parent.seat
        reply = Element((ns.CLIENT, "iq"))
        reply.attributes.update({"type": "result", "id": request.id})
        reply.attributes.update({"from": seat.account, "to": seat.jid})
        reply.addChild(payload)
        self.parent.sendClient(serialize(reply))

    def _refuse(self, request: Stanza, condition: str) -> None:
        """The errors of section 4.4."""
        error = StanzaError("bad-request", appCondition=Element((ns.COMMANDS, condition)))
        seat = self.parent.seat
        self.parent.sendClient(refusal(request, error, seat.account, seat.jid))


def _information() -> Element:
    """What the command is (section 2.2)."""
    information = Element((ns.DISCO_INFO, "query"), attribs={"node": NODE})
    identity = {"category": "automation", "type": "command-node", "name": NAME}
    information.addElement("identity").attributes.update(identity)
    for feature in (ns.COMMANDS, ns.DATA_FORMS):
        information.addElement("feature")["var"] = feature
    return information


def _chosen(forms: list[Element]) -> str | None:
    """The mode that a form which was filled in says, L{None} if it says none or several."""
    values = [
        str(value)
        for form in forms
        for field in form.elements(ns.DATA_FORMS, "field")
        if field.getAttribute("var") == _FIELD
        for value in field.elements(ns.DATA_FORMS, "value")
    ]
    return next((mode for mode in LABELS if values == [mode]), None)
