"""DNS messages made by hand, for tests: every byte of them can be wrong."""

from __future__ import annotations

from struct import pack

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, OPT, SSHFP, HTTPS, ANY = 1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 44, 65, 255
QUERY, ANSWER = 0x0100, 0x8180
"""Flags."""
BACK = b"\xc0\x0c"
"""A pointer to the name of the first question."""


def name(dotted: bytes) -> bytes:
    """Return a name as labels."""
    return b"".join(bytes((len(label),)) + label for label in dotted.split(b".") if label) + b"\0"


def question(dotted: bytes, rrtype: int = A, rrclass: int = 1) -> bytes:
    """Return a question."""
    return name(dotted) + pack(">HH", rrtype, rrclass)


def record(rrtype: int, data: bytes, of: bytes = BACK, ttl: int = 60) -> bytes:
    """Return a resource record; the name that it is ``of`` as sent."""
    return of + pack(">HHIH", rrtype, 1, ttl, len(data)) + data


def message(
    *questions: bytes,
    answers: tuple[bytes, ...] = (),
    authorities: tuple[bytes, ...] = (),
    additionals: tuple[bytes, ...] = (),
    flags: int = QUERY,
    id: int = 0x1234,
) -> bytes:
    """Return a message."""
    sections = (questions, answers, authorities, additionals)
    return pack(">HH4H", id, flags, *map(len, sections)) + b"".join(b"".join(section) for section in sections)


def framed(*messages: bytes) -> bytes:
    """Return messages as a stream has them."""
    return b"".join(pack(">H", len(one)) + one for one in messages)
