"""Frames of HTTP/2 (RFC 9113): their heads, where one may begin, and what is in those of a few bytes."""

from __future__ import annotations

from typing import NamedTuple

from ids.later import late_pattern

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends before its first frame."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

TYPES = (
    "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
    "CONTINUATION",
)  # fmt: skip
"""Names of the types, by their number."""

END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

ERRORS = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip
"""Names of error codes, by their number."""

SETTING_NAMES = {
    1: "SETTINGS_HEADER_TABLE_SIZE", 2: "SETTINGS_ENABLE_PUSH", 3: "SETTINGS_MAX_CONCURRENT_STREAMS",
    4: "SETTINGS_INITIAL_WINDOW_SIZE", 5: "SETTINGS_MAX_FRAME_SIZE", 6: "SETTINGS_MAX_HEADER_LIST_SIZE",
}  # fmt: skip
"""Names of settings, by their number."""
MAX_SETTINGS = 64
"""Settings of one frame that are read; there are ten."""

HEAD_BYTES = 9
EXACT = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
"""Types whose frames all have one length."""
_STREAM_BITS = 0x7FFFFFFF

BEGINS = late_pattern(
    rb"(?s:(?=\x00[\x00-\x40].(?:"
    rb"\x00[\x00\x01\x08\x09]|\x01[\x00\x01\x04\x05\x08\x09\x0c\x0d\x20\x21\x24\x25\x28\x29\x2c\x2d]"
    rb"|\x09[\x00\x04]|\x05[\x04\x0c])\x00...)"
    rb"|\x00\x00\x04[\x03\x08]\x00\x00...|\x00\x00\x08\x06[\x00\x01]\x00{4}"
    rb"|\x00\x00[\x00-\x3c]\x04[\x00\x01]\x00{4}|\x00[\x00\x01].\x07\x00\x00{4})"
)
"""Where a frame begins, as far as its head shows it: one of a known type, with flags that this has, not much longer
than frames are, and on none of the last streams that there can be."""

FROM_SERVER = rb"\x00\x00(?:\x00\x04\x01|[\x00\x06\x0c\x12\x18\x1e\x24\x2a\x30\x36\x3c]\x04\x00)\x00{4}"
"""How a server begins: with a frame of settings."""


class FrameHead(NamedTuple):
    """The head of a frame."""

    length: int
    kind: int
    flags: int
    stream: int


def read_head(data: bytes) -> FrameHead:
    """Read the first nine bytes of a frame."""
    stream = int.from_bytes(data[5:9], "big") & _STREAM_BITS
    return FrameHead(int.from_bytes(data[:3], "big"), data[3], data[4], stream)


def length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes are read of a frame at once, as `ids.protocols.framing.LengthOf`: of one with data no more
    than what stands before them, for they come as they are sent.
    """
    if len(data) < at + HEAD_BYTES:
        return 0
    length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
    if data[at + 3] == DATA:
        return HEAD_BYTES + (1 if data[at + 4] & PADDED and length else 0)
    return HEAD_BYTES + length


def unpadded(payload: bytes, flags: int) -> bytes | None:
    """Return what stands between the length of the padding and the padding; None where that cannot be."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        return None
    return payload[1 : len(payload) - payload[0]]


def settings_of(payload: bytes) -> list[tuple[int, int]]:
    """Return numbers and values of a frame of settings."""
    return [
        (payload[at] << 8 | payload[at + 1], int.from_bytes(payload[at + 2 : at + 6], "big"))
        for at in range(0, min(len(payload), 6 * MAX_SETTINGS) - 5, 6)
    ]


def number_of(payload: bytes) -> int:
    """Return the 31 or 32 bits at the start of a payload."""
    return int.from_bytes(payload[:4], "big")
