"""Chooses the literals by which a rule is noticed: a set such that the rule can only hold where one of them stands."""

from __future__ import annotations

from dataclasses import dataclass

from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.rarity import MAX_LITERAL, score
from ids.rules.model.regex_literals import required_literals
from ids.rules.model.rule import All, Anchor, Any_, Instance, Literal, Node, Regex


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
        """How selective it is: how rare, and how much its place tells."""
        rarity = score(self.value, self.nocase)
        return rarity + _PLACE[self.anchor] if rarity else 0.0


_PLACE = {Anchor.ANYWHERE: 0.0, Anchor.START: 1.0, Anchor.END: 1.0, Anchor.WHOLE: 3.0}


def cover(node: Node) -> frozenset[Needle] | None:
    """Return needles of which at least one stands in its buffer whenever ``node`` holds; None where there are none."""
    if isinstance(node, Literal):
        return frozenset({needle(node.buffer, node.value, node.nocase, node.anchor)}) if node.value else None
    if isinstance(node, Regex):
        required = required_literals(node.pattern.text, node.pattern.nocase)
        if required is None:
            return None
        values, nocase = required
        return frozenset(needle(node.buffer, value, nocase) for value in values)
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
