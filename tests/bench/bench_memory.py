"""Resident memory of ``ids run``, idle and with a million flows offered, and the peaks of both engines' replays.

The flows are SYNs of ever other sources and ports, paced so that the engine takes in most of them, with the budgets
that would hold such a flood switched off: what bounds the memory then is `flow.max_flows` alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ids.errors import KernelError
from ids.lab.guard import Guard
from ids.lab.topology import BENIGN, LINK, OUTSIDE, Lab
from tests.bench import peer
from tests.bench.captures import mixed_capture
from tests.bench.process import IDS, resident_mib, run_measured
from tests.bench.report import CannotRun, Row, show

FLOWS = 1_000_000
RATE = 40_000.0
"""New flows a second."""
IDLE_S = 3.0
NOWHERE = "203.0.113.99"
"""The gateway has no way there, so no answer comes: only the engine has work."""
NO_BUDGETS = {"syn_per_source_per_s": 0, "syn_per_destination_per_s": 0}


def main(arguments: Sequence[str] = ()) -> None:
    """Measure each once: memory varies little."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench memory")
    parser.add_argument("--rate", type=float, default=RATE, help="flows offered a second")
    options = parser.parse_args(list(arguments))
    rows = []
    try:
        rows += _live(options.rate)
    except (CannotRun, KernelError) as reason:
        print(f"ids run: not measured: {reason}")
    try:
        rows += _replays()
    except CannotRun as reason:
        print(f"replay: not measured: {reason}")
    show("Resident memory", rows, "make bench, or: python -m tests.bench memory")


def _live(rate: float) -> list[Row]:
    if os.geteuid() != 0:
        raise CannotRun("needs root")
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    with Lab() as lab:
        lab.gateway.run("ip", "route", "add", "198.18.0.0/15", "via", BENIGN)
        lab.gateway.run("ip", "route", "add", "blackhole", NOWHERE)
        guard = Guard(lab, fastpath=NO_BUDGETS, eve={"types": ["alert"]})
        guard.start()
        time.sleep(IDLE_S)
        idle = resident_mib(guard.pid)
        mac = lab.gateway.run("ip", "-br", "link", "show", OUTSIDE).split()[2]
        command = [sys.executable, "-m", "tests.bench.generator", "--interface", LINK, "--mac", mac, "--spoofed"]
        command += ["--target", NOWHERE, "--rate", str(rate), "--seconds", str(FLOWS / rate)]
        generator = lab.spawn(lab.attacker, command, "generator.log")
        peak = idle
        while generator.poll() is None:
            peak = max(peak, resident_mib(guard.pid))
            time.sleep(0.2)
        sent = int((lab.directory / "generator.log").read_text().split()[-2])
        time.sleep(IDLE_S)
        after = resident_mib(guard.pid)
        seen = guard.command("stats")
    kept = seen["engine"]["ids"].get("flow", {}).get("active", 0)
    note = f"{sent:,} flows offered at {rate:,.0f}/s; {_taken(seen)}"
    return [
        Row("ids run, idle", idle, "MiB"),
        Row("ids run, a million flows offered, peak", peak, "MiB", note=note),
        Row("ids run, after them", after, "MiB"),
        Row("of that, for each flow kept", (after - idle) * 1024 / max(kept, 1), "KiB", note="one SYN each"),
    ]


def _taken(stats: dict[str, Any]) -> str:
    """Say what the engine made of the flows."""
    flow = stats["engine"]["ids"].get("flow", {})
    missed = stats["kernel"].get("pass.ring_full", {"packets": 0})["packets"]
    return f"{flow.get('total', 0):,} taken in, {flow.get('active', 0):,} kept, {missed:,} found the ring full"


def _replays() -> list[Row]:
    capture = mixed_capture()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = ["-o", "json", "--eve", str(folder / "ids.json")]
        rows = [_replay("ids replay, a million packets, starter rules", [IDS, "replay", *events, str(capture)], folder)]
        words = [IDS, "replay", *events, "-S", str(peer.our_rule(folder)), "--fast-path", "off", str(capture)]
        rows.append(_replay("ids replay, a million packets, one rule, fast path off", words, folder))
        peer.require()
        words = [*peer.configure(folder, peer.one_rule()), "--runmode", "single", "-r", str(capture)]
        theirs = _replay("suricata single, a million packets, one rule", words, folder)
    return [*(_beside(row, theirs) for row in rows), theirs]


def _replay(name: str, command: Sequence[str], folder: Path) -> Row:
    return Row(name, run_measured(command, folder).peak_mib, "MiB")


def _beside(row: Row, theirs: Row) -> Row:
    return Row(row.name, row.value, row.unit, ratio=row.value / theirs.value, peer="suricata")


if __name__ == "__main__":
    main()
