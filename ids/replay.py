"""Runs captures through the engine, and tells what it would have done in front of the wire."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ids.capture import open_capture
from ids.config import Config
from ids.counters import Counters
from ids.engine import Engine
from ids.errors import UsageError
from ids.respond.events import Event
from ids.respond.gate import BlockOrder
from ids.types import Flow, IPAddress, Packets, address_halves

SUFFIXES = (".pcap", ".pcapng", ".cap", ".dmp")
COMPRESSED = ("", ".gz", ".bz2", ".xz", ".zst")
"""What counts as a capture when a folder is given; a file named outright may be called anything."""

MAX_ALERTS_KEPT = 1000
"""Alerts that a report holds in full; all are counted, and all go to the outputs."""


@dataclass(slots=True)
class BlockReport:
    """One block that the engine ordered during a replay."""

    network: str
    sid: int
    mode: str
    ttl_s: int
    ordered_at: int
    """Number of the packet whose inspection ordered the block."""
    cut_off_from: int | None = None
    """Number of the first later packet of that source: the fast path would have dropped it."""
    packets: int = 0
    """Packets of that source from there on, while the block lasts."""


@dataclass(slots=True)
class CaptureReport:
    """What one capture held."""

    path: str
    packets: int = 0
    bytes: int = 0
    flows: int = 0
    alerts: dict[int, int] = field(default_factory=dict)
    """Alerts by signature id."""
    blocks: list[BlockReport] = field(default_factory=list)
    problem: str | None = None
    """Why the capture was not read to its end."""


@dataclass(slots=True)
class ReplayReport:
    """What a replay found."""

    captures: list[CaptureReport] = field(default_factory=list)
    alerts: list[Event] = field(default_factory=list)
    """The first `MAX_ALERTS_KEPT` alert events."""
    counters: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def packets(self) -> int:
        """Packets of all captures."""
        return sum(capture.packets for capture in self.captures)


class ReplayGate:
    """Stands where the kernel's maps would: remembers orders, and finds the packets that they would have stopped."""

    def __init__(self) -> None:
        self.blocks: list[BlockReport] = []
        self._orders: list[tuple[BlockOrder, BlockReport]] = []

    def block(self, order: BlockOrder) -> int | None:
        """Remember the order; it applies to the packets after the one that caused it."""
        report = BlockReport(str(order.network), order.sid, order.mode.value, order.ttl_s, order.number)
        self.blocks.append(report)
        self._orders.append((order, report))
        return None

    def condemn(self, flow: Flow) -> None:
        """Nothing to do: the packets of a capture have all arrived."""

    def proven(self, address: IPAddress) -> bool:
        """Only the flow's own handshake counts in a replay."""
        return False

    def observe(self, packets: Packets) -> None:
        """Count the packets of this batch that the blocks so far would have met."""
        numbers, times = packets.batch.number, packets.batch.ts_ns
        for order, report in self._orders:
            mask, value = _halves(order)
            rows = (numbers > order.number) & (times < order.ts_ns + order.ttl_s * 1_000_000_000)
            rows &= ((packets.src & mask) == value).all(axis=1)
            hits = np.flatnonzero(rows)
            if len(hits):
                report.packets += len(hits)
                first = int(numbers[hits].min())
                report.cut_off_from = first if report.cut_off_from is None else min(first, report.cut_off_from)


def _halves(order: BlockOrder) -> tuple[Any, Any]:
    """Return the network as a mask and a value of two 64-bit halves."""
    network = order.network
    length = network.prefixlen + (96 if network.version == 4 else 0)
    mask = ((1 << length) - 1) << (128 - length)
    low = (1 << 64) - 1
    value = address_halves(network.network_address)
    return np.array([mask >> 64, mask & low], np.uint64), np.array(value, np.uint64)


def find_captures(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files meant by paths, folders searched through; raises `UsageError` where there is none."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and is_capture_name(p))
            if not inside:
                raise UsageError(
                    f"{path}: no capture in this folder (looked for {', '.join(SUFFIXES)}, also compressed)"
                )
            found += inside
        else:
            found.append(path)
    return found


def is_capture_name(path: Path) -> bool:
    """Tell whether a file is called like a capture, compressed or not."""
    return path.name.lower().endswith(tuple(s + c for s in SUFFIXES for c in COMPRESSED))


def replay(
    paths: Iterable[str | Path],
    config: Config,
    *,
    on_event: Callable[[Event], None] | None = None,
    on_progress: Callable[[Path, int], None] | None = None,
) -> ReplayReport:
    """Run captures through a fresh engine, one after the other, and report.

    ``on_progress`` is called after each batch with the file and the bytes read of it. Raises `IdsError` for what
    stops the whole run: a file that is no capture, rules that do not load.
    """
    report = ReplayReport()
    counters = Counters()
    current = Counter[int]()

    def note(event: Event) -> None:
        if event["event_type"] == "alert":
            current[event["alert"]["signature_id"]] += 1
            if len(report.alerts) < MAX_ALERTS_KEPT:
                report.alerts.append(event)
        if on_event is not None:
            on_event(event)

    started = time.perf_counter()
    gate = ReplayGate()
    engine = Engine(config, gate, counters=counters, on_event=note)
    try:
        for path in map(Path, paths):
            capture_report = CaptureReport(str(path))
            report.captures.append(capture_report)
            flows_before, current = counters["events.flow"], Counter()
            with open_capture(path) as capture:
                for batch in capture:
                    gate.observe(engine.process(batch))
                    capture_report.packets += len(batch)
                    capture_report.bytes += int(batch.wirelen.sum())
                    if on_progress is not None:
                        on_progress(path, capture.bytes_read)
                if capture.problem is not None:
                    capture_report.problem = str(capture.problem)
            blocks, gate = gate.blocks, ReplayGate()
            engine.drain(gate)
            capture_report.blocks = blocks
            capture_report.alerts = dict(sorted(current.items()))
            capture_report.flows = counters["events.flow"] - flows_before
    finally:
        engine.stop()
    report.counters = counters.tree()
    report.seconds = time.perf_counter() - started
    return report
