"""The bytes of a mail behind DATA: where it ends, and what servers disagree about.

RFC 5321 ends a mail with a dot between two CR LF. Many servers take a bare LF for either, some a bare CR: then what
stands behind the dot are commands to one and text to another (SMTP smuggling). The mail is read as ended at
a dot between line feeds, with or without CR; where that is not what the RFC says, what follows is
read besides as text that goes on, up to the end that is (`Body.ambiguous`).
"""

from __future__ import annotations

from ids.later import late_pattern

_END = late_pattern(rb"\n\.(\r?)\n")
"""Without the CR that may stand before it: expressions that begin with a literal are looked for faster."""
_FIRST_END = late_pattern(rb"\.(\r?)\n")
_CR_END = late_pattern(rb"\r\.\r(?=[^\n])|\r\.\r\n|\n\.\r(?=[^\n])")
_STUFFED = late_pattern(rb"\n\.(?=[^\r\n])")
_CR = 0x0D
_MOST = 5
"""Bytes of an end."""


class Body:
    """Looks for the end of one mail."""

    __slots__ = ("_fresh", "_held", "ambiguous", "carriage", "ended", "strict")

    def __init__(self, strict: bool = False) -> None:
        self._held = b""
        self._fresh = not strict
        """Nothing has come yet: a dot on the first line ends it."""
        self.strict = strict
        """Only the RFC's end is one."""
        self.ended = False
        self.ambiguous = False
        """It ended where not all servers see an end."""
        self.carriage = False
        """There is a dot between bare CRs, which some servers take for an end."""

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """Return what the next bytes are of the mail, and how many of them stand behind its end."""
        piece = self._held + data
        self._held = b""
        at = 0
        while True:
            found = _FIRST_END.match(piece) if self._fresh and not at else None
            if found is not None:
                return self._end(b"", piece, found.end(), found[1] != b"\r")
            found = _END.search(piece, at)
            if found is None:
                break
            start = found.start()
            carriage = start > at and piece[start - 1] == _CR
            odd = not carriage or found[1] != b"\r"
            if odd and self.strict:
                at = found.end() - 1 - len(found[1])
                continue
            return self._end(piece[: start - carriage] + b"\r\n", piece, found.end(), odd)
        keep = self._unsure(piece)
        self._held = piece[len(piece) - keep :]
        content = piece[: len(piece) - keep]
        if content:
            if self._fresh and content.startswith(b"."):
                content = content[1:]
            self._fresh = False
        self._look(piece)
        return _STUFFED.sub(b"\n", content), 0

    def close(self) -> bytes:
        """Return what is left of a mail without an end."""
        held, self._held = self._held, b""
        return held

    def _unsure(self, piece: bytes) -> int:
        """Return how many of the last bytes may begin an end, or a dot that is not the mail's."""
        tail = piece[-(_MOST - 1) :]
        for size in range(len(tail), 0, -1):
            if tail[-size:] in _BEGINNINGS:
                return size
        return len(piece) if self._fresh and piece in (b".", b".\r") else 0

    def _end(self, content: bytes, piece: bytes, end: int, odd: bool) -> tuple[bytes, int]:
        self.ended, self.ambiguous = True, odd
        self._look(content)
        return _STUFFED.sub(b"\n", content), len(piece) - end

    def _look(self, piece: bytes) -> None:
        if not self.carriage and b".\r" in piece and _CR_END.search(piece):
            self.carriage = True


_BEGINNINGS = frozenset({b"\r", b"\n", b"\r\n", b"\n.", b"\r\n.", b"\n.\r", b"\r\n.\r"})
