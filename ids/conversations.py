"""What is found in one version of a connection is found in the connection: once, whichever version shows it.

A connection whose bytes are in doubt has variants (`ids.flow.versions`), which are inspected like flows of their own.
Here their matches become matches of the connection; and where the settings say so, a doubt alone is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from ids.counters import Counters
from ids.flow.notes import Note
from ids.types import Action, Direction, FlowBatch, FlowColumns, FlowPlace, Match, Signature

MAX_SEEN = 256
"""Matches of one connection that are remembered to tell repetitions; beyond it, none is taken for one."""

CONFLICT = Signature(
    sid=1,
    gid=20,
    title="TCP segments of one connection disagree about its bytes",
    severity=2,
    classtype="bad-unknown",
    action=Action.DROP,
    origin="stream.on_conflict",
)
"""What ``stream.on_conflict: drop`` finds. Of a generator of its own: no rule can have its number by accident."""

_Identity: TypeAlias = tuple[int, int, str, Direction]


class Conversations:
    """Knows what was found in which connection."""

    def __init__(self, flows: FlowColumns, counters: Counters, *, drop_conflicts: bool) -> None:
        self._flows = flows
        self._counters = counters
        self._drop_conflicts = drop_conflicts
        self._seen: FlowPlace[set[_Identity]] = flows.place(set)

    def conflicts(self, flows: FlowBatch) -> list[Match]:
        """Return a match for each connection in which a conflict was noted, where that is reason enough."""
        if not self._drop_conflicts:
            return []
        return [
            Match(
                CONFLICT, self._flows.view(noted.slot), Direction(noted.direction), noted.ts_ns, noted.number,
                detector="stream",
            )
            for noted in flows.notes
            if noted.note is Note.CONFLICT
        ]  # fmt: skip

    def resolve(self, matches: Sequence[Match]) -> list[Match]:
        """Return the matches as those of connections, in order; of what several versions show, the first."""
        kept: list[Match] = []
        for match in sorted(matches, key=lambda match: (match.number, match.flow.variant)):
            flow = match.flow
            if not flow.id:  # one packet, of no connection
                kept.append(match)
                continue
            primary = int(flow.columns.primary[flow.slot])
            if primary:
                flow = self._flows.view(primary - 1)
            seen = self._seen.of(flow)
            signature = match.signature
            identity = signature.gid, signature.sid, signature.origin, match.direction
            if primary:
                if identity in seen:
                    self._counters.add("flow.tcp.versions.matches_repeated")
                    continue
                match = replace(match, flow=flow)
                self._counters.add("flow.tcp.versions.matches")
            if len(seen) < MAX_SEEN:
                seen.add(identity)
            kept.append(match)
        return kept
