"""Files that are read or written over several messages, in any order: put in order, and handed to the seam of files."""

from __future__ import annotations

from ids.protocols.files import File
from ids.protocols.framing import Pool
from ids.protocols.smb.about import Exchange
from ids.types import Transaction

MAX_QUEUED = 64
"""Pieces of one file that wait for those before them; as many as Suricata queues."""


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

    def take(self, offset: int, data: bytes, at: tuple[int, int, list[Transaction]]) -> bool:
        """Take a piece; return whether it overlaps what was there before."""
        overlaps = offset < self.at
        if overlaps:
            data = data[self.at - offset :]
            offset = self.at
        if not data:
            return overlaps
        if offset > self.at:
            self._queue(offset, data, at)
        else:
            self._append(data, at)
        self._follow(at)
        return overlaps

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

    def _queue(self, offset: int, data: bytes, at: tuple[int, int, list[Transaction]]) -> None:
        """Hold a piece; where there is no room, give up what is missing before those that are held."""
        known = len(self._queued.get(offset, b""))
        if len(data) <= known:
            return
        while self._queued and (self._size + len(data) > self._limit or len(self._queued) >= MAX_QUEUED):
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
