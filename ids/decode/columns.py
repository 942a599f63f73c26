"""The columns of a batch while they are being filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ids.types import I64, U8, U16, U32, U64, Anomaly, Bool, Notes, PacketBatch, Packets, ascending

Verdict: TypeAlias = tuple[Bool, Anomaly]

GOOD, FRAGMENT = np.uint8(Anomaly.NONE), np.uint8(Anomaly.FRAGMENT)
"""For comparisons with columns: an `Anomaly` is no plain number to NumPy, which then takes ten times as long."""

_TCP = 6
NO_NOTES = Notes(np.empty(0, np.int64), np.empty(0, np.uint8))


@dataclass(frozen=True, slots=True)
class FragmentRows:
    """Rows that are fragments, with what reassembly needs besides the columns; shape (k,)."""

    rows: I64
    identification: U32
    offset: I64
    """Where the fragment's bytes belong in the datagram's payload."""
    more: Bool


class Columns:
    """Every column of `Packets`, and some that only decoding needs; all of shape (n,), addresses (n, 2)."""

    def __init__(
        self, batch: PacketBatch, vlan: U64 | None = None, depth: U8 | None = None, given_kind: U16 | None = None
    ) -> None:
        """Start with nothing known but, of packets within others, VLAN ids, depth, and EtherTypes where not 0."""
        n = len(batch)
        self.batch = batch
        self.data = batch.data
        self.frame_end: I64 = batch.offset + batch.caplen
        """Index after the last captured byte of the frame."""
        self.wire_end: I64 = batch.offset + batch.wirelen
        """Where the frame would end had all of it been captured."""
        self.kind: U16 = np.zeros(n, np.uint16)
        """EtherType of what begins at ``l3``."""
        self.given_kind = given_kind
        self.tags: U8 = np.zeros(n, np.uint8)
        """VLAN ids kept so far."""
        self.doubtful: Bool = np.zeros(n, np.bool_)
        self.depth: U8 = np.zeros(n, np.uint8) if depth is None else depth
        self.carrier: I64 = np.full(n, -1, np.int64)
        self.notes: list[tuple[I64, U8]] = []
        """Rows with something odd, and what: `Notes`."""
        self.ip_end: I64 = np.zeros(n, np.int64)
        """Where the packet ends by its IP length; at most ``wire_end``."""
        self.address_sum: U64 = np.zeros(n, np.uint64)
        """Sum of the addresses' 16-bit words modulo 65535, for checksums."""
        self.rerouted: Bool | None = None
        """IPv6 rows on their way to another address than that in the header: their checksum is not for this one."""
        self.partial: Bool = np.zeros(n, np.bool_)
        """Rows whose sender left the TCP or UDP checksum to its device: it holds the sum of the pseudo header."""
        self.excused: Bool = np.zeros(n, np.bool_)
        """Datagrams with a wrong checksum that go on all the same."""
        self.doubt: U8 | None = None
        """Why hosts may drop rows that nothing else is wrong with; an `Anomaly` each, 0: they do not."""
        self.fragments: list[FragmentRows] = []

        self.anomaly: U8 = np.zeros(n, np.uint8)
        self.ip_version: U8 = np.zeros(n, np.uint8)
        self.src: U64 = np.zeros((n, 2), np.uint64)
        self.dst: U64 = np.zeros((n, 2), np.uint64)
        self.proto: U8 = np.zeros(n, np.uint8)
        self.sport: U16 = np.zeros(n, np.uint16)
        self.dport: U16 = np.zeros(n, np.uint16)
        self.vlan: U64 = np.zeros(n, np.uint64) if vlan is None else vlan
        self.ttl: U8 = np.zeros(n, np.uint8)
        self.fragment: Bool = np.zeros(n, np.bool_)
        self.l3: I64
        self.l4: I64
        self.payload: I64
        self.l3, self.l4, self.payload = np.full((3, n), -1, np.int64)
        self.payload_len: I64 = np.zeros(n, np.int64)
        self.payload_missing: I64 = np.zeros(n, np.int64)
        self.tcp_flags: U8 = np.zeros(n, np.uint8)
        self.seq: U32 = np.zeros(n, np.uint32)
        self.ack: U32 = np.zeros(n, np.uint32)
        self.window: U16 = np.zeros(n, np.uint16)

    def good(self) -> Bool:
        """Return which rows nothing was found wrong with so far."""
        good: Bool = self.anomaly == GOOD
        return good

    def judge(self, rows: I64, *verdicts: Verdict) -> Bool | None:
        """Refuse the ``rows`` for which a verdict's mask (one element a row) holds; the first that holds is the reason.

        Returns which of ``rows`` may go on, or None where all may, which is the common and the cheap case.
        """
        refused: Bool | None = None
        for mask, reason in reversed(verdicts):
            if np.count_nonzero(mask):  # a fifth of the cost of any(), which counts in small batches
                self.anomaly[rows[mask]] = reason
                refused = mask if refused is None else refused | mask
        return None if refused is None else ~refused

    def doubt_rows(self, rows: I64, reason: Anomaly) -> None:
        """Refuse ``rows`` when they are decoded; fragments, which need no more of it, at once."""
        if not rows.size:
            return
        if self.doubt is None:
            self.doubt = np.zeros(len(self.batch), np.uint8)
        self.doubt[rows] = reason

    def settle_doubts(self) -> None:
        """Refuse the segments that hosts may drop: a decoy must not take a true one's place in a stream.

        A datagram takes nobody's place, so it is inspected for those hosts that do not drop it.
        """
        if self.doubt is not None:
            self.doubtful = (self.doubt != 0) & self.good() & (self.proto == _TCP)
            self.anomaly[self.doubtful] = self.doubt[self.doubtful]

    def note(self, rows: I64, code: int) -> None:
        """Note something odd about ``rows``; ``code`` is one of `ids.decode.oddities`."""
        if rows.size:
            self.notes.append((rows, np.full(len(rows), code, np.uint8)))

    def set_payload(self, rows: I64, start: I64, end: I64) -> None:
        """Set the payload of ``rows`` to ``start`` .. ``end`` (indices by the headers), cut to what was captured."""
        captured = self.frame_end[rows]
        present = np.maximum(np.minimum(end, captured) - start, 0)
        self.payload[rows] = np.minimum(start, captured)
        self.payload_len[rows] = present
        self.payload_missing[rows] = end - start - present

    def packets(self) -> Packets:
        """Return the finished columns."""
        self.l3[self.ip_version == 0] = -1
        return Packets(
            batch=self.batch,
            anomaly=self.anomaly,
            usable=self.good(),
            ip_version=self.ip_version,
            src=self.src,
            dst=self.dst,
            proto=self.proto,
            sport=self.sport,
            dport=self.dport,
            vlan=self.vlan,
            ttl=self.ttl,
            fragment=self.fragment,
            l3=self.l3,
            l4=self.l4,
            payload=self.payload,
            payload_len=self.payload_len,
            payload_missing=self.payload_missing,
            tcp_flags=self.tcp_flags,
            seq=self.seq,
            ack=self.ack,
            window=self.window,
            doubtful=self.doubtful,
            depth=self.depth,
            carrier=self.carrier,
            notes=self._notes(),
        )

    def _notes(self) -> Notes:
        if not self.notes:
            return NO_NOTES
        row, code = (np.concatenate(column) for column in zip(*self.notes, strict=True))
        once = ascending(row << 8 | code)
        return Notes(once >> 8, (once & 0xFF).astype(np.uint8))
