"""What waits in one flow for something of the other side: requests for their answers, files for their closing.

A flow has a bound of its own, by number; and as a million flows could hold a million times that, what waits counts in
the memory of its protocol as well (`ids.protocols.framing.Pool`). Where there is no room in it, the flow's own older
ones give way, and what finds none even so does not wait: its parser reports it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from ids.protocols.shared import Shared

K = TypeVar("K")
T = TypeVar("T")

WAITING_BYTES = 512
"""What something that waits counts for besides the bytes that it keeps of its message."""
SPARE_BYTES = 1024
"""One thing of each flow that counts for no more waits, be there room or not, so that its answer finds it; a flow costs
more by itself."""


class Waiting(Generic[K, T]):
    """What waits, the oldest first."""

    __slots__ = ("_by_key", "_counter", "_limit", "_shared")

    def __init__(self, shared: Shared[Any], limit: int, what: str = "requests_evicted") -> None:
        """Keep no more than ``limit``; count what gives way as ``<protocol>.<what>``."""
        self._by_key: dict[K, tuple[T, int]] = {}
        self._limit = limit
        self._shared = shared
        self._counter = f"{shared.protocol}.{what}"

    def __len__(self) -> int:
        return len(self._by_key)

    def __contains__(self, key: K) -> bool:
        return key in self._by_key

    def put(self, key: K, value: T, size: int) -> list[T]:
        """Let something wait that keeps so many bytes; return what does not any more: what has the same key, the oldest
        ones, or itself.
        """
        by_key, size = self._by_key, size + WAITING_BYTES
        gone: list[T] = []
        if key in by_key:
            gone.append(self._let_go(key))
        elif len(by_key) >= self._limit:
            gone.append(self._evict())
        while not self._shared.pool.take(size):
            if by_key:
                gone.append(self._evict())
            elif size > SPARE_BYTES:
                return [*gone, value]
            else:
                size = 0
        by_key[key] = value, size
        return gone

    def grow(self, key: K, size: int) -> bool:
        """Count so many bytes more for what waits under a key; return whether there is room for them."""
        if not self._shared.pool.take(size):
            return False
        value, before = self._by_key[key]
        self._by_key[key] = value, before + size
        return True

    def get(self, key: K) -> T | None:
        """Return what waits under a key."""
        found = self._by_key.get(key)
        return None if found is None else found[0]

    def take(self, key: K) -> T | None:
        """Return what waits under a key, which it does no more."""
        return self._let_go(key) if key in self._by_key else None

    def oldest(self) -> T | None:
        """Return what has waited longest."""
        return next(iter(self._by_key.values()))[0] if self._by_key else None

    def take_oldest(self) -> T | None:
        """Return what has waited longest, which it does no more."""
        return self._let_go(next(iter(self._by_key))) if self._by_key else None

    def newest(self) -> T | None:
        """Return what began to wait last."""
        return next(reversed(self._by_key.values()))[0] if self._by_key else None

    def values(self) -> Iterable[T]:
        """Return all that waits."""
        return [value for value, _ in self._by_key.values()]

    def rest(self) -> list[T]:
        """Return all that waits, and forget it."""
        rest = [value for value, _ in self._by_key.values()]
        self.release()
        return rest

    def release(self) -> None:
        """Forget all that waits, and give its memory back."""
        self._shared.pool.give(sum([size for _, size in self._by_key.values()]))
        self._by_key.clear()

    def _evict(self) -> T:
        self._shared.counters.add(self._counter)
        return self._let_go(next(iter(self._by_key)))

    def _let_go(self, key: K) -> T:
        value, size = self._by_key.pop(key)
        self._shared.pool.give(size)
        return value
