"""Judge, for a whole batch at once, which TCP flows hold nothing but an orderly exchange.

A group is *orderly* when, in each direction, every segment begins where the one before it ended, acknowledgements do
not go back or ahead of what was seen, nothing but ACK, PSH, FIN (last) and ECN flags is set, and nothing of a payload
is missing, timestamps do not go back, and nothing is signed or doubtful; but for a handshake that it begins, goes on
with or completes, each step acknowledging exactly the one before. Its bytes need no reassembly: they are delivered as
they lie, one chunk for each *turn*, a run of payload packets of one direction. That the group continues where its
connection stands is the caller's to check.

Rows of other protocols are judged too, to no purpose: the caller leaves them out. All arrays of rows here are in the
sorted order of `ids.flow.keys.Groups`; side 0 is the key's first endpoint, side 1 the second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ids.decode.tcp_options import NO_SCALE, tcp_options
from ids.flow.keys import PROTO_TCP, Groups
from ids.flow.segment import ACK, FIN, RST, SYN, URG
from ids.types import I64, U8, U32, Bool, Packets

_SPEAKS = SYN | RST | URG | ACK
"""Flags that an orderly segment has exactly ACK of."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the connection of each group stands, as far as its handshake goes, shape (g,)."""

    steps: U8
    """Steps of the handshake (SYN, SYN/ACK, ACK) seen so far, 0 to 3."""
    client_side: U8
    """Side of the key that is the client; meaningless before the SYN."""
    client_next: U32
    """Sequence number behind the client's SYN."""
    server_next: U32
    """Sequence number behind the server's SYN/ACK."""


@dataclass(frozen=True, slots=True)
class Exchanges:
    """The judgement of groups: by group, shape (g,), or by group and side of the key, shape (g, 2)."""

    orderly: Bool
    """Every row but those of the handshake continues what was sent before it in the batch."""
    begins_orderly: I64
    """Rows at the beginning of the group that are orderly; all of them, as a rule."""
    steps: U8
    """Steps of the handshake (SYN, SYN/ACK, ACK) that the connection had seen before the group: 0 to 3."""
    taken: U8
    """Of the SYN and the SYN/ACK: those that the group begins with, after ``steps``."""
    agreed: Bool
    """The group brings the ACK that completes the handshake."""
    asker: U8
    """The side that sent the group's first packet."""
    present: Bool
    """The side sent anything."""
    first_seq: U32
    first_ack: U32
    last_ack: U32
    first_window: I64
    last_window: I64
    """Window of the side's last segment, as sent;"""
    last_is_syn: Bool
    """which is never scaled in a SYN."""
    first_scale: U8
    """Window scale option of the side's first segment."""
    stamped: Bool
    """The side sent a timestamp, behind its SYN;"""
    first_stamp: U32
    last_stamp: U32
    syn_stamp: U32
    """Timestamp of each group's first segment; 0 where it has none. Shape (g,)."""
    end_seq: U32
    """Sequence number after the side's last segment, a FIN included."""
    payload: I64
    """Payload bytes."""
    fin: Bool
    """The side sent a FIN."""
    fin_acked: Bool
    """The FIN was acknowledged within the group, after it."""


@dataclass(frozen=True, slots=True)
class Turns:
    """Runs of payload packets of one side, in sorted order, shape (t,) unless said otherwise."""

    group: I64
    side: U8
    first_piece: I64
    """First payload of each turn, and at the end the number of payloads, shape (t + 1,)."""
    size: I64
    """Payload bytes."""
    last_row: I64
    """Row of the last packet."""
    starts: I64
    """For each payload: its first index in the batch's bytes."""
    ends: I64
    """For each payload: one past its last index there."""
    rows: I64
    """For each payload: the row of its packet."""


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
    stamped: Bool
    """There is a timestamp, and no SYN."""
    stamp: U32
    odd: Bool
    """It is signed, or hosts may drop it."""
    scale: U8
    """Window scale option."""


def judge(packets: Packets, groups: Groups, standing: Standing) -> Exchanges:
    """Judge all groups of a batch; ``standing`` has the handshakes that are under way."""
    rows = groups.rows
    columns = _columns(packets, groups)
    flags, payload, seq, end = columns.flags, columns.payload, columns.seq, columns.end
    stamped, stamp, scale = columns.stamped, columns.stamp, columns.scale
    position = np.arange(len(rows))
    first = _per_side(np.minimum, columns, groups, position, len(rows))
    last = _per_side(np.maximum, columns, groups, position, -1)
    present = last >= 0
    opening, taken, agreed = _openings(columns, groups, standing)
    orderly = _orderly_rows(columns, groups, position, first)
    orderly[groups.starts[taken > 0]] = True
    orderly[groups.starts[taken > 1] + 1] = True
    fin = flags & FIN
    fins = _per_side(np.add, columns, groups, fin.astype(np.int64), 0)
    fin_at = _per_side(np.maximum, columns, groups, np.where(fin, position, -1), -1)
    consumed = _per_side(np.maximum, columns, groups, np.where(end != seq, position, -1), -1)
    size = groups.ends - groups.starts
    first_bad = np.minimum.reduceat(np.where(orderly, len(rows), position), groups.starts)
    fin_is_last = (fins == 0) | ((fins == 1) & (fin_at == consumed))
    end_seq, last_ack = end[last], columns.ack[last]
    first_of = np.where(present, first, 0)
    first_stamp = _per_side(np.minimum, columns, groups, np.where(stamped, position, len(rows)), len(rows))
    last_stamp = _per_side(np.maximum, columns, groups, np.where(stamped, position, -1), -1)
    return Exchanges(
        orderly=np.logical_and.reduceat(orderly, groups.starts) & fin_is_last.all(axis=1) & opening,
        begins_orderly=np.where(opening, np.minimum(first_bad - groups.starts, size), 0),
        steps=standing.steps,
        taken=taken,
        agreed=agreed,
        asker=groups.reverse[groups.starts],
        present=present,
        first_seq=seq[first_of],
        first_ack=columns.ack[first_of],
        last_ack=last_ack,
        first_window=packets.window[rows[first_of]].astype(np.int64),
        last_window=packets.window[rows[last]].astype(np.int64),
        last_is_syn=flags[last] & SYN != 0,
        first_scale=scale[first_of],
        stamped=last_stamp >= 0,
        first_stamp=stamp[np.minimum(first_stamp, len(rows) - 1)],
        last_stamp=stamp[last_stamp],
        syn_stamp=stamp[groups.starts],
        end_seq=end_seq,
        payload=_per_side(np.add, columns, groups, payload, 0),
        fin=fins > 0,
        fin_acked=(fins > 0) & (last[:, ::-1] > fin_at) & (last_ack[:, ::-1] == end_seq),
    )


def orderly_rows(packets: Packets, groups: Groups) -> Bool:
    """Return which rows are orderly, shape (m,): they go on where their sides were in the batch, without SYN or FIN."""
    if not len(groups.rows):
        return np.zeros(0, np.bool_)
    columns, position = _columns(packets, groups), np.arange(len(groups.rows))
    first = _per_side(np.minimum, columns, groups, position, len(position))
    found: Bool = _orderly_rows(columns, groups, position, first) & (columns.flags & FIN == 0)
    return found


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
    return Turns(
        group=group[first],
        side=side[first],
        first_piece=after,
        size=np.add.reduceat(size[at], first) if len(first) else np.zeros(0, np.int64),
        last_row=rows[at[after[1:] - 1]],
        starts=start,
        ends=start + size[at],
        rows=rows[at],
    )


def _columns(packets: Packets, groups: Groups) -> _Columns:
    rows = groups.rows
    flags, payload, missing = packets.tcp_flags[rows], packets.payload_len[rows], packets.payload_missing[rows]
    seq = packets.seq[rows]
    control = (flags & FIN) + (flags >> 1 & 1)
    end = seq + (payload + missing + control).astype(np.uint32)
    group = np.repeat(np.arange(len(groups.starts)), groups.ends - groups.starts)
    options = _options(packets, rows)
    return _Columns(seq, packets.ack[rows], end, flags, payload, missing, groups.reverse, group, *options)


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
    orderly: Bool = speaks & continues & advances & seen & (columns.missing == 0) & ~columns.odd
    if columns.stamped.any():
        orderly &= _clock_runs(columns, position, start)
    return orderly


def _options(packets: Packets, rows: I64) -> tuple[Bool, U32, Bool, U8]:
    """Return of the TCP rows which have a timestamp and no SYN, its value, which are signed or doubtful, and the scale
    of the window.
    """
    stamped, stamp, odd = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.uint32), packets.doubtful[rows]
    tcp = np.flatnonzero(packets.proto[rows] == PROTO_TCP)
    options = tcp_options(packets, rows if len(tcp) == len(rows) else rows[tcp])
    stamped[tcp] = options.stamped & (packets.tcp_flags[rows[tcp]] & SYN == 0)
    stamp[tcp] = options.stamp
    odd[tcp] |= options.signed
    scale = np.full(len(rows), NO_SCALE, np.uint8)
    scale[tcp] = options.scale
    return stamped, stamp, odd, scale


def _clock_runs(columns: _Columns, position: I64, start: I64) -> Bool:
    """Say for each row whether its timestamp is none, or no older than the one before it of its side."""
    before = [_latest_before(columns.stamped & (columns.side == number), position) for number in (0, 1)]
    latest = np.where(columns.side, before[1], before[0])
    runs: Bool = ~columns.stamped | (latest < start) | (_ahead(columns.stamp, columns.stamp[latest]) >= 0)
    return runs


def _latest_before(of_side: Bool, position: I64) -> I64:
    """Return for each position the latest one before it that is of the side, or -1."""
    latest = np.maximum.accumulate(np.where(of_side, position, -1))
    return np.concatenate([np.full(min(1, len(latest)), -1), latest[:-1]])


def _ahead(to: U32, of: U32) -> npt.NDArray[np.int32]:
    return (to - of).view(np.int32)


def _openings(columns: _Columns, groups: Groups, standing: Standing) -> tuple[Bool, U8, Bool]:
    """Judge how each group goes on with its handshake.

    Returned are, by group: it does so in order (true where the handshake was complete before); how many of SYN and
    SYN/ACK it begins with; whether the ACK follows them. Each of them is bare and acknowledges exactly the one before.
    """
    flags, side, ack = columns.flags & (_SPEAKS | FIN), columns.side, columns.ack
    bare = (columns.payload + columns.missing == 0) & ~columns.odd
    last, at = len(columns.seq) - 1, groups.starts
    size = groups.ends - groups.starts
    steps, taken = standing.steps, np.zeros(len(at), np.uint8)
    asker, expected_ack = side[at].copy(), standing.client_next.copy()
    asker[steps > 0] = standing.client_side[steps > 0]
    asked = (steps == 0) & (flags[at] == SYN) & bare[at]
    taken[asked] = 1
    expected_ack[asked] = columns.end[at[asked]]
    reply = np.minimum(at + taken, last)
    answered = (taken < size) & (asked | (steps == 1))
    answered &= (flags[reply] == SYN | ACK) & bare[reply] & (side[reply] != asker) & (ack[reply] == expected_ack)
    taken[answered] += 1
    expected_ack = np.where(answered, columns.end[reply], standing.server_next)
    third = np.minimum(at + taken, last)
    waits = answered | (steps == 2)
    agreed = (taken < size) & waits & (side[third] == asker) & (columns.flags[third] & _SPEAKS == ACK)
    agreed &= ack[third] == expected_ack
    opening: Bool = (steps == 3) | agreed | ((taken == size) & (taken > 0))
    return opening, taken, agreed
