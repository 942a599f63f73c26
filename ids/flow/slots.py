"""Keep the flows: by key, and by how long they have been idle; time out, evict, end them. All of it a batch at a time.

What everybody may know of a flow is in `ids.types.FlowColumns`; what only this stage needs lies in columns beside
it, of the same slots. A TCP connection that is orderly is a row of numbers; one that is not is a `Connection` object,
for as long as it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ids.counters import Counters
from ids.flow.endings import tcp_states
from ids.flow.free import FreeSlots
from ids.flow.identity import FlowIds
from ids.flow.keys import PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP
from ids.flow.lost import Lost
from ids.flow.segment import Arrival
from ids.flow.settings import FlowSettings
from ids.flow.streams import StreamsBuilder
from ids.flow.tcp import Connection, Phase
from ids.flow.versions import MAX_VARIANTS
from ids.memory import empty
from ids.types import I64, U8, U32, Bool, EndReason, FlowColumns, FlowState, TcpState

_NS = 1_000_000_000

LastSeen: TypeAlias = Callable[[I64], I64]
"""Returns when each of the flows in these slots had its latest packet (``ts_ns``) for somebody who sees more of them;
0: no idea."""

FAMILIES = ("other", "tcp", "udp", "icmp")
_OTHER, _TCP, _UDP, _ICMP = range(4)
_STATES = len(FlowState)

SWEEPS_PER_TIMEOUT = 64
"""How often the whole table is searched for idle flows in the time of the shortest timeout: so a flow ends late by at
most a 64th of it, and a search costs little even with batches of a few packets."""


EVICT_SHARE = 64
"""One in how many flows is evicted at once where the table is full: each time, all of it is looked through."""


GIVE_BACK_NS = 60 * _NS
"""How often it is looked whether a crowd has gone, and left columns behind that few of the flows need."""


class FlowSlots:
    """All live flows, at most ``settings.max_flows`` between two batches."""

    def __init__(
        self,
        settings: FlowSettings,
        counters: Counters,
        flows: FlowColumns,
        out: StreamsBuilder,
        last_seen: LastSeen | None = None,
        seed: int = 0,
    ) -> None:
        self.flows = flows
        self.out = out
        self._max_flows = settings.max_flows
        self._counters = counters
        self._last_seen = last_seen
        self._ids = FlowIds(seed)
        self._added = 0
        self._by_key: dict[bytes, int] = {}
        self._keys: list[bytes] = [b""] * flows.capacity
        self._free = FreeSlots(flows.capacity)
        self.connections: dict[int, Connection] = {}
        """Of the flows whose TCP is not orderly."""
        self.unacked: dict[int, list[tuple[int, bytes]]] = {}
        """Delivered bytes of orderly flows that wait for their acknowledgement, with their stream offsets; by
        ``2 * slot + direction``."""
        self.lost: dict[int, Lost] = {}
        """Holes of orderly flows that were given up; by the same."""
        self._allocate(flows.capacity)
        self._variants = 0
        self._last_variant = 0
        out.shared.open_variant, out.shared.close_variant = self.open_variant, self.close_variant
        self._reset_ns = int(settings.tcp_reset_timeout_s * _NS)
        self._timeouts_ns = _timeouts(settings)
        self.shortest_timeout_ns = int(self._timeouts_ns.min())
        self._sweep_ns = self.shortest_timeout_ns // SWEEPS_PER_TIMEOUT
        self._next_sweep_ns = 0
        self._crowd = 0
        """The most flows there were since memory was given back."""
        self._next_give_back_ns = 0
        self._ended: list[I64] = []
        self._started: list[I64] = []

    def __len__(self) -> int:
        return len(self._by_key)

    def _allocate(self, capacity: int) -> None:
        self.live: Bool = np.zeros(capacity, np.bool_)
        self.family: U8 = np.zeros(capacity, np.uint8)
        self.flipped: U8 = np.zeros(capacity, np.uint8)
        """1 where the client is the key's second endpoint."""
        self.seen_ns: I64 = np.zeros(capacity, np.int64)
        """When its last packet came, on a clock that never goes back."""
        self.number: I64 = np.zeros(capacity, np.int64)
        """`PacketBatch.number` of its last packet."""
        self.phase: U8 = np.zeros(capacity, np.uint8)
        """`Phase`; of a flow with an object in ``connections``, the object's counts."""
        self.steps: U8 = np.zeros(capacity, np.uint8)
        """Steps of the TCP handshake seen in order (SYN, SYN/ACK, ACK); 3 for what both hosts agreed on anyhow."""
        self.serial: I64 = np.zeros(capacity, np.int64)
        """How many flows were added before it."""
        self.way: I64 = np.zeros(capacity, np.int64)
        """`Segment.way` of its first packet."""
        self.apart: Bool = np.zeros(capacity, np.bool_)
        """The SYN/ACK, where it was the second step, came another way than the SYN."""
        self.next: U32 = np.zeros((capacity, 2), np.uint32)
        """Sequence number at ``offset``, by direction."""
        self.offset: I64 = np.zeros((capacity, 2), np.int64)
        """Stream offset of the next byte to deliver."""
        self.acked: I64 = np.zeros((capacity, 2), np.int64)
        """Stream offset up to which the receiver has acknowledged."""
        self.fin: Bool = np.zeros((capacity, 2), np.bool_)
        """The direction's FIN came, at ``offset``."""
        self.closed: Bool = np.zeros((capacity, 2), np.bool_)
        self.careful: Bool = np.zeros(capacity, np.bool_)
        """There is an object in ``connections``."""
        self.skipped: I64 = np.zeros((capacity, 2), np.int64)
        """Bytes beyond the depth since the last chunk."""
        self.base: I64 = np.zeros((capacity, 2), np.int64)
        """Stream offset from which the depth counts: where the direction was when the other side spoke last."""
        self.scale: U8 = np.zeros((capacity, 2), np.uint8)
        """1 + the window scale that the side offered; 0: none."""
        self.edge: I64 = np.zeros((capacity, 2), np.int64)
        """1 + the stream offset up to which the receiver offers a window; 0: it did not say."""
        self.heard: Bool = np.zeros((capacity, 2), np.bool_)
        """The direction's receiver was seen to acknowledge anything."""
        self.stamp: U32 = np.zeros((capacity, 2), np.uint32)
        """The latest timestamp of a segment in order; before that, the client's SYN's."""
        self.stamped: Bool = np.zeros((capacity, 2), np.bool_)
        """There is one."""
        self.signed: Bool = np.zeros(capacity, np.bool_)
        """The handshake has an MD5 or authentication option."""

    def _grow(self, more: int) -> None:
        old, capacity = self.flows.capacity, self.flows.capacity
        while capacity - old < more:
            capacity *= 2
        before = {
            name: value for name, value in vars(self).items() if isinstance(value, np.ndarray) and len(value) == old
        }
        self._allocate(capacity)
        for name, column in before.items():
            if name != "_timeouts_ns":
                getattr(self, name)[:old] = column
        self.flows.grow(capacity)
        self._keys += [b""] * (capacity - old)
        self._free.grow(old, capacity)

    # Finding and adding.

    def find(self, keys: list[bytes], now_ns: I64, rows: I64) -> I64:
        """Return the slot of the live flow of each key, -1 where there is none.

        A flow that timed out before its ``now_ns`` is ended instead, by the packet in its ``rows``.
        """
        get = self._by_key.get
        slots = np.array([get(key, -1) for key in keys], np.int64)
        known = np.flatnonzero(slots >= 0)
        late = known[_over(self.seen_ns[slots[known]], self._timeout(slots[known]), now_ns[known])]
        if len(late):
            idle = late[self._idle(slots[late], now_ns[late])]
            self.end(slots[idle], EndReason.TIMEOUT, rows[idle])
            slots[idle] = -1
        return slots

    def knows(self, keys: list[bytes]) -> Bool:
        """Return which keys are those of live flows."""
        return np.array([key in self._by_key for key in keys], np.bool_)

    def add(self, keys: list[bytes], proto: U8, ts_ns: I64, number: I64) -> I64:
        """Return a fresh slot for each key, with an id by its first packet; the caller fills in who speaks."""
        count = len(keys)
        if count > len(self._free):
            self._grow(count)
        slots = self._free.take(count)
        for key, slot in zip(keys, slots.tolist(), strict=True):
            self._by_key[key] = slot
            self._keys[slot] = key
        self.live[slots] = True
        self.family[slots] = _FAMILY_OF[proto]
        self.flows.id[slots] = self._ids.take(keys, ts_ns, number)
        self.serial[slots] = np.arange(self._added, self._added + count)
        self._added += count
        self._crowd = max(self._crowd, len(self._by_key))
        self._started.append(slots)
        return slots

    # Variants.

    def open_variant(self, of: int) -> int:
        """Return a slot for another version of the flow in the slot ``of``; -1 where there are too many.

        It has no key, and no timeout: it is its connection's, which has to close it.
        """
        if self._variants >= MAX_VARIANTS:
            return -1
        if not len(self._free):
            self._grow(1)
        slot = int(self._free.take(1)[0])
        self._variants += 1
        self._last_variant += 1
        self.flows.vary(slot, of, -self._last_variant)
        self._started.append(np.array([slot], np.int64))
        return slot

    def close_variant(self, slot: int) -> None:
        """Take note that a variant gets no more bytes."""
        self._variants -= 1
        self._ended.append(np.array([slot], np.int64))

    # Ending.

    def end(self, slots: I64, reason: EndReason, rows: I64) -> None:
        """End flows: close their streams, forget their keys. ``rows`` order the closing chunks."""
        if not len(slots):
            return
        flows = self.flows
        of_tcp = slots[flows.proto[slots] == PROTO_TCP]
        flows.tcp_state[of_tcp] = tcp_states(
            of_tcp, flows.packets, flows.state, self.steps, self.fin, self.closed, self.careful, self.connections
        )
        careful = self.careful[slots]
        for slot, row in zip(slots[careful].tolist(), rows[careful].tolist(), strict=True):
            at: Arrival = (row, int(flows.last_ns[slot]), int(self.number[slot]))
            self.connections.pop(slot).close(at)
        began = flows.state[of_tcp] == FlowState.ESTABLISHED  # of one whose server was not seen, that is known now
        opening = flows.tcp_state[of_tcp] < TcpState.ESTABLISHED
        flows.tcp_state[of_tcp[began & opening]] = TcpState.ESTABLISHED
        plain = ~careful & (self.steps[slots] == 3)
        for direction in (0, 1):
            open_ = np.flatnonzero(plain & ~self.closed[slots, direction])
            of = slots[open_]
            self.out.close(rows[open_], of, direction, self.offset[of, direction], flows.last_ns[of], self.number[of])
        self.closed[slots] = True
        if self.unacked or self.lost:
            sides = set((2 * slots[:, None] + np.arange(2)).ravel().tolist())
            for side in self.unacked.keys() & sides:
                self.forget_unacked(side)
            for side in self.lost.keys() & sides:
                self.out.shared.used -= self.lost.pop(side).cost
        flows.reason[slots] = reason
        self.live[slots] = False
        for slot in slots.tolist():
            del self._by_key[self._keys[slot]]
            self._keys[slot] = b""
        self._ended.append(slots)

    def expire(self, now_ns: int, row: int, *, all_due: bool = False) -> None:
        """End the flows that have been idle for too long: all of them, or if it is time to search."""
        if now_ns < self._next_sweep_ns and not all_due:
            return
        self._next_sweep_ns = now_ns + self._sweep_ns
        slots = np.flatnonzero(self.live)
        overdue = slots[_over(self.seen_ns[slots], self._timeout(slots), now_ns)]
        if len(overdue):
            overdue = overdue[np.argsort(self.seen_ns[overdue], kind="stable")]
            idle = overdue[self._idle(overdue, np.full(len(overdue), now_ns))]
            self.end(idle, EndReason.TIMEOUT, np.full(len(idle), row))

    def give_back(self, now_ns: int) -> None:
        """Give back the memory of a crowd of flows that has gone; from now on, the lowest slots are taken first."""
        if now_ns < self._next_give_back_ns:
            return
        self._next_give_back_ns = now_ns + GIVE_BACK_NS
        if 2 * len(self._by_key) > self._crowd:
            return
        self._crowd = len(self._by_key)
        self._free.lowest_first()
        unused = np.zeros(self.flows.capacity, np.bool_)
        unused[self._free.slots] = True
        own = [column for column in vars(self).values() if isinstance(column, np.ndarray)]
        empty([column for column in own if len(column) == len(unused)], unused)
        self.flows.empty(unused)
        self._by_key = dict(self._by_key)  # for it never becomes smaller by itself
        self._ids.shrink()

    def end_all(self) -> None:
        """End every flow, in the order of their start. The clock may begin anew behind that."""
        self._next_sweep_ns = 0
        slots = np.flatnonzero(self.live)
        slots = slots[np.argsort(self.serial[slots])]
        self.end(slots, EndReason.SHUTDOWN, np.zeros(len(slots), np.int64))

    def evict(self, row: int) -> None:
        """End as many flows as there are too many: closed ones, then those of the most numerous kind without an
        answer, then the others, the idlest first; so that a flood of SYNs evicts itself.
        """
        excess = len(self._by_key) - self._max_flows
        if excess <= 0:
            return
        excess += self._max_flows // EVICT_SHARE
        slots = np.flatnonzero(self.live)
        kind = self._kind(slots)
        state = self.flows.state[slots]
        for wanted in (FlowState.CLOSED, FlowState.NEW, FlowState.ESTABLISHED):
            while excess > 0:
                counts = np.bincount(kind[state == wanted], minlength=_STATES * len(FAMILIES))
                most = int(counts.argmax())
                if not counts[most]:
                    break
                # Down to the next most numerous kind at a time, for then that one is as much to blame.
                second = int(np.partition(counts, -2)[-2])
                count = min(excess, max(int(counts[most]) - second, 1))
                of_kind = np.flatnonzero(kind == most)
                idlest = of_kind[np.argsort(self.seen_ns[slots[of_kind]], kind="stable")[:count]]
                self._counters.add(f"flow.evicted.{_kind_name(most)}", count)
                self.end(slots[idlest], EndReason.FORCED, np.full(count, row))
                kept = np.ones(len(slots), np.bool_)
                kept[idlest] = False
                slots, kind, state = slots[kept], kind[kept], state[kept]
                excess -= count

    def take_started(self) -> I64:
        """Return the slots of the flows added since the last call."""
        started, self._started = self._started, []
        return np.concatenate(started) if started else np.zeros(0, np.int64)

    def take_ended(self) -> I64:
        """Return the slots of the flows ended since the last call. They stay taken until `release`."""
        ended, self._ended = self._ended, []
        return np.concatenate(ended) if ended else np.zeros(0, np.int64)

    def release(self, slots: I64) -> None:
        """Take back the slots of flows that ended."""
        if not len(slots):
            return
        self._ids.give_back(self.flows.id[slots])
        self.flows.clear(slots)
        for column in (
            self.flipped,
            self.phase,
            self.steps,
            self.offset,
            self.acked,
            self.fin,
            self.closed,
            self.careful,
            self.skipped,
            self.base,
            self.heard,
            self.scale,
            self.edge,
            self.stamp,
            self.stamped,
            self.signed,
        ):
            column[slots] = 0
        self._free.put(slots)

    def forget_unacked(self, side: int) -> int:
        """Let go of the bytes that wait for their acknowledgement on one side of a flow; return how many."""
        size = sum(len(data) for _, data in self.unacked.pop(side, ()))
        self.out.shared.used -= size
        return size

    # Idleness.

    def _kind(self, slots: I64) -> I64:
        return self.family[slots].astype(np.int64) * _STATES + self.flows.state[slots]

    def _timeout(self, slots: I64) -> I64:
        reset = (self.phase[slots] == Phase.RESET) & (self.steps[slots] == 3)
        return np.where(reset, self._reset_ns, self._timeouts_ns[self._kind(slots)])

    def _idle(self, overdue: I64, now_ns: I64) -> Bool:
        """Return which of the flows are idle indeed; those that had packets that were not shown are kept."""
        if self._last_seen is None:
            return np.ones(len(overdue), np.bool_)
        last_ns = self._last_seen(overdue)
        idle = _over(last_ns, self._timeout(overdue), now_ns)
        self.seen_ns[overdue[~idle]] = last_ns[~idle]
        self._counters.add("flow.kept_unseen", int((~idle).sum()))
        return idle


def _over(seen_ns: I64, timeout_ns: I64, now_ns: I64 | int) -> Bool:
    """Return which flows have been idle for longer than their timeout; seconds count whole, as with Suricata."""
    over: Bool = seen_ns + timeout_ns < now_ns
    over &= seen_ns // _NS * _NS + timeout_ns < now_ns // _NS * _NS
    return over


def _timeouts(settings: FlowSettings) -> I64:
    """Return the timeout of each kind of flow, by family and state."""
    seconds = {
        _OTHER: (settings.other_new_timeout_s, settings.other_established_timeout_s),
        _TCP: (settings.tcp_new_timeout_s, settings.tcp_established_timeout_s, settings.tcp_closed_timeout_s),
        _UDP: (settings.udp_new_timeout_s, settings.udp_established_timeout_s),
        _ICMP: (settings.icmp_new_timeout_s, settings.icmp_established_timeout_s),
    }
    rows = [[*of_family, of_family[-1]][:_STATES] for _, of_family in sorted(seconds.items())]
    return (np.array(rows).ravel() * _NS).astype(np.int64)


def _kind_name(kind: int) -> str:
    return f"{FAMILIES[kind // _STATES]}.{FlowState(kind % _STATES).eve}"


_FAMILY_OF: NDArray[np.uint8] = np.full(256, _OTHER, np.uint8)
_FAMILY_OF[[PROTO_TCP, PROTO_UDP, PROTO_ICMP, PROTO_ICMPV6]] = _TCP, _UDP, _ICMP, _ICMP
