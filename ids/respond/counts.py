"""How much of its flow had come by the packet of a match: a batch is inspected whole, and alerts say what was then."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ids.types import I64, Direction, FlowBatch, FlowCount, Match, Packets


def counts_by(matches: Sequence[Match], packets: Packets, flows: FlowBatch) -> list[FlowCount | None]:
    """Return for each match how much of its flow had come with its packet; None where nothing followed in the batch."""
    counts: list[FlowCount | None] = [None] * len(matches)
    places = [place for place, match in enumerate(matches) if match.flow.id]
    if not places:
        return counts
    slot = np.array([matches[place].flow.slot for place in places], np.int64)
    number = np.array([matches[place].number for place in places], np.int64)
    concerned = np.zeros(flows.flows.capacity + 1, bool)
    concerned[slot] = True
    rows = np.flatnonzero(concerned[flows.slot])
    rows = rows[np.argsort(flows.slot[rows], kind="stable")]
    mine = flows.slot[rows]
    first, behind = np.searchsorted(mine, slot, side="left"), np.searchsorted(mine, slot, side="right")
    numbers = packets.batch.number[rows]
    totals = _totals(packets, flows, rows)
    of = flows.flows
    for place, at, low, high in zip(places, number.tolist(), first.tolist(), behind.tolist(), strict=True):
        then = low + int(np.searchsorted(numbers[low:high], at, side="right"))
        if then < high:
            later = totals[high] - totals[then]
            mine_slot = matches[place].flow.slot
            now = np.concatenate((of.packets[mine_slot], of.bytes[mine_slot]))
            counts[place] = FlowCount(*(now - later).tolist())
    return counts


def _totals(packets: Packets, flows: FlowBatch, rows: I64) -> I64:
    """Return packets and bytes each way before each of the rows, and behind the last one; shape (n + 1, 4)."""
    side, size = flows.direction[rows], packets.batch.wirelen[rows]
    totals = np.zeros((len(rows) + 1, 4), np.int64)
    for direction in Direction:
        towards = side == direction
        np.cumsum(towards, out=totals[1:, direction])
        np.cumsum(np.where(towards, size, 0), out=totals[1:, 2 + direction])
    return totals
