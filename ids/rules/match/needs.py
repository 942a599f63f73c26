"""Which flows rules look into beside what parsers make of them: at their packets, or at payload as it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ids.rules.match.selectors import Ends, Selector
from ids.rules.model.reach import reads_raw
from ids.rules.model.rule import FlowOptions, Scoped, Traffic
from ids.types import I64, Bool, Direction, FlowColumns

_TCP = 6
MAX_SELECTORS = 64
"""Kinds of traffic that are asked one by one, some ten microseconds each and batch; with more of them, every flow is
taken to be looked into."""


class Needs:
    """The traffic of all rules that look at packets or payload, each kind once."""

    def __init__(self, rules: Sequence[Scoped]) -> None:
        wanted: dict[tuple[Traffic, Direction | None], None] = {}
        for rule in rules:
            if reads_raw(rule) and rule.traffic.carried_by(_TCP):
                wanted[rule.traffic, rule.flow.direction] = None
        self._selectors = [Selector(traffic, FlowOptions(direction=direction)) for traffic, direction in wanted]
        self._everything = {direction: self._wants_all(direction) for direction in Direction}

    def of(self, flows: FlowColumns, slots: I64, direction: Direction) -> Bool:
        """Return for each TCP flow whether some of these rules look at what a direction's sender sends."""
        wanted = np.full(len(slots), self._everything[direction])
        directions = np.full(len(slots), direction, np.uint8)
        ends = Ends(flows, slots)
        for selector in self._selectors:
            if wanted.all():
                break
            left = np.flatnonzero(~wanted)
            fits = selector.fits(flows, slots[left], directions[left], ends, left)
            wanted[left] = fits & selector.open(flows, slots[left])
        return wanted

    def _wants_all(self, direction: Direction) -> bool:
        """Return whether there are too many to ask, or one that looks at every flow."""
        if len(self._selectors) > MAX_SELECTORS:
            return True
        return any(selector.takes_all(direction) for selector in self._selectors)
