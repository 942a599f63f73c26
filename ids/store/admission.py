"""Which alerts the memory takes while there are more than it may: a flood of one rule must not hide what others found.

Alerts are taken as they come while the rate allows it. Beyond it a tenth as many more are taken, a few of each rule.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable

from ids.events import Lines

RATE_S = 10.0
"""The time over which alerts are counted for ``store.alerts_per_s``: a burst is the most worth keeping."""

RESERVE = 0.1
"""Share of the rate that is kept for rules that alert rarely."""

OF_RULE = 5
"""Alerts of one rule, in `RATE_S`, that are taken from the reserve."""

MAX_RULES = 4096
"""Rules that are told apart in `RATE_S`; beyond them none is taken from the reserve."""

_SID = re.compile(rb'"signature_id":(\d{1,10})')
"""In a line of JSON: a string cannot hold it, for its quotes are escaped."""


class Admission:
    """Counts alerts, over `RATE_S`."""

    def __init__(self, per_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.per_s = per_s
        self._filled_s = self._begun_s = clock()
        self._tokens, self._reserve = RATE_S * per_s, RESERVE * RATE_S * per_s
        self._of_rule: Counter[bytes] = Counter()

    def admitted(self, part: Lines) -> tuple[int, bytes]:
        """Return how many of these alerts are kept, and lines of which the first so many are those."""
        self._fill()
        keep = min(part.events, int(self._tokens))
        self._tokens -= keep
        if keep == part.events or self._reserve < 1:
            return keep, part.data
        lines = part.data.split(b"\n", part.events)[: part.events]
        lines[keep:] = filter(self._is_rare, lines[keep:])
        return len(lines), b"\n".join([*lines, b""])

    def _fill(self) -> None:
        now_s = self._clock()
        new = (now_s - self._filled_s) * self.per_s
        self._filled_s = now_s
        self._tokens = min(RATE_S * self.per_s, self._tokens + new)
        self._reserve = min(max(1.0, RESERVE * RATE_S * self.per_s), self._reserve + RESERVE * new)
        if now_s - self._begun_s >= RATE_S:
            self._begun_s = now_s
            self._of_rule.clear()

    def _is_rare(self, line: bytes) -> bool:
        """Return whether the reserve has room for an alert; if so, take it."""
        found = _SID.search(line)
        if found is None or self._reserve < 1:
            return False
        sid = found[1]
        if self._of_rule[sid] >= OF_RULE or (sid not in self._of_rule and len(self._of_rule) >= MAX_RULES):
            return False
        self._of_rule[sid] += 1
        self._reserve -= 1
        return True
