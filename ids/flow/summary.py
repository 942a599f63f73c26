"""What accounting needs of each group of a batch, reduced in NumPy, handed to Python as plain lists."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from ids.flow.keys import PROTO_TCP, Groups
from ids.flow.segment import ACK, RST, SYN
from ids.types import I64, U8, Packets

Identity: TypeAlias = tuple[int, int, tuple[int, int], tuple[int, int], int, int, int, int, int, int, int, int, int]
"""IP version, protocol, source, destination, source and destination port, VLAN, interface, ``ts_ns``, number, TCP
flags, sequence and acknowledgement number of a packet."""


class Summary:
    """By group g, or, where said so, by side: at 2g and 2g + 1."""

    def __init__(self, packets: Packets, groups: Groups, clock: I64) -> None:
        rows, starts, ends, batch = groups.rows, groups.starts, groups.ends, packets.batch
        first, last = rows[starts], rows[ends - 1]
        self._packets = packets
        self._first = first
        self._identities: list[Identity] | None = None
        self.start: list[int] = starts.tolist()
        self.end: list[int] = ends.tolist()
        self.first_row: list[int] = first.tolist()
        self.first_side: list[int] = groups.reverse[starts].tolist()
        self.first_clock: list[int] = clock[first].tolist()
        self.last_row: list[int] = last.tolist()
        self.last_clock: list[int] = clock[last].tolist()
        self.last_ts: list[int] = np.maximum.reduceat(batch.ts_ns[rows], starts).tolist()
        self.last_number: list[int] = batch.number[last].tolist()
        self.packets = _by_side(np.add, groups, np.ones(len(rows), dtype=np.int64))
        self.bytes = _by_side(np.add, groups, batch.wirelen[rows])
        flags = packets.tcp_flags[rows] * (packets.proto[rows] == PROTO_TCP)
        self.flags = _by_side(np.bitwise_or, groups, flags)
        self.any_syn: list[bool] = np.logical_or.reduceat(flags & SYN != 0, starts).tolist()
        bare_syn = flags[starts] & (SYN | ACK | RST) == SYN
        empty = packets.payload_len[first] + packets.payload_missing[first] == 0
        self.lone_syn: list[bool] = (bare_syn & empty & (ends - starts == 1)).tolist()
        """The group is one SYN without payload or FIN."""

    def identity(self, g: int) -> Identity:
        """Return who speaks in the first packet of a group."""
        if self._identities is None:
            self._identities = identities(self._packets, self._first)
        return self._identities[g]


def identities(packets: Packets, rows: I64) -> list[Identity]:
    """Return who speaks in each of these rows."""
    src, dst, batch = packets.src[rows], packets.dst[rows], packets.batch
    return list(
        zip(
            packets.ip_version[rows].tolist(),
            packets.proto[rows].tolist(),
            zip(src[:, 0].tolist(), src[:, 1].tolist(), strict=True),
            zip(dst[:, 0].tolist(), dst[:, 1].tolist(), strict=True),
            packets.sport[rows].tolist(),
            packets.dport[rows].tolist(),
            packets.vlan[rows].tolist(),
            batch.interface[rows].tolist(),
            batch.ts_ns[rows].tolist(),
            batch.number[rows].tolist(),
            packets.tcp_flags[rows].tolist(),
            packets.seq[rows].tolist(),
            packets.ack[rows].tolist(),
            strict=True,
        )
    )


def _by_side(reduce: np.ufunc, groups: Groups, values: I64 | U8) -> list[int]:
    reduced = np.empty(2 * len(groups.starts), dtype=np.int64)
    for side in (0, 1):
        reduced[side::2] = reduce.reduceat(np.where(groups.reverse == side, values, 0), groups.starts)
    result: list[int] = reduced.tolist()
    return result
