"""Names of the versions of TLS: as EVE spells them, and as rules do."""

from __future__ import annotations

TLS13 = 0x0304
_NAMES = {
    0x0002: ("SSLv2", b"sslv2"),
    0x0300: ("SSLv3", b"sslv3"),
    0x0301: ("TLSv1", b"1.0"),
    0x0302: ("TLS 1.1", b"1.1"),
    0x0303: ("TLS 1.2", b"1.2"),
    TLS13: ("TLS 1.3", b"1.3"),
}
_DRAFTS = {0x7F: "draft", 0xFB: "draft-fb"}
"""First byte of a version that is a draft of TLS 1.3, by IETF and by Facebook; the second is its number."""


def is_known(version: int) -> bool:
    """Return whether there is such a version."""
    return version in _NAMES or version >> 8 in _DRAFTS


def is_tls13(version: int) -> bool:
    """Return whether a version is TLS 1.3 or a draft of it: certificates are encrypted."""
    return version == TLS13 or version >> 8 in _DRAFTS


def eve_name(version: int) -> str:
    """Return how EVE spells a version."""
    if not version:
        return "UNDETERMINED"
    if version >> 8 in _DRAFTS:
        return f"TLS 1.3 {_DRAFTS[version >> 8]}-{version & 0xFF:02d}"
    return _NAMES[version][0] if version in _NAMES else f"0x{version:04x}"


def rule_name(version: int) -> bytes:
    """Return how rules spell a version; a draft is TLS 1.3 to them."""
    if is_tls13(version):
        version = TLS13
    return _NAMES[version][1] if version in _NAMES else b"0x%04x" % version
