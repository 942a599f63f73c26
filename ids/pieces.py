"""Pieces of a byte range that arrive in any order: kept sorted, without overlap; the first copy of each byte wins.

Both kinds of reassembly hold such pieces: fragments of an IP datagram (`ids.decode.defrag`), and TCP segments behind a
hole. They differ in what they do at a limit; so the limits, and the counters, are theirs.

COST. A piece is placed by bisection. ``k`` insertions make at most ``2k - 1`` pieces, whatever they cover; and an
insertion of ``b`` bytes looks at ``b`` bytes and at the pieces that lie among them, at no others.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

PIECE_COST = 128
"""Bytes that Python needs to hold a piece, besides its content: charged, or tiny pieces would be free."""


class Piece:
    """Bytes that begin at ``start`` of the range."""

    __slots__ = ("conflict", "data", "start")

    def __init__(self, start: int, data: bytes) -> None:
        self.start = start
        self.data = data
        self.conflict = False
        """Whether another copy of some of these bytes had other content."""

    @property
    def end(self) -> int:
        """Index of the first byte after the piece."""
        return self.start + len(self.data)


class Inserted(NamedTuple):
    """What one insertion did."""

    added: int
    """Bytes that were not there before."""
    covered: int
    """Bytes that were there already, and stay as they were."""
    differs: bool
    """Whether covered bytes have other content than this copy of them."""


class Pieces:
    """The pieces of one range. Empty pieces are never kept, and adjacent ones are not merged."""

    __slots__ = ("_items", "_starts", "size")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._items: list[Piece] = []
        self.size = 0
        """Bytes held."""

    def __len__(self) -> int:
        return len(self._items)

    @property
    def start(self) -> int:
        """Index of the first byte held; raises IndexError where nothing is."""
        return self._starts[0]

    @property
    def end(self) -> int:
        """Index of the first byte after the last one held; raises IndexError where nothing is."""
        return self._items[-1].end

    @property
    def cost(self) -> int:
        """Bytes of memory to charge for all this."""
        return self.size + PIECE_COST * len(self._items)

    def insert(self, start: int, data: bytes) -> Inserted:
        """Keep those bytes of ``data``, which belongs at ``start``, that no piece covers yet; compare the others.

        Pieces whose bytes differ from this copy are marked with ``conflict``; the new ones are not.
        """
        starts, items = self._starts, self._items
        size = len(data)
        end = start + size
        if not size or not items or start >= items[-1].end:  # in order, or the first: nothing to look for
            if size:
                starts.append(start)
                items.append(Piece(start, data))
                self.size += size
            return Inserted(size, 0, False)
        first = bisect_right(starts, start)
        if first and items[first - 1].end > start:
            first -= 1
        last, at, covered, differs = first, start, 0, False
        laid: list[Piece] = []
        while last < len(items) and starts[last] < end:
            piece = items[last]
            if at < piece.start:
                laid.append(Piece(at, data[at - start : piece.start - start]))
                at = piece.start
            upto = min(end, piece.end)
            if piece.data[at - piece.start : upto - piece.start] != data[at - start : upto - start]:
                piece.conflict = differs = True
            covered += upto - at
            laid.append(piece)
            at, last = upto, last + 1
        if at < end:
            laid.append(Piece(at, data[at - start :]))
        items[first:last] = laid
        starts[first:last] = [piece.start for piece in laid]
        self.size += size - covered
        return Inserted(size - covered, covered, differs)

    def pop(self, offset: int) -> tuple[bytes, bool]:
        """Take out what continues without a hole at ``offset``, from where on pieces may be held.

        Returns the bytes, none where the piece for ``offset`` is missing, and whether a piece of them has a conflict.
        """
        items = self._items
        count, at = 0, offset
        while count < len(items) and items[count].start == at:
            at = items[count].end
            count += 1
        if not count:
            return b"", False
        taken = items[:count]
        del items[:count], self._starts[:count]
        self.size -= at - offset
        if count == 1:
            return taken[0].data, taken[0].conflict
        return b"".join([piece.data for piece in taken]), any(piece.conflict for piece in taken)
