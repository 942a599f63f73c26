"""Keeps the kernel's blocklist what its own tools made it: whatever differs without them is drift, and is undone.

A change by `Blocklist` (the engine's, or ``ids block``'s) moves `Blocklist.changes` before and after, and shows
meanwhile that it is under way (`Blocklist.changing`): an import of a million takes seconds, many looks long. A look at
the tables is therefore what is wanted, where nothing was under way and as long as that number stands still; and where a
later look differs while it stood still, somebody else wrote to the maps, or an entry was lost.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.kernel.lists.blocklist import Blocklist
from ids.kernel.lists.claims import Kind
from ids.kernel.lists.networks import not_in, sortable
from ids.kernel.lists.tables import TABLES

SHARE = 50
"""A look that took t is not repeated before 50 t: looking at a million entries must not become the main work."""

ORDERED = ("expires_ns", "mode", "sid", "label")
"""Columns of a value that somebody orders; the others are the program's counters."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What was found to differ, and put right."""

    missing: int = 0
    extra: int = 0
    altered: int = 0

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.altered)


class Reconciler:
    """Compares the blocklist with the last look at it, again and again."""

    def __init__(self, blocks: Blocklist) -> None:
        self._blocks = blocks
        self._seen: dict[Kind, tuple[NDArray[Any], NDArray[Any]]] = {}
        self._changes = -1
        self._next_ns = 0

    def check(self) -> Drift:
        """Look once, undo what differs, and return it.

        Does nothing while the list is being changed, and when it is asked again too soon; see `SHARE`.
        """
        started = time.monotonic_ns()
        if started < self._next_ns:
            return Drift()
        before = self._blocks.changes
        if self._blocks.changing:  # asked behind the number: a change that begins now moves it
            return Drift()
        found = {kind: self._blocks.entries(kind) for kind in TABLES}
        drift = Drift()
        if before == self._blocks.changes == self._changes:
            drift = self._undo(found)
        if drift:
            self._changes = -1  # the next look learns what is there now
        elif before != self._changes:
            self._seen, self._changes = found, before
        finished = time.monotonic_ns()
        self._next_ns = finished + SHARE * (finished - started)
        return drift

    def _undo(self, found: dict[Kind, tuple[NDArray[Any], NDArray[Any]]]) -> Drift:
        missing = extra = altered = 0
        now_ns = time.monotonic_ns()
        for kind, (keys, values) in found.items():
            wanted_keys, wanted = self._seen[kind]
            live = (wanted["expires_ns"] == 0) | (wanted["expires_ns"] > now_ns)
            lost = live & not_in(wanted_keys, keys)
            strange = keys[not_in(keys, wanted_keys)]
            changed = _changed(wanted_keys, wanted, keys, values) & live
            if lost.any() or changed.any() or len(strange):
                restore = lost | changed
                self._blocks.repair(kind, wanted_keys[restore], wanted[restore], strange)
            missing += int(lost.sum())
            altered += int(changed.sum())
            extra += len(strange)
        return Drift(missing, extra, altered)


def _changed(
    wanted_keys: NDArray[Any], wanted: NDArray[Any], keys: NDArray[Any], values: NDArray[Any]
) -> NDArray[np.bool_]:
    """Return which wanted entries are there with other orders than they had."""
    changed = np.zeros(len(wanted_keys), dtype=np.bool_)
    common_wanted = np.flatnonzero(~not_in(wanted_keys, keys))
    common_found = np.flatnonzero(~not_in(keys, wanted_keys))
    if not len(common_wanted):
        return changed
    by_key = common_wanted[np.argsort(sortable(wanted_keys[common_wanted]))]
    found_by_key = common_found[np.argsort(sortable(keys[common_found]))]
    for column in ORDERED:
        changed[by_key] |= wanted[column][by_key] != values[column][found_by_key]
    return changed
