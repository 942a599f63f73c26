"""What each side of a connection said last, for the alerts that show it. Kept only where settings ask for it.

The bytes are those that were inspected. Where some are missing, their number stands in their place, in Suricata's
words.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ids.counters import Counters
from ids.types import I64, Match, Streams

MAX_KEPT_BYTES = 64 << 20
"""Of all connections together; beyond it, those that were silent longest lose theirs: their next alert shows less.
Counted as ``events.payload_evicted``."""

MAX_PIECES = 32
"""Pieces of one side, between which bytes are missing; beyond it the first go, for whoever makes holes makes many."""

PIECE_COST = 128
"""Bytes that a piece is charged for beyond its own."""


@dataclass(slots=True)
class Said:
    """The last words of one side."""

    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    """Stream offset and bytes, in order."""
    floor: int = 0
    """Stream offset up to which was cut away: what is before it is not missing, but not kept."""

    @property
    def cost(self) -> int:
        """Bytes of memory that it is charged for."""
        return PIECE_COST + sum(PIECE_COST + len(data) for _, data in self.pieces)

    def add(self, offset: int, all_data: bytes, start: int, stop: int, limit: int) -> None:
        """Add bytes ``start`` to ``stop`` of ``all_data``, and cut to the last ``limit`` ones."""
        pieces = self.pieces
        if stop - start > limit:
            offset, start = offset + stop - start - limit, stop - limit
            pieces.clear()
            self.floor = offset
        data = all_data[start:stop]
        if pieces and pieces[-1][0] + len(pieces[-1][1]) == offset:
            at, before = pieces.pop()
            offset, data = at, before + data
        pieces.append((offset, data))
        while len(pieces) > MAX_PIECES:
            at, first = pieces.pop(0)
            self.floor = at + len(first)
        spare = sum(len(data) for _, data in pieces) - limit
        while spare > 0:
            at, first = pieces.pop(0)
            if len(first) > spare:
                pieces.insert(0, (at + spare, first[spare:]))
            self.floor = at + min(spare, len(first))
            spare -= len(first)

    def text(self) -> bytes:
        """Return it with a remark where bytes are missing."""
        parts: list[bytes] = []
        reached = self.floor
        for offset, data in self.pieces:
            if offset > reached:
                parts.append(b"[%d bytes missing]" % (offset - reached))
            parts.append(data)
            reached = offset + len(data)
        return b"".join(parts)


class Conversation:
    """The last words of all sides of all connections."""

    def __init__(self, limit: int, counters: Counters) -> None:
        self._limit = limit
        self._counters = counters
        self._sides: OrderedDict[tuple[int, int], Said] = OrderedDict()
        """By flow id and direction."""
        self._kept = 0

    def until(self, matches: Iterable[Match], streams: Streams, *, end: bool) -> list[bytes]:
        """Return for each match what its side has said up to the packet of the match; ``end``: up to now.

        To be called before `note` for the same batch.
        """
        key = streams.slot * 2 + streams.direction
        order = np.argsort(key, kind="stable")
        key = key[order]
        texts: list[bytes] = []
        for match in matches:
            wanted = match.flow.slot * 2 + int(match.direction)
            low, high = np.searchsorted(key, (wanted, wanted + 1)).tolist()
            kept = self._sides.get((match.flow.id, int(match.direction)))
            said = Said() if kept is None else Said(list(kept.pieces), kept.floor)
            for row in order[low:high].tolist():
                stop = int(streams.end[row]) if end else _end_at(streams, row, match.number)
                start = int(streams.start[row])
                if stop > start:
                    said.add(int(streams.offset[row]), streams.data, start, stop, self._limit)
            texts.append(said.text())
        return texts

    def note(self, streams: Streams) -> None:
        """Remember what was said in a batch."""
        slots = streams.slot
        for flow_id, side, offset, start, stop, closed in zip(
            streams.flows.id[slots].tolist(),
            streams.direction.tolist(),
            streams.offset.tolist(),
            streams.start.tolist(),
            streams.end.tolist(),
            streams.closed.tolist(),
            strict=True,
        ):
            key = flow_id, side
            said = self._sides.pop(key, None)
            if said is not None:
                self._kept -= said.cost
            if closed or (said is None and start == stop):
                continue
            said = said or Said()
            if stop > start:
                said.add(offset, streams.data, start, stop, self._limit)
            self._sides[key] = said
            self._kept += said.cost
        self._bound()

    def forget(self, ended: I64) -> None:
        """Forget flows that ended, by their ids."""
        if self._sides:
            for flow_id in ended.tolist():
                for side in (0, 1):
                    said = self._sides.pop((flow_id, side), None)
                    self._kept -= 0 if said is None else said.cost

    def _bound(self) -> None:
        while self._kept > MAX_KEPT_BYTES:
            _, said = self._sides.popitem(last=False)
            self._kept -= said.cost
            self._counters.add("events.payload_evicted")


def _end_at(streams: Streams, row: int, number: int) -> int:
    """Return the index in ``data`` behind the last byte of a row that had come with packet ``number``."""
    start, end = int(streams.start[row]), int(streams.end[row])
    if streams.arrivals is None or start == end or streams.number[row] <= number:
        return end if streams.number[row] <= number else start
    arrivals = streams.arrivals
    low, high = np.searchsorted(arrivals.end, (start, end), side="right").tolist()
    come = np.flatnonzero(arrivals.number[low:high] <= number)
    return int(arrivals.end[low + come[-1]]) if len(come) else start
