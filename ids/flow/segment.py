"""One TCP segment, as the careful path sees it."""

from __future__ import annotations

from typing import TypeAlias

from ids.types import Direction

FIN = 0x01
SYN = 0x02
RST = 0x04
ACK = 0x10
URG = 0x20
"""TCP flags (RFC 9293 section 3.1)."""

OWN = -1
"""In place of an interface: this host sent it, so nobody else has made it up."""

Arrival: TypeAlias = tuple[int, int, int]
"""The packet being looked at: its row in the batch, by which chunks are ordered; ``ts_ns``; `PacketBatch.number`."""


class Segment:
    """One TCP segment."""

    __slots__ = (
        "ack", "at", "data", "direction", "doubtful", "flags", "length", "scale", "seq", "signed", "stamp", "ttl",
        "urgent", "way", "window",
    )  # fmt: skip

    def __init__(
        self, direction: Direction, flags: int, seq: int, ack: int, data: bytes, length: int, at: Arrival, way: int = 0
    ) -> None:
        self.direction = direction
        self.flags = flags
        self.seq = seq
        self.ack = ack
        self.data = data
        self.length = length
        """Payload bytes on the wire; more than ``data`` has if the capture cut it."""
        self.at = at
        self.way = way
        """The interface by which it came, `OWN`, or 0: not known."""
        self.window = 0xFFFF
        """As sent: not scaled."""
        self.urgent = 0
        """The urgent pointer."""
        self.stamp: int | None = None
        """Timestamp (RFC 7323), where there is one."""
        self.signed = False
        """It has an MD5 or authentication option (RFC 2385, RFC 5925)."""
        self.scale: int | None = None
        """Of a SYN: the window scale option."""
        self.doubtful = False
        """Its packet is one that Linux drops, and other hosts may not (`Packets.doubtful`)."""
        self.ttl = 0
        """Of its packet, as it came by."""
