"""The frames of Initial packets (RFC 9000 section 19): pieces of the handshake, in whatever order they come.

Google's QUIC sends its ``CHLO`` in a frame of a stream; that is a list of tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import md5
from typing import NamedTuple

from ids.protocols.quic.packet import Malformed, varint

MAX_FRAMES = 1024
"""Frames of a packet that are read: a datagram has room for more, a client has no reason to send them."""
MAX_PIECES = 256
"""Pieces of one side's handshake that are kept. Browsers that cut it on purpose make about twenty."""
MAX_TAGS = 128
"""Tags of a ``CHLO``: there are about 40."""
_PADDING, _PING, _ACK, _ACK_ECN, _CRYPTO, _GOOGLE_CRYPTO, _CLOSE = 0, 1, 2, 3, 6, 8, 0x1C
_STREAM = 0x80


class Piece(NamedTuple):
    """Bytes of the handshake, or of a message of Google's."""

    offset: int
    data: bytes
    tagged: bool
    """They may be a list of tags."""


def pieces(frames: bytes) -> Iterator[Piece]:
    """Yield the pieces of a handshake in the frames of a packet; raises `Malformed`."""
    at = 0
    for _ in range(MAX_FRAMES):
        at = len(frames) - len(frames[at:].lstrip(b"\0"))
        if at >= len(frames):
            return
        kind = frames[at]
        at += 1
        if kind in (_CRYPTO, _GOOGLE_CRYPTO):
            offset, at = varint(frames, at)
            size, at = varint(frames, at)
            if at + size > len(frames):
                raise Malformed
            yield Piece(offset, frames[at : at + size], kind == _GOOGLE_CRYPTO)
            at += size
        elif kind in (_ACK, _ACK_ECN):
            at = _behind_ack(frames, at, kind == _ACK_ECN)
        elif kind & _STREAM:
            piece, at = _of_stream(frames, at, kind)
            yield piece
        elif kind != _PING:
            return  # the connection's close, or what has no place in an Initial packet


def _behind_ack(frames: bytes, at: int, with_ecn: bool) -> int:
    numbers = []
    for _ in range(4):
        number, at = varint(frames, at)
        numbers.append(number)
    for _ in range(2 * min(numbers[2], len(frames)) + 3 * with_ecn):
        _, at = varint(frames, at)
    return at


def _of_stream(frames: bytes, at: int, kind: int) -> tuple[Piece, int]:
    """Return what a STREAM frame of Google's has (``1fdooossB`` of its wire format), and where it ends."""
    of_offset = kind >> 2 & 7
    stream, start = (kind & 3) + 1, of_offset + 1 if of_offset else 0
    offset = int.from_bytes(frames[at + stream : at + stream + start], "big")
    at += stream + start
    if kind & 0x20:
        size = int.from_bytes(frames[at : at + 2], "big")
        at += 2
    else:
        size = len(frames) - at
    if size < 0 or at + size > len(frames):
        raise Malformed
    return Piece(offset, frames[at : at + size], True), at + size


def tags(message: bytes) -> list[tuple[bytes, bytes]]:
    """Return the tags of a message of Google's, each with its value; none where it is no such message."""
    count = int.from_bytes(message[4:6], "little")
    values = 8 + 8 * count
    if not count or count > MAX_TAGS or values > len(message) or not message[:3].isalnum():
        return []
    found, last = [], 0
    for at in range(8, values, 8):
        end = int.from_bytes(message[at + 4 : at + 8], "little")
        if end < last or values + end > len(message):
            break
        found.append((message[at : at + 4], message[values + last : values + end]))
        last = end
    return found


def cyu(version: int, found: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """Return the CYU string of the tags of a client, which is to Google's QUIC what JA3 is to TLS, and its hash."""
    names = b"-".join([tag.rstrip(b"\0 ") for tag, _ in found])
    number = (version & 0xFF00) >> 8 & 0x0F, version & 0x0F
    string = b"%d%d,%b" % (*number, names)
    return string, md5(string, usedforsecurity=False).hexdigest().encode()


class Handshake:
    """The pieces of one side's handshake; the first bytes of a place count."""

    __slots__ = ("_limit", "_pieces", "held")

    def __init__(self, limit: int) -> None:
        """Keep no byte behind ``limit``, and no more than twice as many."""
        self._limit = limit
        self._pieces: dict[int, bytes] = {}
        self.held = 0
        """Bytes kept."""

    def add(self, piece: Piece) -> bool:
        """Keep a piece; return whether there was anything in it to keep."""
        data = piece.data[: max(self._limit - piece.offset, 0)]
        known = self._pieces.get(piece.offset, b"")
        if len(data) <= len(known) or (not known and len(self._pieces) >= MAX_PIECES):
            return False
        if self.held + len(data) - len(known) > 2 * self._limit:
            return False
        self._pieces[piece.offset] = known + data[len(known) :]
        self.held += len(data) - len(known)
        return True

    def message(self) -> bytes | None:
        """Return the first message of the handshake with its head; None while some of it is missing."""
        joined = bytearray()
        size = 0
        for offset in sorted(self._pieces):
            if offset > len(joined):
                break
            joined += self._pieces[offset][len(joined) - offset :]
            if len(joined) >= 4:
                size = 4 + int.from_bytes(joined[1:4], "big")
                if len(joined) >= size:
                    return bytes(joined[:size])
        return None
