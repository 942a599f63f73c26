"""The run of a stage: steps of many executions each, kept in one state as an engine keeps it."""

from __future__ import annotations

import faulthandler
import time
import traceback
from collections.abc import Callable
from contextlib import closing

import numpy as np

from tests.fuzz.loop import GROWTH_KIB
from tests.fuzz.outcome import Outcome, resident_kib
from tests.fuzz.seeds import Seeds
from tests.fuzz.targets import TARGETS

HANG_S = 300.0
"""A step that takes longer hangs: the stack is printed, and the process ends."""
SLOW_S = 10.0
"""CPU time of a step that costs more than its size explains."""


def run_stage(
    name: str, known: Seeds, executions: int, seed: int, report: Callable[[int], None] = lambda done: None
) -> Outcome:
    """Fuzz one stage; return what came of it."""
    outcome = Outcome(name, seeds=len(known.paths))
    began, settled_kib, step = time.thread_time(), 0, 0
    with closing(TARGETS[name](known)) as target:
        while outcome.executions < executions and not outcome.failures:
            faulthandler.dump_traceback_later(HANG_S, exit=True, file=2)
            before = time.thread_time()
            try:
                outcome.executions += target.step(np.random.default_rng([seed, step]))
            except Exception as error:
                traceback.print_exc()
                again = f"python -m tests.fuzz {name} --seed {seed} --executions {outcome.executions + 1}"
                print(f"{name}: broken at step {step}: {again}", flush=True)
                outcome.failures[str(error)] = again
            step += 1
            outcome.worst_s = max(outcome.worst_s, time.thread_time() - before)
            if not settled_kib and outcome.executions * 10 >= executions:
                settled_kib = resident_kib()
            report(outcome.executions)
        outcome.made = target.number
    faulthandler.cancel_dump_traceback_later()
    outcome.seconds = time.thread_time() - began
    outcome.grown_kib = max(resident_kib() - settled_kib, 0)
    if outcome.grown_kib > GROWTH_KIB:
        outcome.failures["memory"] = f"it has grown by {outcome.grown_kib} KiB"
    if outcome.worst_s > SLOW_S:
        outcome.failures["time"] = f"a step took {outcome.worst_s:.1f} s"
    return outcome
