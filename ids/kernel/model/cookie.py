"""The cookie of a challenge, the mark of a SYN: SipHash-2-4 as ``bpf/ids_flood.h`` computes it, to the same bits."""

from __future__ import annotations

import sys

from ids.kernel.model.parse import Packet

SLOT_SHIFT = 33
COOKIE_MASK = 0xFFFF
_MASK = (1 << 64) - 1


def cookie(packet: Packet, secret: tuple[int, int], slot: int) -> int:
    """Return the last 16 bits of what a challenged client sends back in the given slot of time."""
    return _hash(packet, secret, (slot << 32 & _MASK) | _ports(packet)) & COOKIE_MASK


def challenge_ack(isn: int, number: int) -> int:
    """Return what a challenge acknowledges: the last number before the SYN's that ends in the cookie."""
    return (isn - ((isn - number) & COOKIE_MASK)) & 0xFFFFFFFF


def syn_mark(packet: Packet, secret: tuple[int, int]) -> int:
    """Return 64 bits by which a SYN is known when it comes again."""
    return _hash(packet, (secret[0] ^ _MASK, secret[1]), packet.seq << 32 | _ports(packet))


def _hash(packet: Packet, secret: tuple[int, int], last: int) -> int:
    """Return the SipHash of who talks to whom, and of a word.

    The C side loads addresses and ports from memory as they lie there, so words have the machine's byte order.
    """
    state = [
        secret[0] ^ 0x736F6D6570736575,
        secret[1] ^ 0x646F72616E646F6D,
        secret[0] ^ 0x6C7967656E657261,
        secret[1] ^ 0x7465646279746573,
    ]
    for word in [*_ends(packet), last]:
        state[3] ^= word
        _round(state)
        _round(state)
        state[0] ^= word
    state[2] ^= 0xFF
    for _ in range(4):
        _round(state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _ends(packet: Packet) -> list[int]:
    src, dst = packet.src, packet.dst
    if packet.version == 4:
        return [_native(src) << 32 | _native(dst)]
    return [_native(src[:8]), _native(src[8:]), _native(dst[:8]), _native(dst[8:])]


def _ports(packet: Packet) -> int:
    return _native(packet.sport) << 16 | _native(packet.dport)


def _native(field: bytes) -> int:
    return int.from_bytes(field, sys.byteorder)


def _rotate(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _MASK


def _round(state: list[int]) -> None:
    v0, v1, v2, v3 = state
    v0 = (v0 + v1) & _MASK
    v1 = _rotate(v1, 13) ^ v0
    v0 = _rotate(v0, 32)
    v2 = (v2 + v3) & _MASK
    v3 = _rotate(v3, 16) ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = _rotate(v3, 21) ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = _rotate(v1, 17) ^ v2
    v2 = _rotate(v2, 32)
    state[:] = v0, v1, v2, v3
