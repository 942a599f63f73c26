"""One batch on its way through the flow table.

Python runs once per flow and batch. Of the TCP flows, those whose packets of this batch are an orderly exchange
(`ids.flow.inorder`) that continues where the connection stands take the fast path; the others go a segment at a time
through `ids.flow.tcp`. Both lead to the same state; the tests hold them equal.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ids.flow.handshake import Offer
from ids.flow.inorder import find_turns, judge
from ids.flow.keys import PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, Groups, echo_ids
from ids.flow.reassembly import MODULUS, Half, Reassembly, distance
from ids.flow.segment import ACK, RST, SYN, Segment
from ids.flow.store import Entry, FlowStore
from ids.flow.summary import Summary, identities
from ids.flow.tcp import Connection, Phase
from ids.types import I64, U8, Direction, Flow, FlowState, Packets

_DIRECTIONS = (Direction.TO_SERVER, Direction.TO_CLIENT)
_SORT_SPAN_NS = 1_000_000_000
"""Flows are touched in the order of their first packets; in a batch that spans more, they are sorted by their last."""
_Columns: TypeAlias = list[NDArray[np.integer[Any]]]


class Passage:
    """The work on one batch with usable rows; ``run`` makes ``flows``, ``index`` and ``direction`` of `FlowBatch`."""

    def __init__(self, store: FlowStore, reassembly: Reassembly, packets: Packets, groups: Groups, clock: I64) -> None:
        store.passages += 1
        self._serial = store.passages
        self._store = store
        self._shared = reassembly
        self._packets = packets
        self._groups = groups
        self._clock = clock
        self._exchanges = judge(packets, groups)
        self._turns = find_turns(packets, groups)
        self._summary = Summary(packets, groups, clock)
        self._matrix: I64 | None = None
        self._splits: list[tuple[int, int, int, int]] = []
        """Sorted positions from, to; place in ``flows``, and ``flipped``, of the flow that they belong to after all."""
        self._touched: list[Entry] = []
        self.flows: list[Flow] = []
        self.index: I64 = np.full(len(packets), -1, dtype=np.int64)
        self.direction: U8 = np.zeros(len(packets), dtype=np.uint8)

    def run(self) -> None:
        """Take every group of the batch, in the order of their first packets."""
        store, summary, exchanges, keys = self._store, self._summary, self._exchanges, self._groups.keys
        places, flips = [0] * len(keys), [0] * len(keys)
        for g in self._groups.order:
            entry = store.find(keys[g], summary.first_clock[g], summary.first_row[g])
            fresh = entry is None
            if entry is None:
                entry = self._begin(g)
            places[g], flips[g] = self._place(entry), entry.flipped
            connection = entry.connection
            if connection is None or (exchanges.orderly[g] and self._follow(entry, connection, g, fresh)):
                self._account(entry, g)
            elif connection.phase is Phase.IGNORED and not summary.any_syn[g]:
                self._shared.count("midstream_bytes", exchanges.payload[2 * g] + exchanges.payload[2 * g + 1])
                self._account(entry, g)
            elif fresh and summary.lone_syn[g]:
                connection.offer(Offer(exchanges.first_seq[2 * g + entry.flipped] + 1 & MODULUS, b""))
                self._account(entry, g)
            else:
                self._carefully(entry, g)
        if self._clock[-1] - self._clock[0] > _SORT_SPAN_NS:
            store.sort(self._touched)
        self._fill_columns(places, flips)

    def _place(self, entry: Entry) -> int:
        """Return the place of an entry's flow in ``flows``."""
        if entry.passage != self._serial:
            entry.passage, entry.place = self._serial, len(self.flows)
            self.flows.append(entry.flow)
            self._touched.append(entry)
        return entry.place

    def _begin(self, g: int, position: int | None = None, offer: Offer | None = None) -> Entry:
        """Start a flow with the first packet of a group, or with the one at a sorted position within it."""
        if position is None:
            row = self._summary.first_row[g]
            identity, side, now_ns = (
                self._summary.identity(g),
                self._summary.first_side[g],
                self._summary.first_clock[g],
            )
        else:
            row = int(self._groups.rows[position])
            (identity,) = identities(self._packets, np.array([row]))
            side, now_ns = int(self._groups.reverse[position]), int(self._clock[row])
        version, proto, src, dst, sport, dport, vlan, interface, ts_ns, number, flags, seq, ack = identity
        answer = flags & (SYN | ACK) == SYN | ACK and proto == PROTO_TCP
        if answer:
            src, dst, sport, dport = dst, src, dport, sport
        flow = Flow(
            self._store.next_id(), version, proto, src, dst, sport, dport, vlan, interface, ts_ns, ts_ns,
            first_number=number, source=self._packets.batch.source,
        )  # fmt: skip
        if proto in (PROTO_ICMP, PROTO_ICMPV6) and (echo := int(echo_ids(self._packets, np.array([row]))[0])) >= 0:
            flow.echo_id = echo
        connection = None
        if proto == PROTO_TCP:
            connection = Connection(self._shared, flow)
            if offer is not None:
                connection.offer(offer)
            elif flags & (SYN | ACK | RST) != SYN:
                flow.midstream = True
                connection.pick_up(flags, seq, ack)
        return self._store.add(self._groups.keys[g], flow, side ^ answer, connection, now_ns)

    def _account(self, entry: Entry, g: int) -> None:
        """Add the group's counts to its flow."""
        flow, summary = entry.flow, self._summary
        client = 2 * g + entry.flipped
        server = client ^ 1
        packets, size, flags = flow.packets, flow.bytes, flow.tcp_flags
        packets[0] += summary.packets[client]
        packets[1] += summary.packets[server]
        size[0] += summary.bytes[client]
        size[1] += summary.bytes[server]
        flags[0] |= summary.flags[client]
        flags[1] |= summary.flags[server]
        last_ns = summary.last_ts[g]
        if last_ns > flow.last_ns:
            flow.last_ns = last_ns
        if entry.connection is None and packets[0] and packets[1]:
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
        exchanges, client = self._exchanges, 2 * g + entry.flipped
        server = client ^ 1
        halves = connection.halves
        if fresh and exchanges.opening[g]:
            first_seq = exchanges.first_seq
            halves = connection.start(first_seq[client] + 1 & MODULUS, first_seq[server] + 1 & MODULUS)
        elif (
            halves is None
            or exchanges.opening[g]
            or connection.phase is not Phase.OPEN
            or not self._continues(halves[0], client)
            or not self._continues(halves[1], server)
        ):
            return False
        self._deliver_turns(halves, g, entry.flipped)
        self._acknowledge(halves[0], client, g)
        self._acknowledge(halves[1], server, g)
        if halves[0].closed and halves[1].closed:
            connection.settle()
        return True

    def _continues(self, half: Half, at: int) -> bool:
        """Whether an orderly exchange goes on where this direction stands; ``at`` is its side in the exchanges."""
        exchanges = self._exchanges
        if half.held:
            return False
        if half.fin_at is not None and (half.fin_at != half.offset or exchanges.payload[at] or exchanges.fin[at]):
            return False
        if exchanges.present[at]:
            return exchanges.first_seq[at] == half.next_sequence
        return distance(exchanges.last_ack[at ^ 1], half.next_sequence) <= 0

    def _deliver_turns(self, halves: tuple[Half, Half], g: int, flip: int) -> None:
        turns, exchanges, depth = self._turns, self._exchanges, self._shared.depth
        end = turns.first_of_group[g + 1]
        for turn in range(turns.first_of_group[g], end):
            side = turns.side[turn]
            half = halves[side ^ flip]
            if half.offset >= depth:
                half.skip(turns.size[turn], turns.size[turn])
                continue
            at = 2 * g + side
            keep = not exchanges.present[at ^ 1] or exchanges.last_ack[at ^ 1] != exchanges.end_seq[at]
            closed = turn >= end - 2 and exchanges.fin_acked[at]  # turns alternate: these are the last ones
            half.deliver(turns.payload(turn), turns.arrivals[turn], closed=closed, keep=keep)

    def _acknowledge(self, half: Half, at: int, g: int) -> None:
        """Note the FIN of an orderly side, and the last acknowledgement by the other one."""
        exchanges = self._exchanges
        if exchanges.fin[at]:
            half.fin_at = half.offset
        if not exchanges.present[at ^ 1]:
            return
        upto = half.offset + distance(exchanges.last_ack[at ^ 1], half.next)
        half.acknowledged(upto)
        if half.fin_at is not None and upto > half.fin_at and not half.closed:
            summary = self._summary
            half.close((summary.last_row[g], summary.last_ts[g], summary.last_number[g]))

    # The careful path.

    def _carefully(self, entry: Entry, g: int) -> None:
        """Take a group a segment at a time; a new connection on the same ports splits it."""
        start, end = self._summary.start[g], self._summary.end[g]
        first, begun, flipped, connection = entry, start, entry.flipped, entry.connection
        data = self._turns.data
        assert connection is not None
        matrix = self._segments()[start:end].tolist()
        for position, (side, row, flags, seq, ack, payload, size, missing, ts_ns, number) in enumerate(matrix, start):
            content = bytes(data[payload : payload + size]) if size else b""
            arrival = (row, ts_ns, number)
            segment = Segment(_DIRECTIONS[side ^ flipped], flags, seq, ack, content, size + missing, arrival)
            if connection.phase in (Phase.CLOSED, Phase.IGNORED) and flags & (SYN | ACK | RST) == SYN:
                offer = None
            else:
                offer = connection.segment(segment)
                if offer is None:
                    continue
            if position > begun:
                self._account_rows(entry, begun, position)
            self._store.end(entry, "tcp_reuse", row)
            entry, begun = self._begin(g, position, offer), position
            self._splits.append((position, end, self._place(entry), entry.flipped))
            flipped, connection = entry.flipped, entry.connection
            assert connection is not None
            segment.direction = _DIRECTIONS[side ^ flipped]
            connection.segment(segment)
        if entry is first:
            self._account(entry, g)
        else:
            self._account_rows(entry, begun, end)

    def _segments(self) -> I64:
        """Return the columns of the careful path as one matrix in sorted order, made when first needed."""
        if self._matrix is None:
            packets, batch, rows = self._packets, self._packets.batch, self._groups.rows
            columns: _Columns = [packets.tcp_flags, packets.seq, packets.ack, packets.payload, packets.payload_len]
            columns += [packets.payload_missing, batch.ts_ns, batch.number]
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
        self.flows = [self.flows[at] for at in order.tolist() if first[at] < len(self._packets)]
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank[place]
