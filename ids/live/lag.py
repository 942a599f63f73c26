"""How far inspection lags behind the wire: the age of packets when their inspection is over."""

from __future__ import annotations

import time

from ids.counters import Counters
from ids.types import PacketBatch

GAUGE, HIGHEST = "engine.lag_ms", "engine.lag_highest_ms"


class Lag:
    """Measures whoever reads a ring. The gauge is that of the last second; without packets nothing lags."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._worst_ms = 0

    def note(self, batch: PacketBatch) -> None:
        """Take note of a batch whose inspection is over."""
        if len(batch):
            self._worst_ms = max(self._worst_ms, (time.time_ns() - int(batch.ts_ns.min())) // 1_000_000)

    def tick(self) -> None:
        """Set the gauges."""
        self._counters.set(GAUGE, self._worst_ms)
        self._counters.set(HIGHEST, max(self._worst_ms, self._counters[HIGHEST]))
        self._worst_ms = 0
