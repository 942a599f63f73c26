"""Carry orderly groups on, all at once: state in columns, bytes as they lie. The fast half of `ids.flow.passage`.

What is done here for many connections is what `ids.flow.tcp` and `ids.flow.reassembly` do for one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ids.decode.tcp_options import NO_SCALE
from ids.flow.acceptance import MAX_SCALE
from ids.flow.delivered import together
from ids.flow.inorder import Exchanges, Turns, find_turns
from ids.flow.keys import Groups
from ids.flow.reassembly import CONTEXT_BYTES, Reassembly
from ids.flow.slots import FlowSlots
from ids.flow.tcp import Phase
from ids.flow.versions import UNLIMITED
from ids.types import I64, U8, Bool, FlowState, Mark, Packets, ascending

_ONE = np.uint32(1)
_MIDSTREAM = np.uint16(Mark.MIDSTREAM)
_PARSED = np.uint16(Mark.PARSED)


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
        opened = exchanges.steps == 3
        acked = slots.next[slot, direction] + (slots.acked[slot, direction] - slots.offset[slot, direction]).astype(
            np.uint32
        )
        result &= ~(other & opened) | ((exchanges.first_ack[at, 1 - side] - acked).view(np.int32) >= 0)
        clocks = exchanges.stamped[at, side] & slots.stamped[slot, direction]
        result &= ~clocks | ((exchanges.first_stamp[at, side] - slots.stamp[slot, direction]).view(np.int32) >= 0)
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
    _shake_hands(slots, packets, groups, exchanges, slot, flip, at, ways)
    open_ = at[slots.steps[slot[at]] == 3]
    turns = find_turns(packets, groups)
    delivered = _deliver(slots, shared, packets, exchanges, turns, slot, flip, chosen)
    for direction in (0, 1):
        _acknowledge(slots, packets, groups, exchanges, slot, flip, open_, direction, delivered.carried)
        _note_clocks(slots, exchanges, slot, flip, open_, direction)
    if shared.verify:
        _keep_sent(slots, shared, turns, delivered, slot, flip, chosen, data)
    of = slot[open_]
    ended = of[slots.closed[of].all(axis=1)]
    slots.phase[ended], slots.flows.state[ended] = Phase.CLOSED, FlowState.CLOSED


def _shake_hands(
    slots: FlowSlots, packets: Packets, groups: Groups, exchanges: Exchanges, slot: I64, flip: U8, at: I64,
    ways: I64 | None,
) -> None:  # fmt: skip
    steps, taken = exchanges.steps[at], exchanges.taken[at]
    of, client = slot[at], flip[at]
    asked = (steps == 0) & (taken > 0)
    slots.edge[of[asked], 1] = exchanges.first_window[at[asked], client[asked]] + 1
    slots.scale[of[asked], 0] = _offered(exchanges.first_scale[at[asked], client[asked]])
    slots.stamp[of[asked], 0] = exchanges.syn_stamp[at[asked]]  # of use where the SYN comes again
    slots.next[of[asked], 0] = exchanges.first_seq[at[asked], client[asked]] + _ONE
    answered = (steps + taken >= 2) & (steps < 2)
    slots.edge[of[answered], 0] = exchanges.first_window[at[answered], 1 - client[answered]] + 1
    slots.scale[of[answered], 1] = _offered(exchanges.first_scale[at[answered], 1 - client[answered]])
    slots.next[of[answered], 1] = exchanges.first_seq[at[answered], 1 - client[answered]] + _ONE
    slots.apart[of[answered]] = True
    if ways is not None:
        replies = groups.rows[groups.starts[at[answered]] + asked[answered]]
        slots.apart[of[answered]] = (ways[replies] <= 0) | (ways[replies] != slots.way[of[answered]])
    slots.steps[of] = np.where(exchanges.agreed[at], 3, steps + taken)
    agrees = exchanges.agreed[at]
    agreed = of[agrees]
    slots.heard[agreed] = True
    last_step = groups.rows[groups.starts[at[agrees]] + taken[agrees]]
    slots.flows.established_from[agreed] = packets.batch.number[last_step] + 1
    slots.flows.marks[agreed[slots.apart[agreed]]] |= np.uint16(Mark.PROVEN)
    slots.phase[agreed], slots.flows.state[agreed] = Phase.OPEN, FlowState.ESTABLISHED


class _Delivered(NamedTuple):
    """What became of the turns of a batch."""

    carried: Bool
    """For each group and direction: its last turn carried the end with it, shape (g, 2)."""
    offset: I64
    """Stream offset of each turn, shape (t,),"""
    size: I64
    """and how many of its bytes were delivered."""


def _deliver(
    slots: FlowSlots, shared: Reassembly, packets: Packets, exchanges: Exchanges, turns: Turns, slot: I64, flip: U8,
    chosen: Bool,
) -> _Delivered:  # fmt: skip
    """Hand on the payloads."""
    carried = np.zeros((len(slot), 2), np.bool_)
    none = np.zeros(len(turns.group), np.int64)
    mine = np.flatnonzero(chosen[turns.group])
    if not len(mine):
        return _Delivered(carried, none, none)
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
    answers = np.diff(group, prepend=-1) == 0
    base = np.where(answers, offset, slots.base[of, direction])
    limit = base + shared.depth
    if shared.parsers:
        parsed = (slots.flows.marks[of] & _PARSED != 0) | (slots.flows.app_proto[of] == 0)
        limit[(direction == 0) & parsed] = UNLIMITED
    kept = np.clip(limit - offset, 0, size)
    gap = _pass_over(slots, shared, of, direction, size, kept)
    is_last = np.zeros(len(mine), np.bool_)
    is_last[order[np.append(first[1:], len(order)) - 1]] = True
    closes = is_last & exchanges.fin_acked[group, side] & (offset < limit)
    carried[group[closes], direction[closes]] = True
    out = np.flatnonzero((kept > 0) | closes)
    slots.out.deliver(turns, mine[out], of[out], direction[out], offset[out], kept[out], gap[out], closes[out], packets)
    np.add.at(slots.offset, (of, direction), size)
    np.add.at(slots.next, (of, direction), size.astype(np.uint32))
    slots.base[of[answers], direction[answers]] = offset[answers]
    ends = np.append(~answers[1:], True)
    slots.base[of[ends], 1 - direction[ends]] = slots.offset[of[ends], 1 - direction[ends]]
    offsets, sizes = none, none.copy()
    offsets[mine], sizes[mine] = offset, kept
    return _Delivered(carried, offsets, sizes)


def _pass_over(slots: FlowSlots, shared: Reassembly, of: I64, direction: U8, size: I64, kept: I64) -> I64:
    """Count what lies beyond the depth; return for each turn what was passed over before it.

    Runs in Python for the turns of flows that have been beyond their depth.
    """
    gap = np.zeros(len(of), np.int64)
    beyond = size - kept
    total = int(beyond.sum())
    if total:
        shared.count("depth_bytes", total)
    elif not slots.skipped[of, direction].any():
        return gap
    deep = np.flatnonzero((beyond > 0) | (slots.skipped[of, direction] > 0))
    concerned = np.flatnonzero(np.isin(2 * of + direction, ascending(2 * of[deep] + direction[deep])))
    for at in concerned.tolist():
        flow, way = int(of[at]), int(direction[at])
        if kept[at]:
            gap[at], slots.skipped[flow, way] = slots.skipped[flow, way], 0
        slots.skipped[flow, way] += beyond[at]
    return gap


def _offered(scale: U8) -> U8:
    """Return how `FlowSlots.scale` has a window scale option."""
    return np.where(scale == NO_SCALE, 0, np.minimum(scale, MAX_SCALE) + 1).astype(np.uint8)


def _note_window(
    slots: FlowSlots, exchanges: Exchanges, at: I64, of: I64, side: U8 | I64, direction: int, upto: I64
) -> None:
    """Note how far the receivers of a direction have opened their windows, where their handshakes were seen."""
    scale = slots.scale[of].astype(np.int64)
    shift = np.where((scale > 0).all(axis=1) & ~exchanges.last_is_syn[at, 1 - side], scale[:, 1 - direction] - 1, 0)
    edge = np.maximum(slots.edge[of, direction], upto + (exchanges.last_window[at, 1 - side] << shift) + 1)
    midstream = slots.flows.marks[of] & _MIDSTREAM != 0
    slots.edge[of, direction] = np.where(midstream, 0, edge)


def _note_clocks(slots: FlowSlots, exchanges: Exchanges, slot: I64, flip: U8, open_: I64, direction: int) -> None:
    side = flip[open_] ^ direction
    stamped = exchanges.stamped[open_, side]
    at, of, side = open_[stamped], slot[open_[stamped]], side[stamped]
    slots.stamp[of, direction], slots.stamped[of, direction] = exchanges.last_stamp[at, side], True


def _acknowledge(
    slots: FlowSlots, packets: Packets, groups: Groups, exchanges: Exchanges, slot: I64, flip: U8, open_: I64,
    direction: int, carried: Bool,
) -> None:  # fmt: skip
    """Take one direction's FINs, and the last acknowledgements of it by the other one."""
    of, side = slot[open_], flip[open_] ^ direction
    slots.fin[of, direction] |= exchanges.fin[open_, side]
    heard = np.flatnonzero(exchanges.present[open_, 1 - side])
    at, of, side = open_[heard], of[heard], side[heard]
    slots.heard[of, direction] = True
    upto = slots.offset[of, direction] + (exchanges.last_ack[at, 1 - side] - slots.next[of, direction]).view(np.int32)
    _note_window(slots, exchanges, at, of, side, direction, upto)
    slots.acked[of, direction] = np.maximum(slots.acked[of, direction], upto)
    if slots.unacked:
        answered = exchanges.payload[at, 1 - side] > 0
        _forget_acknowledged(slots, of if direction else of[answered], direction, 0)
        if not direction:
            _forget_acknowledged(slots, of[~answered], direction, CONTEXT_BYTES)
    ends = slots.fin[of, direction] & (upto > slots.offset[of, direction]) & ~slots.closed[of, direction]
    at, of = at[ends], of[ends]
    slots.closed[of, direction] = True
    if slots.unacked:
        for side_of in slots.unacked.keys() & set((2 * of + direction).tolist()):
            slots.forget_unacked(side_of)
    alone = ~carried[at, direction]
    at, of = at[alone], of[alone]
    last = groups.rows[groups.ends[at] - 1]
    batch = packets.batch
    slots.out.close(last, of, direction, slots.offset[of, direction], batch.ts_ns[last], batch.number[last])


def _forget_acknowledged(slots: FlowSlots, of: I64, direction: int, but: int) -> None:
    """Let go of kept bytes that are acknowledged now, ``but`` so many. Runs for flows that had any."""
    for side in slots.unacked.keys() & set((2 * of + direction).tolist()):
        upto = int(slots.acked[side >> 1, direction]) - but
        kept = slots.unacked[side]
        rest = [(start, data) for start, data in kept if start + len(data) > upto]
        slots.out.shared.used -= sum(len(data) for _, data in kept) - sum(len(data) for _, data in rest)
        if rest:
            slots.unacked[side] = rest
        else:
            del slots.unacked[side]


def _keep_sent(
    slots: FlowSlots, shared: Reassembly, turns: Turns, delivered: _Delivered, slot: I64, flip: U8, chosen: Bool,
    data: memoryview,
) -> None:  # fmt: skip
    """Keep the delivered bytes that nobody acknowledged, and what a client is in the middle of saying: copies are
    compared with the former, and a variant begins with the latter.
    """
    of = slot[turns.group]
    direction = turns.side ^ flip[turns.group]
    speaks = np.append(turns.group[1:] != turns.group[:-1], True) & (direction == 0) if len(of) else of > 0
    open_ = chosen[turns.group] & ((slots.offset[of, direction] > slots.acked[of, direction]) | speaks)
    open_ &= ~slots.closed[of, direction] & (delivered.size > 0)
    sides: dict[int, list[int]] = {}
    speaking: set[int] = set()
    for turn, flow, way, last in zip(
        *(column[open_].tolist() for column in (np.arange(len(of)), of, direction, speaks)), strict=True
    ):
        sides.setdefault(2 * flow + way, []).append(turn)
        if last:
            speaking.add(2 * flow + way)
    alone = np.append(True, turns.group[1:] != turns.group[:-1]) if len(of) else of > 0
    for side, of_side in sides.items():
        spans = [span for turn in of_side for span in _spans(turns, turn, delivered, data)]
        context = None
        if side in speaking:
            context = 0 if alone[of_side[-1]] else int(delivered.offset[of_side[-1]])
        _keep(slots, shared, side, spans, context)


def _spans(turns: Turns, turn: int, delivered: _Delivered, data: memoryview) -> list[tuple[int, memoryview]]:
    """Return the delivered payloads of a turn, with their stream offsets."""
    first, after = int(turns.first_piece[turn]), int(turns.first_piece[turn + 1])
    at, room = int(delivered.offset[turn]), int(delivered.size[turn])
    spans: list[tuple[int, memoryview]] = []
    for start, end in zip(turns.starts[first:after].tolist(), turns.ends[first:after].tolist(), strict=True):
        if room <= 0:
            break
        piece = data[start : min(end, start + room)]
        spans.append((at, piece))
        at, room = at + len(piece), room - len(piece)
    return spans


def _keep(
    slots: FlowSlots, shared: Reassembly, side: int, spans: list[tuple[int, memoryview]], context: int | None
) -> None:
    """Keep the unacknowledged ones of what one side sent last, and what it says since ``context``, at most
    ``shared.verify`` bytes.
    """
    slot, direction = side >> 1, side & 1
    end, acked = int(slots.offset[slot, direction]), int(slots.acked[slot, direction])
    lowest = acked if context is None else min(acked, max(context, acked - CONTEXT_BYTES))
    lowest = max(lowest, end - shared.verify)
    fresh: list[tuple[int, bytes]] = []
    for start, piece in reversed(spans):
        if start + len(piece) <= lowest:
            break
        if shared.used + len(piece) > shared.memcap:
            shared.count("verify_memcap")
            slots.forget_unacked(side)
            break
        fresh.append((start, bytes(piece)))
        shared.used += len(piece)
    kept = [(start, data) for start, data in slots.unacked.get(side, ()) if start + len(data) > lowest]
    shared.used -= sum(len(data) for _, data in slots.unacked.get(side, ())) - sum(len(data) for _, data in kept)
    fresh.reverse()
    if kept or fresh:
        slots.unacked[side] = together(kept, fresh)
    else:
        slots.unacked.pop(side, None)
