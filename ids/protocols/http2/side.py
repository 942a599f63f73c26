"""The reader of one direction of a connection: its frames, the header block that is being put together, its table."""

from __future__ import annotations

from ids.protocols.framing import Frames, Pool
from ids.protocols.http2.frames import BEGINS, HEAD_BYTES, PREFACE, length_of
from ids.protocols.http2.hpack import Decoder
from ids.protocols.http2.streams import Stream
from ids.types import Direction

LEAST_TABLE_BYTES = 4096
"""What a table may have that counts for nothing but itself: its size until the sides agree on another."""


class Side:
    """One direction."""

    __slots__ = (
        "block", "block_kind", "block_last", "block_stream", "block_weight", "continuations", "data", "data_last",
        "data_left", "decoder", "direction", "frames", "preface", "table_cost",
    )  # fmt: skip

    def __init__(self, direction: Direction, pool: Pool, block_bytes: int, table_bytes: int) -> None:
        self.direction = direction
        self.frames = Frames(pool, length_of, HEAD_BYTES + block_bytes, BEGINS)
        self.decoder = Decoder(table_bytes)
        self.table_cost = 0
        """Bytes of the limit that all flows share that its table holds."""
        self.preface: bytes | None = b"" if direction is Direction.TO_SERVER else None
        """What a client has sent of `PREFACE`; None: it is behind it."""
        self.block: bytearray | None = None
        """The compressed headers of a message, until their last frame has come."""
        self.block_stream = 0
        self.block_kind = 0
        """Type of the frame that it began with."""
        self.block_last = False
        """The stream ends with it, or with the frames behind it."""
        self.block_weight: int | None = None
        """Priority that stands before it."""
        self.continuations = 0
        """Frames that went on with it."""
        self.data: Stream | None = None
        """The stream whose data come raw,"""
        self.data_left = 0
        """how many of them are no padding,"""
        self.data_last = False
        """and whether the stream ends with them."""

    def behind_preface(self, data: bytes) -> tuple[bytes, bool]:
        """Return what comes behind the preface, and whether something else stood in its place; frames, that is."""
        assert self.preface is not None
        missing = len(PREFACE) - len(self.preface)
        seen = self.preface + data[:missing]
        if seen == PREFACE:
            self.preface = None
            return data[missing:], False
        if PREFACE.startswith(seen):
            self.preface = seen
            return b"", False
        rest, self.preface = self.preface + data, None
        return rest, True

    def begin_block(self, stream: int, kind: int, last: bool) -> None:
        """Begin a header block."""
        self.block, self.block_stream, self.block_kind = bytearray(), stream, kind
        self.block_last, self.continuations = last, 0
