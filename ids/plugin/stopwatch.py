"""The time that a call takes of its own: while other processes have the processor, the watch stands still.

A budget on a plugin's calls is to catch the plugin that computes or waits for too long. On a machine that is overloaded
every call takes long, and whoever brings that load must not have the detectors set aside for it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress

SCHEDSTAT = "/proc/thread-self/schedstat"
"""Nanoseconds on a processor, nanoseconds of waiting for one, and turns (Documentation/scheduler/sched-stats.rst)."""


class Stopwatch:
    """Call it for seconds of a clock that stands still while the calling thread waits for a processor.

    Of one thread; where a process forks, each has its own time. Where the kernel does not count (CONFIG_SCHED_INFO),
    the clock never stands still.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, schedstat: str = SCHEDSTAT) -> None:
        self._clock = clock
        self._schedstat = schedstat
        self._pid = 0
        self._file: int | None = None
        self._latest = -math.inf

    def __call__(self) -> float:
        """Return the seconds; only differences mean something, and none is negative.

        Who is made to wait between the two looks has that taken off once too often, until the next call.
        """
        self._latest = max(self._latest, self._clock() - self._waited_ns() / 1e9)
        return self._latest

    def _waited_ns(self) -> int:
        if self._pid != os.getpid():  # the file is that of the thread that opened it
            self._open()
        if self._file is None:
            return 0
        try:
            return int(os.pread(self._file, 96, 0).split()[1])
        except (OSError, ValueError, IndexError):
            return 0

    def _open(self) -> None:
        self.close()
        self._pid = os.getpid()
        self._latest = -math.inf
        with suppress(OSError):
            self._file = os.open(self._schedstat, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        self.close()
