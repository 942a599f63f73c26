"""The command: ``python -m tests.fuzz [TARGET...] [--executions N] [--seed N]``."""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import resource
import sys
import time
import traceback
from contextlib import closing
from pathlib import Path

import numpy as np
from rich.progress import Progress

from tests.fuzz.seeds import Seeds, seeds
from tests.fuzz.targets import SHARES, TARGETS, Target

EXECUTIONS = 10_000_000
HANG_S = 60.0
"""A step that takes longer hangs: the stack is printed, and the process ends."""
SLOW_S = 10.0
"""A step that takes longer is reported: something costs more than its size explains."""
GROWTH = 64 * 1024
"""KiB of resident memory that a target may add after its first tenth."""


def main(arguments: list[str]) -> int:
    """Fuzz; return 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all without one")
    parser.add_argument("--executions", type=int, default=EXECUTIONS, help="over all targets named")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    chosen = options.targets or list(TARGETS)
    total = sum(SHARES[name] for name in chosen)
    known = seeds()
    broken = [
        name for name in chosen if not run(name, known, int(options.executions * SHARES[name] / total), options.seed)
    ]
    return 1 if broken else 0


def run(name: str, known: Seeds, executions: int, seed: int) -> bool:
    """Fuzz one target; print what came of it, and return whether all promises held."""
    with closing(TARGETS[name](known)) as target:
        return _steps(name, target, executions, seed)


def _steps(name: str, target: Target, executions: int, seed: int) -> bool:
    done = step = 0
    slowest, began, settled_kib = 0.0, time.monotonic(), 0
    with Progress(transient=True) as progress:
        task = progress.add_task(name, total=executions)
        while done < executions:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            since = time.monotonic()
            try:
                done += target.step(np.random.default_rng([seed, step]))
            except Exception:
                faulthandler.cancel_dump_traceback_later()
                traceback.print_exc()
                print(
                    f"{name}: broken at step {step}: python -m tests.fuzz {name} --seed {seed} --executions {done + 1}"
                )
                return False
            slowest, step = max(slowest, time.monotonic() - since), step + 1
            if not settled_kib and done >= executions // 10:
                settled_kib = resident_kib()
            progress.update(task, completed=done)
    faulthandler.cancel_dump_traceback_later()
    took, grown = time.monotonic() - began, resident_kib() - settled_kib
    print(
        f"{name}: {done:,} executions in {took:.0f} s, {step:,} steps, the slowest {slowest:.2f} s; "
        f"resident {resident_kib() >> 10} MiB, grown by {grown >> 10} MiB after the first tenth"
    )
    if grown > GROWTH or slowest > SLOW_S:
        print(f"{name}: that is too much")
        return False
    return True


def resident_kib() -> int:
    """Return the resident memory of this process in KiB, without what the allocator keeps of what was freed."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 10


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
