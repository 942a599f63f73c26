"""Elements of ASN.1 in BER, as SNMP has them (X.690), read as leniently as agents do: any form of a length counts."""

from __future__ import annotations

from typing import NamedTuple

INTEGER, OCTETS, NULL, OID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
MAX_OID = 128
"""Numbers of an object identifier that are read (RFC 2578 section 3.5)."""


class Malformed(Exception):
    """No element is there."""


class Element(NamedTuple):
    """A tag of one byte, and where its content lies."""

    tag: int
    start: int
    end: int


def read(data: bytes, at: int, end: int) -> Element:
    """Return the element at an offset, which ends by ``end``; raises `Malformed`."""
    if at + 2 > end or data[at] & 0x1F == 0x1F:
        raise Malformed
    size, start = data[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 8 or start + count > end:
            raise Malformed
        size, start = int.from_bytes(data[start : start + count], "big"), start + count
    if start + size > end:
        raise Malformed
    return Element(data[at], start, start + size)


def expect(data: bytes, at: int, end: int, tag: int) -> Element:
    """Return the element at an offset, which has this tag; raises `Malformed`."""
    element = read(data, at, end)
    if element.tag != tag:
        raise Malformed
    return element


def integer(data: bytes, element: Element) -> int:
    """Return a number with its sign; of an absurd length, what its last 8 bytes say."""
    return int.from_bytes(data[max(element.start, element.end - 8) : element.end], "big", signed=True)


def oid(data: bytes, element: Element) -> str:
    """Return an object identifier with dots; one that is too long ends early."""
    numbers: list[int] = []
    value = 0
    for byte in data[element.start : min(element.end, element.start + 5 * MAX_OID)]:
        value = (value << 7 | byte & 0x7F) & 0xFFFFFFFFFFFFFFFF
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if numbers:
        first = min(numbers[0] // 40, 2)
        numbers[:1] = [first, numbers[0] - 40 * first]
    return ".".join(map(str, numbers[:MAX_OID]))
