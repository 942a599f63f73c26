"""Matches rules without a test on bytes: once a flow, at the first packet of a direction that fits."""

from __future__ import annotations

import numpy as np

from ids.rules.match.evaluation import Evaluator, Moment, view_of
from ids.rules.match.index import RuleIndex
from ids.rules.match.memory import FlowMemory
from ids.rules.model.rule import Rule
from ids.types import Direction, FlowBatch, Match, Packets


class HeaderMatcher:
    """The rules on headers alone."""

    def __init__(self, index: RuleIndex, evaluator: Evaluator, memory: FlowMemory) -> None:
        self._index = index
        self._evaluator = evaluator
        self._memory = memory

    def packets(self, packets: Packets, flows: FlowBatch) -> list[Match]:
        """Take a batch; each direction of each flow is judged by its first packet. The matches are in their order."""
        if not self._index.headers:
            return []
        rows = np.flatnonzero(packets.usable & (flows.slot >= 0))
        rows = rows[np.unique(flows.slot[rows] * 2 + flows.direction[rows], return_index=True)[1]]
        slots, directions = flows.slot[rows], flows.direction[rows]
        places, rules = self._index.selectors.admitted(flows.flows, slots, directions, self._index.headers)
        found: list[tuple[int, Match]] = []
        for place, number in zip(places.tolist(), rules.tolist(), strict=True):
            rule = self._index.rules[number]
            flow = flows.flows.view(int(slots[place]))
            reported = self._memory.headers.of(flow)
            if rule.identity in reported or not isinstance(rule, Rule):
                continue
            row = int(rows[place])
            batch = packets.batch
            moment = Moment(flow, Direction(int(directions[place])), int(batch.ts_ns[row]), int(batch.number[row]))
            answer = self._evaluator.evaluate(rule, view_of(moment, lambda _name: ()), moment)
            if isinstance(answer, Match):
                reported.add(rule.identity)
                found.append((row, answer))
        return [match for _, match in sorted(found, key=lambda pair: pair[0])]
