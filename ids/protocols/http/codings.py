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
FRAMES = 1024
"""Frames of one zstd body, and members of one of LZMA, that are decompressed."""
_LZMA_HEADERS = (b"]\0\0", b"\xfd7zXZ\0")

Decoded = tuple[bytes, bool]
"""What comes of a body, and whether it could be read as far as it went."""


def unbrotli(body: bytes, limit: int) -> Decoded:
    """Undo brotli, up to ``limit`` bytes or the first error."""
    machine = brotli.Decompressor()
    decoded = bytearray()
    at = 0
    try:
        while len(decoded) < limit and not machine.is_finished():
            if machine.can_accept_more_data():
                if at >= len(body):
                    break
                piece, at = body[at : at + STEP], at + STEP
            else:
                piece = b""
            decoded += machine.process(piece, output_buffer_limit=limit - len(decoded))
    except brotli.error:
        return bytes(decoded[:limit]), False
    return bytes(decoded[:limit]), True


def unzstd(body: bytes, limit: int) -> Decoded:
    """Undo zstd, one frame after the other, up to ``limit`` bytes or the first error."""
    decoded, rest = bytearray(), body
    try:
        for _ in range(FRAMES):
            if not rest or len(decoded) >= limit:
                break
            machine = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)
            with machine.stream_reader(rest, read_size=STEP, read_across_frames=True) as reader:
                while len(decoded) < limit:
                    piece = reader.read(min(limit - len(decoded), 1 << 16))
                    if not piece:
                        return bytes(decoded), True
                    decoded += piece
            rest = b""
    except zstandard.ZstdError:
        return bytes(decoded), False
    return bytes(decoded), True


def unlzma(body: bytes, limit: int) -> Decoded:
    """Undo LZMA, as it is alone or within xz, up to ``limit`` bytes or the first error."""
    decoded, rest = bytearray(), body
    try:
        for _ in range(FRAMES):
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


UNDO: dict[bytes, Callable[[bytes, int], Decoded]] = {b"br": unbrotli, b"zstd": unzstd, b"lzma": unlzma, b"xz": unlzma}
"""By name, as Content-Encoding has it."""
