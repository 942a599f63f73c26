"""Orderly datagrams of a batch: found and put together at once.

THEORY. A datagram is orderly when all its fragments are in one batch, and each of its bytes is in exactly one of them.
Then the order in which they came decides nothing: none overlaps another, none contradicts another's end, and the last
one to come completes it. Whatever else there is of the same key in the batch makes it disorderly: a copy, a hole, a
second end, the next datagram with that number. Such fragments go one by one (`ids.decode.defrag`), which would come to
the same result for orderly ones.

COST. A sort of the batch's fragments; then one copy of the bytes, with no statement of Python once a fragment.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from ids.capture.gather import gather
from ids.decode import checksum
from ids.decode.columns import Columns
from ids.decode.fragments import IPV6_HEADER, Fragments
from ids.decode.hashing import mix
from ids.types import I64, U8, U64, Bool, ascending

MAX_DATAGRAM = 65_535
"""Bytes of the largest IPv4 packet, header included, and of the largest IPv6 payload."""

_UNITS = np.uint64((1 << 13) - 1)
"""Bits of a fragment's offset in units of 8 bytes."""


@dataclass(frozen=True, slots=True)
class Datagrams:
    """Whole IP packets without fragmentation, by the rows of the fragments that completed them."""

    row: I64
    """Ascending."""
    data: U8
    """The batch's own bytes, so that its indices stay valid, and behind them the packets."""
    offset: I64
    """Index in ``data`` of each packet."""
    length: I64
    alternative: Bool
    """Versions of a datagram that some hosts see, and Linux does not."""

    def __len__(self) -> int:
        return len(self.row)


_NONE = np.empty(0, np.int64)
NONE = Datagrams(_NONE, np.empty(0, np.uint8), _NONE, _NONE, np.empty(0, np.bool_))


class Single(NamedTuple):
    """A packet that was put together by itself."""

    row: int
    packet: bytes
    alternative: bool


@dataclass(frozen=True, slots=True)
class Orderly:
    """The orderly datagrams among some fragments; columns of shape (d,), ``member`` of shape (k,)."""

    member: I64
    """Indices of their fragments, those of a datagram together and in the order of their offsets."""
    first: I64
    """Where each datagram begins in ``member``."""
    opened: I64
    """Row of the fragment that came first."""
    completed: I64
    """Row of the fragment that came last; ascending."""

    def __len__(self) -> int:
        return len(self.first)

    @property
    def most_open(self) -> int:
        """How many of them were incomplete at once."""
        order = np.argsort(np.concatenate((self.opened, self.completed)))
        steps = np.where(order < len(self), 1, -1)
        return int(np.cumsum(steps).max(initial=0))

    def only(self, which: Bool) -> Orderly:
        """Return some of these datagrams, picked by a mask."""
        sizes = np.diff(self.first, append=len(self.member))
        kept = sizes[which]
        return Orderly(
            self.member[np.repeat(which, sizes)], np.cumsum(kept) - kept, self.opened[which], self.completed[which]
        )


NO_ORDERLY = Orderly(*(np.empty(0, np.int64) for _ in range(4)))


def find(fragments: Fragments, words: tuple[U64, ...]) -> Orderly:
    """Find the orderly datagrams; ``words`` are the fragments' keys.

    Two datagrams whose keys have one hash make each other disorderly, no more.
    """
    rank = mix(*words) & ~_UNITS | (fragments.offset >> 3).astype(np.uint64)
    order = np.argsort(rank)
    group = rank[order] & ~_UNITS
    begins = np.ones(len(order), np.bool_)
    begins[1:] = group[1:] != group[:-1]
    offset, end, more = fragments.offset[order], fragments.end[order], fragments.more[order]
    fits = np.empty(len(order), np.bool_)
    fits[0] = True
    fits[1:] = begins[1:] | (offset[1:] == end[:-1])
    fits &= ~begins | (offset == 0)
    ends = np.ones(len(order), np.bool_)
    ends[:-1] = begins[1:]
    fits &= more != ends
    fits &= ~fragments.uneven[order]
    for word in words:
        sorted_word = word[order]
        fits[1:] &= begins[1:] | (sorted_word[1:] == sorted_word[:-1])
    first, last = np.flatnonzero(begins), np.flatnonzero(ends)
    header_len = np.where(fragments.is_v4, fragments.header_len, 0)[order[first]]
    good = np.logical_and.reduceat(fits, first) & (header_len + end[last] <= MAX_DATAGRAM)
    row = fragments.row[order]
    opened, completed = np.minimum.reduceat(row, first), np.maximum.reduceat(row, first)
    sizes = last - first + 1
    member, sizes, opened, completed = order[np.repeat(good, sizes)], sizes[good], opened[good], completed[good]
    turn = np.argsort(completed)
    place = np.empty(len(turn), np.int64)
    place[turn] = np.arange(len(turn))
    member = member[np.argsort(np.repeat(place, sizes), kind="stable")]
    sizes = sizes[turn]
    return Orderly(member, np.cumsum(sizes) - sizes, opened[turn], completed[turn])


def assemble(columns: Columns, fragments: Fragments, orderly: Orderly, single: list[Single]) -> Datagrams:
    """Put each orderly datagram together: the first fragment's header, made one of a whole packet, and all payloads.

    The ``single`` packets, by row, join them.
    """
    if not len(orderly) and not single:
        return NONE
    row = np.array([each.row for each in single], np.int64)
    length = np.array([len(each.packet) for each in single], np.int64)
    alternative = np.array([each.alternative for each in single], np.bool_)
    frames = np.ascontiguousarray(columns.data).data
    packets = (each.packet for each in single)
    if not len(orderly):  # rows of single packets ascend
        whole = np.frombuffer(bytearray().join(chain((frames,), packets)), np.uint8)
        return Datagrams(row, whole, len(frames) + np.cumsum(length) - length, length, alternative)
    member = fragments.take(orderly.member)
    head = member.take(orderly.first)
    begin = np.insert(member.start, orderly.first, head.header)
    end = np.insert(member.start + member.length, orderly.first, head.header + head.header_len)
    slices = map(frames.__getitem__, map(slice, begin.tolist(), end.tolist()))
    whole = np.frombuffer(bytearray().join(chain((frames,), slices, packets)), np.uint8)
    row = np.concatenate((orderly.completed, row))
    length = np.concatenate((head.header_len + np.add.reduceat(member.length, orderly.first), length))
    offset = len(frames) + np.cumsum(length) - length
    v4, count = head.is_v4, len(orderly)
    _finish_v4(whole, offset[:count][v4], head.header_len[v4], length[:count][v4])
    _finish_v6(whole, offset[:count][~v4], length[:count][~v4], head.proto[~v4])
    alternative = np.concatenate((np.zeros(count, np.bool_), alternative))
    order = np.argsort(row, kind="stable")
    return Datagrams(row[order], whole, offset[order], length[order], alternative[order])


def _finish_v4(data: U8, at: I64, header_len: I64, length: I64) -> None:
    if not at.size:
        return
    data[at + 2], data[at + 3] = length >> 8, length & 0xFF
    data[at + 6] &= 0x40  # keep "do not fragment" only
    data[at + 7] = data[at + 10] = data[at + 11] = 0
    for size in ascending(header_len).tolist():  # there are eleven at most
        of_size = at[header_len == size]
        headers = gather(data, of_size, np.dtype((np.uint8, size))).reshape(-1, size)
        sums = checksum.of_headers(headers)
        data[of_size + 10], data[of_size + 11] = sums >> 8, sums & 0xFF


def _finish_v6(data: U8, at: I64, length: I64, proto: U8) -> None:
    payload = length - IPV6_HEADER
    data[at + 4], data[at + 5] = payload >> 8, payload & 0xFF
    data[at + 6] = proto
