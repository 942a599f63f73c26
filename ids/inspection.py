"""From packets to findings: decode, flow, protocols, and the hooks of detectors, a batch at a time.

What is found out here about one flow depends on nothing but its packets, so several of these can share the work, each
with flows of its own. What must be decided once is the responder's (`ids.engine`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import orjson

from ids.config import Config
from ids.conversations import Conversations
from ids.counters import Counters
from ids.decode import Decoder
from ids.events import Event, Events
from ids.exception_policies import ExceptionPolicies, Policies
from ids.flow import FlowTable
from ids.flow.share import Share
from ids.overheard import FOR_ALL, Overheard
from ids.plugin.host import PluginHost
from ids.plugin.session import MAX_PACKETS, FlowSession, Frame
from ids.protocols import EVENT_OF, ODDITY, Protocols
from ids.protocols.expected import Expected
from ids.protocols.files import Files
from ids.protocols.frame import FrameRow
from ids.respond import events
from ids.respond.anomalies import Allowance, packet_anomalies
from ids.respond.exhibits import Exhibits
from ids.respond.files import body_fields, file_fields
from ids.respond.filestore import FileStore
from ids.respond.gate import Gate
from ids.respond.guesses import Guesses
from ids.respond.lines import EventLines
from ids.respond.recorder import Recorder
from ids.respond.recount import Recount
from ids.respond.unlogged import Unlogged
from ids.types import (
    I64,
    U8,
    Asked,
    Bool,
    Direction,
    Exhibit,
    Flow,
    FlowBatch,
    FlowColumns,
    FlowPlace,
    Mark,
    Match,
    PacketBatch,
    Packets,
    Transaction,
    Transactions,
    ascending,
)
from ids.types.transactions import NO_EXCHANGE, ODD_OF

HISTORY_BATCHES = 2
"""Batches kept for the frames of a flow that is flagged late. Each may be several megabytes."""

FLOWS_AT_ONCE = 4096
"""`flow` events that are spelt together: a batch has fewer as a rule, the end of a capture may have a hundred thousand,
whose words would fill hundreds of megabytes on their way."""

STAGES = ("decode", "flow", "protocols", "detect", "events")

MAX_ODD = 256
"""Oddities of parsers in one batch that are written as events: whoever makes them makes them cheaply."""


@dataclass(slots=True)
class Findings:
    """What the inspection of one batch brought."""

    packets: Packets | None = None
    """The batch, decoded; None where there was none."""
    anomalies: Events = field(default_factory=Events)
    """Events of odd packets, and of odd TCP connections."""
    matches: list[Match] = field(default_factory=list)
    """In the order of their packets."""
    transactions: Events = field(default_factory=Events)
    """Events of completed protocol exchanges."""
    flows: Events = field(default_factory=Events)
    """`flow` events of the flows that ended and in which nothing was found."""
    matched_flows: list[Event] = field(default_factory=list)
    """`flow` events of the others, as far as inspection knows: what was decided about them is to be added."""
    ended: list[int] = field(default_factory=list)
    """Ids of all flows that ended."""
    recordings: list[tuple[str, bytes]] = field(default_factory=list)
    """Capture files for matches, by path: to be written where an alert names them."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to decide and nothing to write."""
        parts = (
            self.anomalies, self.matches, self.transactions, self.flows, self.matched_flows, self.ended,
            self.recordings,
        )  # fmt: skip
        return not any(len(part) for part in parts)

    @classmethod
    def merged(cls, parts: Sequence[Findings]) -> Findings:
        """Return what several workers found in one batch as one."""
        matches = sorted((match for part in parts for match in part.matches), key=lambda match: match.number)
        return cls(
            None,
            Events.joined(part.anomalies for part in parts),
            matches,
            Events.joined(part.transactions for part in parts),
            Events.joined(part.flows for part in parts),
            [event for part in parts for event in part.matched_flows],
            [flow_id for part in parts for flow_id in part.ended],
            [recording for part in parts for recording in part.recordings],
        )


class Inspection:
    """The stages that look at traffic, wired together."""

    def __init__(
        self,
        config: Config,
        plugins: PluginHost,
        flows: FlowColumns,
        gate: Gate,
        counters: Counters,
        *,
        live: bool,
        wanted: Collection[str] | None,
        share: Share | None = None,
        seed: int = 0,
        asked: Asked | None = None,
    ) -> None:
        """Build the stages; ``wanted`` are the event types that somebody reads, None all.

        ``share``: of all flows. ``seed``: of their ids. ``asked``: the buffers that detectors ask for.
        """
        self._share = share
        self._allowance = Allowance(config.eve.packet_anomalies)
        # in a replay every worker decodes all packets, live each has packets of its own
        self._reports_packets = share is None or share.by_carrier or not share.number
        self._config = config
        self._plugins = plugins
        self.flows = flows
        self._gate = gate
        self._counters = counters
        self._live = live
        self._wanted = wanted
        self._opaque = frozenset(config.engine.bypass)
        self._spent_s = dict.fromkeys(STAGES, 0.0)
        """Seconds of processor time by stage, since the beginning."""
        self._decoder = Decoder(config.decode, counters, live=live)
        self._recount = Recount(gate, flows, counters) if gate.counting else None
        last_seen = self._recount.last_seen if self._recount else None
        stream = config.stream.resolved(live=live)
        if live:  # what lies beyond is not shown
            depth = min(stream.depth_bytes, config.fastpath.depth_tcp_bytes)
            stream = stream.model_copy(update={"depth_bytes": depth})
        policies = Policies.of(config.respond, stream)
        stream = policies.follow(stream)
        self._exceptions = ExceptionPolicies(policies, flows, counters)
        inline = config.respond.drop_packets and not live  # live, a ring may be full, and a packet not be shown
        self._table = FlowTable(config.flow, counters, stream, last_seen, flows, seed, parsers=True, inline=inline)
        self._files = Files(config.files, counters, flows)
        self._asked = asked if asked is not None else Asked()
        self._asked_changes = -1
        self._store = FileStore(config.files, flows, counters, config.eve.path)
        self._overheard: Overheard | None = None
        expected = Expected(counters)
        if share is not None and share.of > 1:
            expected = Expected(counters, frozenset(share.shared_ports))
            self._overheard = Overheard(config.flow, stream, config.protocols, expected, counters)
        self._protocols = Protocols(config.protocols, counters, flows, files=self._files, expected=expected)
        drop = config.stream.on_conflict == "drop"
        self._conversations = Conversations(flows, counters, drop_conflicts=drop)
        self._exhibits = Exhibits(config.eve, flows, counters, config.respond, getattr(config.protocols, "http", None))
        self._guesses = Guesses(config.eve, config.respond)
        self._recorder = Recorder(config.captures, flows, counters)
        self._unlogged = Unlogged(flows, counters)
        self._words: FlowPlace[str] = flows.place(str)
        """What all events of a flow say, of flows that had events (`EventLines`)."""
        self._history: deque[tuple[Packets, I64, U8]] = deque(maxlen=HISTORY_BATCHES)

    def configure(self, config: Config, wanted: Collection[str] | None) -> None:
        """Go on by these settings: what is bypassed, which events somebody reads. The stages keep theirs."""
        self._config = config
        self._opaque = frozenset(config.engine.bypass)
        self._wanted = wanted
        self._allowance = Allowance(config.eve.packet_anomalies)
        self._exhibits.configure(config.eve, config.respond)
        self._guesses.configure(config.eve, config.respond)
        self._recorder.configure(config.captures)
        self._files.configure(config.files)
        self._store.configure(config.files, config.eve.path)
        self._asked_changes = -1

    def process(self, batch: PacketBatch) -> Findings:
        """Take one batch through every stage."""
        clock = time.thread_time()
        packets = self._decoder.decode(batch)
        heard: Packets | None = None
        if self._share is not None:
            packets, heard = self._share.divide(packets)
        clock = self._lap("decode", clock)
        if heard is not None and self._overheard is not None:
            self._overheard.take(heard)
        flows = self._table.process(packets)
        self._lap("flow", clock)
        return self._findings(packets, flows)

    def expire(self, now_ns: int) -> Findings:
        """End the flows that have been idle for too long by now."""
        self._decoder.expire(now_ns)
        self._recorder.expire(now_ns)
        if self._overheard is not None:
            self._overheard.expire(now_ns)
        return self._findings(None, self._table.expire(now_ns))

    def drain(self) -> Findings:
        """Deliver what is still held, end all flows, and forget the traffic; the next may be another capture's."""
        found = self._findings(None, self._table.drain())
        if self._overheard is not None:
            self._overheard.drain()
        self._files.ranges.clear()
        self._recorder.flush()
        found.recordings += self._recorder.finished()
        self._decoder = Decoder(self._config.decode, self._counters, live=self._live)
        self._history.clear()
        self._plugins.pardon()
        self.flows.epoch += 1
        return found

    def _findings(self, packets: Packets | None, flows: FlowBatch) -> Findings:
        found = Findings(packets)
        clock = time.thread_time()
        if self._asked.changes != self._asked_changes:
            self._want_files()
        heard = self._overheard
        before = heard.catch_up if heard is not None and heard.waits else None
        transactions = self._protocols.feed(flows.streams, flows.datagrams, before)
        if before is not None:
            before(FOR_ALL)
        clock = self._lap("protocols", clock)
        self._exhibits.heard(transactions, flows.streams)
        self._detect(found, packets, flows, transactions)
        clock = self._lap("detect", clock)
        self._bypass(flows)
        if self._recount is not None:
            self._recount.note_closing(flows.touched)
            self._recount.settle(flows.ended[self.flows.primary[flows.ended] == 0])
        if len(flows.ended) and self._plugins.has("ids_flow_end"):
            self._plugins.each("ids_flow_end", "flow", map(self.flows.view, flows.ended.tolist()))
        self._write_up(found, flows, transactions)
        found.recordings = self._recorder.finished()
        self._lap("events", clock)
        for stage, seconds in self._spent_s.items():
            self._counters.set(f"time_us.{stage}", int(seconds * 1e6))
        self._plugins.count_times()
        return found

    def _lap(self, stage: str, since: float) -> float:
        now = time.thread_time()
        self._spent_s[stage] += now - since
        return now

    def _detect(self, found: Findings, packets: Packets | None, flows: FlowBatch, transactions: Transactions) -> None:
        plugins, matches = self._plugins, found.matches
        if packets is not None:
            matches += self._exceptions.matches(packets, flows)
            matches += plugins.matches("ids_packets", packets=packets, flows=flows)
            if not self._reports_packets:  # another worker reports of packets that no flow has
                matches[:] = [match for match in matches if match.flow.id]
        if len(flows.started) and plugins.has("ids_flow_start"):
            plugins.each("ids_flow_start", "flow", map(self.flows.view, flows.started.tolist()))
        if len(flows.streams):
            found.matches += self._in_streams(packets, flows)
        if plugins.has("ids_datagrams") and len(flows.datagrams):
            matches += plugins.matches("ids_datagrams", datagrams=flows.datagrams)
        if len(transactions):
            found.matches += self._in_transactions(packets, flows, transactions)
        if packets is not None and plugins.has("ids_flagged"):
            self._history.append((packets, flows.slot, flows.direction))
            self._dissect(found, flows)
        matches += self._conversations.conflicts(flows)
        if matches:
            matches[:] = self._exhibits.of_packets(self._conversations.resolve(matches), packets, flows)
            matches[:] = self._guesses.attach(matches, transactions)
        if self._recorder.wanted:
            matches[:] = self._recorder.take(matches, packets, flows)
        self._exhibits.note(flows)
        self._unlogged.note(matches)
        for match in matches:
            match.flow.mark(Mark.MATCHED)
        if matches and self._files.active:
            self._show_files(matches)
        if matches and self._files.storing:
            self._store.note(matches)

    def _in_streams(self, packets: Packets | None, flows: FlowBatch) -> Sequence[Match]:
        plugins = self._plugins
        matches = plugins.matches("ids_streams", streams=flows.streams)
        if plugins.has("ids_stream"):
            matches += plugins.matches_of_each("ids_stream", "chunk", flows.streams)
        return self._exhibits.of_streams(matches, flows.streams, end=packets is None, raw=True) if matches else matches

    def _in_transactions(
        self, packets: Packets | None, flows: FlowBatch, transactions: Transactions
    ) -> Sequence[Match]:
        plugins = self._plugins
        whole = Transactions([row for row in transactions if not row.partial and type(row) is not FrameRow])
        matches = plugins.matches("ids_transactions", transactions=whole, parts=transactions)
        if plugins.has("ids_transaction"):
            matches += plugins.matches_of_each("ids_transaction", "transaction", whole)
        return self._exhibits.of_streams(matches, flows.streams, end=packets is None) if matches else matches

    def _dissect(self, found: Findings, flows: FlowBatch) -> None:
        """Hand the packets of flagged flows to plugins. Such flows are few, and cost what they deserve."""
        if not (self.flows.marks & Mark.FLAGGED).any():
            return
        touched = flows.touched
        if len(flows.streams):
            variants = ascending(flows.streams.slot[self.flows.primary[flows.streams.slot] > 0])
            touched = np.concatenate((touched, variants))
        for slot in touched[self.flows.marks[touched] & Mark.FLAGGED != 0].tolist():
            of_flow = int(self.flows.primary[slot]) - 1 if self.flows.primary[slot] else slot
            frames = [frame for packets, of, sides in self._history for frame in _frames(packets, of == of_flow, sides)]
            session = FlowSession(self.flows.view(slot), frames)
            found.matches += self._plugins.matches("ids_flagged", session=session)

    def _bypass(self, flows: FlowBatch) -> None:
        """Have the gate keep the rest of flows to itself that costs, and shows nothing."""
        if not len(flows.streams):
            return
        if self._config.engine.bypass_unneeded and self._config.stream.on_conflict != "drop":
            self._bypass_unneeded(flows)  # before the others: this is no guess
        if self._opaque:
            self._bypass_encrypted(flows)

    def _bypass_encrypted(self, flows: FlowBatch) -> None:
        after = self._config.engine.bypass_after_bytes
        for slot in self._protocols.opaque(flows.streams, self._opaque, after):
            flow = self.flows.view(slot)
            if flow.variant or any(flow.conflicts) or flow.marks & Mark.BYPASSED:
                continue  # which version the hosts read is not known; or the gate is to show no more of it already
            if not flow.depth and self._gate.bypass(flow):
                flow.mark(Mark.BYPASSED)
                self._counters.add(f"flow.bypassed.{flow.app_proto}")

    def _bypass_unneeded(self, flows: FlowBatch) -> None:
        """Have the gate keep to itself what no parser and nothing that is loaded looks at."""
        columns = self.flows
        slots = self._protocols.unread(flows.streams)
        slots = slots[(columns.marks[slots] & (Mark.BYPASSED | Mark.FLAGGED) == 0) & (columns.primary[slots] == 0)]
        for direction in Direction:
            if len(slots):
                slots = slots[~self._plugins.needs(columns, slots, direction)]
        for slot in slots.tolist():
            flow = columns.view(slot)
            if not flow.depth and not any(flow.conflicts) and self._gate.bypass(flow, unneeded=True):
                flow.mark(Mark.BYPASSED)
                self._counters.add("flow.unneeded")

    def _write_up(self, found: Findings, flows: FlowBatch, transactions: Transactions) -> None:
        primary = self.flows.primary
        spelt = EventLines(self.flows, self._words.by_id, ending=found.packets is None)
        if self._wants("anomaly"):
            found.anomalies = self._anomalies(found.packets, flows, transactions)
        self._protocols.strangers.clear()
        complete = [row for row in transactions if row.complete and not primary[row.slot]]
        wanted = {row.protocol: self._wants(EVENT_OF.get(row.protocol, row.protocol)) for row in complete}
        complete = [row for row in complete if wanted[row.protocol]]
        if len(dns := self._config.eve.dns) < 2:
            complete = [row for row in complete if row.protocol != "dns" or row.fields.get("type") in dns]
        if complete := self._unlogged.logged(complete):
            found.transactions = Events(lines=spelt.transactions(complete))
        self._write_up_files(found, spelt)
        ended = flows.ended[primary[flows.ended] == 0]
        if not len(ended):
            return
        found.ended = self.flows.id[ended].tolist()
        if self._wants("flow"):
            matched = self.flows.marks[ended] & Mark.MATCHED != 0
            of = ended[~matched]
            parts = [of[at : at + FLOWS_AT_ONCE] for at in range(0, len(of), FLOWS_AT_ONCE)]
            found.flows = Events(lines=[spelt.flows(part) for part in parts])
            found.matched_flows = list(Events(lines=[spelt.flows(ended[matched])]))

    def _show_files(self, matches: list[Match]) -> None:
        """Attach to matches in files what EVE says of these; digests and types where somebody wants those of files."""
        settings, tracked = self._config.files, self._files.tracked
        hashes = settings.hashes if tracked else ()
        bodies = {id(body.row): body for body in self._files.bodies}
        for at, match in enumerate(matches):
            row = match.transaction or (match.exhibit.exchange if match.exhibit is not None else None)
            if row is None:
                continue
            said = [file_fields(file, hashes, magic=tracked and settings.magic) for file in row.files]
            if id(row) in bodies:
                said.append(orjson.loads(body_fields(*bodies[id(row)][1:], row.tx_id)))
            if said:
                exhibit = match.exhibit if match.exhibit is not None else Exhibit()
                matches[at] = replace(match, exhibit=replace(exhibit, files=tuple(said)))

    def _want_files(self) -> None:
        """Have no more found out about files and frames than somebody asks for."""
        asked = self._asked
        self._asked_changes = asked.changes
        self._protocols.framed.want(asked.buffers)
        storing = self._store.at_work and (asked.storing or self._store.takes_all)
        self._files.want(asked.buffers, logged=self._wants("fileinfo"), storing=storing or asked.storing)

    def _write_up_files(self, found: Findings, spelt: EventLines) -> None:
        """Write of the files that ended, and let their content go."""
        whole = [body for body in self._files.bodies if not self.flows.primary[body.row.slot]]
        if whole:
            found.transactions = Events.joined([found.transactions, Events(lines=[spelt.bodies(whole)])])
        ended, due = self._files.take()
        settings, primary = self._config.files, self.flows.primary
        if ended and self._files.storing:
            self._store.take(ended)
        events = [file for file in due if not primary[file.slot]]
        if events:
            lines = spelt.files(events, settings.hashes, magic=settings.magic)
            found.transactions = Events.joined([found.transactions, Events(lines=[lines])])
        for file in ended:
            if not file.reported:
                file.settle((*settings.hashes, "sha256") if file.stored else settings.hashes, settings.magic)

    def _anomalies(self, packets: Packets | None, flows: FlowBatch, transactions: Transactions) -> Events:
        """Return the `anomaly` events of packets, of TCP connections, and of what parsers found odd.

        The latter of those parsers that say so at once, and of messages that are not ordinary: finding out of all
        others, too, may cost more than all else.
        """
        of_packets: list[Event] = []
        if packets is not None and self._reports_packets:
            of_packets = packet_anomalies(packets, self._counters, self._allowance, self._config.eve)
        odd = self._oddities(transactions)
        receiver = self._config.eve.anomaly_of_receiver and not self._config.respond.drop_packets
        of_parsers = [events.oddity_event(*one, receiver=receiver) for one in odd[:MAX_ODD]]
        of_parsers += [events.stranger_event(self.flows, slot) for slot in self._protocols.strangers]
        if len(odd) > MAX_ODD:
            self._counters.add("app_layer.anomalies_not_written", len(odd) - MAX_ODD)
        of_streams = [events.anomaly_event(self.flows, noted) for noted in flows.notes if not noted.quiet]
        kinds = {"stream": of_streams, "applayer": of_parsers}
        return Events([*of_packets, *chain.from_iterable(kinds[kind] for kind in self._config.eve.anomalies)])

    def _oddities(self, transactions: Transactions) -> list[tuple[Transaction, Flow, bytes]]:
        """Return what parsers found odd, with the connection that it is of: what several versions of one show, once."""
        found: list[tuple[Transaction, Flow, bytes]] = []
        seen: set[tuple[int, int, bytes]] = set()
        odd = [row for row in transactions if _may_be_odd(row)]
        for row in sorted(odd, key=lambda row: bool(self.flows.primary[row.slot])):
            primary = int(self.flows.primary[row.slot])
            flow = self.flows.view(primary - 1) if primary else row.flow
            for name in row.instances(ODDITY):
                known = flow.slot, row.number, name
                if not (primary and known in seen):
                    seen.add(known)
                    found.append((row, flow, name))
        return found

    def _wants(self, event_type: str) -> bool:
        return self._wanted is None or event_type in self._wanted


def _may_be_odd(row: Transaction) -> bool:
    """Return whether events are to say what is odd about a part of a transaction, if anything is."""
    of_flow = row.tx_id == NO_EXCHANGE
    if row.protocol in ODD_OF and not of_flow:  # ordinary messages are not asked, but for unasked answers
        if row.partial:
            return False
        ordinary = row.head_as_sent() is not None and not (row.complete and row.direction and "url" not in row.fields)
        doubt = getattr(row.buffers, "may_be_odd", None)
        return not ordinary or (doubt is not None and doubt())
    return type(row.buffers) is dict and ODDITY in row.buffers


def _frames(packets: Packets, mine: Bool, sides: U8) -> list[Frame]:
    batch = packets.batch
    rows = np.flatnonzero(mine)[-MAX_PACKETS:]
    return [
        Frame(
            batch.data[batch.offset[row] : batch.offset[row] + batch.caplen[row]].tobytes(),
            int(batch.linktype[row]),
            int(batch.ts_ns[row]),
            int(batch.number[row]),
            Direction(int(sides[row])),
        )
        for row in rows
    ]
