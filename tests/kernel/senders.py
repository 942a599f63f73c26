"""Honest senders, for tests in which somebody may be cut off."""

from __future__ import annotations

import socket
import struct
import time

from ids.lab.flood import checksum


def echo_request(identifier: int, sequence: int) -> bytes:
    """Return an ICMP echo request with 8 bytes of data."""
    body = struct.pack(">BBHHH", 8, 0, 0, identifier, sequence) + bytes(8)
    return body[:2] + struct.pack(">H", checksum(body)) + body[4:]


def ping(target: str, per_s: float, count: int) -> int:
    """Ping from the calling thread's network namespace at an even rate; return how many were answered."""
    answered: set[int] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        begin = time.monotonic()
        for sequence in range(count):
            time.sleep(max(0.0, begin + sequence / per_s - time.monotonic()))
            raw.sendto(echo_request(77, sequence), (target, 0))
        raw.settimeout(1.0)
        try:
            while len(answered) < count:
                packet = raw.recv(2048)
                kind, _, _, identifier, sequence = struct.unpack_from(">BBHHH", packet, (packet[0] & 15) * 4)
                if (kind, identifier) == (0, 77):
                    answered.add(sequence)
        except TimeoutError:
            pass
    return len(answered)
