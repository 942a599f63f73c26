"""Commands that are measured: how long they took, and how much memory they and their children had at most."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.report import CannotRun

IDS = str(Path(sys.executable).with_name("ids"))
"""The command line under test: the one beside this interpreter."""
SAMPLE_S = 0.2
"""Distance of two looks at the memory of a process and its children."""
LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command."""

    seconds: float
    cpu_s: float
    """User and system time, children included."""
    peak_mib: float
    """Resident memory: of one process its peak, of several the sum of theirs, shared pages counted for each."""
    stdout: str


def run_measured(command: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end and measure it; it is killed with its children where this is interrupted.

    Raises `CannotRun` with the end of its log when it fails or takes longer than `LIMIT_S`.
    """
    output, errors = cwd / "stdout", cwd / "stderr"
    kept = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }  # as operators have it
    with output.open("wb") as out, errors.open("wb") as err:
        started, ours_mib = time.perf_counter(), _status_mib(os.getpid(), "VmHWM")
        process = subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
            env={**kept, **(environment or {})},
        )  # fmt: skip
        memory = _Memory(process.pid)
        memory.start()
        killer = threading.Timer(LIMIT_S, _kill, (process.pid,))
        killer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            killer.cancel()
            if process.returncode is None:
                _kill(process.pid)
                process.wait()
            memory.stop()
    if process.returncode:
        raise CannotRun(f"{command[0]} ended with {process.returncode}: {errors.read_text(errors='replace')[-500:]}")
    # The kernel's own figure begins with ours: until its exec, a child runs in our memory.
    maximum_mib = usage.ru_maxrss / 1024
    peak_mib = max(memory.peak_mib, maximum_mib) if maximum_mib > ours_mib else memory.peak_mib or maximum_mib
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak_mib, output.read_text(errors="replace"))


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process and its children now, in MiB."""
    return sum(map(resident_mib_of, processes(pid)))


def resident_mib_of(pid: int) -> float:
    """Return the resident memory of one process now, in MiB; 0 where it has ended."""
    return _status_mib(pid, "VmRSS")


def median(runs: Sequence[Run]) -> float:
    """Return the median of the seconds of some runs."""
    return statistics.median(run.seconds for run in runs)


class _Memory:
    """Looks at the peaks of a process and its children while they live."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._done = threading.Event()
        self._peaks: dict[int, float] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def peak_mib(self) -> float:
        """The sum of the peaks of all processes that were seen."""
        return sum(self._peaks.values())

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End looking."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        ours = _command(os.getpid())
        while not self._done.wait(SAMPLE_S):
            if _command(self._pid) == ours:
                continue  # until its exec, it runs in our memory
            for pid in processes(self._pid):
                self._peaks[pid] = max(self._peaks.get(pid, 0.0), _status_mib(pid, "VmHWM"))


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def processes(pid: int) -> list[int]:
    """Return a process and all its descendants; those that have ended are left out."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def _status_mib(pid: int, field: str) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
