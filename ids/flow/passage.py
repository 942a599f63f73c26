"""One batch on its way through the flow table.

Python runs once per flow and batch. Of the TCP flows, those whose packets of this batch are an orderly exchange
(`ids.flow.inorder`) that continues where the connection stands take the fast path; the others go a segment at a time
through `ids.flow.tcp`. Both lead to the same state; the tests hold them equal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.flow.inorder import find_turns, judge
from ids.flow.keys import PROTO_TCP, Groups
from ids.flow.reassembly import Arrival, Half, Reassembly, distance
from ids.flow.store import Entry, FlowStore
from ids.flow.tcp import ACK, RST, SYN, Connection, Offer, Phase, Segment
from ids.types import I64, U8, Direction, Flow, FlowState, Packets

_SIDES = ((0, 1), (1, 0))


class Passage:
    """The work on one batch with usable rows; ``run`` makes ``flows``, ``index`` and ``direction`` of `FlowBatch`."""

    def __init__(self, store: FlowStore, reassembly: Reassembly, packets: Packets, groups: Groups, clock: I64) -> None:
        self._store = store
        self._shared = reassembly
        self._packets = packets
        self._groups = groups
        self._clock = clock
        self._data = np.ascontiguousarray(packets.batch.data).data
        self._exchanges = judge(packets, groups)
        self._turns = find_turns(packets, groups)
        self._summary = _Summary(packets, groups, clock)
        self._matrix: I64 | None = None
        self._places: dict[int, int] = {}
        self.flows: list[Flow] = []
        self.index: I64 = np.full(len(packets), -1, dtype=np.int64)
        self.direction: U8 = np.zeros(len(packets), dtype=np.uint8)
        self._splits: list[tuple[int, int, int, int]] = []
        """Sorted positions from, to; place in ``flows``, and ``flipped``, of the flow that they belong to after all."""

    def run(self) -> None:
        """Take every group of the batch, in the order of their first packets."""
        store, summary, keys = self._store, self._summary, self._groups.keys
        places, flips = [0] * len(keys), [0] * len(keys)
        for g in self._groups.order:
            entry = store.find(keys[g], summary.first_clock[g], summary.first_row[g])
            fresh = entry is None
            if entry is None:
                entry = self._begin(g, summary.start[g])
            places[g], flips[g] = self._place(entry.flow), entry.flipped
            connection = entry.connection
            if connection is None or (self._exchanges.orderly[g] and self._follow(entry, connection, g, fresh)):
                self._account(entry, g)
            elif connection.phase is Phase.IGNORED and not summary.any_syn[g]:
                self._shared.count("midstream_bytes", sum(self._exchanges.payload[g]))
                self._account(entry, g)
            else:
                self._carefully(entry, g)
        self._fill_columns(places, flips)

    def _place(self, flow: Flow) -> int:
        """Return the flow's position in ``flows``."""
        place = self._places.get(flow.id)
        if place is None:
            place = self._places[flow.id] = len(self.flows)
            self.flows.append(flow)
        return place

    def _begin(self, g: int, position: int, offer: Offer | None = None) -> Entry:
        """Start a flow with the packet at a sorted position of group ``g``."""
        packets, row = self._packets, int(self._groups.rows[position])
        side, proto = int(self._groups.reverse[position]), int(packets.proto[row])
        flags = int(packets.tcp_flags[row]) if proto == PROTO_TCP else 0
        src, dst = tuple(packets.src[row].tolist()), tuple(packets.dst[row].tolist())
        sport, dport = int(packets.sport[row]), int(packets.dport[row])
        answer = flags & (SYN | ACK) == SYN | ACK
        if answer:
            src, dst, sport, dport = dst, src, dport, sport
        batch = packets.batch
        ts_ns = int(batch.ts_ns[row])
        flow = Flow(
            id=self._store.next_id(),
            ip_version=int(packets.ip_version[row]),
            proto=proto,
            src=src,
            dst=dst,
            sport=sport,
            dport=dport,
            vlan=int(packets.vlan[row]),
            interface=int(batch.interface[row]),
            start_ns=ts_ns,
            last_ns=ts_ns,
            first_number=int(batch.number[row]),
            source=batch.source,
        )
        connection = None
        if proto == PROTO_TCP:
            connection = Connection(self._shared, flow)
            if offer is not None:
                connection.offered(offer)
            elif flags & (SYN | ACK | RST) != SYN:
                flow.midstream = True
                connection.pick_up(flags, int(packets.seq[row]), int(packets.ack[row]))
        return self._store.add(self._groups.keys[g], flow, side ^ answer, connection, int(self._clock[row]))

    def _account(self, entry: Entry, g: int) -> None:
        """Add the group's counts to its flow."""
        flow, summary, flip = entry.flow, self._summary, entry.flipped
        for direction, side in enumerate(_SIDES[flip]):
            flow.packets[direction] += summary.packets[g][side]
            flow.bytes[direction] += summary.bytes[g][side]
            flow.tcp_flags[direction] |= summary.flags[g][side]
        flow.last_ns = max(flow.last_ns, summary.last_ts[g])
        if entry.connection is None and flow.packets[0] and flow.packets[1]:
            flow.state = FlowState.ESTABLISHED
        self._store.touch(entry, summary.last_clock[g], summary.last_number[g])

    def _account_rows(self, entry: Entry, start: int, end: int) -> None:
        """Add the counts of part of a group, by sorted positions."""
        flow, packets = entry.flow, self._packets
        rows, side = self._groups.rows[start:end], self._groups.reverse[start:end]
        for direction in (0, 1):
            mine = rows[side == direction ^ entry.flipped]
            flow.packets[direction] += len(mine)
            flow.bytes[direction] += int(packets.batch.wirelen[mine].sum())
            flow.tcp_flags[direction] |= int(np.bitwise_or.reduce(packets.tcp_flags[mine], initial=0))
        last = int(rows[-1])
        flow.last_ns = max(flow.last_ns, int(packets.batch.ts_ns[rows].max()))
        self._store.touch(entry, int(self._clock[last]), int(packets.batch.number[last]))

    # The fast path.

    def _follow(self, entry: Entry, connection: Connection, g: int, fresh: bool) -> bool:
        """Deliver an orderly group, if it continues where the connection stands; otherwise do nothing, and say so."""
        exchanges, flip = self._exchanges, entry.flipped
        halves = connection.halves
        if fresh and exchanges.opening[g]:
            client, server = exchanges.first_seq[g][flip] + 1, exchanges.first_seq[g][1 - flip] + 1
            halves = connection.start(client & 0xFFFFFFFF, server & 0xFFFFFFFF)
        elif (
            halves is None
            or exchanges.opening[g]
            or connection.phase is not Phase.OPEN
            or not self._continues(halves[flip], g, 0)
            or not self._continues(halves[1 - flip], g, 1)
        ):
            return False
        self._deliver_turns(halves, g, flip)
        for side in (0, 1):
            half = halves[side ^ flip]
            if exchanges.fin[g][side]:
                half.fin_at = half.offset
            if exchanges.present[g][1 - side]:
                self._acknowledge(half, g, side)
        if exchanges.fin[g][0] or exchanges.fin[g][1] or halves[0].closed or halves[1].closed:
            connection.settle()
        return True

    def _continues(self, half: Half, g: int, side: int) -> bool:
        """Whether an orderly group goes on where this direction stands."""
        exchanges = self._exchanges
        if half.held:
            return False
        if half.fin_at is not None and (
            half.fin_at != half.offset or exchanges.payload[g][side] or exchanges.fin[g][side]
        ):
            return False
        if exchanges.present[g][side]:
            return exchanges.first_seq[g][side] == half.next_sequence
        return distance(exchanges.last_ack[g][1 - side], half.next_sequence) <= 0

    def _deliver_turns(self, halves: tuple[Half, Half], g: int, flip: int) -> None:
        turns, exchanges = self._turns, self._exchanges
        first, end = turns.of_group[g]
        for turn in range(first, end):
            side, size = turns.side[turn], turns.size[turn]
            half = halves[side ^ flip]
            if half.offset >= self._shared.depth:
                half.skip(size, size)
                continue
            keep = exchanges.last_ack[g][1 - side] != exchanges.end_seq[g][side] or not exchanges.present[g][1 - side]
            closed = turn >= end - 2 and exchanges.fin_acked[g][side]  # turns alternate: these are the last ones
            half.deliver(turns.payload(turn), turns.arrivals[turn], closed=closed, keep=keep)

    def _acknowledge(self, half: Half, g: int, side: int) -> None:
        upto = half.place(self._exchanges.last_ack[g][1 - side])
        half.acknowledged(upto)
        if half.fin_at is not None and upto > half.fin_at and not half.closed:
            half.close(Arrival(self._summary.last_row[g], self._summary.last_ts[g], self._summary.last_number[g]))

    # The careful path.

    def _carefully(self, entry: Entry, g: int) -> None:
        """Take a group a segment at a time; a new connection on the same ports splits it."""
        store, start, end = self._store, self._summary.start[g], self._summary.end[g]
        begun = start
        matrix = self._segments()[start:end].tolist()
        for position, (side, row, flags, seq, ack, payload, size, missing, ts, number) in enumerate(matrix, start):
            at = Arrival(row, ts, number)
            data = bytes(self._data[payload : payload + size]) if size else b""
            segment = Segment(Direction(side ^ entry.flipped), flags, seq, ack, data, size + missing, at)
            connection = entry.connection
            assert connection is not None
            offer = None
            if connection.phase in (Phase.CLOSED, Phase.IGNORED) and flags & (SYN | ACK | RST) == SYN:
                replaced = position > begun or entry.flow.packets != [0, 0]
            else:
                offer = connection.segment(segment)
                replaced = offer is not None
            if not replaced:
                continue
            if position > begun:
                self._account_rows(entry, begun, position)
            store.end(entry, "tcp_reuse", row)
            entry, begun = self._begin(g, position, offer), position
            self._splits.append((position, end, self._place(entry.flow), entry.flipped))
            connection = entry.connection
            assert connection is not None
            segment.direction = Direction(side ^ entry.flipped)
            connection.segment(segment)
        if begun == start:
            self._account(entry, g)
        else:
            self._account_rows(entry, begun, end)

    def _segments(self) -> I64:
        """Return the columns of the careful path as one matrix in sorted order, made when first needed."""
        if self._matrix is None:
            packets, batch, rows = self._packets, self._packets.batch, self._groups.rows
            columns: list[NDArray[np.integer[Any]]] = [
                packets.tcp_flags,
                packets.seq,
                packets.ack,
                packets.payload,
                packets.payload_len,
                packets.payload_missing,
                batch.ts_ns,
                batch.number,
            ]
            self._matrix = np.empty((len(rows), 2 + len(columns)), dtype=np.int64)
            self._matrix[:, 0] = self._groups.reverse
            self._matrix[:, 1] = rows
            for at, column in enumerate(columns, 2):
                self._matrix[:, at] = column[rows]
        return self._matrix

    def _fill_columns(self, places: list[int], flips: list[int]) -> None:
        """Say for each row which flow it belongs to, and its direction."""
        groups = self._groups
        size = groups.ends - groups.starts
        place = np.repeat(np.array(places, dtype=np.int64), size)
        flip = np.repeat(np.array(flips, dtype=np.uint8), size)
        for start, end, of_flow, flipped in self._splits:
            place[start:end] = of_flow
            flip[start:end] = flipped
        if self._splits:
            place = self._in_order_of_first_packet(place)
        self.index[groups.rows] = place
        self.direction[groups.rows] = groups.reverse ^ flip

    def _in_order_of_first_packet(self, place: I64) -> I64:
        """Sort ``flows`` again, after a group was split; return the new places of the rows."""
        first = np.full(len(self.flows), len(self._packets), dtype=np.int64)
        np.minimum.at(first, place, self._groups.rows)
        order = np.argsort(first, kind="stable")
        self.flows = [self.flows[at] for at in order.tolist()]
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank[place]


class _Summary:
    """What accounting needs of each group, as lists; pairs are [side 0, side 1]."""

    def __init__(self, packets: Packets, groups: Groups, clock: I64) -> None:
        rows, starts, ends, batch = groups.rows, groups.starts, groups.ends, packets.batch
        first, last = rows[starts], rows[ends - 1]
        self.start: list[int] = starts.tolist()
        self.end: list[int] = ends.tolist()
        self.first_row: list[int] = first.tolist()
        self.first_clock: list[int] = clock[first].tolist()
        self.last_row: list[int] = last.tolist()
        self.last_clock: list[int] = clock[last].tolist()
        self.last_ts: list[int] = np.maximum.reduceat(batch.ts_ns[rows], starts).tolist()
        self.last_number: list[int] = batch.number[last].tolist()
        self.packets: list[list[int]] = _pairs(np.add, groups, np.ones(len(rows), dtype=np.int64))
        self.bytes: list[list[int]] = _pairs(np.add, groups, batch.wirelen[rows])
        flags = packets.tcp_flags[rows] * (packets.proto[rows] == PROTO_TCP)
        self.flags: list[list[int]] = _pairs(np.bitwise_or, groups, flags)
        self.any_syn: list[bool] = np.logical_or.reduceat(flags & SYN != 0, starts).tolist()


def _pairs(reduce: np.ufunc, groups: Groups, values: I64 | U8) -> list[list[int]]:
    sides = [reduce.reduceat(np.where(groups.reverse == side, values, 0), groups.starts) for side in (0, 1)]
    pairs: list[list[int]] = np.stack(sides, axis=1).tolist()
    return pairs
