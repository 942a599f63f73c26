"""Matches rules on the payloads of UDP, ICMP and whatever else is no stream: each datagram by itself."""

from __future__ import annotations

import numpy as np

from ids.rules.match.beginnings import Beginnings
from ids.rules.match.evaluation import Evaluator, Moment, payload_view
from ids.rules.match.index import RuleIndex
from ids.rules.model.rule import Rule
from ids.types import Bool, Datagrams, Direction, Match

_WITH_PAYLOAD: Bool = np.isin(np.arange(256), (1, 17, 50, 58, 132))
"""By IP protocol number: what is behind its header is a payload for Suricata's rules too."""


class DatagramMatcher:
    """The rules on ``payload`` of what is not TCP."""

    def __init__(self, index: RuleIndex, evaluator: Evaluator) -> None:
        self._index = index
        self._evaluator = evaluator
        self._beginnings = Beginnings(index.rules.__getitem__)
        self._repeats: Bool = np.array([getattr(rule, "repeats", False) for rule in index.rules], bool)
        self.active = bool(len(index.datagram) or index.datagram_unfiltered)

    def datagrams(self, datagrams: Datagrams) -> list[Match]:
        """Take the datagrams of a batch, searched in one pass; return the matches in their order."""
        if not self.active or not len(datagrams):
            return []
        flows, index = datagrams.flows, self._index
        slots, directions = datagrams.slot, datagrams.direction
        starts = np.append(datagrams.start, len(datagrams.data))
        rows, rules = index.datagram.find(datagrams.data, starts, ports=(flows.sport[slots], flows.dport[slots]))
        numbers = datagrams.number
        if len(rows):
            keep = index.selectors.fits(flows, slots[rows], directions[rows], rules)
            rows, rules = rows[keep], rules[keep]
            keep = index.selectors.open(flows, slots[rows], rules, numbers=numbers[rows])
            rows, rules = rows[keep], rules[keep]
        if index.datagram_unfiltered:
            more, always = index.selectors.admitted(flows, slots, directions, index.datagram_unfiltered, numbers)
            rows, rules = np.concatenate([rows, more]), np.concatenate([rules, always])
        if self._repeats.any():
            keep = ~self._repeats[rules] | _WITH_PAYLOAD[flows.proto[slots[rows]]]
            rows, rules = rows[keep], rules[keep]
        data = np.frombuffer(datagrams.data, np.uint8)
        keep = self._beginnings.keep(rules, data, starts[rows], starts[rows + 1] - starts[rows])
        rows, rules = rows[keep], rules[keep]
        matches: list[Match] = []
        for row, number in sorted(zip(rows.tolist(), rules.tolist(), strict=True)):
            rule = index.rules[number]
            assert isinstance(rule, Rule)
            moment = Moment(
                flows.view(int(slots[row])),
                Direction(int(directions[row])),
                int(datagrams.ts_ns[row]),
                int(datagrams.number[row]),
            )
            evaluate = self._evaluator.evaluate if rule.buffers else self._evaluator.evaluate_once
            answer = evaluate(rule, payload_view(moment, datagrams.content(row)), moment)
            if isinstance(answer, Match):
                matches.append(answer)
        return matches
