"""Runs captures through the engine and the gate, and reports what they would have done in front of the wire."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ids.capture import open_capture
from ids.config import Config
from ids.counters import Counters
from ids.decode import Decoder
from ids.engine import Engine, OnEvents, settle_memory
from ids.errors import CaptureError
from ids.events import Events
from ids.inspection import Findings
from ids.replay.captures import plain_size
from ids.replay.crew import Crew
from ids.replay.gate import OnVerdicts, ReplayGate
from ids.replay.judges import Chosen, choose
from ids.replay.report import MAX_ALERTS_KEPT, CaptureReport, ReplayReport
from ids.respond.uninspected import uninspected
from ids.types import U8, PacketBatch, Packets
from ids.workers import worker_count

if TYPE_CHECKING:
    from ids.replay.page.collect import Collector

OnProgress = Callable[[Path, int], None]

WORTH_A_WORKER_BYTES = 16 << 20
"""Captures of which even a single worker is a process of its own where a fast path judges every packet, so that it
inspects a batch while the one before is judged. To start one takes some 20 ms."""


def replay(
    paths: Iterable[str | Path],
    config: Config,
    *,
    on_events: OnEvents | None = None,
    on_progress: OnProgress | None = None,
    on_verdicts: OnVerdicts | None = None,
    collector: Collector | None = None,
) -> ReplayReport:
    """Run captures through a fresh engine and a fresh gate, one after the other, and report.

    ``on_events`` gets all events, a batch at a time. ``on_progress`` is called after each batch with the file and the
    bytes read of it, ``on_verdicts`` with what the fast path made of the batch's packets. ``collector`` takes what a
    page is to show. A file that is no capture is noted in the report where it is one of several. Raises `IdsError` for
    what stops the whole run: the only file is no capture, rules that do not load, a fast path that was asked for and is
    not available.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        captures = [Path(path) for path in paths]
        # Loading and verifying the program takes as long as loading the rules: both at once.
        opening = stack.enter_context(ThreadPoolExecutor(1)).submit(
            choose, config.fastpath, on_verdicts is not None, plain_size(captures)
        )
        stack.callback(_close, opening)
        run = _Run(config, on_events, on_progress, on_verdicts, collector)
        stack.callback(run.stop)
        settle_memory()
        run.arm(opening.result())
        run.share_out(captures)
        for path in captures:
            try:
                run.capture(path)
            except CaptureError as error:
                if len(captures) == 1:
                    raise
                run.report.captures[-1].problem, run.report.captures[-1].refused = str(error), True
        counters = run.engine.all_counters()
        run.report.counters = counters.tree()
        run.report.uninspected = [row.to_json() for row in uninspected(counters.values, live=False)]
    run.report.seconds = time.perf_counter() - started
    return run.report


def _close(opening: Future[Chosen]) -> None:
    if opening.exception() is None:
        opening.result().close()


def _read_once(path: Path) -> bool:
    return str(path) == "-" or path.is_fifo()


class _Run:
    """A replay while it goes on."""

    def __init__(
        self,
        config: Config,
        on_events: OnEvents | None,
        on_progress: OnProgress | None,
        on_verdicts: OnVerdicts | None,
        collector: Collector | None,
    ) -> None:
        self.report = ReplayReport()
        self.counters = Counters()
        self._config = config
        self._on_events, self._on_progress, self._on_verdicts = on_events, on_progress, on_verdicts
        self._collector = collector
        self._alerts: Counter[int] = Counter()
        self._chosen = Chosen("off", None)
        self._gate = ReplayGate()
        self._crew: Crew | None = None
        self.engine = Engine(
            config, self._gate, counters=self.counters, on_events=self._note,
            event_types=None if on_events is not None else {"alert"} if collector is None else {"alert", "flow"},
        )  # fmt: skip

    def share_out(self, captures: Sequence[Path]) -> None:
        """Start the workers: where there is to be more than one, or where the fast path has much to judge meanwhile.

        What can be read only once, one process reads.
        """
        if any(_read_once(path) for path in captures):
            return
        workers = worker_count(self._config.engine.workers)
        size = sum(path.stat().st_size for path in captures if path.is_file())
        if workers > 1 or (self._chosen.judge is not None and size >= WORTH_A_WORKER_BYTES):
            self._crew = Crew(self.engine, captures, workers)

    def stop(self) -> None:
        """End the workers and the engine."""
        if self._crew is not None:
            self._crew.close()
        self.engine.stop(None if self._crew is None else Findings())

    def arm(self, chosen: Chosen) -> None:
        """Let ``chosen`` judge what follows."""
        self._chosen = chosen
        self._renew(self._gate)
        self.report.fast_path, self.report.fast_path_note = chosen.name, chosen.note

    def _renew(self, gate: ReplayGate) -> None:
        self._gate, gate.on_verdicts = gate, self._see_verdicts
        judge = gate.judge = self._chosen.judge
        if judge is not None:
            judge.reset()
            judge.shadow(self._config.respond.mode == "shadow")
            judge.look_into(self._config.decode.tunnels.udp_ports)
            judge.allow(self._config.respond.allow)

    def _note(self, events: Events) -> None:
        if "alert" in events.counts:
            alerts = [event for event in events if event["event_type"] == "alert"]
            self._alerts.update(event["alert"]["signature_id"] for event in alerts)
            self.report.alerts += alerts[: MAX_ALERTS_KEPT - len(self.report.alerts)]
        if self._collector is not None:
            self._collector.events(events)
        if self._on_events is not None:
            self._on_events(events)

    def _see_verdicts(self, batch: PacketBatch, actions: U8, reasons: U8) -> None:
        if self._collector is not None:
            self._collector.verdicts(batch, actions, reasons)
        if self._on_verdicts is not None:
            self._on_verdicts(batch, actions, reasons)

    def _inspect(self, batch: PacketBatch) -> Callable[[], Packets]:
        """Have a batch inspected, here or by the workers; return what gives it decoded."""
        if self._crew is None:
            packets = self.engine.process(batch)
            return lambda: packets

        def decoded() -> Packets:
            return Decoder(self._config.decode, Counters()).decode(batch)

        self.engine.take(batch, self._crew.found(len(batch)), decoded)
        return decoded

    def capture(self, path: Path) -> None:
        """Run one capture, then forget its traffic: it says nothing of the next."""
        report, gate = CaptureReport(str(path)), self._gate
        self.report.captures.append(report)
        self._alerts.clear()
        flows_before = self.counters["flow.ended"]
        with open_capture(path) as capture:
            for batch in capture:
                gate.observe(batch, self._inspect(batch))
                if self._collector is not None:
                    self._collector.batch(batch)
                self._chosen.spend(len(batch))
                gate.judge = self._chosen.judge
                report.packets += len(batch)
                report.bytes += int(batch.wirelen.sum())
                if self._on_progress is not None:
                    self._on_progress(path, capture.bytes_read)
            if capture.problem is not None:
                report.problem = str(capture.problem)
        report.verdicts = gate.verdicts()
        for reason, tally in report.verdicts.items():
            self.counters.add(f"kernel.{reason}.packets", tally.packets)
            self.counters.add(f"kernel.{reason}.bytes", tally.bytes)
        self._renew(ReplayGate())
        self.engine.drain(self._gate, self._crew.drained() if self._crew else None)
        report.blocks, report.dropped_flows = gate.blocks, gate.dropped_flows
        report.alerts = dict(sorted(self._alerts.items()))
        report.flows = self.counters["flow.ended"] - flows_before
        self.report.fast_path_note = self._chosen.note
