"""Flows of UDP: they are recognised by their datagrams, and parsed one at a time.

A flow is probed by its first datagrams, of either side; at a port of `Protocol.usual_ports`, by all, until it is that
protocol's. Python runs for these, and for the datagrams of flows with a parser; the others are passed over in columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ids.counters import Counters
from ids.protocols.protocol import MakeDatagramParser, Protocol
from ids.protocols.recognition import Recogniser
from ids.protocols.register import Register
from ids.protocols.settings import ProtocolSettings
from ids.protocols.talk import Talk, Talks
from ids.types import I64, U8, Bool, Datagrams, Direction, FlowColumns, Transaction

_UDP = 17
_DIRECTIONS = tuple(Direction)


class DatagramFlows:
    """Recognition and parsing of UDP flows."""

    def __init__(
        self,
        settings: ProtocolSettings,
        counters: Counters,
        flows: FlowColumns,
        protocols: Sequence[Protocol],
        recogniser: Recogniser,
        talks: Talks,
        register: Register,
        make_listener: Mapping[str, MakeDatagramParser],
    ) -> None:
        """``make_listener`` has what makes parsers, by the names of their protocols."""
        self._settings = settings
        self._counters = counters
        self._flows = flows
        self._recogniser = recogniser
        self._talks = talks
        self._register = register
        self._make_listener = make_listener
        self._at_port = np.zeros(1 << 16, np.int64)
        """By port: code of the protocol that is usual there (`Protocol.usual_ports`); 0: none."""
        self._row: I64 = np.zeros(1 << 16, np.int64)
        """By port: its row in ``_starts``."""
        self._starts: Bool = np.zeros((1 + sum(len(protocol.usual_ports) for protocol in protocols), 256), np.bool_)
        """By row and first byte: what is usual at the port may begin so."""
        row = 0
        self._wanted: Bool = np.ones((len(flows.app_names), 256), np.bool_)
        """By code of a protocol and first byte: its parser wants such datagrams."""
        for protocol in protocols:
            code = register.codes[protocol.name]
            for port in protocol.usual_ports:
                row += 1
                self._at_port[port], self._row[port] = code, row
                starts = protocol.usual_starts.get(port)
                self._starts[row] = True if starts is None else [byte in starts for byte in range(256)]
            if protocol.first_bytes is not None:
                self._wanted[code] = [byte in protocol.first_bytes for byte in range(256)]

    def feed(self, datagrams: Datagrams, out: list[Transaction]) -> None:
        """Take the datagrams of a batch; append the transactions that they completed to ``out``."""
        slots = datagrams.slot
        unknown = np.flatnonzero((self._flows.app_proto[slots] == 0) & (self._flows.proto[slots] == _UDP))
        if len(unknown):
            self._probe(datagrams, unknown[_rank(slots[unknown]) < self._settings.probe_datagrams])
            self._register.write()
        self._correct(datagrams)
        if self._make_listener:
            codes = [self._register.codes[name] for name in self._make_listener]
            of_parsers = self._register.flags(codes)[self._flows.app_proto[slots]] & (self._flows.proto[slots] == _UDP)
            rows = np.flatnonzero(of_parsers)
            self._parse(datagrams, rows[self._wants(datagrams, rows)], out)

    def _correct(self, datagrams: Datagrams) -> None:
        """Give flows of a port its usual protocol when that shows, though they were named otherwise: who wants to hide
        a question from rules would send something else first, which the server ignores.
        """
        flows, slots = self._flows, datagrams.slot
        usual = np.maximum(self._at_port[flows.sport[slots]], self._at_port[flows.dport[slots]])
        named = flows.app_proto[slots]
        rows = np.flatnonzero((usual != 0) & (named != 0) & (named != usual) & (flows.proto[slots] == _UDP))
        if not len(rows):
            return
        slots, first = slots[rows], _first(datagrams, rows)
        fits = self._starts[self._row[flows.sport[slots]], first] | self._starts[self._row[flows.dport[slots]], first]
        rows, slots = rows[fits], slots[fits]
        for row, slot in zip(rows.tolist(), slots.tolist(), strict=True):
            protocol = self._recogniser.usual(datagrams.content(row), self._ports(slot))
            talk = self._talks.by_id.get(int(flows.id[slot]))
            if protocol is None or talk is None or talk.protocol is protocol:
                continue
            self._counters.add("app_layer.corrected")
            talk.release()
            self._listen(talk, protocol, int(datagrams.number[row]))
        self._register.write()

    def _listen(self, talk: Talk, protocol: Protocol | None, number: int) -> None:
        """Name a UDP flow by its datagram of this number, and parse it from there on."""
        talk.probing, talk.since = False, number
        self._register.decide(talk, protocol)
        if protocol is not None and protocol.name in self._make_listener:
            talk.listener = self._make_listener[protocol.name](talk.slot, 0)

    def _wants(self, datagrams: Datagrams, rows: I64) -> Bool:
        """Return for each row whether its flow's parser wants what begins with its first byte."""
        codes = self._flows.app_proto[datagrams.slot[rows]]
        return np.asarray(self._wanted[codes, _first(datagrams, rows)], np.bool_)

    def _probe(self, datagrams: Datagrams, rows: I64) -> None:
        talks, looked = self._talks.by_id, self._flows.looked
        slots = datagrams.slot[rows]
        for row, slot, flow_id in zip(rows.tolist(), slots.tolist(), self._flows.id[slots].tolist(), strict=True):
            talk = talks.get(flow_id)
            if talk is not None and not talk.probing:
                continue
            looked[slot] += 1
            ports = self._ports(slot)
            protocol = self._recogniser.datagram(datagrams.content(row), ports)
            foreign = protocol is not None and not protocol.foreign_ports.isdisjoint(ports)
            if foreign:
                protocol = None
            if protocol is None and not foreign and looked[slot] < self._settings.probe_datagrams:
                continue
            if talk is None:  # not for each lone datagram of a flood
                talk = talks[flow_id] = Talk(slot)
            self._listen(talk, protocol, int(datagrams.number[row]))

    def _ports(self, slot: int) -> tuple[int, int]:
        return int(self._flows.sport[slot]), int(self._flows.dport[slot])

    def _parse(self, datagrams: Datagrams, rows: I64, out: list[Transaction]) -> None:
        talks = self._talks.by_id
        slots = datagrams.slot[rows]
        for row, flow_id in zip(rows.tolist(), self._flows.id[slots].tolist(), strict=True):
            talk = talks.get(flow_id)
            if talk is None or talk.listener is None:
                continue
            direction = _DIRECTIONS[datagrams.direction[row]]
            ts_ns, number = int(datagrams.ts_ns[row]), int(datagrams.number[row])
            if number < talk.since:
                continue
            try:
                talk.listener.datagram(direction, datagrams.content(row), ts_ns, number, out)
            except Exception:
                self._register.fail(talk)


def _first(datagrams: Datagrams, rows: I64) -> U8:
    """Return the first byte of each datagram; 0 of an empty one."""
    first = np.zeros(len(rows), np.uint8)
    some = datagrams.end[rows] > datagrams.start[rows]
    first[some] = np.frombuffer(datagrams.data, np.uint8)[datagrams.start[rows[some]]]
    return first


def _rank(slots: I64) -> I64:
    """Return for each row how many rows before it have the same slot."""
    order = np.argsort(slots, kind="stable")
    sorted_slots = slots[order]
    first = np.searchsorted(sorted_slots, sorted_slots)
    rank = np.empty(len(slots), np.int64)
    rank[order] = np.arange(len(slots)) - first
    return rank
