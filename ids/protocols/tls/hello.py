"""ClientHello and ServerHello (RFC 8446 section 4.1, RFC 5246 section 7.4.1), and those of SSL 2.

A hello that ends early, or of which a length is wrong, is read up to there: what it says until then is what a rule may
look for, whoever sent it.
"""

from __future__ import annotations

from struct import Struct, error, unpack_from

SERVER_NAME, GROUPS, POINT_FORMATS, SIGNATURES, ALPN, VERSIONS = 0, 10, 11, 13, 16, 43
"""Extensions that are read."""
MAX_NAME = 255
"""Bytes of a server name that is none too long for a host."""
MAX_NAMES = 64
"""Names, protocols and versions of one extension that are read: no client offers so many."""
MAX_NUMBERS = 1024
"""Ciphers, groups and the like of one list that are read, and extensions: there are not so many to offer. A number
takes twenty times the room that it has on the wire."""
_NUMBER_BYTES = 36
"""Memory of a number in a list."""

_U16 = Struct(">H").unpack_from


class Hello:
    """What one side says first. `whole` says whether it could be read to its end."""

    __slots__ = (
        "alpn", "ciphers", "extensions", "formats", "groups", "legacy", "names", "odd", "random", "session",
        "signatures", "size", "versions", "whole",
    )  # fmt: skip

    def __init__(self, size: int = 0) -> None:
        self.size = size
        """Bytes of it on the wire."""
        self.legacy = 0
        """The version of its head; since TLS 1.3 the same for all."""
        self.random = b""
        self.session = b""
        self.ciphers: tuple[int, ...] = ()
        """All that a client offers; the one that a server takes."""
        self.extensions: list[int] = []
        """Their types, in their order."""
        self.names: list[bytes] = []
        """Server names (RFC 6066), as sent."""
        self.odd: list[bytes] = []
        """What is wrong with the first of them, by Suricata's names."""
        self.alpn: list[bytes] = []
        self.groups: tuple[int, ...] = ()
        self.formats: tuple[int, ...] = ()
        self.signatures: tuple[int, ...] = ()
        self.versions: tuple[int, ...] = ()
        """Of the extension for them: those that a client offers, the one that a server takes."""
        self.whole = False

    @property
    def cost(self) -> int:
        """Bytes of memory that it takes, about."""
        numbers = len(self.ciphers) + len(self.extensions) + len(self.groups) + len(self.signatures)
        return self.size + _NUMBER_BYTES * numbers

    @property
    def version(self) -> int:
        """The version that counts: of the extension, where there is one that is no placeholder."""
        return next((version for version in self.versions if not is_grease(version)), self.legacy)


def is_grease(number: int) -> bool:
    """Return whether a number stands for nothing (RFC 8701)."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def client_hello(data: bytes) -> Hello:
    """Return what a ClientHello says, without the head of its handshake message."""
    hello = Hello(len(data))
    try:
        at = _read_head(data, hello)
        (size,) = _U16(data, at)
        at += 2
        hello.ciphers = _numbers(data, at, min(at + size, len(data)))
        at += size
        at += 1 + data[at]
        _read_extensions(data, at, hello, client=True)
    except (error, IndexError):
        pass  # it ends early: `whole` says so
    return hello


def server_hello(data: bytes) -> Hello:
    """Return what a ServerHello says, without the head of its handshake message."""
    hello = Hello(len(data))
    try:
        early = 0x7F00 < _U16(data, 0)[0] <= 0x7F15  # up to draft 21 of TLS 1.3: no session, no compression method
        at = _read_head(data, hello, with_session=not early)
        hello.ciphers = _U16(data, at)
        _read_extensions(data, at + (2 if early else 3), hello, client=False)
    except (error, IndexError):
        pass
    return hello


def ssl2_client_hello(data: bytes) -> Hello:
    """Return what a ClientHello of SSL 2 says (RFC 6101 appendix E), without its length of two bytes."""
    hello = Hello(len(data))
    try:
        hello.legacy, size, session, _ = unpack_from(">4H", data, 1)
        kinds = data[9 : 9 + size]
        hello.ciphers = tuple(
            [int.from_bytes(kinds[at + 1 : at + 3], "big") for at in range(0, len(kinds) - 2, 3) if not kinds[at]]
        )
        hello.ciphers = hello.ciphers[:MAX_NUMBERS]
        hello.session = data[9 + size : 9 + size + session]
        hello.whole = len(data) >= 9 + size + session
    except error:
        pass
    return hello


def _read_head(data: bytes, hello: Hello, with_session: bool = True) -> int:
    """Read version, random and session; return what is behind them."""
    (hello.legacy,) = _U16(data, 0)
    hello.random = data[2:34]
    if not with_session:
        return 34
    end = 35 + data[34]
    hello.session = data[35:end]
    return end


def _read_extensions(data: bytes, at: int, hello: Hello, *, client: bool) -> None:
    """Read the extensions, whose length stands at an offset. Raise `struct.error` or `IndexError` at an early end."""
    if at == len(data):
        hello.whole = True  # SSL 3 has none
        return
    (size,) = _U16(data, at)
    at += 2
    end = at + size
    whole = end <= len(data)
    end = min(end, len(data))
    found = hello.extensions
    while at < end and len(found) < MAX_NUMBERS:
        kind, length = unpack_from(">HH", data, at)
        at += 4
        found.append(kind)
        if kind in _READERS:
            _READERS[kind](data, at, min(at + length, end), hello, client)
        at += length
    hello.whole = whole and at == end


def _server_name(data: bytes, at: int, end: int, hello: Hello, client: bool) -> None:
    at += 2  # the length of the list
    while at + 3 <= end and len(hello.names) < MAX_NAMES:
        kind, size = data[at], data[at + 1] << 8 | data[at + 2]
        at += 3
        if client and not hello.names and not hello.odd:
            if kind:
                hello.odd.append(b"tls.invalid_sni_type")
            elif not 0 < size <= MAX_NAME or at + size > end:
                hello.odd.append(b"tls.invalid_sni_length")
        if not kind:
            hello.names.append(data[at : min(at + size, end)])
        at += size


def _protocols(data: bytes, at: int, end: int, hello: Hello, client: bool) -> None:
    at += 2
    while at < end and len(hello.alpn) < MAX_NAMES:
        after = at + 1 + data[at]
        hello.alpn.append(data[at + 1 : min(after, end)])
        at = after


def _groups(data: bytes, at: int, end: int, hello: Hello, client: bool) -> None:
    hello.groups = _numbers(data, at + 2, end)


def _formats(data: bytes, at: int, end: int, hello: Hello, client: bool) -> None:
    hello.formats = tuple(data[at + 1 : end])[:MAX_NUMBERS]


def _signatures(data: bytes, at: int, end: int, hello: Hello, client: bool) -> None:
    hello.signatures = _numbers(data, at + 2, end)


def _versions(data: bytes, at: int, end: int, hello: Hello, client: bool) -> None:
    hello.versions = _numbers(data, at + 1 if client else at, end)[:MAX_NAMES]


_READERS = {
    SERVER_NAME: _server_name, ALPN: _protocols, GROUPS: _groups, POINT_FORMATS: _formats, SIGNATURES: _signatures,
    VERSIONS: _versions,
}  # fmt: skip


def _numbers(data: bytes, at: int, end: int) -> tuple[int, ...]:
    """Return the numbers of two bytes each that lie there."""
    count = min(max(end - at, 0) // 2, MAX_NUMBERS)
    return unpack_from(f">{count}H", data, at) if count else ()
