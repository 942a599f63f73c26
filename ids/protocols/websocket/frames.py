"""Frames of the WebSocket protocol (RFC 6455 section 5.2)."""

from __future__ import annotations

import re
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
OPCODES = {
    CONTINUATION: "continuation", TEXT: "text", BINARY: "binary", CLOSE: "connection_close", PING: "ping", PONG: "pong",
}  # fmt: skip
"""Names of what frames are, as EVE has them."""
FIN, COMPRESSED = 0x80, 0x40
FLAGS = {"fin": FIN, "comp": COMPRESSED}
LONGEST_HEAD = 14

BEGINS = (
    re.compile(rb"\A[\x80-\x82\x88-\x8a\xc1\xc2][\x80-\xfe]"),
    re.compile(rb"\A[\x80-\x82\x88-\x8a\xc1\xc2][\0-\x7e]"),
)
"""By `Direction`: how a frame begins. That is little, so after missing bytes it counts only where a piece of the stream
begins, as most frames do."""


class Frame(NamedTuple):
    """A frame, unmasked."""

    flags: int
    """The four bits before the opcode."""
    opcode: int
    mask: int | None
    payload: bytes


def length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a frame has, as `ids.protocols.framing.LengthOf`."""
    if len(data) < at + 2:
        return 0
    length, head = data[at + 1] & 0x7F, 6 if data[at + 1] & 0x80 else 2
    extended = {126: 2, 127: 8}.get(length, 0)
    if extended:
        if len(data) < at + 2 + extended:
            return 0
        length = int.from_bytes(data[at + 2 : at + 2 + extended], "big")
    return head + extended + length


def read_frame(data: bytes) -> Frame:
    """Read a frame, or the first bytes of one; its head is there."""
    at = 2 + {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
    if not data[1] & 0x80:
        return Frame(data[0] & 0xF0, data[0] & 0x0F, None, data[at:])
    mask = data[at : at + 4]
    return Frame(data[0] & 0xF0, data[0] & 0x0F, int.from_bytes(mask, "big"), unmasked(data[at + 4 :], mask))


def unmasked(payload: bytes, mask: bytes) -> bytes:
    """Return what was masked (section 5.3), in one operation on a long number."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
