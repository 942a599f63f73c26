"""Which rules look at a few ports alone."""

from __future__ import annotations

from ids.rules.model.buffers import TRANSPORT_PROTOCOLS
from ids.rules.model.rule import Traffic
from ids.rules.model.sets import PortSet

MOST_PORTS = 64
"""Ports up to which a rule counts as one on some ports."""

_WITH_PORTS = frozenset({6, 17})


def named_ports(traffic: Traffic) -> list[int]:
    """Return ports of which one is an end of all that a rule looks at; none where there are many, or none are named."""
    numbers = TRANSPORT_PROTOCOLS.get(traffic.protocol, _WITH_PORTS)
    if not numbers or not numbers <= _WITH_PORTS:
        return []  # of what has no ports, none keeps it out
    sides = [ports for ports in (traffic.sport, traffic.dport) if _count(ports) <= MOST_PORTS and 0 not in ports]
    if not sides:
        return []
    return [port for first, last in min(sides, key=_count).intervals for port in range(first, last + 1)]


def _count(ports: PortSet) -> int:
    return sum(last - first + 1 for first, last in ports.intervals)
