"""Whom a rule's `block:` would hit: a rule on answers must not cut off the server that gave them."""

from __future__ import annotations

from collections.abc import Collection

from ids.rules.language.variables import GroupError, Variables
from ids.rules.model.buffers import unrecognised
from ids.rules.model.rule import Traffic
from ids.types import BlockRequest, Direction

REMEDY = "`target: dst_ip` blocks its client"


PROOF = "a datagram proves nobody, so the block is always refused (require: proven)"
PROOF_REMEDY = "write `require: any`, and whoever forges a datagram may block others; or `then: drop`"

_TCP = 6


def never_proven(block: BlockRequest | None, traffic: Traffic) -> bool:
    """Return whether a block asks for a proof that this traffic cannot give: a TCP handshake."""
    if block is None or not block.require_proven:
        return False
    if traffic.app_proto is not None:
        return unrecognised(traffic.app_proto, _TCP) is not None
    return not traffic.carried_by(_TCP)


def blocks_server(
    block: BlockRequest | None,
    traffic: Traffic,
    direction: Direction | None,
    sides: Collection[Direction],
    variables: Variables,
) -> str | None:
    """Return why a block would hit a server of ours, or None when it would not.

    ``direction`` is what the rule's ``flow`` asks for, ``sides`` who sends its buffers. A server outside of
    ``$HOME_NET`` may well be the attacker, and a rule that names no direction is no rule on answers.
    """
    if direction is None and len(sides) == 1:
        (direction,) = sides
    if block is None or block.target != "src_ip" or direction is not Direction.TO_CLIENT:
        return None
    try:
        home = variables.addresses("$HOME_NET")
    except GroupError:  # reported where the variable is read
        return None
    servers = [traffic.src, traffic.dst] if traffic.both_ways else [traffic.src]
    if not any(group.meets(home) for group in servers):
        return None
    return "block: src_ip blocks the sender of the answer that matches, which is the server"
