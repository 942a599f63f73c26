"""What older versions of the contract kept in their maps, as they had it: so that a newer program can take it over.

Whoever raises `contract.VERSION` adds here, under the version before, what `current` said then; the dtypes of structs
that change are copied out as they were. Only maps are named whose content is worth keeping.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ids.kernel import contract


class Format(NamedTuple):
    """Keys and values of one map."""

    key: np.dtype[Any]
    value: np.dtype[Any]


LISTS = (
    "ids_labels", "ids_block4", "ids_block6", "ids_prefix4", "ids_prefix6", "ids_claims", "ids_allow4", "ids_allow6",
)  # fmt: skip
"""What people, feeds and rules have ordered. All else that is kept would come again by itself."""

_U4, _U8 = np.dtype("<u4"), np.dtype("<u8")

_BLOCK_4 = np.dtype(
    [
        ("expires_ns", "<u8"), ("added_ns", "<u8"), ("packets", "<u8"), ("bytes", "<u8"), ("last_hit_ns", "<u8"),
        ("sid", "<u4"), ("label", "<u2"), ("mode", "u1"), ("prefixlen", "u1"), ("not_allowed", "<u4"),
        ("spare2", "<u4"),
    ]
)  # fmt: skip
_CLAIM_KEY_4 = np.dtype([("addr", "u1", 16), ("label", "<u2"), ("version", "u1"), ("prefixlen", "u1")])
_ALLOW_4 = np.dtype([("packets", "<u8"), ("bytes", "<u8"), ("added_ns", "<u8"), ("label", "<u2"), ("spare", "u1", 6)])
_LABEL_4 = np.dtype([("name", "u1", 64)])
_ADDR6_4 = np.dtype([("half_be", "<u8", 2)])
_PREFIX4_4 = np.dtype([("prefixlen", "<u4"), ("addr_be", "<u4")])
_PREFIX6_4 = np.dtype([("prefixlen", "<u4"), ("addr_be", "u1", 16)])
_FLOW4_4 = np.dtype([("addr_be", "<u4", 2), ("port_be", "<u2", 2), ("vlan_proto", "<u4")])
_FLOW6_4 = np.dtype([("addr", _ADDR6_4, 2), ("port_be", "<u2", 2), ("vlan_proto", "<u4")])
_FLOW_4 = np.dtype(
    [
        ("first_ns", "<u8"), ("last_ns", "<u8"), ("packets", "<u8", 2), ("bytes", "<u8", 2), ("shown", "<u4", 2),
        ("depth", "<u4"), ("isn", "<u4", 2), ("generation", "<u4", 2), ("state", "u1"), ("verdict", "u1"),
        ("client", "u1"), ("fins", "u1"), ("opened", "u1"), ("cut", "u1"), ("spare", "u1", 6),
    ]
)  # fmt: skip
_FLOW_5 = np.dtype(
    [
        ("first_ns", "<u8"), ("last_ns", "<u8"), ("packets", "<u8", 2), ("bytes", "<u8", 2), ("shown", "<u4", 2),
        ("depth", "<u4"), ("isn", "<u4", 2), ("generation", "<u4", 2), ("state", "u1"), ("verdict", "u1"),
        ("client", "u1"), ("fins", "u1"), ("opened", "u1"), ("cut", "u1"), ("charged", "u1"), ("admitted", "u1"),
        ("fragmented", "<u4"), ("neighbour", "<u4"), ("hearsay", "u1"), ("asked", "u1"), ("spare", "u1", 2),
    ]
)  # fmt: skip

_LISTS_4 = {
    "ids_labels": Format(_U4, _LABEL_4),
    "ids_block4": Format(_U4, _BLOCK_4),
    "ids_block6": Format(_ADDR6_4, _BLOCK_4),
    "ids_prefix4": Format(_PREFIX4_4, _BLOCK_4),
    "ids_prefix6": Format(_PREFIX6_4, _BLOCK_4),
    "ids_claims": Format(_CLAIM_KEY_4, _BLOCK_4),
    "ids_allow4": Format(_PREFIX4_4, _ALLOW_4),
    "ids_allow6": Format(_PREFIX6_4, _ALLOW_4),
    "ids_proven4": Format(_U4, _U8),
    "ids_proven6": Format(_ADDR6_4, _U8),
}

FORMATS: dict[int, dict[str, Format]] = {
    4: {**_LISTS_4, "ids_flows4": Format(_FLOW4_4, _FLOW_4), "ids_flows6": Format(_FLOW6_4, _FLOW_4)},
    5: {**_LISTS_4, "ids_flows4": Format(_FLOW4_4, _FLOW_5), "ids_flows6": Format(_FLOW6_4, _FLOW_5)},
}
"""By contract version, then by map."""


def current() -> dict[str, Format]:
    """Return what this version keeps in these maps."""
    return {
        "ids_labels": Format(_U4, contract.LABEL),
        "ids_block4": Format(_U4, contract.BLOCK),
        "ids_block6": Format(contract.ADDR6, contract.BLOCK),
        "ids_prefix4": Format(contract.PREFIX4, contract.BLOCK),
        "ids_prefix6": Format(contract.PREFIX6, contract.BLOCK),
        "ids_claims": Format(contract.CLAIM_KEY, contract.BLOCK),
        "ids_allow4": Format(contract.PREFIX4, contract.ALLOW),
        "ids_allow6": Format(contract.PREFIX6, contract.ALLOW),
        "ids_flows4": Format(contract.FLOW4, contract.FLOW),
        "ids_flows6": Format(contract.FLOW6, contract.FLOW),
        "ids_proven4": Format(_U4, _U8),
        "ids_proven6": Format(contract.ADDR6, _U8),
    }
