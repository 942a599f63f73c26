"""TLS handshakes and X.509 certificates made by hand, for tests: every byte of them can be wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import pack

RANDOM = bytes(range(32))
UTF8, PRINTABLE, IA5, BMP = 0x0C, 0x13, 0x16, 0x1E
COMMON_NAME, COUNTRY, ORGANISATION = "2.5.4.3", "2.5.4.6", "2.5.4.10"
Attribute = tuple[str, int, bytes]
"""Identifier, tag of the type, and value."""


def der(tag: int, *content: bytes) -> bytes:
    """Return an element of DER."""
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + len(body).to_bytes(size, "big") + body


def oid(dotted: str) -> bytes:
    """Return an object identifier."""
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray()
    for number in (40 * first + second, *rest):
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        out += bytes(reversed(digits))
    return der(0x06, bytes(out))


def name(attributes: Iterable[Attribute]) -> bytes:
    """Return a distinguished name, with a set for each attribute."""
    return der(0x30, *(der(0x31, der(0x30, oid(kind), der(tag, value))) for kind, tag, value in attributes))


ALGORITHM = der(0x30, oid("1.2.840.113549.1.1.11"), der(0x05))
KEY = der(0x30, der(0x30, oid("1.2.840.113549.1.1.1"), der(0x05)),
          der(0x03, b"\0", der(0x30, der(0x02, b"\0" + b"\xc5" * 64), der(0x02, b"\1\0\1"))))  # fmt: skip


def certificate(
    subject: Sequence[Attribute] = ((COMMON_NAME, UTF8, b"host.example"),),
    issuer: Sequence[Attribute] = ((COUNTRY, PRINTABLE, b"XX"), (COMMON_NAME, UTF8, b"Some CA")),
    serial: bytes = b"\x00\x97\xe6",
    not_before: tuple[int, bytes] = (0x17, b"210102030405Z"),
    not_after: tuple[int, bytes] = (0x18, b"20510102030405Z"),
    names: Sequence[tuple[int, bytes]] = ((0x82, b"host.example"), (0x82, b"www.host.example")),
) -> bytes:
    """Return a certificate; its signature is none."""
    alternative = der(0x30, *(der(tag, value) for tag, value in names))
    extensions = der(0xA3, der(0x30, der(0x30, oid("2.5.29.17"), der(0x04, alternative)))) if names else b""
    signed = der(
        0x30, der(0xA0, der(0x02, b"\2")), der(0x02, serial), ALGORITHM, name(issuer),
        der(0x30, der(*not_before), der(*not_after)), name(subject), KEY, extensions,
    )  # fmt: skip
    return der(0x30, signed, ALGORITHM, der(0x03, b"\0" + b"\xaa" * 64))


def listed(numbers: Iterable[int], head: str = ">H") -> bytes:
    """Return numbers of two bytes each behind their length."""
    body = b"".join(pack(">H", number) for number in numbers)
    return pack(head, len(body)) + body


def extension(kind: int, body: bytes) -> bytes:
    """Return an extension."""
    return pack(">HH", kind, len(body)) + body


def server_name(host: bytes) -> bytes:
    """Return the extension that asks for a host."""
    return extension(0, pack(">HBH", len(host) + 3, 0, len(host)) + host)


def alpn(*protocols: bytes) -> bytes:
    """Return the extension for application protocols."""
    body = b"".join(bytes((len(protocol),)) + protocol for protocol in protocols)
    return extension(16, pack(">H", len(body)) + body)


def message(kind: int, body: bytes) -> bytes:
    """Return a handshake message."""
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def record(content: bytes, kind: int = 22, version: int = 0x0303, size: int = 1 << 14) -> bytes:
    """Return records that carry content, of at most ``size`` bytes each."""
    pieces = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
    return b"".join(pack(">BHH", kind, version, len(piece)) + piece for piece in pieces)


CIPHERS = (0x0A0A, 0x1301, 0xC02B, 0x002F)
EXTENSIONS = (
    extension(0x1A1A, b"") + server_name(b"Host.example") + extension(10, listed((0x2A2A, 29, 23)))
    + extension(11, b"\1\0") + alpn(b"h2", b"http/1.1") + extension(13, listed((0x0403, 0x0804)))
)  # fmt: skip
OFFERS_13 = extension(43, b"\6\x0a\x0a\x03\x04\x03\x03")
TAKES_13 = extension(43, b"\x03\x04")


def client_hello(
    extensions: bytes = EXTENSIONS, ciphers: Sequence[int] = CIPHERS, version: int = 0x0303, session: bytes = b""
) -> bytes:
    """Return a ClientHello."""
    head = pack(">H", version) + RANDOM + bytes((len(session),)) + session + listed(ciphers) + b"\1\0"
    return message(1, head + pack(">H", len(extensions)) + extensions)


def server_hello(extensions: bytes = b"", cipher: int = 0xC02B, version: int = 0x0303, session: bytes = b"") -> bytes:
    """Return a ServerHello."""
    head = pack(">H", version) + RANDOM + bytes((len(session),)) + session + pack(">HB", cipher, 0)
    return message(2, head + (pack(">H", len(extensions)) + extensions if extensions else b""))


def certificates(*chain: bytes) -> bytes:
    """Return a Certificate message."""
    body = b"".join(len(one).to_bytes(3, "big") + one for one in chain)
    return message(11, len(body).to_bytes(3, "big") + body)


HELLO_DONE = message(14, b"")
CERTIFICATE_REQUEST = message(13, b"\1\1\0\0\0\0")
CHANGE_CIPHER = record(b"\1", kind=20)
ENCRYPTED = record(b"\xee" * 40)
DATA = record(b"\xdd" * 100, kind=23)


def client_side(**options: bytes) -> bytes:
    """Return what a client sends up to its first data."""
    return record(client_hello(**options)) + record(message(16, b"\0" * 66)) + CHANGE_CIPHER + ENCRYPTED + DATA  # type: ignore[arg-type]


def server_side(*chain: bytes) -> bytes:
    """Return what a server sends up to its first data."""
    said = server_hello() + certificates(*chain) + HELLO_DONE
    return record(said) + CHANGE_CIPHER + ENCRYPTED + DATA
