"""The order in which processes of xdist take files: those that wait or take long evenly among the others, none last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")

TAIL = 8
"""One file of so many is kept for the end, and they are short ones: the processes end at about the same time."""


def spread(items: Sequence[Item], file_of: Callable[[Item], str], early: Callable[[Item], bool]) -> list[Item]:
    """Return the tests file by file; those of which some test is early stand evenly among the first of the others."""
    files: dict[str, list[Item]] = {}
    for item in items:
        files.setdefault(file_of(item), []).append(item)
    wanted = [held for held in files.values() if any(map(early, held))]
    others = [held for held in files.values() if not any(map(early, held))]
    first = others[: len(others) - len(others) // TAIL]
    return [item for held in [*_among(wanted, first), *others[len(first) :]] for item in held]


def _among(some: Sequence[list[Item]], many: Sequence[list[Item]]) -> Iterable[list[Item]]:
    """Yield both, each in its own order, at even distances."""
    places = [((number + 0.5) / len(held), held[number]) for held in (some, many) for number in range(len(held))]
    return [held for _, held in sorted(places, key=lambda place: place[0])]
