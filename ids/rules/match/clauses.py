"""Finds the rows of a batch in which all of a rule's tests on columns hold, for many rules at once.

Every test is one on an axis, a column of numbers: the value lies in one of some intervals. An axis is sorted once a
batch; then bisection says of all its tests together how many rows fit each, and where these lie. A rule that has a
test which no row fits costs no more than that. The others begin with the rows of their rarest test, and judge the rest
of their tests on these.

COST. A sort for each axis that a rule names, O(t log n) for t distinct tests of n rows, and a Python statement for each
rule that may match somewhere in the batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from ids.rules.model.sets import Interval
from ids.types import I64, Bool, ascending

FIRST, LAST = -(1 << 62), 1 << 62
"""Bounds of what a column may hold."""
_ABSENT = np.iinfo(np.int64).min
_MASK_SHARE = 16
"""A test that is asked of more than one in so many rows is judged for all rows at once, and kept for the batch."""

MOST_ASKED = 64
"""Clauses up to which it is worth while to find out which rows fit any, before bytes are looked for in these."""
_NONE: I64 = np.zeros(0, np.int64)


class Predicate(NamedTuple):
    """The value on an axis lies in one of the intervals; a row without a value does not fit."""

    axis: str
    intervals: tuple[Interval, ...]


class Column(NamedTuple):
    """The values of an axis, in the rows that have one, ascending."""

    rows: I64
    values: I64


class Columns(Protocol):
    """The axes of a batch."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def axis(self, name: str) -> Column:
        """Return the values of an axis."""


def complement(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return what lies between the intervals, in `FIRST` .. `LAST`."""
    left, begin = [], FIRST
    for first, last in sorted(intervals):
        if first > begin:
            left.append((begin, first - 1))
        begin = max(begin, last + 1)
    return tuple(left) + (((begin, LAST),) if begin <= LAST else ())


def runs(values: Iterable[int]) -> tuple[Interval, ...]:
    """Return ascending numbers as intervals."""
    found: list[Interval] = []
    for value in values:
        if found and found[-1][1] == value - 1:
            found[-1] = found[-1][0], value
        else:
            found.append((value, value))
    return tuple(found)


class _Axis:
    """The tests on one axis; test i has the intervals from ``firsts[i]`` on."""

    def __init__(self, numbers: list[int], predicates: list[Predicate]) -> None:
        self.numbers: I64 = np.array(numbers, np.int64)
        intervals = [predicate.intervals or ((1, 0),) for predicate in predicates]
        sizes = np.array([len(some) for some in intervals], np.int64)
        self.firsts: I64 = np.cumsum(sizes) - sizes
        self.starts: I64 = np.array([max(first, FIRST) for some in intervals for first, _ in some], np.int64)
        self.ends: I64 = np.array([min(last, LAST) for some in intervals for _, last in some], np.int64)
        self.place = {number: i for i, number in enumerate(numbers)}

    def span(self, number: int) -> slice:
        """Return where the intervals of a test are."""
        i = self.place[number]
        last = int(self.firsts[i + 1]) if i + 1 < len(self.firsts) else len(self.starts)
        return slice(int(self.firsts[i]), last)


class _Places(NamedTuple):
    """Where the values of an axis lie that fit its tests."""

    rows: I64
    """Rows of the values in ascending order."""
    low: I64
    """Of each interval of a test, its first place in ``rows``,"""
    high: I64
    """and the place behind its last."""
    counts: I64
    """Rows that fit each test."""


class _OfBatch:
    """One axis of a batch; sorted once it is asked how many rows fit a test, or which."""

    def __init__(self, axis: _Axis, column: Column, length: int) -> None:
        self.axis = axis
        self._column = column
        self._length = length
        self._masks: dict[int, Bool] = {}

    @cached_property
    def places(self) -> _Places:
        """Where the values are that fit."""
        axis, column = self.axis, self._column
        order = np.argsort(_narrow(column.values), kind="stable")
        ordered = column.values[order]
        low = np.searchsorted(ordered, axis.starts, "left")
        high = np.maximum(np.searchsorted(ordered, axis.ends, "right"), low)
        return _Places(column.rows[order], low, high, np.add.reduceat(high - low, axis.firsts))

    @cached_property
    def _dense(self) -> I64:
        dense = np.full(self._length, _ABSENT, np.int64)
        dense[self._column.rows] = self._column.values
        return dense

    def rows(self, number: int) -> I64:
        """Return the rows that fit a test, in no order."""
        span, places = self.axis.span(number), self.places
        bounds = zip(places.low[span].tolist(), places.high[span].tolist(), strict=True)
        parts = [places.rows[first:behind] for first, behind in bounds]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def fits(self, number: int, rows: I64) -> Bool:
        """Return which of the rows fit a test."""
        mask = self._masks.get(number)
        if mask is None:
            span = self.axis.span(number)
            starts, ends = self.axis.starts[span], self.axis.ends[span]
            if len(rows) * _MASK_SHARE < self._length:
                return lies_in(self._dense[rows], starts, ends)
            mask = self._masks[number] = lies_in(self._dense, starts, ends)
        found: Bool = mask[rows]
        return found


def lies_in(values: I64, starts: I64, ends: I64) -> Bool:
    """Return which values lie in one of the intervals, which are sorted and apart from each other."""
    place = np.searchsorted(starts, values, "right") - 1
    found: Bool = (place >= 0) & (values <= ends[place])
    return found


def _narrow(values: I64) -> np.ndarray:
    """Return the values in an order-preserving form that is sorted faster, where there is one."""
    if not len(values):
        return values
    low, high = int(values.min()), int(values.max())
    if high - low > 0xFFFF:
        return values
    return (values - low).astype(np.uint8 if high - low <= 0xFF else np.uint16)


class Clauses:
    """Conjunctions of tests, each owned by a rule; a rule with several holds where one of them does."""

    def __init__(self, clauses: Iterable[tuple[int, Iterable[Predicate]]]) -> None:
        """Take ``(rule, tests)`` pairs; each has at least one test."""
        numbers: dict[Predicate, int] = {}
        members: list[list[int]] = []
        owners: list[int] = []
        for owner, predicates in clauses:
            owners.append(owner)
            members.append(sorted({numbers.setdefault(predicate, len(numbers)) for predicate in predicates}))
        self.owners: I64 = np.array(owners, np.int64)
        self.of_owner: dict[int, list[int]] = {}
        for clause, owner in enumerate(owners):
            self.of_owner.setdefault(owner, []).append(clause)
        sizes = np.array([len(some) for some in members], np.int64)
        self.firsts: I64 = np.cumsum(sizes) - sizes
        self.members: I64 = np.array([number for some in members for number in some], np.int64)
        self.members_of = members
        on_axis: dict[str, tuple[list[int], list[Predicate]]] = {}
        for predicate, number in numbers.items():
            on = on_axis.setdefault(predicate.axis, ([], []))
            on[0].append(number)
            on[1].append(predicate)
        self.axes = {name: _Axis(*on) for name, on in on_axis.items()}
        self.axis_of = [""] * len(numbers)
        for predicate, number in numbers.items():
            self.axis_of[number] = predicate.axis

    def __len__(self) -> int:
        return len(self.owners)

    def on(self, columns: Columns) -> Found:
        """Return what can be asked of a batch."""
        return Found(self, columns)


class Found:
    """The rows of one batch that fit."""

    def __init__(self, clauses: Clauses, columns: Columns) -> None:
        self._clauses = clauses
        self._columns = columns
        self._axes: dict[str, _OfBatch] = {}

    def _axis(self, number: int) -> _OfBatch:
        """Return the axis that a test is on."""
        name = self._clauses.axis_of[number]
        axis = self._axes.get(name)
        if axis is None:
            columns = self._columns
            axis = self._axes[name] = _OfBatch(self._clauses.axes[name], columns.axis(name), len(columns))
        return axis

    @cached_property
    def _counts(self) -> I64:
        """Rows that fit each test."""
        counts = np.zeros(len(self._clauses.axis_of), np.int64)
        for axis in self._clauses.axes.values():
            counts[axis.numbers] = self._axis(int(axis.numbers[0])).places.counts
        return counts

    @cached_property
    def most(self) -> I64:
        """Of each clause the rows that fit its rarest test: no more than these fit it."""
        clauses = self._clauses
        if not len(clauses):
            return _NONE
        most: I64 = np.minimum.reduceat(self._counts[clauses.members], clauses.firsts)
        return most

    def pairs(self) -> tuple[I64, I64]:
        """Return ``(rows, rules)``, each pair once, in the order of the rows."""
        all_rows: list[I64] = [_NONE]
        all_owners: list[I64] = [_NONE]
        for clause in np.flatnonzero(self.most > 0).tolist():
            rows = self._rows(clause)
            if len(rows):
                all_rows.append(rows)
                all_owners.append(np.full(len(rows), self._clauses.owners[clause], np.int64))
        return distinct(np.concatenate(all_rows), np.concatenate(all_owners))

    def any_rule(self) -> Bool:
        """Return which rows fit any rule; or, where that costs more than it is worth, all."""
        length = len(self._columns)
        if len(self._clauses) > MOST_ASKED or int(self.most.sum()) > length:
            return np.ones(length, np.bool_)
        mask = np.zeros(length, np.bool_)
        for clause in np.flatnonzero(self.most > 0).tolist():
            mask[self._rows(clause)] = True
        return mask

    def keep(self, rows: I64, owners: I64) -> Bool:
        """Return which of the pairs fit."""
        kept = np.zeros(len(rows), np.bool_)
        order = np.argsort(owners, kind="stable")
        starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
        for places in np.split(order, starts[1:]) if len(rows) else ():
            of = rows[places]
            for clause in self._clauses.of_owner.get(int(owners[places[0]]), ()):
                kept[places] |= self._fits(clause, of, None)
        return kept

    def _rows(self, clause: int) -> I64:
        members = self._clauses.members_of[clause]
        rarest = min(members, key=lambda number: int(self._counts[number]))
        rows = self._axis(rarest).rows(rarest)
        return rows[self._fits(clause, rows, rarest)]

    def _fits(self, clause: int, rows: I64, but: int | None) -> Bool:
        kept = np.ones(len(rows), np.bool_)
        for number in self._clauses.members_of[clause]:
            if number != but:
                kept &= self._axis(number).fits(number, rows)
                if not np.count_nonzero(kept):
                    break
        return kept


def distinct(rows: I64, rules: I64) -> tuple[I64, I64]:
    """Return pairs in order, each once."""
    if not len(rows):
        return rows, rules
    width = int(rules.max()) + 1
    pairs = ascending(rows * width + rules)
    return pairs // width, pairs % width
