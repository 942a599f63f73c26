"""Part the packets of one conversation where a connection on the same ports follows another within a batch.

Clients in a hurry take a port again as soon as it is free. Each connection by itself is orderly, both as one are not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ids.flow.keys import PROTO_TCP, Groups
from ids.flow.segment import ACK, FIN, RST, SYN
from ids.types import I64, Bool, Packets

MAX_LIVES = 4
"""Connections of one key that are parted; those behind are taken with the last of them. Each further one is a wave of
array work."""
WORTH_A_WAVE = 32
"""Packets of connections that follow others for which such a wave is cheaper than going a segment at a time."""


def parted(groups: Groups, packets: Packets) -> Groups:
    """Return the groups with each SYN behind the FINs of both sides as the beginning of a group of its own.

    It changes nothing but the speed: what goes on with a connection may always come in another batch.
    """
    opens, flags = opening(groups.rows, packets), packets.tcp_flags[groups.rows]
    opens[groups.starts] = False
    at = np.flatnonzero(opens)
    if not len(at):
        return groups
    group = np.searchsorted(groups.starts, at, side="right") - 1
    same = np.diff(group, prepend=-1) == 0
    before = np.where(same, np.roll(at, 1), groups.starts[group])
    for side in (0, 1):
        fins = np.append(0, np.cumsum((flags & FIN != 0) & (groups.reverse == side)))
        opens[at] &= fins[at] > fins[before]
    at, group = at[opens[at]], group[opens[at]]
    first = np.searchsorted(group, group)
    keep = np.arange(len(at)) - first < MAX_LIVES - 1
    at, group = at[keep], group[keep]
    if not len(at) or int((groups.ends[group] - at)[np.diff(group, prepend=-1) != 0].sum()) < WORTH_A_WAVE:
        return groups
    starts = np.sort(np.concatenate((groups.starts, at)))
    of = np.searchsorted(groups.starts, starts, side="right") - 1
    return replace(
        groups,
        starts=starts,
        ends=np.append(starts[1:], len(groups.rows)),
        keys=[groups.keys[g] for g in of.tolist()],
        order=np.argsort(groups.rows[starts]),
    )


def opening(rows: I64, packets: Packets) -> Bool:
    """Return which rows are SYNs that begin a connection, where there is none."""
    syn = packets.tcp_flags[rows] & (SYN | ACK | RST) == SYN
    opens: Bool = syn & (packets.proto[rows] == PROTO_TCP) & ~packets.doubtful[rows]
    return opens
