"""The bytes of a capture file, decompressed, from a path or standard input, with progress and bounded reads."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import select
import stat
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

import zstandard

from ids.errors import CaptureError, Location

DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
"""What reading raises when the compressed data, or the device under it, is damaged."""

MAX_ZSTD_WINDOW = 1 << 27
"""Bytes of history that a .zst may demand (``zstd --long``): bounds memory at 128 MiB."""

MAX_XZ_MEMORY = 1 << 28
"""Bytes that an .xz dictionary may demand: ``xz -9`` needs 65 MiB."""

LINGER_S = 0.01
"""How long a pipe may pause within one chunk, and five times that in all: so that batches are neither tiny nor late."""

_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_LONGEST_MAGIC = 6


class Tap(io.RawIOBase):
    """The file's own bytes: counts them, and can hand out its first bytes twice."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__()
        self.raw = raw
        self.count = 0
        """Bytes of the file consumed so far."""
        self._again = b""

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes (fewer at the end) without consuming them."""
        while len(self._again) < size:
            more = self.raw.read(size - len(self._again))
            if not more:
                break
            self._again += more
        return self._again

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._again:
            count = min(len(self._again), len(buffer))
            buffer[:count] = self._again[:count]
            self._again = self._again[count:]
        else:
            count = self.raw.readinto(buffer) or 0
        self.count += count
        return count


class ByteStream:
    """Decompressed bytes of ``path`` (``-``: standard input); raises CaptureError where it cannot be opened."""

    def __init__(self, path: str) -> None:
        try:
            raw = io.FileIO(sys.stdin.fileno(), closefd=False) if path == "-" else io.FileIO(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CaptureError(f"cannot be opened: {reason}", Location(path)) from error
        self._tap = Tap(raw)
        mode = os.fstat(raw.fileno())
        self._failure: Exception | None = None
        self.size = mode.st_size if stat.S_ISREG(mode.st_mode) else None
        """Bytes of the file on disk; None for a pipe."""
        try:
            head = self._tap.peek(_LONGEST_MAGIC)
            self.compression = next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), "")
            """gzip, bzip2, xz, zstd, or empty for plain."""
            self._read = _reader(self.compression, self._tap)
        except OSError as error:
            raw.close()
            raise CaptureError(f"cannot be read: {error.strerror}", Location(path)) from error

    @property
    def bytes_read(self) -> int:
        """Bytes of the file consumed so far, as they are on disk: comparable with ``size``."""
        return self._tap.count

    def fill(self, buffer: memoryview) -> int:
        """Read into ``buffer`` until it is full, the end, or a pipe has nothing more to say; return the count.

        0 means the end. Raises one of `DAMAGE`, but not before all bytes ahead of the damage were returned.
        """
        deadline = time.monotonic() + 5 * LINGER_S
        count = 0
        while count < len(buffer):
            try:
                if self._failure is not None:
                    raise self._failure
                got: int = self._read(buffer[count:])
            except DAMAGE as error:
                if not count:
                    raise
                self._failure = error
                break
            count += got
            if not got or (self.size is None and not self._ready(deadline)):
                break
        return count

    def _ready(self, deadline: float) -> bool:
        """Return whether a pipe has more within a moment."""
        wait = min(LINGER_S, max(deadline - time.monotonic(), 0))
        return bool(select.select([self._tap.raw], [], [], wait)[0])

    def close(self) -> None:
        """Close the file; standard input stays open."""
        self._tap.raw.close()


def _reader(compression: str, tap: Any) -> Callable[[memoryview], int]:
    """Return what fills a buffer with decompressed bytes; its memory is bounded whatever the data claims.

    ``readinto1``, where there is one, returns what it has: ``readinto`` would lose it when damage comes after it.
    """
    if compression == "gzip":
        return gzip.GzipFile(fileobj=tap, mode="rb").readinto1
    if compression == "bzip2":
        return bz2.BZ2File(tap, "rb").readinto1
    if compression == "xz":
        return _LimitedXz(tap).readinto
    if compression == "zstd":
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
        return decompressor.stream_reader(tap, read_across_frames=True, closefd=False).readinto1
    readinto: Callable[[memoryview], int] = tap.readinto
    return readinto


class _LimitedXz:
    """Read xz with a bound on memory, which `lzma.LZMAFile` does not offer."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._xz = lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY)

    def readinto(self, buffer: memoryview) -> int:
        """Decompress into ``buffer``; returns 0 at the end, raises EOFError where the data stops short."""
        while True:
            if self._xz.eof:
                rest = self._xz.unused_data.lstrip(b"\0") or self._tap.read(io.DEFAULT_BUFFER_SIZE)
                if not rest:
                    return 0
                self._xz = lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY)
            elif self._xz.needs_input:
                rest = self._tap.read(io.DEFAULT_BUFFER_SIZE)
                if not rest:
                    raise EOFError("compressed data ends too early")
            else:
                rest = b""
            out = self._xz.decompress(rest or b"", max_length=len(buffer))
            if out:
                buffer[: len(out)] = out
                return len(out)
