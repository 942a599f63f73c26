"""What is known of the parts of a YARA condition: when they are true, when they have a value, and which."""

from __future__ import annotations

from typing import NamedTuple

from ids.rules.language.yara_strings import YaraCover, better

MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
"""Comparisons of numbers, and what they are with their sides changed."""

_SCALES = {"KB": 1 << 10, "MB": 1 << 20}


class Value(NamedTuple):
    """What is known of an expression; nothing, if nothing is given."""

    true: YaraCover | None = None
    """Holds whenever the expression is true, as a number: is not zero."""
    defined: YaraCover | None = None
    """Holds whenever it has a value at all."""
    number: int | None = None
    """Its value, if constant."""
    is_count: bool = False
    """Whether it is the number of matches of a string; ``true`` is the string's cover."""


def at_least_one(number: int | None) -> int | None:
    """Return the number if it is known to be one or more."""
    return number if number is not None and number >= 1 else None


def compared(left: Value, operator: str, right: Value) -> Value:
    """Return what is known of a comparison: both sides are defined, and a count may be at least one."""
    covers = [left.defined, right.defined]
    if operator in MIRRORED:
        if left.is_count and _implies_one(operator, right):
            covers.append(left.true)
        if right.is_count and _implies_one(MIRRORED[operator], left):
            covers.append(right.true)
    return Value(better(covers))


def _implies_one(operator: str, other: Value) -> bool:
    """Judge whether a count that compares so with ``other`` is at least one."""
    if operator == "!=":
        return other.number == 0
    least = 0 if other.is_count else other.number
    return least is not None and least >= {">": 0, ">=": 1, "==": 1}.get(operator, 1 << 64)


def number_of(text: str) -> int | None:
    """Return what a number means; None where it does not fit libyara's 64 bits."""
    scale = _SCALES.get(text[-2:], 1)
    digits = text[:-2] if scale > 1 else text
    if len(digits) > 24:
        return None
    value = (int(digits, 0) if digits[:2] in ("0x", "0o") else int(digits)) * scale
    return value if value < 1 << 63 else None
