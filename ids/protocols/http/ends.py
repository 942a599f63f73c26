"""Where a head ends, in the bytes of a direction."""

from __future__ import annotations

import re

from ids.protocols.http.message import Side
from ids.types import Direction

HEAD_END = {
    Direction.TO_SERVER: re.compile(rb"\n\r{0,8}\n"),
    Direction.TO_CLIENT: re.compile(rb"\n(?:\r{0,8}\n|[\r \t]{1,8}\n(?=[^ \t\r\n]))"),
}
_HEAD_END_BYTES = 11
"""The longest of these; where a search left off, the start of one may lie."""
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
