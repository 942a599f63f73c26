"""What two rules have in common: a rule's meaning as plain values, without who it is and where it stands."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields, is_dataclass
from typing import Any

from ids.rules.model.patterns import Pattern
from ids.rules.model.rule import Rule


def plain(value: Any) -> Hashable:
    """Return a part of a rule as tuples that are equal where the parts mean the same."""
    if isinstance(value, Pattern):
        return value.text, value.nocase
    if isinstance(value, tuple | list):
        return tuple(plain(each) for each in value)
    if is_dataclass(value):
        return type(value).__name__, *(plain(getattr(value, each.name)) for each in fields(value) if each.compare)
    return value  # type: ignore[no-any-return]


def differences(one: Rule, other: Rule) -> list[str]:
    """Return in what two rules differ, but for places, and for what only one language has: YAML's level and status, and
    what classification.config calls a class in events.
    """
    found = [
        name for name in ("traffic", "flow", "condition", "repeats", "level")
        if plain(getattr(one, name)) != plain(getattr(other, name))
    ]  # fmt: skip
    for each in fields(one.signature):
        mine, theirs = getattr(one.signature, each.name), getattr(other.signature, each.name)
        if each.name == "metadata":
            mine, theirs = _without(mine), _without(theirs)
        if each.name not in ("origin", "category") and mine != theirs:
            found.append(each.name)
    return found


def _without(metadata: Any) -> dict[str, list[str]]:
    return {key: list(value) for key, value in metadata.items() if key not in ("level", "status")}
