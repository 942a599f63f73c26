"""Messages of Kerberos made by hand, for tests: every byte of them can be wrong."""

from __future__ import annotations

AS_REQUEST, AS_REPLY, TGS_REQUEST, TGS_REPLY, AP_REQUEST, AP_REPLY, ERROR = 10, 11, 12, 13, 14, 15, 30
TGT = (b"krbtgt", b"CORP")


def der(tag: int, *content: bytes) -> bytes:
    """Return an element."""
    data = b"".join(content)
    size = len(data)
    return bytes((tag, size)) + data if size < 128 else bytes((tag, 0x82)) + size.to_bytes(2, "big") + data


def integer(value: int) -> bytes:
    """Return a number."""
    return der(2, value.to_bytes(max(1, (value.bit_length() + 8) // 8), "big", signed=True))


def string(text: bytes) -> bytes:
    """Return a text."""
    return der(0x1B, text)


def name(*parts: bytes) -> bytes:
    """Return the name of someone."""
    return der(0x30, der(0xA0, integer(1)), der(0xA1, der(0x30, *map(string, parts))))


def encrypted(kind: int) -> bytes:
    """Return something encrypted."""
    return der(0x30, der(0xA0, integer(kind)), der(0xA2, der(4, b"secret" * 5)))


def request(
    kind: int = AS_REQUEST, cname: tuple[bytes, ...] | None = (b"alice",), sname: tuple[bytes, ...] = TGT,
    kinds: tuple[int, ...] = (18, 23),
) -> bytes:  # fmt: skip
    """Return a request for a ticket."""
    parts = [der(0xA0, der(3, b"\0\x50\0\0\0"))]
    parts += [der(0xA1, name(*cname))] if cname is not None else []
    parts += [der(0xA2, string(b"CORP")), der(0xA3, name(*sname)), der(0xA7, integer(99))]
    body = der(0x30, *parts, der(0xA8, der(0x30, *map(integer, kinds))))
    return der(0x60 | kind, der(0x30, der(0xA1, integer(5)), der(0xA2, integer(kind)), der(0xA4, body)))


def reply(kind: int = AS_REPLY, sname: tuple[bytes, ...] = TGT, encryption: int = 18, ticket: int = 18) -> bytes:
    """Return a ticket."""
    inside = der(0xA0, integer(5)) + der(0xA1, string(b"CORP")) + der(0xA2, name(*sname)) + der(0xA3, encrypted(ticket))
    parts = (
        der(0xA0, integer(5)), der(0xA1, integer(kind)), der(0xA3, string(b"CORP")), der(0xA4, name(b"alice")),
        der(0xA5, der(0x61, der(0x30, inside))), der(0xA6, encrypted(encryption)),
    )  # fmt: skip
    return der(0x60 | kind, der(0x30, *parts))


def error(code: int, cname: tuple[bytes, ...] | None = (b"alice",)) -> bytes:
    """Return an error."""
    parts = [der(0xA0, integer(5)), der(0xA1, integer(ERROR)), der(0xA6, integer(code))]
    parts += [der(0xA7, string(b"CORP")), der(0xA8, name(*cname))] if cname is not None else []
    return der(0x7E, der(0x30, *parts, der(0xA9, string(b"CORP")), der(0xAA, name(*TGT))))


def framed(*messages: bytes) -> bytes:
    """Return messages as in a stream."""
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)
