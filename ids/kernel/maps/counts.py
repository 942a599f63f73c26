"""The program's counters: packets and bytes for each verdict reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ids.kernel.contract import REASON_NAMES, Reason
from ids.kernel.maps.pins import open_required
from ids.kernel.maps.table import Map, possible_cpus


def reason_counts(table: Map) -> dict[str, tuple[int, int]]:
    """Return (packets, bytes) of each reason by name, summed over the CPUs; reasons never met included."""
    per_cpu = np.dtype((np.uint64, (possible_cpus(), 2)))
    _, values = table.entries(np.dtype("<u4"), per_cpu)
    totals = values.sum(axis=1)
    return {REASON_NAMES[reason]: (int(totals[reason, 0]), int(totals[reason, 1])) for reason in Reason}


def pinned_counts(pin_dir: Path) -> dict[str, tuple[int, int]]:
    """Like `reason_counts`, of the instance that pins under ``pin_dir``; raises `KernelError` where there is none."""
    with open_required(pin_dir, ["ids_counts"])["ids_counts"] as table:
        return reason_counts(table)
