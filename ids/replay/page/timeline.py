"""Packets, drops and alerts over time, in a fixed number of bins: these grow wider as the capture goes on."""

from __future__ import annotations

import numpy as np

from ids.types import I64

BINS = 240
"""Bars of a plot: three pixels each."""

FIRST_WIDTH_NS = 1_000_000
LATEST_NS = 1 << 62
"""The year 2116: what a capture claims beyond it counts as then."""


class Timeline:
    """Counts by series and time."""

    def __init__(self) -> None:
        self.first_ns = self.last_ns = 0
        """When the first and the last of what was counted came."""
        self.width_ns = FIRST_WIDTH_NS
        self._start_ns: int | None = None
        self._series: dict[str, I64] = {}

    def add(self, name: str, ts_ns: I64, weights: I64 | None = None) -> None:
        """Count what came at these times, as often as ``weights`` says, in one series."""
        if not len(ts_ns):
            return
        ts_ns = np.clip(ts_ns, 0, LATEST_NS)
        self._fit(int(ts_ns.min()), int(ts_ns.max()))
        assert self._start_ns is not None
        at = np.minimum((ts_ns - self._start_ns) // self.width_ns, BINS - 1)
        self._of(name)[:] += np.bincount(at, weights, BINS).astype(np.int64)

    def series(self, name: str) -> I64:
        """Return the counts of a series, shape (`BINS`,)."""
        return self._of(name)

    @property
    def used(self) -> int:
        """How many bins, from the first, reach to the end of what was counted."""
        return min((self.last_ns - self.start_ns) // self.width_ns + 1, BINS)

    @property
    def start_ns(self) -> int:
        """When the plot begins."""
        return self._start_ns or 0

    def _of(self, name: str) -> I64:
        return self._series.setdefault(name, np.zeros(BINS, np.int64))

    def _fit(self, first: int, last: int) -> None:
        """Make the bins reach over these times; a capture's clock may jump anywhere, also back."""
        if self._start_ns is None:
            self._start_ns = self.first_ns = self.last_ns = first
        self.first_ns, self.last_ns = min(self.first_ns, first), max(self.last_ns, last)
        start, width = self._start_ns, self.width_ns
        if self.first_ns >= start and self.last_ns < start + BINS * width:
            return
        new_start, new_width = min(start, self.first_ns), width
        while self.last_ns >= new_start + BINS * new_width:
            new_width *= 2
        moved = [(start + at * width + width // 2 - new_start) // new_width for at in range(BINS)]
        at = np.minimum(np.array(moved, np.int64), (self.last_ns - new_start) // new_width)  # nothing came later
        for name, counts in self._series.items():
            self._series[name] = np.bincount(at, counts, BINS).astype(np.int64)
        self._start_ns, self.width_ns = new_start, new_width
