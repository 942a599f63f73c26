"""Batches of hand-picked frames, and the columns of a decoded one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scapy.layers.inet import TCP, in4_pseudoheader
from scapy.layers.inet6 import IPv6, in6_pseudoheader
from scapy.packet import Packet
from scapy.utils import checksum

from ids.counters import Counters
from ids.decode import Decoder, DecodeSettings, DefragSettings
from ids.types import Anomaly, PacketBatch, Packets

T0 = 1_700_000_000_000_000_000


def batch_of(
    frames: Sequence[bytes],
    linktype: int = 1,
    *,
    wirelen: Sequence[int] | None = None,
    ts_ns: Sequence[int] | None = None,
    gap: int = 3,
) -> PacketBatch:
    """Lay frames out with ``gap`` bytes of noise around each, so that alignment varies and overreading shows."""
    data, offset = bytearray(), []
    for frame in frames:
        data += b"\xa5" * gap
        offset.append(len(data))
        data += frame
    caplen = np.array([len(frame) for frame in frames], np.int64)
    n = len(frames)
    return PacketBatch(
        data=np.frombuffer(bytes(data), np.uint8),
        offset=np.array(offset, np.int64),
        caplen=caplen,
        wirelen=caplen if wirelen is None else np.array(wirelen, np.int64),
        ts_ns=np.array([T0 + 1000 * k for k in range(n)] if ts_ns is None else ts_ns, np.int64),
        number=np.arange(1, n + 1, dtype=np.int64),
        linktype=np.full(n, linktype, np.uint16),
        interface=np.arange(n, dtype=np.uint32),
        source="test",
    )


def decode(
    *frames: bytes,
    linktype: int = 1,
    wirelen: Sequence[int] | None = None,
    verify: bool = True,
    counters: Counters | None = None,
) -> Packets:
    """Decode frames with a decoder of their own."""
    decoder = Decoder(DecodeSettings(checksums="all" if verify else "none"), counters or Counters())
    return decoder.decode(batch_of(frames, linktype, wirelen=wirelen))


def decoder(counters: Counters | None = None, **defrag: float) -> Decoder:
    """Return a decoder with these bounds of reassembly."""
    return Decoder(DecodeSettings(defrag=DefragSettings.model_validate(defrag)), counters or Counters())


def anomalies(packets: Packets) -> list[Anomaly]:
    return [Anomaly(code) for code in packets.anomaly.tolist()]


def payload(packets: Packets, row: int) -> bytes:
    start, length = int(packets.payload[row]), int(packets.payload_len[row])
    return packets.batch.data[start : start + length].tobytes()


def left_to_device(packet: Packet) -> bytes:
    """Build an IP packet whose TCP or UDP checksum is the folded sum of the pseudo header, as Linux leaves it."""
    built = packet.__class__(bytes(packet))
    segment = built.payload
    length, proto = len(bytes(segment)), 6 if TCP in built else 17
    pseudo = (in6_pseudoheader if IPv6 in built else in4_pseudoheader)(proto, built, length)
    segment.chksum = 0xFFFF ^ checksum(bytes(pseudo))
    return bytes(built)
