"""The workers of a replay: each reads the captures itself, and inspects its share of the flows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from ids.capture import open_capture
from ids.engine import Engine
from ids.errors import CaptureError, IdsError
from ids.flow.share import Share
from ids.inspection import Findings, Inspection
from ids.workers import Report, end_workers, report, start_workers

END_S = 5.0
"""How long the workers may take to end, once all captures are through."""


class WorkerDied(IdsError):
    """A worker of a replay has ended, or lost its place; what it had to inspect was not inspected."""


class Crew:
    """The workers, in step: what each of them found in a batch is collected before the next batch's."""

    def __init__(self, engine: Engine, captures: Sequence[Path], workers: int) -> None:
        """Start the workers; ``engine`` decides, and inspects nothing itself."""
        self._engine = engine

        def body(share: Share, line: Connection) -> None:
            if share.number:  # each decodes all of the capture: what the first one says about that will do
                logging.getLogger("ids.decode").setLevel(logging.ERROR)
            _inspect(engine.inspect(share), engine, captures, line)

        ports = engine.config.protocols.shared_ports
        shares = [Share(number, workers, shared_ports=ports) for number in range(workers)]
        self._workers = start_workers(shares, body)
        engine.workers = [{} for _ in self._workers]

    def found(self, packets: int) -> Findings:
        """Return what all workers found in the next batch, which has so many packets."""
        return self._collect(packets)

    def drained(self) -> Findings:
        """Return what all workers found at the end of a capture; their counters are up to date then."""
        found = self._collect("end")
        self._engine.workers = [worker.counters for worker in self._workers]
        return found

    def _collect(self, expected: int | str) -> Findings:
        parts: list[Findings] = []
        for worker in self._workers:
            try:
                got = worker.receive()
            except EOFError:
                raise WorkerDied(
                    f"worker {worker.share.number} of the replay died; was it killed, or out of memory?"
                ) from None
            if got.answer != expected or got.found is None:
                raise WorkerDied(
                    "the capture changed while it was read, so its readers are out of step; replay it again"
                )
            parts.append(got.found)
        return Findings.merged(parts)

    def close(self) -> None:
        """Let the workers go."""
        end_workers(self._workers, END_S)


def _inspect(inspection: Inspection, engine: Engine, captures: Sequence[Path], line: Connection) -> None:
    for path in captures:
        try:
            with open_capture(path) as capture:
                for batch in capture:
                    found = inspection.process(batch)
                    found.packets = None
                    report(line, Report(found, len(batch)))
        except CaptureError:  # the one that decides meets it too, and reports it
            continue
        report(line, Report(inspection.drain(), "end", counters=dict(engine.counters.values)))
