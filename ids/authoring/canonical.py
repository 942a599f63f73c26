"""One spelling of what can be said in several: the first test of a chain looks from the start, not from the cursor."""

from __future__ import annotations

from dataclasses import replace

from ids.rules.model.chain import Chain, Compare, Compute, Content, Decode, Expression, Extract, Jump, Step
from ids.rules.model.rule import All, Any_, Instance, Node, NotAny, Rule
from ids.types import Tagged
from ids.types.state import StateChange


def canonical(rule: Rule) -> Rule:
    """Return a rule that means the same: no chain begins with a test that looks from the cursor, a tag of a flow names
    no host, and a revision that is missing is the first.
    """
    parts = tuple(map(_node, rule.condition.parts))
    state = rule.signature.state
    changes = tuple(map(_change, state.changes))
    rev = rule.signature.rev or 1
    if parts == rule.condition.parts and changes == state.changes and rev == rule.signature.rev:
        return rule
    signature = replace(rule.signature, rev=rev)
    if changes != state.changes:
        signature = replace(signature, state=replace(state, changes=changes))
    return replace(rule, condition=All(parts), signature=signature)


def _change(change: StateChange) -> StateChange:
    """Return a change of state; where packets of a flow are logged, neither of its hosts is meant."""
    if isinstance(change, Tagged) and change.kind == "session":
        return replace(change, side="src")
    return change


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
