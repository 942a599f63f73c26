"""Chooses the literals by which a rule is noticed: a set such that the rule can only hold where one of them stands."""

from __future__ import annotations

from dataclasses import dataclass

from ids.rules.model import All, Any_, Literal, Node, Regex
from ids.rules.regex_literals import required_literals

MAX_LITERAL = 64
"""Bytes of a literal given to the prefilter; more make it no rarer, only larger."""

WEAK_SCORE = 5.0
"""Below about two uncommon or five common bytes a literal stands in much innocent traffic."""

_COMMON = frozenset(b' etaoinshrdlucm/.-=:0123456789<>"\r\n')


@dataclass(frozen=True, slots=True)
class Needle:
    """A literal of the prefilter of one buffer."""

    buffer: str
    value: bytes
    nocase: bool


def score(value: bytes, nocase: bool) -> float:
    """Estimate how rarely a literal occurs in traffic; larger is rarer, a run of one byte counts little."""
    total = 0.0
    previous = -1
    for byte in value[:MAX_LITERAL]:
        if byte == previous or byte == 0:
            total += 0.3
        elif byte in _COMMON:
            total += 1.0
        else:
            total += 1.6 if not nocase else 1.4
        previous = byte
    return total


def cover(node: Node) -> frozenset[Needle] | None:
    """Return needles of which at least one stands in its buffer whenever ``node`` holds; None where there are none."""
    if isinstance(node, Literal):
        return _needles(node.buffer, [node.value], node.nocase) if node.value else None
    if isinstance(node, Regex):
        required = required_literals(node.pattern.text, node.pattern.nocase)
        return _needles(node.buffer, *required) if required else None
    if isinstance(node, All):
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


def _needles(buffer: str, values: list[bytes], nocase: bool) -> frozenset[Needle]:
    return frozenset(Needle(buffer, _rarest(value, nocase), nocase) for value in values)


def _rarest(value: bytes, nocase: bool) -> bytes:
    """Cut a long literal down to its start; the condition compares it whole."""
    value = value[:MAX_LITERAL]
    return value.lower() if nocase else value
