"""Whose TCP segments need no checksum? Those of hosts that are known to leave them to their device.

Between virtual interfaces nobody completes such a checksum (CHECKSUM_PARTIAL), and the receiver does not look at it.
One that comes over a wire like that is wrong, and its receiver ignores the segment; yet its bytes are the same. So a
client on a wire could slip segments into its stream for the engine alone.

THEORY. (1) What was answered was accepted. Where a SYN with such a checksum gets its SYN/ACK, or such a SYN/ACK its
    acknowledgement, the sender leaves checksums to its device. These two are always taken, as they only open:
    `ids.flow.handshake` waits for the answer, too.
(2) Unless that sender opened the same connection with a right checksum as well: then that was answered. No later
    acknowledgement of a connection may pass for one of a SYN/ACK; so the SYN must be as recent as what (2) looks at.
(3) Nobody answers himself: the answer comes in where the opening did not, or is sent by this host.
(4) Of a SYN that the gate has answered by a cookie nobody knows the checksum (`PacketBatch.unsummed`). It is taken for
    one that was left out, or a flood would blind us to virtual hosts.

What remains: a host that does leave checksums out can send a segment with a wrong one just like that, which its peer
ignores. To distinguish the two, one would have to see the socket buffer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ids.counters import Counters
from ids.decode.columns import Columns
from ids.decode.hashing import mix
from ids.decode.transport import TCP
from ids.types import I64, U32, U64, Anomaly, Bool

SYN, ACK = 0x02, 0x10

MAX_WAITING = 1 << 16
"""Openings that wait for their answer. Each has one place, by the number that it waits for, which another one may take
over: then its sender is learned by its next connection. So many are open at once only in a flood."""
MAX_RECENT = 1 << 17
"""Openings that are remembered, the newest ones; a SYN/ACK is repeated for about a minute: 2,000 a second."""
MAX_SENDERS = 1 << 16
"""Senders known at once; the least recently used gives way. A large hypervisor has a hundredth of that."""
SENDER_TIMEOUT_NS = 3600 * 10**9
"""How long an address is believed that sends nothing: later it may be another host's. A connection may rest so long."""

_SLOT = np.uint32(MAX_WAITING - 1)
_ONE = np.uint32(1)


class Senders:
    """Addresses, by their hash, each with the time it was last used; sorted, so that a batch is looked up at once."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._known: U64 = np.empty(0, np.uint64)
        self._used_ns: I64 = np.empty(0, np.int64)

    def has(self, hashes: U64, now_ns: int) -> Bool:
        """Return which are known; those are used now."""
        if not self._known.size:
            return np.zeros(len(hashes), np.bool_)
        at = np.minimum(np.searchsorted(self._known, hashes), self._known.size - 1)
        found: Bool = (self._known[at] == hashes) & (self._used_ns[at] >= now_ns - SENDER_TIMEOUT_NS)
        self._used_ns[at[found]] = now_ns
        return found

    def add(self, hashes: U64, now_ns: int) -> None:
        """Take in senders; forget those that were silent for too long, or longest."""
        new = np.setdiff1d(hashes, self._known)
        self._used_ns[np.isin(self._known, hashes)] = now_ns
        live = self._used_ns >= now_ns - SENDER_TIMEOUT_NS
        known = np.concatenate((self._known[live], new))
        used_ns = np.concatenate((self._used_ns[live], np.full(len(new), now_ns, np.int64)))
        excess = len(known) - MAX_SENDERS
        if excess > 0:
            newest = np.argsort(used_ns, kind="stable")[excess:]
            known, used_ns = known[newest], used_ns[newest]
            self._counters.add("decode.offload.evicted", excess)
        order = np.argsort(known)
        self._known, self._used_ns = known[order], used_ns[order]
        self._counters.add("decode.offload.learned", len(new))
        self._counters.set("decode.offload.senders", len(known))


class Openings:
    """SYNs and SYN/ACKs, as hashes: which ones wait for an answer, and which connections they were of."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._number: U32 = np.zeros(MAX_WAITING, np.uint32)
        self._waiting: U64 = np.zeros(MAX_WAITING, np.uint64)
        self._interface: U32 = np.zeros(MAX_WAITING, np.uint32)
        self._recent: U64 = np.zeros(MAX_RECENT, np.uint64)
        self._next = 0
        self.any = False
        """Whether a checksum was ever left out: over most wires never, and then no answer is looked for."""

    def note(self, columns: Columns, rows: I64) -> None:
        """Remember those among ``rows``, which are TCP segments."""
        rows = rows[columns.tcp_flags[rows] & SYN != 0]
        if not rows.size:
            return
        is_reply = columns.tcp_flags[rows] & ACK != 0
        unsummed = _unsummed(columns, rows)
        left_out = columns.partial[rows] | (unsummed & ~is_reply)
        summed = ~columns.partial[rows] & ~unsummed
        at = (self._next + np.arange(len(rows))) % MAX_RECENT
        self._recent[at] = _connections(columns, rows, summed)
        self._next = (self._next + len(rows)) % MAX_RECENT
        if left_out.any():
            self._wait(columns, rows[left_out], is_reply[left_out])

    def answers(self, columns: Columns, rows: I64) -> I64:
        """Return those among ``rows`` that acknowledge an opening whose checksum was left out."""
        rows = rows[columns.tcp_flags[rows] & ACK != 0]
        number = columns.ack[rows]
        rows = rows[self._number[number & _SLOT] == number]  # nearly none is left
        if not rows.size:
            return rows
        to_reply = columns.tcp_flags[rows] & SYN == 0
        number = columns.ack[rows]
        keys = mix(_connections(columns, rows, to_reply, turned=True), number.astype(np.uint64))
        slot = number & _SLOT
        elsewhere = (self._interface[slot] != columns.batch.interface[rows]) | _unsummed(columns, rows)
        found: I64 = rows[(self._waiting[slot] == keys) & elsewhere]
        return found

    def proofs(self, columns: Columns, answers: I64) -> I64:
        """Return those among ``answers`` that are meant for nothing else. Costs a look at all recent openings."""
        no, yes = np.zeros(len(answers), np.bool_), np.ones(len(answers), np.bool_)
        also_summed = self._is_recent(_connections(columns, answers, yes, turned=True))
        asked = self._is_recent(_connections(columns, answers, yes))
        asked |= self._is_recent(_connections(columns, answers, no))
        proven: I64 = answers[~also_summed & (asked | (columns.tcp_flags[answers] & SYN != 0))]
        return proven

    def _is_recent(self, connections: U64) -> Bool:
        found: Bool = np.isin(connections, self._recent[np.isin(self._recent, connections)])
        return found

    def _wait(self, columns: Columns, rows: I64, is_reply: Bool) -> None:
        first, data = columns.seq[rows] + _ONE, columns.payload_len[rows].astype(np.uint32)
        carries = data > 0  # it is accepted with the SYN or not (RFC 7413)
        number = np.concatenate((first, (first + data)[carries]))
        rows = np.concatenate((rows, rows[carries]))
        connections = _connections(columns, rows, np.concatenate((is_reply, is_reply[carries])))
        keys = mix(connections, number.astype(np.uint64))
        slot = number & _SLOT
        held = self._waiting[slot]
        displaced = int(((held != 0) & (held != keys)).sum())
        if displaced:
            self._counters.add("decode.offload.displaced", displaced)
        self._number[slot], self._waiting[slot] = number, keys
        self._interface[slot] = columns.batch.interface[rows]
        self.any = True


class Offloaders:
    """Judge TCP segments whose checksum was left to a device; remembers openings and senders from batch to batch."""

    def __init__(self, counters: Counters) -> None:
        self._openings = Openings(counters)
        self._senders = Senders(counters)

    def judge(self, parts: Sequence[Columns]) -> None:
        """Refuse such segments in ``parts``, which came together, of senders that are not known to leave them out.

        All evidence is heard before: in what order packets of one batch were captured says little.
        """
        segments = [np.flatnonzero(part.good() & (part.proto == TCP)) for part in parts]
        for part, rows in zip(parts, segments, strict=True):
            self._openings.note(part, rows)
        for part, rows in zip(parts, segments, strict=True):
            if self._openings.any:
                self._learn(part, rows)
        for part, rows in zip(parts, segments, strict=True):
            if not np.count_nonzero(part.partial):
                continue
            rows = rows[part.partial[rows] & (part.tcp_flags[rows] & SYN == 0)]
            if rows.size:
                known = self._senders.has(mix(*part.src[rows].T), _now_ns(part))
                part.judge(rows, (~known, Anomaly.PARTIAL_L4_CHECKSUM))

    def _learn(self, columns: Columns, rows: I64) -> None:
        answers = self._openings.answers(columns, rows)
        if answers.size:
            answers = answers[~self._senders.has(mix(*columns.dst[answers].T), _now_ns(columns))]
        if answers.size:
            answers = self._openings.proofs(columns, answers)
            self._senders.add(mix(*columns.dst[answers].T), _now_ns(columns))


def _now_ns(columns: Columns) -> int:
    return int(columns.batch.ts_ns.max())


def _unsummed(columns: Columns, rows: I64) -> Bool:
    unsummed = columns.batch.unsummed
    return np.zeros(len(rows), np.bool_) if unsummed is None else unsummed[rows]


def _connections(columns: Columns, rows: I64, mark: Bool, *, turned: bool = False) -> U64:
    """Hash the connection of each row, from its sender's side, or with ``turned`` from its receiver's; and ``mark``."""
    src, dst, sport, dport = columns.src[rows], columns.dst[rows], columns.sport[rows], columns.dport[rows]
    if turned:
        src, dst, sport, dport = dst, src, dport, sport
    ports = sport.astype(np.uint64) << np.uint64(16) | dport
    return mix(*src.T, *dst.T, ports << np.uint64(1) | mark)
