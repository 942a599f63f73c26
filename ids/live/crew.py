"""The processes that inspect live traffic: one, the engine's own, or several, each behind rings of its own.

A worker that dies is started again. Until then its rings fill, and what finds no room in them is counted by the kernel
(`pass.ring_full`); connections that it followed are taken up in the middle, if `stream.midstream` says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from itertools import chain
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from ids.config import Config
from ids.counters import Counters
from ids.engine import Engine
from ids.errors import IdsError
from ids.flow.share import Share
from ids.inspection import Findings, Inspection
from ids.kernel import FastPath
from ids.live.lag import GAUGE as LAG
from ids.live.lag import Lag
from ids.live.turns import Turns
from ids.memory import Trimmer
from ids.service.privileges import WORKER, keep_only
from ids.types import PacketBatch
from ids.workers import Report, Worker, end_workers, report, start_workers

log = logging.getLogger(__name__)

REST_S = 1.0
"""How long the packets that wait at a stop are inspected; a flood would go on for ever."""
POLL_S = 0.1
"""Longest wait for packets: how soon an idle engine notices a signal, a control request or a timer."""

TICK_S = 1.0
"""How often idle flows are looked for, and a worker's counters are reported."""

MAX_FAULTS = 100
"""Batches in a row that a fault of ours may cost; then the process ends, and is started again where it is a worker."""

RESTART_S = 1.0
"""Between two starts of the same worker: one that dies at its start must not keep the machine busy."""

END_S = 5.0
"""How long workers may take to inspect what they have, when the engine stops."""

ANSWER_S = 120.0
"""How long a worker may take to load rules for a reload, beside its packets; what was compiled for them is in the cache
by then."""

GLANCE_S = 0.02
"""Longest wait for packets while rules are loaded."""

SILENT_S = 15.0
"""Workers report every `TICK_S`. One that is silent for so long hangs, and is started again."""


class Crew(Protocol):
    """Whoever inspects."""

    def work(self, timeout_s: float) -> None:
        """Inspect what has come, or wait for it; decide what was found."""

    def tick(self, now_ns: int) -> None:
        """End idle flows; to be called once a second."""

    def reload(self, config: Config, go_on: Callable[[], bool]) -> list[IdsError]:
        """Take new rules and plugin settings, everywhere or nowhere; return what was refused.

        ``go_on`` is called several times a second; nothing is taken where it returns False.
        """

    def drain(self) -> None:
        """Inspect what waits still, end all flows, and decide what that brings."""


class Guarded:
    """Inspects batches. A fault of ours costs its batch the inspection, loudly, and not the gateway its engine."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._faults = 0

    def run(self, process: Callable[[PacketBatch], object], batch: PacketBatch) -> object:
        """Return what ``process`` makes of the batch, None where it fails; raises after `MAX_FAULTS` in a row."""
        try:
            made = process(batch)
        except Exception:
            self._faults += 1
            self._counters.add("engine.faults")
            self._counters.add("engine.uninspected.fault", len(batch))
            log.exception("a batch of %d packets went uninspected: please report this", len(batch))
            if self._faults >= MAX_FAULTS:
                raise
            return None
        self._faults = 0
        return made


class Alone:
    """The engine inspects by itself."""

    def __init__(self, engine: Engine, fastpath: FastPath) -> None:
        self._engine = engine
        self._fastpath = fastpath
        self._guarded = Guarded(engine.counters)
        self._lag = Lag(engine.counters)
        self._turns = Turns(fastpath.rings, engine.counters)

    def work(self, timeout_s: float) -> None:
        """Inspect what is next; not all there is, so that whoever asks for something else is answered soon."""
        batch = self._turns.next(timeout_s)
        if batch is not None:
            self._guarded.run(self._engine.process, batch)
            self._lag.note(batch)
            self._turns.done()

    def tick(self, now_ns: int) -> None:
        """End idle flows."""
        self._lag.tick()
        self._engine.tick(now_ns)

    def reload(self, config: Config, go_on: Callable[[], bool]) -> list[IdsError]:
        """Reload; what comes meanwhile meets the old rules."""

        def take() -> bool:
            self.work(GLANCE_S)
            return go_on()

        errors = self._engine.prepare_reload(config, take)
        self._engine.finish_reload(commit=not errors)
        return errors

    def drain(self) -> None:
        """Inspect what waits, and end all flows."""
        for batch in self._turns.rest(REST_S):
            self._guarded.run(self._engine.process, batch)
        self._engine.drain()


class Workers:
    """Several processes inspect; the engine decides."""

    def __init__(self, engine: Engine, fastpath: FastPath, count: int) -> None:
        """Start them; each sends a word when its rings are open. Raises `IdsError` where one cannot start."""
        self._engine = engine
        self._fastpath = fastpath
        ports = tuple(chain.from_iterable(engine.config.decode.tunnels.udp_ports or ()))
        shared = engine.config.protocols.shared_ports
        shares = [Share(number, count, fastpath.worker_seed, True, ports, shared) for number in range(count)]
        self._workers = start_workers(shares, self._body)
        self._started = [time.monotonic()] * count
        self._due: dict[int, float] = {}
        """Workers that have ended, and when each is started again."""
        self._answers: dict[int, list[IdsError]] = {}
        self._heard = list(self._started)
        """When each worker reported last."""
        self._worked = self._started[0]
        try:
            for worker in self._workers:
                worker.receive()
        except BaseException as error:
            end_workers(self._workers, 0.0)
            if isinstance(error, EOFError):
                raise IdsError("a worker died at its start; was it killed, or out of memory?") from None
            raise

    def _body(self, share: Share, line: Connection) -> None:
        _Inspector(self._engine, self._fastpath, share, line).live()

    def work(self, timeout_s: float) -> None:
        """Decide what the workers have found; start those again that died."""
        self._hear(timeout_s)
        self._end_silent()
        self._start_due()
        self._engine.workers = [worker.counters for worker in self._workers]

    def tick(self, now_ns: int) -> None:
        """Hold a silent worker for behind by as long; each has a clock of its own for all else."""
        now = time.monotonic()
        silent_s = max((now - heard for heard in self._heard), default=0.0)
        self._engine.counters.set(LAG, int(1000 * silent_s) if silent_s > 2 * TICK_S else 0)

    def reload(self, config: Config, go_on: Callable[[], bool]) -> list[IdsError]:
        """Have all load, and then all put it in force; or none. What they find meanwhile is decided."""
        self._answers.clear()

        def take() -> bool:
            self._hear(GLANCE_S)
            return go_on()

        errors = self._engine.prepare_reload(config, take)
        if errors:  # the workers would find the same
            self._engine.finish_reload(commit=False)
            return errors
        asked = {number for number in range(len(self._workers)) if number not in self._due}
        for number in asked:
            self._workers[number].send(("prepare", config))
        if not self._answered(asked, go_on, "it did not load the rules"):
            errors.append(IdsError("the engine stops"))
        errors += [error for found in self._answers.values() for error in found]
        self._engine.finish_reload(commit=not errors)
        self._answers.clear()
        for worker in self._workers:
            worker.send(("commit", self._engine.wanted) if not errors else ("forget",))
        if not errors:
            self._answered(asked, go_on, "it did not put in force what it had loaded")
            self._name_unfinished()
        return list({str(error): error for error in errors}.values())

    def _answered(self, asked: set[int], go_on: Callable[[], bool], why: str) -> bool:
        """Wait for the answers of workers, and end those that give none; return false where the engine stops."""
        deadline = time.monotonic() + ANSWER_S
        while waits := asked - self._answers.keys() - self._due.keys():  # what ended is started with what is in force
            if not go_on():
                return False
            if time.monotonic() > deadline:
                for number in waits:
                    self._ended(number, f"{why} within {ANSWER_S:g} s")
                break
            self._hear(POLL_S)
        return True

    def _name_unfinished(self) -> None:
        """Add to what failed in this process what did in workers alone."""
        here = set(map(str, self._engine.unfinished))
        self._engine.unfinished += [
            IdsError(f"worker {number}: {error}")
            for number, found in sorted(self._answers.items())
            for error in found
            if str(error) not in here
        ]

    def drain(self) -> None:
        """Have the workers finish, and end them."""
        for worker in self._workers:
            worker.send(("stop",))
        deadline = time.monotonic() + END_S
        for number, worker in enumerate(self._workers):
            if number in self._due:
                continue
            why = f"it did not end within {END_S:g} s"
            try:
                while worker.line.poll(max(0.0, deadline - time.monotonic())):
                    self._take(worker.share.number, worker.receive())
            except EOFError:
                why = ""  # it has said all, and ended
            except Exception as error:
                why = str(error)
            if why:
                self._engine.counters.add("engine.workers_cut_short")
                log.error("worker %d was ended at the stop: %s. What it found last is lost", number, why)
            worker.end(max(0.1, deadline - time.monotonic()))
        self._engine.workers = [worker.counters for worker in self._workers]
        self._engine.drain(found=Findings())

    def _hear(self, timeout_s: float) -> None:
        """Take a report of each worker that has one, or wait for the first."""
        lines = {worker.line: number for number, worker in enumerate(self._workers) if number not in self._due}
        if not lines:
            time.sleep(timeout_s)
        for line in wait(lines, timeout_s):
            self._receive(lines[line])  # type: ignore[index]  # typeshed: sockets and descriptors could be waited for too

    def _receive(self, number: int) -> None:
        worker = self._workers[number]
        self._heard[number] = time.monotonic()
        try:
            self._take(number, worker.receive())
        except EOFError:
            self._ended(number, "it was killed")
        except Exception as error:
            self._ended(number, str(error))

    def _take(self, number: int, got: Report) -> None:
        if isinstance(got.answer, list):  # and not the word of one that was started again
            self._answers[number] = got.answer
        if got.found is not None:
            self._engine.decide(got.found)

    def _end_silent(self) -> None:
        """End workers that hang. Where this process did, or the machine, they get another chance to report."""
        now = time.monotonic()
        if now - self._worked > SILENT_S / 2:
            self._heard = [now] * len(self._workers)
        self._worked = now
        for number, heard in enumerate(self._heard):
            if number not in self._due and now - heard > SILENT_S:
                self._ended(number, f"it has been silent for {SILENT_S:g} s")

    def _ended(self, number: int, why: str) -> None:
        self._engine.counters.add("engine.workers_restarted")
        log.error(
            "worker %d has ended: %s. It is started again; until then its share of the traffic passes uninspected"
            " (pass.ring_full), and open connections of its share are not followed unless stream.midstream is on",
            number, why,
        )  # fmt: skip
        self._workers[number].end(0.1)
        self._due[number] = self._started[number] + RESTART_S

    def _start_due(self) -> None:
        """Start those again whose time has come. Decisions go on meanwhile."""
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            self._started[number] = self._heard[number] = now
            try:
                self._workers[number] = Worker(self._workers[number].share, self._body)
            except OSError as error:  # no process or memory to be had: later, perhaps
                log.error(
                    "worker %d could not be started again: %s. It is tried again in %g s", number, error, RESTART_S
                )
                self._due[number] = now + RESTART_S
            else:
                del self._due[number]


class _Inspector:
    """The inside of a worker."""

    def __init__(self, engine: Engine, fastpath: FastPath, share: Share, line: Connection) -> None:
        self._engine = engine
        self._line = line
        self._rings = fastpath.reader(share.number)
        if engine.config.engine.drop_privileges:
            keep_only(WORKER)  # this process has one thread, and all that it needs is open
        self._inspection: Inspection = engine.inspect(share)
        self._guarded = Guarded(engine.counters)
        self._lag = Lag(engine.counters)
        self._turns = Turns(self._rings, engine.counters)
        self._stop = False
        self._next_tick = time.monotonic() + TICK_S
        self._trimmer = Trimmer(self._next_tick)
        report(line, Report(answer="ready"))

    def live(self) -> None:
        """Inspect until the engine says stop."""
        while not self._stop:
            batch = self._turns.next(POLL_S)
            while self._line.poll():  # first, so that what comes after a reload meets the new rules
                order = self._line.recv()
                if order[0] == "prepare":  # meanwhile later packets are inspected
                    self._turns.begin()
                    self._take(batch)
                    batch = None
                self._obey(*order)
            self._turns.begin()
            self._take(batch)
        for rest in self._turns.rest(REST_S):
            self._send(self._guarded.run(self._inspection.process, rest))
        self._send(self._inspection.drain(), counters=True)

    def _take(self, batch: PacketBatch | None) -> None:
        """Inspect what has come, and report once a second."""
        if batch is not None:
            self._send(self._guarded.run(self._inspection.process, batch))
            self._turns.done()
            self._lag.note(batch)
        if time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + TICK_S
            self._lag.tick()
            self._send(self._inspection.expire(time.time_ns()), counters=True)
            self._trimmer.tick(self._next_tick)

    def _go_on(self) -> bool:
        """Inspect while rules are loaded."""
        self._take(self._turns.next(GLANCE_S))
        return True

    def _send(self, found: object, *, counters: bool = False) -> None:
        if not isinstance(found, Findings):
            return
        found.packets = None
        if counters:
            report(self._line, Report(found, counters=dict(self._engine.counters.values)))
        elif not found.empty:
            report(self._line, Report(found))

    def _obey(self, order: str, what: Any = None) -> None:
        if order == "prepare":
            report(self._line, Report(answer=self._engine.prepare_reload(what, self._go_on)))
        elif order == "commit":
            failed = self._engine.finish_reload(commit=True)
            self._engine.want(what)
            report(self._line, Report(answer=failed))
        elif order == "forget":
            self._engine.finish_reload(commit=False)
        elif order == "stop":
            self._stop = True


def make_crew(engine: Engine, fastpath: FastPath, workers: int) -> Crew:
    """Return who inspects: the engine itself where there is to be one, else as many processes."""
    return Alone(engine, fastpath) if workers == 1 else Workers(engine, fastpath, workers)


__all__: Sequence[str] = ["POLL_S", "TICK_S", "Crew", "make_crew"]
