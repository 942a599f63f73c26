"""What really passed of each flow: the gate counts every packet, and does not show every one.

Asked are the flows that end, seem to be idle, or close: never a packet, and a batch's flows at once.
"""

from __future__ import annotations

import numpy as np

from ids.counters import Counters
from ids.errors import KernelError
from ids.flow.segment import FIN, RST
from ids.respond.gate import Gate
from ids.types import FLOW_COUNT, I64, Bool, EndReason, FlowColumns, FlowCounts, FlowState, Mark

CLOCK_LAG_NS = 20_000_000
"""How much earlier than the packet itself the gate's coarse clock may say that it came: a tick is 10 ms at most."""

_COUNTED, _CONDEMNED = np.uint16(Mark.COUNTED), np.uint16(Mark.CONDEMNED)
_CLOSED = np.uint8(FlowState.CLOSED)
_TIMEOUT, _TCP_REUSE = np.uint8(EndReason.TIMEOUT), np.uint8(EndReason.TCP_REUSE)


class Recount:
    """Keeps with each flow the gate's latest count of it, and settles the flow by that when it has ended."""

    def __init__(self, gate: Gate, flows: FlowColumns, counters: Counters) -> None:
        self._gate = gate
        self._flows = flows
        self._counters = counters
        self._kept: FlowCounts = np.zeros(flows.capacity, FLOW_COUNT)
        """By slot; not known where there is none."""

    def last_seen(self, slots: I64) -> I64:
        """Return when the gate had the latest packet of the flow in each slot (``ts_ns``); 0: it does not know.

        A connection that closed is not asked for again: its end was shown, and behind it there is nothing to wait for.
        """
        last_ns = np.zeros(len(slots), np.int64)
        open_ = self._flows.state[slots] != _CLOSED
        counts = self._ask(slots[open_])
        last_ns[open_] = np.where(counts["known"], counts["last_ns"], 0)
        return last_ns

    def note_closing(self, slots: I64) -> None:
        """Ask for the connections that just closed: the gate begins anew with the next one on the same ports."""
        flags, marks = self._flows.tcp_flags[slots], self._flows.marks[slots]
        closed = (flags[:, 0] & flags[:, 1] & FIN != 0) | ((flags[:, 0] | flags[:, 1]) & RST != 0)
        slots = slots[closed & (marks & _COUNTED == 0)]
        self._flows.marks[slots] |= _COUNTED
        self._ask(slots)

    def settle(self, slots: I64) -> None:
        """Add what the gate did not show of these flows, once. It is to forget those that timed out, as we do."""
        if not len(slots):
            return
        flows = self._flows
        timed_out = flows.reason[slots] == _TIMEOUT
        self._ask(slots[~timed_out])  # the others were asked for right before that, or when they closed
        counts = self._kept_of(slots)
        known = counts["known"]
        add_unseen(flows, slots[known], counts[known])
        flows.marks[slots[known & counts["condemned"]]] |= _CONDEMNED  # perhaps by an engine before this one
        # With a connection that closed the gate begins anew by itself.
        idle = known & ~counts["condemned"] & timed_out & (flows.state[slots] != _CLOSED)
        self._forget(slots[idle])
        self._kept["known"][slots] = False

    def _ask(self, slots: I64) -> FlowCounts:
        if not len(slots):
            return np.zeros(0, FLOW_COUNT)
        try:
            counts = self._gate.counts(self._flows, slots)
        except KernelError:  # then what was shown is all that is known
            self._counters.add("flow.not_counted", len(slots))
            return np.zeros(len(slots), FLOW_COUNT)
        own = counts["known"] & belongs(self._flows, slots, counts)
        self._kept_of(slots)
        self._kept[slots[own]] = counts[own]
        return counts

    def _kept_of(self, slots: I64) -> FlowCounts:
        if len(self._kept) < self._flows.capacity:
            self._kept = np.concatenate((self._kept, np.zeros(self._flows.capacity - len(self._kept), FLOW_COUNT)))
        return self._kept[slots]

    def _forget(self, slots: I64) -> None:
        if not len(slots):
            return
        try:
            self._gate.forget(self._flows, slots)
        except KernelError:  # then what comes next is added to the same counts, and shown no deeper
            self._counters.add("flow.not_forgotten", len(slots))


def belongs(flows: FlowColumns, slots: I64, counts: FlowCounts) -> Bool:
    """Return whether each count is its flow's, and not that of another conversation between the same ends.

    The gate shows the first packet of everything that it begins to count. So what it began later than this flow's last
    packet is a new conversation; and where one has already begun, so is what it began later than this flow's first.
    """
    reused = flows.reason[slots] == _TCP_REUSE
    own: Bool = counts["first_ns"] <= np.where(reused, flows.start_ns[slots], flows.last_ns[slots])
    return own


def add_unseen(flows: FlowColumns, slots: I64, counts: FlowCounts) -> None:
    """Bring flows up to counts that are their own.

    The gate may have forgotten a flow and begun again in its middle: so nothing shrinks. It may also have known it for
    longer, when the engine was started anew: then the flow is as old as that.
    """
    for total, unseen, counted in (
        (flows.packets, flows.unseen_packets, counts["packets"]),
        (flows.bytes, flows.unseen_bytes, counts["bytes"]),
    ):
        unseen[slots] = np.maximum(0, counted - total[slots])
        total[slots] += unseen[slots]
    flows.last_ns[slots] = np.maximum(flows.last_ns[slots], counts["last_ns"])
    older = counts["first_ns"] < flows.start_ns[slots] - CLOCK_LAG_NS
    flows.start_ns[slots[older]] = counts["first_ns"][older]
