"""Which protocol exchanges have no events, because a rule says so (Suricata's ``config: logging disable``)."""

from __future__ import annotations

from collections.abc import Sequence

from ids.counters import Counters
from ids.types import FlowColumns, FlowPlace, Match, Transaction

MAX_EXCHANGES = 256
"""Exchanges of one flow that are remembered; of more, those that were found first are logged."""


class Unlogged:
    """Remembers exchanges from the match of such a rule to the end of the exchange."""

    def __init__(self, flows: FlowColumns, counters: Counters) -> None:
        self._counters = counters
        self._kept: FlowPlace[dict[tuple[str, int, int], None]] = flows.place(dict)

    def note(self, matches: Sequence[Match]) -> None:
        """Remember what rules say of the exchanges in which they matched."""
        for match in matches:
            row = match.transaction
            if not match.signature.unlogged or row is None:
                continue
            kept = self._kept.of(match.flow)
            kept[row.key] = None
            if len(kept) > MAX_EXCHANGES:
                del kept[next(iter(kept))]
                self._counters.add("events.logged_nevertheless")

    def logged(self, rows: list[Transaction]) -> list[Transaction]:
        """Return those of some exchanges that have events."""
        if not self._kept.by_id:
            return rows
        return [row for row in rows if row.key not in (self._kept.get(row.flow) or ())]
