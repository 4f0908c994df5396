"""Namespace names, by the specification that defines them."""

from __future__ import annotations

# RFC 6120
STREAMS = "http://etherx.jabber.org/streams"
STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
CLIENT = "jabber:client"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
XML = "http://www.w3.org/XML/1998/namespace"
XMLNS = "http://www.w3.org/2000/xmlns/"

# RFC 6121 and its ancestors
SESSION = "urn:ietf:params:xml:ns:xmpp-session"
ROSTER_VERSIONING = "urn:xmpp:features:rosterver"
PRE_APPROVAL = "urn:xmpp:features:pre-approval"

DATA_FORMS = "jabber:x:data"  # XEP-0004
DISCO_INFO = "http://jabber.org/protocol/disco#info"  # XEP-0030
DISCO_ITEMS = "http://jabber.org/protocol/disco#items"  # XEP-0030
MUC_USER = "http://jabber.org/protocol/muc#user"  # XEP-0045
COMMANDS = "http://jabber.org/protocol/commands"  # XEP-0050
PUBSUB_EVENT = "http://jabber.org/protocol/pubsub#event"  # XEP-0060
OOB = "jabber:x:oob"  # XEP-0066
XHTML_IM = "http://jabber.org/protocol/xhtml-im"  # XEP-0071
XHTML = "http://www.w3.org/1999/xhtml"  # XEP-0071
REGISTER_FEATURE = "http://jabber.org/features/iq-register"  # XEP-0077
REGISTER = "jabber:iq:register"  # XEP-0077
CHAT_STATES = "http://jabber.org/protocol/chatstates"  # XEP-0085
OPENPGP_LEGACY = "jabber:x:encrypted"  # XEP-0027
CAPS = ("http://jabber.org/protocol/caps", "urn:xmpp:caps")  # XEP-0115, XEP-0390
RECEIPTS = "urn:xmpp:receipts"  # XEP-0184
STREAM_MANAGEMENT = ("urn:xmpp:sm:3", "urn:xmpp:sm:2")  # XEP-0198
PING = "urn:xmpp:ping"  # XEP-0199
DELAY = "urn:xmpp:delay"  # XEP-0203
CONFERENCE = "jabber:x:conference"  # XEP-0249
MUJI = "urn:xmpp:jingle:muji:0"  # XEP-0272
CARBONS = "urn:xmpp:carbons:2"  # XEP-0280
CARBONS_RULES = "urn:xmpp:carbons:rules:0"  # XEP-0280
FORWARD = "urn:xmpp:forward:0"  # XEP-0297
CORRECTION = "urn:xmpp:message-correct:0"  # XEP-0308
MAM = "urn:xmpp:mam:2"  # XEP-0313
CHAT_MARKERS = "urn:xmpp:chat-markers:0"  # XEP-0333
HINTS = "urn:xmpp:hints"  # XEP-0334
STANZA_IDS = "urn:xmpp:sid:0"  # XEP-0359
CSI = "urn:xmpp:csi:0"  # XEP-0352
JINGLE_MESSAGE = "urn:xmpp:jingle-message:0"  # XEP-0353
OPENPGP = "urn:xmpp:openpgp:0"  # XEP-0373
ENCRYPTION = "urn:xmpp:eme:0"  # XEP-0380
OMEMO = (  # XEP-0384 and its drafts
    "eu.siacs.conversations.axolotl",
    "urn:xmpp:omemo:0",
    "urn:xmpp:omemo:1",
    "urn:xmpp:omemo:2",
)
OCCUPANT_ID = "urn:xmpp:occupant-id:0"  # XEP-0421
FASTENING = "urn:xmpp:fasten:0"  # XEP-0422
RETRACTION = ("urn:xmpp:message-retract:0", "urn:xmpp:message-retract:1")  # XEP-0424
FALLBACK = "urn:xmpp:fallback:0"  # XEP-0428
CHANNEL_BINDING = "urn:xmpp:sasl-cb:0"  # XEP-0440
REACTIONS = "urn:xmpp:reactions:0"  # XEP-0444
CALL_INVITES = "urn:xmpp:call-invites:0"  # XEP-0482
