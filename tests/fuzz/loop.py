"""The run of one subject: inputs, one after the other, what must hold of each, and what came of all."""

from __future__ import annotations

import faulthandler
import gc
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from tests.fuzz.cases import Step, as_file, lengthy
from tests.fuzz.corpus import CACHE
from tests.fuzz.outcome import Outcome, resident_kib
from tests.fuzz.reached import Reached
from tests.fuzz.subjects import KINDS, PromiseBroken, Subject

SETTLE_EVERY = 250
"""Executions after which a subject settles,"""
COLLECT_EVERY = 20_000
"""after which garbage is collected,"""
LONG_EVERY = 10_000
"""and after which an input is a long one."""
EXPLORE_SHARE = 100
"""One of so many executions is traced, at the beginning: what reaches new lines becomes a seed."""
LEAST_EXPLORED, MOST_EXPLORED = 10, 4000
MOST_FOUND = 400
"""Inputs that become seeds."""
OVERHEAD_S = 5e-6
"""What a turn of a seed costs before any of it is parsed."""
PICKED = 2048
"""Seeds picked at once."""

BASE_S = 0.25
"""CPU time that an input may take, whatever its size,"""
BYTE_S = 20e-6
"""and for each of its bytes,"""
STEP_S = 200e-6
"""and for each of its steps: ten times what the slowest parsers take."""
LEAST_WORST_S = 0.02
"""Inputs that take less by the clock on the wall are not timed."""
HANG_S = 30
"""CPU seconds after which an input that goes on is broken off."""
GROWTH_KIB = 64 * 1024
"""Resident memory that a subject may add after its first tenth."""
GARBAGE_GROWTH = 50_000
"""Objects that it may add."""
_NUMBER = re.compile(r"\d[\d,.]*")
MOST_FAILURES = 20
"""Different failures after which a run ends."""


class Hung(PromiseBroken):
    """An input that takes no end."""


class Run:
    """One subject for a number of executions."""

    def __init__(
        self,
        name: str,
        subject: Subject,
        seed: int,
        failed_dir: Path = CACHE / "failed",
        *,
        long_every: int = LONG_EVERY,
    ) -> None:
        self.outcome = Outcome(name, seeds=len(subject.cases))
        self._subject = subject
        self._rng = Random(f"{name} {seed}")
        self._failed_dir = failed_dir
        self._long_every = long_every
        self._long_at = long_every
        """Executions at which the next input is a long one."""
        self._costs = [1.0] * len(subject.cases)
        self._picked: list[int] = []
        self.missing: list[str] = []
        """Lines that were not reached."""
        self._recent: list[list[Step]] = []
        """Inputs since the subject settled last."""
        self._collected = 0

    def go(self, executions: int, report: Callable[[int], None] = lambda done: None) -> Outcome:
        """Execute so many inputs; ``report`` is called with the number of those done now and then."""
        outcome, began = self.outcome, time.thread_time()
        signal.signal(signal.SIGVTALRM, _hung)
        gc.collect()
        gc.freeze()  # what is there already costs no time when garbage is looked for
        gc.disable()
        try:
            self._calibrate()
            if executions >= LEAST_EXPLORED * EXPLORE_SHARE:
                self._explore(min(executions // EXPLORE_SHARE, MOST_EXPLORED))
            settled_kib = settled_objects = 0
            while outcome.executions < executions and len(outcome.failures) < MOST_FAILURES:
                self._block(min(SETTLE_EVERY, executions - outcome.executions))
                if outcome.executions - self._collected >= COLLECT_EVERY:
                    self._collect()
                report(outcome.executions)
                if not settled_kib and outcome.executions * 10 >= executions:
                    self._collect()
                    settled_kib, settled_objects = resident_kib(), len(gc.get_objects())
            self._collect()
            outcome.grown_kib = max(resident_kib() - settled_kib, 0)
            if outcome.grown_kib > GROWTH_KIB:
                outcome.failures["memory"] = f"it has grown by {outcome.grown_kib} KiB"
            if (more := len(gc.get_objects()) - settled_objects) > GARBAGE_GROWTH:
                outcome.failures["objects"] = f"there are {more} objects more"
        finally:
            self._subject.close()
            gc.enable()
            gc.unfreeze()
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            faulthandler.cancel_dump_traceback_later()
        outcome.seconds = time.thread_time() - began
        seen = self._subject.seen
        outcome.counted = sum(name.startswith(b"#") for name in seen)
        outcome.odd = len(seen) - outcome.counted
        return outcome

    def repeat(self, steps: list[Step]) -> None:
        """Execute one input; what it raises, is raised."""
        self._subject.execute(steps)
        self._subject.weigh()
        self._subject.settle()

    def _calibrate(self) -> None:
        """Find out what each seed costs: the cheaper one is, the more often it is taken."""
        self._watch()
        for at, case in enumerate(self._subject.cases):
            steps = [Step(*turn) for turn in case]
            before = time.thread_time()
            self._take(steps)
            self._costs[at] = time.thread_time() - before + OVERHEAD_S * (4 + len(case))
        self._settle()

    def _explore(self, executions: int) -> None:
        """Trace some executions; keep the inputs that reach new lines as seeds."""
        if not self._subject.code:
            return
        reached, subject, outcome = Reached(self._subject.code), self._subject, self.outcome
        for case in list(subject.cases):
            steps = [Step(*turn) for turn in case]
            reached.run(lambda steps=steps: self._take(steps))  # type: ignore[misc]
        for number in range(executions):
            if not number % 100:
                self._settle()
                self._watch()
            steps = self._input()
            self._recent.append(steps)
            outcome.executions += 1
            before = time.thread_time()
            if reached.run(lambda: self._take(steps)) and outcome.found < MOST_FOUND:  # noqa: B023
                outcome.found += 1
                subject.cases.append(tuple((step.side, step.data) for step in steps if step.data) or ((0, b""),))
                self._costs.append((time.thread_time() - before) / 10 + OVERHEAD_S * (4 + len(steps)))
                self._picked = []
        outcome.share = reached.share
        self.missing = reached.missing()
        self._settle()

    def _block(self, executions: int) -> None:
        """Execute some inputs, and settle."""
        self._watch()
        clock, outcome = time.perf_counter, self.outcome
        recent, limit = self._recent, max(outcome.worst_s, LEAST_WORST_S)
        before = clock()
        for _ in range(executions):
            steps = self._input()
            recent.append(steps)
            self._take(steps)
            now = clock()
            if now - before > limit:
                self._time(steps)
                limit, now = max(outcome.worst_s, LEAST_WORST_S), clock()
            before = now
        outcome.executions += executions
        while self._subject.long and outcome.executions >= self._long_at:
            self._long_at += self._long_every
            self._watch()
            self._long()
        self._settle()

    def _time(self, steps: list[Step]) -> None:
        """Execute an input once more that took long: the machine may have been busy with others."""
        before = time.thread_time()
        self._take(steps)
        took = time.thread_time() - before
        self.outcome.worst_s = max(self.outcome.worst_s, took)
        self._judge_time(took, steps)

    def _long(self) -> None:
        """Execute long inputs, and weigh what they leave."""
        steps = lengthy(*self._two(), self._rng)
        self._recent.append(steps)
        before = time.thread_time()
        self._take(steps)
        took = time.thread_time() - before
        self.outcome.worst_long_s = max(self.outcome.worst_long_s, took)
        self._judge_time(took, steps)
        try:
            self.outcome.held = max(self.outcome.held, self._subject.weigh())
        except PromiseBroken as broken:
            self._fail(broken, steps)

    def _two(self) -> tuple[Any, Any]:
        """Return a seed, and another one to take from."""
        if not self._picked:
            cases = self._subject.cases
            self._picked = self._rng.choices(range(len(cases)), [1 / cost for cost in self._costs], k=PICKED)
        cases = self._subject.cases
        return cases[self._picked.pop()], cases[int(self._rng.random() * len(cases))]

    def _input(self) -> list[Step]:
        return self._subject.vary(*self._two(), self._rng)

    def _take(self, steps: list[Step]) -> None:
        try:
            self.outcome.made += self._subject.execute(steps)
        except Hung as error:
            self._watch()
            self._fail(error, steps)
        except Exception as error:
            self._fail(error, steps)

    def _settle(self) -> None:
        try:
            self._subject.settle()
        except PromiseBroken as broken:
            self._fail(broken, self._culprit())
        self._recent.clear()

    def _culprit(self) -> list[Step]:
        """Return the input that does it alone, of those since the subject settled; the last one where none does."""
        for kind in KINDS:
            for steps in self._recent:
                self._subject.again(kind)
                try:
                    self.repeat(steps)
                except Exception:
                    self._subject.again(kind)
                    return steps
            self._subject.again(kind)
        return self._recent[-1] if self._recent else []

    def _collect(self) -> None:
        self.outcome.garbage += gc.collect()
        self._collected = self.outcome.executions

    def _judge_time(self, took: float, steps: Sequence[Step]) -> None:
        allowed = BASE_S + BYTE_S * sum(len(step.data) for step in steps) + STEP_S * len(steps)
        if took > allowed:
            self._fail(PromiseBroken(f"it took {took:.2f} s of {allowed:.2f} s"), steps)

    def _watch(self) -> None:
        """Have an input broken off that does not end; one that does not even hear of it ends the process."""
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
        faulthandler.dump_traceback_later(20 * HANG_S, exit=True, file=2)

    def _fail(self, error: Exception, steps: Sequence[Step]) -> None:
        """Keep an input that broke something: one for each place."""
        outcome = self.outcome
        outcome.failed += 1
        place = _place_of(error)
        if place in outcome.failures:
            return
        path = self._failed_dir / f"{outcome.name}-{len(outcome.failures) + 1}.json"
        as_file(path, outcome.name, steps)
        outcome.failures[place] = f"python -m tests.fuzz {outcome.name} --input {path}"
        print(f"{outcome.name}: {place}: {error}\n    {outcome.failures[place]}", file=sys.stderr, flush=True)
        traceback.print_exception(error, file=sys.stderr)


def _place_of(error: Exception) -> str:
    """Return what tells failures apart: where something was raised, or which promise was broken."""
    frames = list(traceback.extract_tb(error.__traceback__))
    if isinstance(error, Hung):
        frames = frames[:-1]  # not that of the signal's handler
    elif isinstance(error, PromiseBroken) or not frames:
        return _NUMBER.sub("N", str(error))
    return f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}"


def _hung(number: int, frame: FrameType | None) -> None:
    raise Hung(f"no end after {HANG_S} CPU seconds")
