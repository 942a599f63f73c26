"""Captures made of hand-built bytes, in every shape that readers must take."""

from __future__ import annotations

import struct
from collections.abc import Sequence

FRAMES = [bytes(range(14)) + bytes([number]) * length for number, length in ((1, 0), (2, 1), (3, 47), (4, 6), (5, 200))]
"""Five frames of odd and even lengths."""


def pcap(
    frames: Sequence[bytes] = FRAMES,
    *,
    order: str = "<",
    magic: int = 0xA1B2C3D4,
    linktype: int = 1,
    extra: bytes = b"",
) -> bytes:
    """A pcap with frame i at second 1000 + i and fraction i; ``extra`` follows each record header."""
    out = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, linktype)
    for number, frame in enumerate(frames):
        out += struct.pack(f"{order}IIII", 1000 + number, number, len(frame), len(frame) + 7) + extra + frame
    return out


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block of any kind."""
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(linktype: int = 1, snaplen: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    return block(1, struct.pack(f"{order}HHI", linktype, 0, snaplen) + options, order)


def enhanced(frame: bytes, ticks: int = 0, number: int = 0, order: str = "<") -> bytes:
    header = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame) + 7)
    return block(6, header + frame, order)


def simple(frame: bytes, wirelen: int, order: str = "<") -> bytes:
    return block(3, struct.pack(f"{order}I", wirelen) + frame, order)


def old_packet(frame: bytes, ticks: int = 0, number: int = 0, drops: int = 0, order: str = "<") -> bytes:
    header = struct.pack(f"{order}HHIIII", number, drops, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame) + 7)
    return block(2, header + frame, order)


def pcapng(frames: Sequence[bytes] = FRAMES, order: str = "<") -> bytes:
    """A pcapng of one section and one interface with frame i at microsecond i of second 1000 + i."""
    out = section(order) + interface(order=order)
    for number, frame in enumerate(frames):
        out += enhanced(frame, (1000 + number) * 1_000_000 + number, order=order)
    return out
