"""A message of HTTP as a whole: the head as it was sent, and its body behind it."""

from __future__ import annotations

from ids.types import Direction, Transaction

_BODIES = ("http.request_body", "http.response_body")
"""By `Direction`."""
_LINES = ("http.request_line", "http.response_line")


def frame_of(side: Direction, message: Transaction) -> tuple[bytes, ...]:
    """Return the message, where this side sends it; nothing without a head."""
    line = message.buffers.get(_LINES[side]) if message.direction is side else None
    if line is None:
        return ()
    headers, body = message.buffers.get("http.header.raw", b"\r\n"), message.buffers.get(_BODIES[side], b"")
    return (b"".join((line, b"\r\n", headers, body)),)
