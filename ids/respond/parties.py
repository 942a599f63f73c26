"""Whose matches are counted together: the address, or the two, that a rule counts by."""

from __future__ import annotations

from typing import TypeAlias

from ids.types import Direction, Match

Halves: TypeAlias = tuple[int, int]
Party: TypeAlias = Halves | tuple[Halves, Halves]


def ends_of(match: Match) -> tuple[Halves, Halves]:
    """Return the addresses of the sender and the receiver of the direction that matched."""
    flow = match.flow
    return (flow.src, flow.dst) if match.direction is Direction.TO_SERVER else (flow.dst, flow.src)


def party_of(match: Match, by: str) -> Party:
    """Return who is meant by one of `ids.types.counting.PARTIES`; a pair is the same both ways."""
    flow = match.flow
    if by == "pair":
        return (flow.src, flow.dst) if flow.src <= flow.dst else (flow.dst, flow.src)
    if by in ("client", "server"):
        return flow.src if by == "client" else flow.dst
    return ends_of(match)[0 if by == "src" else 1]
