"""Initial packets of QUIC made by hand, protected as a client would: the other side of what our parser undoes."""

from __future__ import annotations

from struct import pack

from ids.protocols.quic.packet import Q046, V1, V2
from ids.protocols.quic.protection import Keys, initial_keys
from tests.protocols import handshakes as tls

DCID, SCID = bytes(range(8)), b"\xaa" * 5
ALPN_H3 = tls.alpn(b"h3")
HELLO = tls.client_hello(tls.server_name(b"quic.example") + ALPN_H3 + tls.OFFERS_13)
ANSWER = tls.server_hello(tls.TAKES_13)


def varint(value: int) -> bytes:
    """Return a number in as few bytes as it needs, one, two or four."""
    if value < 64:
        return bytes((value,))
    return pack(">H", value | 0x4000) if value < 16384 else pack(">I", value | 0x80000000)


def crypto(offset: int, data: bytes) -> bytes:
    """Return a frame with a piece of a handshake."""
    return b"\x06" + varint(offset) + varint(len(data)) + data


def initial(
    frames: bytes,
    *,
    version: int = V1,
    dcid: bytes = DCID,
    of: bytes = DCID,
    by_server: bool = False,
    number: int = 0,
    token: bytes = b"",
    size: int = 1162,
) -> bytes:
    """Return a packet, padded to at least ``size`` bytes of frames; its keys are made of the id ``of``."""
    keys: Keys = initial_keys(version, of)[by_server]
    first = 0xD0 if version == V2 else 0xC0
    body = frames.ljust(size, b"\0")
    head = bytes((first | 1,)) + pack(">I", version) + bytes((len(dcid),)) + dcid + bytes((len(SCID),)) + SCID
    head += varint(len(token)) + token + pack(">H", 0x4000 | 2 + len(body) + 16)
    nonce = (keys.nonce ^ number).to_bytes(12, "big")
    sealed = keys.body.encrypt(nonce, body, head + pack(">H", number))
    mask = keys.head.update(sealed[2:18])
    protected = bytes((head[0] ^ mask[0] & 15,)) + head[1:]
    return protected + bytes(a ^ b for a, b in zip(pack(">H", number), mask[1:], strict=False)) + sealed


def chlo(**tags: bytes) -> bytes:
    """Return an unencrypted packet of Google's QUIC with a list of tags."""
    names, end, listed = b"", 0, b""
    for tag, value in tags.items():
        end += len(value)
        listed += tag.encode().ljust(4, b"\0") + pack("<I", end)
        names += value
    message = b"CHLO" + pack("<HH", len(tags), 0) + listed + names
    frame = b"\xa4\x01" + pack(">HH", 0, len(message)) + message
    return b"\xc3" + pack(">I", Q046) + b"\x50" + DCID + pack(">I", 1) + bytes(12) + frame
