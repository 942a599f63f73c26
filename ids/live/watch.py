"""Log loudly, once and again, that packets pass uninspected: how many, why, whose, and what to set."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from ids.respond.uninspected import Uninspected, uninspected
from ids.types import IPAddress

log = logging.getLogger(__name__)

Missed = Callable[[], Counter[IPAddress]]
"""Counts packets for which there was no room, by who opened their connections, since the beginning."""
Unbegun = Callable[[int], Counter[IPAddress]]
"""Counts connections without a beginning since a moment (UNIX ns), by who spoke first."""
FOREMOST = 3
"""Sources that are named."""


class Watch:
    """Compares what went uninspected with what was logged of it."""

    def __init__(self, period_s: float, missed: Missed, unbegun: Unbegun = lambda _: Counter()) -> None:
        """``period_s``: seconds between two reports; the first comes at once."""
        self.period_s = period_s
        self._missed, self._unbegun = missed, unbegun
        self._missed_before: Counter[IPAddress] = missed()
        self._before: dict[str, Uninspected] = {}
        self._reported: dict[str, Uninspected] = {}
        self._started = self._next = time.monotonic()
        self._since_ns = time.time_ns()

    def begin(self, counters: Mapping[str, int]) -> None:
        """Take what is counted already for known: the kernel counts on from one engine to the next."""
        self._before = self._reported = {row.reason: row for row in uninspected(counters, live=True)}

    def sum_up(self, counters: Mapping[str, int]) -> None:
        """Log what went uninspected in all, by intent or not; to be called at the end."""
        rows = (_since(self._before.get(row.reason), row) for row in uninspected(counters, live=True))
        log.info("uninspected in all: %s", ". ".join(str(row) for row in rows if row is not None) or "nothing")

    def check(self, counters: Mapping[str, int]) -> None:
        """Report what was lost since the last report, if anything was and it is time."""
        now = time.monotonic()
        if now < self._next:
            return
        losses = [row for row in uninspected(counters, live=True) if not row.intended]
        fresh = [more for row in losses if (more := _since(self._reported.get(row.reason), row)) is not None]
        if not fresh:
            return
        missed = self._missed()
        log.warning(
            "UNINSPECTED traffic passed in the last %.0f s. %s%s%s",
            max(1.0, now - self._started), ". ".join(map(str, fresh)), _whose(missed - self._missed_before),
            self._strangers(fresh),
        )  # fmt: skip
        self._missed_before = missed
        self._reported = {row.reason: row for row in losses}
        self._started, self._since_ns = now, time.time_ns()
        self._next = now + self.period_s

    def _strangers(self, fresh: list[Uninspected]) -> str:
        """Name whose connections have no beginning, where there were such."""
        if not any(row.reason == "midstream" for row in fresh):
            return ""
        foremost = [f"{address} ({count})" for address, count in self._unbegun(self._since_ns).most_common(FOREMOST)]
        return f". Without a beginning were connections of {', '.join(foremost)}" if foremost else ""


def _whose(missed: Counter[IPAddress]) -> str:
    """Name those who opened the connections of most of it."""
    total = missed.total()
    if not total:
        return ""
    foremost = (f"{address} ({100 * count / total:.0f} %)" for address, count in missed.most_common(FOREMOST))
    return f". Of connections opened by {', '.join(foremost)}"


def _since(before: Uninspected | None, now: Uninspected) -> Uninspected | None:
    """Return what came since a report, None for nothing."""
    if before is None:
        return now
    more = replace(
        now,
        flows=_more(before.flows, now.flows),
        packets=_more(before.packets, now.packets),
        bytes=_more(before.bytes, now.bytes),
    )
    return more if more.amount else None


def _more(before: int | None, now: int | None) -> int | None:
    """Return the difference; a worker that was started again counts from zero."""
    return None if now is None else max(0, now - (before or 0))
