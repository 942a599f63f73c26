"""The numbers of this moment, as plain data: for the first page, which asks for them again and again."""

from __future__ import annotations

from typing import Any

from ids.literal import literal
from ids.respond.uninspected import uninspected
from ids.snapshot import Snapshot

MOST_REASONS = 40
"""Lines of a table; the kernel has some sixty reasons, of which few are met."""


def now(seen: Snapshot) -> dict[str, Any]:
    """Return what the first page shows. Counters are since the beginning: a rate is the difference of two looks."""
    counters = seen.counters
    kernel = seen.kernel or {}
    packets = dict.fromkeys(("pass", "drop", "would_drop"), 0)
    for name, (count, _) in kernel.items():
        verdict = name.partition(".")[0]
        if verdict in packets:
            packets[verdict] += count
    reasons = sorted(((count, name, size) for name, (count, size) in kernel.items() if count), reverse=True)
    return {
        "taken_ms": seen.taken_ns // 1_000_000,
        "up": seen.up,
        "gate": seen.kernel is not None,
        "problem": literal(seen.problem),  # a script puts these where no template spells them
        "shadow": seen.shadow,
        "interfaces": [literal(name) for name in seen.interfaces],
        "heartbeat_age_s": None if seen.heartbeat_age_s is None else round(seen.heartbeat_age_s, 1),
        "uptime_s": None if seen.engine is None else seen.engine.get("stats", {}).get("uptime"),
        "lag_ms": counters.get("engine.lag_ms", 0) if seen.up else None,
        "flows": counters.get("flow.active", 0) if seen.up else None,
        "blocks": counters.get("respond.blocks", 0) if seen.up else None,
        "rules": counters.get("rules.loaded", 0) if seen.up else None,
        "totals": {
            "passed": packets["pass"],
            "dropped": packets["drop"],
            "would_drop": packets["would_drop"],
            "inspected": counters.get("decode.packets", 0) if seen.up else None,
            "alerts": counters.get("detect.alerts", 0) if seen.up else None,
        },
        "rings": [
            {"worker": ring.worker, "name": ring.name, "percent": round(100 * ring.ratio, 1)} for ring in seen.rings
        ],
        "reasons": [
            {"name": literal(name), "packets": count, "bytes": size} for count, name, size in reasons[:MOST_REASONS]
        ],
        "uninspected": [row.to_json() for row in uninspected(counters, live=True)],
    }
