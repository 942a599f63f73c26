"""Claims on the blocklist's networks: whoever blocks a network keeps that block when another source lets go of it.

The strongest claim on a network is its entry in the list that the program looks at: one that enforces before a shadow,
then the one that ends last. The program honours ends by itself, so no claim that enforces outlives an entry that does.
The others wait in a map of their own, by network and label: a label has one claim on a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.kernel import contract
from ids.kernel.lists.networks import KEY_TYPES, not_in, set_all, sortable
from ids.kernel.maps.table import Map

Kind = tuple[int, bool]
"""IP version, and whether networks are single addresses."""
Rows = tuple[NDArray[Any], NDArray[Any]]
"""Keys (dtype as in `KEY_TYPES`) and values (`contract.BLOCK`), both (n,)."""

_NAME = np.dtype(f"V{contract.CLAIM_KEY.itemsize}")


class Claims:
    """The claims that wait; an entry's own is not among them."""

    def __init__(self, table: Map) -> None:
        self._table = table

    def all(self) -> dict[Kind, Rows]:
        """Return all that wait, by kind of network."""
        named, values = self._table.entries(contract.CLAIM_KEY, contract.BLOCK)
        exact = named["prefixlen"] == np.where(named["version"] == 4, 32, 128)
        rows = {}
        for kind in KEY_TYPES:
            mask = (named["version"] == kind[0]) & (exact == kind[1])
            rows[kind] = _keys_of(kind, named[mask]), values[mask]
        return rows

    def of(self, kind: Kind, key: bytes, labels: Iterable[int]) -> list[bytes]:
        """Return the values that wait of one network, of these labels."""
        found = (self._table.get(name) for name in _names_of(kind, key, labels))
        return [value for value in found if value is not None]

    def forget(self, kind: Kind, key: bytes, labels: Iterable[int]) -> bool:
        """Delete what waits of one network, of these labels; return whether anything did."""
        return sum(map(self._table.delete, _names_of(kind, key, labels))) > 0

    def set(self, kind: Kind, rows: Rows) -> None:
        """Have claims wait; raises `KernelError` when there is no room: none is evicted for others."""
        set_all(self._table, _names(kind, *rows), rows[1])

    def delete(self, kind: Kind, rows: Rows) -> None:
        """Delete claims; those that are not there are none."""
        self._table.delete_many(_names(kind, *rows))

    def clear(self) -> None:
        """Delete all claims."""
        self._table.delete_many(self._table.entries(_NAME, contract.BLOCK)[0])


def strongest(rows: Rows, now_ns: int) -> NDArray[np.bool_]:
    """Return which claims, one of each network, are the strongest at a time (monotonic); of equals the first."""
    keys, values = rows
    # One less turns 0, which is no end, into the last of all ends.
    last_ns = values["expires_ns"] - np.uint64(1)
    order = np.lexsort((~last_ns, values["mode"], last_ns < now_ns))
    _, first = np.unique(sortable(keys)[order], return_index=True)
    mask = np.zeros(len(keys), dtype=np.bool_)
    mask[order[first]] = True
    return mask


def chosen(rows: Rows, mask: NDArray[np.bool_]) -> Rows:
    """Return some of the rows."""
    return rows[0][mask], rows[1][mask]


def together(*parts: Rows) -> Rows:
    """Return the rows of all parts, in that order; the parts are not changed through them."""
    return np.concatenate([keys for keys, _ in parts]), np.concatenate([values for _, values in parts])


def without(kind: Kind, rows: Rows, others: Rows) -> Rows:
    """Return the claims that ``others`` has none for: of the same label on the same network."""
    return chosen(rows, not_in(_names(kind, *rows), _names(kind, *others)))


def _names(kind: Kind, keys: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Return the keys of claims in their map."""
    version, exact = kind
    width = 4 if version == 4 else 16
    named = np.zeros(len(keys), dtype=contract.CLAIM_KEY)
    raw = np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), keys.itemsize)
    named["addr"][:, :width] = raw[:, -width:]
    named["label"] = values["label"]
    named["version"] = version
    named["prefixlen"] = 8 * width if exact else raw[:, 0]
    return named.view(_NAME)


def _names_of(kind: Kind, key: bytes, labels: Iterable[int]) -> Iterator[bytes]:
    for label in labels:
        value = np.zeros(1, dtype=contract.BLOCK)
        value["label"] = label
        yield _names(kind, np.frombuffer(key, dtype=KEY_TYPES[kind]), value).tobytes()


def _keys_of(kind: Kind, named: NDArray[Any]) -> NDArray[Any]:
    """Return the keys that the lists have for the networks of claims."""
    version, exact = kind
    raw = named["addr"][:, : 4 if version == 4 else 16]
    if not exact:
        length = named["prefixlen"].astype("<u4").view(np.uint8).reshape(-1, 4)
        raw = np.concatenate([length, raw], axis=1)
    return np.ascontiguousarray(raw).reshape(-1).view(KEY_TYPES[kind])
