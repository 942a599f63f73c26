"""SMB of one TCP flow: messages are cut, and each goes to those who read its version."""

from __future__ import annotations

from ids.protocols.frame import Framer, Place
from ids.protocols.framing import Frames, Message
from ids.protocols.smb import starts
from ids.protocols.smb.connection import Connection, SharedCalls
from ids.protocols.smb.first import First
from ids.protocols.smb.opened import Part
from ids.protocols.smb.second import Second
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

_ENOUGH_ENCRYPTED = 2
"""Encrypted messages of each side, and nothing but such since the first, by which no more is to be read."""


class SmbParser:
    """Both directions of a flow; a `StreamParser`."""

    __slots__ = (
        "_clear", "_closed", "_encrypted", "_first", "_framer", "_frames", "_rest", "_second", "_whose", "connection",
    )  # fmt: skip

    def __init__(self, shared: SharedCalls, slot: int, tx_id: int) -> None:
        limit = shared.settings.message_bytes
        self._frames = [Frames(shared.pool, starts.length_of, limit, starts.BEGINS, cut=True) for _ in Direction]
        self._framer: Framer | None = shared.framed.framer("smb", stream=True)
        self._whose = shared.flows, slot
        self.connection = Connection(shared, slot, tx_id)
        self._first, self._second = First(self.connection), Second(self.connection)
        self._closed = 0
        self._encrypted = [0, 0]
        """By direction: encrypted messages."""
        self._clear = False
        """A message in the clear came behind an encrypted one."""
        self._rest: list[tuple[int, Part | None]] = [(0, None), (0, None)]
        """By direction: bytes to come of a message with a hole, and of what file they are."""

    @property
    def settled(self) -> bool:
        """Whether both sides encrypt all that they say: the rest need not be seen."""
        return not self._clear and all(count >= _ENOUGH_ENCRYPTED for count in self._encrypted)

    def feed(self, stretch: Stretch, out: list[Transaction]) -> None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction, data, ts_ns, number, gap, closed = stretch
        if self._framer is not None:
            self._framer.came(direction, gap + len(data))
        for frame in self._frames[direction].feed(data, gap, closed):
            self.connection.at = (ts_ns, number, frame.behind, out)
            if self._rest[direction][0] and self._goes_on(direction, frame):
                continue
            if self._framer is not None:
                place = Place(*self._whose, ts_ns, number, frame.behind)
                spans = starts.spans_of(frame.data)
                out.append(self._framer.row(direction, frame.data, spans, place, whole=frame.whole))
            if frame.whole or len(frame.data) >= self.connection.shared.settings.message_bytes:
                self._message(direction, frame.data)
            else:
                self._broken(direction, frame.data)
        if closed:
            self.connection.at = (ts_ns, number, 0, out)
            self._closed |= 1 << direction
            if self._closed == 0b11:
                self.connection.end(direction)
        self.connection.at = (0, 0, 0, [])

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        for frames in self._frames:
            frames.release()
        self.connection.release()

    def _message(self, direction: Direction, frame: bytes) -> None:
        if frame[0] != starts.MESSAGE or len(frame) < starts.FRAME + 4:
            return
        message = frame[starts.FRAME :]
        mark = message[:4]
        if mark == starts.ENCRYPTED:
            self._encrypted[direction] += 1
            self.connection.count("encrypted")
            return
        if mark == starts.COMPRESSED:
            self.connection.count("compressed")
            return
        self._clear = self._clear or bool(self._encrypted[direction])
        if mark == starts.SECOND:
            self._second.message(direction, message)
        elif mark == starts.FIRST:
            self._first.message(direction, message)

    def _broken(self, direction: Direction, frame: bytes) -> None:
        """Take the beginning of a message before missing bytes, where it carries a piece of a file."""
        self.connection.part = None
        if starts.carries(direction, frame):
            self._message(direction, frame)
        self._rest[direction] = starts.length_of(frame, 0) - len(frame), self.connection.part
        self.connection.part = None

    def _goes_on(self, direction: Direction, piece: Message) -> bool:
        """Take bytes behind those that are missing; return whether they are of the same message, or it had no more."""
        left, part = self._rest[direction]
        left -= piece.lost
        if left <= 0:
            self._rest[direction] = 0, None
            return not piece.data
        if part is not None and direction in part.opened.transfers:
            self.connection.transfer(part.opened, direction, part.offset + piece.lost, piece.data, part.like)
            part, self.connection.part = self.connection.part, None
        self._rest[direction] = left - len(piece.data), part
        return True
