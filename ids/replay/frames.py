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
    body = batch.offset[rows]
    end = body + batch.caplen[rows]
    made = np.zeros(len(rows), np.int64)  # bytes of made-up header
    kind = np.zeros(len(rows), np.uint16)
    other = batch.linktype[rows] != ETHERNET
    if other.any():
        body[other], kind[other] = network_start(Columns(batch), rows[other])
        made[other] = ETHERNET_HEADER
    present = np.clip(end - body, 0, MAX_FRAME - made)
    missing = np.clip(batch.wirelen[rows] - batch.caplen[rows], 0, MAX_FRAME)
    length = np.minimum(made + present + missing, MAX_FRAME)
    place = np.cumsum(length) - length
    data = np.zeros(int(length.sum()) + 1, np.uint8)
    data[place[other] + 12], data[place[other] + 13] = kind[other] >> 8, kind[other] & 0xFF
    columns = zip((place + made).tolist(), body.tolist(), present.tolist(), strict=True)
    for to, begin, count in columns:
        data[to : to + count] = batch.data[begin : begin + count]
    return Frames(data, place, length)


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
