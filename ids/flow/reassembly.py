"""Put the bytes of one TCP direction in order, once, within bounds.

THEORY. A direction is a sequence of bytes numbered from 0, the first one after the SYN. Each sequence number is turned
into such an offset on arrival, by its signed 32-bit distance from the next expected one (RFC 9293 section 3.4), and
everything here counts in offsets, which do not wrap.

(1) Bytes that continue the stream are delivered at once, acknowledged or not: an attack must be stopped before it
    arrives.
(2) Bytes ahead of the stream are held back, and the hole before them is waited for.
(3) The first copy of a byte counts. Another copy with the same content is a retransmission; one with other content is a
    conflict, which is counted and marked, for then we may not know what the host saw.
(4) A copy of bytes that the receiver had acknowledged is not compared: no host takes bytes back.
(5) A hole is given up when the receiver acknowledges past it (it got what we did not), when holding back any more
    would exceed a limit, or when the flow ends. What follows is delivered with ``gap``; bytes are never made up.
(6) An acknowledgement of bytes that nobody has seen gives nothing up; but where the stream goes on far out of the
    window, close to such an acknowledgement, we lost more than a window of packets, and catch up.
(7) A FIN is a claim until the receiver acknowledges it: then the direction is closed. Bytes past an unacknowledged FIN
    show that it never arrived; they are delivered, as a conflict.
(8) Beyond the depth nothing is delivered or kept, only counted.
(9) A direction ends with exactly one chunk that has ``closed`` set, after which there is none.

COST. O(bytes + segments log segments): a segment is placed by bisection, a byte is compared at most once per copy that
was sent, and moved at most twice.
"""

from __future__ import annotations

from typing import NamedTuple

from ids.counters import Counters
from ids.flow.segment import Arrival
from ids.flow.settings import StreamSettings
from ids.pieces import Pieces
from ids.types import Direction, FlowColumns

MODULUS = 0xFFFFFFFF
_HALF = 1 << 31
_SMALL_PIECE = 4096


def distance(to: int, of: int) -> int:
    """Return the signed distance between two 32-bit sequence numbers: how far ``to`` is ahead of ``of``."""
    return ((to - of + _HALF) & MODULUS) - _HALF


class Chunk(NamedTuple):
    """A row of `ids.types.Streams` in the making."""

    row: int
    """Row in the batch of the packet that completed it: chunks are ordered by that."""
    slot: int
    direction: int
    offset: int
    data: bytes
    ts_ns: int
    number: int
    gap: int
    conflict: bool
    closed: bool


class Reassembly:
    """What all directions share: limits, counters, the memory in use, and the chunks made so far."""

    def __init__(self, settings: StreamSettings, counters: Counters) -> None:
        self.depth = settings.depth_bytes
        self.window = settings.window_bytes
        self.max_segments = settings.max_segments
        self.midstream = settings.midstream
        self.one_armed = settings.one_armed
        self.memcap = settings.memcap_bytes
        self.verify = settings.verify_bytes
        self.counters = counters
        self.used = 0
        """Bytes held back or kept for comparison, over all flows."""
        self.chunks: list[Chunk] = []

    def take_chunks(self) -> list[Chunk]:
        """Return the chunks since the last call, as they were made."""
        chunks, self.chunks = self.chunks, []
        return chunks

    def count(self, name: str, amount: int = 1) -> None:
        """Count ``amount`` of ``flow.tcp.reassembly.<name>``."""
        self.counters.add(f"flow.tcp.reassembly.{name}", amount)


class Half:
    """One direction of a connection."""

    __slots__ = (
        "acked",
        "claimed",
        "closed",
        "columns",
        "direction",
        "fin_at",
        "gap",
        "held",
        "next",
        "offset",
        "sent",
        "sent_bytes",
        "shared",
        "slot",
    )

    def __init__(
        self, shared: Reassembly, columns: FlowColumns, slot: int, direction: Direction, sequence: int
    ) -> None:
        self.shared = shared
        self.columns = columns
        self.slot = slot
        self.direction = direction
        self.next = sequence
        """Sequence number at ``offset``."""
        self.offset = 0
        """Stream offset of the next byte to deliver."""
        self.acked = 0
        """Stream offset up to which the receiver has acknowledged."""
        self.claimed = 0
        """Highest acknowledged offset that nobody was seen to have sent."""
        self.fin_at: int | None = None
        """Stream offset of the FIN."""
        self.gap = 0
        """Lost bytes that no chunk has reported yet."""
        self.held: Pieces | None = None
        """What is held back behind holes, by offset; None where nothing is."""
        self.sent: list[tuple[int, bytes]] | None = None
        """Delivered but unacknowledged bytes with their offsets."""
        self.sent_bytes = 0
        self.closed = False

    @property
    def next_sequence(self) -> int:
        """Sequence number that an orderly sender uses next."""
        fin = self.fin_at
        return self.next if fin is None else (self.next + fin - self.offset + 1) & MODULUS

    @property
    def plain(self) -> bool:
        """Whether nothing is held back, missing or claimed in this direction."""
        ends_here = self.fin_at is None or self.fin_at == self.offset
        return not self.held and not self.gap and self.claimed <= self.offset and ends_here

    def place(self, sequence: int) -> int:
        """Return the stream offset of a sequence number."""
        return self.offset + distance(sequence, self.next)

    @property
    def highest(self) -> int:
        """One past the last stream offset seen, a FIN included."""
        end = self.held.end if self.held else self.offset
        return end if self.fin_at is None else max(end, self.fin_at + 1)

    def receive(self, start: int, data: bytes, at: Arrival) -> None:
        """Take the payload of one segment, whose first byte has stream offset ``start``."""
        shared = self.shared
        if self.closed:
            shared.count("after_close_bytes", len(data))
            return
        end = start + len(data)
        if start > self.offset + shared.window and not self._catch_up(start, at):
            shared.count("out_of_window")
            return
        conflict = False
        if self.fin_at is not None and end > self.fin_at:
            shared.count("data_past_fin")
            self.fin_at = None
            conflict = True
        if start < self.offset:
            known = data[: self.offset - start]
            conflict |= self._differs(start, known)
            data, start = data[self.offset - start :], self.offset
        if conflict:
            self._count_conflict()
        if data and self.offset >= shared.depth:
            self.skip(start + len(data) - self.offset, len(data))
        elif data and start == self.offset and not self.held:
            self.deliver(data, at, conflict=conflict)
            conflict = False
        elif data:
            if self._hold(start, data) and not conflict:
                self._count_conflict()
            conflict = self._release(at, conflict=conflict)
            self._enforce_limits(at)
        if conflict:
            self._emit(b"", at, conflict=True)

    def finish(self, at_offset: int) -> None:
        """Take a FIN at a stream offset: remembered, until the receiver acknowledges it."""
        if self.closed or (self.fin_at is not None and at_offset >= self.fin_at):
            return
        if at_offset < self.highest or at_offset > self.offset + self.shared.window:
            self.shared.count("bad_fin")
            return
        self.fin_at = at_offset

    def acknowledge(self, upto: int, at: Arrival) -> None:
        """Take the receiver's acknowledgement of all bytes before stream offset ``upto``."""
        if upto <= self.acked or self.closed:
            return
        if upto > self.highest:
            self.shared.counters.add("flow.tcp.ack_unseen")
            self.claimed = upto
            return
        self.acked = upto
        while self.held and self.held.start <= upto:
            self._give_up_hole(at, "gap_acked")
        self._forget_sent(upto)
        if self.fin_at is not None and upto > self.fin_at:
            self.close(at)

    def close(self, at: Arrival) -> None:
        """End the direction: deliver what was held back, then one chunk with ``closed`` set. Does nothing twice."""
        if self.closed:
            return
        while self.held:
            self._give_up_hole(at, "gap_at_end")
        if self.fin_at is not None and self.fin_at > self.offset and self.offset < self.shared.depth:
            self._lose(self.fin_at - self.offset, "gap_at_end")
        self._emit(b"", at, closed=True)
        self._forget_sent(self.offset)
        self.closed = True

    def deliver(self, data: bytes, at: Arrival, *, conflict: bool = False) -> None:
        """Hand on ``data``, which continues the stream; keep it for comparison until it is acknowledged."""
        shared = self.shared
        size = len(data)
        room = shared.depth - self.offset
        if size > room:
            shared.count("depth_bytes", size - max(room, 0))
            data = data[: max(room, 0)]
        if data:
            self._emit(data, at, conflict=conflict)
            if shared.verify:
                self._keep_sent(data)
        self.offset += size
        self.next = (self.next + size) & MODULUS

    def skip(self, advance: int, size: int) -> None:
        """Pass over ``size`` bytes beyond the depth, which move the stream on by ``advance``."""
        self.shared.count("depth_bytes", size)
        self.offset += advance
        self.next = (self.next + advance) & MODULUS

    def _emit(self, data: bytes, at: Arrival, *, conflict: bool = False, closed: bool = False) -> None:
        row, ts_ns, number = at
        gap, self.gap = self.gap, 0
        self.shared.chunks.append(
            Chunk(row, self.slot, self.direction, self.offset, data, ts_ns, number, gap, conflict, closed)
        )

    def _count_conflict(self) -> None:
        self.columns.conflicts[self.slot, self.direction] += 1
        self.shared.count("conflicts")

    def _hold(self, start: int, data: bytes) -> bool:
        """Keep the parts of a segment that no held piece covers; return whether a covered part differs."""
        shared = self.shared
        room = max(shared.depth - start, 0)
        if len(data) > room:
            shared.count("depth_bytes", len(data) - room)
            data = data[:room]
        if not data:
            return False
        if self.held is None:
            self.held = Pieces()
        inserted = self.held.insert(start, data)
        shared.used += inserted.added
        return inserted.differs

    def _release(self, at: Arrival, *, conflict: bool = False) -> bool:
        """Deliver the held pieces that continue the stream; return ``conflict`` if there is no chunk to carry it."""
        held = self.held
        if held is None:
            return conflict
        data, differs = held.pop(self.offset)
        if not data:
            return conflict
        if not held:
            self.held = None
        self.shared.used -= len(data)
        self.deliver(data, at, conflict=conflict or differs)
        return False

    def _give_up_hole(self, at: Arrival, why: str) -> None:
        """Go on with the first held piece, whatever is missing before it."""
        assert self.held
        self._lose(self.held.start - self.offset, why)
        self._release(at)

    def _lose(self, size: int, why: str) -> None:
        self.gap += size
        self.columns.gaps[self.slot, self.direction] += size
        self.shared.count(why)
        self.shared.count("gap_bytes", size)
        self.offset += size
        self.next = (self.next + size) & MODULUS

    def _catch_up(self, start: int, at: Arrival) -> bool:
        """Go on at ``start`` after a loss of more than a window, if the receiver was heard to be about there."""
        if abs(start - self.claimed) > self.shared.window:
            return False
        while self.held:
            self._give_up_hole(at, "catch_up")
        if start > self.offset:
            self._lose(start - self.offset, "catch_up")
        return True

    def _enforce_limits(self, at: Arrival) -> None:
        while self.held and len(self.held) > self.shared.max_segments:
            self._give_up_hole(at, "segments_limit")
        while self.held and self.shared.used > self.shared.memcap:
            self._give_up_hole(at, "memcap")

    def _keep_sent(self, data: bytes) -> None:
        """Keep delivered bytes until they are acknowledged; small ones together, so that pieces stay few."""
        shared = self.shared
        if shared.used + len(data) > shared.memcap:
            shared.count("verify_memcap")
            self._forget_sent(self.offset)
            return
        sent = self.sent = self.sent or []
        if sent and len(data) + len(sent[-1][1]) <= _SMALL_PIECE:
            start, last = sent.pop()
            sent.append((start, last + data))
        else:
            sent.append((self.offset, data))
        self.sent_bytes += len(data)
        shared.used += len(data)
        if self.sent_bytes > shared.verify:
            self._forget_sent(self.offset + len(data) - shared.verify)

    def _forget_sent(self, upto: int) -> None:
        """Forget the kept pieces that end at or before a stream offset."""
        sent = self.sent or []
        count = size = 0
        while count < len(sent) and sent[count][0] + len(sent[count][1]) <= upto:
            size += len(sent[count][1])
            count += 1
        if count:
            self.sent = sent[count:] or None
            self.sent_bytes -= size
            self.shared.used -= size

    def _differs(self, start: int, data: bytes) -> bool:
        """Compare another copy of delivered bytes with the first one, as far as it is unacknowledged and still kept."""
        end = start + len(data)
        lowest = max(start, self.acked)
        if lowest >= end:
            return False
        unverified = end - lowest
        differs = False
        for kept, first in reversed(self.sent or ()):
            if kept + len(first) <= lowest:
                break
            low, high = max(kept, lowest), min(kept + len(first), end)
            if low < high:
                unverified -= high - low
                differs |= first[low - kept : high - kept] != data[low - start : high - start]
        if unverified:
            self.shared.count("unverified_bytes", unverified)
        return differs
