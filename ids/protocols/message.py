"""What the HTTP parser keeps of a connection: two directions, the messages in them, the requests without an answer."""

from __future__ import annotations

from enum import Enum
from typing import Any

from ids.protocols.head import Head
from ids.types import Direction


class Memory:
    """Bytes held by all parsers together."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class Step(Enum):
    """What the next bytes of a direction are."""

    HEAD = "head"
    BODY = "body"
    """Bytes of a body with a length."""
    UNTIL_CLOSE = "body until close"
    CHUNK_LINE = "chunk-size line"
    CHUNK = "chunk"
    TRAILER = "trailer"
    LOST = "lost"
    """Between messages, and nobody knows where the next one starts."""


class Exchange:
    """A request, and what is known of its response."""

    __slots__ = ("cost", "fields", "method", "tx_id")

    def __init__(self, tx_id: int, head: Head | None = None, cost: int = 0) -> None:
        self.tx_id = tx_id
        self.method = head.method if head else b""
        self.fields: dict[str, Any] = dict(head.fields) if head else {}
        self.cost = cost
        """Bytes that it keeps, at most."""


class Message:
    """A message whose body is being read."""

    __slots__ = ("body", "exchange", "head", "reported", "size")

    def __init__(self, head: Head, exchange: Exchange) -> None:
        self.head = head
        self.exchange = exchange
        self.body = bytearray()
        self.size = 0
        """Body bytes so far, inspected or not."""
        self.reported = False


class Side:
    """The reader of one direction."""

    __slots__ = ("buffer", "direction", "limit", "message", "number", "remaining", "scanned", "step", "ts_ns")

    def __init__(self, direction: Direction, limit: int) -> None:
        self.direction = direction
        self.limit = limit
        """Body bytes to inspect."""
        self.buffer = bytearray()
        self.scanned = 0
        """Where the search for the end of the head, or of the line, goes on."""
        self.step = Step.HEAD
        self.remaining = 0
        self.message: Message | None = None
        self.ts_ns = 0
        self.number = 0

    @property
    def held(self) -> int:
        """Bytes kept."""
        return len(self.buffer) + (len(self.message.body) if self.message is not None else 0)
