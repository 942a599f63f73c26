"""What one side says behind its FIN, when that was acknowledged.

THEORY. A host says nothing after its FIN, so one that does never sent it: whoever sits at the other end forged it, in
the host's name, and acknowledged it. The direction is closed, for parsers and rules have been told so; what follows is
read in a variant. That begins with what is kept of the other side, and goes on with all that comes, in the order of its
coming. What comes late is not put in its place: the sender is honest, and the order is the network's.
"""

from __future__ import annotations

from typing import Protocol

from ids.flow.reassembly import Reassembly
from ids.flow.segment import Arrival
from ids.flow.versions import Edit, Span, Terms, Variant, Versions
from ids.types import Direction


class Closed(Protocol):
    """A direction that is closed: `ids.flow.half.Half`."""

    shared: Reassembly
    versions: Versions
    """Of the connection."""
    direction: Direction
    offset: int
    """Stream offset at which it was closed."""
    base: int
    """Stream offset from which the depth counts."""
    resumed: Variant | None
    """Has what came since."""

    def answers(self) -> list[Span]:
        """Return what is kept of what the other side said."""

    def count_conflict(self, at: Arrival) -> None:
        """Count that there are two versions of what was said."""


def read_on(half: Closed, start: int, data: bytes, at: Arrival) -> None:
    """Have read what a closed direction says, whose first byte has stream offset ``start``."""
    half.shared.count("after_close_bytes", len(data))
    variant = half.resumed
    if variant is not None and variant not in half.versions.variants:
        variant = half.resumed = None  # it was given up
    known = half.offset if variant is None else variant.place(half.direction)
    if start + len(data) <= known or half.shared.versions == 1 or start > known + half.shared.window:
        return
    data, start = data[max(known - start, 0) :], max(start, known)
    room = half.base + half.shared.depth - start
    if len(data) > room:
        half.shared.count("depth_bytes", len(data) - max(room, 0))
        data = data[: max(room, 0)]
    if not data:
        return
    if variant is None:
        _begin(half, start, data, at)
    else:
        gap, offset = start - known, start - variant.left_out[half.direction]
        half.shared.emit(at, variant.slot, half.direction, offset, data, gap=gap, conflict=True)
        variant.offset[half.direction] = offset + len(data)


def _begin(half: Closed, start: int, data: bytes, at: Arrival) -> None:
    """Begin the variant. Where there is no room for one more, it takes the place of the latest."""
    half.count_conflict(at)
    spans, edits = [Span(start, start + len(data), data)], [Edit(start, start + len(data), data)]
    if half.versions.fork(half.shared, half.direction, spans, half.answers(), edits, at, Terms(due=True)):
        half.resumed = half.versions.variants[-1]
