"""The fragments of a batch as columns, and which of them belong to one datagram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np

from ids.decode.columns import Columns
from ids.types import I64, U8, U64, Bool

IPV6_HEADER = 40

Key: TypeAlias = bytes
"""`WORDS` words of 64 bits: what `Fragments.words` says of one of them. As numbers they would take thrice as much."""
WORDS = 6


@dataclass(frozen=True, slots=True)
class Fragments:
    """Fragments in the order of their rows; columns of shape (k,)."""

    row: I64
    ts_ns: I64
    identification: U64
    offset: I64
    """Where the bytes belong in the datagram's payload."""
    more: Bool
    is_v4: Bool
    proto: U8
    header: I64
    """Index of the IP header."""
    header_len: I64
    """Bytes of the header that the datagram gets if this fragment is its first: without IPv6 extension headers."""
    start: I64
    """Index of the fragment's payload."""
    length: I64
    """Bytes of the payload that a host takes."""
    uneven: Bool
    """Not the last fragment, and yet no multiple of 8 bytes."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def end(self) -> I64:
        """Where the bytes end in the datagram's payload."""
        return self.offset + self.length

    def take(self, which: I64 | Bool) -> Fragments:
        """Return the fragments that an index or a mask picks."""
        return Fragments(*(getattr(self, field.name)[which] for field in fields(self)))

    def words(self, columns: Columns) -> tuple[U64, ...]:
        """Return what distinguishes datagrams: VLAN and depth of tunnel too, or one network could poison another's.

        Over IPv4 the protocol is part of it (RFC 791), over IPv6 it is not (RFC 8200 section 4.5).
        """
        src, dst = columns.src[self.row], columns.dst[self.row]
        network = columns.vlan[self.row] << np.uint64(17) | columns.depth[self.row].astype(np.uint64) << np.uint64(9)
        proto = np.where(self.is_v4, self.proto, 256).astype(np.uint64)
        return network | proto, self.identification, src[:, 0], src[:, 1], dst[:, 0], dst[:, 1]


def keys_of(words: Sequence[U64]) -> list[Key]:
    """Return the key of each row of `Fragments.words`."""
    text, size = np.stack(words, axis=1).tobytes(), 8 * WORDS
    return [text[at : at + size] for at in range(0, len(text), size)]


def collect(columns: Columns) -> tuple[Fragments, int]:
    """Return the fragments that decoding set aside, and of how many more the capture lacks a part."""
    parts = columns.fragments
    row = np.concatenate([part.rows for part in parts])
    identification = np.concatenate([part.identification for part in parts]).astype(np.uint64)
    offset = np.concatenate([part.offset for part in parts])
    more = np.concatenate([part.more for part in parts])
    if len(parts) > 1:
        order = np.argsort(row, kind="stable")
        row, identification, offset, more = row[order], identification[order], offset[order], more[order]
    missing = columns.payload_missing[row] != 0
    truncated = int(np.count_nonzero(missing))
    if truncated:
        whole = ~missing
        row, identification, offset, more = row[whole], identification[whole], offset[whole], more[whole]
    is_v4 = columns.ip_version[row] == 4
    header, start, length = columns.l3[row], columns.payload[row], columns.payload_len[row]
    uneven = more & (length & 7 != 0)
    return Fragments(
        row=row,
        ts_ns=columns.batch.ts_ns[row],
        identification=identification,
        offset=offset,
        more=more,
        is_v4=is_v4,
        proto=columns.proto[row],
        header=header,
        header_len=np.where(is_v4, start - header, IPV6_HEADER),
        start=start,
        length=np.where(uneven, length & ~7, length),  # Linux cuts it to whole units
        uneven=uneven,
    ), truncated
