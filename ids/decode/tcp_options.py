"""TCP options that say whether a host takes a segment: timestamps, signatures, window scale, multipath.

Sources: RFC 9293 section 3.2 (layout), RFC 7323 (window scale, timestamps), RFC 2385 (MD5), RFC 5925 (authentication),
RFC 8684 (multipath). As Linux reads them (``tcp_parse_options``): what follows a malformed option is not read.

COST. Almost all segments have no options, just timestamps behind two fillers, or what Linux puts into a SYN; these take
one look. The others are walked through an option at a time, all rows together: at most 40 rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ids.capture.gather import gather
from ids.types import I64, U8, U32, Bool, Packets

_HEADER = 20
_STAMP_ALONE = 0x0101080A
_STAMP_ALONE_BYTES = 12
_LEAD = np.dtype([("lead", ">u4"), ("stamp", ">u4")])
_OF_SYN = np.dtype([("size", ">u4"), ("lead", ">u4"), ("stamp", ">u4"), ("echo", ">u4"), ("scale", ">u4")])
_SIZE, _SACK_AND_STAMP, _SCALE = 0x0204, 0x0402080A, 0x010303
"""The options of a SYN of Linux: size of segments, selective acknowledgements, timestamps, a filler, scale."""
_WORD = np.dtype([("value", ">u4")])

END, FILLER, SCALE, STAMP, MD5, AUTHENTICATION, MULTIPATH = 0, 1, 3, 8, 19, 29, 30
NO_SCALE = 0xFF
CAPABLE, JOIN, NO_MULTIPATH = 0, 1, 0xFF
"""Subtypes of the multipath option: the connection may get further paths, and this is one (RFC 8684 section 3)."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of some rows, shape (n,)."""

    stamped: Bool
    """There is a timestamp,"""
    stamp: U32
    """and this is its value."""
    signed: Bool
    """There is an MD5 or an authentication option."""
    scale: U8
    """Shift of the window; `NO_SCALE`: there is none."""
    multipath: U8
    """Subtype of the multipath option; `NO_MULTIPATH`: there is none."""


def tcp_options(packets: Packets, rows: I64) -> Options:
    """Return the options of TCP rows whose header was decoded."""
    count = len(rows)
    options = Options(
        np.zeros(count, np.bool_),
        np.zeros(count, np.uint32),
        np.zeros(count, np.bool_),
        np.full(count, NO_SCALE, np.uint8),
        np.full(count, NO_MULTIPATH, np.uint8),
    )
    at, end = packets.l4[rows] + _HEADER, packets.payload[rows]
    size = end - at
    some = np.flatnonzero(size >= _STAMP_ALONE_BYTES)
    if len(some):
        lead = gather(packets.batch.data, at[some], _LEAD)
        alone = (lead["lead"] == _STAMP_ALONE) & (size[some] == _STAMP_ALONE_BYTES)
        options.stamped[some[alone]], options.stamp[some[alone]] = True, lead["stamp"][alone]
        _take_syns(packets.batch.data, some[size[some] == _OF_SYN.itemsize], at, options)
    left = np.flatnonzero((size > 0) & ~options.stamped)
    if len(left):
        _walk(packets.batch.data, left, at[left], end[left], options)
    return options


def _take_syns(data: U8, rows: I64, at: I64, options: Options) -> None:
    """Read the options of those ``rows`` that have them as a SYN of Linux has; ``at`` has where those of each are."""
    if not len(rows):
        return
    said = gather(data, at[rows], _OF_SYN)
    usual = (said["size"] >> 16 == _SIZE) & (said["lead"] == _SACK_AND_STAMP) & (said["scale"] >> 8 == _SCALE)
    of = rows[usual]
    options.stamped[of], options.stamp[of] = True, said["stamp"][usual]
    options.scale[of] = (said["scale"][usual] & 0xFF).astype(np.uint8)


def _walk(data: U8, rows: I64, at: I64, end: I64, options: Options) -> None:
    """Read the options of ``rows`` from ``at`` to ``end``, one of each row at a time."""
    while len(rows):
        kind = data[at]
        single = kind == FILLER
        length = np.ones(len(rows), np.int64)
        sized = ~single & (kind != END) & (at + 1 < end)
        length[sized] = data[at[sized] + 1]
        good = single | (sized & (length >= 2) & (at + length <= end))
        stamps = np.flatnonzero(good & (kind == STAMP) & (length == 10))
        if len(stamps):
            options.stamped[rows[stamps]] = True
            options.stamp[rows[stamps]] = gather(data, at[stamps] + 2, _WORD)["value"]
        options.signed[rows[good & ((kind == MD5) | (kind == AUTHENTICATION))]] = True
        scales = np.flatnonzero(good & (kind == SCALE) & (length == 3))
        options.scale[rows[scales]] = data[at[scales] + 2]
        paths = np.flatnonzero(good & (kind == MULTIPATH) & (length > 2))
        options.multipath[rows[paths]] = data[at[paths] + 2] >> 4
        at = at + length
        more = good & (at < end)
        rows, at, end = rows[more], at[more], end[more]
