"""The kernel's tables of blocked networks, by family and by whether they hold single addresses, and their changes.

A change is announced, and at no moment does it leave a network without a block that had one and is to have one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.kernel import contract
from ids.kernel.contract import Lists
from ids.kernel.lists.claims import Claims, Kind, Rows, chosen, strongest, without
from ids.kernel.lists.networks import KEY_TYPES, not_in, places, set_all
from ids.kernel.lists.pinned import PinnedList
from ids.kernel.maps.table import Map
from ids.kernel.system.bpffs import at_work, is_at_work, locked

TABLES = {(4, True): "ids_block4", (6, True): "ids_block6", (4, False): "ids_prefix4", (6, False): "ids_prefix6"}
"""Name of the map by IP version and whether it holds single addresses."""

_ORDERED = ["expires_ns", "added_ns", "sid", "label", "mode"]
COUNTED = ["packets", "bytes", "last_hit_ns"]
"""Columns of an entry: what a claim says, and what the program counts of the network, whosever claim is in force."""


class BlockTables(PinnedList):
    """The tables, and the claims that wait behind their entries."""

    map_names = (*TABLES.values(), "ids_claims", *PinnedList.map_names)

    def __init__(self, pin_dir: Path, maps: dict[str, Map], owned: bool = False) -> None:
        super().__init__(pin_dir, maps, owned)
        self._tables = {kind: maps[name] for kind, name in TABLES.items()}
        self._claims = Claims(maps["ids_claims"])

    @property
    def changes(self) -> int:
        """A number that moves before and after every change that is made through this class, by any process."""
        return int(self._config["changes"][0])

    @property
    def changing(self) -> bool:
        """Whether a change is under way, in any process: tables are neither as they were nor as they are to be."""
        return is_at_work(self._pin_dir)

    def entries(self, kind: tuple[int, bool]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return all keys (dtype as in `KEY_TYPES`) and values (`contract.BLOCK`) of one of `TABLES`, both (n,)."""
        return self._tables[kind].entries(KEY_TYPES[kind], contract.BLOCK)

    def repair(self, kind: tuple[int, bool], keys: NDArray[Any], values: NDArray[Any], extra: NDArray[Any]) -> None:
        """Put entries back as they were, and delete those that nobody ordered; see `reconcile`."""
        with self.announced(kind):
            self.write(kind, keys, values)
            self._tables[kind].delete_many(extra)

    def waiting(self) -> dict[Kind, Rows]:
        """Return all claims that wait behind entries, by table."""
        return self._claims.all()

    def capacity(self, kind: Kind) -> int:
        """Return how many entries a table holds."""
        return self._tables[kind].spec.max_entries

    def remove(self, kind: Kind, keys: NDArray[Any]) -> int:
        """Delete entries; return how many there were."""
        return self._tables[kind].delete_many(keys)

    def entry(self, kind: Kind, key: bytes) -> bytes | None:
        """Return the value of exactly this entry."""
        raw = self._tables[kind].get(key)
        # A trie answers with the longest match, which may be another entry.
        if raw is None or (not kind[1] and np.frombuffer(raw, contract.BLOCK)["prefixlen"][0] != key[0]):
            return None
        return raw

    def look(self, kind: Kind, keys: Iterable[bytes]) -> tuple[Rows, Rows]:
        """Return the entries of some networks, and the claims that wait behind them."""
        held = [(key, value) for key in keys if (value := self.entry(kind, key)) is not None]
        labels = self._labels.numbers() if held else []
        waiting = [(key, value) for key, _ in held for value in self._claims.of(kind, key, labels)]
        return _rows(kind, held), _rows(kind, waiting)

    def settle(self, kind: Kind, held: Rows, waiting: Rows, claims: Rows) -> None:
        """Give some networks the claims that they are to have, instead of those that are held and wait.

        Those that wait come first, then what is in force changes, then goes what has no claim: at no moment is a
        network without a block that is to have one. An entry keeps its counts when another's claim takes its place.
        """
        wins = strongest(claims, time.monotonic_ns())
        beaten = chosen(claims, ~wins)
        self._claims.set(kind, beaten)
        keys, values = chosen(claims, wins)
        at = places(keys, held[0])
        before = held[1][at[at >= 0]]
        now = values[at >= 0]
        handed = before["label"] != now["label"]
        for column in COUNTED:
            now[column][handed] = before[column][handed]
        values[at >= 0] = now
        same = at >= 0
        same[same] = before[_ORDERED] == now[_ORDERED]
        self.write(kind, keys[~same], values[~same])
        self._claims.delete(kind, without(kind, waiting, beaten))
        self._tables[kind].delete_many(held[0][not_in(held[0], keys)])

    def write(self, kind: tuple[int, bool], keys: NDArray[Any], values: NDArray[Any]) -> None:
        """Write entries, those of prefixes with their own length; the program cannot ask the trie for it."""
        version, exact = kind
        if not exact:
            values["prefixlen"] = keys.view(contract.PREFIX4 if version == 4 else contract.PREFIX6)["prefixlen"]
        set_all(self._tables[kind], keys, values)

    @contextmanager
    def announced(self, kind: tuple[int, bool]) -> Iterator[None]:
        """Enclose a change of a table: announce it, and then have flows judged by the prefixes again.

        Announced before, throughout and after, so that whoever compares a table with an earlier look at it knows that
        it was changed on purpose; see `reconcile`. `locked` is not held meanwhile: an import must not hold up a block.
        """
        version, exact = kind
        with at_work(self._pin_dir):
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


def ended(values: NDArray[Any], limit_ns: int) -> NDArray[np.bool_]:
    """Return which entries have expired by a time (monotonic)."""
    found: NDArray[np.bool_] = (values["expires_ns"] != 0) & (values["expires_ns"] <= limit_ns)
    return found


def _rows(kind: Kind, pairs: Sequence[tuple[bytes, bytes]]) -> Rows:
    """Return keys and values as arrays."""
    keys, values = b"".join(key for key, _ in pairs), b"".join(value for _, value in pairs)
    return np.frombuffer(keys, dtype=KEY_TYPES[kind]), np.frombuffer(values, dtype=contract.BLOCK)
