"""Internet checksums of many packets at once. Source: RFC 1071.

A checksum is right when the 16-bit words it covers, itself included, add up to 0xFFFF in one's complement, which is to
say: to a multiple of 65535 that is not 0. Modulo 65535 a sum of 32-bit words equals the sum of its 16-bit halves, and
swapping the bytes of every word is a multiplication by 256; so unaligned segments need no copy.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.types import I64, U8, U16, U64, Bool

_MODULUS = np.uint64(65535)
_LOW = np.uint64(0xFFFFFFFF)
_HIGH_BITS = np.uint64(32)
_BELOW = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], np.uint32)
"""Mask of the first k bytes of a little-endian 32-bit word, by k."""

PIECE_WORDS = 1 << 16
"""Words summed at a time: NumPy makes 64-bit words of them first, of which so many stay in the cache and in memory that
is there already; those of a whole batch, 8 MiB, the system has to provide anew each time."""

MIN_SEGMENT = 8
"""Bytes of the shortest segment: it touches two words wherever it begins."""


def headers_valid(header: NDArray[Any]) -> Bool:
    """Return for each 20-byte IPv4 header (any 20-byte structure, contiguous) whether its checksum is right."""
    words = header.view("<u4").reshape(len(header), 5)
    total = words[:, 0].astype(np.uint64)
    for column in range(1, 5):
        total += words[:, column]
    return _valid(total)


def segments_valid(data: U8, start: I64, end: I64, pseudo: U64 | None = None) -> Bool:
    """Return for each ``data[start:end]`` whether its words, and ``pseudo``, add up as they must.

    Each segment has at least `MIN_SEGMENT` bytes inside ``data``. ``pseudo`` is a sum of big-endian words below 2**40.
    """
    total = _segment_sums(data, start, end)
    # the words were summed in little-endian order, counted from even indices of the buffer
    total <<= np.where(start & 1, 0, 8).astype(np.uint64)
    if pseudo is not None:
        total += pseudo
    return _valid(total)


def of_headers(headers: U8) -> U16:
    """Compute the checksum of each row of ``headers``, shape (n, even), in which its own place holds zeros."""
    total = headers.view(">u2").sum(axis=1, dtype=np.uint64)
    checksums: U16 = (_MODULUS - total % _MODULUS).astype(np.uint16)
    return checksums


def pseudo_header(address_sum: U64, proto: U8, length: I64) -> U64:
    """Sum the pseudo header of each packet, RFC 9293 section 3.1 and RFC 8200 section 8.1."""
    total: U64 = length.astype(np.uint64)
    total += proto
    total += address_sum
    return total


def sum_of_halves(*halves: NDArray[np.uint64]) -> U64:
    """Sum 64-bit words in any byte order, as a number below 2**40 for up to 128 of them."""
    total: U64 = np.zeros(len(halves[0]), np.uint64)
    for half in halves:
        native = half.astype(np.uint64)
        total += native & _LOW
        total += native >> _HIGH_BITS
    return total


def are_partial(data: U8, at: I64, pseudo: U64) -> Bool:
    """Return for each checksum, at index ``at`` of ``data``, whether it holds the folded sum of ``pseudo`` and no more.

    That is what Linux leaves for the device to complete (CHECKSUM_PARTIAL, include/linux/skbuff.h): not complemented,
    and with the length that the IP header has, also where segments are merged (`tcp_gro_complete`) or to be cut
    (`__tcp_v4_send_check`). Between virtual interfaces nobody completes it.
    """
    field = data[at].astype(np.uint64) << np.uint64(8) | data[at + 1]
    folded = pseudo % _MODULUS
    folded[folded == 0] = _MODULUS  # no pseudo header is all zeros, so its folded sum is not 0
    partial: Bool = field == folded
    return partial


def _segment_sums(data: U8, start: I64, end: I64) -> U64:
    """Sum the little-endian words of each segment, as 64-bit numbers below 2**48.

    What lies between one segment and the next is summed too, for that is how NumPy reduces. So they are taken in the
    order of the buffer: packets of two rings, in the order of time, leap from one half of it to the other and back.
    """
    if (start[1:] < start[:-1]).any():
        order = np.argsort(start)
        total = np.empty(len(start), np.uint64)
        total[order] = _segment_sums(data, start[order], end[order])
        return total
    first, last = start >> 2, (end - 1) >> 2
    low, high = int(first.min()), int(last.max()) + 1
    words = data[4 * low : 4 * high]
    if len(words) % 4:
        words = np.concatenate((words, np.zeros(-len(words) % 4, np.uint8)))
    words = words.view("<u4")
    bounds = np.empty(2 * len(start), np.int64)
    bounds[0::2], bounds[1::2] = first - low, last - low
    total = np.empty(len(start), np.uint64)
    cuts = np.searchsorted(bounds[0::2], np.arange(PIECE_WORDS, len(words), PIECE_WORDS)).tolist()
    for begin, stop in pairwise((0, *cuts, len(start))):
        if begin < stop:
            of = bounds[2 * begin : 2 * stop]
            piece = words[of[0] : int(of.max()) + 1]
            total[begin:stop] = np.add.reduceat(piece, of - of[0], dtype=np.uint64)[0::2]
    total -= words[bounds[0::2]] & _BELOW[start & 3]
    total += words[bounds[1::2]] & _BELOW[(end - 1 & 3) + 1]
    return total


def _valid(total: U64) -> Bool:
    valid: Bool = (total % _MODULUS == 0) & (total != 0)
    return valid
