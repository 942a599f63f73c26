"""Judge, for a whole batch at once, which TCP flows hold nothing but an orderly exchange.

A group is *orderly* when, in each direction, every segment begins where the one before it ended, acknowledgements do
not go back or ahead of what was seen, nothing but ACK, PSH, FIN (last) and ECN flags is set, and nothing of a payload
is missing. Its bytes need no reassembly: they are delivered as they lie, one chunk for each *turn*, a run of payload
packets of one direction. That the group continues where its connection stands is the caller's to check.

All arrays here are in the sorted order of `ids.flow.keys.Groups`; side 0 is the key's first endpoint, side 1 the
second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ids.flow.keys import PROTO_TCP, Groups
from ids.flow.segment import ACK, FIN, RST, SYN, URG, Arrival
from ids.types import I64, U8, U32, Bool, Packets

_SPEAKS = SYN | RST | URG | ACK
"""Flags that an orderly segment has exactly ACK of."""


@dataclass(frozen=True, slots=True)
class Exchanges:
    """The judgement of TCP groups: ``orderly`` and ``opening`` by group g, the rest by side, at 2g and 2g + 1."""

    orderly: list[bool]
    opening: list[bool]
    """The group begins with a whole handshake: SYN, SYN/ACK, ACK."""
    present: list[bool]
    """The side sent anything."""
    first_seq: list[int]
    last_ack: list[int]
    end_seq: list[int]
    """Sequence number after the side's last segment, a FIN included."""
    payload: list[int]
    """Payload bytes."""
    fin: list[bool]
    """The side sent a FIN."""
    fin_acked: list[bool]
    """The FIN was acknowledged within the group, after it."""


@dataclass(frozen=True, slots=True)
class Turns:
    """Runs of payload packets of one side, in sorted order, as lists indexed by turn unless said otherwise."""

    first_of_group: list[int]
    """For each group its first turn, and at the end the number of turns."""
    side: list[int]
    first_piece: list[int]
    """First payload of each turn, and at the end the number of payloads."""
    size: list[int]
    """Payload bytes."""
    arrivals: list[Arrival]
    """The last packet of each turn."""
    starts: list[int]
    """For each payload: its first index in ``data``."""
    ends: list[int]
    """For each payload: one past its last index in ``data``."""
    data: memoryview
    """The batch's bytes."""

    def payload(self, turn: int) -> bytes:
        """Return all the bytes of a turn."""
        first, end = self.first_piece[turn], self.first_piece[turn + 1]
        if end - first == 1:
            return bytes(self.data[self.starts[first] : self.ends[first]])
        return b"".join(map(self.data.__getitem__, map(slice, self.starts[first:end], self.ends[first:end])))


@dataclass(frozen=True, slots=True)
class _Columns:
    """TCP columns in sorted order."""

    seq: U32
    ack: U32
    end: U32
    """Sequence number after the segment, SYN and FIN included."""
    flags: U8
    payload: I64
    missing: I64
    side: U8
    group: I64


def judge(packets: Packets, groups: Groups) -> Exchanges:
    """Judge all groups of a batch."""
    rows = groups.rows
    flags, payload, missing = packets.tcp_flags[rows], packets.payload_len[rows], packets.payload_missing[rows]
    seq = packets.seq[rows]
    control = (flags & FIN) + (flags >> 1 & 1)
    end = seq + (payload + missing + control).astype(np.uint32)
    group = np.repeat(np.arange(len(groups.starts)), groups.ends - groups.starts)
    columns = _Columns(seq, packets.ack[rows], end, flags, payload, missing, groups.reverse, group)
    position = np.arange(len(rows))
    first = _per_side(np.minimum, columns, groups, position, len(rows))
    last = _per_side(np.maximum, columns, groups, position, -1)
    present = last >= 0
    opening = _openings(columns, groups)
    handshake = groups.starts[opening]
    orderly = _orderly_rows(columns, groups, position, first)
    orderly[handshake] = orderly[handshake + 1] = True
    fin = flags & FIN
    fins = _per_side(np.add, columns, groups, fin.astype(np.int64), 0)
    fin_at = _per_side(np.maximum, columns, groups, np.where(fin, position, -1), -1)
    consumed = _per_side(np.maximum, columns, groups, np.where(end != seq, position, -1), -1)
    fin_is_last = (fins == 0) | ((fins == 1) & (fin_at == consumed))
    end_seq, last_ack = end[last], columns.ack[last]
    return Exchanges(
        orderly=(np.logical_and.reduceat(orderly, groups.starts) & fin_is_last.all(axis=1)).tolist(),
        opening=opening.tolist(),
        present=present.ravel().tolist(),
        first_seq=seq[np.where(present, first, 0)].ravel().tolist(),
        last_ack=last_ack.ravel().tolist(),
        end_seq=end_seq.ravel().tolist(),
        payload=_per_side(np.add, columns, groups, payload, 0).ravel().tolist(),
        fin=(fins > 0).ravel().tolist(),
        fin_acked=((fins > 0) & (last[:, ::-1] > fin_at) & (last_ack[:, ::-1] == end_seq)).ravel().tolist(),
    )


def find_turns(packets: Packets, groups: Groups) -> Turns:
    """Find the turns of all TCP groups."""
    rows = groups.rows
    size = packets.payload_len[rows]
    at = np.flatnonzero((size > 0) & (packets.proto[rows] == PROTO_TCP))
    group = np.searchsorted(groups.starts, at, side="right") - 1
    side = groups.reverse[at]
    change = np.flatnonzero((group[1:] != group[:-1]) | (side[1:] != side[:-1])) + 1
    first = np.concatenate([np.zeros(min(1, len(at)), dtype=np.int64), change])
    after = np.append(first, len(at))
    start = packets.payload[rows[at]]
    batch, last = packets.batch, rows[at[after[1:] - 1]]
    return Turns(
        first_of_group=np.searchsorted(group[first], np.arange(len(groups.starts) + 1)).tolist(),
        side=side[first].tolist(),
        first_piece=after.tolist(),
        size=np.add.reduceat(size[at], first).tolist() if len(first) else [],
        arrivals=list(zip(last.tolist(), batch.ts_ns[last].tolist(), batch.number[last].tolist(), strict=True)),
        starts=start.tolist(),
        ends=(start + size[at]).tolist(),
        data=np.ascontiguousarray(batch.data).data,
    )


def _per_side(reduce: np.ufunc, columns: _Columns, groups: Groups, values: I64, without: int) -> I64:
    """Reduce ``values`` for each group and side, shape (g, 2); rows of the other side count as ``without``."""
    sides = [reduce.reduceat(np.where(columns.side == side, values, without), groups.starts) for side in (0, 1)]
    return np.stack(sides, axis=1)


def _orderly_rows(columns: _Columns, groups: Groups, position: I64, first: I64) -> Bool:
    """Say for each row whether it continues what its side, and the other one, sent before it."""
    side, end, ack = columns.side, columns.end, columns.ack
    before = [_latest_before(side == number, position) for number in (0, 1)]
    same = np.where(side, before[1], before[0])
    other = np.where(side, before[0], before[1])
    start = groups.starts[columns.group]
    is_first = same < start
    continues = is_first | (columns.seq == end[same])
    advances = is_first | (_ahead(ack, ack[same]) >= 0) | (columns.flags[same] & ACK == 0)
    # Before the other side's first segment of the batch, that segment's number is what may be acknowledged; where the
    # other side sent nothing at all, the caller checks.
    others_first = first[columns.group, 1 - side]
    silent = others_first >= len(position)
    acknowledgeable = np.where(other < start, columns.seq[np.where(silent, 0, others_first)], end[other])
    seen = (silent & (other < start)) | (_ahead(ack, acknowledgeable) <= 0)
    speaks: Bool = columns.flags & _SPEAKS == ACK
    orderly: Bool = speaks & continues & advances & seen & (columns.missing == 0)
    return orderly


def _latest_before(of_side: Bool, position: I64) -> I64:
    """Return for each position the latest one before it that is of the side, or -1."""
    latest = np.maximum.accumulate(np.where(of_side, position, -1))
    return np.concatenate([np.full(min(1, len(latest)), -1), latest[:-1]])


def _ahead(to: U32, of: U32) -> npt.NDArray[np.int32]:
    return (to - of).view(np.int32)


def _openings(columns: _Columns, groups: Groups) -> Bool:
    """Say which groups begin with bare SYN, bare SYN/ACK, ACK, each acknowledging the one before it."""
    syn = groups.starts
    enough = groups.ends - syn >= 3
    last = len(columns.seq) - 1
    reply, third = np.minimum(syn + 1, last), np.minimum(syn + 2, last)
    flags = columns.flags & (_SPEAKS | FIN)
    bare = columns.payload + columns.missing == 0
    side, ack, end = columns.side, columns.ack, columns.end
    asked = (flags[syn] == SYN) & bare[syn]
    answered = (flags[reply] == SYN | ACK) & bare[reply] & (side[reply] != side[syn]) & (ack[reply] == end[syn])
    agreed = (side[third] == side[syn]) & (ack[third] == end[reply]) & (flags[third] & _SPEAKS == ACK)
    opening: Bool = enough & asked & answered & agreed
    return opening
