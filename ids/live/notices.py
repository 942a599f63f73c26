"""What only a live gate reports: a budget that began to refuse, first drops and ends of blocks, the engine's life."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ids.config import Config
from ids.events import Event
from ids.kernel import Block
from ids.kernel.contract import BlockFlag
from ids.kernel.lists.blocklist import Blocklist
from ids.kernel.lists.tables import TABLES
from ids.kernel.rings.limits import Limit
from ids.respond import events
from ids.respond.gate import BlockOrder
from ids.types import Change


def count_enforcing(blocks: Blocklist) -> int:
    """Return how many entries of the kernel's list drop packets: those that are neither shadow nor expired."""
    now_ns, found = time.monotonic_ns(), 0
    for kind in TABLES:
        _, values = blocks.entries(kind)
        live = (values["expires_ns"] == 0) | (values["expires_ns"] > now_ns)
        found += int(np.count_nonzero(live & (values["mode"] == BlockFlag.ENFORCE)))
    return found


def limit_event(limit: Limit) -> Event:
    """Return the `drop` event that says that a budget began to refuse: one an episode, not one a packet."""
    return {
        "timestamp": events.timestamp(limit.ts_ns),
        "event_type": "drop",
        "in_iface": events.interface_name(limit.ifindex),
        "src_ip" if limit.by_source else "dest_ip": str(limit.address),
        "drop": {"reason": f"{limit.kind.name.lower()} budget"},
    }


def first_drops(order: BlockOrder, block: Block, now_ns: int) -> Event:
    """Return the `drop` event that says that a block works: the kernel has counted its first packets."""
    return {
        "timestamp": events.timestamp(now_ns),
        "event_type": "drop",
        "src_ip": str(order.network.network_address),
        "drop": {"reason": "rules"},
        "ids": {
            "block": {
                "network": str(order.network),
                "sid": order.sid,
                "mode": order.mode.value,
                "packets": block.packets,
                "bytes": block.bytes,
                "last_hit_ns": block.last_hit_ns,
            }
        },
    }


def end_changes(ends: Sequence[Block], swept: int, now_ns: int) -> list[Change]:
    """Return the records of claims that ran out: one each as far as they are known, and one for all the rest."""
    changes = [
        Change(
            "end", end.expires_ns or now_ns, end.network, end.sid, end.label, end.mode, end.expires_ns,
            packets=end.packets, bytes=end.bytes, detail={"added_ns": end.added_ns, "last_hit_ns": end.last_hit_ns},
        )
        for end in ends
    ]  # fmt: skip
    if swept > len(ends):
        changes.append(Change("end", now_ns, detail={"claims": swept - len(ends)}))
    return changes


def life_change(kind: Literal["start", "reload", "stop"], config: Config, **detail: Any) -> Change:
    """Return the record of a start, a reload or a stop; of ``detail``, what is not empty."""
    known = {"pid": os.getpid(), "interfaces": config.interfaces, "mode": config.respond.mode, **detail}
    return Change(kind, time.time_ns(), detail={name: value for name, value in known.items() if value})
