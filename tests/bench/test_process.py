"""What a benchmark measures of a command: its time, its memory with that of its children, and its failure."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench.process import run_measured
from tests.bench.report import CannotRun

HOLD_S = 2.0
HOLD = f"import time; held = b'x' * (80 << 20); time.sleep({HOLD_S})"
CHILD = "held = b'x' * (80 << 20); print('up', flush=True); input()"
CHILDREN = f"""
import subprocess, sys, time
PIPE = subprocess.PIPE
children = [subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=PIPE, stdout=PIPE, text=True) for _ in range(2)]
assert [child.stdout.readline() for child in children] == ["up\\n"] * 2  # both at once, however late one starts
time.sleep({HOLD_S})
for child in children:
    child.communicate("end")
print("done")
"""


def test_the_memory_of_children_is_summed(tmp_path: Path) -> None:
    alone = run_measured([sys.executable, "-c", HOLD], tmp_path)
    both = run_measured([sys.executable, "-c", CHILDREN], tmp_path)
    assert 80 < alone.peak_mib < 150
    assert both.peak_mib > 2 * 80
    assert both.stdout == "done\n"
    assert both.seconds >= HOLD_S
    assert both.cpu_s > 0


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"ended with 3: .*not today"):
        run_measured([sys.executable, "-c", "import sys; print('not today', file=sys.stderr); sys.exit(3)"], tmp_path)
