"""Reassembly of IP datagrams from their fragments: bounded, as Linux does it, overlaps and conflicts counted.

Sources: RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722; for what hosts refuse, Linux net/ipv4/ip_fragment.c,
net/ipv6/reassembly.c and inet_frag_queue_insert.

OVERLAPS. A copy of what is there is ignored, whatever it holds: the first content stays, and it completes nothing. A
fragment that is partly there discards the datagram, itself included, and so does an empty one, and one that contradicts
the datagram's end; the next fragment begins anew. Were the first content kept then, too, it could be a decoy, and the
host would receive what follows.

THEORY. A fragment takes one of three ways. (1) What a host refuses for itself alone (over IPv6: too large, not in whole
units) is counted, and changes nothing but the time. (2) Orderly datagrams (`ids.decode.orderly`) are put together at
once, if nothing of them is held. (3) All others go one by one, in the order of their rows.

Ways 2 and 3 come to the same, as (2) is only taken where neither limit can strike: the fragments of the batch span less
than the timeout, so that none of their datagrams expires within it, and the batch has room even if nothing of it is
completed. Datagrams of earlier batches stand before those of this one, so these expire all the same, at the same
fragment: time is that of all fragments up to then, refused and orderly ones included.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ids.counters import Counters
from ids.decode.columns import Columns
from ids.decode.fragments import Fragments, Key, collect
from ids.decode.orderly import MAX_DATAGRAM, NO_ORDERLY, NONE, Datagrams, Orderly, assemble, find
from ids.decode.settings import DefragSettings
from ids.pieces import PIECE_COST, Inserted, Pieces
from ids.types import I64, U64

ORDERLY_FROM = 128
"""Fragments in a batch from which a search for orderly datagrams pays: it costs some 200 microseconds."""


class Fragment(NamedTuple):
    """One of the fragments; the fields are those of `Fragments`."""

    row: int
    ts_ns: int
    offset: int
    length: int
    more: bool
    proto: int
    header: int
    header_len: int
    start: int


@dataclass(slots=True)
class Datagram:
    """One datagram so far."""

    first_ns: int
    pieces: Pieces = field(default_factory=Pieces)
    end: int | None = None
    """Length of the payload, once the last fragment was seen."""
    header: bytes = b""
    """IP header of the fragment that carries the beginning."""
    proto: int = 0
    """What that fragment says is in the datagram."""
    starts: list[int] = field(default_factory=list)
    """Where the runs begin that a copy may be of: fragments, or, at the end, those that came one behind the other."""
    ends: list[int] = field(default_factory=list)
    """Where they end."""

    @property
    def cost(self) -> int:
        """Bytes of memory this datagram is charged for."""
        return self.pieces.cost + PIECE_COST * max(1, len(self.starts))

    @property
    def complete(self) -> bool:
        return self.pieces.size == self.end

    @property
    def oversize(self) -> bool:
        """Whether the whole is too large, which no fragment has to be: their headers may differ in length."""
        return self.header[0] >> 4 == 4 and len(self.header) + self.pieces.size > MAX_DATAGRAM

    def contradicts(self, fragment: Fragment) -> bool:
        """Return whether the fragment's end does not fit the datagram's."""
        end = fragment.offset + fragment.length
        if fragment.more:
            return self.end is not None and end > self.end
        return (len(self.pieces) > 0 and end < self.pieces.end) or (self.end is not None and end != self.end)

    def overlaps(self, start: int, end: int) -> bool:
        """Note a run of bytes; return whether it is partly there. Linux sees runs in the same way."""
        starts, ends = self.starts, self.ends
        if not ends or end > ends[-1]:
            if ends and start == ends[-1]:
                ends[-1] = end
                return False
            starts.append(start)
            ends.append(end)
            return len(ends) > 1 and start < ends[-2]
        at = bisect_right(starts, start)
        if at and start < ends[at - 1]:
            return end > ends[at - 1]
        if end > starts[at]:
            return True
        starts.insert(at, start)
        ends.insert(at, end)
        return False

    def add(self, fragment: Fragment, data: memoryview) -> Inserted:
        """Fill the holes that ``fragment``, out of ``data``, covers."""
        offset, start = fragment.offset, fragment.start
        if not offset and not self.header:
            self.header = bytes(data[fragment.header : fragment.header + fragment.header_len])
            self.proto = fragment.proto
        if not fragment.more:
            self.end = offset + fragment.length
        return self.pieces.insert(offset, bytes(data[start : start + fragment.length]))

    def packet(self) -> bytes:
        """Return the whole packet, with the first fragment's header made that of a packet without fragmentation."""
        payload, _conflict = self.pieces.pop(0)
        header = bytearray(self.header)
        if header[0] >> 4 == 6:
            header[4:6] = len(payload).to_bytes(2, "big")
            header[6] = self.proto
        else:
            header[2:4] = (len(header) + len(payload)).to_bytes(2, "big")
            header[6] &= 0x40  # keep "do not fragment" only
            header[7] = 0
            header[10:12] = b"\0\0"
            header[10:12] = _checksum(header).to_bytes(2, "big")
        return bytes(header) + payload


class Defragmenter:
    """Collect fragments over batches. Remembers at most what ``settings`` allow; the oldest datagram gives way."""

    def __init__(self, settings: DefragSettings, counters: Counters, *, orderly_from: int = ORDERLY_FROM) -> None:
        """Start with nothing held; batches of less than ``orderly_from`` fragments are taken one by one."""
        self._settings = settings
        self._counters = counters
        self._orderly_from = orderly_from
        self._timeout_ns = int(settings.timeout_s * 1e9)
        self._datagrams: OrderedDict[Key, Datagram] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._datagrams)

    def process(self, columns: Columns) -> Datagrams:
        """Take in the fragments that decoding set aside; return the datagrams they completed."""
        if not columns.fragments:
            return NONE
        fragments, truncated = collect(columns)
        self._count("fragments", len(fragments) + truncated)
        self._count("truncated", truncated)  # the capture lacks part of them: there is nothing to put together
        ts_ns = fragments.ts_ns
        good = self._refuse(fragments)
        whole = NONE
        if good.size:
            if good.size < len(fragments):
                fragments = fragments.take(good)
            words = fragments.words(columns)
            orderly = self._find_orderly(ts_ns, fragments, words)
            others = fragments
            if len(orderly):
                rest = np.ones(len(fragments), np.bool_)
                rest[orderly.member] = False
                good, others, words = good[rest], fragments.take(rest), tuple(word[rest] for word in words)
            single = self._take(columns, others, words, _latest(ts_ns, good))
            whole = assemble(columns, fragments, orderly, single)
            self._count("reassembled", len(whole))
        behind = ts_ns[int(good[-1]) + 1 :] if good.size else ts_ns
        if behind.size:
            self._expire(int(behind.max()))
        self._counters.set("decode.defrag.active", len(self._datagrams))
        self._counters.set("decode.defrag.memory_bytes", self._bytes)
        return whole

    def _refuse(self, fragments: Fragments) -> I64:
        """Count the fragments that a host refuses whatever else it has; return the others."""
        # Linux answers an uneven one with an error over IPv6, and takes its whole units over IPv4
        malformed = fragments.uneven & ~fragments.is_v4
        header_len = np.where(fragments.is_v4, fragments.header_len, 0)
        oversize = (fragments.end + header_len > MAX_DATAGRAM) & ~malformed & (fragments.length > 0)
        self._count("malformed", int(np.count_nonzero(malformed)))
        self._count("oversize", int(np.count_nonzero(oversize)))
        # over IPv4, Linux notices only when the datagram is whole: until then it may overlap others
        return np.flatnonzero(~(malformed | (oversize & ~fragments.is_v4)))

    def _find_orderly(self, ts_ns: I64, fragments: Fragments, words: tuple[U64, ...]) -> Orderly:
        """Find the datagrams that can be put together at once with the same result as one by one."""
        if len(fragments) < self._orderly_from or int(ts_ns.max()) - int(ts_ns.min()) > self._timeout_ns:
            return NO_ORDERLY
        # a fragment makes a datagram or adds to it, and adds at most three pieces, besides filling the holes there were
        most_bytes = 2 * self._bytes + int(fragments.length.sum()) + 4 * PIECE_COST * len(fragments)
        if most_bytes > self._settings.memcap_bytes:
            return NO_ORDERLY
        orderly = find(fragments, words)
        empty = np.flatnonzero(fragments.length == 0)
        discarded = set(zip(*(word[empty].tolist() for word in words), strict=True)) if empty.size else set()
        for others_of in (self._datagrams, discarded):
            if others_of and len(orderly):
                head = orderly.member[orderly.first]
                keys = zip(*(word[head].tolist() for word in words), strict=True)
                orderly = orderly.only(~np.fromiter(map(others_of.__contains__, keys), np.bool_, len(orderly)))
        others = len(fragments) - len(orderly.member)
        fits = len(self._datagrams) + others + orderly.most_open <= self._settings.max_datagrams
        return orderly if fits else NO_ORDERLY

    def _take(
        self, columns: Columns, fragments: Fragments, words: tuple[U64, ...], latest: list[int]
    ) -> list[tuple[int, bytes]]:
        """Add fragments one by one; return the packets they complete, with their rows."""
        packets: list[tuple[int, bytes]] = []
        if not len(fragments):
            return packets
        data = np.ascontiguousarray(columns.data).data
        keys = zip(*(word.tolist() for word in words), strict=True)
        every = map(Fragment, *(getattr(fragments, name).tolist() for name in Fragment._fields))
        for key, now_ns, fragment in zip(keys, latest, every, strict=True):
            self._expire(now_ns)
            datagram = self._datagrams.get(key)
            if not fragment.length or (datagram is not None and datagram.contradicts(fragment)):
                self._count("malformed")
                self._discard(key)
                continue
            if datagram is None:
                datagram = self._datagrams[key] = Datagram(fragment.ts_ns)
                self._bytes += datagram.cost
            self._bytes -= datagram.cost
            overlaps = datagram.overlaps(fragment.offset, fragment.offset + fragment.length)
            inserted = datagram.add(fragment, data)
            self._bytes += datagram.cost
            self._count("overlaps", inserted.covered > 0)
            self._count("conflicts", inserted.differs)
            if overlaps:
                self._discard(key)
                continue
            if not inserted.added or not datagram.complete:
                self._make_room()
                continue
            del self._datagrams[key]
            self._bytes -= datagram.cost
            if datagram.oversize:
                self._count("oversize")
                continue
            packets.append((fragment.row, datagram.packet()))
        return packets

    def _expire(self, now_ns: int) -> None:
        while self._datagrams:
            oldest = next(iter(self._datagrams.values()))
            if oldest.first_ns + self._timeout_ns >= now_ns:
                break
            self._drop_oldest("timeouts")

    def _make_room(self) -> None:
        while len(self._datagrams) > self._settings.max_datagrams or self._bytes > self._settings.memcap_bytes:
            self._drop_oldest("evicted")

    def _discard(self, key: Key) -> None:
        datagram = self._datagrams.pop(key, None)
        if datagram is not None:
            self._bytes -= datagram.cost

    def _drop_oldest(self, reason: str) -> None:
        _key, datagram = self._datagrams.popitem(last=False)
        self._bytes -= datagram.cost
        self._count(reason)

    def _count(self, name: str, amount: int = 1) -> None:
        if amount:
            self._counters.add(f"decode.defrag.{name}", amount)


def _latest(ts_ns: I64, chosen: I64) -> list[int]:
    """Return for each chosen fragment the latest time of it and of those before it, back to the one chosen before."""
    if not chosen.size:
        return []
    begins = np.zeros(len(chosen), np.int64)
    begins[1:] = chosen[:-1] + 1
    latest: list[int] = np.maximum.reduceat(ts_ns[: int(chosen[-1]) + 1], begins).tolist()
    return latest


def _checksum(header: bytearray) -> int:
    """Compute the Internet checksum of an even number of bytes, RFC 1071."""
    return 0xFFFF - sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2)) % 0xFFFF
