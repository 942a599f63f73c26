"""The heads of QUIC packets (RFC 9000 section 17.2, RFC 9369), and of Google's QUIC with long heads (Q046, Q050).

A datagram has one packet or several, each behind its length. Those with a short head say nothing in clear.
"""

from __future__ import annotations

from typing import NamedTuple

LONG = 0x80
"""Bit of the first byte of a packet with a long head."""
_FIXED = 0x40
V1, V2 = 1, 0x6B3343CF
Q046, Q050, T050, T051 = 0x51303436, 0x51303530, 0x54303530, 0x54303531
_DRAFTS = range(0xFF000017, 0xFF000023)
"""Drafts 23 to 34; before them the heads were others."""
_MVFST = frozenset({0xFACEB001, 0xFACEB002, 0xFACEB00E})
"""Facebook's: draft 23 and later in all but name."""
MAX_ID = 20
"""Bytes of a connection's id (RFC 9000 section 17.2)."""
_GOOGLE_HASH = 12
"""Bytes of the hash that stands before the frames of an unencrypted packet of Q046."""

INITIAL, ZERO_RTT, HANDSHAKE, RETRY, NEGOTIATION = range(5)
_TYPES = (INITIAL, ZERO_RTT, HANDSHAKE, RETRY)
_TYPES_V2 = (RETRY, INITIAL, ZERO_RTT, HANDSHAKE)


class Malformed(Exception):
    """No packet begins there."""


class Packet(NamedTuple):
    """A packet with a long head: where it lies in its datagram, and what its head says."""

    kind: int
    version: int
    dcid: bytes
    scid: bytes
    start: int
    payload: int
    """Where what its length counts begins: its number, then its frames."""
    end: int


def is_known(version: int) -> bool:
    """Return whether packets of a version are read."""
    return version in (V1, V2, Q046, Q050, T050, T051) or version in _DRAFTS or version in _MVFST


def version_name(version: int) -> str:
    """Return how EVE spells a version."""
    if version >> 24 in (0x51, 0x54):
        return version.to_bytes(4, "big").decode("latin-1")
    return "v2" if version == V2 else f"{version:x}"


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length (RFC 9000 section 16), and where it ends; raises `Malformed`."""
    if at >= len(data):
        raise Malformed
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        raise Malformed
    return int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


def read_packet(data: bytes, start: int) -> Packet:
    """Return the packet with a long head that begins at an offset; raises `Malformed`."""
    if len(data) - start < 7 or not data[start] & LONG:
        raise Malformed
    first = data[start]
    version = int.from_bytes(data[start + 1 : start + 5], "big")
    at = start + 5
    if version == Q046:
        return _read_google(data, start, first)
    dcid, at = _id(data, at)
    scid, at = _id(data, at)
    if not version:
        return Packet(NEGOTIATION, version, dcid, scid, start, at, len(data))
    if not is_known(version) or not first & _FIXED:
        raise Malformed
    kind = (_TYPES_V2 if version == V2 else _TYPES)[first >> 4 & 3]
    if kind == RETRY:
        return Packet(kind, version, dcid, scid, start, at, len(data))
    if kind == INITIAL:
        token, at = varint(data, at)
        at += token
    length, at = varint(data, at)
    if at + length > len(data):
        raise Malformed
    return Packet(kind, version, dcid, scid, start, at, at + length)


def _id(data: bytes, at: int) -> tuple[bytes, int]:
    """Return an id behind its length, and where it ends."""
    if at >= len(data) or data[at] > MAX_ID or at + 1 + data[at] > len(data):
        raise Malformed
    end = at + 1 + data[at]
    return data[at + 1 : end], end


def _read_google(data: bytes, start: int, first: int) -> Packet:
    """Return a packet of Q046: its ids have 4 to 18 bytes, and it takes all of its datagram."""
    at = start + 6
    sizes = [nibble + 3 if nibble else 0 for nibble in (data[start + 5] >> 4, data[start + 5] & 15)]
    dcid, scid = data[at : at + sizes[0]], data[at + sizes[0] : at + sum(sizes)]
    at += sum(sizes) + (first & 3) + 1
    if at > len(data):
        raise Malformed
    return Packet(INITIAL, Q046, dcid, scid, start, min(at + _GOOGLE_HASH, len(data)), len(data))


def is_quic(data: bytes) -> bool:
    """Return whether a datagram begins with a packet of a version that is known, or with a list of such versions."""
    try:
        packet = read_packet(data, 0)
    except Malformed:
        return False
    if packet.kind != NEGOTIATION:
        return True
    offered = data[packet.payload :]
    return len(offered) % 4 == 0 and any(
        is_known(int.from_bytes(offered[at : at + 4], "big")) for at in range(0, min(len(offered), 128), 4)
    )
