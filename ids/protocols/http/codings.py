"""Undo the content codings that are not deflate: brotli, zstd and LZMA. Bounded, and never raising, whatever the bytes.

Browsers and tools take brotli (RFC 7932) and zstd (RFC 8878); Suricata takes ``lzma``, which no registry has, and so
does some malware. Each is what its library says, fed a piece at a time, so that what comes before an error is kept.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable

import brotli
import zstandard

STEP = 512
"""Bytes fed to a decompressor at once: when it fails, what came before is kept."""
WINDOW_BYTES = 8 << 20
"""What a sender of zstd may ask a reader to remember; browsers take no more (RFC 9659)."""
LZMA_MEMORY_BYTES = 32 << 20
"""What LZMA may take; Suricata takes 1 MiB by its default, and the largest preset but two of ``xz`` this."""
MEMBERS = 64
"""Of one body of LZMA, one after the other, that are decompressed; each takes a decompressor of its own."""
_WINDOW_BASE, _LEAST_WINDOW = 17, 18
_READ = 4096
"""Bytes read of zstd at once: an error costs no more of what came before it."""

Decoded = tuple[bytes, bool]
"""What comes of a body, and whether it could be read as far as it went."""


def unbrotli(body: bytes, limit: int) -> Decoded:
    """Undo brotli, up to ``limit`` bytes or the first error; what follows its end is left.

    The library gives nothing of a piece with an error, or an end, in it: that piece is fed again, byte by byte.
    """
    body = _with_less_window(body, limit)
    decoded, at, whole = _brotli(body, limit, len(body))
    return (decoded, True) if whole else _brotli(body, limit, at)[::2]


def _with_less_window(body: bytes, limit: int) -> bytes:
    """Return the same stream with no larger window than ``limit`` bytes of content can make use of.

    The library decodes a whole window, 16 MiB at most, before it gives any of it: 20 ms for a body of 14 bytes. The
    sizes from 18 to 24 bits are spelt in the low half of the first byte (RFC 7932 section 9.1).
    """
    spelt = body[0] & 0x0F if body else 0
    needed = max((limit + 16).bit_length(), _LEAST_WINDOW)
    if spelt & 1 and spelt >> 1 > needed - _WINDOW_BASE > 0:
        return bytes((body[0] & 0xF0 | needed - _WINDOW_BASE << 1 | 1,)) + body[1:]
    return body


def _brotli(body: bytes, limit: int, fine: int) -> tuple[bytes, int, bool]:
    """Return what comes of a body that is fed byte by byte from a place on, where the piece with an error begins, and
    whether there is none."""
    machine = brotli.Decompressor()
    decoded = bytearray()
    at = before = 0
    try:
        while len(decoded) < limit and not machine.is_finished():
            piece = b""
            if machine.can_accept_more_data():
                if at >= len(body):
                    break
                before, step = at, STEP if at < fine else 1
                at += step
                piece = body[before:at]
            decoded += machine.process(piece, output_buffer_limit=limit - len(decoded))
    except brotli.error:
        return bytes(decoded[:limit]), before, False
    return bytes(decoded[:limit]), at, True


def unzstd(body: bytes, limit: int) -> Decoded:
    """Undo zstd, one frame after the other, up to ``limit`` bytes or the first error."""
    decoded = bytearray()
    machine = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)
    try:
        with machine.stream_reader(body, read_size=STEP, read_across_frames=True) as reader:
            while len(decoded) < limit:
                piece = reader.read(min(limit - len(decoded), _READ))
                if not piece:
                    break
                decoded += piece
    except zstandard.ZstdError:
        return bytes(decoded), False
    return bytes(decoded), True


def unlzma(body: bytes, limit: int) -> Decoded:
    """Undo LZMA, as it is alone or within xz, up to ``limit`` bytes or the first error."""
    decoded, rest = bytearray(), body
    try:
        for _ in range(MEMBERS):
            if not rest or len(decoded) >= limit:
                break
            machine = lzma.LZMADecompressor(memlimit=LZMA_MEMORY_BYTES)
            at = 0
            while len(decoded) < limit and not machine.eof:
                piece, at = (rest[at : at + STEP], at + STEP) if machine.needs_input else (b"", at)
                if machine.needs_input and not piece:
                    return bytes(decoded), True
                decoded += machine.decompress(piece, limit - len(decoded))
            rest = machine.unused_data + rest[at:] if machine.eof else b""
    except (lzma.LZMAError, EOFError):
        return bytes(decoded), False
    return bytes(decoded), True


def too_much_memory(body: bytes) -> bool:
    """Return whether a body of LZMA asks for more memory than it may have."""
    try:
        lzma.LZMADecompressor(memlimit=LZMA_MEMORY_BYTES).decompress(body[:STEP], 1)
    except lzma.LZMAError as error:
        return "limit" in str(error)  # the library has one class for all its errors
    except EOFError:
        return False
    return False


UNDO: dict[bytes, Callable[[bytes, int], Decoded]] = {b"br": unbrotli, b"zstd": unzstd, b"lzma": unlzma, b"xz": unlzma}
"""By name, as Content-Encoding has it."""
