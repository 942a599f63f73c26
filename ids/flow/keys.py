"""Group the rows of a batch by conversation: both directions of a 5-tuple with VLAN and depth are one group.

Rows are sorted by a 64-bit hash with a random seed per process. Nobody can aim at a collision without knowing the seed,
and correctness does not rest on that: where two keys of one hash differ, the batch is grouped by whole keys instead.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ids.types import I64, U8, U64, Bool, Packets, among

PROTO_ICMP = 1
PROTO_TCP = 6
PROTO_UDP = 17
PROTO_ICMPV6 = 58

KEY_WORDS = 6
KEY_BYTES = 8 * KEY_WORDS

_SEED = np.uint64(secrets.randbits(64))
_MULTIPLIERS = tuple(np.uint64(secrets.randbits(64) | 1) for _ in range(KEY_WORDS))
_FOLD = np.uint64(32)
_TWO_TAGS = np.uint64(0xFFFFFFFF)


def _counterparts(pairs: tuple[tuple[int, int], ...]) -> npt.NDArray[np.uint64]:
    table = np.arange(256, dtype=np.uint64)
    for query, answer in pairs:
        table[query], table[answer] = answer, query
    return table


# Question and answer of one exchange: RFC 792, RFC 950, RFC 1256; RFC 4443, RFC 4861, RFC 2710, RFC 4620.
_ICMP_ANSWER = _counterparts(((8, 0), (13, 14), (15, 16), (17, 18), (10, 9)))
_ICMPV6_ANSWER = _counterparts(((128, 129), (133, 134), (135, 136), (130, 131), (139, 140)))
_ECHO = (8, 0)
_ECHO6 = (128, 129)


@dataclass(frozen=True, slots=True)
class Groups:
    """The usable rows of a batch, sorted by conversation and, within one, in packet order. ``m`` rows, ``g`` groups."""

    rows: I64
    """Row of the batch at each sorted position, shape (m,)."""
    reverse: U8
    """1 where the sender is the key's second endpoint, shape (m,)."""
    starts: I64
    """First sorted position of each group, ascending, shape (g,)."""
    ends: I64
    """One past the last sorted position of each group, shape (g,)."""
    keys: list[bytes]
    """The whole key of each group."""
    order: I64
    """Groups in the order of their first packet."""


def group(packets: Packets, clock: I64, longest_pause_ns: int) -> Groups:
    """Group the usable rows of ``packets``.

    ``clock`` is the time of each row, never going back. A pause of more than ``longest_pause_ns`` within a conversation
    starts another group of the same key: the flow may have timed out in between.
    """
    rows = np.flatnonzero(packets.usable)
    words, reverse = _key_words(packets, rows)
    position, starts = _sort(words, hash_of(words))
    rows = rows[position]
    pauses = np.flatnonzero(np.diff(clock[rows]) > longest_pause_ns) + 1
    if len(pauses):
        starts = np.union1d(starts, pauses)
    ends = np.append(starts[1:], len(rows))
    first = position[starts]
    text = np.stack([word[first] for word in words], axis=1).tobytes()
    keys = [text[at : at + KEY_BYTES] for at in range(0, len(text), KEY_BYTES)]
    return Groups(rows, reverse[position], starts, ends, keys, np.argsort(rows[starts]))


def echo_ids(packets: Packets, rows: I64) -> I64:
    """Return the identifier of each usable ICMP echo and its reply (RFC 792; RFC 4443, section 4); -1 for all else."""
    proto, version, kind = packets.proto[rows], packets.ip_version[rows], packets.sport[rows]
    echo = (proto == PROTO_ICMP) & (version == 4) & among(kind, _ECHO)
    echo |= (proto == PROTO_ICMPV6) & (version == 6) & among(kind, _ECHO6)
    echo &= packets.usable[rows]
    data, at = packets.batch.data, packets.l4[rows[echo]]
    identifiers = np.full(len(rows), -1, dtype=np.int64)
    identifiers[echo] = data[at + 4].astype(np.int64) << 8 | data[at + 5]
    return identifiers


def answer_to(proto: int, kind: int) -> int:
    """Return the type of the ICMP message that answers one of this type, or which it answers; else the same type."""
    return int((_ICMPV6_ANSWER if proto == PROTO_ICMPV6 else _ICMP_ANSWER)[kind & 0xFF])


def _key_words(packets: Packets, rows: I64) -> tuple[list[U64], U8]:
    """Return the key as six 64-bit columns, the smaller endpoint first, and whether each row was turned round.

    Echoes of different identifiers are different conversations, as they are for the gate.
    """
    src, dst = packets.src[rows], packets.dst[rows]
    src_high, src_low, dst_high, dst_low = src[:, 0], src[:, 1], dst[:, 0], dst[:, 1]
    proto = packets.proto[rows].astype(np.uint64)
    last = proto << 8 | packets.ip_version[rows]
    vlan = packets.vlan[rows]
    last |= packets.depth[rows].astype(np.uint64) << 40 | vlan >> 32 << 48
    sport, dport = packets.sport[rows].astype(np.uint64), packets.dport[rows].astype(np.uint64)
    for number, answer in ((PROTO_ICMP, _ICMP_ANSWER), (PROTO_ICMPV6, _ICMPV6_ANSWER)):
        icmp = np.flatnonzero(proto == number)
        if len(icmp):
            dport[icmp] = answer[sport[icmp] & 0xFF]
            last[icmp] |= (echo_ids(packets, rows[icmp]) + 1).astype(np.uint64) << 16
    turned = (src_high > dst_high) | (
        (src_high == dst_high) & ((src_low > dst_low) | ((src_low == dst_low) & (sport > dport)))
    )
    ports = np.where(turned, dport << 16 | sport, sport << 16 | dport)
    words = [
        np.where(turned, dst_high, src_high),
        np.where(turned, dst_low, src_low),
        np.where(turned, src_high, dst_high),
        np.where(turned, src_low, dst_low),
        ports << 32 | vlan & _TWO_TAGS,
        last,
    ]
    return words, turned.astype(np.uint8)


def hash_of(words: list[U64]) -> U64:
    """Return a hash of each key; different keys may have the same."""
    value = np.full(len(words[0]), _SEED)
    for word, multiplier in zip(words, _MULTIPLIERS, strict=True):
        value ^= word
        value *= multiplier
        value ^= value >> _FOLD
    return value


def _sort(words: list[U64], hashed: U64) -> tuple[I64, I64]:
    """Return the positions sorted by key, stable, and where in them each key starts."""
    position: I64 = np.argsort(hashed, kind="stable")
    ordered = hashed[position]
    same_hash: Bool = ordered[1:] == ordered[:-1]
    different_key = np.zeros(len(same_hash), dtype=np.bool_)
    for word in words:
        ordered = word[position]
        different_key |= ordered[1:] != ordered[:-1]
    if bool((same_hash & different_key).any()):
        position = np.lexsort(words)
        different_key[:] = False
        for word in words:
            ordered = word[position]
            different_key |= ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(different_key) + 1
    return position, np.concatenate([np.zeros(min(1, len(position)), dtype=np.int64), starts])
