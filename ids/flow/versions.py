"""Other versions of a connection: what its hosts may have read, where that is not clear from what was sent.

THEORY. Two copies of the same bytes that differ, a byte marked urgent, what fills a hole that was given up: each leaves
more than one stream that a host may have seen, and no rule fits every host. So a connection may have *variants*: each
has a slot of its own in `FlowColumns`, with the ends of its connection (``primary``), and gets the same chunks but for
its *edits*. Parsers and rules take it for a flow like others; what they find is the connection's.

(1) A variant begins with the bytes that are still kept of its direction, from a turn of the conversation on if possible
    (`ids.flow.reassembly`), so that a parser can begin there; from then on it gets all that its connection gets.
(2) Each new conflict makes a variant of every version there is, while there is room: all that k conflicts can make are
    2**k. Then the version that always took the latest copy goes on with this one.
(3) The same bytes twice make no second variant.
(4) What was contested behind a hole, and all that was contested in a turn when it is over, is read in the choices that
    hosts may make (`ids.flow.choices`). Those that find no room are brief: they get what has come so far, and end.

MEMORY AND COST. At most ``stream.versions`` - 1 variants a connection, `MAX_VARIANTS` in all; beginning them costs the
bytes that are kept, so a batch may do that `MAX_FORKS` times in all, and one connection for at most
`MAX_FORKED_BYTES` + `FORKED_FACTOR` times the bytes that it has delivered. What exceeds that waits until the turn is
over, when one variant is begun with the latest copy of all: no number of conflicts buys silence for one. What is
refused is counted as ``flow.tcp.versions.refused``. Where there are `MAX_VARIANTS`, the connection whose bytes have
been in doubt for longest without a new conflict loses its own (``flow.tcp.versions.evicted``).
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from ids.flow.reassembly import Chunk, Reassembly
from ids.flow.segment import Arrival

MAX_VARIANTS = 2048
"""Variants of all connections; each costs about as much as a flow with its parser."""
MAX_FORKS = 1024
"""Variants that one batch may begin: some 50 ms of work."""
FORKS_SHARE = 16
"""One in how many of these one connection may begin."""
MAX_FORKED_BYTES = 512 * 1024
FORKED_FACTOR = 64
"""What one connection may cost by beginning variants, in bytes that are delivered again."""


UNLIMITED = 1 << 62
"""A stream offset that no stream reaches."""
MAX_DUE = 1024
"""Edits that wait for the end of the turn."""
MAX_EDITS = 256
"""Edits that a variant remembers; of more, those that were made first are let go."""


class Edit(NamedTuple):
    """What a variant has in place of stream bytes."""

    start: int
    end: int
    data: bytes
    """As many bytes, or none: then they are left out."""


class Terms(NamedTuple):
    """How variants begin."""

    alone: bool = False
    """Only one that is like the connection otherwise; else one of each version there is."""
    brief: bool = False
    """Where there is no room for one that goes on, one that ends at once."""
    urgent: bool = False
    """One that leaves out bytes which were marked urgent."""
    due: bool = False
    """Only one that always takes the latest copy, whatever this batch has cost."""


ANY = Terms()

Span: TypeAlias = Edit
"""Bytes and where they belong; the same as an edit of nothing."""


def overlay(spans: list[Span], edits: list[Edit]) -> list[Span]:
    """Return the spans with the edits in their place, in order."""
    for edit in edits:
        laid: list[Span] = []
        for span in spans:
            if span.end <= edit.start or span.start >= edit.end:
                laid.append(span)
                continue
            if span.start < edit.start:
                laid.append(Span(span.start, edit.start, span.data[: edit.start - span.start]))
            if edit.end < span.end:
                laid.append(Span(edit.end, span.end, span.data[edit.end - span.start :]))
        laid.append(edit)
        spans = sorted(laid)
    return spans


def within(edits: list[Edit], start: int, end: int) -> list[Edit]:
    """Return what of the edits lies between two stream offsets."""
    found: list[Edit] = []
    for edit in edits:
        low, high = max(edit.start, start), min(edit.end, end)
        if low < high:
            found.append(Edit(low, high, edit.data[low - edit.start : high - edit.start]))
    return found


class Variant:
    """One other version of a connection."""

    __slots__ = ("closed", "edits", "heard", "left_out", "offset", "slot", "urgent")

    def __init__(self, slot: int, edits: tuple[list[Edit], list[Edit]], *, urgent: bool) -> None:
        self.slot = slot
        self.edits = edits
        """By `Direction`, in the order in which they were made."""
        self.heard = [False, False]
        """It was given bytes of the `Direction`."""
        self.offset = [0, 0]
        """Where its next byte belongs, in its own stream."""
        self.left_out = [0, 0]
        """Bytes left out so far."""
        self.closed = [False, False]
        self.urgent = urgent
        """It leaves out the bytes that were marked urgent."""

    def place(self, direction: int) -> int:
        """Return the stream offset, in its connection, of what it reads next."""
        return self.offset[direction] + self.left_out[direction]

    def reads(self, direction: int, start: int, base: bytes) -> bytes:
        """Return what it has in place of bytes of its connection."""
        end = start + len(base)
        edits = within(self.edits[direction], start, end)
        return b"".join(span.data for span in overlay([Span(start, end, base)], edits))

    def take(self, chunk: Chunk, chunks: list[Chunk]) -> None:
        """Give it a chunk of its connection, as it would have it."""
        direction, data = chunk.direction, chunk.data
        if self.closed[direction]:
            return
        edits = within(self.edits[direction], chunk.offset, chunk.offset + len(data))
        if edits:
            data = self.reads(direction, chunk.offset, data)
        offset = chunk.offset - self.left_out[direction]
        chunks.append(
            chunk._replace(
                slot=self.slot,
                offset=offset,
                data=data,
                gap=max(offset - self.offset[direction], 0) if data and self.heard[direction] else 0,
                conflict=chunk.conflict or bool(edits),
            )
        )
        if data:
            self.offset[direction] = offset + len(data)
        self.left_out[direction] += len(chunk.data) - len(data)
        self.heard[direction] |= bool(data)
        self.closed[direction] = chunk.closed

    def add(self, direction: int, edit: Edit) -> None:
        """Have it read something else in what comes."""
        edits = self.edits[direction]
        last = edits[-1] if edits else None
        if last is not None and last.end == edit.start and bool(last.data) == bool(edit.data):
            edits[-1] = Edit(last.start, edit.end, last.data + edit.data)
        else:
            edits.append(edit)
        if len(edits) > MAX_EDITS:
            del edits[: MAX_EDITS // 2]

    @property
    def cost(self) -> int:
        """Bytes of memory to charge for its edits."""
        return sum(len(edit.data) for edits in self.edits for edit in edits)


class Versions:
    """The variants of one connection."""

    __slots__ = ("batch", "charged", "forked_bytes", "forks", "slot", "variants")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.variants: list[Variant] = []
        """The one that took the latest copy each time is the last."""
        self.forked_bytes = 0
        """Bytes delivered again to begin variants."""
        self.forks, self.batch = 0, -1
        """Variants begun in this batch."""
        self.charged = 0
        """Bytes of edits in `Reassembly.used`."""

    def spent(self, shared: Reassembly) -> bool:
        """Return whether this batch leaves no room for further variants of this connection."""
        mine = self.forks if self.batch == shared.batch else 0
        return mine >= MAX_FORKS // FORKS_SHARE or shared.forks >= MAX_FORKS

    def knows(self, direction: int, edit: Edit, base: bytes | None) -> bool:
        """Return whether a variant reads this already; ``base`` is what the connection has there, None: nothing yet."""
        if base is None:
            return any(edit in variant.edits[direction] for variant in self.variants)
        return any(variant.reads(direction, edit.start, base) == edit.data for variant in self.variants)

    def know(self, direction: int, edits: list[Edit], bases: list[bytes]) -> bool:
        """Return whether a variant reads all of this already; ``bases`` is what the connection has there."""
        return any(
            all(
                variant.reads(direction, edit.start, base) == edit.data for edit, base in zip(edits, bases, strict=True)
            )
            for variant in self.variants
        )

    def readings(self, direction: int, start: int, base: bytes) -> set[bytes]:
        """Return what variants have in place of bytes of their connection, where that is something else."""
        end = start + len(base)
        odd = [variant for variant in self.variants if within(variant.edits[direction], start, end)]
        return {variant.reads(direction, start, base) for variant in odd}

    def echo(self, chunk: Chunk, chunks: list[Chunk]) -> None:
        """Give all variants a chunk of the connection."""
        if not chunk.data and not chunk.closed:
            return
        for variant in self.variants:
            variant.take(chunk, chunks)

    def fork(
        self,
        shared: Reassembly,
        direction: int,
        context: list[Span],
        answers: list[Span],
        edits: list[Edit],
        at: Arrival,
        terms: Terms = ANY,
    ) -> bool:
        """Begin variants that read ``edits``, while there is room; return whether it did.

        ``context`` is what is kept of the direction, ``answers`` of the other one.
        """
        alone, brief = terms.alone, terms.brief
        bases: list[Variant | None] = [None] if alone else [*reversed(self.variants)]
        if not alone:
            bases.insert(1, None)
        if terms.due:
            bases = bases[:1]
        fresh: list[Variant] = []
        for base in bases:
            full = len(self.variants) + len(fresh) >= shared.versions - 1
            if full and not brief and (alone or fresh or not self.variants):
                break
            variant = self._begin(shared, direction, context, answers, edits, at, base, terms)
            if variant is None:
                break
            if full and brief:
                self._retire(variant, shared, at)
                self._charge(shared)
                return True
            if full:
                self._retire(self.variants.pop(), shared, at)
            fresh.append(variant)
        self.variants += reversed(fresh)
        self._charge(shared)
        if fresh:
            shared.contested[self.slot] = self
            shared.contested.move_to_end(self.slot)
        return bool(fresh)

    def end(self, shared: Reassembly, at: Arrival) -> None:
        """End all variants with their connection."""
        for variant in self.variants:
            self._retire(variant, shared, at)
        self.variants = []
        self._charge(shared)
        shared.contested.pop(self.slot, None)

    def _begin(
        self,
        shared: Reassembly,
        direction: int,
        context: list[Span],
        answers: list[Span],
        edits: list[Edit],
        at: Arrival,
        base: Variant | None,
        terms: Terms,
    ) -> Variant | None:
        size = sum(len(span.data) for span in (*context, *answers))
        end = context[-1].end if context else 0
        costly = self.forked_bytes + size > MAX_FORKED_BYTES + FORKED_FACTOR * end
        if not terms.due and (costly or self.spent(shared)):
            return None
        if self.batch != shared.batch:
            self.batch, self.forks = shared.batch, 0
        cost = sum(len(edit.data) for edit in edits) + (base.cost if base is not None else 0)
        if shared.used + cost > shared.memcap:
            return None
        slot = shared.open_variant(self.slot)
        if slot < 0 and shared.give_up_versions(self, at):
            slot = shared.open_variant(self.slot)
        if slot < 0:
            return None
        shared.forks += 1
        self.forks += 1
        self.forked_bytes += size
        shared.counters.add("flow.tcp.versions.begun")
        copied = ([*base.edits[0]], [*base.edits[1]]) if base is not None else ([], [])
        variant = Variant(slot, copied, urgent=terms.urgent or (base is not None and base.urgent))
        for edit in edits:
            variant.add(direction, edit)
        both = ((direction, context), (1 - direction, answers))
        for of, spans in sorted(both, key=lambda told: told[0]):  # what the client said comes first
            first = min(edit.start for edit in edits) if of == direction else UNLIMITED
            _catch_up(variant, shared, of, spans, first, at)
        shared.used += variant.cost
        self.charged += variant.cost
        return variant

    def _retire(self, variant: Variant, shared: Reassembly, at: Arrival) -> None:
        for direction in (0, 1):
            if not variant.closed[direction]:
                shared.emit(at, variant.slot, direction, variant.offset[direction], b"", closed=True)
                variant.closed[direction] = True
        shared.close_variant(variant.slot)

    def _charge(self, shared: Reassembly) -> None:
        cost = sum(variant.cost for variant in self.variants)
        shared.used += cost - self.charged
        self.charged = cost


def _catch_up(
    variant: Variant, shared: Reassembly, direction: int, context: list[Span], first: int, at: Arrival
) -> None:
    """Give a new variant what is kept of a direction, and its edits from ``first`` on, in contiguous runs as chunks."""
    if not context:
        return
    edits = within(variant.edits[direction], min(context[0].start, first), context[-1].end)
    spans = overlay(context, edits)
    left_out, run, begin, end, gap = 0, bytearray(), spans[0].start, spans[0].start, 0
    for span in spans:
        if span.start > end and not span.data:
            continue  # left out of what is not here
        if span.start > end:
            shared.emit(at, variant.slot, direction, begin, bytes(run), gap=gap, conflict=True)
            run, begin, gap = bytearray(), span.start - left_out, span.start - end
        run += span.data
        left_out += span.end - span.start - len(span.data)
        end = span.end
    shared.emit(at, variant.slot, direction, begin, bytes(run), gap=gap, conflict=True)
    variant.heard[direction], variant.left_out[direction] = True, left_out
    variant.offset[direction] = end - left_out
