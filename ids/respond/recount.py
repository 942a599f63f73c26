"""What really passed of each flow: the gate counts every packet, and does not show every one.

Asked are the flows that end, seem to be idle, or close: never a packet, and a batch's flows at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from ids.counters import Counters
from ids.errors import KernelError
from ids.flow.segment import FIN, RST
from ids.respond.gate import Gate
from ids.types import Flow, FlowCount

CLOCK_LAG_NS = 20_000_000
"""How much earlier than the packet itself the gate's coarse clock may say that it came: a tick is 10 ms at most."""

_COUNT = "respond.count"
_CLOSED = "respond.closed"


class Recount:
    """Keeps with each flow the gate's latest count of it, and settles the flow by that when it has ended."""

    def __init__(self, gate: Gate, counters: Counters) -> None:
        self._gate = gate
        self._counters = counters

    def last_seen(self, flows: Sequence[Flow]) -> list[int]:
        """Return when the gate had the latest packet of each flow (``ts_ns``); 0: it does not know."""
        return [0 if count is None else count.last_ns for count in self._ask(flows)]

    def note_closing(self, flows: Sequence[Flow]) -> None:
        """Ask for the connections that just closed: the gate begins anew with the next one on the same ports."""
        closed = [flow for flow in flows if _closed(flow) and _CLOSED not in flow.storage]
        for flow in closed:
            flow.storage[_CLOSED] = True
        self._ask(closed)

    def settle(self, ended: Sequence[Flow]) -> None:
        """Add what the gate did not show of these flows, once. It is to forget those that timed out, as we do."""
        self._ask([flow for flow in ended if flow.reason != "timeout"])  # the others were asked for right before that
        for flow in ended:
            count: FlowCount | None = flow.storage.get(_COUNT)
            if count is None:
                continue
            add_unseen(flow, count)
            if count.condemned:
                flow.storage["respond.condemned"] = True  # perhaps by an engine before this one
            elif flow.reason == "timeout":
                self._forget(flow)

    def _ask(self, flows: Sequence[Flow]) -> Sequence[FlowCount | None]:
        if not flows:
            return ()
        try:
            counts = self._gate.counts(flows)
        except KernelError:  # then what was shown is all that is known
            self._counters.add("flow.not_counted", len(flows))
            return [None] * len(flows)
        for flow, count in zip(flows, counts, strict=True):
            if count is not None and belongs(flow, count):
                flow.storage[_COUNT] = count
        return counts

    def _forget(self, flow: Flow) -> None:
        try:
            self._gate.forget(flow)
        except KernelError:  # then what comes next is added to the same counts, and shown no deeper
            self._counters.add("flow.not_forgotten")


def belongs(flow: Flow, count: FlowCount) -> bool:
    """Tell whether a count is this flow's, and not that of another conversation between the same ends.

    The gate shows the first packet of everything that it begins to count. So what it began later than this flow's last
    packet is a new conversation; and where one has already begun, so is what it began later than this flow's first.
    """
    return count.first_ns <= (flow.start_ns if flow.reason == "tcp_reuse" else flow.last_ns)


def add_unseen(flow: Flow, count: FlowCount) -> None:
    """Bring a flow up to a count that is its own.

    The gate may have forgotten the flow and begun again in its middle: so nothing shrinks. It may also have known it
    for longer, when the engine was started anew: then the flow is as old as that.
    """
    for side in (0, 1):
        flow.unseen_packets[side] = max(0, count.packets[side] - flow.packets[side])
        flow.unseen_bytes[side] = max(0, count.bytes[side] - flow.bytes[side])
        flow.packets[side] += flow.unseen_packets[side]
        flow.bytes[side] += flow.unseen_bytes[side]
    flow.last_ns = max(flow.last_ns, count.last_ns)
    if count.first_ns < flow.start_ns - CLOCK_LAG_NS:
        flow.start_ns = count.first_ns


def _closed(flow: Flow) -> bool:
    to_server, to_client = flow.tcp_flags
    return bool((to_server & to_client & FIN) | ((to_server | to_client) & RST))
