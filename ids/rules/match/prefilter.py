"""One pass over many rows of bytes that finds the needles of all rules at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ids.counters import Counters
from ids.rules.model.literals import Needle
from ids.rules.model.rule import Anchor
from ids.rules.model.scanning import CASELESS, SINGLE, Scanner, cached_scanner, escape
from ids.types import I64, Bool, ascending

HITS_PER_ROW = 32
"""Hits in a joined buffer, on the average over its rows, above which rows are scanned one by one: there a needle that
is repeated all over a row is reported once, so that crafted packets cost a scan each and not a call per byte."""

LEAST_HITS = 256
"""Hits that are always taken, so that a batch of a few rows is not scanned twice for nothing."""

_NONE: I64 = np.zeros(0, np.int64)


class Prefilter:
    """The needles of one buffer, each with the numbers of the rules that it makes candidates."""

    def __init__(
        self, entries: Iterable[tuple[Needle, int]], cache: Path | None = None, counters: Counters | None = None
    ) -> None:
        """Compile the needles of ``(needle, rule)`` pairs, all of one buffer; ``cache`` keeps the database."""
        rules: dict[tuple[bytes, bool, bool, bool], list[int]] = {}
        for needle, rule in entries:
            at_start = needle.anchor in (Anchor.START, Anchor.WHOLE)
            at_end = needle.anchor in (Anchor.END, Anchor.WHOLE)
            rules.setdefault((needle.value, needle.nocase, at_start, at_end), []).append(rule)
        needles = sorted(rules)
        self.longest = max((len(value) for value, *_ in needles), default=0)
        self._at_start: Bool = np.array([at_start for _, _, at_start, _ in needles], bool)
        self._at_end: Bool = np.array([at_end for _, _, _, at_end in needles], bool)
        self._counters = counters
        self._lengths = np.array([len(value) for value, *_ in needles], np.int64)
        self._counts = np.array([len(rules[needle]) for needle in needles], np.int64)
        self._firsts = np.cumsum(self._counts) - self._counts
        self._rules = np.array([rule for needle in needles for rule in rules[needle]], np.int64)
        expressions = [escape(value) for value, *_ in needles]
        flags = [CASELESS if nocase else 0 for _, nocase, *_ in needles]
        self._once: Scanner | None = None
        self._every: Scanner | None = None
        if needles:
            self._once = cached_scanner(expressions, [flag | SINGLE for flag in flags], cache)
            self._every = cached_scanner(expressions, flags, cache)

    def __len__(self) -> int:
        return len(self._lengths)

    def find(self, data: bytes, starts: I64, floor: I64 | None = None, fresh: I64 | None = None) -> tuple[I64, I64]:
        """Return ``(rows, rules)``, a pair for each row in which a needle of a rule ends, without repetitions.

        Row i is ``data[starts[i]:starts[i + 1]]``; ``starts`` has one entry more than there are rows. ``floor`` says
        for each row where a needle that ends in it may begin at the earliest (None: in the row itself), ``fresh`` up to
        where needles that end there were reported before.
        """
        if self._every is None or not data:
            return _NONE, _NONE
        if floor is None:
            floor = starts[:-1]
        hits: list[int] = []
        hit, many, limit = hits.append, len(self), max(LEAST_HITS, HITS_PER_ROW * len(floor))

        def report(needle: int, _start: int, end: int, _flags: int, _context: Any) -> bool:
            hit(end * many + needle)  # called for each hit: one number for both
            return len(hits) > limit

        if self._every.scan(data, report):
            return self._row_by_row(data, starts, floor)
        if not hits:
            return _NONE, _NONE
        last, found = np.divmod(np.array(hits, np.int64), many)
        rows = np.searchsorted(starts, last - 1, "right") - 1
        first = last - self._lengths[found]
        keep = first >= floor[rows]
        keep &= ~self._at_start[found] | (first == floor[rows])
        keep &= ~self._at_end[found] | (last == starts[rows + 1])
        if fresh is not None:
            keep &= last > fresh[rows]
        return self._candidates(rows[keep], found[keep])

    def _row_by_row(self, data: bytes, starts: I64, floor: I64) -> tuple[I64, I64]:
        """Scan each row by itself, with the bytes before it in which a needle that ends in it may begin.

        A needle that lies before the row altogether, or in the wrong place in it, may be reported: a candidate too
        many.
        """
        assert self._once is not None
        if self._counters is not None:
            self._counters.add("rules.prefilter.floods")
        rows: list[int] = []
        needles: list[int] = []
        befores = np.maximum(floor, starts[:-1] - max(0, self.longest - 1)).tolist()
        for row, (before, end) in enumerate(zip(befores, starts[1:].tolist(), strict=True)):
            seen = len(needles)
            if before < end:
                self._once.scan(data[before:end], lambda needle, *_rest: needles.append(needle))
            rows += [row] * (len(needles) - seen)
        return self._candidates(np.array(rows, np.int64), np.array(needles, np.int64))

    def _candidates(self, rows: I64, needles: I64) -> tuple[I64, I64]:
        """Return the rules of the needles that were found, each pair of row and rule once, in order."""
        pairs = ascending(rows * len(self) + needles)
        rows, needles = pairs // len(self), pairs % len(self)
        counts = self._counts[needles]
        places = np.repeat(self._firsts[needles] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        rows, rules = np.repeat(rows, counts), self._rules[places]
        width = int(self._rules.max()) + 1
        pairs = ascending(rows * width + rules)
        return pairs // width, pairs % width
