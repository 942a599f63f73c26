"""The flow table: find the flow of every packet, deliver its bytes, end it in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ids.counters import Counters
from ids.flow.keys import PROTO_TCP, group
from ids.flow.passage import Passage
from ids.flow.reassembly import Reassembly
from ids.flow.settings import FlowSettings, StreamSettings
from ids.flow.slots import FlowSlots, LastSeen
from ids.flow.streams import StreamsBuilder, gather_datagrams
from ids.types import I64, FlowBatch, FlowColumns, Packets

_AFTER_BATCH = 1 << 62
"""Orders what happens when all packets of a batch have been looked at."""


class FlowTable:
    """All live flows, bounded by ``settings`` and ``stream``; whatever is refused is counted, under ``flow.``.

    A flow that ended keeps its slot in ``flows`` until the next call, so that all stages can still read it.
    """

    def __init__(
        self,
        settings: FlowSettings,
        counters: Counters,
        stream: StreamSettings | None = None,
        last_seen: LastSeen | None = None,
        flows: FlowColumns | None = None,
        seed: int = 0,
        *,
        orderly_lane: bool = True,
        parsers: bool = False,
        inline: bool = False,
    ) -> None:
        """``last_seen`` is asked before a flow times out: part of its packets may pass unseen. ``seed``: of flow ids.
        ``parsers``: a stage behind this one names the protocols of flows, and marks those that it parses: their clients
        are heard at any depth. ``inline``: no packet can have been lost on its way here.

        Without ``orderly_lane`` every segment takes the careful way, which must come to the same: for tests.
        """
        self._orderly_lane = orderly_lane
        self.flows = flows if flows is not None else FlowColumns()
        self._counters = counters
        self._reassembly = Reassembly(stream or StreamSettings(), counters)
        self._reassembly.parsers, self._reassembly.inline = parsers, inline
        self._out = StreamsBuilder(self._reassembly)
        self._slots = FlowSlots(settings, counters, self.flows, self._out, last_seen, seed)
        self._ended = np.zeros(0, np.int64)
        self._now_ns = 0

    def __len__(self) -> int:
        return len(self._slots)

    def process(self, packets: Packets) -> FlowBatch:
        """Assign the usable rows to flows, deliver what became contiguous, end what timed out.

        Time is the newest ``ts_ns`` seen in any batch. Costs O(n log n) in NumPy, and Python only for the flows that
        are new, that end, or whose TCP is not in order.
        """
        self._slots.release(self._ended)
        passage = None
        if len(packets):
            clock = np.maximum.accumulate(np.maximum(packets.batch.ts_ns, self._now_ns))
            if packets.usable.any() or packets.doubtful.any():
                packets = self._with_doubtful(packets, clock)
                groups = group(packets, clock, self._slots.shortest_timeout_ns)
                passage = Passage(self._slots, self._reassembly, packets, groups, clock, self._orderly_lane)
                passage.run()
                self._slots.evict(_AFTER_BATCH)
            self._now_ns = int(clock[-1])
            self._slots.expire(self._now_ns, _AFTER_BATCH)
        return self._result(packets, passage)

    def _with_doubtful(self, packets: Packets, clock: I64) -> Packets:
        """Return the packets with the doubtful TCP rows of connections that are known as usable ones.

        They begin no flow: a connection that begins in this batch has those behind its first good packet.
        """
        if not packets.doubtful.any():
            return packets
        of_tcp = packets.doubtful & (packets.proto == PROTO_TCP)
        together = replace(packets, usable=packets.usable | of_tcp)
        groups = group(together, clock, self._slots.shortest_timeout_ns)
        good = np.where(packets.usable[groups.rows], groups.rows, len(packets))
        first = np.minimum.reduceat(good, groups.starts) if len(groups.starts) else groups.starts
        first[self._slots.knows(groups.keys)] = -1
        usable = packets.usable.copy()
        usable[groups.rows[groups.rows > np.repeat(first, groups.ends - groups.starts)]] = True
        return replace(together, usable=usable)

    def expire(self, now_ns: int) -> FlowBatch:
        """End what has been idle for too long, for a live engine that sees no packets. The result has no rows."""
        self._slots.release(self._ended)
        self._now_ns = max(self._now_ns, now_ns)
        self._slots.give_back(self._now_ns)
        self._slots.expire(self._now_ns, _AFTER_BATCH, all_due=True)
        return self._result(None, None)

    def drain(self) -> FlowBatch:
        """End all flows, at the end of a capture: the result has no rows, but their last chunks. Time begins anew."""
        self._slots.release(self._ended)
        self._slots.expire(self._now_ns, _AFTER_BATCH, all_due=True)
        self._slots.end_all()
        self._now_ns = 0
        return self._result(None, None)

    def _result(self, packets: Packets | None, passage: Passage | None) -> FlowBatch:
        started, self._ended = self._slots.take_started(), self._slots.take_ended()
        self._counters.add("flow.total", int((self.flows.primary[started] == 0).sum()))
        self._counters.set("flow.active", len(self._slots))
        self._counters.set("flow.tcp.reassembly.memuse_bytes", self._reassembly.used)
        rows = len(packets) if packets is not None else 0
        slot = passage.slot if passage else np.full(rows, -1, dtype=np.int64)
        direction = passage.direction if passage else np.zeros(rows, dtype=np.uint8)
        return FlowBatch(
            flows=self.flows,
            slot=slot,
            direction=direction,
            streams=self._out.build(self.flows, passage.data if passage else memoryview(b"")),
            gather_datagrams=lambda: gather_datagrams(self.flows, packets, slot, direction),
            started=started,
            ended=self._ended,
            notes=self._reassembly.notes.take(),
        )
