"""Exceptions of the settings: rules that are not heard of some addresses, whosever files the rules are in."""

from __future__ import annotations

from collections.abc import Iterable

from ids.respond.parties import Halves, ends_of
from ids.respond.settings import RuleException
from ids.types import Direction, IPNetwork, Match, address_object


class Exceptions:
    """Knows which matches do not count."""

    def __init__(self, asked: Iterable[RuleException] = ()) -> None:
        """``asked`` are those of the settings (`respond.exceptions`)."""
        self._by_rule: dict[tuple[int, int], list[RuleException]] = {}
        for exception in asked:
            self._by_rule.setdefault((exception.gid, exception.sid), []).append(exception)

    def cover(self, match: Match) -> bool:
        """Return whether one is for the rule of a match and its addresses: also of a tunnel, or a proxy's client."""
        asked = self._by_rule.get((match.signature.gid, match.signature.sid)) if self._by_rule else None
        if asked is None:
            return False
        flow = match.flow
        plain = (flow.src, flow.dst) if match.direction is Direction.TO_SERVER else (flow.dst, flow.src)
        pairs = {plain, ends_of(match), flow.outer_ends(match.direction)}
        return any(
            _inside(sender, exception.src_ip) and _inside(receiver, exception.dst_ip)
            for sender, receiver in pairs
            for exception in asked
        )


def _inside(halves: Halves, networks: list[IPNetwork]) -> bool:
    """Return whether an address is in one of these; all are in none."""
    address = address_object(halves)
    return not networks or any(address in network for network in networks if network.version == address.version)
