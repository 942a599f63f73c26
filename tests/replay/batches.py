"""Batches of packets as a capture delivers them, made of frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
