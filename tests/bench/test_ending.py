"""A benchmark that is ended in the middle leaves no namespace, process, interface or file behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ids.lab import removal
from ids.lab.removal import wait_until

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

ROOT = Path(__file__).parents[2]
START_S = 180.0
END_S = 120.0


@pytest.fixture(params=["flood", "load"])
def benchmark(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A benchmark in the middle: one with a whole lab and processes in it, one with a bpffs of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench", request.param], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            whole = "process " if request.param == "flood" else "bpffs "
            if not wait_until(lambda: any(what.startswith(whole) for what in left(process)), START_S, 0.1):
                pytest.skip("this benchmark does not run here")
            time.sleep(0.5)
            yield process
        finally:
            process.kill()
    removal.remove_stale()


def left(process: subprocess.Popen[bytes]) -> list[str]:
    names = [name for name in removal.labs() if name.startswith(f"ids-lab-{process.pid}-")]
    return [what for name in names for what in removal.leftovers(name)]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_takes_all_along(benchmark: subprocess.Popen[bytes], signum: signal.Signals) -> None:
    benchmark.send_signal(signum)
    output, errors = benchmark.communicate(timeout=END_S)
    assert left(benchmark) == []
    assert benchmark.returncode == 128 + signum
    assert b"what was made is removed" in output
    assert b"Traceback" not in errors


def test_what_is_killed_is_removed_by_the_next(benchmark: subprocess.Popen[bytes]) -> None:
    benchmark.kill()
    benchmark.wait(END_S)
    removal.remove_stale()
    assert left(benchmark) == []
