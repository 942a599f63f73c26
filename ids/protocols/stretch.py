"""What a parser is fed: the next bytes of one direction of a stream."""

from __future__ import annotations

from typing import NamedTuple

from ids.types import Direction


class Stretch(NamedTuple):
    """The next bytes of a direction: what the parser of a flow needs of a row of `ids.types.Streams`."""

    direction: Direction
    data: bytes
    """May be empty, where only ``gap`` or ``closed`` is news."""
    ts_ns: int
    number: int
    """`PacketBatch.number` of the packet that completed it; ``ts_ns`` is its arrival."""
    gap: int = 0
    """Bytes lost for good directly before ``data``."""
    closed: bool = False
    """No more bytes will come in this direction."""
