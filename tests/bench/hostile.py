"""Captures of a sender who wants the engine to remember: half-open connections, lone datagrams, tiny segments,
fragments that stay alone, each with one exploit among them. Made in columns; addresses are those of RFC 2544 and
RFC 5737, checksums those of the packets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from ids.lab.actors import LOG4SHELL
from ids.types import I64, U8

SERVER = "203.0.113.10"
ATTACKER = "192.0.2.66"
"""Whose exploit is to be found."""
SEGMENTS_EACH = 1000
"""Tiny segments of a connection."""
_MAGIC = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")
_T0 = 1_700_000_000
_SYN, _ACK, _PSH_ACK = 0x02, 0x10, 0x18
_TCP = 6

_ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x0800)

Make = Callable[[int], list[bytes]]


def half_open(count: int) -> list[bytes]:
    """Return SYNs, each of another source and port, without an answer."""
    frames = _copies(_segment(b"", _SYN), count)
    number = np.arange(count)
    _write(frames, 26, 0xC6120000 | number % (1 << 17), 4)
    _write(frames, 34, 1024 + number // (1 << 17), 2)
    _write(frames, 38, number * 7919, 4)
    return [_summed(frames)]


def tiny_segments(count: int) -> list[bytes]:
    """Return connections whose requests come a byte at a time, all of them at once, and never end."""
    connections = max(count // SEGMENTS_EACH, 1)
    number = np.arange(connections)
    opening = []
    for frame, back in ((_segment(b"", _SYN), False), (_segment(b"", _SYN | _ACK, back=True), True)):
        frames = _copies(frame, connections)
        _write(frames, 30 if back else 26, 0xC6120000 | number, 4)
        _write(frames, 38, np.full(connections, 4999 if back else 999), 4)
        _write(frames, 42, np.full(connections, 1000 if back else 0), 4)
        opening.append(_summed(frames))
    frames = _copies(_segment(b"x", _PSH_ACK), count)
    number = np.arange(count)
    _write(frames, 26, 0xC6120000 | number % connections, 4)
    _write(frames, 38, 1000 + number // connections, 4)
    _write(frames, 42, np.full(count, 5000), 4)
    return [*opening, _summed(frames)]


def lone_fragments(count: int) -> list[bytes]:
    """Return first fragments, each of another datagram, that nothing follows."""
    first = bytes(_ETHERNET / IP(src="198.18.0.1", dst=SERVER, flags="MF", proto=17) / (b"f" * 64))
    frames = _copies(first, count)
    number = np.arange(count)
    _write(frames, 18, number, 2)
    _write(frames, 26, 0xC6120000 | number >> 16, 4)
    return [_summed(frames)]


def lone_datagrams(count: int) -> list[bytes]:
    """Return datagrams, each of another source and port, that nobody answers."""
    first = bytes(_ETHERNET / IP(src="198.18.0.1", dst=SERVER) / UDP(sport=1024, dport=9, chksum=0) / (b"d" * 32))
    frames = _copies(first, count)
    number = np.arange(count)
    _write(frames, 26, 0xC6120000 | number % (1 << 17), 4)
    _write(frames, 34, 1024 + number // (1 << 17), 2)
    return [_summed(frames)]


SHAPES: dict[str, Make] = {
    "half-open connections": half_open,
    "datagrams of other sources": lone_datagrams,
    "one-byte segments": tiny_segments,
    "fragments never completed": lone_fragments,
}


def write(path: Path, make: Make, count: int) -> None:
    """Write a capture of such packets, 100,000 a second, and an exploit behind three quarters of them."""
    parts = make(count)
    parts[-1:] = _split(parts[-1], count)
    parts.insert(-1, b"".join(map(_record, _exploit())))
    with path.open("wb") as file:
        file.write(_MAGIC)
        for part in parts:
            file.write(part)
    _stamp(path)


def _segment(
    payload: bytes, flags: int, *, back: bool = False, src: str = "198.18.0.1", seq: int = 0, ack: int = 0
) -> bytes:
    ends = {"src": SERVER, "dst": src} if back else {"src": src, "dst": SERVER}
    ports = {"sport": 80, "dport": 1024} if back else {"sport": 1024, "dport": 80}
    return bytes(_ETHERNET / IP(**ends) / TCP(**ports, flags=flags, seq=seq, ack=ack, window=65535) / payload)


def _exploit() -> list[bytes]:
    request = LOG4SHELL.encode()
    return [
        _segment(b"", _SYN, src=ATTACKER, seq=999),
        _segment(b"", _SYN | _ACK, back=True, src=ATTACKER, seq=4999, ack=1000),
        _segment(b"", _ACK, src=ATTACKER, seq=1000, ack=5000),
        _segment(request, _PSH_ACK, src=ATTACKER, seq=1000, ack=5000),
        _segment(b"", _ACK, back=True, src=ATTACKER, seq=5000, ack=1000 + len(request)),
    ]


def _record(frame: bytes) -> bytes:
    return bytes(8) + len(frame).to_bytes(4, "little") * 2 + frame


def _copies(frame: bytes, count: int) -> U8:
    """Return records of one frame, shape (count, 16 + its length)."""
    record = np.frombuffer(_record(frame), np.uint8)
    return np.broadcast_to(record, (count, len(record))).copy()


def _write(records: U8, at: int, values: I64, size: int) -> None:
    """Write a number in network order at an offset of each frame."""
    for byte in range(size):
        records[:, 16 + at + byte] = values >> 8 * (size - 1 - byte) & 0xFF


def _summed(records: U8) -> bytes:
    """Return records with the checksums of IPv4 and, in whole packets, of TCP; UDP has none."""
    ip, tcp = records[:, 30:50], records[:, 50:]
    _put_sum(ip, 10, np.zeros(len(records), np.int64))
    if records[0, 39] == _TCP:
        _put_sum(tcp, 16, _added(ip[:, 12:20]) + _TCP + tcp.shape[1])
    return records.tobytes()


def _put_sum(part: U8, at: int, more: I64) -> None:
    """Write the Internet checksum (RFC 1071) of the bytes of each row, and of what is added, at an offset."""
    part[:, at : at + 2] = 0
    total = _added(part) + more
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    part[:, at], part[:, at + 1] = ~total >> 8 & 0xFF, ~total & 0xFF


def _added(part: U8) -> I64:
    """Add up the bytes of each row as words in network order."""
    total: I64 = (part[:, ::2].astype(np.int64) << 8).sum(1) + part[:, 1::2].astype(np.int64).sum(1)
    return total


def _split(part: bytes, count: int) -> list[bytes]:
    size = len(part) // count
    cut = count * 3 // 4 * size
    return [part[:cut], part[cut:]]


def _stamp(path: Path) -> None:
    """Give the records of a capture their times, ten microseconds apart."""
    data = np.fromfile(path, np.uint8)
    places, at, size = [], len(_MAGIC), len(data)
    lengths = data.tobytes()
    while at < size:
        places.append(at)
        at += 16 + int.from_bytes(lengths[at + 8 : at + 12], "little")
    where, number = np.array(places), np.arange(len(places), dtype=np.int64)
    for field, values in ((0, _T0 + number // 100_000), (4, number % 100_000 * 10)):
        for byte in range(4):
            data[where + field + byte] = values >> 8 * byte & 0xFF
    data.tofile(path)
