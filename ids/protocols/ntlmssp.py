"""Who logs on by NTLM ([MS-NLMP] 2.2.1): the message in which a client names user, domain and host.

It stands in tokens of SMB, LDAP, HTTP, DCE/RPC and others, alone or wrapped in SPNEGO; it is found by its signature.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

SIGNATURE = b"NTLMSSP\0"
_AUTHENTICATE = 3
_UNICODE, _WITH_VERSION = 0x1, 0x2000000
_HEAD = 64
_FIELD = Struct("<HxxI").unpack_from
_NUMBER = Struct("<I").unpack_from
_DOMAIN, _USER, _HOST, _FLAGS, _VERSION = 28, 36, 44, 60, 64
MAX_NAME = 1024
"""Bytes of a name that are read."""


class Malformed(ValueError):
    """A message whose names lie outside of it."""


class Logon(NamedTuple):
    """What a client says of itself."""

    domain: bytes
    user: bytes
    host: bytes
    version: str | None
    """Of its system, as Suricata writes it."""


def logon(token: bytes) -> Logon | None:
    """Return who logs on by a token; None where it does not say so. Raise `Malformed`."""
    at = token.find(SIGNATURE)
    if at < 0 or len(token) < at + 12 or _NUMBER(token, at + 8)[0] != _AUTHENTICATE:
        return None
    message = token[at:]
    if len(message) < _HEAD:
        raise Malformed("it is cut off")
    flags = int(_NUMBER(message, _FLAGS)[0])
    domain, user, host = (_name(message, field, flags) for field in (_DOMAIN, _USER, _HOST))
    version = None
    if flags & _WITH_VERSION and len(message) >= _VERSION + 8:
        major, minor = message[_VERSION], message[_VERSION + 1]
        build = message[_VERSION + 2] | message[_VERSION + 3] << 8
        version = f"{major}.{minor} build {build} rev {message[_VERSION + 7]}"
    return Logon(domain, user, host, version)


def _name(message: bytes, field: int, flags: int) -> bytes:
    size, start = _FIELD(message, field)
    if not size:
        return b""
    if start + size > len(message) or start < 12:
        raise Malformed("a name lies outside")
    raw = message[start : start + min(size, MAX_NAME)]
    if flags & _UNICODE:
        return raw.decode("utf-16-le", "replace").replace("\0", "").encode("utf-8", "replace")
    return raw.replace(b"\0", b"")
