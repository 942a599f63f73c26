"""Flow ids: numbers that no other flow has, in this run or another, whoever inspects it.

An id is a hash of the flow's key and its first packet, with a seed that is made up anew at each live start. For
captures the seed is always the same: a capture's flows have the same ids in every replay, with any number of workers.
Below 2**53 each number is exact wherever JSON's numbers are floating point. That two among a million flows share an id
has the chance of 1 in 18,000; two that live at once in a process never do.
"""

from __future__ import annotations

import numpy as np

from ids.flow.keys import KEY_BYTES, KEY_WORDS
from ids.types import I64, U64

ID_BITS = 53
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2**64 by the golden ratio, which is odd, so that no bit is lost."""
_FOLD = np.uint64(32)


class FlowIds:
    """Gives out ids, and takes them back."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = np.uint64(seed)
        self._taken: set[int] = {0}

    def take(self, keys: list[bytes], ts_ns: I64, number: I64) -> I64:
        """Return the id of each flow, by its key and its first packet's time and number."""
        words = np.frombuffer(b"".join(keys), np.uint64).reshape(len(keys), KEY_BYTES // 8)
        hashed = np.full(len(keys), self._seed)
        for word in (*(words[:, at] for at in range(KEY_WORDS)), ts_ns.astype(np.uint64), number.astype(np.uint64)):
            hashed = _mixed(hashed ^ word)
        ids = (_mixed(hashed) >> np.uint64(64 - ID_BITS)).astype(np.int64)
        found = ids.tolist()
        fresh = set(found)
        if len(fresh) == len(found) and fresh.isdisjoint(self._taken):
            self._taken |= fresh
            return ids
        return self._apart(found)

    def _apart(self, found: list[int]) -> I64:
        """Give another id to each that is taken: nobody meets this by chance."""
        for at, number in enumerate(found):
            while number in self._taken:
                number = (number + 1) % (1 << ID_BITS)
            found[at] = number
            self._taken.add(number)
        return np.array(found, np.int64)

    def give_back(self, ids: I64) -> None:
        """Let ids of flows that have gone be given out again."""
        self._taken.difference_update(ids.tolist())

    def shrink(self) -> None:
        """Make the set of ids small again, which by itself keeps the size of the largest crowd."""
        self._taken = set(self._taken)


def _mixed(value: U64) -> U64:
    value = value * _MULTIPLIER
    mixed: U64 = value ^ (value >> _FOLD)
    return mixed
