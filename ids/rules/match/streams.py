"""Matches rules on the payload of TCP, a batch at a time.

The new bytes of all directions are laid out behind one another, each behind the last ``longest needle - 1`` bytes of
its direction from before, and searched in one pass. Python is entered for a direction in which a needle was seen whose
rule looks at this traffic, or in which a rule waits already (`StreamFollower`); for one that stays open, to store its
bytes; and for no other. Nothing is kept of a connection that begins and ends within a batch.
"""

from __future__ import annotations

import numpy as np

from ids.counters import Counters
from ids.rules.match.evaluation import Evaluator
from ids.rules.match.follower import StreamFollower
from ids.rules.match.index import RuleIndex
from ids.rules.match.memory import FlowMemory
from ids.rules.match.rows import StreamRows
from ids.rules.match.trail import Trail
from ids.rules.match.yara import YaraScanner
from ids.types import I64, U8, FlowColumns, Match, Streams

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
        self._window_bytes = window_bytes
        self._overlap = max(0, index.stream.longest - 1)
        self.active = bool(len(index.stream) or index.stream_unfiltered or index.mixed)

    def streams(self, streams: Streams) -> list[Match]:
        """Take the rows of a batch; return the rules that now hold, in the order of the rows."""
        if not self.active or not len(streams):
            return []
        rows = StreamRows(streams, self._follower.half)
        ids = streams.flows.id[rows.slot].tolist()
        trails = self._trails(rows, ids)
        total = np.add.reduceat(rows.size, rows.first)
        self._join(rows, trails, total)
        candidates = self._candidates(rows)
        concerned = ~rows.ends & (total > 0)
        concerned[[*candidates, *trails]] = True
        found = self._visit(rows, np.flatnonzero(concerned), ids, trails, candidates)
        return [match for _, match in sorted(found, key=lambda pair: (pair[1].number, pair[0]))]

    def _visit(
        self, rows: StreamRows, directions: I64, ids: list[int], trails: dict[int, Trail], candidates: Candidates
    ) -> list[tuple[int, Match]]:
        """Feed these directions; return the matches with their rows."""
        found: list[tuple[int, Match]] = []
        data, window_bytes, kept = rows.data, self._window_bytes, self._memory.trails.by_id
        hold, release = self._memory.retained.hold, self._memory.retained.release
        streams, slots = rows.streams, rows.slot.tolist()
        by_message = bool(streams.completed or streams.exchanged)
        each = zip(
            directions.tolist(), rows.spans(directions), rows.ends[directions].tolist(),
            rows.direction[directions].tolist(), strict=True,
        )  # fmt: skip
        for number, (begin, end, offset, unbroken), ends, side in each:
            known = trails.get(number)
            trail = known or Trail(self._index.identities, offset)
            noticed = candidates.get(number)
            messages = streams.message_ends(slots[number], side) if by_message else []
            if noticed or not trail.idle:
                found += self._follower.follow(trail, rows, number, noticed or {}, messages)
            elif ends:
                pass
            elif unbroken and offset == trail.end and len(trail.data) + end - begin <= window_bytes:
                trail.data += data[begin:end]
            else:
                self._follower.store(trail, rows, number)
            if messages:
                trail.message_end = messages[-1]
            if not ends:
                hold(trail, len(trail.data))
                if known is None:
                    kept.setdefault(ids[number], {})[side] = trail
            elif known is not None:
                release(trail)
                del kept[ids[number]][side]
        return found

    def _trails(self, rows: StreamRows, ids: list[int]) -> dict[int, Trail]:
        """Return what is kept of directions, by their numbers in this batch."""
        kept = self._memory.trails.by_id
        trails: dict[int, Trail] = {}
        if not kept:
            return trails
        for number, sides in enumerate(map(kept.get, ids)):
            if sides and (trail := sides.get(int(rows.direction[number]))) is not None:
                trails[number] = trail
                if trail.load is not self._index.identities:
                    one = slice(number, number + 1)
                    self._adopt(trail, rows.streams.flows, rows.slot[one], rows.direction[one])
        return trails

    def _adopt(self, trail: Trail, flows: FlowColumns, slot: I64, side: U8) -> None:
        """Go on after a reload: with what was already reported, and with a window that new rules have not seen."""
        index = self._index
        found = [(trail.load[number], end) for number, end in trail.done.items()]
        trail.done = {index.numbers[identity]: end for identity, end in found if identity in index.numbers}
        trail.load, trail.waiting, trail.yara, trail.next_due = index.identities, {}, None, 0
        rows, rules = index.stream.find(bytes(trail.data), np.array([0, len(trail.data)]))
        if len(rules):
            rules = rules[index.selectors.fits(flows, slot[rows], side[rows], rules)]
            self._follower.admit(trail, rules.tolist())

    def _join(self, rows: StreamRows, trails: dict[int, Trail], total: I64) -> None:
        """Lay the rows out behind the tails of their directions; ``total`` has the new bytes of each direction."""
        tails: dict[int, bytes] = {}
        for number, trail in trails.items():
            first = rows.first[number]
            if total[number] and not rows.gap[first] and rows.offset[first] == trail.end:
                tails[number] = trail.tail(self._overlap)
        rows.join(tails)

    def _candidates(self, rows: StreamRows) -> Candidates:
        """Search all rows; return the rules that were noticed and look at this traffic."""
        flows, index = rows.streams.flows, self._index
        ports = flows.sport[rows.slot][rows.number], flows.dport[rows.slot][rows.number]
        places, rules = index.stream.find(rows.data, rows.starts, rows.floor, rows.fresh, ports)
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
