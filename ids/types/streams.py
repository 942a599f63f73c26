"""What the flow stage hands on: the bytes of a batch, TCP's as streams and the others' as datagrams, in columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ids.types.arrays import I64, U8, Bool, ascending
from ids.types.flows import Flow, FlowColumns
from ids.types.packets import Direction
from ids.types.transactions import Transaction


@dataclass(slots=True)
class StreamChunk:
    """Contiguous, newly inspectable bytes of one direction of a TCP flow: one row of `Streams`.

    Not to be changed by whom it is handed to.
    """

    flow: Flow
    direction: Direction
    offset: int
    """Stream offset of ``data[0]``; 0 is the first byte after the SYN (or the first byte seen, when midstream)."""
    data: bytes
    ts_ns: int
    """Arrival of the packet that completed the chunk."""
    number: int
    """`PacketBatch.number` of the packet that completed the chunk."""
    gap: int = 0
    """Bytes lost for good directly before ``data``; ``offset`` already counts them."""
    conflict: bool = False
    """Some of these bytes were sent more than once, with different content; the first content is in ``data``."""
    closed: bool = False
    """No more bytes will come in this direction (``data`` may then be empty)."""


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Which packet brought which bytes of `Streams.data`: a row a packet, in the order of the bytes."""

    end: I64
    """Index in ``data`` behind its last byte."""
    ts_ns: I64
    number: I64


_COLUMNS = ("slot", "direction", "offset", "start", "end", "gap", "conflict", "closed", "ts_ns", "number")


class Completed(NamedTuple):
    """What a row completed."""

    row: int
    ended: Sequence[int] | None
    """Stream offsets behind its messages as its parser says them; None: these are its transactions."""
    transactions: Sequence[Transaction]


@dataclass(frozen=True, eq=False)
class Streams:
    """The TCP bytes that became contiguous in one batch: a row a chunk, in the order of the completing packets.

    The rows of one direction of a flow are in stream order. The last row of a direction has ``closed`` set, exactly
    once in its life.
    """

    flows: FlowColumns
    data: bytes
    """The bytes of all rows, one behind the other, in the order of the rows."""
    slot: I64
    """Slot in ``flows``."""
    direction: U8
    offset: I64
    """Stream offset of the first byte; 0 is the first byte after the SYN (or the first byte seen, when midstream)."""
    start: I64
    """Index in ``data`` of the first byte."""
    end: I64
    """Index in ``data`` behind the last byte; equal to ``start`` where a row has no bytes."""
    gap: I64
    """Bytes lost for good directly before; ``offset`` already counts them."""
    conflict: Bool
    """Some of these bytes were sent more than once, with different content; the first content is in ``data``."""
    closed: Bool
    """No more bytes will come in this direction."""
    ts_ns: I64
    """Arrival of the packet that completed the row."""
    number: I64
    """`PacketBatch.number` of that packet."""
    arrivals: Arrivals | None = None
    """None where each row is of one packet."""
    completed: dict[tuple[int, int], list[Completed]] = field(default_factory=dict)
    """By slot and direction: what rows completed of protocols where rules on raw bytes are to see each message
    (`ids.protocols.protocol.Protocol.by_message`). Whoever feeds parsers fills it; see `message_ends`."""
    exchanged: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By slot, of flows with nothing but one row of each side: that these rows are a message each. Likewise."""

    def __len__(self) -> int:
        return len(self.slot)

    def rows(self, start: int, stop: int) -> Streams:
        """Return some rows that follow each other, of the same bytes."""
        at = slice(start, stop)
        return replace(self, completed={}, exchanged={}, **{name: getattr(self, name)[at] for name in _COLUMNS})

    def packet_at(self, row: int, behind: int) -> tuple[int, int]:
        """Return ``ts_ns`` and ``number`` of the packet with the last byte of a row but ``behind`` ones.

        Where the row is not longer than that it is the row's first packet: never one of an earlier row.
        """
        start, end = int(self.start[row]), int(self.end[row])
        if self.arrivals is None or start == end:
            return int(self.ts_ns[row]), int(self.number[row])
        piece = int(np.searchsorted(self.arrivals.end, max(end - behind, start + 1)))
        return int(self.arrivals.ts_ns[piece]), int(self.arrivals.number[piece])

    def packet_ends(self, row: int) -> I64:
        """Return the stream offsets behind each packet's bytes in a row, ascending; the last is the row's end."""
        start, end, offset = int(self.start[row]), int(self.end[row]), int(self.offset[row])
        if self.arrivals is None or start == end:
            return np.array([offset + end - start], np.int64)
        first, last = np.searchsorted(self.arrivals.end, (start + 1, end))
        return self.arrivals.end[first : last + 1] - start + offset

    def message_ends(self, slot: int, side: int) -> list[int]:
        """Return the stream offsets, ascending, behind the messages that the batch completed of a direction.

        Where its parser says so of what is no transaction, a packet with several counts as one, as in Suricata: of the
        records of a TLS handshake there are always several.
        """
        ends: list[int] = []
        if (rows := self.exchanged.get(slot)) is not None:
            row = rows[side]
            return [int(self.offset[row] + self.end[row] - self.start[row])]
        for row, ended, transactions in self.completed.get((slot, side), ()):
            end = int(self.offset[row] + self.end[row] - self.start[row])
            if ended is None:
                mine = (one for one in transactions if one.direction == side)
                ends += [end - one.behind for one in mine if not one.partial and one.tx_id >= 0]
            elif ended:
                packets = self.packet_ends(row)
                places = np.searchsorted(packets, end - np.array(ended))
                ends += packets[ascending(np.minimum(places, len(packets) - 1))].tolist()
        return ends

    def content(self, row: int) -> bytes:
        """Return the bytes of a row."""
        return self.data[self.start[row] : self.end[row]]

    def chunk(self, row: int) -> StreamChunk:
        """Return a row as an object."""
        return StreamChunk(
            self.flows.view(int(self.slot[row])),
            Direction(int(self.direction[row])),
            int(self.offset[row]),
            self.content(row),
            int(self.ts_ns[row]),
            int(self.number[row]),
            int(self.gap[row]),
            bool(self.conflict[row]),
            bool(self.closed[row]),
        )

    @cached_property
    def chunks(self) -> list[StreamChunk]:
        """All rows as objects; made when first asked for."""
        return [self.chunk(row) for row in range(len(self))]

    def __iter__(self) -> Iterator[StreamChunk]:
        return iter(self.chunks)


@dataclass(slots=True)
class Datagram:
    """The payload of one packet that is not TCP's: one row of `Datagrams`."""

    flow: Flow
    direction: Direction
    data: bytes
    ts_ns: int
    number: int


@dataclass(frozen=True, eq=False)
class Datagrams:
    """The payloads of one batch that are no part of a stream (UDP, ICMP and so on), empty ones left out: a row each."""

    flows: FlowColumns
    data: bytes
    """All payloads, one behind the other."""
    slot: I64
    direction: U8
    start: I64
    """Index in ``data``; row i ends where row i + 1 starts, and the last one at the end of ``data``."""
    end: I64
    ts_ns: I64
    number: I64
    packet: I64
    """Row of the packet in its batch (`Packets`)."""

    def __len__(self) -> int:
        return len(self.slot)

    def content(self, row: int) -> bytes:
        """Return the payload of a row."""
        return self.data[self.start[row] : self.end[row]]

    def datagram(self, row: int) -> Datagram:
        """Return a row as an object."""
        return Datagram(
            self.flows.view(int(self.slot[row])),
            Direction(int(self.direction[row])),
            self.content(row),
            int(self.ts_ns[row]),
            int(self.number[row]),
        )

    def __iter__(self) -> Iterator[Datagram]:
        return (self.datagram(row) for row in range(len(self)))


class Noted(NamedTuple):
    """Something remarkable about one direction of a TCP connection: an `anomaly` event."""

    slot: int
    direction: int
    note: IntEnum
    """`ids.flow.notes.Note`."""
    event: str
    """Its name in events."""
    ts_ns: int
    number: int
    again: bool = False
    """It was noted of the direction before."""


class FlowBatch:
    """What the flow stage made of one batch."""

    def __init__(
        self,
        flows: FlowColumns,
        slot: I64,
        direction: U8,
        streams: Streams,
        gather_datagrams: Callable[[], Datagrams],
        started: I64,
        ended: I64,
        notes: Sequence[Noted] = (),
    ) -> None:
        self.flows = flows
        self.slot = slot
        """Slot of each packet's flow; -1 for a packet without one."""
        self.direction = direction
        """`Direction` of each packet."""
        self.streams = streams
        self._gather_datagrams = gather_datagrams
        self.started = started
        """Slots of the flows that began; among them those of variants (`FlowColumns.primary`), as in ``ended``."""
        self.ended = ended
        """Slots of the flows that closed or timed out, in that order; they get no more bytes. Each keeps its slot until
        the next batch."""
        self.notes = notes
        """What is remarkable about TCP connections."""

    @cached_property
    def touched(self) -> I64:
        """Slots of the flows that the batch touched, in the order of their first packet in it."""
        found, first = np.unique(self.slot[self.slot >= 0], return_index=True)
        return found[np.argsort(first)]

    @cached_property
    def datagrams(self) -> Datagrams:
        """The payloads that are no part of a stream; gathered when first asked for."""
        return self._gather_datagrams()
