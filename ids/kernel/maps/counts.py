"""The program's counters: packets and bytes for each verdict reason."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from ids.kernel import contract
from ids.kernel.contract import COUNTER_NAMES
from ids.kernel.maps.configuration import is_shadow
from ids.kernel.maps.pins import open_required
from ids.kernel.maps.table import Map, possible_cpus


def reason_counts(table: Map) -> dict[str, tuple[int, int]]:
    """Return (packets, bytes) of each counter by name, summed over the CPUs; those never met included."""
    per_cpu = np.dtype((np.uint64, (possible_cpus(), 2)))
    _, values = table.entries(np.dtype("<u4"), per_cpu)
    totals = values.sum(axis=1)
    return {name: (int(totals[number, 0]), int(totals[number, 1])) for number, name in COUNTER_NAMES.items()}


def pinned_counts(pin_dir: Path) -> dict[str, tuple[int, int]]:
    """Like `reason_counts`, of the instance that pins under ``pin_dir``; raises `KernelError` where there is none."""
    with open_required(pin_dir, ["ids_counts"])["ids_counts"] as table:
        return reason_counts(table)


def pinned_heartbeat_age_s(pin_dir: Path) -> float | None:
    """Return when an engine last showed that it lives, as its age; None: none ever did. Raises `KernelError`."""
    with open_required(pin_dir, ["ids_config"])["ids_config"] as table:
        beat = int(np.frombuffer(table.get(bytes(4)) or b"", dtype=contract.CONFIG)[0]["heartbeat_ns"])
    return (time.monotonic_ns() - beat) / 1e9 if beat else None


def pinned_shadow(pin_dir: Path) -> bool:
    """Return whether the instance under ``pin_dir`` drops nothing; raises `KernelError` where there is none."""
    with open_required(pin_dir, ["ids_config"])["ids_config"] as table:
        return is_shadow(np.frombuffer(table.get(bytes(4)) or b"", dtype=contract.CONFIG)[0])
