"""What a rule asks of a flow before it looks at any byte, one question at a time."""

from __future__ import annotations

from ids.authoring.trace import Finding
from ids.protocols import meant
from ids.rules.model.rule import Scoped, Traffic
from ids.types import Direction, Flow, FlowState

_WITH_PORTS = (6, 17, 132)
_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}


def admission(rule: Scoped, flow: Flow, direction: Direction, spoken: str | None = None) -> list[Finding]:
    """Return each thing that a rule asks of a flow's side, and whether it is so. ``spoken``: the transaction's
    protocol.
    """
    traffic, asked = rule.traffic, rule.flow
    found = [
        _finding(f"protocol {traffic.protocol}", traffic.carried_by(flow.proto), _NAMES.get(flow.proto, flow.proto))
    ]
    if asked.direction is not None:
        found.append(_finding(asked.direction.name.lower(), direction == asked.direction, direction.name.lower()))
    ways = [_hosts(traffic, flow, direction)]
    if traffic.both_ways:
        other = Direction.TO_CLIENT if direction == Direction.TO_SERVER else Direction.TO_SERVER
        ways.append(_hosts(traffic, flow, other))
    found += max(ways, key=lambda way: sum(finding.held for finding in way))
    if asked.established is not None:
        known = flow.state is not FlowState.NEW
        word = "established" if asked.established else "not established"
        found.append(
            _finding(f"flow {word}", known == asked.established, "established" if known else "not established")
        )
    name = traffic.app_proto
    if name is not None:
        found.append(
            _finding(
                f"application {name}",
                not {flow.app_proto, spoken}.isdisjoint(meant(name)),
                spoken or flow.app_proto or "unknown",
            )
        )
    return found


def _finding(text: str, held: bool, what: object) -> Finding:
    return Finding(text if held else f"{text}: it is {what}", held, progress=float(held))


def _hosts(traffic: Traffic, flow: Flow, direction: Direction) -> list[Finding]:
    """Judge addresses and ports, with the sender of a direction as the source."""
    client = (flow.src, flow.src_ip, flow.sport)
    server = (flow.dst, flow.dst_ip, flow.dport)
    sender, receiver = (client, server) if direction == Direction.TO_SERVER else (server, client)
    found = []
    for word, (address, text, port), addresses, ports in (
        ("source", sender, traffic.src, traffic.sport),
        ("destination", receiver, traffic.dst, traffic.dport),
    ):
        if not addresses.everything:
            found.append(_finding(f"{word} address", address in addresses, text))
        if not ports.everything and flow.proto in _WITH_PORTS:
            found.append(_finding(f"{word} port", port in ports, port))
    return found
