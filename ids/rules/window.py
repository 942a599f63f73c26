"""The newest bytes of one direction of a flow, bounded, without a gap in them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Window:
    """A run of contiguous stream bytes that ends where the stream was last seen."""

    base: int = 0
    """Stream offset of the first byte of ``data``."""
    data: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def end(self) -> int:
        """Stream offset behind the last byte."""
        return self.base + len(self.data)

    def restart(self, offset: int) -> None:
        """Begin anew, empty, at a stream offset."""
        self.base = offset
        self.data = bytearray()

    def shorten(self, keep: int) -> int:
        """Let the oldest bytes go so that ``keep`` remain; return how many went."""
        excess = max(0, len(self.data) - keep)
        del self.data[:excess]
        self.base += excess
        return excess

    def tail(self, size: int) -> bytes:
        """Return the last bytes, ``size`` at the most."""
        return bytes(self.data[max(0, len(self.data) - size) :])
