"""Holes of one direction that were given up, and those of their bytes that came after all.

An acknowledgement that gave a hole up may have been forged, and so may a thousand: so what fills a hole is inspected
whenever it comes. Holes are kept by the memory cap, which they are charged to, and at most `MAX_HOLES` of a direction,
so that nobody fills the cap with them; those that were given up first are let go. Adjacent ones are one.

COST. A hole is found by bisection: they begin in the order in which they were given up.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter

from ids.pieces import Pieces

MAX_HOLES = 4096
"""Holes of a direction: as many megabytes of stream if each was a lost window of common hosts, or 2 MiB of memory."""
HOLE_COST = 512
"""Bytes that Python needs to hold one, besides what came late."""


class Hole:
    """Bytes that were given up, and those of them that came after all."""

    __slots__ = ("end", "late", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.late = Pieces()

    @property
    def cost(self) -> int:
        """Bytes of memory to charge for it."""
        return HOLE_COST + self.late.cost

    @property
    def full(self) -> bool:
        """Whether all of it has come."""
        return self.late.size == self.end - self.start


class Lost:
    """The holes of one direction, in the order of the stream."""

    __slots__ = ("_holes", "begun", "cost", "late")

    def __init__(self) -> None:
        self._holes: list[Hole] = []
        self.cost = 0
        """Bytes of memory to charge for all this."""
        self.late = 0
        """Pieces that came late and wait for the rest of their hole."""
        self.begun: dict[int, Hole] = {}
        """Holes of which the beginning came, by where they end."""

    def __len__(self) -> int:
        return len(self._holes)

    def add(self, start: int, end: int) -> int:
        """Give bytes up, behind all that were given up before; return how many holes had to be let go for that."""
        last = self._holes[-1] if self._holes else None
        if last is not None and last.end == start:
            if self.begun.pop(last.end, None):
                self.begun[end] = last
            last.end = end
            return 0
        self._holes.append(Hole(start, end))
        self.cost += HOLE_COST
        return self.let_go(1) if len(self._holes) > MAX_HOLES else 0

    def let_go(self, room: int) -> int:
        """Let go of the holes that were given up first, but not of the last; return how many.

        They free at least ``room`` bytes if they can, and a sixteenth of all holes, so that this is not done each time.
        """
        before, count, least = self.cost, 0, len(self._holes) // 16
        while count < len(self._holes) - 1 and (before - self.cost < room or count < least):
            self._forget(self._holes[count])
            count += 1
        del self._holes[:count]
        return count

    def within(self, start: int, end: int) -> list[Hole]:
        """Return the holes that have bytes between two stream offsets."""
        first = bisect_right(self._holes, start, key=attrgetter("start"))
        if first and self._holes[first - 1].end > start:
            first -= 1
        last = first
        while last < len(self._holes) and self._holes[last].start < end:
            last += 1
        return self._holes[first:last]

    def fill(self, hole: Hole, start: int, data: bytes) -> None:
        """Keep bytes that came for a hole; of two copies the first."""
        cost, pieces = hole.cost, len(hole.late)
        hole.late.insert(start, data)
        self.cost += hole.cost - cost
        self.late += len(hole.late) - pieces
        if start == hole.start:
            self.begun[hole.end] = hole

    def take(self, hole: Hole) -> list[tuple[int, bytes]]:
        """Take a hole out; return the runs of what came for it, and where they belong."""
        self._forget(hole)
        del self._holes[bisect_right(self._holes, hole.start, key=attrgetter("start")) - 1]
        return _runs(hole)

    def take_begun(self) -> list[list[tuple[int, bytes]]]:
        """Take out what came without a hole at the beginnings of holes; return for each what `take` would."""
        begun, self.begun = self.begun, {}
        runs = []
        for hole in begun.values():
            cost, pieces, start = hole.cost, len(hole.late), hole.start
            data, _ = hole.late.pop(start)
            hole.start += len(data)
            self.cost += hole.cost - cost
            self.late += len(hole.late) - pieces
            runs.append([(start, data)])
        return runs

    def take_all(self) -> list[list[tuple[int, bytes]]]:
        """Take all holes out; return for each that something came for what `take` would."""
        holes, self._holes, self.begun, self.cost, self.late = self._holes, [], {}, 0, 0
        return [_runs(hole) for hole in holes if hole.late]

    def _forget(self, hole: Hole) -> None:
        self.cost -= hole.cost
        self.late -= len(hole.late)
        self.begun.pop(hole.end, None)


def _runs(hole: Hole) -> list[tuple[int, bytes]]:
    runs = []
    while hole.late:
        start = hole.late.start
        runs.append((start, hole.late.pop(start)[0]))
    return runs
