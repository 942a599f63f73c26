"""Pieces of a byte range that arrive in any order: kept sorted, without overlap.

Of two copies of a byte that differ the first one stays, unless the caller favours the other.

Both kinds of reassembly hold such pieces: fragments of an IP datagram (`ids.decode.defrag`), and TCP segments behind a
hole. They differ in what they do at a limit; so the limits, and the counters, are theirs.

COST. A piece is placed by bisection. ``k`` insertions make at most ``2k - 1`` pieces, whatever they cover (``4k`` where
later copies are favoured); and an insertion of ``b`` bytes looks at ``b`` bytes and at the pieces that lie among them,
at no others. Where there are many pieces, what continues the last one is added to it, up to `MERGED_BYTES`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

PIECE_COST = 128
"""Bytes that Python needs to hold a piece, besides its content: charged, or tiny pieces would be free."""


MERGE_BEYOND = 64
"""Pieces from which on the last one is continued in place."""
MERGED_BYTES = 4096
"""How long a piece may become that way: each addition copies it."""

Favours: TypeAlias = Callable[[int, int, int, int], bool]
"""Says whether the later of two copies of the same bytes stays: where the copy that came first began and ended, as it
was sent, and where the later one does."""


class Copy(NamedTuple):
    """One copy of bytes of which there are others, as it arrived."""

    start: int
    data: bytes
    first: int
    """Where what was sent at once began,"""
    last: int
    """and one past its end."""
    ttl: int = 0
    """Hops that its packet might still have gone; 0: not known."""


class Piece:
    """Bytes that begin at ``start`` of the range."""

    __slots__ = ("conflict", "data", "first", "last", "start", "ttl")

    def __init__(self, start: int, data: bytes, first: int, last: int, ttl: int = 0) -> None:
        self.start = start
        self.data = data
        self.first = first
        self.last = last
        """Where what was sent at once began, and one past its end."""
        self.ttl = ttl
        """As in `Copy`."""
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

    def insert(
        self,
        start: int,
        data: bytes,
        favours: Favours | None = None,
        copies: list[Copy] | None = None,
        ttl: int = 0,
    ) -> Inserted:
        """Keep those bytes of ``data``, which belongs at ``start``, that no piece covers yet; compare the others.

        Where they differ, the piece is marked with ``conflict``, and keeps its bytes unless ``favours`` says otherwise;
        both copies are added to ``copies``, the earlier one first. ``ttl`` is as in `Copy`.
        """
        starts, items = self._starts, self._items
        size = len(data)
        end = start + size
        if not size or not items or start >= items[-1].end:  # in order, or the first: nothing to look for
            if size:
                self._append(start, data, ttl)
            return Inserted(size, 0, False)
        first = bisect_right(starts, start)
        if first and items[first - 1].end > start:
            first -= 1
        last, at, covered, differs = first, start, 0, False
        laid: list[Piece] = []
        while last < len(items) and starts[last] < end:
            piece = items[last]
            if at < piece.start:
                laid.append(Piece(at, data[at - start : piece.start - start], start, end, ttl))
                at = piece.start
            upto = min(end, piece.end)
            old, new = piece.data[at - piece.start : upto - piece.start], data[at - start : upto - start]
            if old != new:
                piece.conflict = differs = True
                if copies is not None:
                    copies += (Copy(at, old, piece.first, piece.last, piece.ttl), Copy(at, new, start, end, ttl))
                if favours is not None and favours(piece.first, piece.last, start, end):
                    laid += _replaced(piece, Piece(at, new, start, end, ttl))
                else:
                    laid.append(piece)
            else:
                laid.append(piece)
            covered += upto - at
            at, last = upto, last + 1
        if at < end:
            laid.append(Piece(at, data[at - start :], start, end, ttl))
        items[first:last] = laid
        starts[first:last] = [piece.start for piece in laid]
        self.size += size - covered
        return Inserted(size - covered, covered, differs)

    def _append(self, start: int, data: bytes, ttl: int) -> None:
        self.size += len(data)
        if len(self._items) >= MERGE_BEYOND:
            tail = self._items[-1]
            alike = not tail.conflict and tail.ttl == ttl
            if alike and tail.end == start and len(tail.data) + len(data) <= MERGED_BYTES:
                tail.data += data
                tail.last = start + len(data)
                return
        self._starts.append(start)
        self._items.append(Piece(start, data, start, start + len(data), ttl))

    def drop_last(self) -> int:
        """Let go of the last piece; return how many bytes it had. Raises IndexError where there is none."""
        size = len(self._items.pop().data)
        self._starts.pop()
        self.size -= size
        return size

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


def _replaced(piece: Piece, by: Piece) -> list[Piece]:
    """Return a piece with part of it replaced: what is left of it, and that part."""
    by.conflict = True
    parts = [by]
    for start, end in ((piece.start, by.start), (by.end, piece.end)):
        if start < end:
            rest = Piece(start, piece.data[start - piece.start : end - piece.start], piece.first, piece.last, piece.ttl)
            parts.append(rest)
    return sorted(parts, key=lambda part: part.start)
