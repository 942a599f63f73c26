"""One batch on its way through the flow table.

A TCP flow is array work where its packets of this batch are an orderly exchange (`ids.flow.inorder`) that continues
where the connection stands; the others go a segment at a time through `ids.flow.tcp`, and where they are in order for a
while, a stretch at a time (`ids.flow.stretches`). All lead to the same state; the tests hold them equal. Groups with
one key (a long pause lies between them) take turns, in waves.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ids.decode.tcp_options import CAPABLE, JOIN, NO_SCALE, tcp_options
from ids.flow.connections import Connections
from ids.flow.handshake import Offer
from ids.flow.inorder import Standing, judge
from ids.flow.keys import PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, Groups, echo_ids
from ids.flow.lives import opening, parted
from ids.flow.notes import Note
from ids.flow.orderly import advance, continues
from ids.flow.reassembly import Reassembly
from ids.flow.segment import ACK, OWN, RST, SYN, URG, Segment
from ids.flow.slots import FlowSlots
from ids.flow.stretches import Stretches
from ids.flow.tcp import Phase
from ids.types import I64, LIVE, NEVER, U8, U16, U32, Bool, Direction, EndReason, FlowColumns, FlowState, Mark, Packets

_DIRECTIONS = (Direction.TO_SERVER, Direction.TO_CLIENT)
_Columns: TypeAlias = list[NDArray[np.integer[Any]]]

SERVICES = 1024
"""Ports below belong to services (RFC 6335 section 6), and clients have others."""
EPHEMERAL = 32_768
"""From here on, systems take the ports of their clients (Linux; others from 49152, RFC 6335 section 6): of two ports
beside this one, the lower is the service's."""

WORTH_A_ROUND = 16
"""Orderly rows in a row for which another round of array work is cheaper than going a segment at a time."""
MIN_CAREFUL = 16
"""Segments that are taken one by one before the array work may go on: bounds what switching to and fro can cost."""
READ_AT_ONCE = 64
"""Segments that are made lists of Python's numbers at once: those of stretches need not be."""
_URGENT = 18
"""Where a TCP header has the urgent pointer."""
_SCTP = 132
MAX_ROUNDS = 1
"""Rounds a batch, for the same reason: each costs what some two hundred segments cost one by one. Behind the last,
what is orderly is taken in stretches."""


class Passage:
    """The work on one batch with usable rows; ``run`` makes ``slot`` and ``direction`` of `FlowBatch`."""

    def __init__(
        self,
        slots: FlowSlots,
        shared: Reassembly,
        packets: Packets,
        groups: Groups,
        clock: I64,
        orderly_lane: bool,
    ) -> None:
        self._slots = slots
        self._shared = shared
        self._packets = packets
        self._groups = parted(groups, packets) if orderly_lane else groups
        self._clock = clock
        self._orderly_lane = orderly_lane
        self._connections = Connections(slots, shared)
        self._data = np.ascontiguousarray(packets.batch.data).data
        self._ways = _ways(packets) if not shared.one_armed else None
        self._splits: list[tuple[int, int, int, int]] = []
        """Sorted positions from, to; slot, and ``flipped``, of the flow that they belong to after all."""
        self.slot: I64 = np.full(len(packets), -1, dtype=np.int64)
        self.direction: U8 = np.zeros(len(packets), dtype=np.uint8)

    @property
    def data(self) -> memoryview:
        """The batch's bytes."""
        return self._data

    def run(self) -> None:
        """Take every group of the batch; those with the same key one after the other."""
        groups = self._groups
        of_group = np.full(len(groups.starts), -1, np.int64)
        flipped = np.zeros(len(groups.starts), np.uint8)
        for wave in _waves(groups):
            of_group[wave], flipped[wave] = self._wave(_subset(groups, wave), MAX_ROUNDS if self._orderly_lane else 0)
        size = groups.ends - groups.starts
        slot, flip = np.repeat(of_group, size), np.repeat(flipped, size)
        for start, end, of_flow, of_flip in self._splits:
            slot[start:end], flip[start:end] = of_flow, of_flip
        self.slot[groups.rows] = slot
        self.direction[groups.rows] = groups.reverse ^ flip
        self._note_paths()

    def _note_paths(self) -> None:
        """Note connections of which a server agrees that they have several paths: it puts together what they carry."""
        packets, shared = self._packets, self._shared
        agrees = (packets.tcp_flags & (SYN | ACK) == SYN | ACK) & (self.slot >= 0) & (packets.proto == PROTO_TCP)
        rows = np.flatnonzero(agrees)
        if not len(rows):
            return
        subtype = tcp_options(packets, rows).multipath
        for of, note, name in ((CAPABLE, Note.MULTIPATH, "agreed"), (JOIN, Note.FURTHER_PATH, "joined")):
            for row in rows[subtype == of].tolist():
                at = (row, int(packets.batch.ts_ns[row]), int(packets.batch.number[row]))
                if shared.notes.add(self._slots.flows, int(self.slot[row]), int(self.direction[row]), note, at):
                    shared.counters.add(f"flow.tcp.multipath.{name}")

    def _wave(self, groups: Groups, rounds: int) -> tuple[I64, U8]:
        """Take groups of different keys; return the slot of each and whether its client is the second endpoint.

        What is orderly at the beginning of a group that is not, and behind the disorder, is taken in further rounds.
        """
        slots, packets = self._slots, self._packets
        first = groups.rows[groups.starts]
        slot = slots.find(groups.keys, self._clock[first], first)
        if self._orderly_lane:
            self._end_reused(slot, first)
        fresh = np.flatnonzero(slot < 0)
        if len(fresh):
            keys = [groups.keys[g] for g in fresh.tolist()]
            slot[fresh] = self._begin(keys, first[fresh], groups.reverse[groups.starts[fresh]])
        flip = slots.flipped[slot]
        tcp = packets.proto[first] == PROTO_TCP
        if not tcp.any():
            self._account(groups, slot, flip)
            return slot, flip
        careful, begins = self._tcp(groups, slot, flip, tcp)
        plain = np.flatnonzero(~careful)
        self._account(_subset(groups, plain) if len(plain) < len(slot) else groups, slot[plain], flip[plain])
        odd = np.flatnonzero(careful)
        if not len(odd):
            return slot, flip
        begins = begins[odd] * (begins[odd] >= WORTH_A_ROUND if rounds else False)
        begins[begins == groups.ends[odd] - groups.starts[odd]] = 0  # it is as a whole that they are not orderly
        if begins.any():
            self._wave(_cut(groups, odd[begins > 0], to=begins[begins > 0]), rounds=0)
        positions = self._in_disorder(groups, odd, slot, begins, leave=rounds > 0)
        left = positions < groups.ends[odd]
        if left.any():
            self._wave(_cut(groups, odd[left], begin=(positions - groups.starts[odd])[left]), rounds - 1)
        return slot, flip

    def _end_reused(self, slot: I64, first: I64) -> None:
        """End closed connections with whose ports another one begins: those whose first packet in a wave does."""
        slots = self._slots
        again = np.flatnonzero((slot >= 0) & (slots.phase[slot] == Phase.CLOSED) & ~slots.careful[slot])
        again = again[opening(first[again], self._packets)]
        if len(again):
            slots.end(slot[again], EndReason.TCP_REUSE, first[again])
            slot[again] = -1

    def _in_disorder(self, groups: Groups, odd: I64, slot: I64, skip: I64, *, leave: bool) -> I64:
        """Take the ``odd`` groups a segment at a time, behind their first ``skip`` rows; return where each was left."""
        self._parts: list[tuple[int, int, int]] = []
        begins = groups.starts[odd] + skip
        size = groups.ends[odd] - begins
        places, last = _ranges(begins, size), np.cumsum(size)
        rows = groups.rows[places]
        segments = self._segments(rows)
        part = Groups(rows, groups.reverse[places], last - size, last, [], np.arange(len(odd)))
        stretches = self._stretches(part, places)
        positions, first = [], 0
        for g, start, count in zip(odd.tolist(), begins.tolist(), size.tolist(), strict=True):
            of_flow = int(slot[g])
            if start > groups.starts[g]:  # its beginning may have ended the flow, and begun another
                of_flow = int(
                    self._slots.find(groups.keys[g : g + 1], self._clock[:1], groups.rows[start : start + 1])[0]
                )
            mine = segments[first : first + count]
            positions.append(self._carefully(groups, g, of_flow, start, mine, stretches, leave))
            first += count
        if stretches is not None:
            stretches.hand_on(self._slots)
        starts, ends, slots = np.array(self._parts).T
        parts = Groups(groups.rows, groups.reverse, starts, ends, [], starts)
        self._account(_subset(parts, np.arange(len(starts))), slots, self._slots.flipped[slots])
        return np.array(positions)

    def _stretches(self, groups: Groups, places: I64) -> Stretches | None:
        """Return what is orderly in the midst of disorder; None where every segment is to be taken by itself."""
        if not self._orderly_lane:
            return None
        return Stretches(self._packets, groups, places, self._shared, self._data)

    def _tcp(self, groups: Groups, slot: I64, flip: U8, tcp: Bool) -> tuple[Bool, I64]:
        """Deliver what is orderly; return which groups are not, and how many rows at their beginning are."""
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
            bare_syn = self._packets.tcp_flags[rows] & (SYN | ACK | RST) == SYN  # may begin a connection to be followed
            ignored &= ~np.logical_or.reduceat(bare_syn, groups.starts)
            self._count_ignored(exchanges.payload[ignored])
        able = tcp & ~ignored & ~slots.careful[slot] & self._orderly_lane
        able &= (slots.phase[slot] == Phase.OPENING) | (slots.phase[slot] == Phase.OPEN)
        orderly = able & exchanges.orderly & continues(slots, exchanges, slot, flip)
        advance(slots, self._shared, self._packets, groups, exchanges, slot, flip, orderly, self._data, self._ways)
        return tcp & ~orderly & ~ignored, np.where(able & ~exchanges.orderly, exchanges.begins_orderly, 0)

    def _count_ignored(self, payload: I64) -> None:
        total = int(payload.sum())
        if total:
            self._shared.count("midstream_bytes", total)

    # Beginnings.

    def _begin(self, keys: list[bytes], rows: I64, side: U8, offer: Offer | None = None) -> I64:
        """Start a flow with each of these packets; return the slots."""
        slots, packets, batch = self._slots, self._packets, self._packets.batch
        slot = slots.add(keys, packets.proto[rows], batch.ts_ns[rows], batch.number[rows])
        flows = slots.flows
        tcp = packets.proto[rows] == PROTO_TCP
        flags, seq, ack = packets.tcp_flags[rows], packets.seq[rows], packets.ack[rows]
        answer = tcp & (flags & (SYN | ACK) == SYN | ACK)
        answer |= tcp & (flags & SYN == 0) & _from_service(packets.sport[rows], packets.dport[rows])
        turned = answer[:, None]
        flows.src[slot] = np.where(turned, packets.dst[rows], packets.src[rows])
        flows.dst[slot] = np.where(turned, packets.src[rows], packets.dst[rows])
        flows.sport[slot] = np.where(answer, packets.dport[rows], packets.sport[rows])
        flows.dport[slot] = np.where(answer, packets.sport[rows], packets.dport[rows])
        _note_ports(flows, slot, packets, rows)
        flows.ip_version[slot], flows.proto[slot] = packets.ip_version[rows], packets.proto[rows]
        flows.vlan[slot], flows.interface[slot] = packets.vlan[rows], batch.interface[rows]
        _note_tunnels(flows, slot, packets, rows)
        flows.start_ns[slot] = flows.last_ns[slot] = batch.ts_ns[rows]
        flows.first_number[slot] = slots.number[slot] = batch.number[rows]
        flows.source[slot] = flows.source_code(batch.source)
        slots.way[slot] = 0 if self._ways is None else self._ways[rows]
        slots.seen_ns[slot] = self._clock[rows]
        slots.flipped[slot] = side ^ answer
        proto = packets.proto[rows]
        echo = (proto == PROTO_ICMP) | (proto == PROTO_ICMPV6)
        flows.echo_id[slot] = -1
        if echo.any():
            flows.echo_id[slot[echo]] = echo_ids(packets, rows[echo])
        slots.phase[slot] = np.where(tcp, Phase.OPENING, Phase.NONE)
        if offer is None:
            middle = tcp & (flags & (SYN | ACK | RST) != SYN)
            if middle.any():
                self._pick_up(slot[middle], flags[middle], seq[middle], ack[middle], answer[middle])
        return slot

    def _pick_up(self, slot: I64, flags: U8, seq: U32, ack: U32, answer: Bool) -> None:
        """Begin in the middle, at these segments' numbers, where that is wanted and possible."""
        slots, flows = self._slots, self._slots.flows
        flows.marks[slot] |= np.uint16(Mark.MIDSTREAM)
        usable = (flags & (RST | ACK) == ACK) & self._shared.midstream
        slots.phase[slot[~usable]] = Phase.IGNORED
        self._shared.counters.add("flow.tcp.midstream_ignored", int((~usable).sum()))
        slot, answer, behind = slot[usable], answer[usable], (flags[usable] & SYN != 0).astype(np.uint32)
        slots.next[slot, 0] = np.where(answer, ack[usable], seq[usable])
        slots.next[slot, 1] = np.where(answer, seq[usable] + behind, ack[usable])
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
        fresh = np.flatnonzero(answered & (flows.state[slot] == FlowState.NEW))
        if len(fresh):
            answers = groups.reverse != np.repeat(flip, groups.ends - starts)
            first = np.minimum.reduceat(np.where(answers, batch.number[rows], NEVER), starts)
            flows.established_from[slot[fresh]] = first[fresh]
        flows.state[slot[answered]] = FlowState.ESTABLISHED

    # The careful way.

    def _carefully(
        self, groups: Groups, g: int, slot: int, start: int, segments: I64, stretches: Stretches | None, leave: bool
    ) -> int:
        """Take a group from ``start`` on a segment at a time; a new connection on the same ports splits it.

        Return the position in ``groups`` behind the last row taken: where ``leave`` allows, the rest is left as soon as
        the connection is in order again.
        """
        end, flipped = int(groups.ends[g]), int(self._slots.flipped[slot])
        connection = self._connections.take(slot)
        begun, position = start, start
        read: list[list[int]] = []
        read_at = start
        stretches_at = {} if stretches is None else stretches.at
        while position < end:
            if leave and position - begun >= MIN_CAREFUL and end - position >= WORTH_A_ROUND and connection.orderly:
                break
            number = stretches_at.get(position)
            if number is not None and stretches is not None and stretches.take(number, connection, flipped):
                position += stretches.sizes[number]
                continue
            if position >= read_at + len(read):
                read_at, read = position, segments[position - start : position - start + READ_AT_ONCE].tolist()
            segment = self._segment(read[position - read_at], int(groups.reverse[position]) ^ flipped)
            offer = None
            opens = segment.flags & (SYN | ACK | RST) == SYN and not segment.doubtful
            if connection.phase not in (Phase.CLOSED, Phase.IGNORED) or not opens:
                offer = connection.segment(segment)
                if offer is None:
                    position += 1
                    continue
            if position > begun:
                part = Groups(groups.rows, groups.reverse, np.array([begun]), np.array([position]), [], np.array([0]))
                self._account(_subset(part, part.order), np.array([slot]), self._slots.flipped[slot : slot + 1])
            self._connections.put(slot, connection)
            slot = self._begin_again(groups, g, slot, position, offer)
            begun, flipped = position, int(self._slots.flipped[slot])
            connection = self._connections.take(slot)
            if offer is not None:
                connection.offer(offer)
            segment.direction = _DIRECTIONS[int(groups.reverse[position]) ^ flipped]
            connection.segment(segment)
            position += 1
        self._connections.put(slot, connection)
        self._parts.append((begun, position, slot))
        return position

    def _begin_again(self, groups: Groups, g: int, slot: int, position: int, offer: Offer | None) -> int:
        """End a flow, and begin another one with a packet of the same ends; return its slot."""
        at = slice(position, position + 1)
        self._slots.end(np.array([slot]), EndReason.TCP_REUSE, groups.rows[at])
        slot = int(self._begin([groups.keys[g]], groups.rows[at], groups.reverse[at], offer)[0])
        self._split(groups, position, int(groups.ends[g]), slot, int(self._slots.flipped[slot]))
        return slot

    def _segment(self, row_of: list[int], direction: int) -> Segment:
        row, flags, seq, ack, payload, size, missing, ts_ns, number, window, l4, *more = row_of
        stamp, signed, scale, doubtful, ttl, way = more
        content = bytes(self._data[payload : payload + size]) if size else b""
        at = (row, ts_ns, number)
        segment = Segment(_DIRECTIONS[direction], flags, seq, ack, content, size + missing, at, way)
        segment.window, segment.signed, segment.doubtful = window, bool(signed), bool(doubtful)
        segment.ttl = ttl
        segment.stamp, segment.scale = None if stamp < 0 else stamp, None if scale == NO_SCALE else scale
        if flags & URG:
            segment.urgent = int.from_bytes(self._data[l4 + _URGENT : l4 + _URGENT + 2], "big")
        return segment

    def _split(self, groups: Groups, position: int, end: int, slot: int, flipped: int) -> None:
        """Note that the rest of a group belongs to another flow; its place in all groups is found by its first row."""
        shift = int(np.flatnonzero(self._groups.rows == groups.rows[position])[0]) - position
        self._splits.append((position + shift, end + shift, slot, flipped))

    def _segments(self, rows: I64) -> I64:
        """Return a line for each segment: row, flags, sequence number, acknowledgement, payload, its length, what is
        missing, time, number, window, header, options (timestamp, -1: none; whether it is signed; window scale),
        whether it is doubtful, TTL, way.
        """
        packets, batch = self._packets, self._packets.batch
        columns: _Columns = [packets.tcp_flags, packets.seq, packets.ack, packets.payload, packets.payload_len]
        columns += [packets.payload_missing, batch.ts_ns, batch.number, packets.window, packets.l4]
        matrix = np.zeros((len(rows), 7 + len(columns)), dtype=np.int64)
        matrix[:, 0] = rows
        if self._ways is not None:
            matrix[:, -1] = self._ways[rows]
        for at, column in enumerate(columns, 1):
            matrix[:, at] = column[rows]
        options = tcp_options(packets, rows)
        matrix[:, -6] = np.where(options.stamped, options.stamp.astype(np.int64), -1)
        matrix[:, -5], matrix[:, -4], matrix[:, -3] = options.signed, options.scale, packets.doubtful[rows]
        matrix[:, -2] = packets.ttl[rows]
        return matrix


def _note_ports(flows: FlowColumns, slot: I64, packets: Packets, rows: I64) -> None:
    """Note the ports of SCTP, for rules and events. They are no part of its flow's key, nor of the gate's."""
    sctp = np.flatnonzero((packets.proto[rows] == _SCTP) & (packets.l4[rows] >= 0) & (packets.payload_len[rows] >= 4))
    if len(sctp):
        data, at = packets.batch.data, packets.l4[rows[sctp]]
        high, low = data[at[:, None] + (0, 2)].astype(np.uint16), data[at[:, None] + (1, 3)].astype(np.uint16)
        flows.sport[slot[sctp]], flows.dport[slot[sctp]] = (high << 8 | low).T


def _from_service(sport: U16, dport: U16) -> Bool:
    """Return which segments in the middle of a connection the server sent, as far as their ports show it."""
    from_service: Bool = (sport < SERVICES) & (dport >= SERVICES)
    from_service |= (sport < EPHEMERAL) & (dport >= EPHEMERAL)
    return from_service


def _ways(packets: Packets) -> I64 | None:
    """Return `Segment.way` of each row; None for a capture, which does not show it.

    What this host sends itself is seen before its checksums are filled in.
    """
    batch = packets.batch
    if batch.source != LIVE:
        return None
    ways = batch.interface.astype(np.int64)
    return ways if batch.unsummed is None else np.where(batch.unsummed, OWN, ways)


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


def _ranges(starts: I64, sizes: I64) -> I64:
    """Return the indices of all ranges, one range behind the other."""
    ends = np.cumsum(sizes)
    return np.repeat(starts - (ends - sizes), sizes) + np.arange(int(ends[-1]) if len(ends) else 0)


def _cut(groups: Groups, chosen: I64, begin: I64 | None = None, to: I64 | None = None) -> Groups:
    """Return some of the groups without what is before row ``begin``, or behind row ``to``, of each."""
    starts = groups.starts if begin is None else groups.starts.copy()
    ends = groups.ends if to is None else groups.ends.copy()
    if begin is not None:
        starts[chosen] += begin
    if to is not None:
        ends[chosen] = starts[chosen] + to
    return _subset(Groups(groups.rows, groups.reverse, starts, ends, groups.keys, groups.order), chosen)


def _subset(groups: Groups, chosen: I64) -> Groups:
    """Return some of the groups, in the order given."""
    size = (groups.ends - groups.starts)[chosen]
    places, ends = _ranges(groups.starts[chosen], size), np.cumsum(size)
    keys = [groups.keys[g] for g in chosen.tolist()] if groups.keys else []
    return Groups(groups.rows[places], groups.reverse[places], ends - size, ends, keys, np.arange(len(chosen)))


def _note_tunnels(flows: FlowColumns, slot: I64, packets: Packets, rows: I64) -> None:
    """Keep with flows that begin within a tunnel what is around them."""
    inside = np.flatnonzero(packets.depth[rows])
    if not len(inside):
        return
    of, carrier = slot[inside], packets.carrier[rows[inside]]
    flows.depth[of] = packets.depth[rows[inside]]
    flows.outer_src[of], flows.outer_dst[of] = packets.src[carrier], packets.dst[carrier]
    flows.outer_sport[of], flows.outer_dport[of] = packets.sport[carrier], packets.dport[carrier]
    flows.outer_proto[of] = packets.proto[carrier]
