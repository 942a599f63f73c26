"""What came of a run, and how the table says it."""

from __future__ import annotations

import ctypes
import gc
import resource
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """What came of a run."""

    name: str
    executions: int = 0
    seconds: float = 0.0
    seeds: int = 0
    found: int = 0
    """Inputs that reached new lines, and became seeds."""
    made: int = 0
    """Transactions, or whatever the subject makes."""
    odd: int = 0
    counted: int = 0
    worst_s: float = 0.0
    """CPU time of the slowest input that is not long,"""
    worst_long_s: float = 0.0
    """and of the slowest long one."""
    held: int = 0
    """Bytes that a parser held after an input, at most."""
    garbage: int = 0
    """Objects in cycles that the collector found."""
    grown_kib: int = 0
    share: float | None = None
    """Of the lines of its files that were reached."""
    failures: dict[str, str] = field(default_factory=dict)
    """By place: how to repeat it."""
    failed: int = 0

    @property
    def row(self) -> tuple[str, ...]:
        """What the table says of it."""
        share = "" if self.share is None else f"{self.share:.0%}"
        return (
            self.name, f"{self.executions:,}", f"{self.seconds:.0f}", f"{self.seeds}+{self.found}", f"{self.made:,}",
            f"{self.odd}", f"{self.counted}", f"{1000 * self.worst_s:.0f}", f"{1000 * self.worst_long_s:.0f}",
            f"{self.held >> 10}", f"{self.grown_kib >> 10}", f"{self.garbage:,}", share, f"{len(self.failures)}",
        )  # fmt: skip


COLUMNS = (
    "parser", "executions", "s", "seeds", "made", "odd", "counters", "worst ms", "long ms", "held KiB", "grown MiB",
    "cycles", "lines", "failures",
)  # fmt: skip


def resident_kib() -> int:
    """Return the resident memory of this process in KiB, without what the allocator keeps of what was freed."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 10
