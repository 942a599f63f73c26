"""Says in the log, at once and again while it lasts, that packets pass uninspected, how many, why, and whose."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping

from ids.kernel import FastPath
from ids.types import IPAddress

log = logging.getLogger(__name__)

AGAIN_S = 30.0
"""Between two warnings; the first is given within a second."""
FOREMOST = 3
"""Sources that are named."""
REASONS = ("pass.ring_full", "pass.thinned", "pass.unfair")
"""What the engine was too slow for, or its rings too small."""


class Unseen:
    """Watches the kernel's counters. Ask it once a second."""

    def __init__(self, fastpath: FastPath, clock: Callable[[], float] = time.monotonic) -> None:
        self._fastpath = fastpath
        self._clock = clock
        self._reasons = self._counted()
        self._missed: Counter[IPAddress] = fastpath.missed()
        self._warned = float("-inf")
        self._since = clock()

    def check(self) -> None:
        """Log what went uninspected since the last warning, if anything did and that is long enough ago."""
        now = self._clock()
        if now - self._warned < AGAIN_S:
            return
        reasons = self._counted()
        lost = {name: count - self._reasons[name] for name, count in reasons.items() if count > self._reasons[name]}
        if not lost:
            self._since = now
            return
        missed = self._fastpath.missed()
        log.warning(
            "%d packets passed uninspected in the last %.0f s, for the engine is too slow for all that comes: %s%s",
            sum(lost.values()), max(1.0, now - self._since),
            ", ".join(f"{name} {count}" for name, count in lost.items()), _whose(missed - self._missed),
        )  # fmt: skip
        self._reasons, self._missed, self._warned, self._since = reasons, missed, now, now

    def _counted(self) -> Mapping[str, int]:
        counted = self._fastpath.stats()
        return {name: counted[name][0] for name in REASONS}


def _whose(missed: Counter[IPAddress]) -> str:
    """Name those who opened the connections of most of them."""
    total = missed.total()
    if not total:
        return ""
    foremost = (f"{address} {100 * count / total:.0f} %" for address, count in missed.most_common(FOREMOST))
    return f"; of connections opened by {', '.join(foremost)}"
