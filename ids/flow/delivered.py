"""What was delivered of one direction of a connection, and what other hosts may have in its place.

Delivered bytes are kept until they are acknowledged, and those of a turn for longer: another copy is compared with
them, and where it differs, a variant reads it (`ids.flow.versions`), at once or when the turn is over.
"""

from __future__ import annotations

from ids.flow.doubts import Doubts, Run
from ids.flow.notes import Note
from ids.flow.reassembly import Reassembly
from ids.flow.segment import Arrival
from ids.flow.versions import ANY, MAX_DUE, Edit, Span, Terms, Versions, overlay
from ids.pieces import Copy
from ids.types import Direction, FlowColumns

_SMALL_PIECE = 4096
"""Bytes up to which pieces that adjoin are kept as one."""


class Delivered:
    """The bytes of one direction as far as they were delivered."""

    __slots__ = (
        "acked", "closed", "columns", "direction", "disputed", "due", "offset", "peer", "sent", "sent_bytes", "shared",
        "slot", "versions",
    )  # fmt: skip

    def __init__(
        self, shared: Reassembly, columns: FlowColumns, slot: int, direction: Direction, versions: Versions
    ) -> None:
        self.shared = shared
        self.columns = columns
        self.slot = slot
        self.direction = direction
        self.versions = versions
        """Of the connection."""
        self.peer: Delivered | None = None
        """The other direction."""
        self.offset = 0
        """Stream offset of the next byte to deliver."""
        self.acked = 0
        """Stream offset up to which the receiver has acknowledged."""
        self.closed = False
        """Its end was delivered."""
        self.sent: list[tuple[int, bytes]] | None = None
        """Delivered bytes with their offsets: those not acknowledged, and some before them."""
        self.sent_bytes = 0
        self.disputed: Doubts | None = None
        """Bytes delivered in this turn of which there are copies that differ."""
        self.due: list[Edit] | None = None
        """Edits for which no variant could be begun yet."""

    def keep_sent(self, data: bytes, at: Arrival) -> None:
        """Keep delivered bytes until they are acknowledged; small ones together, so that pieces stay few."""
        shared = self.shared
        if shared.used + len(data) > shared.memcap:
            shared.count("verify_memcap")
            self.forget_sent(self.offset, at)
            return
        sent = self.sent = self.sent or []
        start, last = sent[-1] if sent else (self.offset, b"")
        if sent and len(data) + len(last) <= _SMALL_PIECE and start + len(last) == self.offset:
            sent[-1] = (start, last + data)
        else:
            sent.append((self.offset, data))
        self.sent_bytes += len(data)
        shared.used += len(data)
        if self.sent_bytes > shared.verify:
            self.forget_sent(self.offset + len(data) - shared.verify, at)

    def forget_sent(self, upto: int, at: Arrival) -> None:
        """Forget the kept pieces that end at or before a stream offset; before that, have read what is contested."""
        if self.disputed and self.sent and self.sent[0][0] + len(self.sent[0][1]) <= upto > self.disputed.start:
            self._read_disputed(at)
        sent = self.sent or []
        count = size = 0
        while count < len(sent) and sent[count][0] + len(sent[count][1]) <= upto:
            size += len(sent[count][1])
            count += 1
        if count:
            self.sent = sent[count:] or None
            self.sent_bytes -= size
            self.shared.used -= size

    def compare(self, start: int, data: bytes, at: Arrival, ttl: int) -> bool:
        """Compare another copy of delivered bytes with the first one, as far as it is unacknowledged and still kept.

        Where it differs, have it read in a variant.
        """
        end = start + len(data)
        lowest = max(start, self.acked)
        if lowest >= end:
            return False
        unverified = end - lowest
        edits: list[Edit] = []
        bases: list[bytes] = []
        for kept, first in reversed(self.sent or ()):
            if kept + len(first) <= lowest:
                break
            low, high = max(kept, lowest), min(kept + len(first), end)
            if low < high:
                unverified -= high - low
                base, copy = first[low - kept : high - kept], data[low - start : high - start]
                if base != copy:
                    edits.append(Edit(low, high, copy))
                    bases.append(base)
        if unverified:
            self.shared.count("unverified_bytes", unverified)
        if edits and self.shared.versions > 1:
            self._dispute(edits, bases, ttl)
            if not self.versions.know(self.direction, edits, bases):
                self.fork(edits[::-1], at)
        return bool(edits)

    def doubt(self, start: int, data: bytes, at: Arrival) -> None:
        """Have read a segment that not every host ignores, in a variant, wherever its bytes were not acknowledged."""
        low, end = max(start, self.acked), start + len(data)
        if self.closed or low >= end or low > self.offset + self.shared.window or self.shared.versions == 1:
            return
        edit = Edit(low, end, data[low - start :])
        if not self.versions.knows(self.direction, edit, None):
            self.fork([edit], at)

    def leave_out(self, place: int, at: Arrival) -> None:
        """Have a variant without the byte at a stream offset, which was marked urgent."""
        if self.closed or place < self.acked or self.shared.versions == 1:
            return
        edit = Edit(place, place + 1, b"")
        if self.versions.knows(self.direction, edit, None):
            return
        for variant in self.versions.variants:
            if variant.urgent and place >= self.offset:
                variant.add(self.direction, edit)
                return
        self.fork([edit], at, Terms(alone=True, urgent=True))

    def settle(self, at: Arrival) -> None:
        """Have read what could not be while this turn went on, and what all that was contested in it makes together."""
        due, self.due = self.due, None
        if due and not self.closed:
            self.fork(due, at, Terms(due=True))
        self._read_disputed(at)

    def answers(self) -> list[Span]:
        """Return what is kept of what the other side said."""
        return _spans(self.peer.sent) if self.peer is not None else []

    def read(
        self,
        views: list[list[Run]],
        start: int,
        delivered: bytes,
        at: Arrival,
        *,
        said: list[tuple[int, bytes]] | None = None,
        due: bool = False,
    ) -> bool:
        """Have views read of bytes that were delivered from ``start`` on, as far as no variant has them.

        Return whether there was no room for some. Where this is ``due``, the first of these is read all the same.
        """
        known = self.versions.readings(self.direction, start, delivered)
        for number, view in enumerate(views):
            edits = [Edit(low, low + len(data), data) for low, data in view]
            if known and _joined(overlay([Edit(start, start + len(delivered), delivered)], edits)) in known:
                continue
            if not self.fork(edits, at, Terms(alone=True, brief=True), said):
                if due:
                    self.fork(edits, at, Terms(alone=True, brief=True, due=True))
                    self.shared.counters.add("flow.tcp.versions.refused", len(views) - number - 1)
                return True
        return False

    def fork(
        self,
        edits: list[Edit],
        at: Arrival,
        terms: Terms = ANY,
        said: list[tuple[int, bytes]] | None = None,
    ) -> bool:
        """Begin variants with edits, and with what was ``said``, or is kept of it; or wait for the end of the turn.

        What is to be brief does not wait. Return whether that was done.
        """
        alone, brief, urgent, due = terms
        full = alone and not brief and len(self.versions.variants) >= self.shared.versions - 1
        if not due and not urgent and (full or self.versions.spent(self.shared)):
            if not brief:
                self._wait(edits)
            return False
        if self.due and not alone:
            edits, self.due = [*self.due, *edits], None
        context = _spans(said or self.sent)
        if not context:  # nothing is kept: what there is to read is the edits
            context = [edit for edit in edits if edit.start < self.offset]
        made = self.versions.fork(self.shared, self.direction, context, self.answers(), edits, at, terms)
        if made or brief:
            return made
        if due or urgent:
            self.shared.counters.add("flow.tcp.versions.refused", len(edits))
        else:
            self._wait(edits)
        return False

    def _wait(self, edits: list[Edit]) -> None:
        """Keep edits until the turn is over."""
        waiting = self.due = self.due or []
        if len(waiting) + len(edits) > MAX_DUE or self.shared.versions == 1:
            self.shared.counters.add("flow.tcp.versions.refused", len(edits))
            del waiting[: MAX_DUE // 2]
        waiting += edits

    def _dispute(self, edits: list[Edit], bases: list[bytes], ttl: int) -> None:
        """Keep other copies of delivered bytes until the turn is over."""
        disputed = self.disputed = self.disputed or Doubts()
        before = disputed.cost
        disputed.rounds += 1
        for edit, base in zip(edits, bases, strict=True):
            disputed.add(Copy(edit.start, base, edit.start, edit.end), known=True)
            disputed.add(Copy(edit.start, edit.data, edit.start, edit.end, ttl))
        self.charge_disputed(disputed, before)

    def charge_disputed(self, disputed: Doubts, before: int) -> None:
        """Charge what was added; where there is no room for it, let go of what was contested first."""
        shared = self.shared
        shared.used += disputed.cost - before
        refused = disputed.take_dropped()
        if shared.used > shared.memcap:
            cost = disputed.cost
            refused += disputed.let_go(shared.used - shared.memcap)
            shared.used -= cost - disputed.cost
        shared.counters.add("flow.tcp.versions.refused", refused)

    def _read_disputed(self, at: Arrival) -> None:
        """Have read what all that is contested in this turn makes together."""
        disputed, self.disputed = self.disputed, None
        if disputed is None:
            return
        self.shared.used -= disputed.cost
        if disputed.rounds > 1 and not self.closed:
            for start, data in _runs(self.sent or []):
                self.read(disputed.take(start, data), start, data, at, due=True)

    def count_conflict(self, at: Arrival) -> None:
        """Count that there are two versions of what was said."""
        self.columns.conflicts[self.slot, self.direction] += 1
        self.shared.count("conflicts")
        self.note(Note.CONFLICT, at)

    def note(self, note: Note, at: Arrival) -> None:
        """Note something about this direction."""
        self.shared.notes.add(self.columns, self.slot, self.direction, note, at)


def _joined(spans: list[Span]) -> bytes:
    return b"".join(span.data for span in spans)


def _runs(said: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return delivered bytes in runs without a hole."""
    runs: list[tuple[int, list[bytes]]] = []
    end = -1
    for start, data in said:
        if start != end:
            runs.append((start, []))
        runs[-1][1].append(data)
        end = start + len(data)
    return [(start, b"".join(parts)) for start, parts in runs]


def _spans(said: list[tuple[int, bytes]] | None) -> list[Span]:
    return [Span(start, start + len(data), data) for start, data in said or ()]


def together(kept: list[tuple[int, bytes]], fresh: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return what was kept and what is added to it, small pieces that adjoin as one: a byte by itself costs 150."""
    pieces = kept[:-1]
    parts: list[bytes] = []
    begin = size = 0
    for start, data in [*kept[-1:], *fresh]:
        if parts and start == begin + size and size + len(data) <= _SMALL_PIECE:
            parts.append(data)
            size += len(data)
            continue
        if parts:
            pieces.append((begin, b"".join(parts)))
        begin, parts, size = start, [data], len(data)
    pieces.append((begin, b"".join(parts)))
    return pieces
