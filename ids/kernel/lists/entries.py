"""All entries of a blocklist in columns: for a million of them, where an object each would take minutes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.kernel import contract
from ids.kernel.lists.claims import Kind, Rows
from ids.kernel.lists.networks import KEY_TYPES
from ids.types import IPNetwork, ascending

NETWORK = np.dtype([("version", "u1"), ("length", "u1"), ("high", "<u8"), ("low", "<u8")])
"""A network: IP version, prefix length, and its first address as two halves in host byte order; IPv4 is in ``low``."""

_HALF = (1 << 64) - 1


@dataclass(slots=True)
class Entries:
    """Networks with a claim each, a row a claim; both arrays have shape (n,)."""

    networks: NDArray[Any]
    """Dtype `NETWORK`."""
    values: NDArray[Any]
    """Dtype `contract.BLOCK`; times are monotonic."""

    @classmethod
    def of(cls, rows: Iterable[tuple[Kind, Rows]]) -> Entries:
        """Return the rows of the kernel's tables, or of claims, as one."""
        parts = [(networks_of(kind, keys), values) for kind, (keys, values) in rows]
        return cls(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))

    def __len__(self) -> int:
        return len(self.networks)

    def chosen(self, which: NDArray[Any] | slice) -> Entries:
        """Return some of the rows, by a mask, by numbers, or from one to another."""
        return Entries(self.networks[which], self.values[which])

    def live(self) -> Entries:
        """Return the rows that have not expired."""
        ends = self.values["expires_ns"]
        return self.chosen((ends == 0) | (ends > time.monotonic_ns()))

    def of_kind(self, kind: Kind) -> Rows:
        """Return the rows of one kind as the kernel's table has them."""
        version, exact = kind
        bits = 32 if version == 4 else 128
        mask = (self.networks["version"] == version) & ((self.networks["length"] == bits) == exact)
        return keys_of(kind, self.networks[mask]), self.values[mask]

    def by_network(self) -> NDArray[np.intp]:
        """Return the order of the rows by network: IPv4 first, then by address, the wider ones first."""
        networks = self.networks
        return np.lexsort((networks["length"], networks["low"], networks["high"], networks["version"]))

    def near(self, network: IPNetwork) -> NDArray[np.bool_]:
        """Return which rows lie within a network, or hold it."""
        found: NDArray[np.bool_] = np.zeros(len(self), np.bool_)
        mine = np.flatnonzero(self.networks["version"] == network.version)
        rows = self.networks[mine]
        shortest = np.minimum(rows["length"], network.prefixlen)
        number, bits = int(network.network_address), network.max_prefixlen
        for length in ascending(shortest).tolist():
            mask = ((1 << bits) - 1) ^ ((1 << (bits - length)) - 1)
            high, low = np.uint64(mask >> 64), np.uint64(mask & _HALF)
            wanted = number & mask
            same = (rows["high"] & high == np.uint64(wanted >> 64)) & (rows["low"] & low == np.uint64(wanted & _HALF))
            found[mine] |= same & (shortest == length)
        return found

    def texts(self) -> list[str]:
        """Spell the networks, single addresses with their length too."""
        return texts_of(self.networks)


def networks_of(kind: Kind, keys: NDArray[Any]) -> NDArray[Any]:
    """Return keys of the kernel's tables as networks."""
    version, exact = kind
    made = np.zeros(len(keys), NETWORK)
    made["version"] = version
    width = 4 if version == 4 else 16
    raw = np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), keys.dtype.itemsize)
    made["length"] = 8 * width if exact else raw[:, 0]
    address = np.ascontiguousarray(raw[:, -width:])
    if version == 4:
        made["low"] = address.view(">u4").reshape(-1)
    else:
        halves = address.view(">u8").reshape(-1, 2)
        made["high"], made["low"] = halves[:, 0], halves[:, 1]
    return made


def keys_of(kind: Kind, networks: NDArray[Any]) -> NDArray[Any]:
    """Return networks of one kind as keys of the kernel's tables."""
    version, exact = kind
    address = _packed(version, networks)
    if not exact:
        length = networks["length"].astype("<u4").view(np.uint8).reshape(-1, 4)
        address = np.concatenate([length, address], axis=1)
    return np.ascontiguousarray(address).reshape(-1).view(KEY_TYPES[kind])


def texts_of(networks: NDArray[Any]) -> list[str]:
    """Spell networks; those of one version next to each other are the fastest."""
    texts: list[str] = []
    borders = np.flatnonzero(np.diff(networks["version"])) + 1
    for part in np.split(networks, borders):
        lengths = part["length"].tolist()
        if len(part) and part["version"][0] == 4:
            octets = _packed(4, part).tolist()
            texts += [f"{a}.{b}.{c}.{d}/{length}" for (a, b, c, d), length in zip(octets, lengths, strict=True)]
        elif len(part):
            raw = _packed(6, part).tobytes()
            name, family = socket.inet_ntop, socket.AF_INET6
            texts += [f"{name(family, raw[16 * n : 16 * n + 16])}/{length}" for n, length in enumerate(lengths)]
    return texts


def networks_from(rows: Sequence[tuple[int, int, int]]) -> NDArray[Any]:
    """Return (version, length, address as a number) as networks."""
    made = np.zeros(len(rows), NETWORK)
    if rows:
        made["version"], made["length"] = [row[0] for row in rows], [row[1] for row in rows]
        made["high"], made["low"] = [row[2] >> 64 for row in rows], [row[2] & _HALF for row in rows]
    return made


def _packed(version: int, networks: NDArray[Any]) -> NDArray[np.uint8]:
    """Return first addresses as bytes, shape (n, 4) or (n, 16)."""
    if version == 4:
        return networks["low"].astype(">u4").view(np.uint8).reshape(-1, 4)
    halves = np.stack([networks["high"], networks["low"]], axis=1).astype(">u8")
    return halves.view(np.uint8).reshape(-1, 16)


def empty() -> Entries:
    """Return no entries."""
    return Entries(np.zeros(0, NETWORK), np.zeros(0, contract.BLOCK))
