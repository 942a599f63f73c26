"""What is said of memory over a time: flat or growing, returned or not."""

from __future__ import annotations

import numpy as np

from tests.bench.resident import course

TOTAL_S = 3600.0
OVERLOAD = (1800.0, 1980.0)
SECONDS = [float(second) for second in range(3600)]


def memory(quiet: float = 100.0, grows: float = 0.0, crowd: float = 0.0, stays: float = 0.0) -> list[float]:
    """Return samples: a warm-up to ``quiet``, growth an hour, what an overload takes, and what of it stays."""
    at = np.array(SECONDS)
    mib = np.minimum(at / 600, 1) * quiet + grows * at / 3600
    mib[(at >= OVERLOAD[0]) & (at < OVERLOAD[1] + 60)] += crowd
    mib[at >= OVERLOAD[1] + 60] += stays
    samples: list[float] = mib.tolist()
    return samples


def test_memory_that_stays_the_same_is_flat_and_returned_whatever_the_warm_up_was() -> None:
    seen = course(SECONDS, memory(crowd=300), OVERLOAD, TOTAL_S)
    assert seen.is_flat(1.0)
    assert seen.returned
    assert (seen.before, seen.peak, seen.end, seen.part_returned) == (100, 400, 100, 1)


def test_memory_that_an_overload_took_for_good_is_flat_and_not_returned() -> None:
    seen = course(SECONDS, memory(crowd=300, stays=150), OVERLOAD, TOTAL_S)
    assert seen.is_flat(1.0), "the step is not taken for growth"
    assert not seen.returned
    assert seen.part_returned == 0.5


def test_a_leak_is_no_flat_memory() -> None:
    seen = course(SECONDS, memory(grows=30, crowd=300), OVERLOAD, TOTAL_S)
    assert 29 < seen.slope < 31
    assert not seen.is_flat(1.0)
    assert not seen.returned
