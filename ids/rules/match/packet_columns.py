"""The axes of a batch of packets: fields of their headers, and what is known of their flows when each came."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ids.decode.fields import Fields, whole
from ids.decode.noted import rows_with
from ids.protocols import meant
from ids.rules.match.clauses import Column
from ids.rules.match.packet_tests import AddressRanks
from ids.rules.model.header import AddressList
from ids.types import I64, U64, Anomaly, Direction, FlowBatch, FlowColumns, Packets, ascending

_TRACKED = np.isin(np.arange(256), (1, 6, 17, 50, 58, 132))
"""By protocol number: Suricata knows flows of it. Of the others each packet stands alone."""
_TCP, _SYN, _FIN = 6, 2, 1
_PORTLESS = -2
_LOWER = np.frombuffer(bytes(range(256)).lower(), np.uint8)
_HALF = 1 << 31
_SECOND = 1_000_000_000
_NO_LISTS: Mapping[str, AddressList] = {}


class FlowsBefore:
    """What was known of each flow at the end of the batch before: of the protocols of flows, and how much was sent."""

    def __init__(self, flows: FlowColumns) -> None:
        self._flows = flows
        self._epoch = flows.epoch
        self._id: I64 = np.zeros(0, np.int64)
        self._app: I64 = np.zeros(0, np.int64)
        self._size_id: I64 = np.zeros(0, np.int64)
        self._first: I64 = np.zeros((0, 2), np.int64)
        self._sent: I64 = np.zeros((0, 2), np.int64)

    def app(self, slots: I64) -> I64:
        """Return the protocols of flows as they were known then; 0: not at all. Remember what is known now."""
        flows = self._flows
        self._forget()
        self._id, self._app = _grown(self._id, flows.capacity), _grown(self._app, flows.capacity)
        before = np.where(self._id[slots] == flows.id[slots], self._app[slots], 0)
        self._id[slots], self._app[slots] = flows.id[slots], flows.app_proto[slots]
        return before

    def sizes(self, slots: I64) -> tuple[I64, I64]:
        """Return for each side of flows its first sequence number, -1: not known, and the numbers used by then."""
        flows = self._flows
        self._forget()
        self._size_id = _grown(self._size_id, flows.capacity)
        self._first, self._sent = _grown(self._first, flows.capacity), _grown(self._sent, flows.capacity)
        fresh = slots[self._size_id[slots] != flows.id[slots]]
        self._size_id[fresh], self._first[fresh], self._sent[fresh] = flows.id[fresh], -1, 0
        return self._first, self._sent

    def _forget(self) -> None:
        """Forget all flows where the traffic begins anew: a flow of another capture may have the id of one of these."""
        if self._epoch != self._flows.epoch:
            self._epoch = self._flows.epoch
            self._id[:], self._size_id[:] = 0, 0


def _grown(column: I64, capacity: int) -> I64:
    if len(column) >= capacity:
        return column
    wider = np.zeros((capacity, *column.shape[1:]), np.int64)
    wider[: len(column)] = column
    return wider


class PacketColumns:
    """The axes of one batch, each made when it is first asked for."""

    def __init__(
        self,
        packets: Packets,
        flows: FlowBatch,
        ranks: AddressRanks,
        before: FlowsBefore,
        inline: bool = False,
        lists: Mapping[str, AddressList] = _NO_LISTS,
    ) -> None:
        """Take a batch.

        ``lists`` are those that rules look addresses up in, by name. ``inline``: what a packet of TCP shows is known at
        this packet; otherwise once it is acknowledged.
        """
        self.packets = packets
        self._inline = inline
        self._lists = lists
        self.flows = flows
        self.fields = Fields(packets)
        self._ranks = ranks
        self._before = before
        self._known: dict[str, Column] = {}

    def __len__(self) -> int:
        return len(self.packets)

    def axis(self, name: str) -> Column:
        """Return the values of an axis."""
        column = self._known.get(name)
        if column is None:
            column = self._known[name] = self._made(name)
        return column

    def _made(self, name: str) -> Column:
        make = _MAKE.get(name)
        if make is not None:
            return make(self)
        kind, _, rest = name.partition(":")
        if kind == "option":
            return self._yes(self.fields.ip_option(rest))
        if kind == "bytes":
            return self._bytes(*rest.split(":"))
        if kind == "checksum":
            return Column(*self.fields.checksums(rest))
        if kind == "noted":
            stage, _, event = rest.partition(":")
            return self._yes(rows_with(self.packets, event) if stage == "decode" else self._noted("stream." + event))
        if kind == "spoken":
            return self._spoken(rest)
        if kind == "listed":
            end, _, name = rest.partition(":")
            return self._listed(self.packets.src if end == "src" else self.packets.dst, self._lists[name])
        return Column(*self.fields[name])

    def _all(self, values: np.ndarray) -> Column:
        return Column(np.arange(len(self.packets)), values.astype(np.int64))

    def _yes(self, rows: I64) -> Column:
        return Column(rows, np.ones(len(rows), np.int64))

    def _with_flow(self) -> I64:
        return np.flatnonzero(self.flows.slot >= 0)

    def _whole(self) -> Column:
        return self._yes(np.flatnonzero(whole(self.packets) | (self.flows.slot >= 0)))

    def _first(self) -> Column:
        """The first packet of each direction of a flow; of packets that are no flow's, each."""
        packets, batch = self.packets, self.flows
        rows = self._with_flow()
        key = batch.slot[rows] * 2 + batch.direction[rows]
        keys, first, count = np.unique(key, return_index=True, return_counts=True)
        begins = batch.flows.packets[keys // 2, keys % 2] == count
        wrong = np.isin(packets.anomaly, (Anomaly.BAD_IP_CHECKSUM, Anomaly.BAD_L4_CHECKSUM))
        alone = np.flatnonzero(np.where(batch.slot >= 0, ~_TRACKED[packets.proto], ~wrong))
        return self._yes(np.union1d(rows[first[begins]], alone))

    def _tracked(self) -> Column:
        rows = self._with_flow()
        return self._yes(rows[_TRACKED[self.packets.proto[rows]]])

    def _established(self) -> Column:
        rows, flows = self.axis("flow").rows, self.flows
        known = flows.flows.established(flows.slot[rows], self.packets.batch.number[rows])
        return Column(rows, known.astype(np.int64))

    def _age(self) -> Column:
        """Whole seconds between the beginning of a flow and each of its packets, as clocks show them."""
        rows, flows = self.axis("flow").rows, self.flows
        began = flows.flows.start_ns[flows.slot[rows]] // _SECOND
        return Column(rows, self.packets.batch.ts_ns[rows] // _SECOND - began)

    def _app(self) -> Column:
        """The protocol recognised by then: behind the first payload of TCP, from it on of others and inline."""
        batch, packets = self.flows, self.packets
        rows = self._with_flow()
        slots = batch.slot[rows]
        touched, of = np.unique(slots, return_inverse=True)
        now, before = batch.flows.app_proto[touched].astype(np.int64), self._before.app(touched)
        spoke = np.full(len(touched), len(packets), np.int64)
        speaks = packets.payload_len[rows] > 0
        np.minimum.at(spoke, of[speaks], rows[speaks])
        behind = np.where((packets.proto[rows] == _TCP) & (not self._inline), rows > spoke[of], rows >= spoke[of])
        return Column(rows, np.where(behind, now[of], before[of]))

    def _spoken(self, name: str) -> Column:
        """Whether a protocol is the one that was recognised, of packets of flows in which one was, or could not be."""
        app, flows = self.axis("app"), self.flows.flows
        known = app.values != flows.app_code(None)
        codes = [flows.app_code(one) for one in meant(name)]
        return Column(app.rows[known], np.isin(app.values[known], codes).astype(np.int64))

    def _addresses(self, addresses: U64) -> Column:
        rows = np.flatnonzero(self.packets.ip_version != 0)
        return Column(rows, ranks_of(self._ranks, addresses[rows]))

    def _listed(self, addresses: U64, members: AddressList) -> Column:
        rows = np.flatnonzero(self.packets.ip_version != 0)
        return Column(rows, members.among(addresses[rows]).astype(np.int64))

    def _bytes(self, offset: str, size: str, case: str) -> Column:
        """Return bytes at a place of the payload as a number, where it is as long as that."""
        start, sizes = self.fields.payloads
        rows = np.flatnonzero(sizes >= int(offset) + int(size))
        values = np.zeros(len(rows), np.int64)
        at, data = start[rows] + int(offset), self.packets.batch.data
        for place in range(int(size)):
            byte = data[at + place]
            values = values << 8 | (_LOWER[byte] if case == "lower" else byte)
        return Column(rows, values)

    def _ports(self, name: str) -> Column:
        values = np.full(len(self.packets), _PORTLESS, np.int64)
        rows, ports = self.fields.ports(name)
        values[rows] = ports
        return self._all(values)

    def _noted(self, event: str) -> I64:
        """Return the rows of the packets for which something was noted about their connections."""
        flows, numbers = self.flows, self.packets.batch.number
        of: dict[int, int] = {noted.number: noted.slot for noted in flows.notes if noted.event == event}
        rows = np.flatnonzero(np.isin(numbers, list(of))) if of else np.zeros(0, np.int64)
        found: dict[int, int] = {}
        for row, number, slot in zip(rows.tolist(), numbers[rows].tolist(), flows.slot[rows].tolist(), strict=True):
            if slot == of[number] or number not in found:  # a connection that begins with it may have taken the packet
                found[number] = row
        return ascending(np.array([*found.values()], np.int64))

    def _sizes(self) -> tuple[Column, Column]:
        """How much each side of a connection has sent, in sequence numbers: a packet's own FIN is not counted yet.

        Where no beginning was seen, there is no number.
        """
        packets, batch = self.packets, self.flows
        rows = np.flatnonzero((batch.slot >= 0) & (packets.proto == _TCP))
        rows = rows[np.argsort(batch.slot[rows], kind="stable")]
        slots, sides = batch.slot[rows], batch.direction[rows]
        first, sent = self._before.sizes(ascending(slots))
        opens = packets.tcp_flags[rows] & _SYN != 0
        first[slots[opens][::-1], sides[opens][::-1]] = packets.seq[rows][opens][::-1]
        begun = (first[slots, 0] >= 0) | (first[slots, 1] >= 0)  # of a connection that was seen to begin
        begins = np.diff(slots, prepend=-1) != 0
        of = np.cumsum(begins) - 1
        span = packets.payload_len[rows] + packets.payload_missing[rows] + opens
        end = (packets.seq[rows].astype(np.int64) - first[slots, sides] + span) & 0xFFFFFFFF
        end[(end >= _HALF) | (first[slots, sides] < 0)] = 0
        fin = packets.tcp_flags[rows] & _FIN != 0
        columns = []
        for side in Direction:
            mine = sides == side
            base = sent[slots, side]
            by_now = _highest(np.where(mine, end, 0), of)
            later = _highest(np.where(mine & fin, end + 1, 0), of)
            earlier = np.where(begins, 0, np.append(0, later[:-1]))
            total = np.maximum(np.maximum(by_now, earlier), base)
            np.maximum.at(sent, (slots, np.full(len(slots), int(side))), np.maximum(by_now, later))
            order = np.argsort(rows)
            order = order[begun[order]]
            columns.append(Column(rows[order], total[order]))
        self._known["stream:client"], self._known["stream:server"] = columns
        return columns[0], columns[1]


_MAKE: dict[str, Callable[[PacketColumns], Column]] = {
    "row": lambda of: of._all(np.ones(len(of.packets), np.int64)),
    "whole": lambda of: of._whole(),
    "flow": lambda of: of._tracked(),
    "first": lambda of: of._first(),
    "direction": lambda of: of._all(np.where(of.flows.slot >= 0, of.flows.direction, Direction.TO_SERVER)),
    "established": lambda of: of._established(),
    "app": lambda of: of._app(),
    "src": lambda of: of._addresses(of.packets.src),
    "dst": lambda of: of._addresses(of.packets.dst),
    "sport": lambda of: of._ports("sport"),
    "dport": lambda of: of._ports("dport"),
    "address.same": lambda of: of._yes(
        np.flatnonzero((of.packets.ip_version != 0) & (of.packets.src == of.packets.dst).all(axis=1))
    ),
    "flow.age": lambda of: of._age(),
    "stream:client": lambda of: of._sizes()[0],
    "stream:server": lambda of: of._sizes()[1],
}
"""How axes are made. None of them is bound to its batch: a cycle would keep the batch until it is looked for."""


def _highest(values: I64, of: I64) -> I64:
    """Return the running maximum of values below 2**32, within each of the ascending groups ``of``."""
    highest: I64 = np.maximum.accumulate(values + (of << 33)) - (of << 33)
    return highest


def ranks_of(ranks: AddressRanks, addresses: U64) -> I64:
    """Return how many of the bounds lie up to each address, shape (n, 2)."""
    result = np.empty(len(addresses), np.int64)
    mapped = (addresses[:, 0] == 0) & (addresses[:, 1] >> np.uint64(32) == 0xFFFF)
    of_four = (addresses[mapped, 1] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    result[mapped] = ranks.below_ipv4 + np.searchsorted(ranks.ipv4, of_four, "right")
    if not mapped.all():
        others = np.ascontiguousarray(addresses[~mapped].astype(">u8")).view("S16").ravel()
        result[~mapped] = np.searchsorted(ranks.spelt, others, "right")
    return result
