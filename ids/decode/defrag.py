"""Reassembly of IP datagrams from their fragments: bounded, first content wins, conflicts counted.

Sources: RFC 791 section 3.2, RFC 8200 section 4.5; for what hosts refuse, Linux net/ipv4/ip_fragment.c and
net/ipv6/reassembly.c. Python runs once a fragment here: fragments are rare, and a datagram's work is bounded by its
64 KiB.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from ids.counters import Counters
from ids.decode.columns import Columns
from ids.decode.settings import DefragSettings

MAX_DATAGRAM = 65_535
"""Bytes of the largest IPv4 packet, header included, and of the largest IPv6 payload."""

PIECE_COST = 128
"""Bytes that Python needs to hold a piece, besides its content: counted, or 8-byte fragments would be free."""

_IPV6_HEADER = 40

Key: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment, taken out of its batch."""

    row: int
    ts_ns: int
    offset: int
    more: bool
    header: bytes
    """The packet's bytes from its IP header to the fragment's payload."""
    proto: int
    payload: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.payload)


@dataclass(slots=True)
class Datagram:
    """The pieces of one datagram so far: sorted, and never overlapping."""

    first_ns: int
    starts: list[int] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    have: int = 0
    reach: int = 0
    """Largest end of any fragment seen."""
    end: int | None = None
    """Length of the payload, once the last fragment was seen."""
    first: Fragment | None = None
    """The fragment that carries the beginning, whose header the datagram gets."""

    @property
    def cost(self) -> int:
        """Bytes of memory this datagram is charged for."""
        return self.have + PIECE_COST * (len(self.pieces) + 1)

    @property
    def complete(self) -> bool:
        return self.have == self.end and self.first is not None

    def contradicts(self, fragment: Fragment) -> bool:
        """Tell whether the fragment's end does not fit the datagram's."""
        if fragment.more:
            return self.end is not None and fragment.end > self.end
        return fragment.end < self.reach or (self.end is not None and fragment.end != self.end)

    def add(self, fragment: Fragment) -> tuple[bool, bool]:
        """Fill the holes that ``fragment`` covers; return whether it overlapped, and with different content."""
        start, end, data = fragment.offset, fragment.end, fragment.payload
        at = bisect_right(self.starts, start)
        if at and self.starts[at - 1] + len(self.pieces[at - 1]) > start:
            at -= 1
        position, overlap, conflict = start, False, False
        fresh: list[tuple[int, bytes]] = []
        while at < len(self.starts) and self.starts[at] < end:
            begin, piece = self.starts[at], self.pieces[at]
            if begin > position:
                fresh.append((position, data[position - start : begin - start]))
            low, high = max(begin, start), min(begin + len(piece), end)
            overlap = True
            conflict |= data[low - start : high - start] != piece[low - begin : high - begin]
            position = max(position, begin + len(piece))
            at += 1
        if position < end:
            fresh.append((position, data[position - start :]))
        for begin, piece in fresh:
            at = bisect_left(self.starts, begin)
            self.starts.insert(at, begin)
            self.pieces.insert(at, piece)
            self.have += len(piece)
        self.reach = max(self.reach, end)
        if not fragment.more:
            self.end = end
        if start == 0 and self.first is None:
            self.first = fragment
        return overlap, conflict


@dataclass(frozen=True, slots=True)
class Reassembled:
    """A whole datagram as an IP packet without fragmentation, and the row of the fragment that completed it."""

    row: int
    packet: bytes


class Defragmenter:
    """Collect fragments over batches. Remembers at most what ``settings`` allow; the oldest datagram gives way."""

    def __init__(self, settings: DefragSettings, counters: Counters) -> None:
        self._settings = settings
        self._counters = counters
        self._timeout_ns = int(settings.timeout_s * 1e9)
        self._datagrams: OrderedDict[Key, Datagram] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._datagrams)

    def process(self, columns: Columns) -> list[Reassembled]:
        """Take in the fragments that decoding set aside; return the datagrams they completed, by row."""
        if not columns.fragments:
            return []
        rows = np.concatenate([part.rows for part in columns.fragments])
        identification = np.concatenate([part.identification for part in columns.fragments]).tolist()
        offset = np.concatenate([part.offset for part in columns.fragments]).tolist()
        more = np.concatenate([part.more for part in columns.fragments]).tolist()
        whole: list[Reassembled] = []
        for k in np.argsort(rows, kind="stable").tolist():
            row = int(rows[k])
            self._count("fragments")
            if columns.payload_missing[row]:
                self._count("truncated")  # the capture lacks part of it: there is nothing to put together
                continue
            key = _key(columns, row, identification[k])
            packet = self._take(key, _fragment(columns, row, offset[k], more[k]))
            if packet is not None:
                whole.append(Reassembled(row, packet))
        self._counters.set("decode.defrag.active", len(self._datagrams))
        self._counters.set("decode.defrag.memory_bytes", self._bytes)
        return whole

    def _take(self, key: Key, fragment: Fragment) -> bytes | None:
        """Add one fragment; return the packet it completes."""
        self._expire(fragment.ts_ns)
        version = key[0]
        if fragment.more and len(fragment.payload) % 8:
            if version == 6:  # Linux answers with an error and drops it
                self._count("malformed")
                return None
            kept = fragment.payload[: len(fragment.payload) & ~7]  # Linux cuts it to whole units
            fragment = Fragment(
                fragment.row, fragment.ts_ns, fragment.offset, True, fragment.header, fragment.proto, kept
            )
        if not fragment.payload:
            self._count("malformed")
            return None
        if fragment.end + (len(fragment.header) if version == 4 else 0) > MAX_DATAGRAM:
            self._count("oversize")
            return None
        datagram = self._datagrams.get(key)
        if datagram is None:
            datagram = self._datagrams[key] = Datagram(fragment.ts_ns)
            self._bytes += datagram.cost
        if datagram.contradicts(fragment):
            self._count("malformed")
            return None
        self._bytes -= datagram.cost
        overlap, conflict = datagram.add(fragment)
        self._bytes += datagram.cost
        self._count("overlaps", overlap)
        self._count("conflicts", conflict)
        if datagram.complete:
            del self._datagrams[key]
            self._bytes -= datagram.cost
            self._count("reassembled")
            return _assemble(version, datagram)
        self._make_room()
        return None

    def _expire(self, now_ns: int) -> None:
        while self._datagrams:
            oldest = next(iter(self._datagrams.values()))
            if oldest.first_ns + self._timeout_ns >= now_ns:
                break
            self._drop_oldest("timeouts")

    def _make_room(self) -> None:
        while len(self._datagrams) > self._settings.max_datagrams or self._bytes > self._settings.memcap_bytes:
            self._drop_oldest("evicted")

    def _drop_oldest(self, reason: str) -> None:
        _key, datagram = self._datagrams.popitem(last=False)
        self._bytes -= datagram.cost
        self._count(reason)

    def _count(self, name: str, amount: int = 1) -> None:
        if amount:
            self._counters.add(f"decode.defrag.{name}", amount)


def _key(columns: Columns, row: int, identification: int) -> Key:
    """Return what tells datagrams apart: the VLAN too, or one network could poison another's datagrams."""
    version = int(columns.ip_version[row])
    return (
        version,
        int(columns.vlan[row]),
        *columns.src[row].tolist(),
        *columns.dst[row].tolist(),
        int(columns.proto[row]) if version == 4 else -1,
        identification,
    )


def _fragment(columns: Columns, row: int, offset: int, more: bool) -> Fragment:
    start = int(columns.payload[row])
    return Fragment(
        row=row,
        ts_ns=int(columns.batch.ts_ns[row]),
        offset=offset,
        more=more,
        header=columns.data[int(columns.l3[row]) : start].tobytes(),
        proto=int(columns.proto[row]),
        payload=columns.data[start : start + int(columns.payload_len[row])].tobytes(),
    )


def _assemble(version: int, datagram: Datagram) -> bytes:
    """Put the first fragment's header before all pieces; an IPv6 header loses the extension headers behind it."""
    assert datagram.first is not None
    payload = b"".join(datagram.pieces)
    if version == 6:
        header = bytearray(datagram.first.header[:_IPV6_HEADER])
        header[4:6] = len(payload).to_bytes(2, "big")
        header[6] = datagram.first.proto
        return bytes(header) + payload
    header = bytearray(datagram.first.header)
    header[2:4] = (len(header) + len(payload)).to_bytes(2, "big")
    header[6] &= 0x40  # keep "do not fragment" only
    header[7] = 0
    header[10:12] = b"\0\0"
    header[10:12] = _checksum(header).to_bytes(2, "big")
    return bytes(header) + payload


def _checksum(header: bytearray) -> int:
    """Compute the Internet checksum of an even number of bytes, RFC 1071."""
    return 0xFFFF - sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2)) % 0xFFFF
