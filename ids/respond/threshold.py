"""How often a rule may alert, and what else it does when it matches too often, in bounded memory: Suricata's
``threshold``, ``detection_filter`` and ``rate_filter``.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

from ids.counters import Counters
from ids.respond.parties import ends_of
from ids.types import Direction, Match, Rate

MAX_TRACKED = 65536
"""Tracked (rule, address) pairs. The longest unused goes first: its source may alert once too often, never too
rarely."""


class Hearing(Enum):
    """What may come of a match."""

    ALERTS = "alerts"
    SILENT = "silent"
    """What the rule asks for, without an alert: there were enough of these."""
    NOT = "not"
    """Nothing: the rule has not matched often enough yet."""


class Thresholds:
    """Counts matches a rule and tracked key, over windows that start with the first match."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._windows: OrderedDict[tuple[object, ...], list[int]] = OrderedDict()
        self._rates: OrderedDict[tuple[object, ...], list[int]] = OrderedDict()
        """Start of the window, matches in it, and since when the other action is in force; -1: it is not."""

    def exceeds(self, match: Match, rate: Rate) -> bool:
        """Count this match, and return whether the rule asks for its other action."""
        key = (match.signature.gid, match.signature.sid, _tracked(match, rate.track))
        found = self._rates.get(key)
        if found is None:
            self._rates[key] = [match.ts_ns, 1, -1]
            self._bound(self._rates)
            return False
        self._rates.move_to_end(key)
        if found[2] >= 0:
            if match.ts_ns - found[2] <= rate.timeout_s * 1_000_000_000:
                return True
            found[2] = -1
        elif match.ts_ns - found[0] > rate.seconds * 1_000_000_000:
            found[0], found[1] = match.ts_ns, 1
        else:
            found[1] += 1
            if found[1] > rate.count:
                found[2] = match.ts_ns
        return found[2] >= 0

    def _bound(self, kept: OrderedDict[tuple[object, ...], list[int]]) -> None:
        if len(kept) > MAX_TRACKED:
            kept.popitem(last=False)
            self._counters.add("respond.threshold.evicted")

    def heard(self, match: Match) -> Hearing:
        """Count this match, and return what may come of it."""
        if match.signature.suppressed and _suppressed(match):
            return Hearing.SILENT
        threshold = match.signature.threshold
        if threshold is None:
            return Hearing.ALERTS
        key = (match.signature.gid, match.signature.sid, _tracked(match, threshold.track))
        window = self._windows.get(key)
        if window is None or match.ts_ns - window[0] >= threshold.seconds * 1_000_000_000:
            window = self._windows[key] = [match.ts_ns, 0]
            self._bound(self._windows)
        self._windows.move_to_end(key)
        window[1] += 1
        seen, count = window[1], max(1, threshold.count)
        if threshold.type == "limit":
            return Hearing.ALERTS if seen <= count else Hearing.SILENT
        if threshold.type == "filter":
            return Hearing.ALERTS if seen > threshold.count else Hearing.NOT
        if threshold.type == "threshold":
            return Hearing.ALERTS if seen % count == 0 else Hearing.NOT
        return Hearing.NOT if seen < count else Hearing.ALERTS if seen == count else Hearing.SILENT


def _suppressed(match: Match) -> bool:
    """Return whether alerts of the rule are not reported of these addresses: of a trusted proxy, or its client."""
    flow, to_server = match.flow, match.direction is Direction.TO_SERVER
    plain = (flow.src, flow.dst) if to_server else (flow.dst, flow.src)
    return any(
        first <= high << 64 | low <= last
        for ends in {plain, ends_of(match)}
        for suppression in match.signature.suppressed
        for end, (high, low) in zip(("src_ip", "dst_ip"), ends, strict=True)
        if end in suppression.ends
        for first, last in suppression.runs
    )


def _tracked(match: Match, track: str) -> object:
    flow = match.flow
    sender, receiver = ends_of(match)
    tracked = {
        "by_src": sender,
        "by_dst": receiver,
        "by_both": (min(sender, receiver), max(sender, receiver)),
        "by_flow": flow.id,
    }
    return tracked.get(track)
