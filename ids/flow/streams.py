"""Gather what a batch brings into `ids.types.Streams` and `ids.types.Datagrams`: columns, and one buffer of bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ids.flow.inorder import Turns
from ids.flow.keys import PROTO_TCP
from ids.flow.reassembly import Chunk, Reassembly
from ids.types import I64, U8, Arrivals, Bool, Datagrams, FlowColumns, Packets, Streams

_COLUMNS = ("row", "slot", "direction", "offset", "ts_ns", "number", "gap", "conflict", "closed")


class _Laid(NamedTuple):
    data: list[bytes | memoryview]
    arrivals: Arrivals | None


class StreamsBuilder:
    """Collects the chunks of a batch: whole turns of orderly flows, ends of directions, and single chunks."""

    def __init__(self, shared: Reassembly) -> None:
        self.shared = shared
        """Its ``chunks`` are those of the careful way."""
        self._parts: list[dict[str, NDArray[Any]]] = []
        self._turns: list[tuple[Turns, I64, I64]] = []
        """Turns, which of them, and how many bytes of each."""
        self._packets: Packets | None = None
        """Those of the batch, where turns were delivered."""
        self._turn_count = 0

    def close(self, row: I64, slot: I64, direction: int, offset: I64, ts_ns: I64, number: I64) -> None:
        """Add a chunk without bytes for each direction that ended."""
        if not len(row):
            return
        none = np.zeros(len(row), np.int64)
        self._parts.append(
            {
                "row": row, "slot": slot, "direction": np.full(len(row), direction), "offset": offset, "ts_ns": ts_ns,
                "number": number, "gap": none, "conflict": none, "closed": none + 1, "size": none, "turn": none - 1,
            }
        )  # fmt: skip

    def deliver(
        self,
        turns: Turns,
        chosen: I64,
        slot: I64,
        direction: U8,
        offset: I64,
        size: I64,
        gap: I64,
        closed: Bool,
        packets: Packets,
    ) -> None:
        """Add the first ``size`` bytes of the ``chosen`` turns of a batch, behind ``gap`` bytes that were passed over.

        They all lie in one buffer.
        """
        if not len(chosen):
            return
        row = turns.last_row[chosen]
        none = np.zeros(len(row), np.int64)
        self._turns.append((turns, chosen, size))
        self._packets = packets
        self._parts.append(
            {
                "row": row, "slot": slot, "direction": direction, "offset": offset, "ts_ns": packets.batch.ts_ns[row],
                "number": packets.batch.number[row], "gap": gap, "conflict": none, "closed": closed, "size": size,
                "turn": np.arange(self._turn_count, self._turn_count + len(row)),
            }
        )  # fmt: skip
        self._turn_count += len(row)

    def build(self, flows: FlowColumns, data: memoryview) -> Streams:
        """Return all that was added since the last call; turns lie in ``data``, the batch's bytes."""
        chunks = self.shared.take_chunks()
        if chunks:
            self._parts.append(_columns_of(chunks))
        parts, self._parts = self._parts, []
        if not parts:
            return _nothing(flows)
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = np.argsort(columns["row"], kind="stable")
        columns = {name: column[order] for name, column in columns.items()}
        ends = np.cumsum(columns["size"])
        laid = self._lay_out(columns, data, [chunk.data for chunk in chunks])
        self._turns.clear()
        self._packets = None
        self._turn_count = 0
        return Streams(
            flows=flows,
            data=b"".join(laid.data),
            slot=columns["slot"],
            direction=columns["direction"].astype(np.uint8),
            offset=columns["offset"],
            start=ends - columns["size"],
            end=ends,
            gap=columns["gap"],
            conflict=columns["conflict"].astype(np.bool_),
            closed=columns["closed"].astype(np.bool_),
            ts_ns=columns["ts_ns"],
            number=columns["number"],
            arrivals=laid.arrivals,
        )

    def _lay_out(self, columns: dict[str, NDArray[Any]], data: memoryview, single: list[bytes]) -> _Laid:
        """Return the bytes of all rows in order, and which packet brought which.

        The column ``turn`` says where they are: -1 for nothing, -2 - i for the i-th single chunk.
        """
        turn = columns["turn"]
        if not self._turns:
            return _Laid([single[-2 - at] for at in turn.tolist() if at < -1], None)
        assert self._packets is not None
        starts, ends, packet, first, count = self._pieces_of_turns()
        counts = (turn < -1).astype(np.int64)
        counts[turn >= 0] = count[turn[turn >= 0]]
        of = np.repeat(turn, counts)
        within = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
        piece = np.zeros(len(of), np.int64)
        piece[of >= 0] = first[of[of >= 0]] + within[of >= 0]
        pieces: list[bytes | memoryview] = list(
            map(data.__getitem__, map(slice, starts[piece].tolist(), ends[piece].tolist()))
        )
        size = ends[piece] - starts[piece]
        ts_ns, number = self._packets.batch.ts_ns[packet[piece]], self._packets.batch.number[packet[piece]]
        alone = of < -1
        for place in np.flatnonzero(alone).tolist():
            pieces[place] = single[-2 - int(of[place])]
        rows = np.repeat(np.arange(len(turn)), counts)[alone]
        size[alone], ts_ns[alone], number[alone] = (columns[name][rows] for name in ("size", "ts_ns", "number"))
        return _Laid(pieces, Arrivals(np.cumsum(size), ts_ns, number))

    def _pieces_of_turns(self) -> tuple[I64, I64, I64, I64, I64]:
        """Return where all pieces start and end, and the row of the packet of each; and for each delivered turn its
        first piece and their number.
        """
        starts, ends, rows, first, count = [], [], [], [], []
        base = 0
        for turns, chosen, size in self._turns:
            starts.append(turns.starts)
            ends.append(_cut(turns, chosen, size) if bool((size < turns.size[chosen]).any()) else turns.ends)
            rows.append(turns.rows)
            first.append(turns.first_piece[chosen] + base)
            count.append(turns.first_piece[chosen + 1] - turns.first_piece[chosen])
            base += len(turns.starts)
        columns = starts, ends, rows, first, count
        return tuple(np.concatenate(column) for column in columns)  # type: ignore[return-value]  # of five


def gather_datagrams(flows: FlowColumns, packets: Packets | None, slot: I64, direction: U8) -> Datagrams:
    """Return the payloads of a batch's packets that are no TCP."""
    if packets is None:
        none = np.zeros(0, np.int64)
        return Datagrams(flows, b"", none, np.zeros(0, np.uint8), none, none, none, none, none)
    batch = packets.batch
    rows = np.flatnonzero((slot >= 0) & (packets.payload_len > 0) & (packets.proto != PROTO_TCP))
    start, size = packets.payload[rows], packets.payload_len[rows]
    data = np.ascontiguousarray(batch.data).data
    ends = np.cumsum(size)
    return Datagrams(
        flows=flows,
        data=b"".join(map(data.__getitem__, map(slice, start.tolist(), (start + size).tolist()))),
        slot=slot[rows],
        direction=direction[rows],
        start=ends - size,
        end=ends,
        ts_ns=batch.ts_ns[rows],
        number=batch.number[rows],
        packet=rows,
    )


def _cut(turns: Turns, chosen: I64, size: I64) -> I64:
    """Return the ends of all pieces where some turns are cut short to ``size``."""
    ends = turns.ends.copy()
    for at in np.flatnonzero(size < turns.size[chosen]).tolist():
        room = int(size[at])
        for piece in range(int(turns.first_piece[chosen[at]]), int(turns.first_piece[chosen[at] + 1])):
            length = min(room, int(turns.ends[piece] - turns.starts[piece]))
            ends[piece] = turns.starts[piece] + length
            room -= length
    return ends


def _columns_of(chunks: list[Chunk]) -> dict[str, NDArray[Any]]:
    fields = dict(zip(Chunk._fields, zip(*chunks, strict=True), strict=True))
    columns = {name: np.array(fields[name], np.int64) for name in _COLUMNS}
    columns["size"] = np.array([len(data) for data in fields["data"]], np.int64)
    columns["turn"] = -2 - np.arange(len(chunks))
    return columns


def _nothing(flows: FlowColumns) -> Streams:
    none, no = np.zeros(0, np.int64), np.zeros(0, np.bool_)
    return Streams(flows, b"", none, np.zeros(0, np.uint8), none, none, none, none, no, no, none, none)
