"""DNS: recognised over TCP and UDP, not parsed."""

from __future__ import annotations

from ids.protocols.protocol import Buffer, Protocol
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

_HEADER = 12
"""Bytes of the header (RFC 1035 section 4.1.1)."""
_MAX_LABELS = 128
"""A name of 255 bytes has at most so many labels, the root included."""
_CLASSES = frozenset({1, 3, 4, 254, 255})
"""IN, CH, HS, NONE, ANY: RFC 1035 section 3.2.4 and 3.2.5, RFC 2136."""
_UNICAST_ANSWER = 0x8000
"""Bit of a class in multicast DNS (RFC 6762 section 5.4)."""


def is_message(data: bytes) -> bool:
    """Return whether a datagram is a query or an answer: small counts, and a first question that can be read."""
    if len(data) < _HEADER or data[4] or not 1 <= data[5] <= 4:
        return False
    if data[6] or data[8] or data[10]:  # 256 records or more do not fit in
        return False
    at = _HEADER
    for _ in range(_MAX_LABELS):
        if at >= len(data) or data[at] > 63:
            return False
        if not data[at]:
            break
        at += 1 + data[at]
    else:
        return False
    asked = int.from_bytes(data[at + 3 : at + 5], "big")
    return at + 5 <= len(data) and asked & ~_UNICAST_ANSWER in _CLASSES


PROTOCOL = Protocol(
    name="dns",
    from_client=rb"(?s:[\x00-\x0f][\x0c-\xff]..[\x00-\x07][\x00-\x3f]\x00[\x01-\x04]\x00.\x00.\x00.)",
    from_server=rb"(?s:[\x00-\xff][\x0c-\xff]..[\x80-\x87].\x00[\x00-\x04]\x00.\x00.\x00.)",
    datagram=is_message,
    buffers=(
        Buffer("dns.query", "dns", _CLIENT, "name asked for", several=True),
        Buffer("dns.opcode", "dns", None, "operation code, decimal"),
        Buffer("dns.rcode", "dns", _SERVER, "response code, decimal"),
        Buffer("dns.rrtype", "dns", _CLIENT, "type asked for, decimal", several=True),
        Buffer("dns.answer.name", "dns", _SERVER, "names in the answer section", several=True),
    ),
)
