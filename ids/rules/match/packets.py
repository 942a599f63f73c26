"""Matches rules packet by packet: those on headers, and those that look for bytes in single packets.

A rule without tests on bytes matches once a flow, or, where it `repeats`, at each packet that fits. Which packets fit
is found for all rules at once (`ids.rules.match.clauses`); Python runs once a match. Where rules look for bytes in a
packet, or in one of its headers, these are searched in one pass, of the packets that one of the rules may fit.

A packet need not have a flow: fragments, what carries other packets, what hosts refuse. Its match then has a flow of
its own, of the one packet, with the id 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ids.counters import Counters
from ids.protocols import meant
from ids.rules.match.beginnings import Beginnings
from ids.rules.match.clauses import Clauses, distinct
from ids.rules.match.counted import Counted
from ids.rules.match.evaluation import Evaluator, Moment, view_of
from ids.rules.match.index import RuleIndex, carriers_of
from ids.rules.match.packet_columns import FlowsBefore, PacketColumns
from ids.rules.match.packet_tests import AddressRanks, clauses_of, demanded, header_tests, judge
from ids.rules.model.buffers import PACKET_HEADERS, PAYLOAD
from ids.rules.model.header import AddressIn, HeaderTest, Spoken
from ids.rules.model.rule import Rule, leaves
from ids.rules.model.script import PACKET
from ids.types import (
    I64,
    LIVE,
    Action,
    Bool,
    Direction,
    Distinct,
    Flow,
    FlowBatch,
    FlowColumns,
    FlowState,
    Match,
    Packets,
)

MOST_A_PACKET = 64
"""Rules that may match one packet by its headers alone: who writes "alert ip any any" a thousand times shall not have a
thousand alerts of each packet of a flood. Rules that drop or pass come first; more are counted as
``rules.packets.overflow``. Suricata's limit is 15."""

MOST_ALONE = 16_384
MOST_ALONE_LIVE = 256
"""Matches of packets without a flow, of one batch of a capture and of an interface: no flow's limit on alerts bounds
these, so they are bounded as events of such packets are. More are counted as ``rules.packets.alone_left_out``."""

_NONE: I64 = np.zeros(0, np.int64)
_DIRECTIONS = tuple(Direction)
_URGENCY = {Action.PASS: 0, Action.DROP: 1, Action.REJECT: 1, Action.ALERT: 2}


class PacketMatcher:
    """The rules that are judged packet by packet."""

    def __init__(
        self, index: RuleIndex, evaluator: Evaluator, flows: FlowColumns, counters: Counters, *, inline: bool = False
    ) -> None:
        """``inline``: see `PacketColumns`."""
        self._index = index
        self._inline = inline
        self._evaluator = evaluator
        self._counters = counters
        self._flows = flows
        numbers = *index.headers, *index.packet, *index.packet_unfiltered
        rules = {number: rule for number in numbers if isinstance(rule := index.rules[number], Rule)}
        self._rules = rules
        self._beginnings = Beginnings(rules.__getitem__)
        self._ranks = AddressRanks(side for rule in rules.values() for side in (rule.traffic.src, rule.traffic.dst))
        self._before = FlowsBefore(flows)
        self._headers = self._compiled(index.headers)
        self._bytes = self._compiled(index.packet)
        self._placed = self._compiled(index.packet_unfiltered)
        self._bare = {number for number in index.headers if _is_bare(rules[number])}
        """Rules that need no more than that their clauses hold."""
        self._counted = Counted(
            {n: distinct for n in self._bare if (distinct := _only_counted(rules[n])) is not None}, counters
        )
        self._nested = {n for n, rule in rules.items() if _nested(rule)}
        self._urgency: I64 = np.full(len(index.rules), max(_URGENCY.values()), np.int64)
        for number, rule in rules.items():
            self._urgency[number] = _URGENCY[rule.signature.action]
        self._repeats: Bool = np.array([getattr(rule, "repeats", False) for rule in index.rules], np.bool_)
        self._asked = index.asks_headers
        asking = (rule for rule in index.rules if isinstance(rule, Rule) and rule.asks_headers)
        tests = (test for rule in asking for test in header_tests(rule.condition))
        self._lists = {test.name: test.members for test in tests if isinstance(test, AddressIn)}
        self._columns: PacketColumns | None = None
        self._lone: dict[int, Flow] = {}
        self._alone = 0
        """Matches of packets without a flow in this batch."""
        self.active = bool(rules) or self._asked or bool(index.mixed)

    def _compiled(self, numbers: Sequence[int]) -> Clauses:
        return Clauses(
            (number, clause)
            for number in numbers
            for clause in clauses_of(
                self._rules[number],
                self._ranks,
                self._flows.app_code,
                tcp_alone=number in self._index.of_either,
            )
        )

    def packets(self, packets: Packets, flows: FlowBatch) -> list[Match]:
        """Take a batch; return the matches in the order of the packets."""
        if not self.active or not len(packets):
            return []
        self._columns = columns = PacketColumns(packets, flows, self._ranks, self._before, self._inline, self._lists)
        self._lone.clear()
        self._alone = 0
        found: list[tuple[int, int, Match]] = []
        if len(self._headers):
            rows, rules = self._bounded(*self._once(*self._headers.on(columns).pairs()))
            rows, rules = self._counted.thinned(rows, rules, columns)
            self._judge(rows, rules, found)
        if len(self._placed):
            self._judge(*self._begun(columns, *self._placed.on(columns).pairs()), found)
        if len(self._bytes):
            self._judge(*self._begun(columns, *self._with_bytes(columns)), found)
        found.sort(key=lambda entry: entry[:2])
        return [match for _, _, match in found]

    def looked(self, row: int) -> tuple[Callable[[str], Sequence[bytes]], Callable[[HeaderTest], bool]] | None:
        """Return the buffers of a packet of the latest batch, and what judges tests on its headers; None where no rule
        is judged packet by packet.
        """
        columns = self._columns
        return None if columns is None else (self._instances(columns, row), self._answer(columns, row))

    def header_answer(self, number: int, slot: int) -> Callable[[HeaderTest], bool]:
        """Return what judges tests on the headers of a packet of the latest batch, by its number and its flow's slot.

        Of a packet that is in no such batch nothing holds.
        """
        columns = self._columns
        found: list[int] = []

        def answer(test: HeaderTest) -> bool:
            if isinstance(test, Spoken):
                return self._spoken(test, slot)
            if columns is None:
                return False
            if not found:
                found.append(_row_of(columns, number, slot))
            return found[0] >= 0 and judge(test, columns.axis, found[0])

        return answer

    def payload_of(self, number: int, slot: int) -> bytes:
        """Return the payload of a packet of the latest batch, by its number and its flow's slot; empty: it has none."""
        columns = self._columns
        row = _row_of(columns, number, slot) if columns is not None else -1
        if columns is None or row < 0:
            return b""
        begin, size = (int(column[row]) for column in columns.fields.payloads)
        return columns.packets.batch.data[begin : begin + size].tobytes()

    def _spoken(self, test: Spoken, slot: int) -> bool:
        """Judge the protocol by what is known now: bytes of a stream are looked at when it was recognised in them."""
        name = self._flows.app_names[int(self._flows.app_proto[slot])]
        return name is not None and (name in meant(test.name)) is not test.negated

    def _answer(self, columns: PacketColumns, row: int) -> Callable[[HeaderTest], bool]:
        return lambda test: judge(test, columns.axis, row)

    def _once(self, rows: I64, rules: I64) -> tuple[I64, I64]:
        """Leave of the rules that match once a flow the first packet of each direction, and of each pair of addresses
        where there is no flow.
        """
        if not len(rows) or self._repeats[rules].all():
            return rows, rules
        columns = self._columns
        assert columns is not None
        again = self._repeats[rules]
        slots = columns.flows.slot[rows]
        once = np.flatnonzero(~again & (slots >= 0))
        sides = slots[once] * 2 + columns.flows.direction[rows[once]]  # either may be the one with a Scapy field
        key = rules[once] * 2 * columns.flows.flows.capacity + sides
        keep = again.copy()
        keep[once[np.unique(key, return_index=True)[1]]] = True
        alone = np.flatnonzero(~again & (slots < 0))
        if len(alone):
            packets = columns.packets
            ends = np.column_stack((rules[alone].astype(np.uint64), packets.src[rows[alone]], packets.dst[rows[alone]]))
            keep[alone[np.unique(ends, axis=0, return_index=True)[1]]] = True
        return rows[keep], rules[keep]

    def _bounded(self, rows: I64, rules: I64) -> tuple[I64, I64]:
        """Leave no more than `MOST_A_PACKET` rules a row, the urgent ones first."""
        if not len(rows):
            return rows, rules
        order = np.lexsort((rules, self._urgency[rules], rows))
        rows, rules = rows[order], rules[order]
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        rank = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
        keep = rank < MOST_A_PACKET
        over = len(rows) - int(np.count_nonzero(keep))
        if over:
            self._counters.add("rules.packets.overflow", over)
        return rows[keep], rules[keep]

    # Bytes.

    def _with_bytes(self, columns: PacketColumns) -> tuple[I64, I64]:
        """Return ``(rows, rules)`` of the candidates among the rules that look for bytes in packets."""
        found = self._bytes.on(columns)
        mask = found.any_rule()
        all_rows, all_rules = [_NONE], [_NONE]
        carriers = carriers_of(columns.packets.proto)
        for (name, carrier), prefilter in self._index.in_packets.items():
            rows, start, end = self._spans(columns, name)
            chosen = mask[rows] & (carriers[rows] == carrier)
            rows, start, end = rows[chosen], start[chosen], end[chosen]
            if not len(rows):
                continue
            data = np.ascontiguousarray(columns.packets.batch.data).data
            joined = b"".join(map(data.__getitem__, map(slice, start.tolist(), end.tolist())))
            bounds = np.append(0, np.cumsum(end - start))
            ports = columns.axis("sport").values[rows], columns.axis("dport").values[rows]
            places, rules = prefilter.find(joined, bounds, ports=ports)
            all_rows.append(rows[places])
            all_rules.append(rules)
        rows, rules = distinct(np.concatenate(all_rows), np.concatenate(all_rules))
        keep = found.keep(rows, rules)
        return rows[keep], rules[keep]

    def _begun(self, columns: PacketColumns, rows: I64, rules: I64) -> tuple[I64, I64]:
        """Leave out the packets in whose payload something else stands at a place than the rule asks for."""
        start, size = (column[rows] for column in columns.fields.payloads)
        keep = self._beginnings.keep(rules, columns.packets.batch.data, start, size)
        return rows[keep], rules[keep]

    def _spans(self, columns: PacketColumns, name: str) -> tuple[I64, I64, I64]:
        """Return the rows that have a buffer, and where it starts and ends in the batch's bytes."""
        if name != PAYLOAD:
            return columns.fields.header_span(name)
        rows = np.flatnonzero(columns.fields.with_payload())
        start, size = columns.fields.payloads
        return rows, start[rows], start[rows] + size[rows]

    def _instances(self, columns: PacketColumns, row: int) -> Callable[[str], Sequence[bytes]]:
        def instances(name: str) -> Sequence[bytes]:
            if name == PAYLOAD:
                begin, size = (int(column[row]) for column in columns.fields.payloads)
                return (columns.packets.batch.data[begin : begin + size].tobytes(),) if size else ()
            if name == PACKET:
                batch = columns.packets.batch
                first, size = int(batch.offset[row]), int(batch.caplen[row])
                return (batch.data[first : first + size].tobytes(),)
            if name not in PACKET_HEADERS:
                return ()
            rows, start, end = self._spans(columns, name)
            at = int(np.searchsorted(rows, row))
            if at >= len(rows) or rows[at] != row:
                return ()
            return (columns.packets.batch.data[start[at] : end[at]].tobytes(),)

        return instances

    # Matches.

    def _judge(self, rows: I64, rules: I64, found: list[tuple[int, int, Match]]) -> None:
        columns = self._columns
        assert columns is not None
        batch, flows = columns.packets.batch, columns.flows
        each = (rows, rules, flows.slot[rows], flows.direction[rows], batch.ts_ns[rows], batch.number[rows])
        for row, number, slot, side, ts_ns, count in zip(*(column.tolist() for column in each), strict=True):
            rule = self._rules[number]
            if slot < 0 and (rule.needs_scapy or not self._may_stand_alone()):
                continue
            flow = flows.flows.view(slot) if slot >= 0 else self._flow_of(columns.packets, row)
            direction = _DIRECTIONS[side] if slot >= 0 else Direction.TO_SERVER
            moment = Moment(flow, direction, ts_ns, count)
            match = self._match(rule, number, columns, row, moment)
            if match is not None:
                self._alone += slot < 0
                found.append((row, int(self._urgency[number]) * len(self._index.rules) + number, match))

    def _may_stand_alone(self) -> bool:
        """Return whether another packet without a flow may match; count it where it may not."""
        assert self._columns is not None
        live = self._columns.packets.batch.source == LIVE
        if self._alone < (MOST_ALONE_LIVE if live else MOST_ALONE):
            return True
        self._counters.add("rules.packets.alone_left_out")
        return False

    def _match(self, rule: Rule, number: int, columns: PacketColumns, row: int, moment: Moment) -> Match | None:
        once = not rule.repeats and not rule.buffers and moment.flow.id != 0
        if number in self._bare and not once:
            return self._evaluator.match(rule, moment, ())
        view = view_of(moment, self._instances(columns, row))
        if number in self._nested:
            view.header = self._answer(columns, row)
        evaluate = self._evaluator.evaluate_once if once else self._evaluator.evaluate
        answer = evaluate(rule, view, moment)
        return answer if isinstance(answer, Match) else None

    def _flow_of(self, packets: Packets, row: int) -> Flow:
        """Return a packet that has no flow as one of its own."""
        flow = self._lone.get(row)
        if flow is None:
            flow = self._lone[row] = lone_flow(packets, row, self._flows.epoch)
        return flow


def lone_flow(packets: Packets, row: int, epoch: int) -> Flow:
    """Return a flow of one packet: its id is 0, and no other stage knows it."""
    columns, batch = FlowColumns(1), packets.batch
    columns.epoch = epoch
    for name in ("ip_version", "proto", "src", "dst", "sport", "dport", "vlan"):
        getattr(columns, name)[0] = getattr(packets, name)[row]
    columns.interface[0] = batch.interface[row]
    columns.echo_id[0] = -1
    columns.start_ns[0] = columns.last_ns[0] = batch.ts_ns[row]
    columns.packets[0, 0], columns.bytes[0, 0] = 1, batch.wirelen[row]
    columns.first_number[0], columns.state[0] = batch.number[row], FlowState.NEW
    columns.source[0] = columns.source_code(batch.source)
    carrier = int(packets.carrier[row])
    if carrier >= 0 and packets.depth[row]:
        columns.depth[0] = packets.depth[row]
        for name in ("src", "dst", "sport", "dport", "proto"):
            getattr(columns, f"outer_{name}")[0] = getattr(packets, name)[carrier]
    return columns.view(0)


def _row_of(columns: PacketColumns, number: int, slot: int) -> int:
    """Return the row of a flow's packet; that of a variant is its connection's. -1: there is none."""
    primary = int(columns.flows.flows.primary[slot])
    mine = columns.flows.slot == (primary - 1 if primary else slot)
    rows = np.flatnonzero(mine & (columns.packets.batch.number == number))
    return int(rows[0]) if len(rows) else -1


def _is_bare(rule: Rule) -> bool:
    """Return whether the clauses say all that a rule asks."""
    return len(list(demanded(rule.condition))) == len(list(leaves(rule.condition)))


def _only_counted(rule: Rule) -> Distinct | None:
    """Return what a rule counts, where nothing else is asked of its matches."""
    signature = rule.signature
    alone = rule.repeats and signature.after is None and not signature.state.tests
    return signature.distinct if alone else None


def _nested(rule: Rule) -> bool:
    """Return whether a test on headers stands where it need not hold."""
    return rule.asks_headers and len(header_tests(rule.condition)) > len(list(demanded(rule.condition)))
