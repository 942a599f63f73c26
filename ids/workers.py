"""Inspection spread over processes: each has its share of the flows, and sends what it finds to the one that decides.

A worker is a fork of the started engine, so that rules are loaded once, with an `ids.inspection.Inspection` of its own.
Which flow is whose follows from a symmetric hash of its ends, so that both directions meet in one worker; what must be
seen whole before that is known (fragments) goes to all of them, and each keeps its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import traceback
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Protocol
from weakref import WeakSet

from ids.errors import IdsError
from ids.flow.share import Share
from ids.inspection import Findings

_PR_SET_PDEATHSIG = 1

MAX_WORKERS = 16
"""Beyond it the one that decides and the memory for the rings are the limit, not inspection."""


_parents_ends: WeakSet[Connection] = WeakSet()
"""Our ends of the lines to workers. Every fork has them too, and lets go of them: else no worker would notice that
nobody listens any more."""


@dataclass(slots=True)
class Report:
    """What a worker sends: findings, the answer to a question, or the error that ended it."""

    found: Findings | None = None
    answer: Any = None
    error: BaseException | None = None
    counters: dict[str, int] = field(default_factory=dict)
    """The worker's counters, where they are due."""


def worker_count(setting: int | str) -> int:
    """Return how many workers a setting means: a number, or ``auto``, one for each processor that we may use."""
    return min(len(os.sched_getaffinity(0)), MAX_WORKERS) if setting == "auto" else int(setting)


class Body(Protocol):
    """What a worker does with its life: it gets its place in the crew and the line to whoever decides."""

    def __call__(self, share: Share, line: Connection) -> None:
        """Run until there is no more to do."""


class Worker:
    """A worker process, as its parent sees it."""

    def __init__(self, share: Share, body: Body) -> None:
        """Fork; raises `OSError` where no process can be made."""
        self.share = share
        self.counters: dict[str, int] = {}
        self.line, theirs = multiprocessing.Pipe()
        _parents_ends.add(self.line)
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_run, args=(share, body, theirs, os.getpid()), daemon=True)
        with warnings.catch_warnings():
            # Python warns of a fork beside threads. The child touches nothing that a thread of the parent may hold: it
            # loads, reads rings or files, and writes to its own pipe.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.is_alive()

    def receive(self) -> Report:
        """Wait for the next report; raises `EOFError` where the worker has died, and what it died of if it said so."""
        try:
            report: Report = pickle.loads(self.line.recv_bytes())
        except ConnectionError as error:
            raise EOFError from error
        if report.counters:
            self.counters = report.counters
        if report.error is not None:
            raise report.error
        return report

    def send(self, message: tuple[Any, ...]) -> None:
        """Say something to the worker; one that has died does not hear it."""
        with contextlib.suppress(OSError):
            self.line.send(message)

    def end(self, patience_s: float) -> None:
        """Wait for the process to end; beyond ``patience_s``, end it."""
        self.line.close()
        self._process.join(patience_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def start_workers(shares: Iterable[Share], body: Body) -> list[Worker]:
    """Start a worker for each share; where one cannot be had (`OSError`), none stays behind."""
    workers: list[Worker] = []
    with contextlib.ExitStack() as undo:
        for share in shares:
            worker = Worker(share, body)
            undo.callback(worker.end, 0.0)
            workers.append(worker)
        undo.pop_all()
    return workers


def end_workers(workers: Iterable[Worker], patience_s: float) -> None:
    """End workers. Those that nobody ends keep the interpreter waiting at its exit, for they are deaf to SIGTERM."""
    for worker in workers:
        worker.end(patience_s)


def report(line: Connection, report: Report) -> None:
    """Send a report from within a worker."""
    line.send_bytes(pickle.dumps(report, pickle.HIGHEST_PROTOCOL))


def _run(share: Share, body: Body, line: Connection, parent: int) -> None:
    """Live as a worker: deaf to the terminal's signals, and gone when the parent is."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    for end in list(_parents_ends):
        end.close()
    try:
        body(share, line)
    except (BrokenPipeError, EOFError):
        return
    except IdsError as error:
        report(line, Report(error=error))
    except BaseException as error:
        report(line, Report(error=RuntimeError(f"worker {share.number}: {error!r}\n{traceback.format_exc()}")))
