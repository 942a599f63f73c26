"""What the capture formats share: the records found in a stretch of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ids.types import I64, U8, U16, U32

MAX_CAPLEN = 262_144
"""Bytes of one frame that a capture may hold; more is damage (libpcap's MAXIMUM_SNAPLEN, pcap-int.h)."""

MAX_SECONDS = 9_223_372_035
"""Largest whole second that fits into signed 64-bit nanoseconds with any fraction; later times are cut to it."""

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Records:
    """The frames found by one scan, as columns of shape (n,); ``offset`` indexes the scanned bytes."""

    offset: I64
    caplen: I64
    wirelen: I64
    ts_ns: I64
    linktype: U16
    interface: U32
    end: int
    """Index of the first byte after the last whole record or block."""
    more: bool
    """The scan stopped because it had enough frames or met a new section, not because the bytes ran out."""
    damage: str = ""
    """What is wrong with the record at ``end``; reading cannot go on behind it."""


class Format(Protocol):
    """A capture format: knows its own headers, keeps what they declared."""

    def scan(self, data: U8, start: int, stop: int, limit: int) -> Records:
        """Find up to ``limit`` whole frames in ``data[start:stop]``. Never raises for bad content."""
