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

_SIZE = rb"(?:\x00[\x0c-\xff]|[\x01-\xff].)"
"""The length before a message: a query may be of any, for padding (RFC 7830) makes it as long as its client likes."""
_QUESTION = rb"(?:[\x01-\x3f]|\x00..[\x00\x80][\x01\x03\x04\xfe\xff])"
"""A label; or the root, with a class behind its type."""
FROM_CLIENT = rb"(?s:" + _SIZE + rb"..[\x00-\x2f].\x00[\x01-\x04]\x00.\x00.\x00." + _QUESTION + rb")"
FROM_SERVER = rb"(?s:" + _SIZE + rb"..[\x80-\xaf].\x00[\x00-\x04]\x00.\x00.\x00.)"
"""Operation codes up to that of an update (RFC 2136); of the flags any, for servers answer with odd ones, too."""


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


LENGTH = 2
"""Bytes of the length before a message in a stream."""


def size_of(data: bytes) -> int:
    """Return the length of the message that begins so, as `ids.protocols.walked.Walked` has it: servers take none that
    is shorter than its header."""
    size = int.from_bytes(data[:LENGTH], "big")
    return 0 if len(data) < LENGTH else LENGTH + size if size >= HEADER else -1


BEGINS = late_pattern(rb"\A" + FROM_CLIENT), re.compile(rb"\A" + FROM_SERVER)
"""By direction: the beginning of a message, at the first byte of a piece of a stream."""
