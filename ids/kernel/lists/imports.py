"""Lists that come as a whole: the claims of an import, or of a feed that replaces what its label had.

Imports of several processes take turns (`ids.kernel.system.bpffs.in_turn`); the caller holds it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.errors import KernelError
from ids.kernel.lists.claims import Kind, Rows, chosen, together, without
from ids.kernel.lists.entries import Entries
from ids.kernel.lists.networks import KEY_TYPES, NetworkSet, not_in, places, sortable
from ids.kernel.lists.tables import COUNTED, TABLES, BlockTables

KEPT_SHARE = 64
"""An import leaves a 64th of each table free: a feed that fills it up would keep rules from blocking anybody."""


def put(tables: BlockTables, claims: Entries, *, partly: bool) -> int:
    """Add claims, as `Blocklist.put` does."""
    for kind in () if partly else TABLES:
        there, wanted = tables.entries(kind)[0], claims.of_kind(kind)[0]
        fresh = np.unique(sortable(wanted[not_in(wanted, there)]))
        _require_room(tables, kind, len(there), len(fresh))
    all_waiting = tables.waiting()
    for kind in TABLES:
        ours = claims.of_kind(kind)
        if not len(ours[0]):
            continue
        held, waiting = tables.entries(kind), all_waiting[kind]
        _hand_on_counts(ours, held)
        alone = _alone(ours, held, waiting)
        with tables.announced(kind):
            tables.write(kind, *chosen(ours, alone))
            rest = chosen(ours, ~alone)
            near, near_waiting = (chosen(rows, ~not_in(rows[0], rest[0])) for rows in (held, waiting))
            others = without(kind, together(near, near_waiting), rest)
            tables.settle(kind, near, near_waiting, together(others, rest))
    return len(claims)


def replace(tables: BlockTables, networks: NetworkSet, template: NDArray[Any]) -> tuple[int, int]:
    """Make networks the whole set of a label, as `Blocklist.replace` does; ``template`` is a fresh entry's value."""
    all_waiting = tables.waiting()
    plans = []
    for kind in TABLES:
        wanted = networks.keys.get(kind, np.empty(0, dtype=KEY_TYPES[kind]))
        held = tables.entries(kind)
        fresh = wanted[not_in(wanted, held[0])]
        _require_room(tables, kind, len(held[0]), len(fresh))
        plans.append((kind, wanted, held, fresh))
    added = deleted = 0
    for kind, wanted, held, fresh in plans:
        waiting = all_waiting[kind]
        alone = (held[1]["label"] == template["label"][0]) & not_in(held[0], waiting[0])
        with tables.announced(kind):
            tables.write(kind, *_repeat(fresh, template))
            gone = _replace_alone(tables, kind, chosen(held, alone), wanted, template)
            more, fewer = _replace_shared(tables, kind, chosen(held, ~alone), waiting, wanted, template)
        added += len(fresh) + more
        deleted += gone + fewer
    return added, deleted


def _require_room(tables: BlockTables, kind: Kind, held: int, fresh: int) -> None:
    """Raise `KernelError` for what would fill a table up: then no rule could block anybody any more."""
    most = tables.capacity(kind)
    kept = most // KEPT_SHARE
    if fresh and held + fresh > most - kept:
        raise KernelError(
            f"nothing was changed: {fresh:,} new entries do not fit into {TABLES[kind]}, which has {held:,} of"
            f" {most:,} already and keeps room for {kept:,} that rules and operators block",
            "Raise the fast path's `blocks_entries` or `prefixes_entries` and start with fresh pins",
        )


def _replace_alone(tables: BlockTables, kind: Kind, ours: Rows, wanted: NDArray[Any], template: NDArray[Any]) -> int:
    """Renew the entries that nobody else claims, nearly all of a feed's; return how many were deleted."""
    gone = not_in(ours[0], wanted)
    stale = _renew(ours[1], template) & ~gone
    tables.write(kind, *chosen(ours, stale))
    return tables.remove(kind, ours[0][gone])


def _replace_shared(
    tables: BlockTables, kind: Kind, held: Rows, waiting: Rows, wanted: NDArray[Any], template: NDArray[Any]
) -> tuple[int, int]:
    """Renew our claims on networks that others claim too; return how many were added and deleted."""
    held_by_us, waiting_by_us = (rows[1]["label"] == template["label"][0] for rows in (held, waiting))
    beside = ~not_in(wanted, held[0][~held_by_us]) & not_in(wanted, waiting[0][waiting_by_us])
    ours = together(chosen(held, held_by_us), chosen(waiting, waiting_by_us))
    gone = not_in(ours[0], wanted)
    stale = _renew(ours[1], template) & ~gone
    changed = together(chosen(ours, stale), _repeat(wanted[beside], template))
    touched = np.concatenate([changed[0], ours[0][gone]])
    near, near_waiting = ~not_in(held[0], touched), ~not_in(waiting[0], touched)
    others = together(chosen(held, near & ~held_by_us), chosen(waiting, near_waiting & ~waiting_by_us))
    tables.settle(kind, chosen(held, near), chosen(waiting, near_waiting), together(others, changed))
    return int(beside.sum()), int(gone.sum())


def _alone(ours: Rows, held: Rows, waiting: Rows) -> NDArray[np.bool_]:
    """Return which claims are the only ones on their networks, nearly all: they need not be compared with others."""
    _, which, often = np.unique(sortable(ours[0]), return_inverse=True, return_counts=True)
    at = places(ours[0], held[0])
    foreign = (at >= 0) & (held[1]["label"][at] != ours[1]["label"]) if len(held[0]) else np.zeros(len(at), np.bool_)
    only: NDArray[np.bool_] = (often[which.reshape(-1)] == 1) & ~foreign & not_in(ours[0], waiting[0])
    return only


def _hand_on_counts(ours: Rows, held: Rows) -> None:
    """Give claims that are in force already what was counted of them."""
    at = places(ours[0], held[0])
    mine = at >= 0
    mine[mine] = held[1]["label"][at[mine]] == ours[1]["label"][mine]
    for column in COUNTED:
        ours[1][column][mine] = held[1][column][at[mine]]


def _renew(values: NDArray[Any], template: NDArray[Any]) -> NDArray[np.bool_]:
    """Give claims the end and mode of a template; return for which that is new."""
    stale = np.zeros(len(values), dtype=np.bool_)
    for column in ("expires_ns", "mode"):
        stale |= values[column] != template[column][0]
        values[column] = template[column][0]
    return stale


def _repeat(keys: NDArray[Any], template: NDArray[Any]) -> Rows:
    return keys, np.repeat(template, len(keys))
