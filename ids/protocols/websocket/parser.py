"""WebSocket of one connection: frames in, messages out, unmasked, put together and decompressed.

A message is reported at its end; one of several frames also as it grows, each time it has doubled, for its end may
never come. Frames of control (ping, close) may stand between those of a message, and are reported by themselves. What
was lost is missing in its message; where frames were, the next one is looked for where a piece of the stream begins.
"""

from __future__ import annotations

from typing import Any

from ids.protocols.framing import Frames
from ids.protocols.protocol import ODDITY
from ids.protocols.shared import Shared
from ids.protocols.stretch import Stretch
from ids.protocols.websocket.frames import (
    BEGINS,
    CLOSE,
    COMPRESSED,
    CONTINUATION,
    FIN,
    LONGEST_HEAD,
    OPCODES,
    Frame,
    length_of,
    read_frame,
)
from ids.protocols.websocket.inflating import CONTEXT_BYTES, Inflater
from ids.protocols.websocket.settings import WebSocketSettings
from ids.types import Direction, Transaction

SMALL_BYTES = 2
"""Payload in which there is nothing to find."""
SMALL_FRAMES = 512
"""Frames with no more than that which are reported, until others come."""
_OVERLAP = 4096
"""Bytes that the parts of a long message have in common."""


class Side:
    """The reader of one direction."""

    __slots__ = ("compressed", "due", "flags", "frames", "inflater", "message", "opcode", "open", "small")

    def __init__(self, shared: Shared[WebSocketSettings], direction: Direction) -> None:
        self.frames = Frames(shared.pool, length_of, LONGEST_HEAD + shared.settings.message_bytes, BEGINS[direction])
        self.message = bytearray()
        """What a message of several frames has said so far."""
        self.open = False
        """A message goes on."""
        self.opcode = 0
        self.flags = 0
        """Those of its first frame, but for `FIN`."""
        self.compressed = False
        self.due = 1
        """Bytes of it at which it is looked at next."""
        self.inflater: Inflater | None = None
        self.small = SMALL_FRAMES


class Connection:
    """Both directions of a flow, or of a stream of HTTP/2; a `StreamParser`."""

    __slots__ = ("_shared", "_sides", "_slot", "beyond", "next_id")

    def __init__(self, shared: Shared[WebSocketSettings], slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self.next_id = tx_id
        """Id of the next transaction."""
        self.beyond = 0
        """Bytes that are behind what it is fed, in the same piece of the flow's stream."""
        self._sides = tuple([Side(shared, direction) for direction in Direction])

    def feed(self, stretch: Stretch, out: list[Transaction]) -> None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction, data, ts_ns, number, gap, closed = stretch
        side = self._sides[direction]
        for piece in side.frames.feed(data, gap, closed):
            if piece.lost and side.inflater is not None:
                side.inflater.broken = True
            frame, at = read_frame(piece.data), (ts_ns, number, piece.behind + self.beyond)
            if not piece.whole:
                self._shared.counters.add("websocket.frame_too_long")
                if side.inflater is not None and frame.opcode < CLOSE:
                    side.inflater.broken = True
            self._take(side, direction, frame, at, out)
        if closed and side.open:
            self._report(side, direction, bytes(side.message), (ts_ns, number, 0), out, complete=True)
            self._end(side)

    def release(self) -> None:
        """Give back what all flows share."""
        for side in self._sides:
            side.frames.release()
            self._end(side)
            if side.inflater is not None:
                self._shared.pool.give(CONTEXT_BYTES)
                side.inflater = None

    def _take(
        self, side: Side, direction: Direction, frame: Frame, at: tuple[int, int, int], out: list[Transaction]
    ) -> None:
        """Take a frame: a message by itself, or a part of one."""
        last = bool(frame.flags & FIN)
        if frame.opcode >= CLOSE:
            self._report_frame(side, direction, frame, frame.payload, at, out)
            return
        if frame.opcode != CONTINUATION or not side.open:
            self._end(side)
            side.open, side.opcode, side.flags = True, frame.opcode, frame.flags & ~FIN
            side.compressed = bool(frame.flags & COMPRESSED)
        payload = self._inflated(side, frame, last) if side.compressed else frame.payload
        if last and not side.message:
            self._end(side)
            self._report_frame(side, direction, frame, payload, at, out)
            return
        self._add(side, direction, frame, payload, at, out)
        if last:
            self._report(side, direction, bytes(side.message), at, out, complete=True, frame=frame)
            self._end(side)
        elif len(side.message) >= side.due:
            side.due = 2 * len(side.message)
            self._report(side, direction, bytes(side.message), at, out, complete=False, frame=frame)

    def _add(
        self,
        side: Side,
        direction: Direction,
        frame: Frame,
        payload: bytes,
        at: tuple[int, int, int],
        out: list[Transaction],
    ) -> None:
        """Put a part of a message to those before it; where it is too long, report what is there."""
        shared = self._shared
        if len(side.message) + len(payload) > shared.settings.message_bytes and side.message:
            shared.counters.add("websocket.message_too_long")
            self._report(
                side, direction, bytes(side.message), at, out, complete=False, frame=frame,
                odd=b"websocket.reassembly_limit_reached",
            )  # fmt: skip
            shared.pool.give(max(len(side.message) - _OVERLAP, 0))
            del side.message[:-_OVERLAP]
            side.due = 1
        if payload and shared.pool.take(len(payload)):
            side.message += payload
        elif payload:
            self._report(side, direction, payload, at, out, complete=False, frame=frame)

    def _end(self, side: Side) -> None:
        """Let go of a message."""
        self._shared.pool.give(len(side.message))
        side.message = bytearray()
        side.open, side.due = False, 1

    def _inflated(self, side: Side, frame: Frame, last: bool) -> bytes:
        """Return what a compressed frame says; where that cannot be known, what was sent."""
        shared = self._shared
        if side.inflater is None:
            if not shared.pool.take(CONTEXT_BYTES):
                return frame.payload
            side.inflater = Inflater()
        if side.inflater.broken:
            shared.counters.add("websocket.not_decompressed")
            return frame.payload
        found, whole = side.inflater.inflate(frame.payload, shared.settings.message_bytes, last)
        if not whole:
            shared.counters.add("websocket.deflate_broken")
            return found or frame.payload
        return found

    def _report_frame(
        self,
        side: Side,
        direction: Direction,
        frame: Frame,
        payload: bytes,
        at: tuple[int, int, int],
        out: list[Transaction],
    ) -> None:
        """Report what a frame says by itself, unless there is nothing in it, as often as that comes."""
        if len(payload) > SMALL_BYTES:
            side.small = SMALL_FRAMES
        elif side.small:
            side.small -= 1
        else:
            self._shared.counters.add("websocket.frames_unreported")
            return
        odd = b"websocket.flood" if side.small == 1 and len(payload) <= SMALL_BYTES else b""
        self._emit(direction, frame.flags, frame.opcode, frame.mask, payload, at, out, odd=odd)

    def _report(
        self,
        side: Side,
        direction: Direction,
        payload: bytes,
        at: tuple[int, int, int],
        out: list[Transaction],
        *,
        complete: bool,
        frame: Frame | None = None,
        odd: bytes = b"",
    ) -> None:
        """Report a message of several frames as it is."""
        flags = side.flags | (frame.flags & FIN if frame is not None else 0)
        mask = frame.mask if frame is not None else None
        self._emit(direction, flags, side.opcode, mask, payload, at, out, complete=complete, odd=odd)

    def _emit(
        self,
        direction: Direction,
        flags: int,
        opcode: int,
        mask: int | None,
        payload: bytes,
        at: tuple[int, int, int],
        out: list[Transaction],
        *,
        complete: bool = True,
        odd: bytes = b"",
    ) -> None:
        ts_ns, number, behind = at
        buffers = {"websocket.opcode": b"%d" % opcode, "websocket.flags": b"%d" % flags}
        if payload:
            buffers["websocket.payload"] = payload
        if mask is not None:
            buffers["websocket.mask"] = b"%d" % mask
        elif direction is Direction.TO_SERVER:
            odd = odd or b"websocket.not_masked"
        if odd:
            buffers[ODDITY] = odd
        out.append(
            Transaction(
                self._shared.flows, self._slot, "websocket", self.next_id, direction, buffers,
                _fields(flags, opcode, mask), ts_ns, number, complete, behind=behind,
            )
        )  # fmt: skip
        self.next_id += 1


def _fields(flags: int, opcode: int, mask: int | None) -> dict[str, Any]:
    """Return what EVE logs of a message."""
    fields: dict[str, Any] = {"fin": bool(flags & FIN)}
    if mask is not None:
        fields["mask"] = mask
    fields["opcode"] = OPCODES.get(opcode, f"unknown-{opcode}")
    return fields
