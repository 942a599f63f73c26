"""What the model remembers: the maps of ``bpf/ids_maps.h`` as Python objects, keyed by the kernel's own key bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ids.kernel.contract import LIMIT_KINDS, BlockFlag

Entry = TypeVar("Entry")
Value = TypeVar("Value")

MAX_ENTRIES = 1 << 17
"""Entries of each table that the program fills by itself, as many as the kernel's tables have by default. The one added
first goes when it is full: near enough to the kernel's least recently used, whose order differs by CPU anyway."""


class Bounded(dict[bytes, Value], Generic[Value]):
    """A table that lets its oldest entry go when it is full."""

    def __init__(self, limit: int = MAX_ENTRIES) -> None:
        super().__init__()
        self.limit = limit
        self.evicted = 0

    def __setitem__(self, key: bytes, value: Value) -> None:
        if len(self) >= self.limit and key not in self:
            del self[next(iter(self))]
            self.evicted += 1
        super().__setitem__(key, value)


class Trie(Generic[Entry]):
    """Longest-prefix match: a dictionary for each length in use, the longest asked first."""

    def __init__(self) -> None:
        self._by_length: dict[int, dict[int, Entry]] = {}
        self._lengths: list[int] = []

    def add(self, address: bytes, length: int, entry: Entry) -> None:
        """Add the entry of a prefix, or put it in the place of the present one."""
        if length not in self._by_length:
            self._by_length[length] = {}
            self._lengths = sorted(self._by_length, reverse=True)
        self._by_length[length][_head(address, length)] = entry

    def lookup(self, address: bytes) -> Entry | None:
        """Return the entry of the longest prefix that holds the address, or None."""
        return next(self.matches(address), None)

    def matches(self, address: bytes) -> Iterator[Entry]:
        """Yield the entries of all prefixes that hold the address, the longest first."""
        number, bits = int.from_bytes(address, "big"), len(address) * 8
        for length in self._lengths:
            entry = self._by_length[length].get(number >> (bits - length))
            if entry is not None:
                yield entry

    def entries(self) -> Iterable[tuple[int, int, Entry]]:
        """Return (length, leading bits, entry) of all."""
        return [(length, head, entry) for length, table in self._by_length.items() for head, entry in table.items()]


def _head(address: bytes, length: int) -> int:
    return int.from_bytes(address, "big") >> (len(address) * 8 - length)


@dataclass(slots=True)
class BlockEntry:
    """``struct ids_block``."""

    expires_ns: int = 0
    mode: int = BlockFlag.ENFORCE
    packets: int = 0
    bytes: int = 0
    last_hit_ns: int = 0


@dataclass(slots=True)
class AllowEntry:
    """``struct ids_allow``."""

    packets: int = 0
    bytes: int = 0


@dataclass(slots=True)
class BudgetEntry:
    """``struct ids_budget``."""

    due_ns: int
    refused: int = 0
    episode_ns: int = 0


@dataclass(slots=True)
class ModelConfig:
    """``struct ids_config``, as far as the program reads it."""

    lists: int = 0
    generation: int = 0
    heartbeat_ns: int = 0
    depth_tcp: int = 0
    depth_udp: int = 0
    depth_other: int = 0
    flags: int = 0
    limits: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)] * LIMIT_KINDS)
    """(interval_ns, burst_ns) by `LimitKind`."""
    gone_after_ns: int = 0
    proven_ns: int = 0
    secret: tuple[int, int] = (0, 0)
    reflection_bytes: int = 0
    workers: int = 1
    repeats: int = 0
    shared_ports: tuple[bytes, ...] = ()
    """In network byte order."""

    @classmethod
    def of(cls, row: Any) -> ModelConfig:
        """Read the kernel's configuration: one item of dtype `ids.kernel.contract.CONFIG`."""
        values = {name: int(row[name]) for name in cls.__slots__ if name not in ("limits", "secret", "shared_ports")}
        limits = [(int(limit["interval_ns"]), int(limit["burst_ns"])) for limit in row["limits"]]
        shared = tuple(int(port).to_bytes(2, "little") for port in row["shared_port_be"] if port)
        secret = int(row["secret"][0]), int(row["secret"][1])
        return cls(**values, limits=limits, secret=secret, shared_ports=shared)
