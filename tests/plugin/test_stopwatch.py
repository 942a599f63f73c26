"""A call's own time: while others have the processor, the watch stands still."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ids.plugin.stopwatch import Stopwatch

RIVALS = 3
FORKED = """
import os, sys
from ids.plugin.stopwatch import Stopwatch
watch = Stopwatch(clock=lambda: 0.0)
watch()
mine = os.readlink(f"/proc/self/fd/{watch._file}")
if not os.fork():
    watch()
    os._exit(0 if os.readlink(f"/proc/self/fd/{watch._file}") != mine else 1)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.fixture
def rivals() -> Iterator[None]:
    """Processes that want the one processor that this test has meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    with ExitStack() as undo:
        undo.callback(os.sched_setaffinity, 0, before)
        for _ in range(RIVALS):
            process = undo.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            undo.callback(process.kill)
        yield


def burn(seconds: float) -> None:
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass


@pytest.mark.usefixtures("rivals")
def test_it_stands_still_while_others_have_the_processor() -> None:
    watch = Stopwatch()
    own = waited = 0.0
    for _ in range(100):
        began, wall, used = watch(), time.monotonic(), time.thread_time()
        burn(0.05)
        used = time.thread_time() - used
        own, waited = watch() - began - used, time.monotonic() - wall - used
        if waited > used:
            break
    assert waited > 0.05, "the rivals want it too"
    assert own < waited / 2, "most of the waiting does not count"


def test_it_goes_on_while_a_call_sleeps() -> None:
    watch = Stopwatch()
    began = watch()
    time.sleep(0.05)
    assert watch() - began > 0.02


def test_without_the_kernels_count_it_is_the_clock(tmp_path: Path) -> None:
    assert Stopwatch(clock=lambda: 5.0, schedstat=str(tmp_path / "none"))() == 5.0


def test_a_fork_has_a_time_of_its_own() -> None:
    subprocess.run([sys.executable, "-c", FORKED], check=True)


def test_it_never_goes_back(tmp_path: Path) -> None:
    schedstat = tmp_path / "schedstat"
    looks = iter([(10.0, 0), (10.001, 300_000_000), (10.301, 300_000_000)])

    def clock() -> float:
        """Show the time, and have the second look wait behind it."""
        seconds, waited_ns = next(looks)
        schedstat.write_text(f"1000 {waited_ns} 1\n")
        return seconds

    watch = Stopwatch(clock, str(schedstat))
    began, ended, later = watch(), watch(), watch()
    assert ended == began, "a call takes no negative time, and no counter of it falls"
    assert later - began == pytest.approx(0.001), "the next look has it right"
