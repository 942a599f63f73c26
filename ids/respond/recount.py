"""What really passed of each flow: the gate counts every packet, and does not show every one.

The gate is asked for flows that end, seem to be idle, or close; never for a packet, and for a batch's flows at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ids.counters import Counters
from ids.errors import KernelError
from ids.flow.segment import FIN, RST
from ids.respond.gate import Gate
from ids.types import I64, EndReason, Flow, FlowColumns, FlowCount, FlowPlace, Mark

CLOCK_LAG_NS = 20_000_000
"""How much earlier than the packet itself the gate's coarse clock may say that it came: a tick is 10 ms at most."""


def _none() -> FlowCount | None:
    return None


class Recount:
    """Keeps with each flow the gate's latest count of it, and settles the flow by that when it has ended."""

    def __init__(self, gate: Gate, flows: FlowColumns, counters: Counters) -> None:
        self._gate = gate
        self._flows = flows
        self._counters = counters
        self._counts: FlowPlace[FlowCount | None] = flows.place(_none)

    def last_seen(self, slots: I64) -> I64:
        """Return when the gate had the latest packet of the flow in each slot (``ts_ns``); 0: it does not know."""
        return np.array([0 if count is None else count.last_ns for count in self._ask(slots)], np.int64)

    def note_closing(self, slots: I64) -> None:
        """Ask for the connections that just closed: the gate begins again with the next one on the same ports."""
        flags, marks = self._flows.tcp_flags[slots], self._flows.marks[slots]
        closed = (flags[:, 0] & flags[:, 1] & FIN != 0) | ((flags[:, 0] | flags[:, 1]) & RST != 0)
        slots = slots[closed & (marks & Mark.COUNTED == 0)]
        if len(slots):
            self._flows.marks[slots] |= np.uint16(Mark.COUNTED)
            self._ask(slots)

    def settle(self, slots: I64) -> None:
        """Add what the gate did not show of these flows, once. It is to forget those that timed out, as we do."""
        if not len(slots):
            return
        timed_out = self._flows.reason[slots] == EndReason.TIMEOUT
        self._ask(slots[~timed_out])  # the others were asked for right before that
        if not self._counts.by_id:
            return
        for slot, flow_id in zip(slots.tolist(), self._flows.id[slots].tolist(), strict=True):
            count = self._counts.by_id.get(flow_id)
            if count is None:
                continue
            flow = self._flows.view(slot)
            add_unseen(flow, count)
            if count.condemned:
                flow.mark(Mark.CONDEMNED)  # perhaps by an engine before this one
            elif flow.reason == "timeout":
                self._forget(flow)

    def _ask(self, slots: I64) -> Sequence[FlowCount | None]:
        if not len(slots):
            return ()
        flows = [self._flows.view(slot) for slot in slots.tolist()]
        try:
            counts = self._gate.counts(flows)
        except KernelError:  # then what was shown is all that is known
            self._counters.add("flow.not_counted", len(flows))
            return [None] * len(flows)
        for flow, count in zip(flows, counts, strict=True):
            if count is not None and belongs(flow, count):
                self._counts.by_id[flow.id] = count
        return counts

    def _forget(self, flow: Flow) -> None:
        try:
            self._gate.forget(flow)
        except KernelError:  # then what comes next is added to the same counts, and shown no deeper
            self._counters.add("flow.not_forgotten")


def belongs(flow: Flow, count: FlowCount) -> bool:
    """Return whether a count is this flow's, and not that of another conversation between the same ends.

    The gate shows the first packet of everything that it begins to count. So what it began later than this flow's last
    packet is a new conversation; and where one has already begun, so is what it began later than this flow's first.
    """
    return count.first_ns <= (flow.start_ns if flow.reason == "tcp_reuse" else flow.last_ns)


def add_unseen(flow: Flow, count: FlowCount) -> None:
    """Bring a flow up to a count that is its own.

    The gate may have forgotten the flow and begun again in its middle: so nothing shrinks. It may also have known it
    for longer, when the engine was restarted: then the flow is as old as that.
    """
    flows, slot = flow.columns, flow.slot
    for total, unseen, counted in (
        (flows.packets, flows.unseen_packets, count.packets),
        (flows.bytes, flows.unseen_bytes, count.bytes),
    ):
        unseen[slot] = np.maximum(0, np.array(counted) - total[slot])
        total[slot] += unseen[slot]
    flows.last_ns[slot] = max(flow.last_ns, count.last_ns)
    if count.first_ns < flow.start_ns - CLOCK_LAG_NS:
        flows.start_ns[slot] = count.first_ns
