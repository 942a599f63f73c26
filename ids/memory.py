"""Memory that is no longer needed, given back to the system: an attack has its end, and so has what it took.

What is freed does not leave a process by itself: the allocator keeps it between what lives on, and columns keep the
size of the largest crowd.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

TRIM_S = 60.0
"""How often `trim` is worth its time: some 20 ms for 200 MiB, during which packets wait."""

_DONTNEED = 4  # include/uapi/asm-generic/mman-common.h
_ARENA_MAX = -8  # glibc, malloc/malloc.h
_libc = ctypes.CDLL(None, use_errno=True)


class Cache(Protocol):
    """What `functools.lru_cache` makes."""

    def cache_clear(self) -> None:
        """Forget everything."""


_Cached = TypeVar("_Cached", bound=Cache)
_passing: WeakSet[Any] = WeakSet()


def passing(cache: _Cached) -> _Cached:
    """Have `trim` empty a cache of what traffic brings.

    What a crowd of senders filled it with would stay until as many others come, each bit of it between what was freed.
    """
    _passing.add(cache)
    return cache


def one_heap() -> None:
    """Have all threads that begin from now on allocate in one heap: what one frees, another uses.

    By itself glibc gives each a heap of its own, which keeps what its fullest moment took. Python's threads take turns
    anyway. Other allocators are left as they are.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_ARENA_MAX, 1)


def trim() -> None:
    """Free what lives in cycles alone and what `passing` caches hold; have the allocator give back unused pages.

    Python looks for cycles by their number, however much they hold. The allocator does nothing where it cannot (musl).
    """
    for cache in list(_passing):
        cache.cache_clear()
    gc.collect()
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(ctypes.c_size_t(0))


class Trimmer:
    """Calls `trim` once in `TRIM_S`."""

    def __init__(self, now_s: float) -> None:
        self._next_s = now_s + TRIM_S

    def tick(self, now_s: float) -> None:
        """Trim if it is time; ``now_s`` is monotonic."""
        if now_s >= self._next_s:
            self._next_s = now_s + TRIM_S
            trim()


def empty(columns: Iterable[NDArray[Any]], unused: NDArray[np.bool_]) -> None:
    """Give back the pages of columns on which all rows are unused; what stood there reads as zero from now on.

    Each column has a row for each of ``unused``. Rows on other pages keep what they hold; a view of another's memory is
    left alone.
    """
    used = np.zeros(len(unused) + 1, np.int32)
    np.cumsum(~unused, out=used[1:])
    for column in columns:
        if column.flags.owndata and column.flags.c_contiguous:
            _empty(column, used)


def _empty(column: NDArray[Any], used: NDArray[np.int32]) -> None:
    """Give back pages; ``used`` says of each row how many before it are used."""
    size, address, page = column.strides[0], column.ctypes.data, mmap.PAGESIZE
    offsets = np.arange(-address % page, column.nbytes - page + 1, page)
    idle = used[-(-(offsets + page) // size)] == used[offsets // size]
    edges = np.flatnonzero(np.diff(np.concatenate(([False], idle, [False]))))
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        where = ctypes.c_void_p(address + int(offsets[begin]))
        _libc.madvise(where, ctypes.c_size_t((end - begin) * page), _DONTNEED)
