"""The stage: take the bytes of a batch, stretch by stretch of its flows, and return what their protocols said.

What a stretch comes to is decided one flow at a time: of streams by `ids.protocols.feeding`, of datagrams by
`ids.protocols.datagrams`; whole exchanges of brief flows go a shorter way (`ids.protocols.brief`).

COST. A few microseconds a row of `Streams`, and nothing for a row of `Datagrams` without a parser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

import numpy as np

from ids.counters import Counters
from ids.protocols.brief import Briefs, Ways
from ids.protocols.datagrams import DatagramFlows
from ids.protocols.expected import Expected
from ids.protocols.feeding import Feeder
from ids.protocols.files import Files, FileSettings
from ids.protocols.frame import Framed
from ids.protocols.protocol import Exchanges, MakeDatagramParser, MakeStreamParser, Protocol, Setup
from ids.protocols.recognition import Recogniser
from ids.protocols.register import Register
from ids.protocols.registry import PROTOCOLS
from ids.protocols.settings import ProtocolSettings
from ids.protocols.sides import ONE_SIDED_BYTES
from ids.protocols.stretch import Stretch
from ids.protocols.talk import BOTH, Talk, Talks
from ids.types import I64, Completed, Datagrams, Direction, FlowColumns, Streams, Transaction, Transactions

_DIRECTIONS = tuple(Direction)


class Protocols:
    """Protocol recognition and parsing for all flows.

    What it knows of a flow goes with the flow, so between two captures nothing is left of the first one.
    """

    def __init__(
        self,
        settings: ProtocolSettings,
        counters: Counters,
        flows: FlowColumns,
        *,
        protocols: Sequence[Protocol] = PROTOCOLS,
        ordinary_lane: bool = True,
        files: Files | None = None,
        expected: Expected | None = None,
    ) -> None:
        """Keep what is known of flows in a place of ``flows``. The last three arguments as in `Setup`."""
        self.files = Files(FileSettings(), counters, flows) if files is None else files
        self.framed = Framed()
        self._settings = settings
        self._counters = counters
        self._flows = flows
        self._recogniser = Recogniser(protocols)
        self._talks = Talks(lambda: Talk(0))
        flows.places.append(self._talks)
        self._register = Register(flows, counters, protocols)
        self._make_parser: dict[str, MakeStreamParser] = {}
        exchanges: dict[str, Exchanges] = {}
        self._ways = Ways(exchanges, self._recogniser, settings.probe_bytes)
        self._make_listener: dict[str, MakeDatagramParser] = {}
        self._expected = Expected(counters) if expected is None else expected
        self._feeder = Feeder(
            protocols, self._make_parser, self._recogniser, self._talks, flows, self._register, self._expected,
            counters, settings.probe_bytes,
        )  # fmt: skip
        for protocol in protocols:
            setup = Setup(
                flows,
                settings.of(protocol),
                counters,
                ordinary_lane,
                self.files,
                self._expected,
                self.framed,
                self._feeder.contradicted,
            )
            if protocol.streams is not None:
                make = self._make_parser[protocol.name] = protocol.streams(setup)
                way: object = make
                if ordinary_lane and protocol.sure and protocol.by_message and isinstance(way, Exchanges):
                    exchanges[protocol.name] = way
            if protocol.datagrams is not None:
                self._make_listener[protocol.name] = protocol.datagrams(setup)
        self._datagrams = DatagramFlows(
            settings, counters, flows, protocols, self._recogniser, self._talks, self._register, self._make_listener
        )

    @property
    def strangers(self) -> list[int]:
        """Slots of flows that were recognised at the port of another protocol, in this batch; whoever reads it, clears
        it."""
        return self._register.strangers

    def feed(self, streams: Streams, datagrams: Datagrams, before: Callable[[int], None] | None = None) -> Transactions:
        """Take the bytes of a batch; return the transactions that they completed. Never raises on what it reads.

        ``before`` is called for each row of ``streams``, with the number of its packet: whoever else announces
        connections is to have said by then what was said before.
        """
        out: list[Transaction] = []
        if len(streams):
            self._feed_streams(streams, out, before)
        if len(datagrams):
            self._datagrams.feed(datagrams, out)
        found = sorted(out, key=attrgetter("number"))
        out.clear()  # parsers may keep the list they were given last, as long as their flow is idle
        self._register.write()
        return Transactions(found)

    def opaque(self, streams: Streams, names: frozenset[str], after_bytes: int) -> list[int]:
        """Return the slots whose rest need not be seen: flows of encrypted protocols, once in the life of each.

        Both sides have to begin in a protocol of ``names``, and ``after_bytes`` of a direction to be fed: a client
        that only pretends to must not buy silence for what it sends to a server that speaks something else.
        A parser that reads what comes before encryption says so itself, as its ``settled``.
        """
        codes = [self._register.codes[name] for name in names if name in self._register.codes]
        if not codes or not len(streams):
            return []
        far = np.flatnonzero(streams.offset + (streams.end - streams.start) >= after_bytes)
        far = far[self._register.flags(codes)[self._flows.app_proto[streams.slot[far]]]]
        found = []
        for flow_id in self._flows.id[streams.slot[far]].tolist():
            talk = self._talks.by_id.get(flow_id)
            if talk is None or talk.offered or talk.rival is not None:
                continue
            if getattr(talk.parser, "settled", talk.began == BOTH):
                talk.offered = True
                found.append(talk.slot)
        return found

    def unread(self, streams: Streams) -> I64:
        """Return the slots of flows whose bytes no parser reads any more, for good, once in the life of each.

        What they speak is known, or known not to be: both sides have said enough for that. Shape (n,), in order.
        """
        found = []
        for flow_id in dict.fromkeys(self._flows.id[streams.slot].tolist()):
            talk = self._talks.by_id.get(flow_id)
            if talk is not None and not talk.left and self._is_read(talk):
                talk.left = True
                found.append(talk.slot)
        return np.array(sorted(found), np.int64)

    def _is_read(self, talk: Talk) -> bool:
        """Return whether all was read of a flow that a parser ever reads."""
        if talk.rival is not None or talk.walk is not None:
            return False
        if talk.parser is not None:
            return getattr(talk.parser, "settled", False)
        if talk.probing or talk.awaited:
            return False
        return talk.heard == BOTH or (talk.protocol is None and not talk.named_by_server)

    def _feed_streams(self, streams: Streams, out: list[Transaction], before: Callable[[int], None] | None) -> None:
        talks, data, completed = self._talks.by_id, streams.data, streams.completed
        briefs = Briefs(streams, self._flows, self._ways)
        briefs.take_certain(talks, out)
        left, brief = briefs.left(), briefs.by_row
        slots = streams.slot[left]
        behind = streams.offset + (streams.end - streams.start)
        long = set(np.flatnonzero((streams.offset < ONE_SIDED_BYTES) & (behind >= ONE_SIDED_BYTES)).tolist())
        for row, flow_id, slot, side, start, end, gap, closed, ts_ns, number in zip(
            left.tolist(), self._flows.id[slots].tolist(), slots.tolist(), streams.direction[left].tolist(),
            streams.start[left].tolist(), streams.end[left].tolist(), streams.gap[left].tolist(),
            streams.closed[left].tolist(), streams.ts_ns[left].tolist(), streams.number[left].tolist(), strict=True,
        ):  # fmt: skip
            if brief and briefs.is_taken(row):
                continue
            done = len(out)
            if before is not None:
                before(number)
            talk = talks.get(flow_id)
            if talk is None and row in brief and not len(self._expected):
                protocol = briefs.take(row, slot, data[start:end], (ts_ns, number), out)
                if protocol is not None:
                    if not briefs.over(row):
                        parser = self._ways.of[protocol.name].behind(slot)
                        self._feeder.go_on(slot, protocol, parser, briefs.ended(row), (ts_ns, number), out)
                    continue
            if talk is None:
                talk = talks[flow_id] = Talk(slot)
                self._feeder.meet(talk, ts_ns)
            stretch = Stretch(_DIRECTIONS[side], data[start:end], ts_ns, number, gap, closed)
            self._feeder.take(talk, stretch, out)
            if row in long:
                self._feeder.sides.skip(talk, stretch, int(behind[row]) - ONE_SIDED_BYTES, out)
            if end > start and talk.protocol is not None and talk.protocol.by_message:
                ended = getattr(talk.parser, "ended", None)
                if ended is None and len(out) > done:
                    completed.setdefault((slot, side), []).append(Completed(row, None, out[done:]))
                elif ended:
                    completed.setdefault((slot, side), []).append(Completed(row, tuple(ended), ()))
            if len(out) > done and (out[done].behind or len(out) > done + 1):
                _date(out[done:], streams, row, side)
        briefs.register(self._register)


def _date(found: list[Transaction], streams: Streams, row: int, side: int) -> None:
    """Give each of the transactions that a row completed the packet that did, in their order.

    What was held of the other side, until this row made clear what it is, was there before what follows it.
    """
    after = int(streams.ts_ns[row]), int(streams.number[row])
    for transaction in reversed(found):
        if transaction.direction == side:
            at = streams.packet_at(row, transaction.behind)
            if at[1] < after[1]:
                after = at
        transaction.ts_ns, transaction.number = after
