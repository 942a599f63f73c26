"""Reputation of addresses, from Suricata's files: categories, and a number of each address in each of them.

A line of the first file is a number, a short name and a text; of the others an address or a network, the number of a
category and a score from 0 to 127, of which 0 takes an address out again. Where several networks have an address, the
narrowest counts.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

import numpy as np

from ids.errors import Location, RuleError
from ids.types import I64, IPV4_MAPPED_PREFIX, U64, Bool

MAX_CATEGORIES = 60
MAX_SCORE = 127
MAX_ENTRIES = 4_000_000
"""Lines of all files together."""

COMPARISONS: dict[str, Callable[[I64, int], Bool]] = {
    "<": operator.lt, ">": operator.gt, "=": operator.eq, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Category:
    """The scores of one category: each address from ``starts[i]`` up to the next has ``scores[i]``; 0: none."""

    starts: np.ndarray
    """First addresses of runs, as text of 16 bytes, ascending."""
    scores: I64


@dataclass(frozen=True, slots=True)
class Reputation:
    """All that the files say."""

    categories: dict[str, int] = field(default_factory=dict)
    """Numbers of the categories, by their short names."""
    of: dict[int, Category] = field(default_factory=dict)
    known: Category | None = None
    """The highest scores of all categories: an address with one has 0 in the categories that do not name it."""


class Scored:
    """The addresses whose score in a category compares as asked; not those that no category names."""

    def __init__(self, category: Category | None, known: Category | None, comparison: str, value: int) -> None:
        self._category, self._known = category, known
        self._compare, self._value = COMPARISONS[comparison], value

    def among(self, addresses: U64) -> Bool:
        """Return which addresses, shape (n, 2), are."""
        spelt = np.ascontiguousarray(addresses.astype(">u8")).view("S16").ravel()
        found: Bool = (_scores(self._known, spelt) > 0) & self._compare(_scores(self._category, spelt), self._value)
        return found


def _scores(category: Category | None, spelt: np.ndarray) -> I64:
    if category is None or not len(category.starts):
        return np.zeros(len(spelt), np.int64)
    at = np.searchsorted(category.starts, spelt, "right") - 1
    return np.where(at >= 0, category.scores[np.maximum(at, 0)], 0)


def read_reputation(categories: str | None, files: Sequence[str], errors: list[RuleError]) -> Reputation:
    """Read the files; what is wrong in them goes to ``errors``, with its line, and is left out."""
    names: dict[str, int] = {}
    if categories is not None:
        for number, words in _lines(categories, errors):
            try:
                if len(words) < 2 or not 0 < int(words[0]) <= MAX_CATEGORIES:
                    raise ValueError(f"a category is a number up to {MAX_CATEGORIES}, a short name and a text")
                names[words[1]] = int(words[0])
            except ValueError as error:
                errors.append(RuleError(f"no category: {error}", Location(categories, number)))
    entries: dict[int, list[tuple[int, int, int]]] = {}
    count = 0
    for path in files:
        for number, words in _lines(path, errors):
            count += 1
            if count > MAX_ENTRIES:
                errors.append(RuleError(f"more than {MAX_ENTRIES:,} addresses", Location(path, number)))
                break
            try:
                category, entry = _entry(words)
            except ValueError as error:
                errors.append(RuleError(f"no reputation: {error}", Location(path, number)))
                continue
            entries.setdefault(category, []).append(entry)
    everywhere = [(first, last, max(score, 1)) for found in entries.values() for first, last, score in found if score]
    return Reputation(names, {category: _category(found) for category, found in entries.items()}, _category(everywhere))


def _lines(path: str, errors: list[RuleError]) -> list[tuple[int, list[str]]]:
    try:
        text = Path(path).read_text("utf-8", "replace")
    except OSError as error:
        errors.append(RuleError(f"cannot be read: {error.strerror}", Location(path)))
        return []
    lines = enumerate(text.splitlines(), 1)
    return [(n, [word.strip() for word in line.split(",")]) for n, line in lines if line.strip() and line[0] != "#"]


def _entry(words: list[str]) -> tuple[int, tuple[int, int, int]]:
    """Return category, first and last address, and score."""
    if len(words) < 3:
        raise ValueError("it is an address, a category and a score")
    network = ip_network(words[0], strict=False)
    category, score = int(words[1]), int(words[2])
    if not 0 < category <= MAX_CATEGORIES or not 0 <= score <= MAX_SCORE:
        raise ValueError(f"categories go up to {MAX_CATEGORIES}, scores up to {MAX_SCORE}")
    base = IPV4_MAPPED_PREFIX if network.version == 4 else 0
    return category, (base + int(network.network_address), base + int(network.broadcast_address), score)


def _category(entries: list[tuple[int, int, int]]) -> Category:
    """Cut networks that lie in each other into runs. Of one network, the last line counts."""
    latest = {(first, last): score for first, last, score in entries}
    starts: dict[int, int] = {}
    inside: list[tuple[int, int]] = []
    for (first, last), score in sorted(latest.items(), key=lambda one: (one[0][0], -one[0][1])):
        while inside and inside[-1][0] < first:
            end, _ = inside.pop()
            starts[end + 1] = inside[-1][1] if inside else 0
        starts[first] = score
        inside.append((last, score))
    while inside:
        end, _ = inside.pop()
        starts[end + 1] = inside[-1][1] if inside else 0
    runs = sorted((start, score) for start, score in starts.items() if start < 1 << 128)
    spelt = np.array([start.to_bytes(16, "big") for start, _ in runs], "S16")
    return Category(spelt, np.array([score for _, score in runs], np.int64))
