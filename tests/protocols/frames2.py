"""HTTP/2 and WebSocket frames made by hand, for parser tests."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from struct import pack
from typing import Any

from hpack import Encoder

from ids.protocols import ODDITY
from ids.protocols.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PREFACE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
)
from ids.protocols.websocket.frames import unmasked
from ids.types import Direction, Transaction
from tests.protocols.wire import Wire

Headers = Sequence[tuple[str | bytes, str | bytes]]

GET = ((":method", "GET"), (":scheme", "http"), (":path", "/a?b=1"), (":authority", "www.example.com"))
POST = ((":method", "POST"), *GET[1:])
OK = ((":status", "200"), ("server", "toy"))


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    """Return a frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + pack(">I", stream) + payload


def settings(**values: int) -> bytes:
    """Return settings by their numbers: ``settings(s4=65535)``."""
    return frame(SETTINGS, b"".join(pack(">HI", int(name[1:]), value) for name, value in values.items()))


def window(size: int, stream: int = 0) -> bytes:
    return frame(WINDOW_UPDATE, pack(">I", size), 0, stream)


def reset(code: int, stream: int) -> bytes:
    return frame(RST_STREAM, pack(">I", code), 0, stream)


def goaway(code: int, last: int = 0) -> bytes:
    return frame(GOAWAY, pack(">II", last, code) + b"bye")


def data(content: bytes, stream: int = 1, *, last: bool = True, padding: int | None = None) -> bytes:
    flags = (END_STREAM if last else 0) | (0 if padding is None else PADDED)
    if padding is not None:
        content = bytes((padding,)) + content + bytes(padding)
    return frame(DATA, content, flags, stream)


class Speaker:
    """One side of a connection: its headers are compressed with its own table."""

    def __init__(self) -> None:
        self.encoder = Encoder()

    def block(self, headers: Headers, *, huffman: bool = True) -> bytes:
        """Return compressed headers."""
        return bytes(self.encoder.encode(list(headers), huffman=huffman))

    def headers(
        self, headers: Headers, stream: int = 1, *, last: bool = True, weight: int | None = None,
        padding: int | None = None, pieces: int = 1, huffman: bool = True,
    ) -> bytes:  # fmt: skip
        """Return the frames of a header block, ``pieces`` of them."""
        block = self.block(headers, huffman=huffman)
        size = -(-len(block) // pieces)
        first, *others = [block[at : at + size] for at in range(0, len(block), size)]
        flags = END_STREAM if last else 0
        if weight is not None:
            first, flags = pack(">IB", 0, weight) + first, flags | WITH_PRIORITY
        if padding is not None:
            first, flags = bytes((padding,)) + first + bytes(padding), flags | PADDED
        made = [frame(HEADERS, first, flags | (0 if others else END_HEADERS), stream)]
        for number, piece in enumerate(others, 1):
            made.append(frame(CONTINUATION, piece, END_HEADERS if number == len(others) else 0, stream))
        return b"".join(made)

    def promise(self, headers: Headers, stream: int, promised: int) -> bytes:
        return frame(PUSH_PROMISE, pack(">I", promised) + self.block(headers), END_HEADERS, stream)


def conversation() -> tuple[bytes, bytes]:
    """Return what two sides say that have much to say."""
    client, server = Speaker(), Speaker()
    post = [(":method", "POST"), *GET[1:], ("content-type", "text/plain"), ("cookie", "a=1"), ("cookie", "b=2")]
    said = (
        PREFACE + settings(s4=65535, s3=100) + client.headers(GET, 1, weight=200) + window(1000)
        + client.headers(post, 3, last=False, pieces=3) + data(b"hello ", 3, last=False, padding=7)
        + data(b"world", 3, last=False) + client.headers([("x-trailer", "t")], 3) + client.headers(GET, 5)
        + reset(8, 5) + goaway(0, 3)
    )  # fmt: skip
    answered = (
        settings(s3=100) + frame(SETTINGS, b"", 1) + server.promise(GET, 1, 2)
        + server.headers([(":status", "103"), ("link", "</a>")], 1, last=False)
        + server.headers(OK, 3, last=False) + server.headers(OK, 1, last=False, padding=3)
        + data(b"one", 1, last=False) + data(b"three", 3) + data(b" and one", 1) + server.headers(OK, 2)
        + frame(6, bytes(8)) + frame(0x42, b"unknown")
    )  # fmt: skip
    return said, answered


def ws(payload: bytes, opcode: int = 1, *, fin: bool = True, mask: bytes | None = b"\1\2\3\4", rsv: int = 0) -> bytes:
    """Return a WebSocket frame."""
    size = len(payload)
    length = (
        bytes((size,)) if size < 126 else b"\x7e" + pack(">H", size) if size < 65536 else b"\x7f" + pack(">Q", size)
    )
    if mask is not None:
        length = bytes((length[0] | 0x80,)) + length[1:] + mask
        payload = unmasked(payload, mask)
    return bytes((opcode | rsv | (0x80 if fin else 0),)) + length + payload


class Deflater:
    """What compresses the messages of one side."""

    def __init__(self) -> None:
        self._machine = zlib.compressobj(wbits=-15)

    def message(self, text: bytes) -> bytes:
        return (self._machine.compress(text) + self._machine.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: x\r\n\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def sent(said: bytes, answered: bytes = b"", **options: Any) -> Wire:
    """Return what comes of what a client sends behind its preface, and of the answer."""
    return Wire(**options).client(PREFACE + said).server(answered)


def instances(wire: Wire, name: str, direction: Direction | None = None) -> list[bytes]:
    """Return what rules see of a buffer, over all that was reported."""
    return [one for found in wire.all if direction in (None, found.direction) for one in found.instances(name)]


def exchange(wire: Wire, stream: int) -> Transaction:
    """Return the last report of a stream."""
    return [found for found in wire.all if dict(found.fields).get("http2", {}).get("stream_id") == stream][-1]


def oddities(wire: Wire) -> set[bytes]:
    return set(instances(wire, ODDITY))
