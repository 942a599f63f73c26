"""The loop: one batch of packets through every stage, in the order of the package's docstring."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from ids.config import Config
from ids.counters import Counters
from ids.decode import Decoder
from ids.errors import IdsError
from ids.flow import FlowTable
from ids.plugin.context import EngineContext
from ids.plugin.host import PluginHost
from ids.plugin.session import MAX_PACKETS, FlowSession
from ids.protocols import Parsers
from ids.protocols.detect import recognise
from ids.respond import events
from ids.respond.events import Event
from ids.respond.gate import Gate
from ids.respond.policy import BlockPolicy
from ids.respond.recount import Recount
from ids.respond.responder import Responder
from ids.types import Direction, Flow, FlowBatch, IPAddress, Match, PacketBatch, Packets, StreamChunk, Transaction

HISTORY_BATCHES = 2
"""Batches kept for the frames of a flow that is flagged late. Each may be several megabytes."""

NO_RULES = "no rule is loaded, so nothing is looked for but what plugins find: see rules.paths, or -S"


class Engine:
    """All stages wired together. Feed it batches; it calls the gate and emits events."""

    def __init__(
        self,
        config: Config,
        gate: Gate,
        *,
        counters: Counters | None = None,
        own: frozenset[IPAddress] = frozenset(),
        live: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        """Load and start the plugins; raises `IdsError` when one refuses (bad rules, a file that cannot be written).

        ``live`` tells packets of interfaces from those of captures, whose checksums may have been filled in later.
        """
        self.config = config
        self.counters = counters if counters is not None else Counters()
        self._on_event = on_event
        self.plugins = PluginHost(self.counters)
        self.plugins.load(config.plugins.disabled)
        self._gate = gate
        self._own = own
        self._live = live
        self._fresh()
        self.plugins.start(self._context)
        self._wants_flow_start = self.plugins.has("ids_flow_start")
        self._wants_flagged = self.plugins.has("ids_flagged")

    def _fresh(self) -> None:
        """Build the stages that remember traffic."""
        config, counters = self.config, self.counters
        self._decoder = Decoder(config.decode, counters, live=self._live)
        self._recount = Recount(self._gate, counters)
        self._flows = FlowTable(config.flow, counters, config.stream, self._recount.last_seen)
        self._parsers = Parsers(config.protocols, counters)
        self.policy = BlockPolicy(config.respond, self._gate, counters, self._veto, self._own)
        self._responder = Responder(config.respond, self.policy, self._gate, counters, self.emit)
        self._history: deque[tuple[Packets, FlowBatch]] = deque(maxlen=HISTORY_BATCHES)
        self._opaque = frozenset(config.engine.bypass)
        self._started_ns: int | None = None
        self._now_ns = 0

    def process(self, batch: PacketBatch) -> Packets:
        """Take one batch through every stage and return it decoded."""
        packets = self._decoder.decode(batch)
        flows = self._flows.process(packets)
        self._clock(packets)
        matches = self.plugins.matches("ids_packets", packets=packets, flows=flows)
        self._inspect(flows, matches)
        self._respond(matches)
        self._recount.note_closing(flows.flows)
        if self._wants_flagged:
            self._history.append((packets, flows))
            self._dissect(flows)
        self._end(flows)
        return packets

    def tick(self, now_ns: int) -> None:
        """End the flows that have been idle for too long by now; for a live engine without packets."""
        if now_ns > self._now_ns and self._started_ns is not None:
            idle = self._flows.expire(now_ns)
            matches: list[Match] = []
            self._inspect(idle, matches)
            self._respond(matches)
            self._end(idle)

    def drain(self, gate: Gate | None = None) -> None:
        """Deliver what is still held, end all flows, write `stats`, and forget the traffic; go on with ``gate``.

        Between two captures: what one shows says nothing of the other, and its clock may be years away.
        """
        rest = self._flows.drain()
        matches: list[Match] = []
        self._inspect(rest, matches)
        self._respond(matches)
        self._end(rest)
        if self._started_ns is not None:
            self.stats(self._now_ns)
        if gate is not None:
            self._gate = gate
        self._fresh()

    def stop(self) -> None:
        """Drain, then stop the plugins; the engine is of no use afterwards."""
        self.drain()
        self.plugins.call("ids_stop")

    def reload(self, config: Config) -> list[IdsError]:
        """Take new rules and plugin settings; return what was refused. What is refused leaves the old in force."""
        previous, self.config = self.config, config
        errors = self.plugins.reload(self._context)
        if errors:
            self.config = previous
        return errors

    @property
    def rules_loaded(self) -> int:
        """Number of rules in force, of all languages."""
        return self.counters["rules.loaded"] + self.counters["yara.loaded"]

    def emit(self, event: Event) -> None:
        """Hand one event to every output."""
        self.counters.add(f"events.{event['event_type']}")
        self.plugins.call("ids_event", event=event)
        if self._on_event is not None:
            self._on_event(event)

    def stats(self, now_ns: int) -> Event:
        """Emit and return a `stats` event."""
        counters = self.counters
        started = self._started_ns if self._started_ns is not None else now_ns
        event: Event = {
            "timestamp": events.timestamp(now_ns),
            "event_type": "stats",
            "stats": {
                "uptime": max(0, (now_ns - started) // 1_000_000_000),
                "decoder": {"pkts": counters["decode.packets"], "bytes": counters["decode.bytes"]},
                "flow": {"active": counters["flow.active"], "total": counters["flow.total"]},
                "detect": {"alert": counters["detect.alerts"]},
            },
            "ids": counters.tree(),
        }
        self.emit(event)
        return event

    def _context(self, name: str) -> EngineContext:
        return EngineContext(self.config, self.counters, self.config.plugins.options.get(name, {}))

    def _veto(self, address: str, match: Match) -> list[str]:
        return self.plugins.call_strict("ids_veto_block", address=address, match=match)

    def _clock(self, packets: Packets) -> None:
        if len(packets):
            self._now_ns = max(self._now_ns, int(packets.batch.ts_ns.max()))
            if self._started_ns is None:
                self._started_ns = int(packets.batch.ts_ns[0])

    def _inspect(self, flows: FlowBatch, matches: list[Match]) -> None:
        if self._wants_flow_start:
            for flow in flows.started:
                self.plugins.call("ids_flow_start", flow=flow)
        for chunk in flows.chunks:
            matches += self.plugins.matches("ids_stream", chunk=chunk)
            for transaction in self._parsers.feed(chunk):
                self._transaction(transaction, chunk, matches)
            if chunk.flow.app_proto in self._opaque:
                self._bypass(chunk)

    def _bypass(self, chunk: StreamChunk) -> None:
        """Have the kernel keep the rest of an encrypted flow to itself: it costs, and shows nothing.

        Both sides have to begin in the protocol: a client that only pretends to must not buy silence for what it sends
        to a server that speaks something else.
        """
        flow = chunk.flow
        speakers: set[Direction] = flow.storage.setdefault("engine.opaque", set())
        if chunk.offset == 0 and recognise(chunk.data, chunk.direction) == flow.app_proto:
            speakers.add(chunk.direction)
        inspected = chunk.offset + len(chunk.data)
        if len(speakers) < 2 or inspected < self.config.engine.bypass_after_bytes or "bypassed" in flow.storage:
            return
        done = flow.storage["bypassed"] = self._gate.bypass(flow)
        if done:
            self.counters.add(f"flow.bypassed.{flow.app_proto}")

    def _transaction(self, transaction: Transaction, chunk: StreamChunk, matches: list[Match]) -> None:
        matches += self.plugins.matches("ids_transaction", transaction=transaction)
        if transaction.complete:
            self.emit(events.transaction_event(transaction))

    def _respond(self, matches: list[Match]) -> None:
        for match in sorted(matches, key=lambda match: match.number):
            self._responder.handle(match)

    def _dissect(self, flows: FlowBatch) -> None:
        """Hand the packets of flagged flows to plugins. Such flows are few, and cost what they deserve."""
        for flow in flows.flows:
            if not flow.flagged:
                continue
            frames = [frame for packets, batch in self._history for frame in _frames(flow, packets, batch)]
            self._respond(self.plugins.matches("ids_flagged", session=FlowSession(flow, frames)))

    def _end(self, flows: FlowBatch) -> None:
        self._recount.settle(flows.ended)
        for flow in flows.ended:
            self.plugins.call("ids_flow_end", flow=flow)
            self.emit(events.flow_event(flow))


def _frames(flow: Flow, packets: Packets, flows: FlowBatch) -> list[tuple[bytes, int, int]]:
    try:
        position = flows.flows.index(flow)
    except ValueError:
        return []
    batch = packets.batch
    rows = np.flatnonzero(flows.index == position)[-MAX_PACKETS:]
    return [
        (
            batch.data[batch.offset[row] : batch.offset[row] + batch.caplen[row]].tobytes(),
            int(batch.linktype[row]),
            int(batch.ts_ns[row]),
        )
        for row in rows
    ]
