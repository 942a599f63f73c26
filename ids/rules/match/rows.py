"""The rows of a batch in stream order: the bytes of each direction behind one another, behind its tail from before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ids.types import I64, Bool, Streams


class StreamRows:
    """Rows of `Streams`, sorted by direction. ``n`` is their number, ``d`` that of the directions.

    A row longer than ``longest`` is cut into several. A run is an unbroken series of rows of one direction; a gap, or
    an offset that is not where the row before ended, begins a new one.
    """

    def __init__(self, streams: Streams, longest: int) -> None:
        self.streams = streams
        key = streams.slot * 2 + streams.direction
        order = np.argsort(key, kind="stable")
        begin, end = streams.start[order], streams.end[order]
        offset, gap, closed = streams.offset[order], streams.gap[order], streams.closed[order]
        self.final: Bool = np.ones(len(order), bool)
        """The row is not cut, or the last piece of one."""
        self._in_order = bool((key[1:] >= key[:-1]).all())
        if int((end - begin).max()) > longest:
            pieces = np.maximum(1, -((begin - end) // longest))
            row = np.repeat(np.arange(len(order)), pieces)
            piece = np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
            first, last = piece == 0, piece == pieces[row] - 1
            order, closed, gap = order[row], closed[row] & last, gap[row] * first
            begin = begin[row] + piece * longest
            offset = offset[row] + piece * longest
            self.final = last
            end = np.where(last, end[row], begin + longest)
        self.row: I64 = order
        """Row of `Streams`, shape (n,)."""
        self.offset: I64 = offset
        self.gap: I64 = gap
        self.closed: Bool = closed
        self.size: I64 = end - begin
        self._begin = begin
        key = key[order]
        n = len(order)
        self.leads: Bool = np.ones(n, bool)
        """The row is the first of its direction."""
        self.leads[1:] = key[1:] != key[:-1]
        self.breaks: Bool = self.leads.copy()
        """The row begins a run."""
        self.breaks[1:] |= (gap[1:] > 0) | (offset[1:] != offset[:-1] + self.size[:-1])
        self.first: I64 = np.flatnonzero(self.leads)
        """Place of the first row of each direction, shape (d,)."""
        self.last: I64 = np.append(self.first[1:], n) - 1
        """Place of its last row."""
        self.number: I64 = np.cumsum(self.leads) - 1
        """Number of each row's direction, shape (n,)."""
        self.slot: I64 = streams.slot[order[self.first]]
        self.direction = streams.direction[order[self.first]]
        self.ends: Bool = self.closed[self.last]
        """The direction closes in this batch."""
        self.starts: I64 = np.zeros(0, np.int64)
        self.data = b""

    def join(self, tails: Mapping[int, bytes]) -> None:
        """Lay the rows out behind one another; ``tails``, which were searched before, go before the first rows of their
        directions.
        """
        n = len(self.row)
        self._tail = np.zeros(n, np.int64)
        for direction, tail in tails.items():
            self._tail[self.first[direction]] = len(tail)
        self.starts = np.zeros(n + 1, np.int64)
        np.cumsum(self.size + self._tail, out=self.starts[1:])
        data = self.streams.data
        if self._in_order and not tails:
            self.data = data
        else:
            begin = self._begin
            parts = [data[a:b] for a, b in zip(begin.tolist(), (begin + self.size).tolist(), strict=True)]
            for direction, tail in tails.items():
                place = int(self.first[direction])
                parts[place] = tail + parts[place]
            self.data = b"".join(parts)
        places = np.arange(n)
        self.floor: I64 = self.starts[np.maximum.accumulate(np.where(self.breaks, places, 0))]
        """Where a needle that ends in the row may begin at the earliest."""
        self.fresh: I64 = self.starts[:-1] + self._tail
        """Up to where the row was searched before."""

    def of(self, direction: int) -> Iterator[tuple[int, int, int, bool, bool, bool, bytes]]:
        """Yield of each row of a direction its place, its row of `Streams`, its offset, whether there is a gap before
        it, whether the direction is closed behind it, ``final``, and its bytes without the tail before them.
        """
        first, behind = int(self.first[direction]), int(self.last[direction]) + 1
        of = slice(first, behind)
        data, begins = self.data, self.starts[of] + self._tail[of]
        bounds = zip(begins.tolist(), self.starts[first + 1 : behind + 1].tolist(), strict=True)
        return zip(
            range(first, behind), self.row[of].tolist(), self.offset[of].tolist(), (self.gap[of] > 0).tolist(),
            self.closed[of].tolist(), self.final[of].tolist(), [data[begin:end] for begin, end in bounds], strict=True,
        )  # fmt: skip

    def spans(self, directions: I64) -> Iterator[tuple[int, int, int, bool]]:
        """Yield for each direction where its new bytes begin and end in ``data``, the stream offset of the first, and
        whether they are one run that goes on from before."""
        heads = self.first[directions]
        runs = np.add.reduceat(self.breaks.astype(np.int64), self.first)[directions]
        return zip(
            (self.starts[heads] + self._tail[heads]).tolist(),
            self.starts[self.last[directions] + 1].tolist(),
            self.offset[heads].tolist(),
            ((runs == 1) & (self.gap[heads] == 0)).tolist(),
            strict=True,
        )
