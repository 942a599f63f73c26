"""The slots that no flow has: a stack in an array.

As Python's numbers they would be made whenever flows end, and lie for good between everything that is made then: a
crowd of flows left a hundred thousand of them behind, each of which kept a piece of the allocator's memory.
"""

from __future__ import annotations

import numpy as np

from ids.types import I64


class FreeSlots:
    """Slots to be taken, the one that came last first."""

    def __init__(self, capacity: int) -> None:
        """Begin with all slots below ``capacity`` free; the lowest are taken first."""
        self._stack: I64 = np.arange(capacity - 1, -1, -1)
        self._count = capacity

    def __len__(self) -> int:
        return self._count

    @property
    def slots(self) -> I64:
        """All of them; a view that the next change outdates."""
        return self._stack[: self._count]

    def take(self, count: int) -> I64:
        """Return ``count`` slots, of at least as many, in the order in which they are to be taken."""
        self._count -= count
        return self._stack[self._count : self._count + count][::-1].copy()

    def put(self, slots: I64) -> None:
        """Take slots back; the last of them is given out first."""
        self._stack[self._count : self._count + len(slots)] = slots
        self._count += len(slots)

    def grow(self, old: int, capacity: int) -> None:
        """Add the slots from ``old`` to below ``capacity``, to be taken behind all others."""
        self._stack, kept = np.empty(capacity, np.int64), self.slots
        self._stack[: capacity - old] = np.arange(capacity - 1, old - 1, -1)
        self._stack[capacity - old : capacity - old + len(kept)] = kept
        self._count += capacity - old

    def lowest_first(self) -> None:
        """Have the lowest slots taken first."""
        self._stack[: self._count] = np.sort(self.slots)[::-1]
