"""Undo ``%41``, ``%u0041`` and ``\\u0041``, many at once: a body may be made of nothing else, and be sent deflated."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import numpy as np

from ids.later import late_pattern
from ids.types import I64, Bool

FEW = 64
"""Marks up to which Python goes through them one by one; NumPy has that done before it begins."""

_PERCENT_U = late_pattern(rb"%[uU]([0-9A-Fa-f]{4})")
_BACKSLASH_U = late_pattern(rb"\\u([0-9A-Fa-f]{4})")
_FULL_WIDTH = 0xFF00 - 0x20
"""What the full-width forms of ASCII (U+FF01 to U+FF5E) are away from it; IIS takes one for the other."""

_DIGITS = np.full(256, 16, np.int64)
_DIGITS[list(b"0123456789abcdef")] = np.arange(16)
_DIGITS[list(b"ABCDEF")] = np.arange(10, 16)
"""By byte: its value as a hexadecimal digit; 16 of any other."""


def unquote(data: bytes) -> bytes:
    """Undo percent-encoding, once."""
    if data.count(b"%") <= FEW:
        return unquote_to_bytes(data)
    places, codes = _codes(data, b"%", b"", 2)
    return _replaced(data, places, codes, 3)


def spelt(data: bytes) -> bytes:
    """Spell out ``%u0041`` and ``%U0041``, as far as they stand for ASCII or its full-width forms."""
    return _PERCENT_U.sub(_one, data) if data.count(b"%") <= FEW else _many(data, b"%", b"uU")


def json_spelt(data: bytes) -> bytes:
    """Spell out JSON's ``\\u0041``, likewise."""
    return _BACKSLASH_U.sub(_one, data) if data.count(b"\\") <= FEW else _many(data, b"\\", b"u")


def _one(found: re.Match[bytes]) -> bytes:
    code = int(found[1], 16)
    if 0xFF01 <= code <= 0xFF5E:
        code -= _FULL_WIDTH
    return bytes((code,)) if code < 0x80 else found[0]


def _many(data: bytes, mark: bytes, letters: bytes) -> bytes:
    places, codes = _codes(data, mark, letters, 4)
    codes = np.where((codes >= 0xFF01) & (codes <= 0xFF5E), codes - _FULL_WIDTH, codes)
    meant = codes < 0x80
    return _replaced(data, places[meant], codes[meant], 6)


def _codes(data: bytes, mark: bytes, letters: bytes, digits: int) -> tuple[I64, I64]:
    """Return where a mark, one of these letters (if any) and so many hexadecimal digits stand, and their values.

    No two overlap, for a mark is neither a letter nor a digit.
    """
    content = np.frombuffer(data, np.uint8)
    size = 1 + bool(len(letters)) + digits
    places = np.flatnonzero(content[: max(len(content) - size + 1, 0)] == mark[0])
    if letters:
        places = places[np.isin(content[places + 1], list(letters))]
    codes = np.zeros(len(places), np.int64)
    good: Bool = np.ones(len(places), np.bool_)
    for at in range(size - digits, size):
        values = _DIGITS[content[places + at]]
        good &= values < 16
        codes = codes << 4 | values
    return places[good], codes[good]


def _replaced(data: bytes, places: I64, codes: I64, size: int) -> bytes:
    """Return the data with a byte in place of each ``size`` bytes at these places."""
    if not len(places):
        return data
    content = np.frombuffer(data, np.uint8).copy()
    content[places] = codes
    keep = np.ones(len(content), np.bool_)
    for at in range(1, size):
        keep[places + at] = False
    return content[keep].tobytes()
