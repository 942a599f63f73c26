"""Reads ``traffic`` and ``flow`` of a rule: ``http any any -> $HOME_NET any``, ``[established, to_server]``."""

from __future__ import annotations

from ids.rules.language.remedies import nearest
from ids.rules.language.variables import GroupError, Variables
from ids.rules.model.buffers import APP_PROTOCOLS, TRANSPORT_PROTOCOLS, unrecognised
from ids.rules.model.rule import FlowOptions, Traffic
from ids.types import Direction

PAYLOADS = {"only_stream": "stream", "no_stream": "packet"}
"""Where payload is looked for, if not both in streams and in single packets."""
FLOW_WORDS = (
    "established", "not_established", "stateless", "to_server", "to_client", "from_client", "from_server", *PAYLOADS,
)  # fmt: skip

_SHAPE = "write `protocol source port -> destination port`, or only the protocol"


def parse_traffic(text: str, variables: Variables, ip_proto: int | None = None) -> Traffic:
    """Read the traffic of a rule; raises `GroupError` with the remedy.

    With ``ip_proto`` the rule looks at flows over this IP protocol alone.
    """
    words = _words(text)
    if not words:
        raise GroupError("traffic is empty", _SHAPE)
    protocol = words[0]
    if protocol not in TRANSPORT_PROTOCOLS and protocol not in APP_PROTOCOLS:
        raise GroupError(
            f"unknown protocol {protocol!r}",
            nearest(protocol, [*TRANSPORT_PROTOCOLS, *sorted(APP_PROTOCOLS)])
            or f"known are {', '.join([*TRANSPORT_PROTOCOLS, *sorted(APP_PROTOCOLS)])}",
        )
    if protocol in APP_PROTOCOLS and (why := unrecognised(protocol, ip_proto)) is not None:
        raise GroupError(*why)
    if len(words) == 1:
        return Traffic(protocol)
    if len(words) != 6:
        raise GroupError(f"traffic has {len(words)} words instead of six", _SHAPE)
    arrow = words[3]
    if arrow not in ("->", "<>"):
        raise GroupError(
            f"{arrow!r} is no direction",
            "exchange source and destination and write ->" if arrow == "<-" else "write -> or <>",
        )
    traffic = Traffic(
        protocol,
        src=variables.addresses(words[1]),
        sport=variables.ports(words[2]),
        dst=variables.addresses(words[4]),
        dport=variables.ports(words[5]),
        both_ways=arrow == "<>",
        excepts=variables.excepts(words[1]) or variables.excepts(words[4]),
    )
    if protocol == "icmp" and not (traffic.sport.everything and traffic.dport.everything):
        raise GroupError("icmp has no ports", "write any in place of both ports")
    return traffic


def parse_flow(words: list[str]) -> FlowOptions:
    """Read the flow options of a rule; raises `GroupError` with the remedy."""
    established: bool | None = None
    direction: Direction | None = None
    payload_of: str | None = None
    for word in words:
        if word in ("established", "not_established"):
            if established is not None and established != (word == "established"):
                raise GroupError("a flow cannot be established and not", "keep one of the two")
            established = word == "established"
        elif word in ("to_server", "from_client", "to_client", "from_server"):
            wanted = Direction.TO_SERVER if word in ("to_server", "from_client") else Direction.TO_CLIENT
            if direction is not None and direction != wanted:
                raise GroupError("a packet cannot go both ways", "leave the direction out to look at both")
            direction = wanted
        elif word in PAYLOADS:
            if payload_of is not None and payload_of != PAYLOADS[word]:
                raise GroupError("payload is looked for in streams alone, or in packets alone", "keep one of the two")
            payload_of = PAYLOADS[word]
        elif word != "stateless":
            raise GroupError(f"unknown flow option {word!r}", nearest(word, list(FLOW_WORDS)))
    return FlowOptions(established, direction, payload_of, any_state="stateless" in words)


def _words(text: str) -> list[str]:
    """Split at blanks outside brackets; blanks within a group are dropped."""
    words, depth = [""], 0
    for char in text:
        depth += (char == "[") - (char == "]")
        if not char.isspace():
            words[-1] += char
        elif depth <= 0 and words[-1]:
            words.append("")
    return [word for word in words if word]
