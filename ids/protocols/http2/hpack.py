"""Decode compressed headers (HPACK, RFC 7541), whatever the bytes: bounded, and going on where a decoder would give up.

The table of headers and the Huffman code are those of the library ``hpack``; its ``Decoder`` is not used. That gives up
a block, and with it the table, at the first header list that it finds too long and at the first header that it does not
know; copies the rest of a block for each literal, which costs the square of its size (10 s for 240 KiB); and says
nothing of changes of the table's size, which rules and events have.

What refers to a header that is not known is left out and counted. So it is after bytes were lost: which headers the
lost ones added to the table is not known, so all that were in it before are forgotten. What was added since is found
again, for the newest header has the lowest number.

COST. O(bytes of the block), and `REFERRED_BYTES` of headers that repeat others.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from ids.later import late_pattern
from ids.memory import passing

MAX_HEADERS = 8192
"""Headers kept of one block; servers stop at some hundreds."""
REFERRED_BYTES = 64 * 1024
"""Of one block, bytes of headers that are not in it but in the table: a byte refers to a header of 64 KiB, so a packet
would be worth a hundred megabytes. Those that are no longer than `SHORT_BYTES` do not count."""
SHORT_BYTES = 64
OVERFLOW = "header_integer_overflow"
"""The fault of a block with a number that is too large."""
_MAX_SHIFT = 28
"""An integer has at most five bytes behind its first one: 32 bits."""
_CACHED_BYTES = 256
"""Huffman codes up to this length are remembered once decoded: most headers come again and again."""
_INDEXED = late_pattern(rb"[\x81-\xfe]+")
"""Headers that are nothing but a number of one byte."""

Header = tuple[bytes, bytes]


class Block(NamedTuple):
    """What a block of compressed headers says."""

    entries: list[Header | int]
    """Headers, and new sizes of the table, in their order."""
    unknown: int
    """Headers that refer to one that is not known."""
    left_out: int
    """Headers beyond `MAX_HEADERS` and `REFERRED_BYTES`."""
    fault: str | None
    """What kept the rest of the block from being read, by Suricata's names."""

    @property
    def headers(self) -> list[Header]:
        """Return the headers alone."""
        return [entry for entry in self.entries if not isinstance(entry, int)]


class Fault(Exception):
    """A block that cannot be read further."""


class Decoder:
    """The headers of one direction of a connection."""

    __slots__ = ("_most", "_table")

    def __init__(self, table_bytes: int) -> None:
        """Keep at most so many bytes in the table, whatever size the sender gives it."""
        self._table = HeaderTable()
        self._most = table_bytes

    def forget(self) -> None:
        """Let go of all that the table has: it is not known any more which numbers its headers have."""
        size = self._table.maxsize
        self._table = HeaderTable()
        self._table.maxsize = size

    @property
    def held(self) -> int:
        """Bytes that the table takes, at most."""
        return self._table.maxsize

    def decode(self, block: bytes) -> Block:
        """Return what a whole block says. Never raises."""
        entries: list[Header | int] = []
        unknown = left_out = referred = at = 0
        size = len(block)
        fault = None
        try:
            while at < size:
                first = block[at]
                if first & 0x80:
                    if len(entries) >= MAX_HEADERS and (run := _INDEXED.match(block, at)):
                        left_out += run.end() - at
                        at = run.end()
                        continue
                    number, at = _integer(block, at, 0x7F)
                    header = self._at(number)
                    cost = len(header[0]) + len(header[1]) if header is not None else 0
                elif first & 0xE0 == 0x20:
                    number, at = _integer(block, at, 0x1F)
                    self._table.maxsize = min(number, self._most)
                    if len(entries) < MAX_HEADERS:
                        entries.append(number)
                    continue
                else:
                    header, cost, at = self._literal(block, at, first)
                if header is None:
                    unknown += 1
                    continue
                if cost > SHORT_BYTES:
                    referred += cost
                if len(entries) >= MAX_HEADERS or (cost > SHORT_BYTES and referred > REFERRED_BYTES):
                    left_out += 1
                else:
                    entries.append(header)
        except Fault as raised:
            fault = str(raised)
        return Block(entries, unknown, left_out, fault)

    def _literal(self, block: bytes, at: int, first: int) -> tuple[Header | None, int, int]:
        """Return a header whose value stands in the block, what of it does not, and where it ends."""
        number, at = _integer(block, at, 0x3F if first & 0x40 else 0x0F)
        name: bytes | None
        cost = 0
        if number:
            known = self._at(number)
            name = known[0] if known is not None else None
            cost = len(name or b"")
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        if first & 0x40:
            self._table.add(name or b"", value)
        return ((name or b"", value), cost, at)

    def _at(self, number: int) -> Header | None:
        """Return a header of the table by its number, None where it has none there."""
        if not 0 < number <= HeaderTable.STATIC_TABLE_LENGTH + len(self._table.dynamic_entries):
            return None
        name, value = self._table.get_by_index(number)
        return bytes(name), bytes(value)


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Read an integer whose first byte has some bits of it (RFC 7541 section 5.1), and return where it ends."""
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    shift = 0
    while True:
        if at >= len(block):
            raise Fault("invalid_header")
        byte = block[at]
        at += 1
        if shift > _MAX_SHIFT:
            raise Fault(OVERFLOW)
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """Read a string, and return where it ends."""
    if at >= len(block):
        raise Fault("invalid_header")
    coded = block[at] & 0x80
    length, at = _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise Fault("invalid_header")
    raw = block[at:end]
    if not coded or not raw:
        return raw, end
    return (_cached(raw) if length <= _CACHED_BYTES else _plain(raw)), end


def _plain(coded: bytes) -> bytes:
    try:
        return bytes(decode_huffman(coded))
    except HPACKDecodingError:
        raise Fault("invalid_header") from None


@passing
@lru_cache(maxsize=4096)
def _cached(coded: bytes) -> bytes:
    return _plain(coded)
