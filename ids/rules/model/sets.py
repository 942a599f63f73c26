"""Sets of addresses and ports, as rules have them: sorted intervals, or a table.

Membership costs a bisection or an index, and a NumPy column is judged in a handful of operations.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ids.types import U16, U64, Bool

Interval: TypeAlias = tuple[int, int]
"""First and last member of a run of numbers."""

LAST_ADDRESS = (1 << 128) - 1
LAST_PORT = 65535

_LOW = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True)
class AddressSet:
    """A set of IPv4 and IPv6 addresses, IPv4 as ``::ffff:a.b.c.d``."""

    intervals: tuple[Interval, ...]
    _starts: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", [first for first, _ in self.intervals])

    @property
    def everything(self) -> bool:
        """Every address is a member."""
        return self.intervals == ((0, LAST_ADDRESS),)

    def __contains__(self, address: tuple[int, int]) -> bool:
        value = address[0] << 64 | address[1]
        i = bisect_right(self._starts, value) - 1
        return i >= 0 and value <= self.intervals[i][1]

    def meets(self, other: AddressSet) -> bool:
        """Return whether the two sets have a member in common."""
        return bool(intersection(self.intervals, other.intervals))

    def mask(self, addresses: U64) -> Bool:
        """Return for each row of addresses, shape (n, 2), whether it is a member."""
        if self.everything:
            return np.ones(len(addresses), bool)
        high, low = addresses[:, 0], addresses[:, 1]
        found = np.zeros(len(addresses), bool)
        for first, last in self.intervals:
            first_high, first_low = np.uint64(first >> 64), np.uint64(first & _LOW)
            last_high, last_low = np.uint64(last >> 64), np.uint64(last & _LOW)
            after = (high > first_high) | ((high == first_high) & (low >= first_low))
            found |= after & ((high < last_high) | ((high == last_high) & (low <= last_low)))
        return found


@dataclass(frozen=True)
class PortSet:
    """A set of ports."""

    intervals: tuple[Interval, ...]
    _table: Bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table = np.zeros(LAST_PORT + 1, bool)
        for first, last in self.intervals:
            table[first : last + 1] = True
        object.__setattr__(self, "_table", table)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it be kept without its table."""
        return PortSet, (self.intervals,)

    @property
    def everything(self) -> bool:
        """Every port is a member."""
        return self.intervals == ((0, LAST_PORT),)

    def __contains__(self, port: int) -> bool:
        return bool(self._table[port])

    def mask(self, ports: U16) -> Bool:
        """Return for each port of a column whether it is a member."""
        return self._table[ports]


ANY_ADDRESS = AddressSet(((0, LAST_ADDRESS),))
ANY_PORT = PortSet(((0, LAST_PORT),))


def intersection(left: tuple[Interval, ...], right: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """Return the runs of numbers that are in both."""
    result, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        first, last = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first <= last:
            result.append((first, last))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(result)
