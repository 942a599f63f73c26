"""Chooses the literals by which a rule is noticed: a set such that the rule can only hold where one of them stands."""

from __future__ import annotations

from dataclasses import dataclass

from ids.rules.model import All, Any_, Instance, Literal, Node, Regex
from ids.rules.rarity import MAX_LITERAL, score
from ids.rules.regex_literals import required_literals


@dataclass(frozen=True, slots=True)
class Needle:
    """A literal of the prefilter of one buffer."""

    buffer: str
    value: bytes
    nocase: bool


def cover(node: Node) -> frozenset[Needle] | None:
    """Return needles of which at least one stands in its buffer whenever ``node`` holds; None where there are none."""
    if isinstance(node, Literal):
        return _needles(node.buffer, [node.value], node.nocase) if node.value else None
    if isinstance(node, Regex):
        required = required_literals(node.pattern.text, node.pattern.nocase)
        return _needles(node.buffer, *required) if required else None
    if isinstance(node, All | Instance):
        covers = [found for part in node.parts if (found := cover(part)) is not None]
        return max(covers, key=worth) if covers else None
    if isinstance(node, Any_):
        branches = [cover(part) for part in node.parts]
        if not branches or None in branches:
            return None
        return frozenset(needle for branch in branches if branch for needle in branch)
    return None


def worth(needles: frozenset[Needle]) -> float:
    """Estimate how selective a cover is: as selective as its commonest needle, a little less for each more."""
    return min(score(needle.value, needle.nocase) for needle in needles) - 0.1 * len(needles)


def weakest(needles: frozenset[Needle]) -> Needle:
    """Return the commonest needle of a cover."""
    return min(needles, key=lambda needle: (score(needle.value, needle.nocase), needle.value))


def needle(buffer: str, value: bytes, nocase: bool) -> Needle:
    """Return the needle of a literal: of a long one its start; the condition compares it whole."""
    value = value[:MAX_LITERAL]
    return Needle(buffer, value.lower() if nocase else value, nocase)


def _needles(buffer: str, values: list[bytes], nocase: bool) -> frozenset[Needle]:
    return frozenset(needle(buffer, value, nocase) for value in values)
