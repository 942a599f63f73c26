"""Collects what the page of a replay shows, while the captures go by. It is bounded."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np

from ids.events import Event, Events
from ids.kernel.model.program import XDP_DROP
from ids.replay.page.timeline import Timeline
from ids.types import U8, PacketBatch

MAX_TIMELINES = 24
"""Captures with a plot of their own; those of a large folder are in the table alone."""
MAX_RULES = 1000
MAX_ALERTS_OF_RULE = 10
"""Alerts of one rule that are shown in full: one noisy rule must not hide the others."""
MAX_ALERTS = 500
"""Alerts that are shown in full, of all rules: some two megabytes of page."""
MAX_SOURCES = 4096
"""Addresses of which bytes or alerts are counted; the smallest go, and are counted as others."""
SEVERITIES = (1, 2, 3, 4)


class Largest:
    """Sums by key, of which the largest matter: bounded, so a small one may begin anew."""

    def __init__(self, limit: int = MAX_SOURCES) -> None:
        self._limit = limit
        self._sums: Counter[str] = Counter()

    def add(self, key: str, amount: int) -> None:
        """Add to a sum."""
        self._sums[key] += amount
        if len(self._sums) > 2 * self._limit:
            self._sums = Counter(dict(heapq.nlargest(self._limit, self._sums.items(), key=lambda item: item[1])))

    def top(self, count: int) -> list[tuple[str, int]]:
        """Return the largest sums."""
        return self._sums.most_common(count)

    def __len__(self) -> int:
        return len(self._sums)


@dataclass(slots=True)
class RuleHits:
    """What one rule did."""

    sid: int
    gid: int
    title: str
    severity: int
    origin: str
    hits: int = 0
    first: int = 0
    """Packet of the first alert,"""
    last: int = 0
    """and of the last one."""
    sources: Largest = field(default_factory=lambda: Largest(64))
    blocked: int = 0
    """Alerts that say so."""


class Collector:
    """Everything but what `ids.replay.report.ReplayReport` has already."""

    def __init__(self) -> None:
        self.timelines: dict[str, Timeline] = {}
        """By the name of the capture."""
        self.rules: dict[tuple[int, int], RuleHits] = {}
        self.alerts: list[Event] = []
        self.alerts_in_all = 0
        self.flows = 0
        self.bytes_by_source = Largest()
        self.alerts_by_source = Largest()
        self.protocols = Largest(64)

    # What `ids.replay.replay` calls.

    def batch(self, batch: PacketBatch) -> None:
        """Take the packets of a batch."""
        timeline = self._timeline(batch.source)
        if timeline is not None:
            timeline.add("packets", batch.ts_ns)
            timeline.add("bytes", batch.ts_ns, batch.wirelen)

    def verdicts(self, batch: PacketBatch, actions: U8, reasons: U8) -> None:
        """Take what the fast path made of a batch."""
        timeline = self._timeline(batch.source)
        if timeline is not None:
            timeline.add("dropped", batch.ts_ns[actions == XDP_DROP])

    def events(self, events: Events) -> None:
        """Take the events of a batch."""
        counts = events.counts
        if not ("alert" in counts or "flow" in counts):
            return
        for event in events:
            if event["event_type"] == "alert":
                self._alert(event)
            elif event["event_type"] == "flow":
                self._flow(event)

    def _timeline(self, source: str) -> Timeline | None:
        found = self.timelines.get(source)
        if found is None and len(self.timelines) < MAX_TIMELINES:
            found = self.timelines[source] = Timeline()
        return found

    def _alert(self, event: Event) -> None:
        self.alerts_in_all += 1
        alert, number = event["alert"], event.get("pcap_cnt", 0)
        source = client_of(event)
        self.alerts_by_source.add(source, 1)
        timeline = self._timeline(event.get("pcap_filename", ""))
        if timeline is not None:
            severity = min(max(int(alert["severity"]), 1), 4)
            timeline.add(f"alerts {severity}", np.array([event["ids"].get("packet_ts_ns", 0)], np.int64))
        key = alert["gid"], alert["signature_id"]
        rule = self.rules.get(key)
        if rule is None:
            if len(self.rules) >= MAX_RULES:
                return
            origin = str(event["ids"].get("rule", ""))
            rule = RuleHits(key[1], key[0], alert["signature"], alert["severity"], origin, first=number)
            self.rules[key] = rule
        rule.hits += 1
        rule.last = number
        rule.blocked += alert["action"] == "blocked"
        rule.sources.add(source, 1)
        if rule.hits <= MAX_ALERTS_OF_RULE and len(self.alerts) < MAX_ALERTS:
            self.alerts.append(event)

    def _flow(self, event: Event) -> None:
        self.flows += 1
        counts = event["flow"]
        size = counts.get("bytes_toserver", 0) + counts.get("bytes_toclient", 0)
        self.protocols.add(str(event.get("app_proto") or event.get("proto", "")), size)
        if "src_ip" in event:
            self.bytes_by_source.add(event["src_ip"], size)


def client_of(event: Event) -> str:
    """Return whom an alert names: the client of a trusted proxy, or else the source address."""
    named: Any = event.get("ids", {}).get("client", {}).get("ip") or event.get("src_ip")
    return str(named or "no IP header")


def time_of(ts_ns: int) -> str:
    """Spell a time for a reader, in UTC; a capture may claim any."""
    try:
        return datetime.fromtimestamp(ts_ns / 1e9, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):
        return "beyond any calendar"
