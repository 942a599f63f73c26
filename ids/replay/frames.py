"""Captured frames as the XDP program would have met them: with an Ethernet header, and as long as on the wire."""

from __future__ import annotations

import numpy as np

from ids.capture.gather import gather
from ids.decode.columns import Columns
from ids.decode.link import network_start
from ids.kernel.offline import Frames
from ids.types import I64, U64, PacketBatch

ETHERNET = 1
ETHERNET_HEADER = 14

MAX_FRAME = 65_600
"""Bytes of a frame that are judged: an IPv6 packet of the largest size (RFC 8200: 40 + 65,535) with two VLAN tags. What
a capture has beyond that belongs to no packet."""

_BE16 = np.dtype(">u2")
_IP4, _IP6 = 0x0800, 0x86DD
_VLAN = (0x8100, 0x88A8)


def ethernet_frames(batch: PacketBatch, start: int, stop: int) -> Frames:
    """Return the frames of some rows of a batch.

    Frames of other link types get a made-up Ethernet header before their network header, frames that the capture cut
    short get zeroes up to their length on the wire: a snap length is no malformed packet.
    """
    rows = slice(start, stop)
    caplen = batch.caplen[rows]
    plain = (batch.linktype[rows] == ETHERNET) & (caplen == batch.wirelen[rows]) & (caplen <= MAX_FRAME)
    if plain.all():
        return Frames(batch.data, batch.offset[rows], caplen)
    return _rebuilt(batch, np.arange(start, stop, dtype=np.int64))


def _rebuilt(batch: PacketBatch, rows: I64) -> Frames:
    offset, caplen = batch.offset[rows], batch.caplen[rows]
    body, kind = offset + ETHERNET_HEADER, gather(batch.data, offset + 12, _BE16).astype(np.uint16)
    other = batch.linktype[rows] != ETHERNET
    if other.any():
        columns = Columns(batch)
        body[other], kind[other] = network_start(columns, rows[other])
    present = np.minimum(np.maximum(offset + caplen - body, 0), MAX_FRAME - ETHERNET_HEADER)
    missing = np.maximum(batch.wirelen[rows] - caplen, 0)
    length = np.minimum(ETHERNET_HEADER + present + missing, MAX_FRAME)
    short = ~other & (caplen < ETHERNET_HEADER)
    kind[short] = 0
    length[short] = np.minimum(np.maximum(caplen, batch.wirelen[rows])[short], MAX_FRAME)
    at = np.concatenate((np.zeros(1, np.int64), np.cumsum(length + ETHERNET_HEADER)))
    data = np.zeros(int(at[-1]), np.uint8)
    for row, place in enumerate(at[:-1].tolist()):
        data[place + 12], data[place + 13] = kind[row] >> 8, kind[row] & 0xFF
        begin, count = int(body[row]), int(present[row])
        data[place + ETHERNET_HEADER : place + ETHERNET_HEADER + count] = batch.data[begin : begin + count]
    return Frames(data, at[:-1], length)


def sources(frames: Frames) -> U64:
    """Return the outermost IP source address of each frame as two halves, shape (n, 2); zero where there is none."""
    at = frames.offset + 12
    kind = gather(frames.data, at, _BE16)
    for _ in range(2):
        tagged = np.isin(kind, _VLAN)
        if not tagged.any():
            break
        at = np.where(tagged, at + 4, at)
        kind = gather(frames.data, at, _BE16)
    end = frames.offset + frames.length
    found = np.zeros((len(frames.offset), 2), np.uint64)
    four = np.flatnonzero((kind == _IP4) & (at + 22 <= end))
    found[four, 1] = gather(frames.data, at[four] + 14, np.dtype(">u4")).astype(np.uint64) | np.uint64(0xFFFF << 32)
    six = np.flatnonzero((kind == _IP6) & (at + 42 <= end))
    halves = gather(frames.data, at[six] + 10, np.dtype((">u8", 2)))
    found[six] = halves.astype(np.uint64)
    return found
