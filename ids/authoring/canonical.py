"""One spelling of what can be said in several: the first test of a chain looks from the start, not from the cursor."""

from __future__ import annotations

from dataclasses import replace

from ids.rules.model.chain import Chain, Compare, Compute, Content, Decode, Expression, Extract, Jump, Step
from ids.rules.model.rule import All, Any_, Instance, Node, NotAny, Rule


def canonical(rule: Rule) -> Rule:
    """Return a rule that means the same, in which no chain begins with a test that looks from the cursor."""
    parts = tuple(map(_node, rule.condition.parts))
    return rule if parts == rule.condition.parts else replace(rule, condition=All(parts))


def _node(node: Node) -> Node:
    if isinstance(node, All | Any_ | NotAny | Instance):
        return replace(node, parts=tuple(map(_node, node.parts)))
    if isinstance(node, Chain) and node.steps:
        first = _from_start(node.steps[0])
        return node if first is node.steps[0] else Chain(node.buffer, (first, *node.steps[1:]))
    return node


def _from_start(step: Step) -> Step:
    """Return a step that looks from the buffer's start, where a cursor would be that nothing has moved."""
    if isinstance(step, Content):
        distance = step.distance if step.distance is not None else 0
        if not step.relative or step.offset is not None or step.depth is not None:
            return step
        if not isinstance(distance, int) or distance < 0:
            return step
        return replace(step, offset=distance, depth=step.within, distance=None, within=None)
    if isinstance(step, Expression | Decode) and step.relative:
        return replace(step, relative=False)
    if isinstance(step, Compare | Jump | Extract | Compute):
        number = step.number
        if number.relative and number.size and isinstance(number.offset, int) and number.offset >= 0:
            return replace(step, number=replace(number, relative=False))
    return step
