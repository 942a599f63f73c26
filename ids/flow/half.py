"""One direction of a connection, and what is kept of it; the theory is that of `ids.flow.reassembly`."""

from __future__ import annotations

from ids.flow.aside import Aside, Ignored
from ids.flow.delivered import Delivered
from ids.flow.doubts import Doubts
from ids.flow.lost import Lost
from ids.flow.notes import Note
from ids.flow.reassembly import CONTEXT_BYTES, HALF, MODULUS, Reassembly
from ids.flow.resumed import read_on
from ids.flow.segment import Arrival
from ids.flow.versions import UNLIMITED, Edit, Variant, Versions
from ids.pieces import Copy, Favours, Pieces
from ids.types import Direction, FlowColumns, Mark

_PARSED = int(Mark.PARSED)


class Half(Delivered):
    """One direction of a connection."""

    __slots__ = (
        "aside", "base", "claimed", "context", "dark", "doubts", "edge", "fin_at", "gap", "heard", "held", "lost",
        "next", "reached", "resumed", "skipped", "stamp", "turn", "widest",
    )  # fmt: skip

    def __init__(
        self,
        shared: Reassembly,
        columns: FlowColumns,
        slot: int,
        direction: Direction,
        sequence: int,
        versions: Versions,
    ) -> None:
        super().__init__(shared, columns, slot, direction, versions)
        self.next = sequence
        """Sequence number at ``offset``."""
        self.claimed = 0
        """Highest acknowledged offset that nobody was seen to have sent."""
        self.heard = False
        """The receiver was seen to acknowledge anything."""
        self.reached = 0
        """Highest stream offset that a segment of its sender has shown to have been sent, whether seen or not."""
        self.fin_at: int | None = None
        """Stream offset of the FIN."""
        self.gap = 0
        """Lost bytes that no chunk has reported yet."""
        self.skipped = 0
        """Bytes beyond the depth since the last chunk."""
        self.turn = 0
        """Stream offset at which the other side spoke last: what is from there on is said in one turn."""
        self.context = 0
        """The same, one turn earlier."""
        self.base = 0
        """Stream offset from which the depth counts."""
        self.dark = False
        """It was `unseen` when the other side spoke last."""
        self.stamp: int | None = None
        """The latest timestamp of a segment that was in order."""
        self.edge: int | None = None
        """Stream offset up to which the receiver offers a window; None: it did not say."""
        self.widest = 0xFFFF
        """The widest window that this side has offered, scaled."""
        self.held: Pieces | None = None
        """What is held back behind holes, by offset; None where nothing is."""
        self.doubts: Doubts | None = None
        """Held bytes of which there are copies that differ."""
        self.lost: Lost | None = None
        """Holes that were given up."""
        self.aside = Aside(shared)
        """Segments that a host would have ignored."""
        self.resumed: Variant | None = None
        """Has what came when it was closed."""

    @property
    def next_sequence(self) -> int:
        """Sequence number that an orderly sender uses next."""
        fin = self.fin_at
        return self.next if fin is None else (self.next + fin - self.offset + 1) & MODULUS

    @property
    def plain(self) -> bool:
        """Whether nothing is held back, missing or claimed in this direction."""
        ends_here = self.fin_at is None or self.fin_at == self.offset
        if self.held or self.gap or self.aside or self.due or self.disputed:
            return False
        if (self.lost is not None and self.lost.late) or self.reached > self.highest:
            return False
        return self.claimed <= self.offset and ends_here

    def place(self, sequence: int) -> int:
        """Return the stream offset of a sequence number."""
        return self.offset + ((sequence - self.next + HALF) & MODULUS) - HALF  # `distance`, without the call

    @property
    def highest(self) -> int:
        """One past the last stream offset seen, a FIN included."""
        end = self.held.end if self.held else self.offset
        return end if self.fin_at is None else max(end, self.fin_at + 1)

    @property
    def shown(self) -> int:
        """One past the last stream offset that was seen, or shown, to have been sent."""
        return max(self.highest, self.reached)

    @property
    def unseen(self) -> bool:
        """Whether its sender may have said more than was shown: beyond its depth, now or until nothing more came."""
        return self.offset >= self.limit() or (self.dark and self.claimed > self.shown)

    def spoken(self, at: Arrival) -> None:
        """Take notice that the other side says something: what this side says next is another turn."""
        if self.lost is not None and self.lost.begun:
            self._read_begun(self.lost, at)
        if self.due or self.disputed:
            self.settle(at)
        self.dark = self.unseen
        if self.turn != self.offset:
            self.context, self.turn = self.turn, self.offset
        self.base = self.offset if self.resumed is None else self.resumed.place(self.direction)

    def receive(self, start: int, data: bytes, at: Arrival, ttl: int = 0) -> None:
        """Take the payload of one segment, whose first byte has stream offset ``start``; ``ttl`` as in `Copy`."""
        shared = self.shared
        if self.closed:
            read_on(self, start, data, at)
            return
        end = start + len(data)
        if self.dark and self.offset < self.claimed <= start and not self.held:
            self._pass_unseen()
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
            if self.lost:
                self._fill(start, known, at)
            conflict |= self.compare(start, known, at, ttl)
            data, start = data[self.offset - start :], self.offset
        if conflict:
            self.count_conflict(at)
        if data and self.offset >= self.limit():
            self.skip(start + len(data) - self.offset, len(data))
        elif data and start == self.offset and not self.held:
            self.deliver(data, at, conflict=conflict)
            conflict = False
        elif data:
            if self._hold(start, data, ttl) and not conflict:
                self.count_conflict(at)
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
        if self.aside:
            self._take(self.aside.take_acknowledged(upto), at)
        if upto > self.highest:
            self.shared.counters.add("flow.tcp.ack_unseen")
            self.claimed = upto
            return
        self.acked = upto
        while self.held and self.held.start <= upto:
            self._give_up_hole(at, "gap_acked")
        self.forget_sent(min(upto, max(self.context, upto - CONTEXT_BYTES)), at)
        if self.fin_at is not None and upto > self.fin_at:
            self.close(at)

    def close(self, at: Arrival) -> None:
        """End the direction: deliver what was held back, then one chunk with ``closed`` set. Does nothing twice."""
        if self.closed:
            return
        while self.held:
            self._give_up_hole(at, "gap_at_end")
        self._forget_lost(at)
        self.settle(at)
        if self.doubts:
            self.shared.used -= self.doubts.cost
            self.doubts = None
        if self.fin_at is not None and self.fin_at > self.offset and self.offset < self.limit():
            self._lose(self.fin_at - self.offset, "gap_at_end")
        self._emit(b"", at, closed=True)
        self._forget_lost(at)
        self.forget_sent(self.offset, at)
        self.aside.forget()
        self.closed = True

    def deliver(self, data: bytes, at: Arrival, *, conflict: bool = False) -> None:
        """Hand on ``data``, which continues the stream; keep it for comparison until it is acknowledged."""
        shared = self.shared
        size = len(data)
        room = self.limit() - self.offset
        if size > room:
            shared.count("depth_bytes", size - max(room, 0))
            data = data[: max(room, 0)]
        if data:
            self._emit(data, at, conflict=conflict)
            if shared.verify:
                self.keep_sent(data, at)
        self.skipped += size - len(data)
        self.offset += size
        self.next = (self.next + size) & MODULUS

    def skip(self, advance: int, size: int) -> None:
        """Pass over ``size`` bytes beyond the depth, which move the stream on by ``advance``."""
        self.shared.count("depth_bytes", size)
        self.skipped += advance
        self.offset += advance
        self.next = (self.next + advance) & MODULUS

    def limit(self) -> int:
        """Return the stream offset at which the depth is reached.

        What a client says in a protocol with a parser has none: what its parser needs no more it passes over itself.
        """
        if self.direction == 0 and self.shared.parsers:
            columns, slot = self.columns, self.slot
            if not columns.app_proto.item(slot) or columns.marks.item(slot) & _PARSED:
                return UNLIMITED
        return self.base + self.shared.depth

    def _emit(self, data: bytes, at: Arrival, *, conflict: bool = False, closed: bool = False) -> None:
        gap, self.gap = self.gap, 0
        if data:
            gap, self.skipped = gap + self.skipped, 0
        chunk = self.shared.emit(at, self.slot, self.direction, self.offset, data, gap, conflict, closed)
        if self.versions.variants:
            self.versions.echo(chunk, self.shared.chunks)

    # What waits behind a hole.

    def _hold(self, start: int, data: bytes, ttl: int = 0) -> bool:
        """Keep the parts of a segment that no held piece covers; return whether a covered part differs."""
        shared = self.shared
        room = max(self.limit() - start, 0)
        if len(data) > room:
            shared.count("depth_bytes", len(data) - room)
            data = data[:room]
        if not data:
            return False
        if self.held is None:
            self.held = Pieces()
        copies: list[Copy] = []
        cost = self.held.cost
        inserted = self.held.insert(start, data, self._favours(), copies, ttl)
        shared.used += self.held.cost - cost
        if copies:
            self._keep_copies(copies)
        return inserted.differs

    def _favours(self) -> Favours:
        """Return how the receiver chooses."""
        columns, slot = self.columns, self.slot
        receiver = columns.src if self.direction else columns.dst
        high, low = receiver[slot].tolist()
        return self.shared.targets.of(int(columns.ip_version[slot]), high, low)

    def _keep_copies(self, copies: list[Copy]) -> None:
        """Keep what hosts have of bytes of which two copies differ: each the earlier one, then the later."""
        shared = self.shared
        doubts = self.doubts = self.doubts or Doubts()
        before = doubts.cost
        for known, new in zip(copies[::2], copies[1::2], strict=True):
            doubts.add(known, known=True)
            doubts.add(new)
        shared.used += doubts.cost - before
        shared.counters.add("flow.tcp.versions.refused", doubts.take_dropped())

    def _release(self, at: Arrival, *, conflict: bool = False) -> bool:
        """Deliver the held pieces that continue the stream; return ``conflict`` if there is no chunk to carry it."""
        held = self.held
        if held is None:
            return conflict
        cost, start = held.cost, self.offset
        data, differs = held.pop(start)
        if not data:
            return conflict
        self.shared.used -= cost - held.cost
        if not held:
            self.held = None
        said, room = [*self.sent] if self.doubts and self.sent else [], max(self.limit() - start, 0)
        self.deliver(data, at, conflict=conflict or differs)
        if self.doubts:
            self._weigh(self.doubts, [*said, (start, data[:room])], at)
        return False

    def _weigh(self, doubts: Doubts, said: list[tuple[int, bytes]], at: Arrival) -> None:
        """Have read what other hosts have of bytes that were just delivered, at the end of what was ``said``.

        That is more than what is kept of them from now on.
        """
        start, delivered = said[-1]
        disputed = self.disputed = self.disputed or Doubts()
        cost = disputed.cost
        doubts.hand_over(start, start + len(delivered), disputed)
        disputed.rounds += 1
        before = doubts.cost
        views = doubts.take(start, delivered)
        self.shared.used -= before - doubts.cost
        self.charge_disputed(disputed, cost)
        if not doubts:
            self.doubts = None
        if self.shared.versions > 1:
            disputed.rounds += self.read(views, start, delivered, at, said=said)

    def _give_up_hole(self, at: Arrival, why: str) -> None:
        """Go on with the first held piece, whatever is missing before it."""
        assert self.held
        self._lose(self.held.start - self.offset, why)
        self._release(at)

    def _lose(self, size: int, why: str) -> None:
        if size <= 0:
            return
        lost = self.lost = self.lost or Lost()
        cost = lost.cost
        let_go = lost.add(self.offset, self.offset + size)
        excess = self.shared.used + lost.cost - cost - self.shared.memcap
        if excess > 0:
            let_go += lost.let_go(excess)
        self.shared.used += lost.cost - cost
        if let_go:
            self.shared.count("holes_forgotten", let_go)
        self.gap += size
        self.columns.gaps[self.slot, self.direction] += size
        self.shared.count(why)
        self.shared.count("unshown_bytes" if self.dark else "gap_bytes", size)
        self.dark = False
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

    def _pass_unseen(self) -> None:
        """Go on where the receiver has got to: what lies before that was beyond the depth, and not shown."""
        self._lose(self.claimed - self.offset, "catch_up")
        self.base = self.offset

    def _enforce_limits(self, at: Arrival) -> None:
        shared = self.shared
        while self.held and len(self.held) > shared.max_segments:
            self._make_room(at, "segments_limit")
        while self.held and shared.used > shared.memcap:
            if not self._let_doubts_go():
                self._make_room(at, "memcap")

    def _let_doubts_go(self) -> bool:
        """Let go of what is contested for longest; return whether there was any but the latest."""
        shared, doubts = self.shared, self.doubts
        if doubts is None:
            return False
        cost = doubts.cost
        count = doubts.let_go(shared.used - shared.memcap)
        shared.used -= cost - doubts.cost
        shared.counters.add("flow.tcp.versions.refused", count)
        return count > 0

    def _make_room(self, at: Arrival, why: str) -> None:
        """Let go of what is furthest ahead, as hosts do; or of the hole, where nobody says what the receiver has."""
        assert self.held
        if not self.heard:
            self._give_up_hole(at, why)
            return
        self.shared.count(why)
        cost = self.held.cost
        self.shared.count("let_go_bytes", self.held.drop_last())
        self.shared.used -= cost - self.held.cost
        if not self.held:
            self.held = None

    def _fill(self, start: int, data: bytes, at: Arrival) -> None:
        """Take what arrives for holes that were given up; have it read when a hole is full."""
        shared, lost = self.shared, self.lost
        assert lost is not None
        for hole in lost.within(start, start + len(data)):
            low, high = max(hole.start, start), min(hole.end, start + len(data))
            if shared.used + high - low > shared.memcap or len(hole.late) > shared.max_segments:
                shared.count("late_dropped")
                continue
            cost = lost.cost
            lost.fill(hole, low, data[low - start : high - start])
            self.note(Note.LATE_DATA, at)
            late = lost.take(hole) if hole.full else []
            shared.used += lost.cost - cost
            if late:
                self._inspect_late(late, at)
        if not lost:
            self.lost = None

    def _read_begun(self, lost: Lost, at: Arrival) -> None:
        """Have read what holes begin with: the other side may have, if it speaks now."""
        cost = lost.cost
        begun = lost.take_begun()
        self.shared.used += lost.cost - cost
        for late in begun:
            self._inspect_late(late, at)

    def _forget_lost(self, at: Arrival) -> None:
        """Let all holes go; have read what came for them."""
        lost, self.lost = self.lost, None
        if lost is not None:
            self.shared.used -= lost.cost
            for late in lost.take_all():
                self._inspect_late(late, at)

    def _inspect_late(self, late: list[tuple[int, bytes]], at: Arrival) -> None:
        """Have read what came for a hole that had been given up."""
        edits = [Edit(start, start + len(data), data) for start, data in late]
        self.shared.count("late_bytes", sum(len(edit.data) for edit in edits))
        self.fork(edits, at)

    # What hosts ignore.

    def put_aside(self, segment: Ignored) -> None:
        """Keep a segment that a host would have ignored, until it shows that it did not."""
        if not self.closed and self.offset <= segment.end <= self.offset + self.shared.window:
            self.aside.put(segment)

    def reconsider(self, shown: int, at: Arrival) -> None:
        """Take what was put aside and acknowledges what the other side has sent, up to ``shown``, after all."""
        self._take(self.aside.take_answering(shown), at)

    def _take(self, ignored: list[Ignored], at: Arrival) -> None:
        """Take segments that were put aside, where there is nothing else."""
        for one in ignored:
            if one.end > self.offset:
                self.shared.count("aside_taken")
                self.stamp = one.stamp if one.stamp is not None else self.stamp
                start = max(one.start, self.offset)
                self._hold(start, one.data[start - one.start :])
                self._release(at)
                self._enforce_limits(at)
            if one.fin:
                self.finish(one.end)
