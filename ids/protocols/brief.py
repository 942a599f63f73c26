"""Brief flows: a client that spoke once, a server that answered once, and perhaps the end, all within a batch.

Most flows of many are that. A protocol that has a short way for a whole exchange (`ids.protocols.protocol.Exchanges`)
takes both sides at once, and nothing is kept of a flow that is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from ids.protocols.protocol import Exchanges, Protocol
from ids.protocols.recognition import Recogniser
from ids.types import Bool, Direction, FlowColumns, Streams, Transaction

MAX_KNOWN = 1024
"""First bytes of clients of which it is kept how they are taken. Beyond it all are let go, and recognised again."""
MAX_KNOWN_BYTES = 1024
"""Of those that are kept: what comes again is short."""


class Ways:
    """How whole exchanges are taken."""

    def __init__(self, of: Mapping[str, Exchanges], recogniser: Recogniser, probe_bytes: int) -> None:
        """``of``: by name of a protocol. ``probe_bytes``: of a client by which its protocol is recognised."""
        self.of = of
        self._recogniser = recogniser
        self._probe_bytes = probe_bytes
        self._known: dict[bytes, Protocol | None] = {}

    def protocol(self, asked: bytes) -> Protocol | None:
        """Return the protocol of a client that begins so, where it has such a way."""
        if asked in self._known:
            return self._known[asked]
        protocol = self._recogniser.stream(asked[: self._probe_bytes], Direction.TO_SERVER)
        if protocol is not None and protocol.name not in self.of:
            protocol = None
        if len(asked) <= MAX_KNOWN_BYTES:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[asked] = protocol
        return protocol


Answer: TypeAlias = tuple[int, int, int, int, int, slice, bool]
"""What follows the first row of a brief flow: the row with the server's bytes, from where to where in ``data`` they
are, ``ts_ns`` and number of the packet that completed them; where all rows behind the first are in `Briefs._order`;
and whether both directions end among them."""


class Briefs:
    """The brief flows of one batch, which has rows: they begin with the first bytes of client and server, have no other
    bytes and lack none. Variants are not looked at.
    """

    def __init__(self, streams: Streams, flows: FlowColumns, ways: Ways) -> None:
        self._streams = streams
        self._ways = ways
        self.taken = bytearray(len(streams))
        """By row of `Streams`: nothing is to be done for it any more."""
        self.named: dict[str, list[int]] = {}
        """Slots of the flows that were taken, by their protocol."""
        self.by_row: dict[int, Answer] = {}
        """By the row of their clients' bytes."""
        self._order: list[int] = []
        begins = (streams.end > streams.start) & (streams.offset == 0)
        if ways.of and np.count_nonzero(begins) >= len(Direction):
            self._find(flows, begins)

    def _find(self, flows: FlowColumns, begins: Bool) -> None:
        """Find them; ``begins`` has which rows are the first bytes of a direction."""
        streams = self._streams
        order = np.argsort(streams.slot, kind="stable")
        slot, side, begins = streams.slot[order], streams.direction[order], begins[order]
        first = np.flatnonzero(np.diff(slot, prepend=-1))
        last = np.append(first[1:], len(order))
        second = np.minimum(first + 1, len(order) - 1)
        speaks = (streams.end > streams.start)[order].astype(np.int64)
        brief = begins[first] & (side[first] == Direction.TO_SERVER) & (last - first > 1)
        brief &= begins[second] & (side[second] == Direction.TO_CLIENT)
        brief &= np.add.reduceat(speaks, first) == len(Direction)
        brief &= (np.add.reduceat(streams.gap[order], first) == 0) & (flows.primary[slot[first]] == 0)
        over = np.add.reduceat(streams.closed[order].astype(np.int64), first) == len(Direction)
        answer = order[second[brief]]
        columns = (answer, streams.start[answer], streams.end[answer], streams.ts_ns[answer], streams.number[answer])
        rest = map(slice, second[brief].tolist(), last[brief].tolist())
        found = zip(*(column.tolist() for column in columns), rest, over[brief].tolist(), strict=True)
        self._order = order.tolist()
        self.by_row = dict(zip(order[first[brief]].tolist(), found, strict=True))

    def take(self, row: int, slot: int, asked: bytes, at: tuple[int, int], out: list[Transaction]) -> Protocol | None:
        """Take the flow that begins in a row, as far as its bytes go, or as a whole where it is over.

        Return its protocol; None where nothing was done, because it is nothing that has a short way.
        """
        ways, streams, (answer, start, end, ts_ns, number, rest, over) = self._ways, self._streams, self.by_row[row]
        protocol = ways.protocol(asked)
        if protocol is None:
            return None
        if not ways.of[protocol.name].exchange(slot, asked, streams.data[start:end], at, (ts_ns, number), out):
            return None
        self.named.setdefault(protocol.name, []).append(slot)
        streams.exchanged[slot] = row, answer
        for done in self._order[rest] if over else (answer,):
            self.taken[done] = True
        return protocol

    def over(self, row: int) -> bool:
        """Return whether the flow that begins in a row ends in this batch."""
        return self.by_row[row][-1]

    def ended(self, row: int) -> list[Direction]:
        """Return which sides end with their bytes, of the flow that begins in a row."""
        rows = zip(Direction, (row, self.by_row[row][0]), strict=True)
        return [side for side, at in rows if self._streams.closed[at]]
