"""A wall clock that can be set, for processes of a test alone: the host's own stays as it is.

Put on the ``PYTHONPATH`` as ``sitecustomize``, this makes Python's `time.time` and `time.time_ns` run ahead by the
nanoseconds that stand in a file, in every process that is started with the file's name in its environment. What is
measured by the monotonic clock, which the kernel's programs use too, is untouched, as when somebody sets the time.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "IDS_BENCH_CLOCK"
_AHEAD = struct.Struct("<q")


def prepare(folder: Path) -> Mapping[str, str]:
    """Make the file, and return the environment of processes that follow it."""
    file = folder / "clock"
    file.write_bytes(_AHEAD.pack(0))
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(Path(__file__).read_text() + "\n_follow()\n")
    return {VARIABLE: str(file), "PYTHONPATH": str(site)}


def step(folder: Path, seconds: float) -> None:
    """Set the clock of all who follow it to so many seconds ahead of the host's."""
    with (folder / "clock").open("r+b") as file:
        file.write(_AHEAD.pack(int(seconds * 1e9)))


def _follow() -> None:
    if VARIABLE not in os.environ:
        return
    with open(os.environ[VARIABLE], "rb") as file:
        ahead = memoryview(mmap.mmap(file.fileno(), _AHEAD.size, prot=mmap.PROT_READ)).cast("q")
    real_ns, real = time.time_ns, time.time
    time.time_ns = lambda: real_ns() + ahead[0]
    time.time = lambda: real() + ahead[0] / 1e9
