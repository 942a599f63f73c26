"""Entries of the blocklist as plain data, the same in all that prints them as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ids.kernel import Block
from ids.state.comments import Key


def block_data(entry: Block, notes: Mapping[Key, str]) -> dict[str, Any]:
    """Return an entry with the claim in force, the claims that wait behind it (``others``), and comments."""
    return {
        "network": str(entry.network), **_claim_data(entry, notes),
        "packets": entry.packets, "bytes": entry.bytes, "last_hit_ns": entry.last_hit_ns,
        "others": [_claim_data(claim, notes) for claim in entry.others],
    }  # fmt: skip


def _claim_data(claim: Block, notes: Mapping[Key, str]) -> dict[str, Any]:
    return {
        "mode": claim.mode.value, "sid": claim.sid, "label": claim.label, "added_ns": claim.added_ns,
        "expires_ns": claim.expires_ns, "comment": notes.get((str(claim.network), claim.label)),
    }  # fmt: skip
