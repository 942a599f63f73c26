"""Which of the datagrams that wait for fragments give way: those of whoever holds most.

Fragments are sent for nothing and cannot be proven to be anybody's. Were the oldest to give way, a few thousand lone
fragments to anybody would push out those that somebody else waits for. So room is made at the expense of the
destination or the source that holds most, and within that, of the other end that does.

THEORY. What counts is how many datagrams an end holds, or, where memory is what lacks, how many bytes. Each datagram
has a level in each of its ends: what the end would hold with it and those that are to stay before it. First to stay
are, of each pair of ends in turn, the newest. The higher of the two levels counts, and the datagrams with the highest
go: that lowers whoever holds most until all are even, as water does. Of equals those go of which least has come, then
the oldest.

COST. Three sorts of all there are, some 20 ms for 32,768 datagrams; so a sixteenth more than needed goes at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ids.decode.fragments import WORDS, Key
from ids.types import I64, U64


def surplus(keys: Sequence[Key], cost: I64, count: int, size: int) -> list[int]:
    """Return the places of datagrams that are to give way: ``count``, or, where that is 0, of at least ``size`` bytes.

    ``keys`` are those of `ids.decode.fragments.keys_of`, those that came first in front, ``cost`` what each is charged.
    """
    weight = np.ones(len(keys), np.int64) if count else cost
    words = np.frombuffer(b"".join(keys), np.uint64).reshape(-1, WORDS)
    # who sent it: an IPv6 address by its /64, for somebody has all of that to himself
    low = np.where(words[:, 0] & np.uint64(256), np.uint64(0), words[:, 3])
    source, destination = _numbered(words[:, 2], low), _numbered(words[:, 4], words[:, 5])
    pair = source * (int(destination.max()) + 1) + destination
    age = np.arange(len(keys))
    in_pair = _levels(weight, pair, np.lexsort((-age, pair)))
    levels = [_levels(weight, end, np.lexsort((-age, in_pair, end))) for end in (source, destination)]
    order = np.lexsort((age, cost, -np.maximum(*levels)))
    going = count or int(np.searchsorted(np.cumsum(cost[order]), size)) + 1
    gone: list[int] = order[:going].tolist()
    return gone


def _numbered(high: U64, low: U64) -> I64:
    """Return a number for each holder, the same for the same halves."""
    order = np.lexsort((low, high))
    fresh = (np.diff(high[order]) != 0) | (np.diff(low[order]) != 0)
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(np.append(False, fresh))
    return numbers


def _levels(weight: I64, group: I64, order: I64) -> I64:
    """Return the running sum of the weights within each group; ``order`` has the groups one behind the other."""
    sums, of = np.cumsum(weight[order]), group[order]
    begins = np.ones(len(order), np.bool_)
    begins[1:] = of[1:] != of[:-1]
    before = (sums - weight[order])[begins]
    levels = np.empty(len(order), np.int64)
    levels[order] = sums - before[np.cumsum(begins) - 1]
    return levels
