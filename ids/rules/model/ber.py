"""Look through structures of ASN.1 in their basic encoding (X.690) for lengths that decoders ran over (``asn1``)."""

from __future__ import annotations

from dataclasses import dataclass

MAX_ELEMENTS = 256
"""Of one structure, as Suricata's configuration has it (``asn1-max-frames``); one with more is not judged."""

MAX_DEPTH = 64
"""Of elements within each other."""

MAX_LENGTH_BYTES = 4
"""Of a length: more say of nothing that could be here."""

_BIT_STRING, _REAL = 3, 9
_CONSTRUCTED, _CLASS, _NUMBER = 0x20, 0xC0, 0x1F
_INDEFINITE = 0x80

MAX_REAL = 256
"""Bytes of a number as text that decoders had room for."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What is looked for: a structure with any of it is odd."""

    longer: int | None = None
    """An element whose content is longer."""
    bits: bool = False
    """A bit string that says that more of its bits are unused than it has."""
    real: bool = False
    """A real number, as text, of more than `MAX_REAL` bytes."""

    def found(self, data: bytes, start: int) -> tuple[int, int] | None:
        """Return where the first element with a fault begins and ends; None without one.

        The elements that follow each other from ``start`` are read to the end of ``data``, and what is not well-formed
        has none: it would be another thing than a structure, or not be all there.
        """
        walk = _Walk(self, data)
        return walk.place if walk.read(start, len(data), MAX_DEPTH) == len(data) else None


class _Walk:
    """Reads the elements of a structure."""

    def __init__(self, faults: Faults, data: bytes) -> None:
        self.place: tuple[int, int] | None = None
        """Of the first fault."""
        self._faults = faults
        self._data = data
        self._left = MAX_ELEMENTS

    def read(self, at: int, limit: int, depth: int, *, marked: bool = False) -> int:
        """Read elements up to ``limit``, or behind the mark that ends them; return where that is, -1 where they are not
        well-formed, or too many.
        """
        while at < limit:
            if marked and self._data[at : at + 2] == b"\0\0":
                return at + 2
            head = _head(self._data, at, limit)
            self._left -= 1
            if head is None or self._left < 0:
                return -1
            end = self._element(at, head, limit, depth)
            if end < 0:
                return -1
            at = end
        return -1 if marked else at

    def _element(self, at: int, head: tuple[int, int, int], limit: int, depth: int) -> int:
        tag, content, size = head
        constructed = bool(tag & _CONSTRUCTED)
        if size < 0:
            return self.read(content, limit, depth - 1, marked=True) if constructed and depth else -1
        end = content + size
        if self.place is None and self._odd(tag, content, size):
            self.place = at, end
        if not constructed:
            return end
        if not tag & _CLASS:
            return end if depth and self.read(content, end, depth - 1) == end else -1
        before = self.place
        if not depth or self.read(content, end, depth - 1) != end:
            self.place = before  # what is in it need not be elements
        return end

    def _odd(self, tag: int, content: int, size: int) -> bool:
        """Return whether an element has a fault."""
        faults = self._faults
        if faults.longer is not None and size > faults.longer:
            return True
        if tag & (_CLASS | _CONSTRUCTED) or not size:
            return False
        first = self._data[content]
        if faults.bits and tag & _NUMBER == _BIT_STRING:
            return first > 8 * size
        return faults.real and tag & _NUMBER == _REAL and size > MAX_REAL and not first & 0xC0


def _head(data: bytes, at: int, limit: int) -> tuple[int, int, int] | None:
    """Return the first byte of an element, where its content begins, and how long that is (-1: up to a mark); None
    where none is there in full.
    """
    if at + 2 > limit:
        return None
    tag = data[at]
    at += 1
    if tag & _NUMBER == _NUMBER:
        while at < limit and data[at] & 0x80:
            at += 1
        at += 1
        if at >= limit:
            return None
    size = data[at]
    at += 1
    if size == _INDEFINITE:
        return tag, at, -1
    if size & 0x80:
        count = size & 0x7F
        if count > MAX_LENGTH_BYTES or at + count > limit:
            return None
        size = int.from_bytes(data[at : at + count], "big")
        at += count
    return (tag, at, size) if at + size <= limit else None
