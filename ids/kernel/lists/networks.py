"""Networks as the keys of the kernel's lists, one at a time and by the million."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.errors import KernelError
from ids.kernel.maps.table import Map
from ids.kernel.system.syscall import BpfError
from ids.types import IPNetwork

KEY4 = np.dtype("V4")
KEY6 = np.dtype("V16")
PREFIX_KEY4 = np.dtype("V8")
PREFIX_KEY6 = np.dtype("V20")
KEY_TYPES = {(4, True): KEY4, (6, True): KEY6, (4, False): PREFIX_KEY4, (6, False): PREFIX_KEY6}


def is_exact(network: IPNetwork) -> bool:
    """Whether the network is a single address."""
    return network.prefixlen == network.max_prefixlen


def key_of(network: IPNetwork) -> bytes:
    """Return the network's key: the address, or length and address as an LPM trie has them."""
    return network.network_address.packed if is_exact(network) else prefix_key(network)


def prefix_key(network: IPNetwork) -> bytes:
    """Return the key of a network in an LPM trie, single addresses included."""
    return network.prefixlen.to_bytes(4, "little") + network.network_address.packed


def network_of(key: bytes, exact: bool) -> IPNetwork:
    """Return the network of a key."""
    if exact:
        return ipaddress.ip_network(key)
    return ipaddress.ip_network((key[4:], int.from_bytes(key[:4], "little")))


@dataclass(slots=True)
class NetworkSet:
    """Many networks as arrays of keys, in the order of a blocklist's four maps."""

    keys: dict[tuple[int, bool], NDArray[Any]] = field(default_factory=dict)
    """Keys by (IP version, whether they are single addresses); dtype as in `KEY_TYPES`."""

    @classmethod
    def of(cls, networks: Iterable[IPNetwork]) -> NetworkSet:
        """Collect networks, one Python object each: for thousands."""
        parts: dict[tuple[int, bool], list[bytes]] = {}
        for network in networks:
            parts.setdefault((network.version, is_exact(network)), []).append(key_of(network))
        return cls({kind: np.frombuffer(b"".join(keys), dtype=KEY_TYPES[kind]) for kind, keys in parts.items()})

    @classmethod
    def of_numbers(
        cls,
        hosts4: NDArray[np.uint32] | Iterable[int] = (),
        prefixes4: Iterable[tuple[int, int]] = (),
        hosts6: Iterable[int] = (),
        prefixes6: Iterable[tuple[int, int]] = (),
    ) -> NetworkSet:
        """Collect addresses and (network, length) pairs given as numbers: for millions."""
        four = np.array(list(prefixes4), dtype=np.uint32).reshape(-1, 2)
        keys4 = np.empty((len(four), 2), dtype=np.uint32)
        keys4[:, 0] = four[:, 1]
        keys4[:, 1] = four[:, 0].astype(">u4").view(np.uint32)
        hosts = np.asarray(hosts4 if isinstance(hosts4, np.ndarray) else list(hosts4), dtype=np.uint32)
        six = b"".join(number.to_bytes(16, "big") for number in hosts6)
        prefixed6 = b"".join(length.to_bytes(4, "little") + number.to_bytes(16, "big") for number, length in prefixes6)
        return cls(
            {
                (4, True): np.ascontiguousarray(hosts.astype(">u4")).view(KEY4),
                (6, True): np.frombuffer(six, dtype=KEY6),
                (4, False): keys4.reshape(-1).view(PREFIX_KEY4),
                (6, False): np.frombuffer(prefixed6, dtype=PREFIX_KEY6),
            }
        )

    def __len__(self) -> int:
        return sum(len(keys) for keys in self.keys.values())


def not_in(keys: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which of ``keys`` (void dtype) are not among ``others``."""
    if not len(keys) or not len(others):
        return np.ones(len(keys), dtype=np.bool_)
    wanted, known = sortable(keys), np.sort(sortable(others))
    # Sorted and searched here: np.isin hashes first, which takes ten times as long for a million keys.
    position = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    different: NDArray[np.bool_] = known[position] != wanted
    return different


def places(keys: NDArray[Any], others: NDArray[Any]) -> NDArray[np.intp]:
    """Return where each of ``keys`` (void dtype) is among ``others``, which are distinct; -1 for those that are not."""
    if not len(keys) or not len(others):
        return np.full(len(keys), -1)
    wanted, known = sortable(keys), sortable(others)
    order = np.argsort(known)
    found = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)]
    return np.where(known[found] == wanted, found, -1)


def sortable(keys: NDArray[Any]) -> NDArray[Any]:
    """Return keys (void dtype) as what NumPy can sort: numbers where they fit, else text that keeps its last zeroes."""
    width = keys.dtype.itemsize
    keys = np.ascontiguousarray(keys)
    if width in (4, 8):
        return keys.view(f"<u{width}")
    padded = np.full((len(keys), width + 1), 1, dtype=np.uint8)
    padded[:, :width] = keys.view(np.uint8).reshape(-1, width)
    return padded.reshape(-1).view(f"S{width + 1}")


def set_all(table: Map, keys: NDArray[Any], values: NDArray[Any]) -> None:
    """Write entries into a list's map; raises `KernelError` that says which list is too small."""
    try:
        table.set_many(keys, values)
    except BpfError as error:
        if error.errno not in (errno.E2BIG, errno.ENOSPC):
            raise
        raise KernelError(
            f"{len(keys)} entries do not all fit into {table.spec.name}, which has room for {table.spec.max_entries}",
            "Raise the fast path's `blocks_entries` or `prefixes_entries` and start with fresh pins",
        ) from None
