"""Who is blocked: the foremost of what may be a million entries."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ids.kernel import Block, Blocklist
from ids.kernel.lists.networks import network_of
from ids.kernel.lists.tables import TABLES
from ids.types import IPNetwork

MOST = 200
"""Entries on a page."""
ORDERS = {"hits": "packets", "latest": "added_ns", "last hit": "last_hit_ns"}
"""What can be sorted by, and the column of the kernel's entries."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The foremost entries, and how many there are."""

    blocks: tuple[Block, ...]
    total: int


def foremost(pins: Path, order: str = "hits", most: int = MOST) -> Listed:
    """Return the first entries by an order of `ORDERS`; raises `KernelError`.

    Sorted in columns: only what is shown becomes an object.
    """
    column = ORDERS[order]
    with Blocklist.open(pins) as blocklist:
        found: list[tuple[int, IPNetwork]] = []
        total = 0
        for kind in TABLES:
            keys, values = blocklist.entries(kind)
            total += len(keys)
            amounts: Any = values[column]
            first = np.argpartition(amounts, -most)[-most:] if len(amounts) > most else np.arange(len(amounts))
            networks = (network_of(key, kind[1]) for key in keys[first].tolist())
            found += zip(amounts[first].tolist(), networks, strict=True)
        found.sort(key=lambda item: item[0], reverse=True)
        blocks = (blocklist.get(network) for _, network in found[:most])
        return Listed(tuple(block for block in blocks if block is not None and _holds(block)), total)


def _holds(block: Block) -> bool:
    """Return whether an entry has not expired; the kernel ignores those that wait to be swept."""
    return block.expires_ns is None or block.expires_ns > time.time_ns()
