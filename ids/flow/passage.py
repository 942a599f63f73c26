"""One batch on its way through the flow table.

Of the TCP flows, those whose packets of this batch are an orderly exchange (`ids.flow.inorder`) that continues where
the connection stands are array work; the others go a segment at a time through `ids.flow.tcp`. Both lead to the same
state; the tests hold them equal. Groups with one key (a long pause lies between them) take turns, in waves.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ids.flow.connections import Connections
from ids.flow.handshake import Offer
from ids.flow.inorder import Standing, judge
from ids.flow.keys import PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, Groups, echo_ids
from ids.flow.orderly import advance, continues
from ids.flow.reassembly import Reassembly
from ids.flow.segment import ACK, RST, SYN, Segment
from ids.flow.slots import FlowSlots
from ids.flow.tcp import Phase
from ids.types import I64, U8, U32, Bool, Direction, EndReason, FlowState, Mark, Packets

_DIRECTIONS = (Direction.TO_SERVER, Direction.TO_CLIENT)
_Columns: TypeAlias = list[NDArray[np.integer[Any]]]


class Passage:
    """The work on one batch with usable rows; ``run`` makes ``slot`` and ``direction`` of `FlowBatch`."""

    def __init__(self, slots: FlowSlots, shared: Reassembly, packets: Packets, groups: Groups, clock: I64) -> None:
        self._slots = slots
        self._shared = shared
        self._packets = packets
        self._groups = groups
        self._clock = clock
        self._connections = Connections(slots, shared)
        self._data = np.ascontiguousarray(packets.batch.data).data
        self._matrix: I64 | None = None
        self._splits: list[tuple[int, int, int, int]] = []
        """Sorted positions from, to; slot, and ``flipped``, of the flow that they belong to after all."""
        self.slot: I64 = np.full(len(packets), -1, dtype=np.int64)
        self.direction: U8 = np.zeros(len(packets), dtype=np.uint8)

    @property
    def data(self) -> memoryview:
        """The batch's bytes."""
        return self._data

    @property
    def touched(self) -> I64:
        """Slots of the flows of the batch, in the order of their first packets."""
        slots = self.slot[self.slot >= 0]
        found, first = np.unique(slots, return_index=True)
        return found[np.argsort(first)]

    def run(self) -> None:
        """Take every group of the batch; those with the same key one after the other."""
        groups = self._groups
        of_group = np.full(len(groups.starts), -1, np.int64)
        flipped = np.zeros(len(groups.starts), np.uint8)
        for wave in _waves(groups):
            of_group[wave], flipped[wave] = self._wave(_subset(groups, wave))
        size = groups.ends - groups.starts
        slot, flip = np.repeat(of_group, size), np.repeat(flipped, size)
        for start, end, of_flow, of_flip in self._splits:
            slot[start:end], flip[start:end] = of_flow, of_flip
        self.slot[groups.rows] = slot
        self.direction[groups.rows] = groups.reverse ^ flip

    def _wave(self, groups: Groups) -> tuple[I64, U8]:
        """Take groups of different keys; return the slot of each and whether its client is the second endpoint."""
        slots, packets = self._slots, self._packets
        first = groups.rows[groups.starts]
        slot = slots.find(groups.keys, self._clock[first], first)
        fresh = slot < 0
        if fresh.any():
            slot[fresh] = self._begin([groups.keys[g] for g in np.flatnonzero(fresh).tolist()], first[fresh],
                                      groups.reverse[groups.starts[fresh]])  # fmt: skip
        flip = slots.flipped[slot]
        tcp = packets.proto[first] == PROTO_TCP
        if tcp.any():
            careful = self._tcp(groups, slot, flip, tcp)
            plain = np.flatnonzero(~careful)
            self._account(_subset(groups, plain) if len(plain) < len(slot) else groups, slot[plain], flip[plain])
            for g in np.flatnonzero(careful).tolist():
                self._carefully(groups, g, int(slot[g]))
        else:
            self._account(groups, slot, flip)
        return slot, flip

    def _tcp(self, groups: Groups, slot: I64, flip: U8, tcp: Bool) -> Bool:
        """Deliver what is orderly; return which groups have to go a segment at a time."""
        slots, rows = self._slots, groups.rows
        standing = Standing(
            steps=slots.steps[slot],
            client_side=flip,
            client_next=slots.next[slot, 0],
            server_next=slots.next[slot, 1],
        )
        exchanges = judge(self._packets, groups, standing)
        ignored = tcp & (slots.phase[slot] == Phase.IGNORED)
        if ignored.any():
            ignored &= ~np.logical_or.reduceat(self._packets.tcp_flags[rows] & SYN != 0, groups.starts)
            self._count_ignored(exchanges.payload[ignored])
        orderly = tcp & exchanges.orderly & ~ignored & ~slots.careful[slot]
        orderly &= np.isin(slots.phase[slot], (Phase.OPENING, Phase.OPEN))
        orderly &= continues(slots, exchanges, slot, flip)
        advance(slots, self._shared, self._packets, groups, exchanges, slot, flip, orderly, self._data)
        careful: Bool = tcp & ~orderly & ~ignored
        return careful

    def _count_ignored(self, payload: I64) -> None:
        total = int(payload.sum())
        if total:
            self._shared.count("midstream_bytes", total)

    # Beginnings.

    def _begin(self, keys: list[bytes], rows: I64, side: U8, offer: Offer | None = None) -> I64:
        """Start a flow with each of these packets; return the slots."""
        slots, packets, batch = self._slots, self._packets, self._packets.batch
        slot = slots.add(keys, packets.proto[rows])
        flows = slots.flows
        tcp = packets.proto[rows] == PROTO_TCP
        flags, seq, ack = packets.tcp_flags[rows], packets.seq[rows], packets.ack[rows]
        answer = tcp & (flags & (SYN | ACK) == SYN | ACK)
        turned = answer[:, None]
        flows.src[slot] = np.where(turned, packets.dst[rows], packets.src[rows])
        flows.dst[slot] = np.where(turned, packets.src[rows], packets.dst[rows])
        flows.sport[slot] = np.where(answer, packets.dport[rows], packets.sport[rows])
        flows.dport[slot] = np.where(answer, packets.sport[rows], packets.dport[rows])
        flows.ip_version[slot], flows.proto[slot] = packets.ip_version[rows], packets.proto[rows]
        flows.vlan[slot], flows.interface[slot] = packets.vlan[rows], batch.interface[rows]
        flows.start_ns[slot] = flows.last_ns[slot] = batch.ts_ns[rows]
        flows.first_number[slot] = slots.number[slot] = batch.number[rows]
        flows.source[slot] = flows.source_code(batch.source)
        slots.seen_ns[slot] = self._clock[rows]
        slots.flipped[slot] = side ^ answer
        echo = np.isin(packets.proto[rows], (PROTO_ICMP, PROTO_ICMPV6))
        flows.echo_id[slot] = -1
        if echo.any():
            flows.echo_id[slot[echo]] = echo_ids(packets, rows[echo])
        slots.phase[slot] = np.where(tcp, Phase.OPENING, Phase.NONE)
        if offer is None:
            middle = tcp & (flags & (SYN | ACK | RST) != SYN)
            if middle.any():
                self._pick_up(slot[middle], flags[middle], seq[middle], ack[middle])
        return slot

    def _pick_up(self, slot: I64, flags: U8, seq: U32, ack: U32) -> None:
        """Begin in the middle, at these segments' numbers, where that is wanted and possible."""
        slots, flows = self._slots, self._slots.flows
        flows.marks[slot] |= np.uint16(Mark.MIDSTREAM)
        usable = (flags & (RST | ACK) == ACK) & self._shared.midstream
        slots.phase[slot[~usable]] = Phase.IGNORED
        self._shared.counters.add("flow.tcp.midstream_ignored", int((~usable).sum()))
        slot, answer = slot[usable], flags[usable] & SYN != 0
        slots.next[slot, 0] = np.where(answer, ack[usable], seq[usable])
        slots.next[slot, 1] = np.where(answer, seq[usable] + np.uint32(1), ack[usable])
        slots.steps[slot], slots.phase[slot] = 3, Phase.OPEN
        flows.state[slot] = FlowState.ESTABLISHED

    # Accounts.

    def _account(self, groups: Groups, slot: I64, flip: U8) -> None:
        """Add the counts of whole groups of different flows."""
        if not len(slot):
            return
        slots, flows, packets, batch = self._slots, self._slots.flows, self._packets, self._packets.batch
        rows, starts = groups.rows, groups.starts
        wire = batch.wirelen[rows]
        flags = packets.tcp_flags[rows] * (packets.proto[rows] == PROTO_TCP)
        for side in (0, 1):
            mine, direction = groups.reverse == side, flip ^ side
            flows.packets[slot, direction] += np.add.reduceat(mine.astype(np.int64), starts)
            flows.bytes[slot, direction] += np.add.reduceat(np.where(mine, wire, 0), starts)
            flows.tcp_flags[slot, direction] |= np.bitwise_or.reduceat(np.where(mine, flags, 0), starts)
        flows.last_ns[slot] = np.maximum(flows.last_ns[slot], np.maximum.reduceat(batch.ts_ns[rows], starts))
        last = rows[groups.ends - 1]
        slots.seen_ns[slot], slots.number[slot] = self._clock[last], batch.number[last]
        answered = (packets.proto[last] != PROTO_TCP) & (flows.packets[slot] > 0).all(axis=1)
        flows.state[slot[answered]] = FlowState.ESTABLISHED

    # The careful way.

    def _carefully(self, groups: Groups, g: int, slot: int) -> None:
        """Take a group a segment at a time; a new connection on the same ports splits it."""
        start, end = int(groups.starts[g]), int(groups.ends[g])
        data, slots = self._data, self._slots
        begun, flipped = start, int(slots.flipped[slot])
        connection = self._connections.take(slot)
        for position, row_of in enumerate(self._segments(groups.rows[start:end]), start):
            row, flags, seq, ack, payload, size, missing, ts_ns, number = row_of
            side = int(groups.reverse[position])
            content = bytes(data[payload : payload + size]) if size else b""
            segment = Segment(
                _DIRECTIONS[side ^ flipped], flags, seq, ack, content, size + missing, (row, ts_ns, number)
            )
            if connection.phase in (Phase.CLOSED, Phase.IGNORED) and flags & (SYN | ACK | RST) == SYN:
                offer = None
            else:
                offer = connection.segment(segment)
                if offer is None:
                    continue
            if position > begun:
                self._account_part(groups, begun, position, slot)
            self._connections.put(slot, connection)
            slots.end(np.array([slot]), EndReason.TCP_REUSE, np.array([row]))
            slot = int(
                self._begin([groups.keys[g]], np.array([row]), groups.reverse[position : position + 1], offer)[0]
            )
            begun, flipped = position, int(slots.flipped[slot])
            self._split(groups, position, end, slot, flipped)
            connection = self._connections.take(slot)
            if offer is not None:
                connection.offer(offer)
            segment.direction = _DIRECTIONS[side ^ flipped]
            connection.segment(segment)
        self._connections.put(slot, connection)
        self._account_part(groups, begun, end, slot)

    def _split(self, groups: Groups, position: int, end: int, slot: int, flipped: int) -> None:
        """Note that the rest of a group belongs to another flow; its place in all groups is found by its first row."""
        shift = int(np.flatnonzero(self._groups.rows == groups.rows[position])[0]) - position
        self._splits.append((position + shift, end + shift, slot, flipped))

    def _account_part(self, groups: Groups, start: int, end: int, slot: int) -> None:
        part = Groups(
            groups.rows[start:end], groups.reverse[start:end], np.array([0]), np.array([end - start]), [], np.array([0])
        )
        self._account(part, np.array([slot]), self._slots.flipped[slot : slot + 1])

    def _segments(self, rows: I64) -> list[list[int]]:
        """Return row, flags, sequence number, acknowledgement, payload, its length, what is missing, time, number."""
        packets, batch = self._packets, self._packets.batch
        columns: _Columns = [packets.tcp_flags, packets.seq, packets.ack, packets.payload, packets.payload_len]
        columns += [packets.payload_missing, batch.ts_ns, batch.number]
        matrix = np.empty((len(rows), 1 + len(columns)), dtype=np.int64)
        matrix[:, 0] = rows
        for at, column in enumerate(columns, 1):
            matrix[:, at] = column[rows]
        found: list[list[int]] = matrix.tolist()
        return found


def _waves(groups: Groups) -> list[I64]:
    """Return the groups in waves: in each, every key once, and the groups in the order of their first packets."""
    order = groups.order
    if len(set(groups.keys)) == len(groups.keys):
        return [order]
    waves: list[list[int]] = []
    times: dict[bytes, int] = {}
    for g in order.tolist():
        wave = times.get(groups.keys[g], 0)
        times[groups.keys[g]] = wave + 1
        if wave == len(waves):
            waves.append([])
        waves[wave].append(g)
    return [np.array(wave) for wave in waves]


def _subset(groups: Groups, chosen: I64) -> Groups:
    """Return some of the groups, in the order given."""
    size = (groups.ends - groups.starts)[chosen]
    ends = np.cumsum(size)
    places = np.repeat(groups.starts[chosen] - (ends - size), size) + np.arange(int(ends[-1]) if len(ends) else 0)
    keys = [groups.keys[g] for g in chosen.tolist()] if groups.keys else []
    return Groups(groups.rows[places], groups.reverse[places], ends - size, ends, keys, np.arange(len(chosen)))
