"""What a rule counts before it is heard: distinct things, and matches of other rules that came before it.

Judged like state, in the order of the packets, by `ids.respond.distinct` and `ids.respond.sequences`.
"""

from __future__ import annotations

from dataclasses import dataclass

PARTIES = ("src", "dst", "client", "server", "pair")
"""By whom it is counted: the sender or the receiver of the direction that matched, the side that opened the flow or the
other one, or both together."""


@dataclass(frozen=True, slots=True)
class Distinct:
    """Heard once so many different things were seen of one party within a time; then silent for as long."""

    thing: str
    """``src_ip``, ``dst_ip``, ``src_port`` or ``dst_port``; sender and receiver are those of the direction that
    matched."""
    by: str
    at_least: int
    seconds: int


@dataclass(frozen=True, slots=True)
class After:
    """Heard only where some of these rules matched so often for the same party, within so long before."""

    sids: tuple[int, ...]
    by: str
    times: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Remembered:
    """Matches of the rule are remembered, the latest ``times`` of each party, because others come after it."""

    by: str
    times: int
