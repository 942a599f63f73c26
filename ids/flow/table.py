"""The flow table: find the flow of every packet, deliver its bytes, end it in time."""

from __future__ import annotations

import numpy as np

from ids.counters import Counters
from ids.flow.keys import group
from ids.flow.passage import Passage
from ids.flow.reassembly import Reassembly
from ids.flow.settings import FlowSettings, StreamSettings
from ids.flow.store import FlowStore, LastSeen
from ids.types import FlowBatch, Packets

_AFTER_BATCH = 1 << 62
"""Orders what happens when all packets of a batch have been looked at."""


class FlowTable:
    """All live flows, bounded by ``settings`` and ``stream``; whatever is refused is counted, under ``flow.``."""

    def __init__(
        self,
        settings: FlowSettings,
        counters: Counters,
        stream: StreamSettings | None = None,
        last_seen: LastSeen | None = None,
    ) -> None:
        """``last_seen`` is asked before a flow times out: part of its packets may pass unseen."""
        self._counters = counters
        self._reassembly = Reassembly(stream or StreamSettings(), counters)
        self._store = FlowStore(settings, counters, last_seen)
        self._now_ns = 0

    def __len__(self) -> int:
        return len(self._store)

    def process(self, packets: Packets) -> FlowBatch:
        """Assign the usable rows to flows, deliver what became contiguous, end what timed out.

        Time is the newest ``ts_ns`` seen in any batch. Costs O(n log n) in NumPy, and Python per flow, not per packet,
        for all TCP flows that are in order.
        """
        passage = None
        if len(packets):
            clock = np.maximum.accumulate(np.maximum(packets.batch.ts_ns, self._now_ns))
            if packets.usable.any():
                groups = group(packets, clock, self._store.shortest_timeout_ns)
                passage = Passage(self._store, self._reassembly, packets, groups, clock)
                passage.run()
            self._now_ns = int(clock[-1])
            self._store.expire(self._now_ns, _AFTER_BATCH)
        return self._result(len(packets), passage)

    def expire(self, now_ns: int) -> FlowBatch:
        """End what has been idle for too long, for a live engine that sees no packets. The result has no rows."""
        self._now_ns = max(self._now_ns, now_ns)
        self._store.expire(self._now_ns, _AFTER_BATCH)
        return self._result(0, None)

    def drain(self, reason: str = "shutdown") -> FlowBatch:
        """End all flows, at the end of a capture: the result has no rows, but their last chunks."""
        self._store.end_all(reason)
        return self._result(0, None)

    def _result(self, rows: int, passage: Passage | None) -> FlowBatch:
        started = self._store.take_started()
        self._counters.add("flow.total", len(started))
        self._counters.set("flow.active", len(self._store))
        self._counters.set("flow.tcp.reassembly.memuse_bytes", self._reassembly.used)
        return FlowBatch(
            flows=passage.flows if passage else [],
            index=passage.index if passage else np.full(rows, -1, dtype=np.int64),
            direction=passage.direction if passage else np.zeros(rows, dtype=np.uint8),
            chunks=self._reassembly.take_chunks(),
            started=started,
            ended=self._store.take_ended(),
        )
