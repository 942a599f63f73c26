"""One pass over a buffer that finds the needles of all rules at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ids.rules.literals import Needle
from ids.rules.scanning import CASELESS, SINGLE, Scanner, cached_scanner, escape
from ids.types import I64

HITS_PER_ROW = 8
"""Hits in a joined buffer, on the average over its rows, above which rows are scanned one by one: there a needle that
is repeated all over a packet is reported once, so that crafted packets cost a scan each and not a call per byte."""


class Prefilter:
    """The needles of one buffer, each with the rules that it makes candidates."""

    def __init__(self, entries: Iterable[tuple[Needle, int]], cache: Path | None = None) -> None:
        """Compile the needles of ``(needle, rule index)`` pairs, all of one buffer; ``cache`` keeps the database."""
        rules: dict[tuple[bytes, bool], list[int]] = {}
        for needle, rule in entries:
            rules.setdefault((needle.value, needle.nocase), []).append(rule)
        needles = sorted(rules)
        self.longest = max((len(value) for value, _ in needles), default=0)
        self._rules = [tuple(rules[needle]) for needle in needles]
        self._lengths = np.array([len(value) for value, _ in needles], np.int64)
        expressions = [escape(value) for value, _ in needles]
        flags = [CASELESS if nocase else 0 for _, nocase in needles]
        self._once: Scanner | None = None
        self._every: Scanner | None = None
        if needles:
            self._once = cached_scanner(expressions, [flag | SINGLE for flag in flags], cache)
            self._every = cached_scanner(expressions, flags, cache)

    def __len__(self) -> int:
        return len(self._rules)

    def scan(self, data: bytes) -> set[int]:
        """Return the rules that have a needle in ``data``."""
        found: set[int] = set()
        if self._once is None or not data:
            return found
        rules = self._rules

        def report(needle: int, *_rest: Any) -> None:
            found.update(rules[needle])

        self._once.scan(data, report)
        return found

    def scan_rows(self, data: bytes, starts: I64) -> set[tuple[int, int]]:
        """Return ``(row, rule)`` for each rule with a needle inside one row of a joined buffer.

        Row i is ``data[starts[i]:starts[i + 1]]``; ``starts`` has one entry more than there are rows. A needle that
        lies over the boundary of two rows is in neither.
        """
        if self._every is None or len(starts) < 2:
            return set()
        needles: list[int] = []
        ends: list[int] = []
        limit = HITS_PER_ROW * len(starts)

        def report(needle: int, _start: int, end: int, *_rest: Any) -> bool:
            needles.append(needle)
            ends.append(end)
            return len(ends) > limit

        if self._every.scan(data, report):
            return self._scan_each(data, starts)
        last = np.array(ends, np.int64)
        rows = np.searchsorted(starts, last - 1, "right") - 1
        inside = last - self._lengths[needles] >= starts[rows] if needles else np.zeros(0, bool)
        return {
            (row, rule)
            for row, needle, keep in zip(rows.tolist(), needles, inside.tolist(), strict=True)
            if keep
            for rule in self._rules[needle]
        }

    def _scan_each(self, data: bytes, starts: I64) -> set[tuple[int, int]]:
        places = starts.tolist()
        return {
            (row, rule) for row in range(len(places) - 1) for rule in self.scan(data[places[row] : places[row + 1]])
        }
