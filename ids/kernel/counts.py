"""The program's counters: packets and bytes for each verdict reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ids.kernel.contract import REASON_NAMES, Reason
from ids.kernel.maps import Map
from ids.kernel.pins import open_required


def reason_counts(table: Map) -> dict[str, tuple[int, int]]:
    """Return (packets, bytes) of each reason by name, summed over the CPUs; reasons never met included."""
    counts = {}
    for reason in Reason:
        raw = table.get(int(reason).to_bytes(4, "little")) or b""
        packets, size = np.frombuffer(raw, dtype=np.uint64).reshape(-1, 2).sum(axis=0).tolist()
        counts[REASON_NAMES[reason]] = (int(packets), int(size))
    return counts


def pinned_counts(pin_dir: Path) -> dict[str, tuple[int, int]]:
    """Like `reason_counts`, of the instance that pins under ``pin_dir``; raises `KernelError` where there is none."""
    with open_required(pin_dir, ["ids_counts"])["ids_counts"] as table:
        return reason_counts(table)
