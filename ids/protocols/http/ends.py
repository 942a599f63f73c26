"""Where a head ends, in the bytes of a direction."""

from __future__ import annotations

from ids.later import late_pattern
from ids.protocols.http.message import Side
from ids.types import Direction

_NO_HEADER = rb"(?=([A-Za-z0-9-]{0,40}))\1[^:]"
"""What is no header line, by its first bytes."""
HEAD_END = {
    Direction.TO_SERVER: late_pattern(rb"\n\r{0,8}\n"),
    Direction.TO_CLIENT: late_pattern(
        rb"\n(?:\r?\n|\r{2,8}\n(?=" + _NO_HEADER + rb")|(?=\r*[ \t])[\r \t]{1,8}\n(?=[^ \t\r\n]))"
    ),
}
"""A line of carriage returns ends the head of an answer to some clients (curl), and not to others (Chrome, Python): it
does where no header line follows, so that the length and coding that the others see are known."""
_HEAD_END_BYTES = 11 + 41
"""The longest of these, with what is looked at behind it; where a search left off, the start of one may lie."""
_OVERLAP = 8 * 1024
"""Bytes that the parts of a long head have in common, so that what lies across is in one of them."""


def next_block(side: Side, limit: int) -> tuple[bytes, bool]:
    """Take from the buffer a head, or the first ``limit`` bytes of one; return it, and whether it ended with it.

    Returns nothing where more must come first.
    """
    buffer = side.buffer
    most = limit + _HEAD_END_BYTES + 1
    found = HEAD_END[side.direction].search(buffer, max(side.scanned - _HEAD_END_BYTES, 0), most)
    if found is not None and found.start() < limit:
        start, end = found.span()
        block = bytes(buffer[: start + 1])
        del buffer[:end]
    elif len(buffer) <= most:
        side.scanned = len(buffer)
        return b"", False
    else:
        block = bytes(buffer[:limit])
        del buffer[: limit - min(_OVERLAP, limit // 4)]
    side.scanned = 0
    return block, found is not None and found.start() < limit
