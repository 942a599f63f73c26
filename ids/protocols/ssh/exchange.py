"""What a side offers in its key exchange message, and HASSH: the hash of the order in which it does."""

from __future__ import annotations

from hashlib import md5
from typing import NamedTuple

KEXINIT, NEWKEYS = 20, 21
"""Types of messages (RFC 4253 section 12): an offer of algorithms, and the last message in clear."""
_BEFORE_LISTS = 1 + 16
"""Bytes of the type and of the cookie."""
_LISTS = 8
"""Lists that are read: key exchange, host keys, then ciphers, MACs and compression of each direction."""
_KEX, _CIPHERS, _MACS, _COMPRESSION = 0, 2, 4, 6
"""Places of the lists of the client's direction; those of the server's, but for the first, come behind them."""


class Malformed(ValueError):
    """What is no offer."""


class Offer(NamedTuple):
    """What HASSH is made of."""

    string: bytes
    """Lists, joined by semicolons."""
    hash: bytes
    """MD5 of it, hexadecimal."""


def read_offer(payload: bytes, from_client: bool) -> Offer:
    """Return what a side offers (RFC 4253 section 7.1). Raise `Malformed`."""
    lists: list[bytes] = []
    at = _BEFORE_LISTS
    for _ in range(_LISTS):
        end = at + 4 + int.from_bytes(payload[at : at + 4], "big")
        if at + 4 > len(payload) or end > len(payload):
            raise Malformed("a list runs over the end")
        lists.append(payload[at + 4 : end])
        at = end
    way = 0 if from_client else 1
    string = b";".join([lists[_KEX], *(lists[which + way] for which in (_CIPHERS, _MACS, _COMPRESSION))])
    return Offer(string, md5(string, usedforsecurity=False).hexdigest().encode())
