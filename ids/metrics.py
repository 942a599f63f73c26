"""Metrics for Prometheus, made of one look at an instance; see docs/metrics.md.

Each family is declared once (`FAMILIES`), with its labels. Addresses are never labels, and what is (reasons, plugins,
rules) is bounded: of each family at most `MOST_LABELS` label values are shown, the largest first.

A counter of which nobody knows is left out rather than shown as zero: an engine that does not answer has no counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ids.kernel.lists.reconcile import Drift
from ids.respond.uninspected import REASONS
from ids.snapshot import Snapshot
from ids.version import __version__

MOST_LABELS = 64
"""Label values of one family that come from names which plugins and rules choose."""

KINDS_OF_DRIFT = tuple(kind.name for kind in fields(Drift))

Row = tuple[tuple[str, ...], float]
"""The values of a family's labels, and its value."""
Rows = Iterable[Row]


@dataclass(frozen=True, slots=True)
class Family:
    """What one metric is, and how it is read off a snapshot."""

    name: str
    """Without the ``_total`` of a counter."""
    help: str
    read: Callable[[Snapshot], Rows]
    labels: tuple[str, ...] = ()
    counter: bool = False

    @property
    def shown_name(self) -> str:
        """The name as it is scraped."""
        return f"{self.name}_total" if self.counter else self.name

    def metric(self, snapshot: Snapshot) -> Metric:
        """Return the family with its samples."""
        made = CounterMetricFamily if self.counter else GaugeMetricFamily
        metric = made(self.name, self.help, labels=self.labels)
        for labels, value in self.read(snapshot):
            metric.add_metric(labels, value)
        return metric


def _one(counter: str, scale: float = 1.0) -> Callable[[Snapshot], Rows]:
    """Read one counter of the engine's: zero where it has not counted yet, nothing where it does not answer."""
    return lambda seen: [((), seen.counters.get(counter, 0) * scale)] if seen.up else []


def _each(prefix: str, scale: float = 1.0, known: Iterable[str] = ()) -> Callable[[Snapshot], Rows]:
    """Read all counters ``prefix.LABEL``, the largest first; those that are ``known`` are shown before they count."""
    zeros = dict.fromkeys(known, 0)
    return lambda seen: _largest((zeros if seen.up else {}) | _named(seen.counters, f"{prefix}."), scale)


def _suffixed(suffix: str, without: str) -> Callable[[Snapshot], Rows]:
    """Read all counters ``LABEL.suffix`` of two words, but that of ``without``: what each output has lost."""

    def read(seen: Snapshot) -> Rows:
        found = {
            name.removesuffix(f".{suffix}"): count
            for name, count in seen.counters.items()
            if name.endswith(f".{suffix}") and name.count(".") == 1 and name != f"{without}.{suffix}"
        }
        return _largest(found)

    return read


def _plugins(what: str) -> Callable[[Snapshot], Rows]:
    """Read all counters ``plugin.LABEL.what``."""

    def read(seen: Snapshot) -> Rows:
        found = _named(seen.counters, "plugin.")
        return _largest({name.removesuffix(what): n for name, n in found.items() if name.endswith(what)})

    return read


def _named(counters: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in counters.items() if name.startswith(prefix)}


def _largest(found: Mapping[str, int], scale: float = 1.0) -> Rows:
    kept = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:MOST_LABELS]
    return [((name,), count * scale) for name, count in sorted(kept)]


def _verdicts(place: int) -> Callable[[Snapshot], Rows]:
    """Read the kernel's verdicts: packets (0) or bytes (1). Every packet has one; those of `would_drop` were passed."""

    def read(seen: Snapshot) -> Iterator[Row]:
        for name, counts in (seen.kernel or {}).items():
            verdict, _, reason = name.partition(".")
            if verdict != "note":
                yield (verdict, reason), counts[place]

    return read


def _notes(seen: Snapshot) -> Iterator[Row]:
    for name, (packets, _) in (seen.kernel or {}).items():
        kind, _, what = name.partition(".")
        if kind == "note":
            yield (what,), packets


def _uninspected(unit: str) -> Callable[[Snapshot], Rows]:
    """Read what went uninspected, in ``flows``, ``packets`` or ``bytes``; the kernel's part without an engine too."""

    def read(seen: Snapshot) -> Iterator[Row]:
        for reason in REASONS:
            names: tuple[str, ...] = getattr(reason, unit)
            kernels = all(name.startswith("kernel.") for name in names)
            if names and (seen.up or (kernels and seen.kernel is not None)):
                intended = "true" if reason.intended else "false"
                yield (reason.name, intended), sum(seen.counters.get(name, 0) for name in names)

    return read


def _rings(what: str) -> Callable[[Snapshot], Rows]:
    return lambda seen: [((str(ring.worker), ring.name), getattr(ring, what)) for ring in seen.rings]


def _uptime(seen: Snapshot) -> Rows:
    return [] if seen.engine is None else [((), seen.engine.get("stats", {}).get("uptime", 0))]


def _if_seen(read: Callable[[Snapshot], float]) -> Callable[[Snapshot], Rows]:
    return lambda seen: [] if seen.kernel is None else [((), read(seen))]


def _heartbeat(seen: Snapshot) -> Rows:
    return [] if seen.heartbeat_age_s is None else [((), seen.heartbeat_age_s)]


FAMILIES = (
    Family("ids_engine_up", "Whether the engine answered within its time.", lambda seen: [((), float(seen.up))]),
    Family(
        "ids_gate_up", "Whether the kernel's counters could be read.", lambda seen: [((), float(bool(seen.kernel)))]
    ),
    Family("ids_engine_uptime_seconds", "Time since the engine began.", _uptime),
    Family("ids_engine_heartbeat_age_seconds", "Time since the engine last showed the kernel it lives.", _heartbeat),
    Family("ids_interfaces_guarded", "Interfaces that have the program.", _if_seen(lambda seen: len(seen.interfaces))),
    Family("ids_shadow_mode", "Whether nothing is dropped, only counted.", _if_seen(lambda seen: float(seen.shadow))),
    Family(
        "ids_verdict_packets", "Packets by the kernel's verdict; one each, but would_drop counts some that passed.",
        _verdicts(0), ("verdict", "reason"), counter=True,
    ),
    Family(
        "ids_verdict_bytes", "Bytes of frames by the kernel's verdict.",
        _verdicts(1), ("verdict", "reason"), counter=True,
    ),
    Family("ids_kernel_notes", "What the kernel noted besides, in packets.", _notes, ("note",), counter=True),
    Family(
        "ids_uninspected_flows", "Flows that went uninspected, or in part, by reason.",
        _uninspected("flows"), ("reason", "intended"), counter=True,
    ),
    Family(
        "ids_uninspected_packets", "Packets that passed uninspected, by reason.",
        _uninspected("packets"), ("reason", "intended"), counter=True,
    ),
    Family(
        "ids_uninspected_bytes", "Bytes that passed uninspected, by reason.",
        _uninspected("bytes"), ("reason", "intended"), counter=True,
    ),
    Family("ids_lag_seconds", "Age of packets when their inspection was over, at worst of the last second.",
           _one("engine.lag_ms", 1e-3)),
    Family("ids_lag_highest_seconds", "The highest lag since the engine began.", _one("engine.lag_highest_ms", 1e-3)),
    Family("ids_ring_waiting_bytes", "Bytes that wait in a ring.", _rings("waiting_bytes"), ("worker", "ring")),
    Family("ids_ring_size_bytes", "Size of a ring.", _rings("size_bytes"), ("worker", "ring")),
    Family("ids_ring_fill_ratio", "The part of a ring that is taken, 0 to 1.", _rings("ratio"), ("worker", "ring")),
    Family("ids_inspected_packets", "Packets decoded.", _one("decode.packets"), counter=True),
    Family("ids_inspected_bytes", "Bytes of the packets decoded.", _one("decode.bytes"), counter=True),
    Family("ids_flows_active", "Flows that are followed now.", _one("flow.active")),
    Family("ids_flows", "Flows that began.", _one("flow.total"), counter=True),
    Family("ids_stage_seconds", "Processor time by stage.", _each("time_us", 1e-6), ("stage",), counter=True),
    Family(
        "ids_rule_seconds", "Time in a rule's condition, estimated from samples; the costliest rules.",
        _each("rule_time_us", 1e-6), ("sid",), counter=True,
    ),
    Family("ids_rule_alerts", "Alerts by rule; the most frequent.", _each("rule_alerts"), ("sid",), counter=True),
    Family(
        "ids_plugin_seconds", "Time in a plugin's hooks, by the clock.",
        _each("plugin_time_us", 1e-6), ("plugin",), counter=True,
    ),
    Family("ids_plugin_failures", "Failed calls of a plugin.", _plugins(".failures"), ("plugin",), counter=True),
    Family(
        "ids_plugin_quarantined", "How often a plugin was set aside.",
        _plugins(".quarantined"), ("plugin",), counter=True,
    ),
    Family("ids_rules_loaded", "Rules in force.", _one("rules.loaded")),
    Family("ids_rules_refused", "Rules that were left out when the files were read.", _one("rules.refused")),
    Family("ids_rule_evaluations", "Conditions of rules that were evaluated.", _one("rules.evaluations"), counter=True),
    Family("ids_rule_faults", "Evaluations that failed.", _one("rules.faults"), counter=True),
    Family("ids_alerts", "Alerts.", _one("detect.alerts"), counter=True),
    Family(
        "ids_alerts_suppressed", "Alerts that thresholds held back.", _one("detect.alerts_suppressed"), counter=True
    ),
    Family("ids_blocks", "Entries of the blocklist.", _one("respond.blocks")),
    Family("ids_blocks_made", "Blocks that rules brought about.", _each("respond.blocked"), ("mode",), counter=True),
    Family("ids_blocks_expired", "Blocks whose time was over.", _one("respond.blocks_expired"), counter=True),
    Family(
        "ids_blocks_refused", "Blocks that policy refused, by reason.",
        _each("respond.refused"), ("reason",), counter=True,
    ),
    Family(
        "ids_blocks_not_biting", "Blocks whose source went on by another way.",
        _one("respond.not_biting.blocks"), counter=True,
    ),
    Family(
        "ids_blocklist_drift", "Entries of the kernel's blocklist that were not as ordered, and put right.",
        _each("respond.drift", known=KINDS_OF_DRIFT), ("kind",), counter=True,
    ),
    Family("ids_events", "Events handed to outputs.", _each("events"), ("type",), counter=True),
    Family("ids_events_lost", "Events that an output lost.", _suffixed("lost", "captures"), ("output",), counter=True),
    Family("ids_captures_lost", "Recordings of packets that were lost.", _one("captures.lost"), counter=True),
    Family("ids_workers_restarted", "Workers started again.", _one("engine.workers_restarted"), counter=True),
    Family("ids_engine_faults", "Batches that a fault of the engine's cost.", _one("engine.faults"), counter=True),
)  # fmt: skip
"""All metrics but the build's."""

BUILD = "ids_build"
SHOWN_NAMES = frozenset({f"{BUILD}_info", *(family.shown_name for family in FAMILIES)})
"""Names as dashboards and alerts use them."""


class Metrics(Collector):
    """Collects the metrics of one instance, anew for each scrape."""

    def __init__(self, look: Callable[[], Snapshot]) -> None:
        self._look = look
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Say nothing: to register must not take a look."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield every family, as of one look."""
        seen = self._look()
        yield InfoMetricFamily(BUILD, "The version that serves these metrics.", value={"version": __version__})
        for family in FAMILIES:
            yield family.metric(seen)

    def scraped(self, accept: str = "") -> tuple[bytes, str]:
        """Return the text of a scrape and its content type, in the form that the ``Accept`` header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
