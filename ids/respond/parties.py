"""Whose matches are counted together: the address, or the two, that a rule counts by."""

from __future__ import annotations

from typing import TypeAlias

from ids.types import Direction, Match

Halves: TypeAlias = tuple[int, int]
Party: TypeAlias = Halves | tuple[Halves, Halves]


def client_of(match: Match) -> Halves:
    """Return the address of the client: for whom a trusted proxy speaks, or else that of the flow's client."""
    exhibit = match.exhibit
    return match.flow.src if exhibit is None or exhibit.client is None else exhibit.client.address


def ends_of(match: Match) -> tuple[Halves, Halves]:
    """Return the addresses of the sender and the receiver of the direction that matched."""
    client, server = client_of(match), match.flow.dst
    return (client, server) if match.direction is Direction.TO_SERVER else (server, client)


def party_of(match: Match, by: str) -> Party:
    """Return who is meant by one of `ids.types.counting.PARTIES`; a pair is the same both ways."""
    if by == "pair":
        one, other = sorted(ends_of(match))
        return one, other
    if by in ("client", "server"):
        return client_of(match) if by == "client" else match.flow.dst
    return ends_of(match)[0 if by == "src" else 1]
