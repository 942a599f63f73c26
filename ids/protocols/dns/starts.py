"""How DNS messages begin: what it takes to recognise one, in a datagram or behind the length of a stream."""

from __future__ import annotations

import re

from ids.later import late_pattern

HEADER = 12
"""Bytes of the header (RFC 1035 section 4.1.1)."""
_MAX_LABELS = 128
"""A name of 255 bytes has at most so many labels, the root included."""
_CLASSES = frozenset({1, 3, 4, 254, 255})
"""IN, CH, HS, NONE, ANY: RFC 1035 section 3.2.4 and 3.2.5, RFC 2136."""
_UNICAST_ANSWER = 0x8000
"""Bit of a class in multicast DNS (RFC 6762 section 5.4)."""
FOREIGN_PORTS = frozenset({137, 5353, 5355})
"""Of the name service of NetBIOS (RFC 1002), multicast DNS (RFC 6762) and LLMNR (RFC 4795): a message of theirs is one
of DNS by its form, but nobody resolves a name by it beyond the link; Suricata 7 does not take them for DNS either."""

FROM_CLIENT = rb"(?s:[\x00-\x0f][\x0c-\xff]..[\x00-\x07][\x00-\x3f]\x00[\x01-\x04]\x00.\x00.\x00.)"
FROM_SERVER = rb"(?s:[\x00-\xff][\x0c-\xff]..[\x80-\x87].\x00[\x00-\x04]\x00.\x00.\x00.)"


def is_message(data: bytes) -> bool:
    """Return whether a datagram is a query or an answer: small counts, and a first question that can be read."""
    if len(data) < HEADER or data[4] or not 1 <= data[5] <= 4:
        return False
    if data[6] or data[8] or data[10]:  # 256 records or more do not fit in
        return False
    at = HEADER
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


BEGINS = late_pattern(rb"\A" + FROM_CLIENT), re.compile(rb"\A" + FROM_SERVER)
"""By direction: the beginning of a message, at the first byte of a piece of a stream."""
