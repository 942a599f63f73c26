"""Who talks to whom in a rule's test: addresses and ports that the rule looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ids.rules.model.rule import Rule, Scoped
from ids.rules.model.sets import AddressSet, PortSet
from ids.types import IPV4_MAPPED_PREFIX, Direction, address_halves, address_text

CLIENT, SERVER = "198.18.0.1", "198.19.0.80"
"""Where the rule does not ask for others; addresses for tests of networks (RFC 2544)."""
CLIENT6, SERVER6 = "2001:db8:18::1", "2001:db8:19::80"
CLIENT_PORT = 40000

_IPV4 = (IPV4_MAPPED_PREFIX, IPV4_MAPPED_PREFIX | 0xFFFFFFFF)


class NoParties(ValueError):
    """No two hosts can have this conversation under the rule's traffic."""


@dataclass(frozen=True, slots=True)
class Parties:
    """The two ends of a conversation, the client first."""

    hosts: tuple[str, str]
    ports: tuple[int, int]


def parties(rule: Scoped, port: int, from_server: bool = False, ipv6: bool | None = None) -> Parties:
    """Return whom a rule looks at; ``port`` is the server's where the rule lets it be.

    ``from_server``: it is the server that sends what is looked for. ``ipv6``: hosts of IPv6, or of IPv4; None: of IPv4
    where there are some. Raises `NoParties`.
    """
    traffic = rule.traffic
    sender, receiver = (traffic.src, traffic.sport), (traffic.dst, traffic.dport)
    client, server = (receiver, sender) if seen_from_server(rule, from_server) else (sender, receiver)
    pairs = _hosts(client[0], server[0])
    hosts = next((pair for pair in pairs if ipv6 in (None, ":" in pair[0])), None)
    if hosts is None:
        raise NoParties("its traffic has no two addresses of one IP version")
    return Parties(hosts, (_port(client[1], CLIENT_PORT), _port(server[1], port)))


def seen_from_server(rule: Scoped, otherwise: bool = False) -> bool:
    """Return whether the sender of a rule's traffic is the server of the flow."""
    if rule.flow.direction is not None:
        return rule.flow.direction == Direction.TO_CLIENT
    if isinstance(rule, Rule) and len(rule.sides) == 1:
        return Direction.TO_CLIENT in rule.sides
    return otherwise


def _hosts(clients: AddressSet, servers: AddressSet) -> Iterator[tuple[str, str]]:
    """Yield pairs of addresses, of IPv4 first; the two differ where they can."""
    for client, server, fits in ((CLIENT, SERVER, _is_ipv4), (CLIENT6, SERVER6, _is_ipv6)):
        some, others = _members(clients, client, fits), _members(servers, server, fits)
        pairs = [(one, other) for one in some for other in others]
        yield from sorted(pairs, key=lambda pair: pair[0] == pair[1])


def _is_ipv4(value: int) -> bool:
    return _IPV4[0] <= value <= _IPV4[1]


def _is_ipv6(value: int) -> bool:
    return not _is_ipv4(value) and value >> 96 != 0


def _members(of: AddressSet, preferred: str, fits: Callable[[int], bool]) -> list[str]:
    """Return some members of a set that are of one IP version: the preferred one alone, where it is one."""
    if address_halves(preferred) in of:
        return [preferred]
    found: list[str] = []
    for first, last in of.intervals:
        clipped = max(first, _IPV4[0]) if fits is _is_ipv4 else first
        near = (clipped + 1, clipped, last)  # the first address of a network is nobody's
        some = [value for value in near if first <= value <= last and fits(value)]
        found += [address_text((value >> 64, value & 0xFFFFFFFFFFFFFFFF)) for value in some]
        if len(found) >= 8:
            break
    return found


def _port(of: PortSet, preferred: int) -> int:
    if preferred in of or not of.intervals:
        return preferred
    return next((first for first, _ in of.intervals if first), of.intervals[0][1])
