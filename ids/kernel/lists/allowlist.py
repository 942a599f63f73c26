"""The kernel's allow-list: networks that are never dropped, whatever else matches."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ids.kernel import contract
from ids.kernel.lists.networks import network_of, prefix_key
from ids.kernel.lists.pinned import PinnedList
from ids.kernel.maps.table import Map
from ids.kernel.system.bpffs import locked
from ids.kernel.system.clock import sample_offset_ns
from ids.types import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True)
class Allow:
    """One entry of the allow-list."""

    network: IPNetwork
    label: str = ""
    """Who put it here."""
    added_ns: int = 0
    packets: int = 0
    """Packets that it kept from being dropped."""
    bytes: int = 0


class AllowList(PinnedList):
    """Allowed networks of both families."""

    map_names = ("ids_allow4", "ids_allow6", *PinnedList.map_names)

    def __init__(self, pin_dir: Path, maps: dict[str, Map], owned: bool = False) -> None:
        super().__init__(pin_dir, maps, owned)
        self._tables = {4: maps["ids_allow4"], 6: maps["ids_allow6"]}

    def add(self, networks: Iterable[IPNetwork], label: str = "") -> None:
        """Allow networks; entries that are there already keep their counters. Raises `KernelError` when it is full."""
        value = np.zeros(1, dtype=contract.ALLOW)
        value["label"] = self._labels.number(label)
        value["added_ns"] = time.monotonic_ns()
        # Listed, because a trie's lookup answers with the longest match, which may be another entry.
        present = {entry.network for entry in self.list()}
        try:
            for network in networks:
                if network not in present:
                    self._tables[network.version].set(prefix_key(network), value.tobytes())
        finally:
            self.changed()

    def replace(self, networks: Iterable[IPNetwork], label: str) -> tuple[int, int]:
        """Have exactly these networks under a label; return how many were added and taken off. Raises `KernelError`.

        Others' entries stay as they are.
        """
        wanted, held = set(networks), self.list()
        late = [entry.network for entry in held if entry.label == label and entry.network not in wanted]
        new = wanted - {entry.network for entry in held}
        self.add(new, label)  # first: nobody who stays allowed is blocked for a moment
        for network in late:
            self.delete(network)
        return len(new), len(late)

    def delete(self, network: IPNetwork) -> bool:
        """Take a network off the list; return whether it was there."""
        deleted = self._tables[network.version].delete(prefix_key(network))
        self.changed()
        return deleted

    def covers(self, address: IPAddress) -> bool:
        """Return whether what this address sends is never dropped."""
        return self._tables[address.version].get(prefix_key(ipaddress.ip_network(address))) is not None

    @property
    def changes(self) -> int:
        """A number that moves with every change that is made through this class, by any process."""
        return int(self._config["allow_generation"][0])

    def changed(self) -> None:
        """Have the program ask the list again for the addresses that it has asked it for."""
        with locked(self._pin_dir):
            self._config["allow_generation"][0] += 1

    def list(self) -> list[Allow]:
        """Return all entries, IPv4 first."""
        offset_ns = sample_offset_ns()
        return [
            Allow(
                network_of(key.tobytes(), exact=False),
                self._labels.name(int(value["label"])),
                int(value["added_ns"]) + offset_ns,
                int(value["packets"]),
                int(value["bytes"]),
            )
            for table in self._tables.values()
            for key, value in zip(*table.entries(np.dtype(f"V{table.spec.key_bytes}"), contract.ALLOW), strict=True)
        ]
