"""Which segments of an established connection a host takes no notice of.

THEORY. As Linux does (``tcp_validate_incoming``, ``tcp_ack``, ``tcp_inbound_hash``; RFC 5961 section 5, RFC 7323
section 5, RFC 2385). A host drops a segment, with its acknowledgement and its data,

(1) that acknowledges more than its peer has sent, or less than was acknowledged before by more than the widest window
    that its sender has offered. Only who sees the other direction can do better than guess: this is what keeps a third
    party's data out. Where the other direction is not seen, its numbers are those that this sender acknowledged; beyond
    its depth it may not be seen any more, so there what goes on exactly where its sender was, or repeats what was not
    acknowledged, may acknowledge more: whoever is no party to the connection does not know where that is;
(2) whose timestamp is older than the latest one of what was in order, where both sides send timestamps;
(3) that has an MD5 or authentication option, where the handshake had none;
(4) that begins beyond the window that it has offered.

We may have missed what the host saw, or it may be of another kind; so such data is put aside, and taken when the host
acknowledges it. (2) and (3) depend on the host: there both are read.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from ids.flow.notes import Note
from ids.flow.segment import Segment
from ids.types import Mark

if TYPE_CHECKING:
    from ids.flow.half import Half

_MIDSTREAM = int(Mark.MIDSTREAM)
Scales: TypeAlias = tuple[int | None, int | None]
"""Window scales that the two sides offered, by `Direction`."""
MAX_SCALE = 14
"""RFC 7323 section 2.3."""
FAR = 1 << 28
"""How far ahead of itself one side may acknowledge what we do not see: hours of a slow connection."""


class Fault(Enum):
    """Why a host ignores a segment."""

    BAD_ACK = ("bad_ack", Note.BAD_ACK, False)
    OLD_TIMESTAMP = ("old_timestamp", Note.OLD_TIMESTAMP, True)
    SIGNATURE = ("unexpected_signature", Note.SIGNATURE, True)
    OUT_OF_WINDOW = ("beyond_window", Note.OUT_OF_WINDOW, False)

    def __init__(self, counter: str, note: Note, depends_on_host: bool) -> None:
        self.counter = counter
        """Name of the counter, behind ``flow.tcp.``."""
        self.note = note
        self.depends_on_host = depends_on_host


def fault_of(segment: Segment, half: Half, other: Half, *, signed: bool) -> Fault | None:
    """Return what is wrong with the options of a segment of ``half``; ``signed``: the handshake had such an option."""
    if segment.signed and not signed:
        return Fault.SIGNATURE
    if segment.stamp is None or half.stamp is None or other.stamp is None:
        return None
    older = (half.stamp - segment.stamp) & 0xFFFFFFFF
    return Fault.OLD_TIMESTAMP if 1 < older < 1 << 31 else None  # by one is let pass, as by Linux


def in_window(segment: Segment, start: int, half: Half) -> bool:
    """Return whether a segment that begins at stream offset ``start`` may say what its sender has received."""
    return half.acked <= start + segment.length and start <= half.offset + half.shared.window


def misplaced(start: int, acked: int, half: Half, other: Half) -> Fault | None:
    """Return what is wrong with the numbers of a segment: it begins at stream offset ``start`` of ``half``, and
    acknowledges what is before ``acked`` of the other side.
    """
    if half.heard and not (half.acked <= start <= half.offset and other.unseen):
        low, high = other.acked, other.shown
    else:
        low, high = max(other.acked, other.claimed), max(other.shown, other.claimed) + FAR
    if not low - half.widest <= acked <= high:
        return Fault.BAD_ACK
    if not half.heard or half.edge is None or start <= max(half.edge, half.offset):
        return None
    if half.claimed > half.offset and abs(start - half.claimed) <= half.shared.window:
        return None  # the host was heard to have got about there: we have lost packets
    return Fault.OUT_OF_WINDOW


def offered(segment: Segment, scales: Scales) -> int:
    """Return the window that a segment behind the handshake offers, in bytes."""
    mine = scales[segment.direction]
    both = mine is not None and scales[1 - segment.direction] is not None
    return segment.window << min(mine or 0, MAX_SCALE) if both else segment.window


def hear(segment: Segment, start: int, acked: int, half: Half, other: Half, scales: Scales) -> None:
    """Remember what a segment that the host takes says of its sender: its clock, its window."""
    if start <= half.offset and segment.stamp is not None:
        half.stamp = segment.stamp
    other.heard = True
    window = offered(segment, scales)
    if window > half.widest:
        half.widest = window
    if half.columns.marks.item(half.slot) & _MIDSTREAM:
        return  # the handshake was not seen: the scale is not known
    edge = acked + window
    if other.edge is None or edge > other.edge:
        other.edge = edge
