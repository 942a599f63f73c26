"""Log loudly, once and again, that packets pass uninspected: how many, why, whose, and what to set."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from ids.respond.uninspected import Uninspected, uninspected

log = logging.getLogger(__name__)

Whose = Callable[[int], str]
"""Names the sources with the most uninspected traffic since a moment (UNIX ns); empty where there are none."""


class Watch:
    """Compares what went uninspected with what was logged of it."""

    def __init__(self, period_s: float, whose: Whose) -> None:
        """``period_s``: seconds between two reports; the first comes at once."""
        self.period_s = period_s
        self._whose = whose
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
        whose = self._whose(self._since_ns)
        log.warning(
            "UNINSPECTED traffic passed in the last %.0f s. %s%s",
            max(1.0, now - self._started), ". ".join(map(str, fresh)), f". Mostly that of {whose}" if whose else "",
        )  # fmt: skip
        self._reported = {row.reason: row for row in losses}
        self._started, self._since_ns = now, time.time_ns()
        self._next = now + self.period_s


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
