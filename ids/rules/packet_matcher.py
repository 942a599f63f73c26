"""Matches rules on columns of packets: header-only rules once per flow, and payloads of UDP, ICMP and the like.

Nothing here runs once per packet in Python: payloads are gathered into one buffer and scanned in one pass, traffic is
judged by masks, and only hits are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ids.rules.buffers import PAYLOAD, TRANSPORT_PROTOCOLS
from ids.rules.judging import Judge, Verdict
from ids.rules.model import Rule, Traffic
from ids.rules.prefilter import Prefilter
from ids.types import I64, Bool, Direction, Flow, FlowBatch, Match, Packets

GATHER_BYTES = 4 << 20
"""Payload gathered at a time; its index array takes eight times as much."""

TOLD = "rules.headers"
"""Key in `Flow.storage` of the header-only rules that the flow was already matched by."""

_TCP = 6


class PacketMatcher:
    """Rules on ``payload`` of what is not TCP, and rules on headers alone."""

    def __init__(
        self, rules: list[Rule], prefilter: Prefilter, unfiltered: Iterable[int], headers: Iterable[int], judge: Judge
    ) -> None:
        self._rules = rules
        self._prefilter = prefilter
        self._unfiltered = tuple(unfiltered)
        self._headers = tuple(headers)
        self._judge = judge

    def packets(self, packets: Packets, flows: FlowBatch) -> list[Match]:
        """Take a batch; return the matches in the order of their packets."""
        known = packets.usable & (flows.index >= 0)
        found: list[tuple[int, Match]] = []
        if self._headers:
            found += self._header_matches(packets, flows, np.flatnonzero(known))
        if len(self._prefilter) or self._unfiltered:
            rows = np.flatnonzero(known & (packets.proto != _TCP) & (packets.payload_len > 0))
            for block in _blocks(rows, packets.payload_len):
                found += self._payload_matches(packets, flows, block)
        return [match for _, match in sorted(found, key=lambda pair: pair[0])]

    def _header_matches(self, packets: Packets, flows: FlowBatch, rows: I64) -> Iterator[tuple[int, Match]]:
        """Judge each direction of each flow of the batch by its first packet."""
        pairs = flows.index[rows] * 2 + flows.direction[rows]
        rows = rows[np.unique(pairs, return_index=True)[1]]
        for index in self._headers:
            rule = self._rules[index]
            for row in rows[traffic_mask(rule.traffic, packets, rows)].tolist():
                flow, direction = _flow_of(row, flows)
                told: set[int] = flow.storage.setdefault(TOLD, set())
                identity = hash((rule.signature.gid, rule.signature.sid, rule.signature.rev))
                if identity not in told:
                    for match in self._judged(rule, packets, flow, direction, row, {}):
                        yield row, match
                        told.add(identity)

    def _payload_matches(self, packets: Packets, flows: FlowBatch, rows: I64) -> Iterator[tuple[int, Match]]:
        lengths = packets.payload_len[rows]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        places = np.repeat(packets.payload[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        data = packets.batch.data[places].tobytes()
        hits = self._prefilter.scan_rows(data, starts)
        for index in self._unfiltered:
            mask = traffic_mask(self._rules[index].traffic, packets, rows)
            hits.update((place, index) for place in np.flatnonzero(mask).tolist())
        for place, index in sorted(hits):
            row = int(rows[place])
            flow, direction = _flow_of(row, flows)
            rule = self._rules[index]
            if rule.traffic.fits(flow, direction):
                payload = data[starts[place] : starts[place + 1]]
                for match in self._judged(rule, packets, flow, direction, row, {PAYLOAD: payload}):
                    yield row, match

    def _judged(
        self, rule: Rule, packets: Packets, flow: Flow, direction: Direction, row: int, buffers: dict[str, bytes]
    ) -> Iterator[Match]:
        if rule.open_to(flow, direction):
            when = (int(packets.batch.ts_ns[row]), int(packets.batch.number[row]))
            answer = self._judge.judge(rule, self._judge.view(flow, direction, buffers), flow, direction, when)
            if not isinstance(answer, Verdict):
                yield answer


def traffic_mask(traffic: Traffic, packets: Packets, rows: I64) -> Bool:
    """Judge protocol, addresses and ports of the packets in ``rows``, each from its own sender to its own receiver."""
    src, dst = packets.src[rows], packets.dst[rows]
    sport, dport = packets.sport[rows], packets.dport[rows]
    portless = ~np.isin(packets.proto[rows], (6, 17, 132))
    mask = traffic.src.mask(src) & traffic.dst.mask(dst)
    mask &= portless | (traffic.sport.mask(sport) & traffic.dport.mask(dport))
    if traffic.both_ways:
        back = traffic.src.mask(dst) & traffic.dst.mask(src)
        mask |= back & (portless | (traffic.sport.mask(dport) & traffic.dport.mask(sport)))
    numbers = TRANSPORT_PROTOCOLS.get(traffic.protocol)
    return mask & np.isin(packets.proto[rows], sorted(numbers)) if numbers else mask


def _flow_of(row: int, flows: FlowBatch) -> tuple[Flow, Direction]:
    return flows.flows[int(flows.index[row])], Direction(int(flows.direction[row]))


def _blocks(rows: I64, lengths: I64) -> Iterator[I64]:
    """Cut rows into runs of at most `GATHER_BYTES` of payload (one datagram is always smaller)."""
    if not len(rows):
        return
    ends = np.cumsum(lengths[rows])
    blocks = (ends - 1) // GATHER_BYTES
    yield from np.split(rows, np.flatnonzero(np.diff(blocks)) + 1)
