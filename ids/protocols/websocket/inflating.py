"""Decompress the messages of one direction (permessage-deflate, RFC 7692), with bounds on what comes of them.

A message may refer to what those before it said, so one decompressor reads them all; where the sides agreed that none
does, nothing is lost by it. What is beyond the bound of a message is decompressed all the same, for later ones may
refer to it, but no more than `MOST_RATIO` times it; then, as after missing bytes, later ones can no longer be read.
"""

from __future__ import annotations

import zlib

CONTEXT_BYTES = 48 * 1024
"""What a decompressor holds, about."""
MOST_RATIO = 16
_TAIL = b"\0\0\xff\xff"
"""What senders leave out at the end of a message (section 7.2.1)."""


class Inflater:
    """What reads the compressed messages of one direction."""

    __slots__ = ("_machine", "broken")

    def __init__(self) -> None:
        self._machine = zlib.decompressobj(-zlib.MAX_WBITS)
        self.broken = False
        """Nothing more can be read."""

    def inflate(self, data: bytes, limit: int, last: bool) -> tuple[bytes, bool]:
        """Return what a frame says, at most ``limit`` bytes, and whether all of it could be read; ``last``: its message
        ends with it.
        """
        found = bytearray()
        rest, room = data + _TAIL if last else data, limit * MOST_RATIO
        try:
            while rest and room > 0:
                piece = self._machine.decompress(rest, min(limit, room))
                room -= max(len(piece), 1)
                found += piece[: limit - len(found)]
                rest = self._machine.unconsumed_tail
                if self._machine.eof:  # a last block, after which the next message starts afresh
                    rest = self._machine.unused_data
                    self._machine = zlib.decompressobj(-zlib.MAX_WBITS)
                    if rest in (_TAIL, b"\0" + _TAIL):
                        break
        except zlib.error:
            self.broken = True
            return bytes(found), False
        self.broken = bool(rest) and room <= 0
        return bytes(found), not self.broken
