"""The kernel's blocklist as a table of networks.

It opens from its pins alone, so ``ids block`` works beside a running engine and without one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.kernel import contract
from ids.kernel.bpffs import locked
from ids.kernel.clock import sample_offset_ns
from ids.kernel.contract import Lists
from ids.kernel.labels import Labels
from ids.kernel.maps import Map
from ids.kernel.networks import KEY_TYPES, NetworkSet, is_exact, key_of, network_of, not_in, set_all
from ids.kernel.pins import open_required
from ids.types import BlockMode, IPNetwork

TABLES = {(4, True): "ids_block4", (6, True): "ids_block6", (4, False): "ids_prefix4", (6, False): "ids_prefix6"}
"""Name of the map by IP version and whether it holds single addresses."""
MAP_NAMES = (*TABLES.values(), "ids_config", "ids_labels")

SWEEP_SHARE = 50
"""A sweep that took t is not repeated before 50 t: sweeping a million entries must not become the main work."""

_MODES = (BlockMode.ENFORCE, BlockMode.SHADOW)
_MAX_NS = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Block:
    """One entry of the blocklist. Times are UNIX nanoseconds."""

    network: IPNetwork
    expires_ns: int | None = None
    """None: until it is deleted."""
    mode: BlockMode = BlockMode.ENFORCE
    sid: int = 0
    """The rule that asked; 0 for an operator or a feed."""
    label: str = ""
    """Who put it here."""
    added_ns: int = 0
    packets: int = 0
    bytes: int = 0
    last_hit_ns: int | None = None


class Blocklist:
    """Blocked addresses and prefixes of both families. The program obeys each change from the next packet on."""

    def __init__(self, pin_dir: Path, maps: dict[str, Map], owned: bool = False) -> None:
        self._pin_dir = pin_dir
        self._maps = maps
        self._owned = owned
        self._tables = {kind: maps[name] for kind, name in TABLES.items()}
        self._labels = Labels(pin_dir, maps["ids_labels"])
        self._config = maps["ids_config"].view(contract.CONFIG)
        self._next_sweep_ns = 0
        self._size = 0

    @classmethod
    def open(cls, pin_dir: Path) -> Blocklist:
        """Open the blocklist of the instance that pins under ``pin_dir``; raises `KernelError`."""
        return cls(pin_dir, open_required(pin_dir, MAP_NAMES), owned=True)

    def close(self) -> None:
        """Close the maps that `open` opened."""
        del self._config
        if self._owned:
            for opened in self._maps.values():
                opened.close()

    def __enter__(self) -> Blocklist:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Return how many entries there are, expired ones that are not swept yet included: as of the last sweep."""
        if not self._next_sweep_ns:
            self.sweep()
        return self._size

    def add(self, blocks: Iterable[Block]) -> int:
        """Block networks, or change their entries, which then count anew; return how many.

        Raises `KernelError` when a table is full: entries of a blocklist are never evicted for others.
        """
        groups: dict[tuple[int, bool], dict[IPNetwork, Block]] = {}
        for block in blocks:
            groups.setdefault((block.network.version, is_exact(block.network)), {})[block.network] = block
        for kind, group in groups.items():
            keys = np.frombuffer(b"".join(key_of(network) for network in group), dtype=KEY_TYPES[kind])
            with self._changing(kind):
                self._set(kind, keys, self._values(list(group.values())))
        return sum(len(group) for group in groups.values())

    def delete(self, network: IPNetwork) -> bool:
        """Unblock a network; return whether there was exactly this entry."""
        kind = network.version, is_exact(network)
        with self._changing(kind):
            return self._tables[kind].delete(key_of(network))

    def get(self, network: IPNetwork) -> Block | None:
        """Return the entry of exactly this network, expired or not, or None."""
        raw = self._tables[network.version, is_exact(network)].get(key_of(network))
        found = np.frombuffer(raw or b"", dtype=contract.BLOCK)
        # A trie answers with the longest match, which may be another entry.
        if not len(found) or (not is_exact(network) and found["prefixlen"][0] != network.prefixlen):
            return None
        return self._block(network, found[0], sample_offset_ns())

    def list(self) -> list[Block]:
        """Return all entries that have not expired, IPv4 first, single addresses before prefixes."""
        offset_ns, now_ns = sample_offset_ns(), time.monotonic_ns()
        blocks = []
        for kind in sorted(self._tables, key=lambda kind: (kind[0], not kind[1])):
            keys, values = self.entries(kind)
            live = (values["expires_ns"] == 0) | (values["expires_ns"] > now_ns)
            blocks += [
                self._block(network_of(key.tobytes(), kind[1]), value, offset_ns)
                for key, value in zip(keys[live], values[live], strict=True)
            ]
        return blocks

    def replace(
        self, label: str, networks: NetworkSet, *, expires_ns: int | None = None, mode: BlockMode = BlockMode.ENFORCE
    ) -> tuple[int, int]:
        """Make ``networks`` the whole set of one label; return how many were added and deleted.

        New entries come before old ones go, so what is in both sets stays blocked throughout, with its counters. What
        somebody else has blocked already stays theirs.
        """
        template = self._values([Block(_ANY, expires_ns, mode, label=label)])
        added = deleted = 0
        for kind in self._tables:
            wanted = networks.keys.get(kind, np.empty(0, dtype=KEY_TYPES[kind]))
            keys, values = self.entries(kind)
            fresh = wanted[not_in(wanted, keys)]
            ours = values["label"] == template["label"][0]
            absent = not_in(keys, wanted)
            gone = keys[ours & absent]
            stale = np.zeros(len(keys), dtype=np.bool_)
            for column in ("expires_ns", "mode"):
                stale |= values[column] != template[column][0]
                values[column] = template[column][0]
            stale &= ours & ~absent
            with self._changing(kind):
                self._set(kind, fresh, np.repeat(template, len(fresh)))
                self._set(kind, keys[stale], values[stale])
                deleted += self._tables[kind].delete_many(gone)
            added += len(fresh)
        return added, deleted

    def sweep(self, now_ns: int | None = None) -> int:
        """Delete what has expired by ``now_ns`` (UNIX; None: now); return how many. The program ignores it already.

        Does nothing when it is asked again too soon; see `SWEEP_SHARE`.
        """
        started = time.monotonic_ns()
        if now_ns is None:
            limit_ns = started
        elif started < self._next_sweep_ns:
            return 0
        else:
            limit_ns = now_ns - sample_offset_ns()
        swept = size = 0
        for kind, table in self._tables.items():
            keys, values = self.entries(kind)
            expired = keys[(values["expires_ns"] != 0) & (values["expires_ns"] <= limit_ns)]
            size += len(keys) - len(expired)
            if len(expired):
                swept += table.delete_many(expired)
        self._size = size
        finished = time.monotonic_ns()
        self._next_sweep_ns = finished + SWEEP_SHARE * (finished - started)
        return swept

    def clear(self) -> int:
        """Delete all entries; return how many there were."""
        deleted = 0
        for kind, table in self._tables.items():
            with self._changing(kind):
                deleted += table.delete_many(self.entries(kind)[0])
        return deleted

    @property
    def changes(self) -> int:
        """A number that moves before and after every change that is made through this class, by any process."""
        return int(self._config["changes"][0])

    def entries(self, kind: tuple[int, bool]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return all keys (dtype as in `KEY_TYPES`) and values (`contract.BLOCK`) of one of `TABLES`, both (n,)."""
        return self._tables[kind].entries(KEY_TYPES[kind], contract.BLOCK)

    def repair(self, kind: tuple[int, bool], keys: NDArray[Any], values: NDArray[Any], extra: NDArray[Any]) -> None:
        """Put entries back as they were, and delete those that nobody ordered; see `reconcile`."""
        with self._changing(kind):
            self._set(kind, keys, values)
            self._tables[kind].delete_many(extra)

    def _set(self, kind: tuple[int, bool], keys: NDArray[Any], values: NDArray[Any]) -> None:
        """Write entries, those of prefixes with their own length; the program cannot ask the trie for it."""
        version, exact = kind
        if not exact:
            values["prefixlen"] = keys.view(contract.PREFIX4 if version == 4 else contract.PREFIX6)["prefixlen"]
        set_all(self._tables[kind], keys, values)

    @contextmanager
    def _changing(self, kind: tuple[int, bool]) -> Iterator[None]:
        """Enclose a change of a table: announce it, and then have flows judged by the prefixes again.

        Announced before and after, so that whoever compares a table with an earlier look at it knows that it was
        changed on purpose; see `reconcile`. The lock is not held meanwhile: an import must not hold up a block.
        """
        version, exact = kind
        with locked(self._pin_dir):
            self._config["changes"][0] += 1
        try:
            yield
        finally:
            with locked(self._pin_dir):
                self._config["changes"][0] += 1
                if not exact:
                    self._config["lists"][0] |= Lists.PREFIX4 if version == 4 else Lists.PREFIX6
                    self._config["generation"][0] += 1

    def _values(self, blocks: Sequence[Block]) -> NDArray[Any]:
        """Return the kernel's values of fresh entries; dtype `contract.BLOCK`."""
        values = np.zeros(len(blocks), dtype=contract.BLOCK)
        offset_ns, now_ns = sample_offset_ns(), time.monotonic_ns()
        values["expires_ns"] = [
            0 if block.expires_ns is None else min(_MAX_NS, max(1, block.expires_ns - offset_ns)) for block in blocks
        ]
        values["added_ns"] = [max(0, block.added_ns - offset_ns) if block.added_ns else now_ns for block in blocks]
        values["sid"] = [block.sid for block in blocks]
        values["label"] = [self._labels.number(block.label) for block in blocks]
        values["mode"] = [_MODES.index(block.mode) for block in blocks]
        return values

    def _block(self, network: IPNetwork, value: np.void, offset_ns: int) -> Block:
        return Block(
            network,
            int(value["expires_ns"]) + offset_ns if value["expires_ns"] else None,
            _MODES[int(value["mode"]) % len(_MODES)],
            int(value["sid"]),
            self._labels.name(int(value["label"])),
            int(value["added_ns"]) + offset_ns,
            int(value["packets"]),
            int(value["bytes"]),
            int(value["last_hit_ns"]) + offset_ns if value["last_hit_ns"] else None,
        )


_ANY = network_of(bytes(4), exact=True)
