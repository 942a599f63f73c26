"""The payload beside an exchange: for rules that ask for bytes of both.

Suricata judges such a rule when the exchange has come so far, on the packet that brought it and on the stream up to
there; so it is done here. A later request of the same stream shows nothing to the rules on an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ids.rules.match.memory import FlowMemory
from ids.types import Datagrams, Streams, Transaction

REACH_BYTES = 8192
"""How much of the stream is looked at, back from the packet that completed the exchange: who pipelines a thousand
requests shall not have all that went before searched for each."""


class Beside:
    """What the latest batch said besides its exchanges."""

    def __init__(self, memory: FlowMemory, packet_payload: Callable[[int, int], bytes]) -> None:
        """``packet_payload`` returns the payload of a packet of the batch, by its number and its flow's slot."""
        self._memory = memory
        self._packet_payload = packet_payload
        self._streams: Streams | None = None
        self._datagrams: Datagrams | None = None

    def begin(self) -> None:
        """Begin a batch: what the one before said is gone."""
        self._streams = self._datagrams = None

    def note(self, *, streams: Streams | None = None, datagrams: Datagrams | None = None) -> None:
        """Take what the batch says."""
        self._streams = streams or self._streams
        self._datagrams = datagrams or self._datagrams

    def payloads(self, tx: Transaction) -> tuple[bytes, ...]:
        """Return the stream up to the packet that completed a side of an exchange, and the payload of the packet."""
        found = (self._stream(tx), self._datagram(tx), self._packet_payload(tx.number, tx.slot))
        return tuple(dict.fromkeys(data for data in found if data))

    def _stream(self, tx: Transaction) -> bytes:
        streams = self._streams
        if streams is None:
            return b""
        rows = np.flatnonzero((streams.slot == tx.slot) & (streams.direction == tx.direction))
        if not len(rows):
            return b""
        last = min(int(np.searchsorted(streams.number[rows], tx.number)), len(rows) - 1)
        behind = _behind(streams, int(rows[last]), tx.number)
        end = int(streams.offset[rows[last]] + streams.end[rows[last]] - streams.start[rows[last]]) - behind
        begin = max(0, end - REACH_BYTES)
        trail = self._memory.trails.by_id.get(tx.flow.id, {}).get(int(tx.direction))
        if trail is not None and trail.base <= end <= trail.end:
            return bytes(trail.data[max(0, begin - trail.base) : end - trail.base])
        said = b""
        for row in rows[last::-1].tolist():  # the flow has ended: no more is kept of it than this batch
            content = streams.content(row)
            if row == rows[last]:
                content = content[: len(content) - behind]
            said = content[-(REACH_BYTES - len(said)) :] + said
            if streams.gap[row] or len(said) >= REACH_BYTES:
                break
        return said

    def _datagram(self, tx: Transaction) -> bytes:
        datagrams = self._datagrams
        if datagrams is None:
            return b""
        rows = np.flatnonzero((datagrams.number == tx.number) & (datagrams.slot == tx.slot))
        return datagrams.content(int(rows[0])) if len(rows) else b""


def _behind(streams: Streams, row: int, number: int) -> int:
    """Return how many bytes of a row later packets brought."""
    if streams.arrivals is None:
        return 0
    start, end = int(streams.start[row]), int(streams.end[row])
    pieces = slice(
        np.searchsorted(streams.arrivals.end, start, "right"), np.searchsorted(streams.arrivals.end, end) + 1
    )
    ends, numbers = streams.arrivals.end[pieces], streams.arrivals.number[pieces]
    until = ends[numbers <= number]
    return end - min(int(until[-1]), end) if len(until) else 0
