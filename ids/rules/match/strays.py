"""Matches rules on the payloads of TCP packets that no stream takes: of connections that nobody saw established.

Each is judged as if it were a stream of its own, as Suricata does: what is not followed is looked at all the same.
"""

from __future__ import annotations

import numpy as np

from ids.rules.match.evaluation import Evaluator, Moment, payload_view
from ids.rules.match.index import RuleIndex
from ids.rules.model.rule import Rule
from ids.types import I64, Direction, FlowBatch, FlowState, Match, Packets

_TCP = 6


class StrayMatcher:
    """The rules on ``payload`` of TCP, where there is no stream."""

    def __init__(self, index: RuleIndex, evaluator: Evaluator) -> None:
        self._index = index
        self._evaluator = evaluator

    def packets(self, packets: Packets, flows: FlowBatch) -> list[Match]:
        """Take a batch, searched in one pass; return the matches in their order."""
        index = self._index
        if not (len(index.stream) or index.stream_unfiltered):
            return []
        rows = _strays(packets, flows)
        if not len(rows):
            return []
        slots, directions = flows.slot[rows], flows.direction[rows]
        contents = [
            packets.batch.data[start : start + size].tobytes()
            for start, size in zip(packets.payload[rows].tolist(), packets.payload_len[rows].tolist(), strict=True)
        ]
        starts = np.append(0, np.cumsum(packets.payload_len[rows]))
        places, rules = index.stream.find(
            b"".join(contents), starts, ports=(flows.flows.sport[slots], flows.flows.dport[slots])
        )
        if len(places):
            keep = index.selectors.fits(flows.flows, slots[places], directions[places], rules)
            keep &= index.selectors.open(flows.flows, slots[places], rules)
            places, rules = places[keep], rules[keep]
        if index.stream_unfiltered:
            more, always = index.selectors.admitted(flows.flows, slots, directions, index.stream_unfiltered)
            places, rules = np.concatenate([places, more]), np.concatenate([rules, always])
        matches: list[Match] = []
        for place, number in sorted(zip(places.tolist(), rules.tolist(), strict=True)):
            rule = index.rules[number]
            if not isinstance(rule, Rule) or not rule.buffers:
                continue
            row = int(rows[place])
            flow, side = flows.flows.view(int(slots[place])), Direction(int(directions[place]))
            moment = Moment(flow, side, int(packets.batch.ts_ns[row]), int(packets.batch.number[row]))
            evaluate = self._evaluator.evaluate if rule.repeats else self._evaluator.evaluate_once
            answer = evaluate(rule, payload_view(moment, contents[place]), moment)
            if isinstance(answer, Match):
                matches.append(answer)
        return matches


def _strays(packets: Packets, flows: FlowBatch) -> I64:
    """Return the rows with a payload whose connection is not followed: nobody saw it begin, or answered with SYN+ACK.

    What a SYN brings is a stream's only where both sides agree on that (TCP Fast Open).
    """
    tcp = np.flatnonzero(packets.usable & (packets.proto == _TCP) & (packets.payload_len > 0) & (flows.slot >= 0))
    slots = flows.slot[tcp]
    strays: I64 = tcp[flows.flows.state[slots] == FlowState.NEW]
    return strays
