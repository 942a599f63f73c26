"""Captures whose servers have moved: each usual port is another one, which nobody knows.

What is still recognised there is recognised by what is said. Checksums are left as they were, so engines are asked not
to judge them. What is tunnelled stays as it is.
"""

from __future__ import annotations

import struct

BY = 9000
"""By how much a port is moved."""
_USUAL = frozenset({
    1433, 1812, 1883, 1900, 2049, 3268, 3306, 3389, 4500, 5060, 5061, 5432, *range(5900, 5910), 6379, 6881,
    8000, 8080, 8443, 8883, 20000, 44818,
})  # fmt: skip
"""Ports beyond 1023 at which servers of some protocol are."""
_STAYING = frozenset({137, 138})
"""The name service of NetBIOS, and its datagrams: by their form they are messages of DNS, and only the port says that
they are not; as at 5353 and 5355."""
_IPV4, _IPV6, _VLANS = 0x0800, 0x86DD, (0x8100, 0x88A8)
_TCP, _UDP = 6, 17
_MAGIC = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}
_HEADS = {1: 14, 12: 0, 14: 0, 101: 0, 113: 16, 228: 0, 229: 0}
"""By link type: bytes before the packet; the last two of Ethernet's and of Linux's are its type."""


def moved_port(port: int) -> int:
    """Return where the server of a port is now."""
    return port + BY if (0 < port < 1024 and port not in _STAYING) or port in _USUAL else port


def moved(capture: bytes) -> bytes | None:
    """Return a capture file with its servers moved; None where it is of no kind that is known here."""
    order = _MAGIC.get(capture[:4])
    if order is None or len(capture) < 24:
        return None
    head = _HEADS.get(struct.unpack_from(f"{order}I", capture, 20)[0] & 0xFFFF)
    if head is None:
        return None
    data, at = bytearray(capture), 24
    while at + 16 <= len(data):
        size = struct.unpack_from(f"{order}I", data, at + 8)[0]
        at += 16
        if at + size > len(data):
            break
        _move(data, at + head, at + size, _kind(data, at, head))
        at += size
    return bytes(data)


def _kind(data: bytearray, at: int, head: int) -> int:
    """Return the type of a packet as Ethernet has it."""
    if head >= 2:
        return int.from_bytes(data[at + head - 2 : at + head], "big")
    return {4: _IPV4, 6: _IPV6}.get(data[at] >> 4, 0) if at < len(data) else 0


def _move(data: bytearray, at: int, end: int, kind: int) -> None:
    """Change the ports of one packet, where it has some."""
    while kind in _VLANS and at + 4 <= end:
        kind, at = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
    if kind == _IPV4 and at + 20 <= end:
        proto, first = data[at + 9], not int.from_bytes(data[at + 6 : at + 8], "big") & 0x1FFF
        at += (data[at] & 15) * 4
    elif kind == _IPV6 and at + 40 <= end:
        proto, first = data[at + 6], True
        at += 40
    else:
        return
    if first and proto in (_TCP, _UDP) and at + 4 <= end:
        ports = struct.unpack_from(">HH", data, at)
        struct.pack_into(">HH", data, at, *map(moved_port, ports))
