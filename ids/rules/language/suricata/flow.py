"""Direction, state, protocol and size of the flow."""

from __future__ import annotations

from ids.rules.language.remedies import nearest
from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.words import commas, intervals, required, unquoted
from ids.rules.language.traffic import parse_flow
from ids.rules.language.variables import GroupError
from ids.rules.model.buffers import APP_PROTOCOLS, TRANSPORT_PROTOCOLS, unrecognised
from ids.rules.model.header import HeaderNumber, Spoken, StreamSize

PAYLOADS = {"only_stream": "stream", "no_stream": "packet"}
REBUILT = {"only_frag": (1, 1), "no_frag": (0, 0)}
"""Whether the packet was put together of fragments."""
SIDES = ("client", "server", "both", "either")
OTHER_NAMES = {"ssl": "tls"}
"""Suricata's names of protocols that have another one here."""


def flow(draft: Draft, value: str | None) -> None:
    """``flow:established,to_server``: state and direction of the flow."""
    draft.once("flow")
    words, of_packets = [], False
    for word in commas(unquoted(required(value)).lower()):
        if word in PAYLOADS:
            payload_of(draft, PAYLOADS[word])
        elif word in REBUILT:
            if draft.protocol not in TRANSPORT_PROTOCOLS:
                raise Unsupported(
                    f"flow {word}", f"{word} is about packets, not about {draft.protocol}", "leave it out"
                )
            draft.header_tests.append(HeaderNumber("ip.rebuilt", (REBUILT[word],)))
            of_packets = True
        else:
            words.append(word)
    try:
        options = parse_flow(words)
    except GroupError as error:
        raise Malformed(str(error), error.remedy) from None
    draft.stateless = "stateless" in words or of_packets
    draft.established, draft.direction = options.established, options.direction


def payload_of(draft: Draft, what: str) -> None:
    """Look for payload in streams or in packets only; raises `Malformed` where both were asked for."""
    if draft.payload_of not in (None, what):
        raise Malformed("a rule cannot be on streams only and on packets only")
    draft.payload_of = what


def stream_size(draft: Draft, value: str | None) -> None:
    """``stream_size:client,<,1000``: bytes that a side has sent."""
    words = commas(unquoted(required(value)))
    if len(words) == 2:
        words = [words[0], "", words[1]]
    if len(words) != 3 or words[0] not in SIDES:
        raise Malformed("it is no side, comparison and number", f"sides are {', '.join(SIDES)}: client,<,1000")
    found, negated = intervals(words[1] + words[2], 0xFFFFFFFF)
    draft.header_tests.append(StreamSize(words[0], found, negated))


def app_layer_protocol(draft: Draft, value: str | None) -> None:
    """``app-layer-protocol:http``: the protocol that was recognised in the flow."""
    words = commas(unquoted(required(value)).lower())
    negated = words[0].startswith("!")
    name = words[0].lstrip("! ")
    name = OTHER_NAMES.get(name, name)
    if len(words) > 1:
        raise Unsupported("app-layer-protocol mode", f"{words[1]} is not supported", "leave it out")
    if name != "failed":
        if name not in APP_PROTOCOLS:
            raise Malformed(f"unknown protocol {name[:40]!r}", nearest(name, APP_PROTOCOLS))
        why = unrecognised(name)
        if why is not None:
            raise Unsupported(f"protocol {name}", *why)
    draft.header_tests.append(Spoken(name, negated))
