"""The pcapng format: blocks of a type, a length, a body and the length again.

Source: draft-ietf-opsawg-pcapng. Used: section header, interface description (``if_tsresol``, ``if_tsoffset``), and the
enhanced, simple and obsolete packet blocks. Every other block is stepped over. A section may change the byte order
and starts its own list of interfaces.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.capture.gather import gather
from ids.capture.records import MAX_CAPLEN, MAX_SECONDS, NANOSECONDS, Records
from ids.types import I64, U8, U64, Bool, ascending

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
PACKET = 2
SIMPLE_PACKET = 3
ENHANCED_PACKET = 6

_ORDERS = {bytes.fromhex("4d3c2b1a"): "<", bytes.fromhex("1a2b3c4d"): ">"}
_META = (SECTION_HEADER, INTERFACE_DESCRIPTION)
_PACKETS = (ENHANCED_PACKET, PACKET, SIMPLE_PACKET)

MAX_BLOCK_LEN = 16 * 1024 * 1024
"""Bytes of one block; more is damage (as Wireshark judges). Bounds what is carried from chunk to chunk."""

MAX_INTERFACES = 65_536
"""Interfaces of one section; more is damage. The simple numbering of real captures has a handful."""

_MIN_INTERFACE = 20
_OPTION_TSRESOL = 9
_OPTION_TSOFFSET = 14


class Damage(Exception):
    """The block at hand makes no sense; the text says why."""


@dataclass(slots=True)
class Interfaces:
    """What the interface descriptions of a section declared, by interface number."""

    linktype: list[int] = field(default_factory=list)
    snaplen: list[int] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)
    """Ticks a second of the interface's timestamps."""
    offset_s: list[int] = field(default_factory=list)
    """Seconds to add to the interface's timestamps."""

    def add(self, body: bytes, order: str) -> None:
        """Take in the body of an interface description block."""
        if len(self.linktype) >= MAX_INTERFACES:
            raise Damage(f"more than {MAX_INTERFACES} interfaces in a section")
        linktype, _reserved, snaplen = struct.unpack_from(f"{order}HHI", body)
        ticks, offset_s = 1_000_000, 0
        position = 8
        while position + 4 <= len(body):
            code, length = struct.unpack_from(f"{order}HH", body, position)
            value = body[position + 4 : position + 4 + length]
            if code == 0 or len(value) < length:
                break
            if code == _OPTION_TSRESOL and length == 1:
                ticks = _ticks_per_second(value[0])
            elif code == _OPTION_TSOFFSET and length == 8:
                offset_s = struct.unpack(f"{order}q", value)[0]
            position += 4 + (length + 3 & ~3)
        self.linktype.append(linktype)
        self.snaplen.append(snaplen or MAX_CAPLEN)
        self.ticks.append(ticks)
        self.offset_s.append(offset_s)


def _ticks_per_second(resolution: int) -> int:
    """Decode if_tsresol: a negative power of ten, or of two where the top bit is set."""
    ticks = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    if ticks >= 1 << 63:
        raise Damage(f"an interface's timestamp resolution (if_tsresol {resolution:#04x}) is finer than can be kept")
    return int(ticks)


class PcapngFormat:
    """Find packets in the blocks of a pcapng file; feed it the file from its first byte."""

    def __init__(self) -> None:
        self._header_of: Callable[[memoryview, int], tuple[int, int]]
        self._set_order("<")
        self._interfaces = Interfaces()
        self._last_ts_ns = 0

    def _set_order(self, order: str) -> None:
        self._order = order
        self._header_of = struct.Struct(f"{order}II").unpack_from
        names = ("kind", "length", "interface", "ts_high", "ts_low", "caplen", "wirelen")
        self._dtype = np.dtype([(name, f"{order}u4") for name in names])

    def scan(self, data: U8, start: int, stop: int, limit: int) -> Records:
        """Find up to ``limit`` whole packets in ``data[start:stop]``; stops before a new section's header."""
        positions: list[int] = []
        position, more, damage = start, False, ""
        view = data.data
        last = stop - 12
        header_of = self._header_of
        while position <= last:
            kind, length = header_of(view, position)
            if kind in _META:
                if kind == SECTION_HEADER and positions:
                    more = True  # the packets so far belong to the old section
                    break
                try:
                    length = self._declare(kind, view[position:stop])
                except Damage as error:
                    damage = str(error)
                    break
                header_of = self._header_of
            if length < 12 or length & 3 or length > MAX_BLOCK_LEN:
                damage = f"a block claims a length of {length} bytes"
                break
            if position + length > stop:
                break
            if kind in _PACKETS:
                positions.append(position)
            position += length
            if len(positions) == limit:
                more = True
                break
        return self._records(data, np.array(positions, np.int64), position, more, damage)

    def _declare(self, kind: int, view: memoryview) -> int:
        """Take in the section header or interface description that ``view`` begins with; return its length.

        An incomplete block changes nothing that its complete repetition would not set again.
        """
        if kind == SECTION_HEADER:
            magic = bytes(view[8:12])
            if magic not in _ORDERS:
                raise Damage(f"a section header has the byte-order magic {magic.hex()}")
            self._set_order(_ORDERS[magic])
            self._interfaces = Interfaces()
        length = self._header_of(view, 0)[1]
        if kind == INTERFACE_DESCRIPTION and length <= len(view):
            if length < _MIN_INTERFACE:
                raise Damage(f"an interface description of {length} bytes is too short")
            self._interfaces.add(bytes(view[8 : length - 4]), self._order)
        return length

    def _records(self, data: U8, positions: I64, end: int, more: bool, damage: str) -> Records:
        """Turn packet blocks into columns, up to the first one that makes no sense."""
        block = gather(data, positions, self._dtype)
        interfaces = self._interfaces
        kind, length = block["kind"], block["length"].astype(np.int64)
        interface = block["interface"].astype(np.int64)
        caplen, wirelen = block["caplen"].astype(np.int64), block["wirelen"].astype(np.int64)
        body = np.full(len(positions), 28, np.int64)

        old = kind == PACKET
        if old.any():  # a 16-bit interface number and a 16-bit drop count share the place
            interface[old] = interface[old] & 0xFFFF if self._order == "<" else interface[old] >> 16
        simple = kind == SIMPLE_PACKET
        if simple.any():
            interface[simple] = 0
            wirelen[simple] = block["interface"][simple]
            snaplen = interfaces.snaplen[0] if interfaces.snaplen else 0
            caplen[simple] = np.minimum(np.minimum(wirelen[simple], snaplen), length[simple] - 16)
            body[simple] = 12

        wild = (interface >= len(interfaces.linktype)) | (caplen > MAX_CAPLEN) | (caplen > length - body - 4)
        wild |= caplen < 0  # a simple packet block too short for its own header
        bad = np.flatnonzero(wild)
        if bad.size:
            row = int(bad[0])
            end, more = int(positions[row]), False
            damage = f"a packet block of {length[row]} bytes claims interface {interface[row]}, caplen {caplen[row]}"
            keep = slice(0, row)
            positions, interface, body, simple = positions[keep], interface[keep], body[keep], simple[keep]
            caplen, wirelen, block = caplen[keep], wirelen[keep], block[keep]
        return Records(
            offset=positions + body,
            caplen=caplen,
            wirelen=np.maximum(wirelen, caplen),
            ts_ns=self._times(block, interface, simple),
            linktype=np.array(interfaces.linktype or [0], np.uint16)[interface],
            interface=interface.astype(np.uint32),
            end=end,
            more=more,
            damage=damage,
        )

    def _times(self, block: NDArray[Any], interface: I64, simple: Bool) -> I64:
        """Convert timestamps to nanoseconds; a simple packet has none and takes that of its predecessor."""
        ticks = block["ts_high"].astype(np.uint64) << np.uint64(32) | block["ts_low"]
        ts_ns = np.zeros(len(ticks), np.int64)
        used = ascending(interface) if len(self._interfaces.ticks) > 1 else np.zeros(1, np.int64)
        for number in used.tolist() if len(ticks) else []:
            rows = np.flatnonzero(interface == number)
            ts_ns[rows] = to_nanoseconds(ticks[rows], self._interfaces.ticks[number], self._interfaces.offset_s[number])
        if simple.any():
            source = np.maximum.accumulate(np.where(simple, -1, np.arange(len(ticks))))
            ts_ns = np.where(source >= 0, ts_ns[source], self._last_ts_ns)
        if len(ts_ns):
            self._last_ts_ns = int(ts_ns[-1])
        return ts_ns


def to_nanoseconds(ticks: U64, per_second: int, offset_s: int) -> I64:
    """Convert timestamps of ``per_second`` ticks, ``offset_s`` seconds late; what does not fit is cut to the range."""
    unit = np.uint64(per_second)
    seconds, rest = ticks // unit, ticks % unit
    if per_second > 1 << 33:  # keep the product below 2**64: nothing finer than 0.1 ns is lost
        shift = max(per_second.bit_length() - 33, 0)
        rest, per_second = rest >> np.uint64(shift), per_second >> shift
    fraction = rest * np.uint64(NANOSECONDS) // np.uint64(per_second)
    offset_s = min(max(offset_s, -MAX_SECONDS), MAX_SECONDS)
    whole = np.minimum(seconds, MAX_SECONDS).astype(np.int64) + offset_s
    result: I64 = np.clip(whole, 0, MAX_SECONDS) * NANOSECONDS + fraction.astype(np.int64)
    return result
