"""What work costs as its input grows: tests compare sizes of one run, for machines differ tenfold and more."""

from __future__ import annotations

import time
from collections.abc import Callable

FACTOR = 8
LINEAR = 3 * FACTOR
"""No more than that is linear, with room for a busy machine; the square would be `FACTOR` times `FACTOR`."""
_ROUNDS = 3


def growth(work: Callable[[int], object], size: int) -> float:
    """Return how many times as long ``work`` takes for `FACTOR` times the ``size``, by this thread's own time."""
    work(size)  # whatever is made on the first use
    return _least_s(work, FACTOR * size) / _least_s(work, size)


def _least_s(work: Callable[[int], object], size: int) -> float:
    times = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        work(size)
        times.append(time.thread_time() - began)
    return max(min(times), 1e-4)
