"""The cookie of a challenge: SipHash-2-4 as ``bpf/ids_flood.h`` computes it, to the same bits."""

from __future__ import annotations

import sys

from ids.kernel.model.parse import Packet

SLOT_SHIFT = 33
_MASK = (1 << 64) - 1


def cookie(packet: Packet, secret: tuple[int, int], slot: int) -> int:
    """Return the 32 bits that a challenged client sends back in the given slot of time.

    The C side loads addresses and ports from memory as they lie there, so words have the machine's byte order.
    """
    state = [
        secret[0] ^ 0x736F6D6570736575,
        secret[1] ^ 0x646F72616E646F6D,
        secret[0] ^ 0x6C7967656E657261,
        secret[1] ^ 0x7465646279746573,
    ]
    for word in _words(packet, slot):
        state[3] ^= word
        _round(state)
        _round(state)
        state[0] ^= word
    state[2] ^= 0xFF
    for _ in range(4):
        _round(state)
    return (state[0] ^ state[1] ^ state[2] ^ state[3]) & 0xFFFFFFFF


def _words(packet: Packet, slot: int) -> list[int]:
    src, dst = packet.src, packet.dst
    if packet.version == 4:
        words = [_native(src) << 32 | _native(dst)]
    else:
        words = [_native(src[:8]), _native(src[8:]), _native(dst[:8]), _native(dst[8:])]
    return [*words, (slot << 32 & _MASK) | _native(packet.sport) << 16 | _native(packet.dport)]


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
