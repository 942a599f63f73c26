"""Batches of packets as a capture delivers them, made of frames, and the frames of a connection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from ids.types import PacketBatch
from tests.factory import T0

STEP_NS = 1_000_000


def batch_of(
    frames: Sequence[bytes],
    *,
    first: int = 1,
    linktype: int = 1,
    wirelen: Sequence[int] | None = None,
    ts_ns: Sequence[int] | None = None,
) -> PacketBatch:
    """Return frames as a batch, a millisecond apart, numbered from ``first``."""
    count = len(frames)
    length = np.array([len(frame) for frame in frames], dtype=np.int64)
    times = [T0 + (first + row) * STEP_NS for row in range(count)] if ts_ns is None else ts_ns
    return PacketBatch(
        np.frombuffer(b"".join(frames), dtype=np.uint8),
        np.cumsum(length) - length,
        length,
        length if wirelen is None else np.array(wirelen, dtype=np.int64),
        np.array(times, dtype=np.int64),
        np.arange(first, first + count, dtype=np.int64),
        np.full(count, linktype, dtype=np.uint16),
        np.zeros(count, dtype=np.uint32),
        "test.pcap",
    )


SEGMENT = 1400


def conversation(
    client: bytes, server: bytes, *, sport: int = 40000, dport: int = 80, close: bool = False
) -> list[bytes]:
    """Return the frames of a connection: the handshake, what the client says, the answer, and the end if there is one.

    The first four frames are the handshake and the client's.
    """
    there, back = Ether() / IP(src="192.0.2.1", dst="203.0.113.1"), Ether() / IP(src="203.0.113.1", dst="192.0.2.1")

    def sent(flags: str, seq: int, ack: int, data: bytes = b"") -> bytes:
        return bytes(there / TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack) / data)

    def answered(flags: str, seq: int, ack: int, data: bytes = b"") -> bytes:
        return bytes(back / TCP(sport=dport, dport=sport, flags=flags, seq=seq, ack=ack) / data)

    mine, theirs = 1000 + len(client), 5000 + len(server)
    frames = [sent("S", 999, 0), answered("SA", 4999, 1000), sent("A", 1000, 5000), sent("PA", 1000, 5000, client)]
    frames += [answered("PA", 5000 + at, mine, server[at : at + SEGMENT]) for at in range(0, len(server), SEGMENT)]
    if close:
        frames += [sent("FA", mine, theirs), answered("FA", theirs, mine + 1), sent("A", mine + 1, theirs + 1)]
    return frames
