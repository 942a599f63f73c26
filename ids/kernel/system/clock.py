"""From the kernel's clock to the world's: CLOCK_MONOTONIC is what BPF has, UNIX time is what everybody reads."""

from __future__ import annotations

import time

RESAMPLE_NS = 1_000_000_000
"""How old an offset may get: NTP may step or slew the wall clock at any time."""


def sample_offset_ns() -> int:
    """Return UNIX time minus monotonic time, from the closest of three readings."""
    best, offset = 1 << 62, 0
    for _ in range(3):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if after - before < best:
            best, offset = after - before, wall - (before + after) // 2
    return offset


class WallClock:
    """The offset between the two clocks, sampled again as it ages."""

    def __init__(self) -> None:
        self._sampled_ns = 0
        self._offset_ns = 0

    def offset_ns(self) -> int:
        """Return what to add to a monotonic time to get UNIX time."""
        now = time.monotonic_ns()
        if now - self._sampled_ns > RESAMPLE_NS or not self._sampled_ns:
            self._offset_ns = sample_offset_ns()
            self._sampled_ns = now
        return self._offset_ns
