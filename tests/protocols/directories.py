"""Messages of LDAP made by hand, for tests: every byte of them can be wrong."""

from __future__ import annotations

from tests.protocols.tickets import der, integer


def octets(text: bytes) -> bytes:
    """Return a text."""
    return der(4, text)


def message(number: int, operation: int, *content: bytes) -> bytes:
    """Return a message."""
    return der(0x30, integer(number), der(operation, *content))


def bind(number: int = 1, name: bytes = b"cn=admin,dc=corp", password: bytes = b"secret") -> bytes:
    """Return a logon by a password."""
    return message(number, 0x60, integer(3), octets(name), der(0x80, password))


def sasl(token: bytes, number: int = 1) -> bytes:
    """Return a logon by a token."""
    return message(number, 0x60, integer(3), octets(b""), der(0xA3, octets(b"GSS-SPNEGO"), octets(token)))


def result(number: int, operation: int, code: int = 0, text: bytes = b"") -> bytes:
    """Return how an operation ended."""
    return message(number, operation, der(0x0A, bytes((code,))), octets(b""), octets(text))


def search(number: int = 2, base: bytes = b"dc=corp", attributes: tuple[bytes, ...] = (b"member",)) -> bytes:
    """Return a search."""
    numbers = der(0x0A, b"\2"), der(0x0A, b"\0"), integer(0), integer(0), der(1, b"\0")
    names = der(0x30, *map(octets, attributes))
    return message(number, 0x63, octets(base), *numbers, der(0x87, b"objectClass"), names)


def entry(number: int, name: bytes, kind: bytes, *values: bytes) -> bytes:
    """Return an entry that was found."""
    attribute = der(0x30, octets(kind), der(0x31, *map(octets, values)))
    return message(number, 0x64, octets(name), der(0x30, attribute))


def start_tls(number: int = 1) -> bytes:
    """Return the wish to go on in TLS."""
    return message(number, 0x77, der(0x80, b"1.3.6.1.4.1.1466.20037"))


def modify(number: int, name: bytes, kind: bytes, value: bytes) -> bytes:
    """Return a change of an entry."""
    change = der(0x30, der(0x0A, b"\2"), der(0x30, octets(kind), der(0x31, octets(value))))
    return message(number, 0x66, octets(name), der(0x30, change))


def wrapped(data: bytes, signature: bytes = b"\1\0\0\0" + bytes(12)) -> bytes:
    """Return a message as SASL signs it."""
    return (len(signature) + len(data)).to_bytes(4, "big") + signature + data
