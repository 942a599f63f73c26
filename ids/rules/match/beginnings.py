"""What rules ask for at fixed places of a payload: where something else stands, the rest need not be judged.

What a needle notices is mostly the traffic of some protocol, such as all answers of SMB; and the rule is after one kind
of message, which it tells by bytes at a place. To compare these, for all payloads of a batch at once, costs a small
part of what it takes to judge the rule on each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ids.rules.match.chains import moves_cursor
from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.chain import Chain, Content
from ids.rules.model.rule import All, Rule
from ids.types import I64, U8, Bool

FEW = 4
"""Payloads of one rule up to which it takes no longer to judge it on each."""

_LOWER: U8 = np.frombuffer(bytes(range(256)).lower(), np.uint8)


class Beginning(NamedTuple):
    """A literal that stands somewhere in ``start .. end`` of a payload; with ``nocase`` it is in lower case."""

    value: bytes
    nocase: bool
    start: int
    end: int

    def stands_in(self, payload: bytes | bytearray) -> bool:
        """Return whether it stands in the payload."""
        there = payload[self.start : self.end]
        return self.value in (there.lower() if self.nocase else there)


def beginnings(condition: All) -> tuple[Beginning, ...]:
    """Return the literals that must stand at certain places of the payload, wherever a condition holds."""
    chains = [part for part in condition.parts if isinstance(part, Chain) and part.buffer == PAYLOAD]
    return tuple(found for chain in chains for found in _of_chain(chain))


def _of_chain(chain: Chain) -> list[Beginning]:
    """Return those of one chain. What follows a literal that fits one place alone has a place of its own."""
    found: list[Beginning] = []
    cursor: int | None = 0
    for step in chain.steps:
        if not moves_cursor(step):
            continue
        place = _place(step, cursor) if isinstance(step, Content) else None
        cursor = None
        if place is not None and isinstance(step, Content):
            start, end = place
            found.append(Beginning(step.value, step.nocase, start, end))
            cursor = end if end - start == len(step.value) else None
    return found


def _place(step: Content, cursor: int | None) -> tuple[int, int] | None:
    """Return the bounds of a literal, counted from the start of the payload; None where they are not known."""
    if not step.relative:
        start, size = step.offset or 0, step.depth
    elif cursor is not None and step.offset is None and step.depth is None and isinstance(step.distance, int | None):
        start, size = cursor + (step.distance or 0), step.within
    else:
        return None
    if not isinstance(start, int) or not isinstance(size, int) or start < 0 or size < len(step.value):
        return None
    return start, start + size


class Beginnings:
    """Those of many rules, looked for in many payloads."""

    def __init__(self, rule_of: Callable[[int], object]) -> None:
        """``rule_of`` returns a rule by its number."""
        self._rule_of = rule_of
        self._known: dict[int, tuple[Beginning, ...]] = {}

    def of(self, number: int) -> tuple[Beginning, ...]:
        """Return those of a rule; found when first asked for."""
        found = self._known.get(number)
        if found is None:
            rule = self._rule_of(number)
            found = self._known[number] = beginnings(rule.condition) if isinstance(rule, Rule) else ()
        return found

    def keep(self, rules: I64, data: U8, start: I64, size: I64) -> Bool:
        """Return which pairs of a rule and a payload are worth judging.

        Pair i is of ``rules[i]`` and of the ``size[i]`` bytes of ``data`` from ``start[i]`` on.
        """
        kept = np.ones(len(rules), np.bool_)
        order = np.argsort(rules, kind="stable")
        firsts = np.flatnonzero(np.diff(rules[order], prepend=-1))
        lasts = np.append(firsts[1:], len(order))
        for k in np.flatnonzero(lasts - firsts > FEW).tolist():
            pairs = order[firsts[k] : lasts[k]]
            for one in self.of(int(rules[pairs[0]])):
                if one.end - one.start == len(one.value):
                    pairs = pairs[_stand_at(one, data, start[pairs], size[pairs])]
            group = order[firsts[k] : lasts[k]]
            kept[group] = False
            kept[pairs] = True
        return kept


def _stand_at(one: Beginning, data: U8, start: I64, size: I64) -> Bool:
    """Return in which payloads a literal stands at the one place that it fits."""
    stands: Bool = size >= one.end
    for place, byte in enumerate(one.value, one.start):
        if not stands.any():
            break
        there = data[np.where(stands, start + place, 0)]
        stands &= (_LOWER[there] if one.nocase else there) == byte
    return stands
