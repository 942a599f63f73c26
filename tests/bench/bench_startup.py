"""Seconds until a command is of use: ``ids --help``, the replay of a small capture, ``ids run`` until it inspects."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ids.errors import KernelError
from ids.lab.topology import Lab
from tests.bench.contenders import engine
from tests.bench.process import IDS, run_measured
from tests.bench.report import CannotRun, Row, show

ROUNDS = 7
CAPTURE = Path(__file__).resolve().parents[2] / "pcaps" / "log4shell.pcap"


def main(arguments: Sequence[str] = ()) -> None:
    """Measure in interleaved rounds."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench startup")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(list(arguments))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def command(*words: str) -> Callable[[], float]:
            return lambda: run_measured([*words, str(CAPTURE)] if len(words) > 2 else words, folder).seconds

        measures: dict[str, Callable[[], float]] = {
            "ids --help": command(IDS, "--help"),
            "ids replay, 106 packets, fast path off": command(IDS, "replay", "--fast-path", "off"),
        }
        if os.geteuid() == 0:
            measures["ids replay, 106 packets, as root"] = command(IDS, "replay", "-o", "human")
            measures["ids run until ready, two interfaces"] = _until_ready
        if shutil.which("suricata"):
            words = ("suricata", "-S", "/dev/null", "-l", name, "--runmode", "single", "-r")
            measures["suricata, the same capture, no rules"] = command(*words)
        seconds: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(options.rounds):
            for what, measure in measures.items():
                seconds[what].append(measure())
    rows = [Row(what, statistics.median(times), "s", min(times), max(times)) for what, times in seconds.items()]
    show("Start", rows, "make bench, or: python -m tests.bench startup")


def _until_ready() -> float:
    try:
        with Lab() as lab:
            started = time.perf_counter()
            with engine(lab):
                return time.perf_counter() - started
    except KernelError as error:
        raise CannotRun(str(error)) from error


if __name__ == "__main__":
    main()
