"""How long the lines of a text are that comes in pieces; none of it is kept."""

from __future__ import annotations


class Lines:
    """Measures lines, whatever they end with."""

    __slots__ = ("_begun", "_longest", "_returned")

    def __init__(self) -> None:
        self._longest = 0
        self._begun = 0
        """Bytes of the line whose end has not come;"""
        self._returned = False
        """and what came last is a CR, which may be a part of that end."""

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        if self._returned:
            piece = b"\r" + piece
        self._returned = piece.endswith(b"\r")
        if self._returned:
            piece = piece[:-1]
        first, *more = piece.replace(b"\r\n", b"\n").split(b"\n")
        self._begun += len(first)
        if more:
            last = more.pop()
            self._longest = max(self._longest, self._begun, max(map(len, more), default=0))
            self._begun = len(last)

    @property
    def longest(self) -> int:
        """Bytes of the longest line so far, without its end."""
        return max(self._longest, self._begun)
