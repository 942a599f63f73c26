"""Read XDR (RFC 4506): numbers of four and eight bytes, and bytes behind their length, filled up to four."""

from __future__ import annotations


class Malformed(ValueError):
    """There are fewer bytes than are to be read."""


class Reader:
    """Reads a message from its beginning on; all that reads raises `Malformed` behind its end."""

    __slots__ = ("at", "data", "end", "whole")

    def __init__(self, data: bytes, *, whole: bool = True) -> None:
        """``whole``: no more bytes belong to it than are there."""
        self.data = data
        self.at = 0
        self.end = len(data)
        self.whole = whole

    def u32(self) -> int:
        """Return a number of four bytes."""
        at = self.at
        if at + 4 > self.end:
            raise Malformed
        self.at = at + 4
        return int.from_bytes(self.data[at : at + 4], "big")

    def u64(self) -> int:
        """Return a number of eight bytes."""
        return self.u32() << 32 | self.u32()

    def fixed(self, size: int) -> bytes:
        """Return so many bytes; what fills them up may be missing at the end."""
        at = self.at
        if at + size > self.end:
            raise Malformed
        self.at = at + size + -size % 4
        return self.data[at : at + size]

    def opaque(self) -> bytes:
        """Return bytes behind their length."""
        return self.fixed(self.u32())

    def skip(self, size: int) -> int:
        """Pass over so many bytes, and return how many. Of a message that is cut they need not be there."""
        if self.at + size > self.end and self.whole:
            raise Malformed
        self.at += size + -size % 4
        return size

    def pass_over(self) -> int:
        """Pass over bytes behind their length, and return how many."""
        return self.skip(self.u32())
