"""Files that are read or written over several messages, in any order: put in order, and handed to the seam of files."""

from __future__ import annotations

from ids.protocols.files import File
from ids.protocols.framing import Pool
from ids.protocols.smb.about import Exchange
from ids.types import Transaction

MAX_QUEUED = 64
"""Pieces of one file that wait for those before them; as many as Suricata queues."""

OVERLAPS, TOO_MANY, TOO_LARGE = "overlaps", "too many", "too large"
"""What is odd about a piece: it overlaps others, or is one of too many that wait, or makes them too large."""


class Ordered:
    """One direction of an open file."""

    __slots__ = ("_limit", "_pool", "_queued", "_size", "at", "exchange", "file")

    def __init__(self, exchange: Exchange, file: File, pool: Pool, limit: int) -> None:
        self.exchange = exchange
        self.file = file
        self.at = 0
        """Bytes of the file that are behind us."""
        self._queued: dict[int, bytes] = {}
        """By offset: pieces that came too early."""
        self._size = 0
        self._pool = pool
        self._limit = limit

    def take(self, offset: int, data: bytes, at: tuple[int, int, list[Transaction]]) -> str:
        """Take a piece; return what is odd about it: it overlaps what was there before, or too much waits already."""
        odd = OVERLAPS if offset < self.at else ""
        if odd:
            data = data[self.at - offset :]
            offset = self.at
        if not data:
            return odd
        if offset > self.at:
            odd = self._queue(offset, data, at)
        else:
            self._append(data, at)
        self._follow(at)
        return odd

    def finish(self, at: tuple[int, int, list[Transaction]]) -> None:
        """End the file; what is missing of it is lost."""
        while self._queued:
            self._skip(at)
        ts_ns, number, out = at
        self.file.close(ts_ns, number, out)

    def release(self) -> None:
        """Give back what is held, without a word."""
        self._pool.give(self._size)
        self._queued.clear()
        self._size = 0
        self.file.release()

    def _append(self, data: bytes, at: tuple[int, int, list[Transaction]]) -> None:
        ts_ns, number, out = at
        self.at += len(data)
        self.file.append(data, ts_ns, number, out)

    def _queue(self, offset: int, data: bytes, at: tuple[int, int, list[Transaction]]) -> str:
        """Hold a piece; where there is no room, give up what is missing before those that are held. Return which there
        are too many of, bytes or pieces; nothing where there is room."""
        known = len(self._queued.get(offset, b""))
        if len(data) <= known:
            return ""
        odd = ""
        while self._queued and (self._size + len(data) > self._limit or len(self._queued) >= MAX_QUEUED):
            odd = odd or (TOO_MANY if len(self._queued) >= MAX_QUEUED else TOO_LARGE)
            self._skip(at)
        if offset <= self.at:
            if offset + len(data) > self.at:
                self._append(data[self.at - offset :], at)
        elif self._pool.take(len(data) - len(self._queued.get(offset, b""))):
            self._size += len(data) - len(self._queued.get(offset, b""))
            self._queued[offset] = data
        else:
            self._lose(offset - self.at)
            self._append(data, at)
        return odd

    def _skip(self, at: tuple[int, int, list[Transaction]]) -> None:
        """Go on with the first piece that is held, over what is missing before it."""
        self._lose(min(self._queued) - self.at)
        self._follow(at)

    def _lose(self, size: int) -> None:
        if size > 0:
            self.file.gap(size)
            self.at += size

    def _follow(self, at: tuple[int, int, list[Transaction]]) -> None:
        """Take the pieces that follow now."""
        while self._queued and (first := min(self._queued)) <= self.at:
            data = self._queued.pop(first)
            self._size -= len(data)
            self._pool.give(len(data))
            if first + len(data) > self.at:
                self._append(data[self.at - first :], at)
