"""Resident memory of several processes over a time, and what is to be said of it: flat or not, returned or not."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

SAMPLE_S = 1.0
WARM = 0.2
"""The part of the time in which tables fill and caches warm; nothing is judged by it."""
MARGIN, MARGIN_MIB = 0.05, 4.0
"""What memory may differ by and still be called the same."""


@dataclass(frozen=True, slots=True)
class Course:
    """The memory of one process over a day with an overload in its middle, in MiB."""

    before: float
    """Median from the end of the warm-up to the overload."""
    peak: float
    """The largest of all."""
    end: float
    """Median of the last tenth of the time."""
    slope: float
    """Growth an hour, of the line through all samples in quiet: those before the overload, and those of the second
    half of what follows it, each part around its own middle."""

    @property
    def returned(self) -> bool:
        """Whether the end is as it was before the overload, within `MARGIN` and `MARGIN_MIB`."""
        return self.end <= self.before * (1 + MARGIN) + MARGIN_MIB

    @property
    def part_returned(self) -> float:
        """Which part of what the overload took came back."""
        return (self.peak - self.end) / max(self.peak - self.before, 1e-9)

    def is_flat(self, hours: float) -> bool:
        """Return whether the growth, over so many hours, stays within `MARGIN` and `MARGIN_MIB`."""
        return self.slope * hours <= self.before * MARGIN + MARGIN_MIB


def course(seconds: list[float], mib: list[float], overload: tuple[float, float], total_s: float) -> Course:
    """Judge samples; ``overload`` is its begin and end, in the same seconds since the beginning as the samples'."""
    at, memory = np.array(seconds), np.array(mib)
    begin, end = overload
    before = (at >= WARM * total_s) & (at < begin)
    after = at >= (end + total_s) / 2
    parts = [part for part in (before, after) if part.sum() > 2]
    times = np.concatenate([at[part] - at[part].mean() for part in parts] or [np.zeros(1)])
    values = np.concatenate([memory[part] - memory[part].mean() for part in parts] or [np.zeros(1)])
    spread = float((times**2).sum())
    slope = float((times * values).sum()) / spread * 3600 if spread else 0.0
    last = memory[at >= 0.9 * total_s]
    return Course(_median(memory[before]), float(memory.max()), _median(last), slope)


def _median(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return statistics.median(values.tolist()) if len(values) else float("nan")


class Sampler:
    """Asks for the memory of processes by role, every `SAMPLE_S`, while the context lasts."""

    def __init__(self, look: Callable[[], Mapping[str, float]]) -> None:
        """``look`` returns the MiB of each role."""
        self._look = look
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.began = time.monotonic()
        self.samples: dict[str, tuple[list[float], list[float]]] = {}
        """By role: seconds since the beginning, and MiB."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def latest(self) -> str:
        """Return the latest sample of the roles that there are now, in words."""
        samples = self.samples
        newest = max((seconds[-1] for seconds, _ in samples.values()), default=0.0)
        return ", ".join(f"{role} {mib[-1]:.1f}" for role, (at, mib) in sorted(samples.items()) if at[-1] == newest)

    def _run(self) -> None:
        while not self._done.wait(SAMPLE_S):
            now = time.monotonic() - self.began
            for role, mib in self._look().items():
                seconds, memory = self.samples.setdefault(role, ([], []))
                seconds.append(now)
                memory.append(mib)
