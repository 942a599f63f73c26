"""Brief flows: a client that spoke once, a server that answered once, and perhaps the end, all within a batch.

Most flows of many are that. A protocol that has a short way for a whole exchange (`ids.protocols.protocol.Exchanges`)
takes both sides at once, and nothing is kept of a flow that is over.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TypeAlias

import numpy as np

from ids.protocols.expected import FIRST_PORT
from ids.protocols.protocol import Exchanges, Protocol
from ids.protocols.recognition import Recogniser
from ids.protocols.register import Register
from ids.types import I64, Bool, Direction, FlowColumns, Streams, Transaction

MAX_KNOWN = 1024
"""First bytes of clients of which it is kept how they are taken. Beyond it all are let go, and recognised again."""
MAX_KNOWN_BYTES = 1024
"""Of those that are kept: what comes again is short."""

WORTH_A_LOOK = 12
"""Directions that begin in a batch for which it is worth looking for brief flows; live batches may have one or two."""


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
        self._flows = flows
        self._ways = ways
        self._taken: Bool = np.zeros(len(streams), np.bool_)
        self._named: dict[str, list[int]] = {}
        self.by_row: dict[int, Answer] = {}
        """Those that are not certain (`take_certain`), by the row of their clients' bytes."""
        begins = (streams.end > streams.start) & (streams.offset == 0)
        self._some = bool(ways.of) and np.count_nonzero(begins) >= WORTH_A_LOOK
        if self._some:
            self._find(begins)

    def _find(self, begins: Bool) -> None:
        """Find them; ``begins`` has which rows are the first bytes of a direction."""
        streams, flows = self._streams, self._flows
        self._order = order = np.argsort(streams.slot, kind="stable")
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
        certain = brief & over & (flows.dport[slot[first]] < FIRST_PORT)
        self._certain = first[certain], last[certain]
        brief &= ~certain
        answer = order[second[brief]]
        rest = map(slice, second[brief].tolist(), last[brief].tolist())
        found = zip(answer.tolist(), *self._pieces(answer), rest, over[brief].tolist(), strict=True)
        self.by_row = dict(zip(order[first[brief]].tolist(), found, strict=True))

    def _pieces(self, rows: I64) -> tuple[list[int], list[int], list[int], list[int]]:
        """Return where the bytes of rows begin and end, and time and number of the packets that completed them."""
        streams = self._streams
        columns = (streams.start, streams.end, streams.ts_ns, streams.number)
        start, end, ts_ns, number = (column[rows].tolist() for column in columns)
        return start, end, ts_ns, number

    def take_certain(self, known: Container[int], out: list[Transaction]) -> None:
        """Take those that are over and that no other flow can have announced, as their ports are those of services,
        whatever comes between their rows. ``known`` has the ids of flows of which something is known.
        """
        if not self._some or not len(self._certain[0]):
            return
        order, (first, last) = self._order, self._certain
        asked, answered = order[first], order[first + 1]
        slots = self._streams.slot[asked]
        each = zip(
            self._flows.id[slots].tolist(), slots.tolist(), asked.tolist(), *self._pieces(asked), answered.tolist(),
            *self._pieces(answered), strict=True,
        )  # fmt: skip
        data, taken, exchanged = self._streams.data, [], self._streams.exchanged
        for at, (flow_id, slot, row, start, end, ts_ns, number, answer, begin, stop, then_ns, then) in enumerate(each):
            if flow_id not in known and self._exchange(
                slot, data[start:end], data[begin:stop], (ts_ns, number), (then_ns, then), out
            ):
                exchanged[slot] = row, answer
                taken.append(at)
        size = (last - first)[taken]
        within = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
        self._taken[order[np.repeat(first[taken], size) + within]] = True

    def take(self, row: int, slot: int, asked: bytes, at: tuple[int, int], out: list[Transaction]) -> Protocol | None:
        """Take the flow that begins in a row, as far as its bytes go, or as a whole where it is over.

        Return its protocol; None where nothing was done, because it is nothing that has a short way.
        """
        answer, start, end, ts_ns, number, rest, over = self.by_row[row]
        protocol = self._exchange(slot, asked, self._streams.data[start:end], at, (ts_ns, number), out)
        if protocol is not None:
            self._streams.exchanged[slot] = row, answer
            self._taken[self._order[rest] if over else answer] = True
        return protocol

    def _exchange(
        self, slot: int, asked: bytes, answered: bytes, at: tuple[int, int], answered_at: tuple[int, int],
        out: list[Transaction],
    ) -> Protocol | None:  # fmt: skip
        protocol, done = self._ways.protocol(asked), len(out)
        if protocol is None:
            return None
        try:
            if not self._ways.of[protocol.name].exchange(slot, asked, answered, at, answered_at, out):
                return None
        except Exception:  # its parser is likely to raise as well, which is counted and costs the flow its parser
            del out[done:]
            return None
        self._named.setdefault(protocol.name, []).append(slot)
        return protocol

    def is_taken(self, row: int) -> bool:
        """Return whether nothing is to be done for a row any more."""
        return bool(self._taken[row])

    def left(self) -> I64:
        """Return the rows for which something is to be done."""
        return np.flatnonzero(~self._taken)

    def over(self, row: int) -> bool:
        """Return whether the flow that begins in a row ends in this batch."""
        return self.by_row[row][-1]

    def ended(self, row: int) -> list[Direction]:
        """Return which sides end with their bytes, of the flow that begins in a row."""
        rows = zip(Direction, (row, self.by_row[row][0]), strict=True)
        return [side for side, at in rows if self._streams.closed[at]]

    def register(self, register: Register) -> None:
        """Have the flows that were taken named and counted."""
        for name, slots in self._named.items():
            register.decide_all(slots, name)
