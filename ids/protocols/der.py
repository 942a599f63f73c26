"""Elements of DER, and of BER with definite lengths (X.690 section 8.1): Kerberos, LDAP, SNMP and their like.

The libraries for ASN.1 (asn1crypto, pyasn1) build a tree of objects of all that a message has, raise at the first byte
that is not as they expect, and take some hundred microseconds; what a server still answers would go unseen. Here
elements are walked, none is kept, and each step is bounded by the element around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

INTEGER, OCTETS, OID, ENUMERATED, BOOLEAN, SEQUENCE, GENERAL_STRING = 0x02, 0x04, 0x06, 0x0A, 0x01, 0x30, 0x1B
MAX_CHILDREN = 256
"""Elements of one sequence that are walked."""
MAX_OID = 128
"""Numbers of an object identifier that are read (RFC 2578 section 3.5)."""


class Malformed(ValueError):
    """What is no element, or another one than is asked for."""


class Element(NamedTuple):
    """An element, by where its content lies."""

    tag: int
    start: int
    end: int


def element(data: bytes, at: int, end: int) -> Element:
    """Return the element that begins at an offset. Raise `Malformed` where it runs over the end."""
    if at + 2 > end:
        raise Malformed("an element runs over the end")
    tag, size = data[at], data[at + 1]
    at += 2
    if size > 0x7F:
        digits = size & 0x7F
        if not 0 < digits <= 8 or at + digits > end:
            raise Malformed("an odd length")
        size = int.from_bytes(data[at : at + digits], "big")
        at += digits
    if at + size > end:
        raise Malformed("an element runs over the end")
    return Element(tag, at, at + size)


def expect(data: bytes, at: int, end: int, tag: int) -> Element:
    """Return the element that begins at an offset. Raise `Malformed` where its tag is another."""
    found = element(data, at, end)
    if found.tag != tag:
        raise Malformed("an element of another type")
    return found


def children(data: bytes, of: Element) -> Iterator[Element]:
    """Yield the elements in one, at most `MAX_CHILDREN`. Raise `Malformed`."""
    at = of.start
    for _ in range(MAX_CHILDREN):
        if at >= of.end:
            return
        child = element(data, at, of.end)
        yield child
        at = child.end


def only(data: bytes, of: Element, tag: int | None = None) -> Element:
    """Return the first element in one. Raise `Malformed` where its tag is another."""
    if tag is None:
        return element(data, of.start, of.end)
    return expect(data, of.start, of.end, tag)


def by_tag(data: bytes, of: Element) -> dict[int, Element]:
    """Return the elements in one by their tags; of several with one tag the first."""
    found: dict[int, Element] = {}
    for child in children(data, of):
        found.setdefault(child.tag, child)
    return found


def integer(data: bytes, of: Element) -> int:
    """Return a number of at most eight bytes. Raise `Malformed`."""
    if not 0 < of.end - of.start <= 8:
        raise Malformed("no number")
    return int.from_bytes(data[of.start : of.end], "big", signed=True)


def oid(data: bytes, of: Element) -> str:
    """Return an object identifier with dots; one that is too long ends early."""
    numbers: list[int] = []
    value = 0
    for byte in data[of.start : min(of.end, of.start + 5 * MAX_OID)]:
        value = (value << 7 | byte & 0x7F) & 0xFFFFFFFFFFFFFFFF
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if numbers:
        first = min(numbers[0] // 40, 2)
        numbers[:1] = [first, numbers[0] - 40 * first]
    return ".".join(map(str, numbers[:MAX_OID]))


def size_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes an element takes, as `ids.protocols.framing.LengthOf`."""
    if len(data) < at + 2:
        return 0
    size = data[at + 1]
    if size <= 0x7F:
        return 2 + size
    digits = size & 0x7F
    if not 0 < digits <= 4:
        return -1
    if len(data) < at + 2 + digits:
        return 0
    return 2 + digits + int.from_bytes(data[at + 2 : at + 2 + digits], "big")
