"""Reassembly of IP datagrams from their fragments: bounded, as Linux does it, overlaps and conflicts counted.

Sources: RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722; for what hosts refuse, Linux net/ipv4/ip_fragment.c,
net/ipv6/reassembly.c and inet_frag_queue_insert.

OVERLAPS. A copy of what is there is ignored, whatever it holds: the first content stays, and it completes nothing. A
fragment that is partly there discards the datagram, itself included, and so does an empty one, and one that contradicts
the datagram's end; the next fragment begins anew. Were the first content kept then, too, it could be a decoy, and the
host would receive what follows.

DISPUTES. That is what Linux does. Others keep the first copy, or the last, or one by its place, and wait longer or not
as long. So of a datagram whose copies differ, that Linux discards, or that took long, the fragments are kept as a
dispute, and each way to put them together that hosts have comes out as well (`ids.decode.versions`), behind Linux's.

THEORY. A fragment takes one of three ways. (1) What a host refuses for itself alone (over IPv6: too large, not in whole
units) is counted, and changes nothing but the time. (2) Orderly datagrams (`ids.decode.orderly`) are put together at
once, if nothing of them is held. (3) All others go one by one, in the order of their rows.

Ways 2 and 3 come to the same, as (2) is only taken where neither limit can strike: the fragments of the batch span less
than the timeout and than the least patient host waits, so that none of their datagrams expires within it, and there is
room even if nothing of it is completed. Datagrams of earlier batches stand before those of this one, so these expire
all the same, at the same fragment: time is that of all fragments up to then, refused and orderly ones included.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from ids.counters import Counters
from ids.decode.columns import Columns
from ids.decode.fragments import Fragments, Key, collect, keys_of
from ids.decode.holders import surplus
from ids.decode.oddities import Oddity
from ids.decode.orderly import MAX_DATAGRAM, NO_ORDERLY, NONE, Datagrams, Orderly, Single, assemble, find
from ids.decode.settings import DefragSettings
from ids.decode.versions import WORK, Dispute, Part
from ids.pieces import PIECE_COST, Inserted, Pieces
from ids.types import I64, U64

PATIENCE_NS = 15_000_000_000
"""How long every host waits for the rest of a datagram (RFC 791 section 3.2); behind that, they differ."""

_LONE = struct.Struct("<qII?BI")
"""Of a `Lone`: when it came, where it begins and ends, whether more follows, the protocol, bytes of the header."""

EVICT_SHARE = 16
"""One in how many of what the limits allow is let go of besides what exceeds them."""
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
    parts: list[Part] = field(default_factory=list)
    """The fragments that brought something, as they came."""
    starts: list[int] = field(default_factory=list)
    """Where the runs begin that a copy may be of: fragments, or, at the end, those that came one behind the other."""
    ends: list[int] = field(default_factory=list)
    """Where they end."""

    @property
    def cost(self) -> int:
        """Bytes of memory this datagram is charged for."""
        return self.pieces.cost + PIECE_COST * (max(1, len(self.starts)) + len(self.parts))

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

    def add(self, part: Part) -> Inserted:
        """Fill the holes that ``part`` covers."""
        if not part.start and not self.header:
            self.header, self.proto = part.header, part.proto
        if not part.more:
            self.end = part.end
        inserted = self.pieces.insert(part.start, part.data)
        if inserted.added:
            self.parts.append(part)
        return inserted


class Lone(bytes):
    """A datagram with one fragment, as most of those that are sent to be remembered: it takes a tenth of the memory.

    All of it is one piece: what a crowd of them leaves between other objects, when it has gone, keeps no memory from
    being given back. It is charged as it would be opened, so that nobody gets in by what comes next.
    """

    __slots__ = ()

    @classmethod
    def of(cls, first_ns: int, part: Part) -> Lone:
        """Pack a fragment that came then."""
        head = _LONE.pack(first_ns, part.start, part.end, part.more, part.proto, len(part.header))
        return cls(b"".join((head, part.header, part.data)))

    @property
    def first_ns(self) -> int:
        """When it came."""
        first_ns: int = _LONE.unpack_from(self)[0]
        return first_ns

    @property
    def cost(self) -> int:
        """Bytes of memory this datagram is charged for."""
        return len(self) - _LONE.size - int(_LONE.unpack_from(self)[-1]) + 3 * PIECE_COST

    def opened(self) -> Datagram:
        """Return it as one that further fragments can be added to."""
        first_ns, start, end, more, proto, header_len = _LONE.unpack_from(self)
        begin = _LONE.size + header_len
        datagram = Datagram(first_ns)
        datagram.overlaps(start, end)
        datagram.add(Part(start, end, self[begin:], more, self[_LONE.size : begin], proto))
        return datagram


class Whole(NamedTuple):
    """A datagram that is complete."""

    header: bytes
    proto: int
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes that count against the largest datagram's."""
        return len(self.payload) + (len(self.header) if self.header[0] >> 4 == 4 else 0)

    def packet(self) -> bytes:
        """Return the whole packet, with the first fragment's header made that of a packet without fragmentation."""
        header, payload = bytearray(self.header), self.payload
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


class _Odd(NamedTuple):
    """Rows of a batch whose fragments are odd."""

    overlapping: list[int]
    ignored: list[int]


def _part(fragment: Fragment, data: memoryview) -> Part:
    """Take a fragment out of the batch's ``data``."""
    offset, start, length = fragment.offset, fragment.start, fragment.length
    header = b"" if offset else bytes(data[fragment.header : fragment.header + fragment.header_len])
    return Part(offset, offset + length, bytes(data[start : start + length]), fragment.more, header, fragment.proto)


class Defragmenter:
    """Collect fragments over batches. Remembers at most what ``settings`` allow; who holds most gives way."""

    def __init__(self, settings: DefragSettings, counters: Counters, *, orderly_from: int = ORDERLY_FROM) -> None:
        """Start with nothing held; batches of less than ``orderly_from`` fragments are taken one by one."""
        self._settings = settings
        self._counters = counters
        self._orderly_from = orderly_from
        self._timeout_ns = int(settings.timeout_s * 1e9)
        self._datagrams: OrderedDict[Key, Datagram | Lone] = OrderedDict()
        self._disputes: OrderedDict[Key, Dispute] = OrderedDict()
        self._work = 0
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
        good = self._refuse(columns, fragments)
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
            self._count("reassembled", int(np.count_nonzero(~whole.alternative)))
        behind = ts_ns[int(good[-1]) + 1 :] if good.size else ts_ns
        if behind.size:
            self._expire(int(behind.max()))
        self._count_held()
        return whole

    def expire(self, now_ns: int) -> None:
        """Let go of what has waited for twice the time-out, for a live engine that sees no fragments.

        Twice, for what came in time may still wait to be decoded.
        """
        if self._datagrams or self._disputes:
            self._expire(now_ns - self._timeout_ns)
            self._count_held()

    def _count_held(self) -> None:
        self._counters.set("decode.defrag.active", len(self._datagrams))
        self._counters.set("decode.defrag.disputes", len(self._disputes))
        self._counters.set("decode.defrag.memory_bytes", self._bytes)

    def _refuse(self, columns: Columns, fragments: Fragments) -> I64:
        """Count and note the fragments that a host refuses whatever else it has; return the others."""
        # Linux answers an uneven one with an error over IPv6, and takes its whole units over IPv4
        malformed = fragments.uneven & ~fragments.is_v4
        header_len = np.where(fragments.is_v4, fragments.header_len, 0)
        too_large = (fragments.end + header_len > MAX_DATAGRAM) & (fragments.length > 0)
        oversize = too_large & ~malformed
        self._count("malformed", int(np.count_nonzero(malformed)))
        self._count("oversize", int(np.count_nonzero(oversize)))
        columns.note(fragments.row[malformed], Oddity.IPV6_FRAG_INVALID_LENGTH)
        columns.note(fragments.row[too_large & fragments.is_v4], Oddity.IPV4_FRAG_PKT_TOO_LARGE)
        columns.note(fragments.row[too_large & ~fragments.is_v4], Oddity.IPV6_FRAG_PKT_TOO_LARGE)
        # over IPv4, Linux notices only when the datagram is whole: until then it may overlap others
        return np.flatnonzero(~(malformed | (oversize & ~fragments.is_v4)))

    def _find_orderly(self, ts_ns: I64, fragments: Fragments, words: tuple[U64, ...]) -> Orderly:
        """Find the datagrams that can be put together at once with the same result as one by one."""
        span_ns = int(ts_ns.max()) - int(ts_ns.min())
        if len(fragments) < self._orderly_from or span_ns > min(self._timeout_ns, PATIENCE_NS):
            return NO_ORDERLY
        # a fragment makes a datagram or adds to it, and adds at most three pieces and itself, besides filling the holes
        most_bytes = 3 * self._bytes + 2 * int(fragments.length.sum()) + 8 * PIECE_COST * len(fragments)
        if most_bytes > self._settings.memcap_bytes:
            return NO_ORDERLY
        orderly = find(fragments, words)
        empty = np.flatnonzero(fragments.length == 0)
        discarded = set(keys_of([word[empty] for word in words]))
        for others_of in (self._datagrams, self._disputes, discarded):
            if others_of and len(orderly):
                head = orderly.member[orderly.first]
                keys = keys_of([word[head] for word in words])
                orderly = orderly.only(~np.fromiter(map(others_of.__contains__, keys), np.bool_, len(orderly)))
        others = len(fragments) - len(orderly.member)
        most = len(self._datagrams) + len(self._disputes) + 2 * others + orderly.most_open
        return orderly if most <= self._settings.max_datagrams else NO_ORDERLY

    def _take(self, columns: Columns, fragments: Fragments, words: tuple[U64, ...], latest: list[int]) -> list[Single]:
        """Add fragments one by one; return the packets they complete."""
        packets: list[Single] = []
        if not len(fragments):
            return packets
        self._work = WORK
        data = np.ascontiguousarray(columns.data).data
        keys = keys_of(words)
        every = map(Fragment, *(getattr(fragments, name).tolist() for name in Fragment._fields))
        odd = _Odd([], [])
        for key, now_ns, fragment in zip(keys, latest, every, strict=True):
            self._expire(now_ns)
            part = _part(fragment, data)
            datagram = self._opened(key)
            whole, disputed = self._follow(key, datagram, fragment, part, odd)
            if whole is not None:
                packets.append(Single(fragment.row, whole.packet(), False))
            dispute = self._disputes.get(key)
            if dispute is None and disputed and datagram is not None and self._settings.versions > 1:
                dispute = self._disputes[key] = Dispute(now_ns, datagram.parts, self._settings.versions)
                self._bytes += dispute.cost
            if dispute is not None:
                packets += self._decide(dispute, part, fragment.row, whole)
            self._make_room()
        four = columns.ip_version == 4
        for rows, code4, code6 in (
            (odd.overlapping, Oddity.IPV4_FRAG_OVERLAP, Oddity.IPV6_FRAG_OVERLAP),
            (odd.ignored, Oddity.IPV4_FRAG_IGNORED, Oddity.IPV6_FRAG_IGNORED),
        ):
            noted = np.array(rows, np.int64)
            columns.note(noted[four[noted]], code4)
            columns.note(noted[~four[noted]], code6)
        return packets

    def _opened(self, key: Key) -> Datagram | None:
        datagram = self._datagrams.get(key)
        if isinstance(datagram, Lone):
            datagram = self._datagrams[key] = datagram.opened()
        return datagram

    def _follow(
        self, key: Key, datagram: Datagram | None, fragment: Fragment, part: Part, odd: _Odd
    ) -> tuple[Whole | None, bool]:
        """Do with a fragment what Linux does; return what it completed, and whether others may do otherwise."""
        if not fragment.length or (datagram is not None and datagram.contradicts(fragment)):
            self._count("malformed")
            inside = datagram is not None and len(datagram.pieces) > 0 and part.start < datagram.pieces.end
            (odd.overlapping if inside and fragment.length else odd.ignored).append(fragment.row)
            self._discard(key)
            return None, True
        if datagram is None:
            if part.start or part.more:
                lone = self._datagrams[key] = Lone.of(fragment.ts_ns, part)
                self._bytes += lone.cost
                return None, False
            datagram = self._datagrams[key] = Datagram(fragment.ts_ns)
            self._bytes += datagram.cost
        self._bytes -= datagram.cost
        partly = datagram.overlaps(part.start, part.end)
        inserted = datagram.add(part)
        self._bytes += datagram.cost
        if inserted.covered:
            self._count("overlaps")
            odd.overlapping.append(fragment.row)
        self._count("conflicts", inserted.differs)
        if partly:
            self._discard(key)
            return None, True
        if not inserted.added or not datagram.complete:
            return None, inserted.differs
        self._discard(key)
        if datagram.oversize:
            self._count("oversize")
            return None, False
        payload, _conflict = datagram.pieces.pop(0)
        late = fragment.ts_ns - datagram.first_ns > PATIENCE_NS
        return Whole(datagram.header, datagram.proto, payload), late

    def _decide(self, dispute: Dispute, part: Part, row: int, whole: Whole | None) -> list[Single]:
        """Add a fragment to a dispute; return the packets that other hosts than Linux may see now."""
        self._bytes -= dispute.cost
        kept = dispute.add(part)
        self._bytes += dispute.cost
        if not kept:
            self._count("versions_not_made")
            return []
        if whole is not None:
            dispute.made(whole.payload)
        if self._work < dispute.work:
            self._count("versions_not_made")
            return []
        self._work -= dispute.work
        found = [Whole(version.first.header, version.first.proto, version.payload) for version in dispute.versions()]
        packets = [version.packet() for version in found if version.size <= MAX_DATAGRAM]
        self._count("versions", len(packets))
        return [Single(row, packet, True) for packet in packets]

    def _expire(self, now_ns: int) -> None:
        limit_ns = now_ns - self._timeout_ns
        while self._datagrams and next(iter(self._datagrams.values())).first_ns < limit_ns:
            self._drop_oldest(self._datagrams, "timeouts")
        while self._disputes and next(iter(self._disputes.values())).first_ns < limit_ns:
            self._drop_oldest(self._disputes, "")

    def _make_room(self) -> None:
        """Let go of datagrams and disputes beyond the limits, of whoever holds most."""
        most, memcap = self._settings.max_datagrams, self._settings.memcap_bytes
        if (count := len(self._datagrams) + len(self._disputes) - most) > 0:
            self._let_go(count + most // EVICT_SHARE, 0)
        if (size := self._bytes - memcap) > 0:
            self._let_go(0, size + memcap // EVICT_SHARE)

    def _let_go(self, count: int, size: int) -> None:
        held: list[tuple[int, Key, Datagram | Lone | Dispute]] = []
        for kept in (self._datagrams, self._disputes):
            held += [(each.first_ns, key, each) for key, each in kept.items()]
        held.sort(key=itemgetter(0))
        cost = np.array([each.cost for _, _, each in held], np.int64)
        for place in surplus([key for _, key, _ in held], cost, count, size):
            _, key, each = held[place]
            (self._disputes if isinstance(each, Dispute) else self._datagrams).pop(key, None)
            self._bytes -= each.cost
            self._count("evicted")

    def _discard(self, key: Key) -> None:
        datagram = self._datagrams.pop(key, None)
        if datagram is not None:
            self._bytes -= datagram.cost

    def _drop_oldest(self, kept: OrderedDict[Key, Datagram | Lone] | OrderedDict[Key, Dispute], reason: str) -> None:
        _key, oldest = kept.popitem(last=False)
        self._bytes -= oldest.cost
        if reason:
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
