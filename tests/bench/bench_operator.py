"""What the store, the metrics and the console cost: processor time of an engine with all of them, and with none.

The engine inspects a capture as it does live (workers and kernel apart) and writes its events to a file, in both. With
all on it keeps the memory of alerts as well, and `ids console` serves `/metrics` to whoever asks ten times a second.
Rounds take turns. What is compared is the processor time of the engine, of all threads, its start left out and its end
not: the console is a process of its own with a low priority, and its time is noted beside.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from ids.lab.removal import wait_until
from tests.bench.captures import http_capture, mixed_capture
from tests.bench.process import IDS, run_measured
from tests.bench.report import CannotRun, Row, show

ROUNDS = 5
PACKETS = 200_000
SCRAPE_S = 0.1
LEAST = 0.95
"""What is left of the speed with all on."""


def main(arguments: Sequence[str] = ()) -> None:
    """Run all rounds and show what came of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench operator")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--packets", type=int, default=PACKETS, help="of the capture, at most")
    parser.add_argument("--capture", type=Path, help="default: the two of `replay`, as far as they can be made")
    options = parser.parse_args(list(arguments))
    for capture in [options.capture] if options.capture else _captures():
        rows = _compare(capture, options.rounds, options.packets)
        show(f"Store, metrics and console over {capture.name}", rows, "python -m tests.bench operator")


def _captures() -> list[Path]:
    found, reasons = [], []
    for make in (http_capture, mixed_capture):
        try:
            found.append(make())
        except CannotRun as reason:
            reasons.append(str(reason))
    if not found:
        raise CannotRun("; ".join(reasons))
    return found


def _compare(capture: Path, rounds: int, packets: int) -> list[Row]:
    spent: dict[str, list[dict[str, Any]]] = {"all off": [], "all on": []}
    for number in range(rounds):
        sides = list(spent)[:: 1 if number % 2 == 0 else -1]  # whoever comes second finds warm caches
        for side in sides:
            spent[side].append(_round(capture, packets, on=side == "all on"))
            print(f"round {number + 1} of {rounds}: {side}: {spent[side][-1]['cpu_s']:.2f} s of CPU", flush=True)
    pairs = zip(spent["all off"], spent["all on"], strict=True)  # of one round: the machine's pace changes
    ratio = statistics.median(off["cpu_s"] / on["cpu_s"] for off, on in pairs)
    return [_row(side, runs, ratio) for side, runs in spent.items()]


def _row(side: str, runs: list[dict[str, Any]], ratio: float) -> Row:
    cpu = sorted(run["cpu_s"] for run in runs)
    one, middle = runs[-1], statistics.median(cpu)
    note = f"{middle:.2f} s of CPU; {one['packets']:,} packets, {one['flows']:,} flows, {one['alerts']:,} alerts"
    if side == "all on":
        console = statistics.median(run["console_cpu_s"] / run["wall_s"] for run in runs)
        note += f", {one['asked']} questions to the engine; {one['lost']} alerts lost by the store"
        note += f"; beside it the console, {console:.0%} of a core; at least {LEAST}× is wanted"
    middle_rate, low, high = (one["packets"] / seconds for seconds in (middle, cpu[-1], cpu[0]))
    rates_of = middle_rate, "packets/CPU s", low, high
    if side == "all off":
        return Row(side, *rates_of, note=note)
    return Row(side, *rates_of, ratio, "all off", note)


def _round(capture: Path, packets: int, *, on: bool) -> dict[str, Any]:
    """Run one engine; return what it printed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "ids.yaml"
        config.write_text(yaml.safe_dump({
            "engine": {"state_dir": name, "runtime_dir": name}, "eve": {"path": f"{name}/eve.json"},
            "fastpath": {"pin_dir": f"{name}/pins"}, "store": {"enabled": on},
            "console": {"open_metrics": True, "listen": f"unix:{name}/console.sock"},
        }))  # fmt: skip
        command = [sys.executable, "-m", "tests.bench.operator_client", str(config), str(capture), str(packets)]
        root = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        if not on:
            return dict(json.loads(run_measured(command, folder, root).stdout))
        with _console(config, folder) as seconds:
            found = dict(json.loads(run_measured(command, folder, root).stdout))
        return found | {"console_cpu_s": seconds[0]}


@contextmanager
def _console(config: Path, folder: Path) -> Iterator[list[float]]:
    """Serve and scrape the metrics; what is yielded holds the console's processor time when this has ended."""
    spent: list[float] = []
    done = threading.Event()
    address = str(folder / "console.sock")
    with (folder / "console.log").open("wb") as log:
        process = subprocess.Popen([IDS, "console", "-c", str(config)], stderr=log)
    scraper = threading.Thread(target=_scrape, args=(address, done))
    try:
        if not wait_until(lambda: Path(address).exists(), 30):
            raise CannotRun(f"the console did not start: {(folder / 'console.log').read_text()[-300:]}")
        scraper.start()
        started_s = _cpu_s(process.pid)
        yield spent
        spent.append(_cpu_s(process.pid) - started_s)
    finally:
        done.set()
        if scraper.is_alive():
            scraper.join()
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait()


def _scrape(address: str, done: threading.Event) -> None:
    while not done.wait(SCRAPE_S):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(address)
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while client.recv(1 << 16):
                pass


def _cpu_s(pid: int) -> float:
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
