"""`ids lab` shows what it promises, as text and as data, and leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ids.lab import removal
from ids.lab.removal import wait_until

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from ids.cli import main; main()", "lab"]
REFUSED = 3


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def labs_of(process: subprocess.Popen[str]) -> list[str]:
    return [name for name in removal.labs() if name.startswith(f"ids-lab-{process.pid}-")]


def skip_if_refused(process: subprocess.Popen[str], said: str) -> None:
    if process.returncode == REFUSED:
        pytest.skip(f"no lab here: {said.strip()}")


def test_the_whole_story_as_data() -> None:
    with start("--attacks", "3", "-o", "json") as process:
        out, err = process.communicate(timeout=280)
    skip_if_refused(process, err)
    report = json.loads(out)
    assert [step["step"] for step in report["steps"] if not step["ok"]] == [], out
    assert process.returncode == 0
    assert [step["step"] for step in report["steps"]] == [
        "stage", "served", "alerted", "blocked", "cut_off", "flood_held", "latency", "counters", "removed",
    ]  # fmt: skip
    assert report["ok"] is True
    for name in ("latency_ms", "map_write_ms"):
        assert report[name]["n"] == 3
        assert 0 < report[name]["median"] <= report[name]["p99"] <= report[name]["max"]
    assert report["kernel"]["drop.syn_source"] > 0
    assert labs_of(process) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_with_the_engine_running_it_leaves_nothing(signum: signal.Signals) -> None:
    with start() as process:
        ready = wait_until(
            lambda: (
                process.poll() is not None
                or any((removal.lab_directory(name) / "ready").exists() for name in labs_of(process))
            ),
            180,
        )
        if process.poll() is not None:
            skip_if_refused(process, process.communicate()[1])
        assert ready
        process.send_signal(signum)
        process.send_signal(signum)  # an impatient second time
        _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signum
    assert "the lab is removed" in err
    assert labs_of(process) == []


def test_only_a_lab_that_exists_can_be_removed() -> None:
    with start("--remove", "ids-lab-0-0") as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "there is no lab ids-lab-0-0" in err
