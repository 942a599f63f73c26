"""How often a rule may alert, in bounded memory: Suricata's ``threshold`` and ``detection_filter``."""

from __future__ import annotations

from collections import OrderedDict

from ids.counters import Counters
from ids.types import Direction, Match, Threshold

MAX_TRACKED = 65536
"""Tracked (rule, address) pairs. The longest unused goes first: its source may alert once too often, never too
rarely."""


class Thresholds:
    """Counts matches a rule and tracked key, over windows that start with the first match."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._windows: OrderedDict[tuple[object, ...], list[int]] = OrderedDict()

    def passes(self, match: Match) -> bool:
        """Count this match, and return whether it may alert."""
        if match.signature.suppressed and _suppressed(match):
            return False
        threshold = match.signature.threshold
        if threshold is None:
            return True
        key = (match.signature.gid, match.signature.sid, _tracked(match, threshold))
        window = self._windows.get(key)
        if window is None or match.ts_ns - window[0] >= threshold.seconds * 1_000_000_000:
            window = self._windows[key] = [match.ts_ns, 0]
            if len(self._windows) > MAX_TRACKED:
                self._windows.popitem(last=False)
                self._counters.add("respond.threshold.evicted")
        self._windows.move_to_end(key)
        window[1] += 1
        seen, count = window[1], max(1, threshold.count)
        if threshold.type == "limit":
            return seen <= count
        if threshold.type == "filter":
            return seen > threshold.count
        if threshold.type == "threshold":
            return seen % count == 0
        return seen == count


def _ends(match: Match) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the addresses of sender and receiver."""
    flow = match.flow
    return (flow.src, flow.dst) if match.direction is Direction.TO_SERVER else (flow.dst, flow.src)


def _suppressed(match: Match) -> bool:
    """Return whether alerts of the rule are not reported of these addresses."""
    ends = {end: high << 64 | low for end, (high, low) in zip(("src_ip", "dst_ip"), _ends(match), strict=True)}
    return any(
        first <= ends[end] <= last
        for suppression in match.signature.suppressed
        for end in suppression.ends
        for first, last in suppression.runs
    )


def _tracked(match: Match, threshold: Threshold) -> object:
    flow = match.flow
    sender, receiver = _ends(match)
    tracked = {"by_src": sender, "by_dst": receiver, "by_both": (sender, receiver), "by_flow": flow.id}
    return tracked.get(threshold.track)
