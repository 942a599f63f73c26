"""Matches rules without a test on bytes: once a flow, at the first packet of a direction that fits."""

from __future__ import annotations

import numpy as np

from ids.rules.match.evaluation import Evaluator, Moment, view_of
from ids.rules.match.index import RuleIndex
from ids.rules.model.rule import Rule
from ids.types import I64, Bool, Direction, FlowBatch, Match, Packets

_TCP = 6
_SYN = 0x02


class HeaderMatcher:
    """The rules on headers alone."""

    def __init__(self, index: RuleIndex, evaluator: Evaluator) -> None:
        self._index = index
        self._evaluator = evaluator

    def packets(self, packets: Packets, flows: FlowBatch) -> list[Match]:
        """Take a batch; each direction of each flow is judged by its first packet. The matches are in their order."""
        if not self._index.headers:
            return []
        rows = np.flatnonzero(packets.usable & (flows.slot >= 0))
        rows = rows[np.unique(flows.slot[rows] * 2 + flows.direction[rows], return_index=True)[1]]
        slots, directions = flows.slot[rows], flows.direction[rows]
        early = _early(packets, flows, rows) if self._index.selectors.ask_early else None
        places, rules = self._index.selectors.admitted(flows.flows, slots, directions, self._index.headers, early)
        found: list[tuple[int, Match]] = []
        for place, number in zip(places.tolist(), rules.tolist(), strict=True):
            rule = self._index.rules[number]
            flow = flows.flows.view(int(slots[place]))
            if not isinstance(rule, Rule):
                continue
            row = int(rows[place])
            batch = packets.batch
            moment = Moment(flow, Direction(int(directions[place])), int(batch.ts_ns[row]), int(batch.number[row]))
            answer = self._evaluator.evaluate_once(rule, view_of(moment, lambda _name: ()), moment)
            if isinstance(answer, Match):
                found.append((row, answer))
        return [match for _, match in sorted(found, key=lambda pair: pair[0])]


def _early(packets: Packets, flows: FlowBatch, rows: I64) -> Bool:
    """Return which rows are known to have come before their flow was established: its first packet, and SYN/ACKs.

    ``rows`` are the first of their directions in the batch.
    """
    columns, slots, sides = flows.flows, flows.slot[rows], flows.direction[rows]
    first = packets.batch.number[rows] == columns.first_number[slots]
    key = flows.slot * 2 + flows.direction
    here = np.bincount(key[flows.slot >= 0], minlength=2 * columns.capacity)[slots * 2 + sides]
    begins = (columns.proto[slots] == _TCP) & (columns.tcp_flags[slots, sides] & _SYN != 0)
    early: Bool = first | (begins & (here == columns.packets[slots, sides]))
    return early
