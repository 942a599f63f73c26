"""Keep the flows: by key, and by how long they have been idle; time out, evict, end them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TypeAlias

from ids.counters import Counters
from ids.flow.keys import PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP
from ids.flow.settings import FlowSettings
from ids.flow.tcp import Connection
from ids.types import Flow, FlowState

_NS = 1_000_000_000

LastSeen: TypeAlias = Callable[[Sequence[Flow]], Sequence[int]]
"""Tells when each flow had its latest packet (``ts_ns``) for somebody who sees more of them; 0: no idea."""


class Queue(OrderedDict[bytes, "Entry"]):
    """Flows of one protocol and state, longest idle first."""

    def __init__(self, name: str, state: FlowState, timeout_s: float) -> None:
        super().__init__()
        self.name = name
        self.state = state
        self.timeout_ns = int(timeout_s * _NS)


class Entry:
    """A flow in the table."""

    __slots__ = ("connection", "flipped", "flow", "key", "number", "passage", "place", "queue", "seen_ns")

    def __init__(
        self, key: bytes, flow: Flow, flipped: int, connection: Connection | None, queue: Queue, seen_ns: int
    ) -> None:
        self.key = key
        self.flow = flow
        self.flipped = flipped
        """1 where the client is the key's second endpoint."""
        self.connection = connection
        self.queue = queue
        self.seen_ns = seen_ns
        """When its last packet came, on a clock that never goes back."""
        self.number = flow.first_number
        """`PacketBatch.number` of its last packet."""
        self.passage = 0
        """Serial number of the batch that touched it last."""
        self.place = 0
        """Its place among the flows of that batch."""


class FlowStore:
    """All live flows, at most ``settings.max_flows``."""

    def __init__(self, settings: FlowSettings, counters: Counters, last_seen: LastSeen | None = None) -> None:
        self._max_flows = settings.max_flows
        self._counters = counters
        self._last_seen = last_seen
        self._entries: dict[bytes, Entry] = {}
        self._last_id = 0
        self.passages = 0
        """Batches so far."""
        self._started: list[Flow] = []
        self._ended: list[Flow] = []
        tcp = {
            FlowState.NEW: Queue("tcp.new", FlowState.NEW, settings.tcp_new_timeout_s),
            FlowState.ESTABLISHED: Queue("tcp.established", FlowState.ESTABLISHED, settings.tcp_established_timeout_s),
            FlowState.CLOSED: Queue("tcp.closed", FlowState.CLOSED, settings.tcp_closed_timeout_s),
        }
        udp = _pair("udp", settings.udp_new_timeout_s, settings.udp_established_timeout_s)
        icmp = _pair("icmp", settings.icmp_new_timeout_s, settings.icmp_established_timeout_s)
        self._other = _pair("other", settings.other_new_timeout_s, settings.other_established_timeout_s)
        self._by_proto = {PROTO_TCP: tcp, PROTO_UDP: udp, PROTO_ICMP: icmp, PROTO_ICMPV6: icmp}
        self._new_by_proto = {proto: queues[FlowState.NEW] for proto, queues in self._by_proto.items()}
        self._new_other = self._other[FlowState.NEW]
        groups = [tcp, udp, icmp, self._other]
        self._closed = [tcp[FlowState.CLOSED]]
        self._new = [queues[FlowState.NEW] for queues in groups]
        self._established = [queues[FlowState.ESTABLISHED] for queues in groups]
        self._queues = [*self._closed, *self._new, *self._established]
        self.shortest_timeout_ns = min(queue.timeout_ns for queue in self._queues)

    def __len__(self) -> int:
        return len(self._entries)

    def next_id(self) -> int:
        """Return an id that no flow has had yet."""
        self._last_id += 1
        return self._last_id

    def find(self, key: bytes, now_ns: int, row: int) -> Entry | None:
        """Return the live flow of a key; one that timed out before ``now_ns`` is ended instead."""
        entry = self._entries.get(key)
        if entry is not None and entry.seen_ns + entry.queue.timeout_ns < now_ns and self._idle([entry], now_ns):
            self.end(entry, "timeout", row)
            return None
        return entry

    def add(self, key: bytes, flow: Flow, flipped: int, connection: Connection | None, now_ns: int) -> Entry:
        """Keep a new flow, and evict another one if there is no room."""
        if len(self._entries) >= self._max_flows:
            self._evict()
        queue = self._new_by_proto.get(flow.proto, self._new_other)
        entry = Entry(key, flow, flipped, connection, queue, now_ns)
        self._entries[key] = queue[key] = entry
        self._started.append(flow)
        return entry

    def touch(self, entry: Entry, now_ns: int, number: int) -> None:
        """Note that a flow's latest packet came at ``now_ns``, and which state it is in now."""
        entry.seen_ns = now_ns
        entry.number = number
        queue, flow = entry.queue, entry.flow
        if queue.state is flow.state:
            queue.move_to_end(entry.key)
        else:
            del queue[entry.key]
            queue = entry.queue = self._by_proto.get(flow.proto, self._other)[flow.state]
            queue[entry.key] = entry

    def sort(self, entries: list[Entry]) -> None:
        """Put flows that were touched out of order in the order of their last packets."""
        for entry in sorted(entries, key=lambda entry: entry.seen_ns):
            if self._entries.get(entry.key) is entry:
                entry.queue.move_to_end(entry.key)

    def end(self, entry: Entry, reason: str, row: int) -> None:
        """End a flow: close its streams, forget it. ``row`` orders the closing chunks."""
        flow = entry.flow
        if entry.connection is not None:
            entry.connection.close((row, flow.last_ns, entry.number))
        flow.reason = reason
        del self._entries[entry.key]
        del entry.queue[entry.key]
        self._ended.append(flow)

    def expire(self, now_ns: int, row: int) -> None:
        """End the flows that have been idle for too long."""
        for queue in self._queues:
            overdue = list(takewhile(lambda entry: entry.seen_ns + entry.queue.timeout_ns < now_ns, queue.values()))
            for entry in self._idle(overdue, now_ns):
                self.end(entry, "timeout", row)

    def _idle(self, overdue: list[Entry], now_ns: int) -> list[Entry]:
        """Return those of the flows that are idle indeed, and keep those that had packets that were not shown.

        A kept one goes to the end of its queue, behind some that had packets later: it may time out late, by no more
        than its timeout, and costs one question in that time.
        """
        if self._last_seen is None or not overdue:
            return overdue
        idle = []
        for entry, last_ns in zip(overdue, self._last_seen([entry.flow for entry in overdue]), strict=True):
            if last_ns + entry.queue.timeout_ns < now_ns:
                idle.append(entry)
            else:
                entry.seen_ns = last_ns
                entry.queue.move_to_end(entry.key)
                self._counters.add("flow.kept_unseen")
        return idle

    def end_all(self, reason: str) -> None:
        """End every flow, in the order of their start."""
        for entry in sorted(self._entries.values(), key=lambda entry: entry.flow.id):
            self.end(entry, reason, 0)

    def take_started(self) -> list[Flow]:
        """Return the flows added since the last call."""
        started, self._started = self._started, []
        return started

    def take_ended(self) -> list[Flow]:
        """Return the flows ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def _evict(self) -> None:
        """End one flow to make room: a closed one, else the idlest of the most numerous kind without an answer."""
        for queues in (self._closed, self._new, self._established):
            queue = max(queues, key=len)
            if queue:
                self._counters.add(f"flow.evicted.{queue.name}")
                self.end(next(iter(queue.values())), "forced", 0)
                return


def _pair(name: str, new_s: float, established_s: float) -> dict[FlowState, Queue]:
    return {
        FlowState.NEW: Queue(f"{name}.new", FlowState.NEW, new_s),
        FlowState.ESTABLISHED: Queue(f"{name}.established", FlowState.ESTABLISHED, established_s),
    }
