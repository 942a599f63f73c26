"""Messages of RDP made by hand, for tests: every byte of them can be wrong."""

from __future__ import annotations

from struct import pack


def tpkt(body: bytes) -> bytes:
    """Return a message."""
    return pack(">BBH", 3, 0, 4 + len(body)) + body


def x224(kind: int, rest: bytes) -> bytes:
    """Return a message that begins a connection."""
    return tpkt(bytes((6 + len(rest), kind)) + bytes(5) + rest)


def request(user: bytes | None = b"alice", flags: int = 0, protocols: int = 3) -> bytes:
    """Return what a client offers."""
    cookie = b"Cookie: mstshash=" + user + b"\r\n" if user is not None else b""
    return x224(0xE0, cookie + pack("<BBHI", 1, flags, 8, protocols))


def confirm(protocol: int = 1, flags: int = 0) -> bytes:
    """Return what a server chooses."""
    return x224(0xD0, pack("<BBHI", 2, flags, 8, protocol))


def refuse(code: int) -> bytes:
    """Return why a server chooses nothing."""
    return x224(0xD0, pack("<BBHI", 3, 0, 8, code))


def core(name: str = "WS01", layout: int = 0x409, build: int = 17763) -> bytes:
    """Return what a client says of itself."""
    block = pack("<IHHHHII", 0x80004, 1280, 800, 0xCA01, 0xAA03, layout, build)
    block += name.encode("utf-16-le").ljust(32, b"\0") + pack("<III", 4, 0, 12) + bytes(64)
    block += pack("<HHIHHH", 0xCA01, 1, 0, 24, 7, 0x21) + "serial".encode("utf-16-le").ljust(64, b"\0")
    block += pack("<BBI", 6, 0, 0)
    return pack("<HH", 0xC001, 4 + len(block)) + block


def network(*names: bytes) -> bytes:
    """Return which channels a client asks for."""
    block = pack("<I", len(names)) + b"".join(name.ljust(8, b"\0") + bytes(4) for name in names)
    return pack("<HH", 0xC003, 4 + len(block)) + block


def connect(*blocks: bytes) -> bytes:
    """Return how a client begins a session."""
    data = b"".join(blocks)
    size = pack(">H", 0x8000 | len(data))
    domain = bytes.fromhex("3019020122020102020100020101020100020101020" + "2ffff020102")
    least = bytes.fromhex("3019020101020101020101020101020100020101020" + "20420020102")
    most = bytes.fromhex("301c0202ffff0202fc170202ffff0202010202010002010102" + "02ffff020102")
    gcc = bytes.fromhex("000500147c0001") + pack(">H", 0x8000 | (len(data) + 14))
    gcc += bytes.fromhex("000800100001c00044756361") + size + data
    user = b"\x04\x82" + pack(">H", len(gcc)) + gcc
    mcs = bytes.fromhex("0401010401010101ff") + domain + least + most + user
    return tpkt(b"\x02\xf0\x80\x7f\x65\x82" + pack(">H", len(mcs)) + mcs)


CONNECTED = tpkt(b"\x02\xf0\x80\x7f\x66\x82\0\x0c" + bytes.fromhex("0a0100020100") + bytes(6))
"""The answer to it."""
