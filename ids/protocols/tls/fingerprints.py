"""JA3, JA3S and JA4: what is characteristic of the software that sent a hello, in a few words.

JA3 is defined by its authors' README (salesforce/ja3), JA4 by FoxIO's technical description. Where Suricata's hashes
differ from the latter (no signature algorithms; a version that is not offered first), they are Suricata's: its rules
are what they are for.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import md5, sha256

from ids.protocols.tls.hello import ALPN, SERVER_NAME, Hello, is_grease

_JA4_VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3"}
_MOST = 99
"""Counts in JA4 have two digits."""
_SHOWN = 12
"""Digits of a hash in JA4."""


def ja3(hello: Hello) -> bytes:
    """Return the JA3 string of a client."""
    lists = (hello.ciphers, hello.extensions, hello.groups, hello.formats)
    return ",".join([str(hello.legacy), *map(_listed, lists)]).encode()


def ja3s(hello: Hello) -> bytes:
    """Return the JA3S string of a server."""
    return ",".join([str(hello.legacy), _joined(hello.ciphers), _joined(hello.extensions)]).encode()


def ja3_hash(of: bytes) -> bytes:
    """Return the hash of a JA3 or JA3S string, hexadecimal."""
    return md5(of, usedforsecurity=False).hexdigest().encode()


def ja4(hello: Hello, carrier: str = "t") -> bytes:
    """Return the JA4 of a client; ``carrier``: ``t`` for TCP, ``q`` for QUIC."""
    ciphers = sorted(number for number in hello.ciphers if not is_grease(number))
    extensions = [number for number in hello.extensions if not is_grease(number)]
    signatures = [number for number in hello.signatures if not is_grease(number)]
    version = max(hello.legacy, hello.version)
    first = (
        f"{carrier}{_JA4_VERSIONS.get(version, '00')}{'d' if SERVER_NAME in extensions else 'i'}"
        f"{min(len(ciphers), _MOST):02}{min(len(extensions), _MOST):02}{_protocol(hello.alpn)}"
    )
    hashed = sorted(number for number in extensions if number not in (SERVER_NAME, ALPN))
    return f"{first}_{_hash(_hex(ciphers))}_{_hash(f'{_hex(hashed)}_{_hex(signatures)}')}".encode()


def _protocol(offered: list[bytes]) -> str:
    """Return the first and last character of the first protocol offered."""
    first = offered[0] if offered else b""
    if not first or (len(first) == 2 and is_grease(first[0] << 8 | first[1])):
        return "00"
    ends = bytes((first[0], first[-1]))
    return ends.decode() if ends.isalnum() else ends.hex()[0] + ends.hex()[-1]


def _listed(numbers: Iterable[int]) -> str:
    return "-".join([str(number) for number in numbers if not is_grease(number)])


def _joined(numbers: Iterable[int]) -> str:
    return "-".join(map(str, numbers))


def _hex(numbers: Iterable[int]) -> str:
    return ",".join([f"{number:04x}" for number in numbers])


def _hash(of: str) -> str:
    return sha256(of.encode()).hexdigest()[:_SHOWN]
