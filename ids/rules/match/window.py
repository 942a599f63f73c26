"""The newest bytes of one direction of a flow, bounded, without a gap in them."""

from __future__ import annotations


class Window:
    """A run of contiguous stream bytes that ends where the stream was last seen."""

    __slots__ = ("base", "data")

    def __init__(self, base: int = 0) -> None:
        self.base = base
        """Stream offset of the first byte of ``data``."""
        self.data = bytearray()

    @property
    def end(self) -> int:
        """Stream offset behind the last byte."""
        return self.base + len(self.data)

    def restart(self, offset: int) -> None:
        """Begin anew, empty, at a stream offset."""
        self.base = offset
        self.data = bytearray()

    def forget(self) -> None:
        """Let the bytes go; what comes next is judged by itself."""
        self.restart(self.end)

    def shorten(self, keep: int) -> int:
        """Let the oldest bytes go so that ``keep`` remain; return how many went."""
        excess = max(0, len(self.data) - keep)
        del self.data[:excess]
        self.base += excess
        return excess

    def tail(self, size: int) -> bytes:
        """Return the last bytes, ``size`` at the most."""
        return bytes(self.data[-size:]) if size else b""
