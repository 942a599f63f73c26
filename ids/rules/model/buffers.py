"""The buffers and protocols that a rule can name. What there is of them follows from the protocols' descriptors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ids.protocols import BUFFERS, BY_NAME, FAMILIES, OTHER_NAMES, PROTOCOLS, Buffer, meant
from ids.types import Direction

PAYLOAD = "payload"
"""The bytes after the transport header: of a TCP direction as one stream, of UDP and ICMP packet by packet."""

PACKET_HEADERS: dict[str, Buffer] = {
    name: Buffer(name, None, None, text)
    for name, text in (
        ("ipv4.hdr", "IPv4 header of one packet, with its options"),
        ("ipv6.hdr", "IPv6 header of one packet, with its extension headers"),
        ("tcp.hdr", "TCP header of one packet, with its options"),
        ("udp.hdr", "UDP header of one packet"),
        ("icmpv4.hdr", "ICMP header of one packet"),
        ("icmpv6.hdr", "ICMPv6 message of one packet"),
    )
}
"""Buffers of single packets."""

CATALOGUE: dict[str, Buffer] = {
    PAYLOAD: Buffer(PAYLOAD, None, None, "payload of TCP (the whole stream of one direction), UDP or ICMP"),
    **PACKET_HEADERS,
    **BUFFERS,
}
"""Suricata's sticky buffers, each with its protocol and the side that sends it."""

GROWING = frozenset(name for name, buffer in CATALOGUE.items() if buffer.grows)
"""Buffers that may grow while their message goes on."""

PARSED = frozenset(protocol.name for protocol in PROTOCOLS if protocol.parsed)
"""Protocols with a parser. Buffers of the others are known by name, and refused: a rule on one could never match."""

TRANSPORT_PROTOCOLS: dict[str, frozenset[int]] = {
    "ip": frozenset(),
    "tcp": frozenset({6}),
    "udp": frozenset({17}),
    "icmp": frozenset({1, 58}),
}
"""Names of a rule's ``traffic`` that restrict the IP protocol number; the empty set is every protocol."""

APP_PROTOCOLS = BY_NAME.keys() | OTHER_NAMES | FAMILIES.keys()
"""Names that a rule's ``traffic`` may have for `Flow.app_proto`, as EVE spells them, and those for a family of
protocols; see `unrecognised`."""

_IP_PROTOCOLS = {6: "TCP", 17: "UDP"}


def unrecognised(protocol: str, ip_proto: int | None = None) -> tuple[str, str] | None:
    """Return why no flow is ever recognised as an application protocol, and what to do; None where flows may be.

    With ``ip_proto`` (6: TCP, 17: UDP) the question is that of flows over it alone.
    """
    known = BY_NAME.get(meant(protocol)[0])
    if known is None:
        return (
            f"nothing here recognises {protocol}, so the rule could never match",
            "write tcp or udp with the protocol's ports instead",
        )
    over = [number for number in _IP_PROTOCOLS if known.recognised_over(number)]
    if ip_proto is None or ip_proto in over:
        return None
    name = _IP_PROTOCOLS.get(ip_proto, f"IP protocol {ip_proto}")
    return (
        f"{protocol} is recognised over {' and '.join(_IP_PROTOCOLS[number] for number in over)} only, not over {name}",
        f"write {name.lower()} with the protocol's ports instead" if ip_proto in _IP_PROTOCOLS else "write ip instead",
    )


def refusal(name: str, others: list[str]) -> tuple[str, str] | None:
    """Return why a rule cannot test a buffer, and what to do; None when it can. ``others`` may stand in its place."""
    buffer = CATALOGUE.get(name)
    if buffer is None:
        return f"unknown buffer {name!r}", nearest(name, [*CATALOGUE, *others])
    if buffer.protocol is not None and buffer.protocol not in PARSED:
        return f"there is no parser for {buffer.protocol} that gives {name}", "test payload instead"
    return None


def wrong_way(names: Iterable[str], direction: Direction | None) -> str | None:
    """Return why a rule on these buffers can never match in this direction (None: both ways), or None when it can.

    Buffers of both sides together are a request with its response, which matches under either direction.
    """
    sent = {name: side for name in sorted(names) if name in CATALOGUE and (side := CATALOGUE[name].side) is not None}
    if direction is None or not sent or direction in sent.values():
        return None
    name, side = next(iter(sent.items()))
    asked, sender = ("to_client", "client") if side == Direction.TO_SERVER else ("to_server", "server")
    return f"{name} is sent by the {sender}, but flow asks for {asked}: the rule can never match"


def strangers(names: Iterable[str], wanted: str | None) -> list[str]:
    """Return the protocols of buffers and traffic, where no exchange of one protocol can have them all."""
    known = {protocol for name in names if name in CATALOGUE and (protocol := CATALOGUE[name].protocol) is not None}
    protocols = known | ({wanted} if wanted is not None and known else set())
    if not protocols or set.intersection(*(set(meant(protocol)) for protocol in protocols)):
        return []
    return sorted(protocols)


def nearest(word: str, known: list[str]) -> str:
    """Return the remedy for an unknown name: the nearest known one, or all when they are few."""
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(sorted(known))}" if 0 < len(known) <= 12 else ""


def comes_over(name: str, transport: str) -> bool:
    """Return whether something that is carried by ``transport``, the protocol of a rule's traffic, gives a buffer."""
    numbers = TRANSPORT_PROTOCOLS.get(transport)
    if not numbers or name in PACKET_HEADERS:
        return True
    protocol = CATALOGUE[name].protocol
    carriers = [BY_NAME[name] for name in (PARSED if protocol is None else [protocol])]
    return any(carrier.recognised_over(number) for carrier in carriers for number in numbers)
