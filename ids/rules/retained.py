"""One bound for all that rules keep of flows: windows of streams, buffers of requests that wait for their response."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from ids.counters import Counters

HOLDER_BYTES = 512
"""What a holder costs besides its content, so that many empty ones are bounded too."""


class Holder(Protocol):
    """Something that keeps bytes of a flow and can let them go."""

    def forget(self) -> None:
        """Let the bytes go; the holder stays usable."""


class Retained:
    """Accounts for the bytes of all holders; above the cap, the one that was silent longest must forget."""

    def __init__(self, memcap_bytes: int, counters: Counters) -> None:
        self.memcap_bytes = memcap_bytes
        self._counters = counters
        self._holders: OrderedDict[int, tuple[Holder, int]] = OrderedDict()
        self.total = 0

    def __len__(self) -> int:
        return len(self._holders)

    def hold(self, holder: Holder, size: int) -> None:
        """Note that ``holder`` now keeps ``size`` bytes and was just used; others may have to forget."""
        key = id(holder)
        known = self._holders.pop(key, None)
        cost = size + HOLDER_BYTES
        self.total += cost - (known[1] if known else 0)
        self._holders[key] = (holder, cost)
        while self.total > self.memcap_bytes and len(self._holders) > 1:
            _, (victim, freed) = self._holders.popitem(last=False)
            self.total -= freed
            victim.forget()
            self._counters.add("rules.memcap.evicted")
            self._counters.add("rules.memcap.bytes", freed - HOLDER_BYTES)

    def release(self, holder: Holder) -> None:
        """Forget about a holder that is no longer used."""
        known = self._holders.pop(id(holder), None)
        if known is not None:
            self.total -= known[1]
