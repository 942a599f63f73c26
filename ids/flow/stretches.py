"""Take what is orderly in the midst of disorder: stretches of segments at once, for connections that are objects.

Where a capture or a network loses packets, a connection is in disorder for a segment or two, and in order for the next
hundred; and of many only one side is seen, which acknowledges what nobody saw. Such connections are objects
(`ids.flow.connections`), and `ids.flow.tcp` would take them a segment at a time. A *stretch* is a run of segments that
are orderly by themselves (`ids.flow.inorder`). It is judged by arrays together with all others of the batch, so that
taking it costs a statement for each of its turns.

A stretch comes to what the careful way comes to, or is left to that: where anything is held back, missing, contested,
put aside or closed, where the stretch does not begin exactly where the connection stands, or where memory is scarce.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ids.flow.acceptance import FAR, MAX_SCALE
from ids.flow.half import Half
from ids.flow.inorder import Standing, find_turns, judge, orderly_rows
from ids.flow.keys import Groups
from ids.flow.reassembly import CONTEXT_BYTES, HALF, MODULUS, Reassembly
from ids.flow.slots import FlowSlots
from ids.flow.tcp import Connection, Phase
from ids.types import I64, U8, Mark, Packets

MIN_STRETCH = 8
"""Segments for which it is worth while: taking a stretch costs about as much as taking so many of them one by one."""
MAX_STRETCH = 64
"""Segments of a stretch: where it does not fit the connection, because a hole is open, say, the next one may."""

_MIDSTREAM = int(Mark.MIDSTREAM)


@dataclass(slots=True)
class _Taken:
    """What was delivered of one turn."""

    turn: int
    slot: int
    direction: int
    offset: int
    size: int
    gap: int


class Stretches:
    """The stretches of the groups of a batch that are taken carefully."""

    def __init__(self, packets: Packets, groups: Groups, places: I64, shared: Reassembly, data: memoryview) -> None:
        """Find the stretches; ``places`` is where each row of ``groups`` is in what the caller has groups of."""
        self._packets = packets
        self._shared = shared
        self._data = data
        starts, ends = _parted(orderly_rows(packets, groups), groups.starts)
        sizes = ends - starts
        last = np.cumsum(sizes)
        of = np.repeat(starts - (last - sizes), sizes) + np.arange(int(last[-1]) if len(last) else 0)
        self._groups = Groups(groups.rows[of], groups.reverse[of], last - sizes, last, [], np.arange(len(starts)))
        self.at: dict[int, int] = dict(zip(places[starts].tolist(), range(len(starts)), strict=True))
        """Stretches by the place where they begin."""
        self.sizes: list[int] = sizes.tolist()
        self._taken: list[_Taken] = []
        if self.at:
            self._judge()

    def _judge(self) -> None:
        groups, count = self._groups, len(self.sizes)
        none, zero = np.full(count, 3, np.uint8), np.zeros(count, np.uint32)
        exchanges = judge(self._packets, groups, Standing(none, np.zeros(count, np.uint8), zero, zero))
        self._turns = turns = find_turns(self._packets, groups)
        self._orderly: list[bool] = exchanges.orderly.tolist()
        columns: tuple[np.ndarray, ...] = (exchanges.present, exchanges.first_seq, exchanges.first_ack)
        columns += exchanges.last_ack, exchanges.stamped, exchanges.first_stamp, exchanges.last_stamp
        self._sides: list[list[tuple[Any, ...]]] = [
            list(zip(*(column[:, side].tolist() for column in columns), strict=True)) for side in (0, 1)
        ]
        self._first_turn: list[int] = np.searchsorted(turns.group, np.arange(count + 1)).tolist()
        self._turn_side: list[int] = turns.side.tolist()
        self._turn_size: list[int] = turns.size.tolist()

    def take(self, number: int, connection: Connection, flipped: int) -> bool:
        """Take a stretch, if it goes on exactly where the connection stands; return whether it does."""
        halves = connection.halves
        if halves is None or connection.phase is not Phase.OPEN or connection.versions.variants:
            return False
        if not self._orderly[number] or not (_quiet(halves[0]) and _quiet(halves[1])):
            return False
        turns = range(self._first_turn[number], self._first_turn[number + 1])
        if self._shared.used + sum(self._turn_size[turn] for turn in turns) > self._shared.memcap:
            return False
        midstream = bool(connection.columns.marks.item(connection.slot) & _MIDSTREAM)
        if not all(self._fits(number, side, halves, flipped, midstream) for side in (0, 1)):
            return False
        self._hear(number, connection, halves, flipped, midstream)
        for turn in turns:
            self._deliver(turn, halves, self._turn_side[turn] ^ flipped, number)
        at = self._last_arrival(number)
        for half in halves:
            if half.offset > half.reached:
                half.reached = half.offset
            half.forget_sent(min(half.acked, max(half.context, half.acked - CONTEXT_BYTES)), at)
        return True

    def _fits(self, number: int, side: int, halves: tuple[Half, Half], flipped: int, midstream: bool) -> bool:
        """Return whether what one side says goes on where it was, and acknowledges nothing odd."""
        present, first_seq, first_ack, last_ack, stamped, first_stamp, _ = self._sides[side][number]
        if not present:
            return True
        half, other = halves[side ^ flipped], halves[1 - (side ^ flipped)]
        if first_seq != half.next:
            return False
        if stamped and half.stamp is not None and (first_stamp - half.stamp) & MODULUS >= HALF:
            return False
        first, last = other.place(first_ack), other.place(last_ack)
        if first < other.acked:
            return False
        if self._sides[1 - side][number][0] or last <= other.offset:
            return other.claimed <= other.offset
        # All that it acknowledges was not seen.
        told = half.heard or not (midstream or other.edge is None)
        return not told and first > other.offset and other.claimed <= first and 0 <= last - first < FAR

    def _hear(
        self, number: int, connection: Connection, halves: tuple[Half, Half], flipped: int, midstream: bool
    ) -> None:
        """Take the acknowledgements, windows and clocks of both sides."""
        groups, packets = self._groups, self._packets
        begin, end = int(groups.starts[number]), int(groups.ends[number])
        rows, reverse = groups.rows[begin:end], groups.reverse[begin:end]
        for side in (0, 1):
            present, _, first_ack, last_ack, stamped, _, last_stamp = self._sides[side][number]
            if not present:
                continue
            direction = side ^ flipped
            half, other = halves[direction], halves[1 - direction]
            mine = rows[reverse == side]
            upto = other.place(last_ack)
            if self._sides[1 - side][number][0] or upto <= other.offset:
                other.acked = max(other.acked, upto)
            else:
                self._shared.counters.add("flow.tcp.ack_unseen", len(mine))
                other.claimed = upto
            other.heard = True
            if stamped:
                half.stamp = last_stamp
            scale, theirs = connection.scales[direction], connection.scales[1 - direction]
            shift = 0 if scale is None or theirs is None else min(scale, MAX_SCALE)
            window = packets.window[mine].astype(np.int64) << shift
            half.widest = max(half.widest, int(window.max()))
            if not midstream:
                acked = (packets.ack[mine] - np.uint32(first_ack)).astype(np.int64) + other.place(first_ack)
                edge = int((acked + window).max())
                other.edge = edge if other.edge is None else max(other.edge, edge)

    def _deliver(self, turn: int, halves: tuple[Half, Half], direction: int, number: int) -> None:
        """Hand on a turn, as far as the depth allows; keep what is not acknowledged for comparison."""
        half, shared, size = halves[direction], self._shared, self._turn_size[turn]
        offset = half.offset
        kept = min(max(half.limit() - offset, 0), size)
        if kept:
            self._taken.append(_Taken(turn, half.slot, direction, offset, kept, half.skipped))
            half.skipped = 0
            if shared.verify:
                self._keep(turn, half, kept, number)
        if kept < size:
            shared.count("depth_bytes", size - kept)
            half.skipped += size - kept
        half.offset = offset + size
        half.next = (half.next + size) & MODULUS
        halves[1 - direction].spoken(self._last_arrival(number))

    def _keep(self, turn: int, half: Half, kept: int, number: int) -> None:
        """Keep of the first ``kept`` bytes of a turn what is to be compared with copies."""
        turns, start, end = self._turns, half.offset, half.offset + kept
        lowest = max(min(half.acked, max(half.context, half.acked - CONTEXT_BYTES)), end - self._shared.verify)
        if end <= lowest:
            return
        at, place = self._last_arrival(number), start
        span = slice(int(turns.first_piece[turn]), int(turns.first_piece[turn + 1]))
        for first, after in zip(turns.starts[span].tolist(), turns.ends[span].tolist(), strict=True):
            piece = self._data[first : min(after, first + end - place)]
            if place + len(piece) > lowest:
                half.offset = place
                half.keep_sent(bytes(piece), at)
            place += len(piece)
            if place == end:
                break

    def _last_arrival(self, number: int) -> tuple[int, int, int]:
        row = int(self._groups.rows[self._groups.ends[number] - 1])
        batch = self._packets.batch
        return row, int(batch.ts_ns[row]), int(batch.number[row])

    def hand_on(self, slots: FlowSlots) -> None:
        """Hand on what was taken."""
        taken = self._taken
        if not taken:
            return
        columns = np.array([(one.turn, one.slot, one.direction, one.offset, one.size, one.gap) for one in taken])
        turn, slot, direction, offset, size, gap = columns.T
        side: U8 = direction.astype(np.uint8)
        open_ = np.zeros(len(turn), np.bool_)
        slots.out.deliver(self._turns, turn, slot, side, offset, size, gap, open_, self._packets)


def _quiet(half: Half) -> bool:
    """Return whether a direction is open, and there is nothing to it but bytes in order."""
    if half.closed or half.fin_at is not None or half.gap or half.dark or half.resumed is not None:
        return False
    if half.held or half.aside or half.due or half.disputed or half.doubts:
        return False
    if half.lost is not None and half.lost.late:
        return False
    return half.reached <= half.offset


def _parted(orderly: np.ndarray, starts: I64) -> tuple[I64, I64]:
    """Return where stretches begin and end among rows of which some are ``orderly``, in groups."""
    begins = np.zeros(len(orderly) + 1, np.bool_)
    begins[starts] = begins[-1] = True
    first = np.flatnonzero(orderly & (begins[:-1] | ~np.append(False, orderly[:-1])))
    behind = np.flatnonzero(orderly & (begins[1:] | ~np.append(orderly[1:], False))) + 1
    sizes = behind - first
    count = -(-sizes // MAX_STRETCH)
    of = np.repeat(np.arange(len(first)), count)
    part = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    start = first[of] + part * MAX_STRETCH
    end = np.minimum(start + MAX_STRETCH, behind[of])
    worth = end - start >= MIN_STRETCH
    return start[worth], end[worth]
