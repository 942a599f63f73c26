"""The loop: one batch of packets is inspected, what was found is decided, and outputs get the events."""

from __future__ import annotations

import gc
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from ids.config import Config
from ids.counters import Counters
from ids.errors import IdsError
from ids.events import Event, Events
from ids.flow.share import Share
from ids.inspection import Findings, Inspection
from ids.plugin.context import EngineContext
from ids.plugin.host import PluginHost
from ids.respond import events
from ids.respond.gate import Gate
from ids.respond.policy import BlockPolicy
from ids.respond.recordings import Recordings
from ids.respond.responder import Responder
from ids.respond.state import ordered
from ids.rules.language.variables import home_net
from ids.types import Asked, Change, FlowColumns, IPAddress, Match, PacketBatch, Packets

NO_RULES = "no rule is loaded, so nothing is looked for but what plugins find: see rules.paths, or -S"

OnEvents = Callable[[Events], None]


def settle_memory() -> None:
    """Have Python look for garbage in cycles no more among what the start has made. To be called when that is over.

    What is garbage already stays: ten objects of 400,000, and to look for them takes a tenth of a start.
    """
    gc.freeze()


def _installed(config: Config, counters: Counters) -> PluginHost:
    host = PluginHost(counters)
    host.load(config.plugins.disabled)
    return host


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
        on_events: OnEvents | None = None,
        event_types: Collection[str] | None = None,
        plugins: PluginHost | None = None,
    ) -> None:
        """Load and start the plugins; raises `IdsError` when one refuses (bad rules, a file that cannot be written).

        ``live``: packets come from interfaces, not from captures, whose checksums may have been filled in later.
        ``on_events`` gets the events that outputs get, of ``event_types`` at least (None: of all). ``plugins`` are
        those that run, counting in ``counters``; None: all that are installed.
        """
        self.config = config
        self.counters = counters if counters is not None else Counters()
        self._on_events = on_events
        self.plugins = plugins if plugins is not None else _installed(config, self.counters)
        self._gate = gate
        self._own = own
        self._live = live
        self._seed = secrets.randbits(64) if live else 0
        """Of flow ids: those of captures are the same each time."""
        self._outputs = True
        self._event_types = event_types
        self.flows = FlowColumns()
        self.flows.community_seed, self.flows.full_ipv6 = config.eve.community_id_seed, config.eve.full_ipv6
        self.flows.community_turned = config.eve.community_id_turned
        self._recordings = Recordings(config.captures, self.counters, patient=not live)
        self._asked = Asked()
        self._go_on: Callable[[], bool] | None = None
        self.unfinished: list[IdsError] = []
        """Plugins that failed to put in force what the last reload has loaded."""
        self.plugins.start(self._context)
        self.wanted = self._event_types_wanted()
        """Types of events that somebody reads; None: all. In a worker, what the deciding process says."""
        self._inspection: Inspection | None = None
        self.workers: Sequence[Mapping[str, int]] = ()
        """The latest counters of each worker, where workers inspect."""
        self._fresh(time.time_ns() if live else None)

    def _event_types_wanted(self) -> set[str] | None:
        wanted = self.plugins.event_types()
        if self._on_events is not None:
            return None if wanted is None or self._event_types is None else {*wanted, *self._event_types}
        return wanted

    @property
    def inspection(self) -> Inspection:
        """The inspection of all flows, where this process does it itself; or of its share, in a worker."""
        return self._inspection or self.inspect()

    def inspect(self, share: Share | None = None) -> Inspection:
        """Return an inspection of all flows, or of a share; in a worker, whose counters begin here."""
        if share is not None:
            self.counters.values.clear()
            self._outputs = False
        self._inspection = Inspection(
            self.config, self.plugins, self.flows, self._gate, self.counters,
            live=self._live, wanted=self.wanted, share=share, seed=self._seed, asked=self._asked,
        )  # fmt: skip
        return self._inspection

    def _fresh(self, started_ns: int | None = None) -> None:
        """Build what remembers decisions about traffic, which began then, or begins with the next packet."""
        config, counters = self.config, self.counters
        self.policy = BlockPolicy(config.respond, self._gate, counters, self._veto, self._own, home_net(config.vars))
        self._pending: list[Event] = []
        self._changes: list[Change] = []
        self._responder = Responder(
            config.respond, self.policy, self._gate, counters, self._pending.append, config.eve, self._changes.append
        )
        self._started_ns = started_ns
        self._now_ns = started_ns or 0

    def process(self, batch: PacketBatch) -> Packets:
        """Take one batch through every stage and return it decoded."""
        found = self.inspection.process(batch)
        assert found.packets is not None
        self.take(batch, found)
        return found.packets

    def take(self, batch: PacketBatch, found: Findings, decoded: Callable[[], Packets] | None = None) -> None:
        """Take what the inspection of a batch found, wherever that was done; ``decoded`` gives the batch decoded."""
        if len(batch):
            self._now_ns = max(self._now_ns, int(batch.ts_ns.max()))
            if self._started_ns is None:
                self._started_ns = int(batch.ts_ns[0])
        self.decide(found, decoded)

    def decide(self, found: Findings, decoded: Callable[[], Packets] | None = None) -> None:
        """Carry out what matches ask for, and emit the events of a batch."""
        respond = self.config.respond
        for match in ordered(found.matches, respond.action_order, inline=respond.drop_packets):
            self._responder.handle(match)
        if self._responder.follows:
            self._responder.follow(found.packets if found.packets is not None or decoded is None else decoded())
        anomalies = self._responder.with_state(found.anomalies)
        self._responder.close(found.matched_flows)
        self._responder.forget(found.ended)
        self.counters.add("flow.ended", len(found.ended))
        self.emit(anomalies)
        self.emit(found.transactions)
        decided, self._pending[:] = self._pending[:], []
        if self._recordings.wanted:
            self._recordings.admit(decided)
            self._recordings.take(found.recordings)
        self.emit(Events(decided + found.matched_flows))
        self.emit(found.flows)
        changes, self._changes[:] = self._changes[:], []
        self.note(changes)

    def note(self, changes: Sequence[Change]) -> None:
        """Hand what was done, if anything was, to the plugins that keep a record of it."""
        if changes:
            self.plugins.call("ids_changes", changes=changes)

    def tick(self, now_ns: int) -> None:
        """End the flows that have been idle for too long by now; for a live engine without packets."""
        if now_ns > self._now_ns and self._started_ns is not None:
            self.decide(self.inspection.expire(now_ns))

    def drain(self, gate: Gate | None = None, found: Findings | None = None) -> None:
        """Deliver what is still held, end all flows, write `stats`, and forget the traffic; go on with ``gate``.

        Between two captures: what one shows says nothing of the other, and its clock may be years away. ``found``: what
        that brought, where workers inspect.
        """
        self.decide(found if found is not None else self.inspection.drain())
        self._recordings.flush()
        if self._started_ns is not None:
            self.stats(time.time_ns() if self._live else self._now_ns)
        if gate is not None:
            self._gate = gate
        self._fresh()

    def stop(self, found: Findings | None = None) -> None:
        """Drain, then stop the plugins; the engine is of no use afterwards."""
        self.drain(found=found)
        self._recordings.close()
        self.plugins.call("ids_stop")

    def reload(self, config: Config) -> list[IdsError]:
        """Take new settings; return what went wrong. What is refused leaves the old in force.

        Rules, plugins and outputs load theirs anew, response follows them. The stages keep the settings with which they
        began: see `ids.live.reload` for what a live engine therefore does not take.
        """
        errors = self.prepare_reload(config)
        return errors + self.finish_reload(commit=not errors)

    def prepare_reload(self, config: Config, go_on: Callable[[], bool] | None = None) -> list[IdsError]:
        """Load new rules and plugin settings; return what was refused. `finish_reload` must follow.

        ``go_on`` as in `EngineContext`: it may feed packets to this engine, which meet what is still in force.
        """
        self._previous, self.config = self.config, config
        self._go_on = go_on
        try:
            errors, self._commit = self.plugins.prepare_reload(self._context)
        finally:
            self._go_on = None
        return errors

    def finish_reload(self, *, commit: bool) -> list[IdsError]:
        """Put in force what was loaded, or forget it; return which plugins failed in it, as `unfinished` has them."""
        self.unfinished = []
        if not commit:
            self.config = self._previous
            return []
        self.unfinished = self._commit()
        self._responder.configure(self.config.respond, home_net(self.config.vars), self.config.eve)
        if self._outputs:
            self.want(self._event_types_wanted())
        return self.unfinished

    def want(self, event_types: set[str] | None) -> None:
        """Make events of these types from now on (None: of all), by the settings in force."""
        self.wanted = event_types
        if self._inspection is not None:
            self._inspection.configure(self.config, event_types)

    def emit(self, batch: Events) -> None:
        """Hand events to every output, at once."""
        if not len(batch):
            return
        for event_type, count in batch.counts.items():
            self.counters.add(f"events.{event_type}", count)
        self.plugins.call("ids_events", events=batch)
        if self.plugins.has("ids_event"):
            self.plugins.each("ids_event", "event", batch)
        if self._on_events is not None:
            self._on_events(batch)

    def stats(self, now_ns: int) -> Event:
        """Emit and return a `stats` event."""
        event = self.counted(now_ns)
        self.emit(Events([event]))
        return event

    def counted(self, now_ns: int) -> Event:
        """Return a `stats` event for whoever asks, without writing it to any output."""
        self.plugins.count_times()
        counters = self.all_counters()
        started = self._started_ns if self._started_ns is not None else now_ns
        return {
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

    def all_counters(self) -> Counters:
        """Return the counters, with those of the workers where there are some."""
        if not self.workers:
            return self.counters
        return self.counters.with_workers(self.workers, same_packets=not self._live)

    def _context(self, name: str) -> EngineContext:
        options = self.config.plugins.options.get(name, {})
        return EngineContext(
            self.config, self.counters, options, self.flows,
            live=self._live, outputs=self._outputs, go_on=self._go_on, asked=self._asked,
        )  # fmt: skip

    def _veto(self, address: str, match: Match) -> list[str]:
        return self.plugins.call_strict("ids_veto_block", address=address, match=match)
