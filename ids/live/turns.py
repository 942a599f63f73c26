"""Whose packets are inspected next, when there is not time for all: each source has its share.

A ring is emptied in the order in which packets came, so who sends most would have most of the inspection, and everybody
else would wait behind it. Here the packets of a source that takes more than its share wait in a line of its own. What
the others sent comes first; in between, each line has a slice of time in turn, the one that has had least before the
others. So whatever a few sources send, the wait of all others is a slice, and what they bring themselves.

A line is bounded by what can be inspected of it soon. Beyond that, flows are cut whole: what follows of them passes
uninspected (``engine.uninspected.share``), so that what is inspected of the others has no holes. A source is who opened
the flow, an IPv6 address with all of its /64; both directions count in its name.

Many sources may together be too much, none of them more than the others. Then those that sent least come first, as many
as there is a moment for, and the rest share a line.

COST. Nothing while batches are small and quickly inspected; else array work on a batch, and Python once a line.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ids.counters import Counters
from ids.plugin.stopwatch import Stopwatch
from ids.types import U8, U64, Bool, IPAddress, PacketBatch

log = logging.getLogger(__name__)

SLICE_S = 0.04
"""Time of a line at once: what others wait for it, at most twice for one that suddenly costs more."""
FEW = 256
"""Packets that are not worth dividing, unless they take long."""
HEAVY_SHARE = 1 / 8
"""Of the packets that wait, or of their bytes, from which a source may be told from the others."""
MAX_LINES = 16
"""Sources with lines of their own at once: more than `HEAVY_SHARE` allows in one batch, with some that are leaving."""
CROWD_SLICES = 6
"""Time that the others may take at once, in the largest, so cheapest batches; beyond, most of them share a line."""
MAX_MEMBERS = 1 << 16
"""Sources of that line that are remembered while it is not empty; beyond, packets of some may overtake their own."""
MAX_WAIT_S = 1.0
"""Work of a line that may wait: what is older is late for a block anyway."""
MIN_WAITING = 128
"""Packets of a line that may wait whatever they cost."""
MAX_WAITING_BYTES = 64 << 20
"""Of all lines together."""
MAX_SLICE = 1 << 15
"""Packets at once, of however little cost: more are not read from rings at once either."""
FORGETTING = 0.9
"""Weight of what was before one slice in the next."""
GROWTH = 4
"""The next slice has at most so many times the packets of the last one: these may cost more."""
FIRST_SLICE = 2048
"""Packets of the others that are held for a slice, until that is known."""
WINDOW_S = 1.0
"""Over which shares of time are compared."""
LIGHT_SHARE = 0.1
AGAIN_S = 30.0
"""Between two warnings that packets of a line pass uninspected."""
_FLOWS = 1 << 16
_GATHER = 512
"""Rows that are copied at once: the index of their bytes takes eight times as much."""
_CROWD = -1
"""Key of the line of many; those of sources are not negative."""
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)


class Rings(Protocol):
    """Where packets come from."""

    def poll(self, timeout_s: float) -> PacketBatch | None:
        """Wait for packets; return those that there are."""


@dataclass(slots=True)
class Pace:
    """How many packets a slice has time for. That is found by trying: of more at once, each costs less."""

    size: int
    packets: float = 0.0
    spent_s: float = 0.0
    """Time that so many packets took, of late."""

    @property
    def per_s(self) -> float:
        """Packets a second, of late: one slice that was held up does not make it small."""
        return self.packets / self.spent_s if self.spent_s else self.size / SLICE_S

    def learn(self, count: int, spent_s: float, own_s: float) -> None:
        """Take note that so many packets took so long, and of that ``own_s`` on a processor.

        A slice is sized by its own time: where others have the processors, smaller ones would only cost more.
        """
        self.packets = FORGETTING * self.packets + count
        self.spent_s = FORGETTING * self.spent_s + max(spent_s, 1e-6)
        fits = int(count * SLICE_S / max(own_s, 1e-6))
        if own_s > SLICE_S:
            self.size = max(fits, 1)
        else:
            self.size = min(max(self.size, fits), GROWTH * self.size, MAX_SLICE)


@dataclass(slots=True)
class Line:
    """A source that takes much, and its packets that wait."""

    address: IPAddress | None
    """None: many."""
    pace: Pace
    batches: deque[PacketBatch] = field(default_factory=deque)
    packets: int = 0
    spent_s: float = 0.0
    """Time of this window."""
    cut: Bool = field(default_factory=lambda: np.zeros(_FLOWS, np.bool_))
    """By the low bits of a flow's tag: its packets are not taken any more."""
    refused: int = 0
    """Packets since the last warning."""
    warned: float = float("-inf")
    members: U64 = field(default_factory=lambda: np.zeros(0, np.uint64))
    """Of many: their keys. Who has packets in it stays, or later ones would overtake them."""
    light: bool = False
    """It had less than `LIGHT_SHARE` of the last window: once it is empty, the line is given up."""

    @property
    def bytes(self) -> int:
        """Memory that it holds."""
        return sum(batch.data.nbytes for batch in self.batches)


class Turns:
    """Hands out what rings have, a batch at a time. Call `done` when a batch was inspected, before the next one."""

    def __init__(
        self,
        rings: Rings,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
        own: Callable[[], float] | None = None,
    ) -> None:
        """``own`` is a clock that stands still while other processes have the processor."""
        self._rings = rings
        self._counters = counters
        self._clock = clock
        self._own = own or Stopwatch()
        self._lines: dict[int, Line] = {}
        self._pace = Pace(FIRST_SLICE)
        """Of the others."""
        self._slow = False
        """The others' last batch took longer than a slice, though it had been expected to take less."""
        self._served: Line | None = None
        """Whose batch is being inspected; None: the others'."""
        self._handed = 0
        self._since = self._window = clock()
        self._own_since = self._own()
        self._line_next = False
        """The others have had their turn."""

    @property
    def lines(self) -> list[IPAddress]:
        """The sources that have a line of their own."""
        return [line.address for line in self._lines.values() if line.address is not None]

    def next(self, timeout_s: float) -> PacketBatch | None:
        """Return what is to be inspected next, after waiting for it up to ``timeout_s``; None where nothing came."""
        waits = any(line.packets for line in self._lines.values())
        if not (waits and self._line_next):
            batch = self._rings.poll(0.0 if waits else timeout_s)
            batch = self._sort_out(batch) if batch is not None else None
            self._line_next = True
            if batch is not None:
                return self._hand_out(batch, None)
        self._line_next = False
        waiting = [line for line in self._lines.values() if line.packets]
        if not waiting:
            return None
        line = min(waiting, key=lambda line: line.spent_s)
        return self._hand_out(self._slice(line), line)

    def rest(self, for_s: float) -> Iterator[PacketBatch]:
        """Hand out what is left at the end, for so long; what still waits then is counted as uninspected."""
        until = self._clock() + for_s
        while self._clock() < until and (batch := self.next(0.0)) is not None:
            yield batch
            self.done()
        left = sum(line.packets for line in self._lines.values())
        if left:
            self._counters.add("engine.uninspected.share", left)

    def begin(self) -> None:
        """Take the time from now on: what was handed out had to wait for something else."""
        self._since, self._own_since = self._clock(), self._own()

    def done(self) -> None:
        """Note that the batch from `next` was inspected just now."""
        now = self._clock()
        spent, own, line = now - self._since, self._own() - self._own_since, self._served
        if line is None:
            self._slow = own > 2 * SLICE_S and self._handed <= self._pace.size
            self._pace.learn(self._handed, spent, own)
        else:
            line.spent_s += spent
            line.pace.learn(self._handed, spent, own)
        if now - self._window >= WINDOW_S:
            for each in self._lines.values():
                each.light, each.spent_s = each.spent_s < LIGHT_SHARE * (now - self._window), 0.0
            self._window = now
        self._lines = {key: each for key, each in self._lines.items() if each.packets or not each.light}

    def _hand_out(self, batch: PacketBatch, line: Line | None) -> PacketBatch:
        self._served, self._handed = line, len(batch)
        self.begin()
        return replace(batch, holder=None, tag=None)

    # Who has to wait.

    def _sort_out(self, batch: PacketBatch) -> PacketBatch | None:
        """Put what belongs to lines there; return the others' packets, None where there are none."""
        if batch.holder is None or (not self._lines and not self._is_much(len(batch))):
            return batch
        keys: U64 = batch.holder[:, 0] * _MIX[0] + batch.holder[:, 1] * _MIX[1]
        if self._is_much(len(batch)):
            self._find_heavy(batch, keys)
        others = np.ones(len(batch), np.bool_)
        for key, line in self._lines.items():
            mine = np.isin(keys, line.members) if key == _CROWD else keys == np.uint64(key)
            if mine.any():
                others &= ~mine
                self._push(line, batch, mine)
        if int(others.sum()) > max(CROWD_SLICES * self._pace.size, FEW):
            self._thin_out(batch, keys, others)
        if others.all():
            return batch
        return batch.rows(others) if others.any() else None

    def _thin_out(self, batch: PacketBatch, keys: U64, others: Bool) -> None:
        """Leave among the others who sent least, as many as a slice has time for; the rest share a line."""
        rows = np.flatnonzero(others)
        found, of, count = np.unique(keys[rows], return_inverse=True, return_counts=True)
        least = np.argsort(count, kind="stable")
        light = np.zeros(len(count), np.bool_)
        light[least] = np.cumsum(count[least]) <= self._pace.size
        others[rows[~light[of]]] = False
        mine = np.zeros(len(batch), np.bool_)
        mine[rows[~light[of]]] = True
        crowd = self._lines.setdefault(_CROWD, Line(None, self._first_pace()))
        known = crowd.members if len(crowd.members) < MAX_MEMBERS else crowd.members[:0]
        crowd.members = np.union1d(known, found[~light])
        self._push(crowd, batch, mine)

    def _is_much(self, count: int) -> bool:
        return self._slow or count > max(self._pace.size, FEW)

    def _first_pace(self) -> Pace:
        return Pace(min(self._pace.size, FEW))

    def _find_heavy(self, batch: PacketBatch, keys: U64) -> None:
        """Give lines to who sends most of the packets or, if they cost more than others, of the bytes."""
        assert batch.holder is not None
        found, first, of, count = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        crowd = self._lines[_CROWD].members if _CROWD in self._lines else ()
        share = count / len(keys)
        if self._slow:
            share = np.maximum(share, np.bincount(of, batch.caplen) / max(int(batch.caplen.sum()), 1))
        for place in np.argsort(-share, kind="stable").tolist():
            if share[place] < HEAVY_SHARE or len(self._lines) >= MAX_LINES:
                break
            key = int(found[place])
            if key not in self._lines and found[place] not in crowd:
                address = ipaddress.IPv6Address(batch.holder[first[place]].tobytes())
                self._lines[key] = Line(address.ipv4_mapped or address, self._first_pace())
        self._slow = False

    def _push(self, line: Line, batch: PacketBatch, mine: Bool) -> None:
        """Have packets wait, as far as they can be inspected soon; cut the flows of the others."""
        assert batch.tag is not None
        rows = np.flatnonzero(mine)
        flows = batch.tag[rows] & np.uint32(_FLOWS - 1)
        taken = ~line.cut[flows]
        room = max(int(line.pace.per_s * MAX_WAIT_S), MIN_WAITING) - line.packets
        if sum(each.bytes for each in self._lines.values()) > MAX_WAITING_BYTES:
            room = 0
        taken &= np.cumsum(taken) <= room
        line.cut[flows[~taken]] = True
        refused = len(rows) - int(taken.sum())
        if refused:
            self._refuse(line, refused)
        rows = rows[taken]
        if len(rows):
            part = batch.rows(rows)
            line.batches.append(part if 4 * len(rows) >= len(batch) else _gathered(part))
            line.packets += len(rows)

    def _refuse(self, line: Line, count: int) -> None:
        self._counters.add("engine.uninspected.share", count)
        line.refused += count
        now = self._clock()
        if now - line.warned >= AGAIN_S:
            log.warning(
                "%d packets passed uninspected, of connections opened by %s: there is not time for all of them, and"
                " what there is was shared (engine.uninspected.share)",
                line.refused, line.address or "many sources",
            )  # fmt: skip
            line.warned, line.refused = now, 0

    # Slices.

    def _slice(self, line: Line) -> PacketBatch:
        """Take as many packets of a line as a slice has time for."""
        size = line.pace.size
        parts: list[PacketBatch] = []
        while size and line.batches:
            part = line.batches.popleft()
            if len(part) > size:
                line.batches.appendleft(part.rows(slice(size, None)))
                part = part.rows(slice(size))
            parts.append(part)
            size -= len(part)
            line.packets -= len(part)
        if not line.packets:
            line.cut[:] = False
            line.members = line.members[:0]
        return parts[0] if len(parts) == 1 else _joined(parts)


def _gathered(batch: PacketBatch) -> PacketBatch:
    """Return the frames in a buffer that has no others, so that the one they came in can go."""
    parts: list[U8] = []
    for at in range(0, len(batch), _GATHER):
        size, start = batch.caplen[at : at + _GATHER], batch.offset[at : at + _GATHER]
        begins = np.cumsum(size) - size
        parts.append(batch.data[np.repeat(start - begins, size) + np.arange(int(size.sum()))])
    return replace(batch, data=np.concatenate(parts), offset=np.cumsum(batch.caplen) - batch.caplen)


def _joined(parts: list[PacketBatch]) -> PacketBatch:
    """Return several batches as one."""
    parts = [_gathered(part) for part in parts]
    begins = np.cumsum([0, *(len(part.data) for part in parts)])
    unsummed = [part.unsummed if part.unsummed is not None else np.zeros(len(part), np.bool_) for part in parts]
    return replace(
        parts[0],
        data=np.concatenate([part.data for part in parts]),
        offset=np.concatenate([part.offset + begin for part, begin in zip(parts, begins, strict=False)]),
        caplen=np.concatenate([part.caplen for part in parts]),
        wirelen=np.concatenate([part.wirelen for part in parts]),
        ts_ns=np.concatenate([part.ts_ns for part in parts]),
        number=np.concatenate([part.number for part in parts]),
        linktype=np.concatenate([part.linktype for part in parts]),
        interface=np.concatenate([part.interface for part in parts]),
        unsummed=np.concatenate(unsummed) if any(part.unsummed is not None for part in parts) else None,
    )
