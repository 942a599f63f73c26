"""Chooses the literals by which a rule is noticed: a set such that the rule can only hold where one of them stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.chain import DECODED, Chain, Content, Expression
from ids.rules.model.patterns import Pattern
from ids.rules.model.ports import named_ports
from ids.rules.model.rarity import MAX_LITERAL, WEAK_SCORE, score
from ids.rules.model.regex_literals import required_literals
from ids.rules.model.rule import All, Anchor, Any_, Instance, Literal, Node, Regex, Rule, base_of
from ids.rules.model.transforms import in_base


@dataclass(frozen=True, slots=True)
class Needle:
    """A literal of the prefilter of one buffer."""

    buffer: str
    value: bytes
    nocase: bool
    anchor: Anchor = Anchor.ANYWHERE
    """Where in its buffer it must stand; of ``payload`` anywhere, because a stream comes in pieces."""

    @property
    def worth(self) -> float:
        """How selective it is: how rare, and how much its place narrows down."""
        rarity = score(self.value, self.nocase)
        return rarity + _PLACE[self.anchor] if rarity else 0.0


_PLACE = {Anchor.ANYWHERE: 0.0, Anchor.START: 1.0, Anchor.END: 1.0, Anchor.WHOLE: 3.0}


LEAST_ON_PORTS = 1.85
"""What a literal that its author prefers has to be worth in a rule on a few ports: two common bytes are rare enough in
the traffic of these, and what stands in all of it, such as the name of its protocol, may be worth more."""


def cover(node: Node, least: float = WEAK_SCORE) -> frozenset[Needle] | None:
    """Return needles of which at least one stands in its buffer whenever ``node`` holds; None where there are none.

    ``least``: what a literal that the rule's author prefers must be worth to be taken.
    """
    if isinstance(node, Literal):
        return needles_of(node.buffer, [node.value], node.nocase, node.anchor)
    if isinstance(node, Regex):
        return _of_pattern(node.buffer, node.pattern)
    if isinstance(node, Chain):
        return _of_chain(node, least)
    if isinstance(node, All | Instance):
        covers = [found for part in node.parts if (found := cover(part, least)) is not None]
        return max(covers, key=worth) if covers else None
    if isinstance(node, Any_):
        branches = [cover(part, least) for part in node.parts]
        if not branches or None in branches:
            return None
        return frozenset(needle for branch in branches if branch for needle in branch)
    return None


def _of_chain(chain: Chain, least: float) -> frozenset[Needle] | None:
    """Return the needles of the step that its author prefers, where they are not too common; else of the best."""
    covers: list[frozenset[Needle]] = []
    for step in chain.steps:
        found = None
        if isinstance(step, Content) and not step.negated:
            found = needles_of(chain.buffer, [step.value], step.nocase, _anchor(step))
            if found is not None and step.preferred and worth(found) >= least:
                return found
        elif isinstance(step, Expression) and not step.negated:
            found = _of_pattern(chain.buffer, step.pattern)
        if found is not None:
            covers.append(found)
    return max(covers, key=worth) if covers else None


def _anchor(step: Content) -> Anchor:
    at_start = not step.relative and not step.offset and step.depth == len(step.value)
    if step.at_end:
        return Anchor.WHOLE if at_start else Anchor.END
    return Anchor.START if at_start else Anchor.ANYWHERE


def _of_pattern(buffer: str, pattern: Pattern) -> frozenset[Needle] | None:
    required = required_literals(pattern.text, pattern.nocase)
    return None if required is None else needles_of(buffer, required[0], required[1])


def needles_of(
    buffer: str, values: Sequence[bytes], nocase: bool, anchor: Anchor = Anchor.ANYWHERE
) -> frozenset[Needle] | None:
    """Return a needle for each literal, in the buffer that is there before transforms; None where one has none."""
    base = base_of(buffer)
    if base == DECODED:  # it is made in the course of the rule
        return None
    kept = [in_base(buffer, value, nocase, anchor) for value in values]
    found = [one for one in kept if one is not None and one[0]]
    return frozenset(needle(base, *one) for one in found) if found and len(found) == len(values) else None


def cover_of(rule: Rule) -> frozenset[Needle] | None:
    """Return what `cover` finds for a rule; found once."""
    if rule.covering is None:
        least = LEAST_ON_PORTS if named_ports(rule.traffic) else WEAK_SCORE
        object.__setattr__(rule, "covering", (cover(rule.condition, least),))
    found: frozenset[Needle] | None = rule.covering[0]
    return found


def worth(needles: frozenset[Needle]) -> float:
    """Estimate how selective a cover is: as selective as its commonest needle, a little less for each more."""
    return min(needle.worth for needle in needles) - 0.1 * len(needles)


def weakest(needles: frozenset[Needle]) -> Needle:
    """Return the commonest needle of a cover."""
    return min(needles, key=lambda needle: (needle.worth, needle.value))


def needle(buffer: str, value: bytes, nocase: bool, anchor: Anchor = Anchor.ANYWHERE) -> Needle:
    """Return the needle of a literal: of a long one its start; the condition compares it whole."""
    if buffer == PAYLOAD or (anchor is Anchor.END and len(value) > MAX_LITERAL):
        anchor = Anchor.ANYWHERE
    elif anchor is Anchor.WHOLE and len(value) > MAX_LITERAL:
        anchor = Anchor.START
    value = value[:MAX_LITERAL]
    return Needle(buffer, value.lower() if nocase else value, nocase, anchor)
