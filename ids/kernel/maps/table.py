"""One BPF map, by its file descriptor, with keys and values as bytes or as NumPy arrays."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.kernel.system import syscall
from ids.kernel.system.syscall import BpfError, Command

BATCH = 8192
"""Elements per batch command: enough that the call itself costs nothing, little enough to stay in the cache."""

PER_CPU_TYPES = (5, 6, 10)
"""BPF_MAP_TYPE_PERCPU_HASH, _PERCPU_ARRAY and _LRU_PERCPU_HASH."""


ARRAY_OF_MAPS = 12
RINGBUF = 27
"""Numbers of ``enum bpf_map_type``."""


def possible_cpus() -> int:
    """Return how many values a per-CPU map has for each key."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:
        last = file.read().strip().replace(",", "-").split("-")[-1]
    return int(last) + 1


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What a map is, apart from what is in it."""

    name: str
    type: int
    key_bytes: int
    value_bytes: int
    max_entries: int
    flags: int

    def same_layout(self, other: MapSpec) -> bool:
        """Whether entries of the one are entries of the other; the number of entries may differ."""
        return (self.type, self.key_bytes, self.value_bytes) == (other.type, other.key_bytes, other.value_bytes)


def ring_spec(name: str, size: int) -> MapSpec:
    """Return what a ring of ``size`` bytes, a power of two, is."""
    return MapSpec(name, RINGBUF, 0, 0, size, 0)


def _create(spec: MapSpec, inner_fd: int = 0) -> int:
    return syscall.map_create(
        spec.type, spec.key_bytes, spec.value_bytes, spec.max_entries, spec.flags, spec.name, inner_fd
    )


class Map:
    """An open map. Close it, or use it as a context manager; what is pinned stays."""

    def __init__(self, fd: int, spec: MapSpec) -> None:
        self.fd = fd
        self.spec = spec

    @classmethod
    def create(cls, spec: MapSpec) -> Map:
        """Create a new map; raises `BpfError`. A map of maps is one of rings, of whatever size."""
        if spec.type == ARRAY_OF_MAPS:
            with cls.create(ring_spec("ids_ring", mmap.PAGESIZE)) as ring:
                return cls(_create(spec, ring.fd), spec)
        return cls(_create(spec), spec)

    @classmethod
    def of_fd(cls, fd: int, name: str) -> Map:
        """Take over a descriptor, asking the kernel what it is (``struct bpf_map_info``)."""
        map_type, _, key_bytes, value_bytes, max_entries, flags = struct.unpack_from("=6I", syscall.obj_info(fd, 80))
        return cls(fd, MapSpec(name, map_type, key_bytes, value_bytes, max_entries, flags))

    @classmethod
    def open_pin(cls, path: str, name: str) -> Map | None:
        """Open a pinned map, or return None where there is no such pin."""
        fd = syscall.obj_get(path)
        return None if fd is None else cls.of_fd(fd, name)

    def close(self) -> None:
        """Close the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Map:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def lookup_bytes(self) -> int:
        """Bytes that a lookup returns."""
        if self.spec.type in PER_CPU_TYPES:
            return (self.spec.value_bytes + 7) // 8 * 8 * possible_cpus()
        return self.spec.value_bytes

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        return syscall.map_lookup(self.fd, key, self.lookup_bytes)

    def set(self, key: bytes, value: bytes) -> None:
        """Set the value of ``key``; raises `BpfError` when the map is full."""
        syscall.map_update(self.fd, key, value)

    def delete(self, key: bytes) -> bool:
        """Delete ``key``; return whether it was there."""
        return syscall.map_delete(self.fd, key)

    def __iter__(self) -> Iterator[bytes]:
        """Go through the keys one at a time; for small maps, and for tries, whose batches old kernels lack."""
        key = syscall.map_next_key(self.fd, None, self.spec.key_bytes)
        while key is not None:
            yield key
            key = syscall.map_next_key(self.fd, key, self.spec.key_bytes)

    def entries(
        self, key_type: np.dtype[Any], value_type: np.dtype[Any], limit: int | None = None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return all keys and values as two arrays of the given types, shape (n,) each; or some ``limit`` of them.

        Entries that come or go meanwhile may or may not be among them.
        """
        try:
            return self._entries_batch(key_type, value_type, limit)
        except BpfError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, 524):
                raise
        pairs = [(key, value) for key in list(islice(self, limit)) if (value := self.get(key)) is not None]
        keys = np.frombuffer(b"".join(key for key, _ in pairs), dtype=key_type)
        return keys, np.frombuffer(b"".join(value for _, value in pairs), dtype=value_type)

    def _entries_batch(
        self, key_type: np.dtype[Any], value_type: np.dtype[Any], limit: int | None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        size = min(self.spec.max_entries, BATCH)
        cursors = (ctypes.create_string_buffer(64), ctypes.create_string_buffer(64))
        all_keys: list[NDArray[Any]] = []
        all_values: list[NDArray[Any]] = []
        first = True
        while True:
            keys, values = np.empty(size, dtype=key_type), np.empty(size, dtype=value_type)
            cursor = (0 if first else ctypes.addressof(cursors[0]), ctypes.addressof(cursors[1]))
            done, number = syscall.map_batch(
                Command.MAP_LOOKUP_BATCH, self.fd, keys.ctypes.data, values.ctypes.data, size, cursor
            )
            if number == errno.ENOSPC:  # a hash bucket holds more than a batch
                size *= 2
                continue
            if number not in (0, errno.ENOENT):
                raise BpfError(f"cannot list the map {self.spec.name}", number)
            all_keys.append(keys[:done])
            all_values.append(values[:done])
            if number == errno.ENOENT or (limit is not None and sum(map(len, all_keys)) >= limit):
                return np.concatenate(all_keys), np.concatenate(all_values)
            cursors = (cursors[1], cursors[0])
            first = False

    def set_many(self, keys: NDArray[Any], values: NDArray[Any]) -> None:
        """Set many entries with few system calls; arrays of equal length whose items have the map's sizes."""
        self._batch(Command.MAP_UPDATE_BATCH, np.ascontiguousarray(keys), np.ascontiguousarray(values))

    def delete_many(self, keys: NDArray[Any]) -> int:
        """Delete many keys; return how many were there."""
        return self._batch(Command.MAP_DELETE_BATCH, np.ascontiguousarray(keys), None)

    def _batch(self, command: Command, keys: NDArray[Any], values: NDArray[Any] | None) -> int:
        done = hit = 0
        while done < len(keys):
            count = min(BATCH, len(keys) - done)
            value_at = 0 if values is None else values.ctypes.data + done * values.itemsize
            progress, number = syscall.map_batch(
                command, self.fd, keys.ctypes.data + done * keys.itemsize, value_at, count
            )
            if number == errno.ENOENT and command == Command.MAP_DELETE_BATCH:
                done += 1  # the key behind those that were done is missing
            elif number:
                raise BpfError(f"cannot write to the map {self.spec.name} after {done + progress} entries", number)
            done += progress
            hit += progress
        return hit

    def view(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Map a BPF_F_MMAPABLE array into memory: shape (max_entries,), reads and writes go straight to the kernel."""
        size = -(-self.spec.max_entries * dtype.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(self.fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        return np.frombuffer(memory, dtype=dtype, count=self.spec.max_entries)
