"""Matches rules on the payload of TCP, a batch at a time.

The new bytes of all directions are laid out behind one another, each behind the last ``longest needle - 1`` bytes of
its direction from before, and searched in one pass. Python is entered for a direction in which a needle was seen whose
rule looks at this traffic, or in which a rule waits already (`StreamFollower`); for one that stays open, to store its
bytes; and for no other. Of a connection that begins and ends within a batch nothing is kept.
"""

from __future__ import annotations

import numpy as np

from ids.counters import Counters
from ids.rules.evaluation import Evaluator
from ids.rules.index import RuleIndex
from ids.rules.memory import FlowMemory
from ids.rules.stream_follower import StreamFollower
from ids.rules.stream_rows import StreamRows
from ids.rules.trail import Trail
from ids.rules.yara_scanner import YaraScanner
from ids.types import Match, Streams

Candidates = dict[int, dict[int, list[int]]]
"""By the number of the direction and the place of the row: rules that were noticed there."""


class StreamMatcher:
    """The rules on ``payload`` of TCP, in all languages."""

    def __init__(
        self,
        index: RuleIndex,
        evaluator: Evaluator,
        yara: YaraScanner,
        memory: FlowMemory,
        counters: Counters,
        window_bytes: int,
    ) -> None:
        self._index = index
        self._memory = memory
        self._counters = counters
        self._follower = StreamFollower(index, evaluator, yara, counters, window_bytes)
        self._overlap = max(0, index.stream.longest - 1)
        self.active = bool(len(index.stream) or index.stream_unfiltered)

    def streams(self, streams: Streams) -> list[Match]:
        """Take the rows of a batch; return the rules that now hold, in the order of the rows."""
        if not self.active or not len(streams):
            return []
        rows = StreamRows(streams, self._follower.half)
        ids = streams.flows.id[rows.slot].tolist()
        trails = self._trails(rows, ids)
        self._join(rows, trails)
        candidates = self._candidates(rows)
        total = np.add.reduceat(rows.size, rows.first)
        concerned = ~rows.ends & (total > 0)
        concerned[[*candidates, *trails]] = True
        found: list[tuple[int, Match]] = []
        for direction in np.flatnonzero(concerned).tolist():
            trail = trails.get(direction)
            noticed = candidates.get(direction)
            known = trail is not None
            if trail is None:
                trail = Trail(self._index)
                trail.window.base = int(rows.offset[rows.first[direction]])
            if noticed or not trail.idle:
                found += self._follower.follow(trail, rows, direction, noticed or {})
            elif not rows.ends[direction]:
                self._follower.store(trail, rows, direction)
            if rows.ends[direction]:
                if known:
                    self._drop(ids[direction], int(rows.direction[direction]), trail)
            else:
                self._keep(ids[direction], int(rows.direction[direction]), trail)
        return [match for _, match in sorted(found, key=lambda pair: pair[0])]

    def _trails(self, rows: StreamRows, ids: list[int]) -> dict[int, Trail]:
        """Return what is kept of directions, by their numbers in this batch."""
        kept = self._memory.trails.by_id
        if not kept:
            return {}
        trails: dict[int, Trail] = {}
        for number, (flow_id, side) in enumerate(zip(ids, rows.direction.tolist(), strict=True)):
            sides = kept.get(flow_id)
            if sides and (trail := sides.get(side)) is not None:
                trails[number] = trail
                if trail.load is not self._index:
                    self._adopt(trail)
        return trails

    def _adopt(self, trail: Trail) -> None:
        """Go on after a reload: with the window, and with what was already reported."""
        assert isinstance(trail.load, RuleIndex)
        numbers = self._index.numbers
        identities = (trail.load.rules[number].identity for number in trail.done)
        trail.done = {numbers[identity] for identity in identities if identity in numbers}
        trail.waiting, trail.yara, trail.next_due = {}, None, 0
        trail.load, trail.unscanned = self._index, True

    def _join(self, rows: StreamRows, trails: dict[int, Trail]) -> None:
        """Lay the rows out behind the tails of their directions."""
        tails: dict[int, bytes] = {}
        unscanned: set[int] = set()
        for number, trail in trails.items():
            first = int(rows.first[number])
            unbroken = not rows.gap[first] and rows.offset[first] == trail.window.end
            if unbroken and (trail.unscanned or self._overlap) and trail.window:
                tails[number] = trail.window.tail(len(trail.window) if trail.unscanned else self._overlap)
                if trail.unscanned:
                    unscanned.add(number)
            trail.unscanned = False
        rows.join(tails, unscanned)

    def _candidates(self, rows: StreamRows) -> Candidates:
        """Search all rows; return the rules that were noticed and look at this traffic."""
        flows, index = rows.streams.flows, self._index
        places, rules = index.stream.find(rows.data, rows.starts, rows.floor, rows.fresh)
        if len(places):
            numbers = rows.number[places]
            keep = index.selectors.fits(flows, rows.slot[numbers], rows.direction[numbers], rules)
            places, rules = places[keep], rules[keep]
        if index.stream_unfiltered:
            numbers, always = index.selectors.admitted(flows, rows.slot, rows.direction, index.stream_unfiltered)
            places, rules = np.concatenate([rows.first[numbers], places]), np.concatenate([always, rules])
        candidates: Candidates = {}
        for number, place, rule in zip(rows.number[places].tolist(), places.tolist(), rules.tolist(), strict=True):
            candidates.setdefault(number, {}).setdefault(place, []).append(rule)
        return candidates

    def _keep(self, flow_id: int, side: int, trail: Trail) -> None:
        kept = self._memory.trails.by_id
        sides = kept.get(flow_id)
        if sides is None:
            sides = kept[flow_id] = {}
        sides[side] = trail
        self._memory.retained.hold(trail, len(trail.window))

    def _drop(self, flow_id: int, side: int, trail: Trail) -> None:
        """Let go what is kept of a direction that closed."""
        self._memory.retained.release(trail)
        sides = self._memory.trails.by_id[flow_id]
        del sides[side]
        if not sides:
            del self._memory.trails.by_id[flow_id]
