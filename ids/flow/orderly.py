"""Carry orderly groups on, all at once: state in columns, bytes as they lie. The fast half of `ids.flow.passage`.

What is done here for many connections is what `ids.flow.tcp` and `ids.flow.reassembly` do for one.
"""

from __future__ import annotations

import numpy as np

from ids.flow.inorder import Exchanges, Turns, find_turns
from ids.flow.keys import Groups
from ids.flow.reassembly import Reassembly
from ids.flow.slots import FlowSlots
from ids.flow.tcp import Phase
from ids.types import I64, U8, Bool, FlowState, Mark, Packets

_ONE = np.uint32(1)


def continues(slots: FlowSlots, exchanges: Exchanges, slot: I64, flip: U8) -> Bool:
    """Return which groups go on where their connections stand, if they are orderly in themselves."""
    at = np.arange(len(slot))
    result = np.ones(len(slot), np.bool_)
    for direction in (0, 1):
        side = flip ^ direction
        due = slots.next[slot, direction] + slots.fin[slot, direction]
        present, other = exchanges.present[at, side], exchanges.present[at, 1 - side]
        begins = exchanges.first_seq[at, side] == due
        acknowledged = ~other | ((exchanges.last_ack[at, 1 - side] - due).view(np.int32) <= 0)
        # Before its own step of the handshake, a direction has no number to go on from.
        unborn = exchanges.steps <= direction
        result &= unborn | np.where(present, begins, acknowledged)
        says_more = (exchanges.payload[at, side] > 0) | exchanges.fin[at, side]
        result &= ~(slots.fin[slot, direction] & says_more)
    # The client speaks first, and a SYN/ACK needs the SYN that it answers to be of this connection.
    return result


def advance(
    slots: FlowSlots,
    shared: Reassembly,
    packets: Packets,
    groups: Groups,
    exchanges: Exchanges,
    slot: I64,
    flip: U8,
    chosen: Bool,
    data: memoryview,
    ways: I64 | None = None,
) -> None:
    """Take the ``chosen`` groups: handshakes, payloads, acknowledgements and ends.

    ``ways`` is where each row of the batch came from (`Segment.way`); None: not known.
    """
    at = np.flatnonzero(chosen)
    if not len(at):
        return
    _shake_hands(slots, groups, exchanges, slot, flip, at, ways)
    open_ = at[slots.steps[slot[at]] == 3]
    turns = find_turns(packets, groups)
    last_turn = _deliver(slots, shared, packets, exchanges, turns, slot, flip, chosen)
    for direction in (0, 1):
        _acknowledge(slots, packets, groups, exchanges, slot, flip, open_, direction, last_turn)
    if shared.verify:
        _keep_unacknowledged(slots, shared, turns, slot, flip, chosen, data)
    of = slot[open_]
    ended = of[slots.closed[of].all(axis=1)]
    slots.phase[ended], slots.flows.state[ended] = Phase.CLOSED, FlowState.CLOSED


def _shake_hands(
    slots: FlowSlots, groups: Groups, exchanges: Exchanges, slot: I64, flip: U8, at: I64, ways: I64 | None
) -> None:
    steps, taken = exchanges.steps[at], exchanges.taken[at]
    of, client = slot[at], flip[at]
    asked = (steps == 0) & (taken > 0)
    slots.next[of[asked], 0] = exchanges.first_seq[at[asked], client[asked]] + _ONE
    answered = (steps + taken >= 2) & (steps < 2)
    slots.next[of[answered], 1] = exchanges.first_seq[at[answered], 1 - client[answered]] + _ONE
    slots.apart[of[answered]] = True
    if ways is not None:
        replies = groups.rows[groups.starts[at[answered]] + asked[answered]]
        slots.apart[of[answered]] = (ways[replies] <= 0) | (ways[replies] != slots.way[of[answered]])
    slots.steps[of] = np.where(exchanges.agreed[at], 3, steps + taken)
    agreed = of[exchanges.agreed[at]]
    slots.flows.marks[agreed[slots.apart[agreed]]] |= np.uint16(Mark.PROVEN)
    slots.phase[agreed], slots.flows.state[agreed] = Phase.OPEN, FlowState.ESTABLISHED


def _deliver(
    slots: FlowSlots, shared: Reassembly, packets: Packets, exchanges: Exchanges, turns: Turns, slot: I64, flip: U8,
    chosen: Bool,
) -> Bool:  # fmt: skip
    """Hand on the payloads; return for each group and direction whether its last turn carried the end with it."""
    carried = np.zeros((len(slot), 2), np.bool_)
    mine = np.flatnonzero(chosen[turns.group])
    if not len(mine):
        return carried
    group, side, size = turns.group[mine], turns.side[mine], turns.size[mine]
    direction = side ^ flip[group]
    of = slot[group]
    # Turns of the two sides alternate within a group: what a side sent before a turn is a running sum of its own.
    key = 2 * group + direction
    order = np.argsort(key, kind="stable")
    ordered = size[order]
    total = np.cumsum(ordered)
    first = np.flatnonzero(np.diff(key[order], prepend=-1))
    before = np.empty(len(mine), np.int64)
    run = np.repeat(total[first] - ordered[first], np.diff(np.append(first, len(order))))
    before[order] = total - ordered - run
    offset = slots.offset[of, direction] + before
    kept = np.clip(shared.depth - offset, 0, size)
    beyond = int((size - kept).sum())
    if beyond:
        shared.count("depth_bytes", beyond)
    is_last = np.zeros(len(mine), np.bool_)
    is_last[order[np.append(first[1:], len(order)) - 1]] = True
    closes = is_last & exchanges.fin_acked[group, side] & (offset < shared.depth)
    carried[group[closes], direction[closes]] = True
    out = np.flatnonzero((kept > 0) | closes)
    slots.out.deliver(turns, mine[out], of[out], direction[out], offset[out], kept[out], closes[out], packets)
    np.add.at(slots.offset, (of, direction), size)
    np.add.at(slots.next, (of, direction), size.astype(np.uint32))
    return carried


def _acknowledge(
    slots: FlowSlots, packets: Packets, groups: Groups, exchanges: Exchanges, slot: I64, flip: U8, open_: I64,
    direction: int, carried: Bool,
) -> None:  # fmt: skip
    """Take one direction's FINs, and the last acknowledgements of it by the other one."""
    of, side = slot[open_], flip[open_] ^ direction
    slots.fin[of, direction] |= exchanges.fin[open_, side]
    heard = np.flatnonzero(exchanges.present[open_, 1 - side])
    at, of, side = open_[heard], of[heard], side[heard]
    upto = slots.offset[of, direction] + (exchanges.last_ack[at, 1 - side] - slots.next[of, direction]).view(np.int32)
    slots.acked[of, direction] = np.maximum(slots.acked[of, direction], upto)
    if slots.unacked:
        _forget_acknowledged(slots, of, direction)
    ends = slots.fin[of, direction] & (upto > slots.offset[of, direction]) & ~slots.closed[of, direction]
    at, of = at[ends], of[ends]
    slots.closed[of, direction] = True
    alone = ~carried[at, direction]
    at, of = at[alone], of[alone]
    last = groups.rows[groups.ends[at] - 1]
    batch = packets.batch
    slots.out.close(last, of, direction, slots.offset[of, direction], batch.ts_ns[last], batch.number[last])


def _forget_acknowledged(slots: FlowSlots, of: I64, direction: int) -> None:
    """Let go of kept bytes that are acknowledged now. Runs for flows that had any."""
    for side in slots.unacked.keys() & set((2 * of + direction).tolist()):
        upto = int(slots.acked[side >> 1, direction])
        kept = slots.unacked[side]
        rest = [(start, data) for start, data in kept if start + len(data) > upto]
        slots.out.shared.used -= sum(len(data) for _, data in kept) - sum(len(data) for _, data in rest)
        if rest:
            slots.unacked[side] = rest
        else:
            del slots.unacked[side]


def _keep_unacknowledged(
    slots: FlowSlots, shared: Reassembly, turns: Turns, slot: I64, flip: U8, chosen: Bool, data: memoryview
) -> None:
    """Keep the delivered bytes that nobody acknowledged, packet by packet from the end, to compare copies with."""
    of = slot[turns.group]
    direction = turns.side ^ flip[turns.group]
    open_ = chosen[turns.group] & (slots.offset[of, direction] > slots.acked[of, direction])
    open_ &= slots.acked[of, direction] < shared.depth
    open_ &= ~slots.closed[of, direction]
    sides: dict[int, list[int]] = {}
    for turn, flow, way in zip(
        *(column[open_].tolist() for column in (np.arange(len(of)), of, direction)), strict=True
    ):
        sides.setdefault(2 * flow + way, []).append(turn)
    for side, of_side in sides.items():
        _keep(slots, shared, side, [piece for turn in of_side for piece in _pieces(turns, turn, data)])


def _pieces(turns: Turns, turn: int, data: memoryview) -> list[memoryview]:
    first, after = int(turns.first_piece[turn]), int(turns.first_piece[turn + 1])
    starts, ends = turns.starts[first:after].tolist(), turns.ends[first:after].tolist()
    return list(map(data.__getitem__, map(slice, starts, ends)))


def _keep(slots: FlowSlots, shared: Reassembly, side: int, pieces: list[memoryview]) -> None:
    """Keep the unacknowledged ones of the pieces that one side sent last, at most ``shared.verify`` bytes."""
    slot, direction = side >> 1, side & 1
    end, acked = int(slots.offset[slot, direction]), int(slots.acked[slot, direction])
    lowest = max(acked, end - shared.verify)
    fresh: list[tuple[int, bytes]] = []
    for piece in reversed(pieces):
        start = end - len(piece)
        if start < shared.depth:
            content = bytes(piece[: shared.depth - start])
            if shared.used + len(content) > shared.memcap:
                shared.count("verify_memcap")
                slots.forget_unacked(side)
                break
            fresh.append((start, content))
            shared.used += len(content)
        end = start
        if end <= lowest:
            break
    kept = [(start, data) for start, data in slots.unacked.get(side, ()) if start + len(data) > lowest]
    shared.used -= sum(len(data) for _, data in slots.unacked.get(side, ())) - sum(len(data) for _, data in kept)
    fresh.reverse()
    if kept or fresh:
        slots.unacked[side] = kept + fresh
    else:
        slots.unacked.pop(side, None)
